"""How fast mail is exported to an mbox, and imported from it, in memory and on a disk.

On the disk beside the same files written and made durable and nothing else; no index is built.
"""

from __future__ import annotations

import argparse
import statistics
from pathlib import Path

from bench import common, disk, mail

NAMES = ("export to mbox", "import in memory", "import on the disk")
FEWEST = 5000  # messages a second
MOST = 1.15  # of the floor's time


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=5, help="how often each runs (default: %(default)s)")
    options = parser.parse_args()
    common.compiled()
    with common.workplace(common.TMPFS) as memory, common.workplace(options.root) as place:
        maildir = memory / "corpus"
        count, size = mail.unpack(maildir)
        common.heading(f"exchange: {count} messages, {common.megabytes(size)}, on the disk in {options.root}")
        mbox = memory / "corpus.mbox"
        config = configured(memory / "source")
        common.measure(common.archiver(config, "import", str(maildir), "--account", "bench", "--no-index"))
        runs = measured(options, memory, place, config, mbox, maildir)
    common.table(runs, count)
    judge(runs, count)


def measured(
    options: argparse.Namespace, memory: Path, place: Path, config: Path, mbox: Path, maildir: Path
) -> dict[str, list[common.Run]]:
    """Each in turns, since the machine changes between them."""
    runs: dict[str, list[common.Run]] = {name: [] for name in (*NAMES, *disk.WAYS)}
    for number in range(options.runs):
        mbox.unlink(missing_ok=True)
        export = common.archiver(config, "export", "--account", "bench", "--to", str(mbox))
        runs[NAMES[0]].append(common.step(NAMES[0], common.measure(export)))
        with common.workplace(memory) as directory:
            runs[NAMES[1]].append(imported(NAMES[1], directory, mbox))
        for way in disk.WAYS:
            runs[way].append(disk.floor(way, maildir, place / f"floor-{number}-{disk.WAYS[way]}"))
        runs[NAMES[2]].append(imported(NAMES[2], place / f"import-{number}", mbox))
    return runs


def imported(name: str, directory: Path, mbox: Path) -> common.Run:
    verb = ("import", str(mbox), "--account", "bench", "--no-index")
    return common.step(name, common.measure(common.archiver(configured(directory), *verb)))


def configured(directory: Path) -> Path:
    """A configuration without any account, its archive below the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "config.yaml"
    path.write_text(f"archive: {directory / 'archive'}\n", encoding="utf-8")
    return path


def judge(runs: dict[str, list[common.Run]], count: int) -> None:
    for name in NAMES[:2]:
        rate = count / statistics.median(run.wall for run in runs[name])
        common.verdict(
            f"{name}: {rate:,.0f} messages/s, start-up included", f"over {FEWEST:,}", rate > FEWEST
        )
    best = min(disk.WAYS, key=lambda way: statistics.median(run.wall for run in runs[way]))
    above = 1 / common.ratio(runs[best], runs[NAMES[2]])
    common.verdict(
        f"import on the disk takes {above:.2f} of the floor's time ({best})",
        f"at most {MOST}",
        above <= MOST,
    )


if __name__ == "__main__":
    main()
