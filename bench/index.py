"""How fast a Maildir is indexed, beside notmuch and mu; what an index takes, and what new mail costs.

The corpus, and 100,000 messages made of it, lie in an archive whose ledger is there; every index is built
from nothing, in turns. Speed is told by the CPU seconds of all processes, too: other work on the machine
changes them less than the wall clock.
"""

from __future__ import annotations

import itertools
import os
import shutil
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from archiver.indexer import drain
from archiver.search.index import Index, open_index
from archiver.search.places import LedgerPlaces
from archiver.search.query import parse
from archiver.store.layout import index_path, mail_root
from archiver.store.ledger import Ledger
from archiver.store.maildir import Name, key_of, to_file
from archiver.store.records import NewPlace
from bench import common, mail

CORPUS = 17_885
LARGE = 100_000
NEW = 10
COMMITS = 20
FLAGS = 10_000
_MEGA = 1 << 20


@dataclass(frozen=True)
class Built(common.Run):
    """A finished command; `together`: the most bytes that all its processes took at once."""

    together: int


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--alone", action="store_true", help="leave notmuch and mu out")
    parser.add_argument("--large", action="store_true", help=f"with {LARGE:,} messages, too: an hour")
    parser.add_argument("--runs", type=int, help="instead of 5, and of 3 where there is much mail")
    options = parser.parse_args()
    common.compiled()
    peaks = []
    for count, runs in ((CORPUS, 5), (LARGE, 3)) if options.large else ((CORPUS, 5),):
        with common.workplace(options.root) as directory:
            common.heading(f"{count:,} messages")
            root = fill(directory, count)
            peaks.append(bulk(root, directory, count, options.runs or runs, alone=options.alone))
            later(str(root))
    if options.large:
        flat = peaks[1] / peaks[0]
        common.verdict(f"memory with {LARGE:,}: {flat:.2f} of that with {CORPUS:,}", "1.5", flat < 1.5)


def fill(directory: Path, count: int) -> Path:
    """An archive of so many messages that its ledger knows."""
    root = directory / "archive"
    mail.fill_archive(root, count)
    common.measure(common.archiver(config(directory, "plain", ""), "status"))
    return root


def config(directory: Path, name: str, settings: str) -> Path:
    path = directory / f"{name}.yaml"
    path.write_text(
        f"archive: {directory / 'archive'}\naccounts: {{}}\nindex: {{{settings}}}\n", encoding="utf-8"
    )
    path.chmod(0o600)
    return path


def bulk(root: Path, directory: Path, count: int, runs: int, *, alone: bool) -> int:
    """Build every index so often; bytes of memory that ours took, processes together."""
    two = config(directory, "two", "workers: 2")
    commands = {
        "archiver, 2 processes": common.archiver(two, "reindex", "--anew"),
        "archiver, 1 process": common.archiver(config(directory, "one", "workers: 1"), "reindex", "--anew"),
    }
    if not alone:
        commands |= {"notmuch new": notmuch(root, directory), "mu index": mu(root, directory)}
    taken: dict[str, list[Built]] = {name: [] for name, command in commands.items() if command}
    for _ in range(runs):
        for name, each in taken.items():
            clean(directory)
            each.append(build(commands[name]))
            common.step(name, each[-1])
    common.table(taken, count)
    ours = taken["archiver, 2 processes"], taken["archiver, 1 process"]
    if "notmuch new" in taken:
        beside(taken["notmuch new"], *ours)
    little = build(
        common.archiver(config(directory, "little", "workers: 2, memory: 200M"), "reindex", "--anew")
    )
    common.measure(commands["archiver, 2 processes"])
    size, mails = (
        sum(map(_size, where.rglob("*"))) for where in (root / "index", Path(mail_root(str(root))))
    )
    share = size / mails
    common.verdict(
        f"index {common.megabytes(size)}, mail {common.megabytes(mails)}: {share:.0%}", "45 %", share < 0.45
    )
    peak = max(run.together for run in ours[0])
    common.verdict(f"memory: {peak / _MEGA:.0f} MiB", "600 MiB, with the default", peak < 600 * _MEGA)
    common.verdict(
        f"memory: {little.together / _MEGA:.0f} MiB, {little.cpu:.1f} s CPU",
        "200 MiB when so configured",
        little.together < 200 * _MEGA,
    )
    return peak


def beside(theirs: Sequence[Built], two: Sequence[Built], one: Sequence[Built]) -> None:
    for runs, name, target, processes in ((two, "two processes", 3.0, 2), (one, "one process", 1.3, 1)):
        wall = common.ratio(theirs, runs)
        cpu = statistics.median(processes * t.cpu / o.cpu for t, o in zip(theirs, runs, strict=True))
        common.verdict(
            f"{name}: {wall:.1f} of notmuch's rate; by CPU seconds, each on a core of its own, {cpu:.1f}",
            f"{target} of its rate",
            wall >= target,
        )


def clean(directory: Path) -> None:
    for path in (directory / "notmuch", directory / "mu"):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    if shutil.which("mu"):
        where = f"--maildir={directory / 'archive' / 'mail'}"
        common.measure(["mu", "init", f"--muhome={directory / 'mu'}", where])


def notmuch(root: Path, directory: Path) -> list[str]:
    if shutil.which("notmuch") is None:
        return []
    path = directory / "notmuch-config"
    path.write_text(
        f"[database]\npath={directory / 'notmuch'}\nmail_root={mail_root(str(root))}\n"
        "[maildir]\nsynchronize_flags=false\n",
        encoding="utf-8",
    )
    return ["notmuch", f"--config={path}", "new", "--quiet"]


def mu(root: Path, directory: Path) -> list[str]:
    return ["mu", "index", f"--muhome={directory / 'mu'}", "--quiet"] if shutil.which("mu") else []


def build(command: Sequence[str]) -> Built:
    """Run a command, and look at the memory of all its processes ten times a second."""
    done = threading.Event()
    most = 0

    def watch() -> None:
        nonlocal most
        while not done.wait(0.1):
            most = max(most, sum(map(_proportional, _family(os.getpid()))))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        run = common.measure(command)
    finally:
        done.set()
        watching.join()
    return Built(run.wall, run.cpu, run.memory, most)


def _family(pid: int) -> list[int]:
    """The descendants of a process but for the first, which only launches and measures."""
    children = [child for parent in _children(pid) for child in _children(parent)]
    found = []
    while children:
        found += children
        children = [child for parent in children for child in _children(parent)]
    return found


def _children(pid: int) -> list[int]:
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return [int(word) for task in tasks for word in (task / "children").read_text().split()]
    except OSError:
        return []


def _proportional(pid: int) -> int:
    """Bytes of memory; what processes share is counted once, in parts."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def later(root: str) -> None:
    """New mail onto the index, in this process; flags; tidying up while somebody searches."""
    numbers = itertools.count(1)
    with Ledger(root) as ledger:
        index = open_index(index_path(root))
        drain(ledger, index, nullcontext, tidy=False)  # by this process, which reads no attachments
        times = [new_mail(root, ledger, index, numbers) for _ in range(COMMITS)]
        median = statistics.median(times)
        common.verdict(
            f"{NEW} new messages: {1000 * median:.0f} ms of CPU until they are found, worst"
            f" {1000 * max(times):.0f}",
            "50 ms",
            median < 0.05,
        )
        flags(ledger, index)
        tidying(root, ledger, index)
        index.close()


def new_mail(root: str, ledger: Ledger, index: Index, numbers: itertools.count[int]) -> float:
    """Seconds of CPU from the ledger that knows them to the index that finds them."""
    folder = ledger.folders()[0]
    first = 1_000_000 + NEW * next(numbers)
    places = []
    for uid, wire in enumerate(mail.made_up(NEW, first=first), first):
        data, size = to_file(wire)
        name = Name(1_800_000_000 + uid, key_of(wire).hex()[:32], len(data), size, folder.uidvalidity, uid)
        Path(mail_root(root), folder.path, "cur", f"{name}:2,").write_bytes(data)
        places.append(NewPlace(uid, key_of(wire), len(wire), name.received, str(name), "", ""))
    ledger.add_places(folder, places)
    tree = parse(f"subject:{first}", now=datetime.now())
    start = time.process_time()
    added = drain(ledger, index, nullcontext, tidy=False).added
    found = index.search(tree, LedgerPlaces(ledger)).hits
    took = time.process_time() - start
    if added != NEW or places[0].key not in {hit.key for hit in found}:
        sys.exit(f"{added} of {NEW} new messages were added, {len(found)} found")
    return took


def flags(ledger: Ledger, index: Index) -> None:
    """Let messages be flagged, and find them by it."""
    folder = ledger.folders()[0]
    known = list(ledger.known(folder))[:FLAGS]
    start = time.perf_counter()
    ledger.set_flags(folder, [(uid, "FS", "", "") for uid in known])
    drain(ledger, index, nullcontext, tidy=False)
    found = index.matches(parse("is:flagged", now=datetime.now()), LedgerPlaces(ledger))
    took = time.perf_counter() - start
    common.verdict(f"{len(known):,} flags changed: {took:.2f} s until they are found", "5 s", took < 5)
    if found < len(known):
        sys.exit(f"{found} messages are flagged, not {len(known)}")


def tidying(root: str, ledger: Ledger, index: Index) -> None:
    """What tidying up costs, and how long a search waits meanwhile."""
    places, tree = LedgerPlaces(ledger), parse("from:someone", now=datetime.now())
    before = statistics.median(timed(lambda: index.search(tree, places)) for _ in range(50))
    script = (
        "import sys; from archiver.search.index import open_index\n"
        "index = open_index(sys.argv[1])\nwhile index.maintain(): pass\n"
    )
    start = time.perf_counter()
    with subprocess.Popen([sys.executable, "-c", script, index_path(root)]) as process:
        waits = []
        while process.poll() is None:
            waits.append(timed(lambda: index.search(tree, places)))
            time.sleep(0.005)
    took = time.perf_counter() - start
    median, worst = statistics.median(waits), max(waits)
    print(
        f"  tidied up in {took:.1f} s; {len(waits)} searches meanwhile: median {1000 * median:.1f} ms,"
        f" worst {1000 * worst:.1f}; before {1000 * before:.1f}"
    )


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
