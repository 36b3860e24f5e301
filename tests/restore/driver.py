"""A restore in a process of its own, to be killed.

    python -m tests.restore.driver CONFIG FROM TO --kill STEP NUMBER

Puts the archive of the account FROM into folders of the same names of TO, three messages at a time, and dies
by SIGKILL at the NUMBERth fault point called STEP.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from archiver.archive import Archive
from archiver.archive.restore import Selection, restore
from archiver.config import load
from archiver.restore import Silent, plan, same_folders


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("source")
    parser.add_argument("target")
    parser.add_argument("--kill", nargs=2, metavar=("STEP", "NUMBER"), required=True)
    options = parser.parse_args()
    seen: Counter[str] = Counter()

    def fault(step: str) -> None:
        seen[step] += 1
        if (step, seen[step]) == (options.kill[0], int(options.kill[1])):
            os.kill(os.getpid(), signal.SIGKILL)

    plan.BUNCH_MESSAGES = 3
    archive = Archive(load(options.config))
    selection = Selection(account=options.source)
    report = restore(archive, selection, options.target, same_folders(""), Silent(), fault)
    return report.exit_code


if __name__ == "__main__":
    sys.exit(main())
