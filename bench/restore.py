"""How fast an archive is put back into an empty mailbox, beside IMAPClient.append, a message at a time.

Both into a private Dovecot, in turns, first on loopback, then through a proxy that takes 25 ms each way. The
slow one gets a part of the messages, spread evenly over all, and its rate is taken for that of all, since it
does the same for each of them.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from imapclient import IMAPClient

from archiver.store.maildir import files, read_file, to_wire
from bench import common, mail
from tests.servers import dovecot
from tests.servers.proxy import Proxy

DELAY = 0.025  # seconds each way
# Of all messages the slow one gets so many.
PART_NEAR, PART_FAR = 2000, 200
TARGETS = {0.0: 10, DELAY: 50}


@dataclass(frozen=True)
class Message:
    """A message as IMAPClient gets it, in memory already."""

    wire: bytes
    received: float


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--runs", type=int, default=3, help="how often each runs (default: %(default)s)")
    parser.add_argument("--messages", type=int, default=17_885, help="how many (default: %(default)s)")
    options = parser.parse_args()
    common.require()
    with common.workplace(options.root) as place, on_disk(place) as server:
        archive = place / "archive"
        mail.fill_archive(archive, options.messages, crlf=True)
        messages = loaded(archive)
        known(place, server)
        for delay in TARGETS:
            compare(options, place, server, messages, delay)


@contextlib.contextmanager
def on_disk(place: Path) -> Iterator[dovecot.Dovecot]:
    """A Dovecot whose mailboxes are Maildirs on the disk, each message durable before it answers."""
    mailboxes = place / "mailboxes"
    mailboxes.mkdir()
    place.chmod(0o755)
    if os.geteuid() == 0:
        shutil.chown(mailboxes, "mail", "mail")
    layout = f"maildir:{mailboxes}/%u"
    server = dovecot.start(dovecot.Options(layout=layout, settings=mail.NO_COMPRESS))
    try:
        yield server
    finally:
        server.stop()


def compare(
    options: argparse.Namespace,
    place: Path,
    server: dovecot.Dovecot,
    messages: Sequence[Message],
    delay: float,
) -> None:
    common.heading(f"restore: {len(messages):,} messages, {delay * 2000:.0f} ms round trip")
    count = PART_FAR if delay else PART_NEAR
    part = messages[:: max(len(messages) // count, 1)]
    ours: list[common.Run] = []
    theirs: list[common.Run] = []
    for number in range(options.runs):
        with Proxy((server.host, server.port), delay=delay) as proxy:
            port = proxy.port if delay else server.port
            theirs.append(
                common.step(f"IMAPClient, {len(part):,}", one_by_one(server.new_user(), port, part))
            )
            user = server.new_user()
            run = restored(user, port, place, f"{number}-{delay * 2000:.0f}")
            ours.append(common.step("archiver restore", run))
            held = user.status()["messages"]
            if held != len({message.wire for message in messages}):
                raise SystemExit(f"Dovecot has {held} of {len(messages)} messages")
    rates = [
        len(messages) / our.wall / (len(part) / their.wall) for our, their in zip(ours, theirs, strict=True)
    ]
    common.table({"archiver restore": ours}, len(messages))
    common.table({"IMAPClient.append": theirs}, len(part))
    ratio = sorted(rates)[len(rates) // 2]
    target = TARGETS[delay]
    common.verdict(
        f"archiver restore at {ratio:.1f} times the rate of IMAPClient.append for {len(part):,} of them",
        f"at least {target}",
        ratio >= target,
    )


def loaded(archive: Path) -> list[Message]:
    """The archive's messages, oldest first, as the wire has them."""
    found = [
        Message(to_wire(read_file(path) or b"", name), name.received)
        for name, _, path in files(str(archive / "mail" / "bench" / "INBOX"))
    ]
    return sorted(found, key=lambda message: message.received)


def known(place: Path, server: dovecot.Dovecot) -> None:
    """Have the ledger of the archive that was laid out made, which is no part of a restore."""
    config = archive_config(server.new_user(), server.port, place, "any")
    environment = {common.PASSWORD_VARIABLE: "unused"}
    common.measure(common.archiver(config, "status"), environment=environment)


def one_by_one(user: dovecot.User, port: int, messages: Sequence[Message]) -> common.Run:
    client = IMAPClient(user.server.host, port, ssl=False)
    client.login(user.name, user.password)
    before, begun = os.times(), time.monotonic()
    for message in messages:
        client.append("INBOX", message.wire, ("\\Seen",), datetime.fromtimestamp(message.received, UTC))
    wall, after = time.monotonic() - begun, os.times()
    client.logout()
    return common.Run(wall, after.user + after.system - before.user - before.system, 0)


def restored(user: dovecot.User, port: int, place: Path, name: str) -> common.Run:
    """The whole command, from its start to its end, into an empty mailbox."""
    config = archive_config(user, port, place, f"to-{name}")
    words = ("restore", "--account", "bench", "--to", f"to-{name}", "--folder", "INBOX", "--yes")
    environment = {common.PASSWORD_VARIABLE: user.password}
    return common.measure(common.archiver(config, *words), environment=environment)


def archive_config(user: dovecot.User, port: int, place: Path, account: str) -> Path:
    """A configuration with that account of the one archive."""
    config = common.archiver_config(user, place / account, port)
    text = config.read_text("utf-8").replace(str(place / account / "archive"), str(place / "archive"))
    config.write_text(text.replace("  bench:\n", f"  {account}:\n"), "utf-8")
    return config


if __name__ == "__main__":
    main()
