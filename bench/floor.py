"""floor.py WAY SOURCE TARGET: what the disk takes for the files of a mailbox, made durable and nothing else.

The files of SOURCE are read first; then, timed, each is written and dated in TARGET/tmp, a group of them is
made durable, moved to TARGET/cur, and that directory is fsynced; the next group is written meanwhile. Groups
of 2,000 are about the best, for either way. Prints seconds of wall clock and of CPU.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

GROUP = 2000
THREADS = 16
RECEIVED = 1_580_000_000

Sync = Callable[[Sequence[str]], None]


def main() -> None:
    way, source, target = sys.argv[1:]
    contents = [Path(entry.path).read_bytes() for entry in os.scandir(source)]
    for name in ("tmp", "cur"):
        os.makedirs(os.path.join(target, name))
    os.sync()
    wall, cpu = time.perf_counter(), time.process_time()
    with ThreadPoolExecutor(THREADS) as pool, ThreadPoolExecutor(1) as mover:
        sync = {"fsync": fsync_with(pool), "syncfs": syncfs}[way]
        groups = []
        for start in range(0, len(contents), GROUP):
            paths = write(contents[start : start + GROUP], start, target)
            groups.append(mover.submit(keep, paths, target, sync))
        for group in groups:
            group.result()
    print(time.perf_counter() - wall, time.process_time() - cpu)


def write(contents: Sequence[bytes], first: int, target: str) -> list[str]:
    paths = []
    for number, data in enumerate(contents, first):
        paths.append(os.path.join(target, "tmp", f"{RECEIVED}.{number:032x}.bench,S={len(data)}"))
        descriptor = os.open(paths[-1], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        os.write(descriptor, data)
        os.utime(descriptor, (RECEIVED, RECEIVED))
        os.close(descriptor)
    return paths


def keep(paths: Sequence[str], target: str, sync: Sync) -> None:
    sync(paths)
    for path in paths:
        os.rename(path, os.path.join(target, "cur", f"{os.path.basename(path)}:2,S"))
    fsync_each([os.path.join(target, "cur")])


def fsync_with(pool: ThreadPoolExecutor) -> Sync:
    def fsync(paths: Sequence[str]) -> None:
        list(pool.map(fsync_each, (paths[i::THREADS] for i in range(THREADS))))

    return fsync


def fsync_each(paths: Sequence[str]) -> None:
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


def syncfs(paths: Sequence[str]) -> None:
    descriptor = os.open(paths[0], os.O_RDONLY)
    if ctypes.CDLL(None).syncfs(descriptor):
        sys.exit("syncfs failed")
    os.close(descriptor)


if __name__ == "__main__":
    main()
