"""How fast a mailbox comes in: `archiver sync --no-index` and mbsync beside it, in turns, durability on.

Both pull the corpus from the same private Dovecot on loopback into an empty archive on the same disk.
`--delay` and `--rate` put a slow line between.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import common
from tests.servers.dovecot import User
from tests.servers.proxy import Proxy

Pull = Callable[[User, int, Path], common.Run]


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="how often each pulls (default: %(default)s)")
    parser.add_argument("--only", choices=PULLERS, help="leave the other one out")
    parser.add_argument("--delay", type=float, default=0, metavar="MS", help="round trip in milliseconds")
    parser.add_argument("--rate", type=float, metavar="MBIT", help="bandwidth in Mbit/s")
    parser.add_argument("--compress", action="store_true", help="let the server offer COMPRESS=DEFLATE")
    options = parser.parse_args()
    names = [options.only] if options.only else list(PULLERS)
    common.require(*([("mbsync", "isync")] if "mbsync" in names else []))
    with (
        common.corpus_server(compress=options.compress) as (user, count),
        line(user, options.delay, options.rate) as port,
    ):
        runs: dict[str, list[common.Run]] = {name: [] for name in names}
        for _ in range(options.runs):
            for name in names:
                runs[name].append(pull(name, user, port, options.root, count))
                print(f"  {name:<9}{runs[name][-1].wall:6.2f} s", flush=True)
    report(runs, count)


def report(runs: dict[str, list[common.Run]], count: int) -> None:
    """Medians of each; the ratio is the median of the rounds, since the machine changes between them."""
    print(f"\n{count} messages{'':<12}wall    msg/s      CPU     peak memory")
    for name, each in runs.items():
        wall, cpu = (
            statistics.median(values) for values in zip(*((r.wall, r.cpu) for r in each), strict=True)
        )
        memory = common.megabytes(max(run.memory for run in each))
        print(f"  {name:<22}{wall:7.2f} s {count / wall:7.0f} {cpu:7.2f} s {memory:>12}")
    if len(runs) == 2:
        rounds = zip(runs["mbsync"], runs["archiver"], strict=True)
        ratio = statistics.median(theirs.wall / ours.wall for theirs, ours in rounds)
        print(f"archiver pulls at {ratio:.2f} of mbsync's rate")


@contextlib.contextmanager
def line(user: User, delay: float, rate: float | None) -> Iterator[int]:
    """The port to pull from: the server's own, or a proxy's that is as slow as asked for."""
    if not delay and not rate:
        yield user.server.port
        return
    target = (user.server.host, user.server.port)
    with Proxy(target, delay=delay / 2000, rate=rate and rate * 1e6 / 8) as proxy:
        yield proxy.port


def pull(name: str, user: User, port: int, root: Path, count: int) -> common.Run:
    """One pull into an empty directory; the benchmark ends when anything is missing from it."""
    with common.workplace(root) as directory:
        os.sync()  # what others left to be written is not ours to wait for
        run = PULLERS[name](user, port, directory)
        kept = sum(1 for path in directory.rglob("*") if path.parent.name in ("cur", "new"))
        if kept != count:
            sys.exit(f"{name} kept {kept} of {count} messages")
    return run


def pull_with_archiver(user: User, port: int, directory: Path) -> common.Run:
    config = common.archiver_config(user, directory, port)
    command = common.archiver(config, "sync", "--no-index")
    return common.measure(command, environment={common.PASSWORD_VARIABLE: user.password})


def pull_with_mbsync(user: User, port: int, directory: Path) -> common.Run:
    config = directory / "mbsyncrc"
    config.write_text(
        "FSync yes\n\n"
        "IMAPAccount server\n"
        f"Host {user.server.host}\nPort {port}\nUser {user.name}\nPass {user.password}\nSSLType None\n\n"
        "IMAPStore far\nAccount server\n\n"
        "MaildirStore near\n"
        f"Path {directory}/mail/\nInbox {directory}/mail/INBOX\nSubFolders Verbatim\n\n"
        "Channel pull\nFar :far:\nNear :near:\nPatterns *\n"
        "Sync Pull New\nCreate Near\nExpunge None\nSyncState *\n",
        encoding="utf-8",
    )
    (directory / "mail").mkdir()
    return common.measure(["mbsync", "--config", str(config), "--quiet", "pull"])


PULLERS: dict[str, Pull] = {"mbsync": pull_with_mbsync, "archiver": pull_with_archiver}

if __name__ == "__main__":
    main()
