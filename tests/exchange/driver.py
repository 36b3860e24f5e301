"""An import in a process of its own, to be killed: python -m tests.exchange.driver ROOT SOURCE STEP NUMBER

It dies by SIGKILL at the NUMBERth fault point called STEP.
"""

from __future__ import annotations

import os
import signal
import sys
from collections import Counter

from archiver.exchange import ImportReport, take
from archiver.store.ledger import Ledger
from tests.exchange.conftest import NOW, little


def main() -> None:
    root, source, wanted, number = sys.argv[1:]
    seen: Counter[str] = Counter()

    def fault(step: str) -> None:
        seen[step] += 1
        if (step, seen[step]) == (wanted, int(number)):
            os.kill(os.getpid(), signal.SIGKILL)

    with little(), Ledger(root) as ledger:
        report = ImportReport(account="old", source=source)
        take(report, ledger, now=lambda: NOW, fault=fault)


if __name__ == "__main__":
    main()
