"""bare.py HOST PORT USER PASSWORD DIRECTORY: the shortest program that pulls a mailbox with IMAPClient."""

from __future__ import annotations

import sys
from pathlib import Path

from imapclient import IMAPClient

BATCH = 500


def main() -> None:
    host, port, user, password, directory = sys.argv[1:]
    target = Path(directory) / "cur"
    target.mkdir()
    with IMAPClient(host, int(port), ssl=False) as client:
        client.login(user, password)
        client.select_folder("INBOX", readonly=True)
        uids = client.search()
        for start in range(0, len(uids), BATCH):
            for uid, items in client.fetch(
                uids[start : start + BATCH], ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"]
            ).items():
                (target / str(uid)).write_bytes(items[b"BODY[]"])


if __name__ == "__main__":
    main()
