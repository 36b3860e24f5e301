"""How fast mail comes in, how little it costs to see that none came, and how fast all of it is verified.

mbsync, where it can do the same, runs in turns beside `archiver sync --no-index`, both with durability on,
from a private Dovecot. Every figure is a median, and stands beside the target it is meant to reach.
"""

from __future__ import annotations

from bench import common, disk, folders, hashing, lines, memory

SUBJECTS = {
    "disk": disk.disk,
    "tmpfs": disk.tmpfs,
    "line": lines.lines,
    "folders": folders.folders,
    "memory": memory.memory,
    "verify": hashing.verify,
}


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("subject", nargs="*", choices=[*SUBJECTS, "all"], help="what to measure")
    parser.add_argument("--runs", type=int, help="how often each runs (default: 5, with --short 1)")
    parser.add_argument("--short", action="store_true", help="one run of each, fewer messages for memory")
    options = parser.parse_args()
    options.runs = options.runs or (1 if options.short else 5)
    subjects = list(SUBJECTS) if "all" in options.subject else options.subject
    if not subjects:
        parser.error(f"say what to measure: {', '.join(SUBJECTS)}, or all")
    common.require(("mbsync", "isync"))
    # One workplace for everything: ext4 takes no inode again for minutes after a deletion, and looks past
    # all of those whenever it makes a file, so nothing is removed before the end.
    with common.workplace(options.root) as place:
        for subject in subjects:
            SUBJECTS[subject](options, place)


if __name__ == "__main__":
    main()
