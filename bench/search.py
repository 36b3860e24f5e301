"""How long a search takes, from a cold interpreter to its exit: `archiver search`, and notmuch beside it.

An archive of the corpus is pulled and indexed first; every time is the median of ten whole processes.
"""

from __future__ import annotations

import shutil
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from bench import common, mail

RUNS = 10
SHOWN = 20  # hits asked for
# What is asked for, in our query language and in notmuch's.
QUERIES = {
    "one word": ("release", "release"),
    "two words": ("release documentation", "release documentation"),
    "a phrase": ('"the documentation"', '"the documentation"'),
    "a subject": ("subject:release", "subject:release"),
    "a prefix": ("docum*", "docum*"),
    "a sender": ("from:david", "from:david"),
    "since a day": ("release after:2022-06-01", "release date:2022-06-01.."),
    "nothing found": ("xylophonistically", "xylophonistically"),
}


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--alone", action="store_true", help="leave notmuch out")
    options = parser.parse_args()
    common.require()
    with common.workplace(options.root) as directory:
        config = fill(directory)
        beside = None if options.alone or not shutil.which("notmuch") else notmuch(directory)
        print(f"\nwhole process, median of {RUNS}{'':<6}archiver{'' if beside is None else '     notmuch'}")
        for name, (ours, theirs) in QUERIES.items():
            command = common.archiver(config, "search", ours, "--limit", str(SHOWN))
            demand_hits(command, wanted=name != "nothing found")
            cells = [milliseconds(command)]
            if beside is not None:
                cells.append(milliseconds([*beside, "search", f"--limit={SHOWN}", theirs]))
            print(f"  {name:<28}" + "    ".join(cells), flush=True)
        print(f"  {'archiver --help':<28}" + milliseconds([str(common.ARCHIVER), "--help"]))


def fill(directory: Path) -> Path:
    """Pull and index the corpus; the configuration of the archive."""
    with mail.corpus() as corpus:
        config = common.archiver_config(corpus.user, directory, corpus.user.server.port)
        environment = {common.PASSWORD_VARIABLE: corpus.user.password}
        pull = common.measure(common.archiver(config, "sync", "--no-index"), environment=environment)
        index = common.measure(common.archiver(config, "sync"), environment=environment)
    print(f"{corpus.count} messages")
    print(f"  archiver sync --no-index {describe(pull, corpus.count)}")
    print(f"  archiver sync, indexing  {describe(index, corpus.count)}")
    return config


def notmuch(directory: Path) -> list[str]:
    """Index the same Maildir with notmuch, its database elsewhere; the start of its commands."""
    config = directory / "notmuch-config"
    config.write_text(
        f"[database]\npath={directory / 'notmuch'}\nmail_root={directory / 'archive' / 'mail'}\n"
        "[maildir]\nsynchronize_flags=false\n",
        encoding="utf-8",
    )
    (directory / "notmuch").mkdir()
    command = ["notmuch", f"--config={config}"]
    print(f"  notmuch new              {describe(common.measure([*command, 'new', '--quiet']), None)}")
    return command


def describe(run: common.Run, count: int | None) -> str:
    rate = f"{count / run.wall:7.0f} msg/s" if count else ""
    return f"{run.wall:7.2f} s {rate:<14}{run.cpu:7.2f} s CPU {common.megabytes(run.memory):>8}"


def demand_hits(command: Sequence[str], *, wanted: bool) -> None:
    """End the benchmark when a query finds nothing that should: the time would mean nothing."""
    found = subprocess.run([*command, "--format", "keys"], capture_output=True, text=True, check=True).stdout
    if bool(found.strip()) is not wanted:
        sys.exit(f"{' '.join(command)} found {len(found.split())} messages")


def milliseconds(command: Sequence[str]) -> str:
    times = [common.measure(command).wall for _ in range(RUNS)]
    return f"{statistics.median(times) * 1000:5.0f} ms"


if __name__ == "__main__":
    main()
