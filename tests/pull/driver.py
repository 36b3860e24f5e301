"""A pull in a process of its own, to be killed, or to be short of room.

    python -m tests.pull.driver ROOT PORT USER [--kill STEP NUMBER] [--room BYTES]

Pulls the account `work` of the tests in clear from a server on loopback. With --kill it dies by SIGKILL at
the NUMBERth fault point called STEP; with --room no file may grow beyond so many bytes. Ends with the exit
code of the error, if there is one.
"""

from __future__ import annotations

import argparse
import os
import resource
import signal
import sys
from collections import Counter
from pathlib import Path

from archiver.config import ImapServer, SecretSource
from archiver.errors import ArchiverError
from tests.imap.conftest import PASSWORD
from tests.pull.conftest import Archive, small_groups


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("root", type=Path)
    parser.add_argument("port", type=int)
    parser.add_argument("user")
    parser.add_argument("--kill", nargs=2, metavar=("STEP", "NUMBER"), default=("", "0"))
    parser.add_argument("--room", type=int)
    options = parser.parse_args()
    if options.room:
        resource.setrlimit(resource.RLIMIT_FSIZE, (options.room, options.room))
    seen: Counter[str] = Counter()

    def fault(step: str) -> None:
        seen[step] += 1
        if (step, seen[step]) == (options.kill[0], int(options.kill[1])):
            os.kill(os.getpid(), signal.SIGKILL)

    server = ImapServer(
        host="127.0.0.1",
        port=options.port,
        user=options.user,
        security="none",
        password=SecretSource(literal=PASSWORD),
    )
    try:
        with small_groups():
            Archive(options.root, server).sync(fault=fault)
    except ArchiverError as error:
        print(error, error.hint, file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
