"""Killed at every step, two at once: nothing is sent twice by itself, and nothing disappears."""

from __future__ import annotations

import email
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path

from archiver.store.user import User
from tests.servers.smtp import Sink

TO = ("you@example.org", "they@example.org", "we@example.org")
MESSAGES = 50

SENDER = """
import os, signal, sys
from datetime import UTC, datetime
from archiver.config import SmtpServer
from archiver.resend import Parcel, Recipe, deliver, enqueue, mailboxes, stored
from archiver.smtp import Mailbox, connect
from archiver.store.user import User

root, port, who, kill_at = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
server = SmtpServer(host="127.0.0.1", port=port, security="none", from_="me@example.org")
steps = 0

def now():
    return datetime.now(UTC)

def fault(step):
    global steps
    steps += 1
    if steps == kill_at:
        os.kill(os.getpid(), signal.SIGKILL)

def fetch(key):
    return b"Subject: %d\\r\\n\\r\\ntext\\r\\n" % key[0]

with User(root) as user:
    if who == "fill":
        recipe = Recipe(from_=Mailbox("", "me@example.org"), to=mailboxes(sys.argv[5:]), date=now())
        for start, due in ((0, False), (MESSAGES, True)):
            parcels = [Parcel((bytes([start + n]) * 32,), recipe) for n in range(MESSAGES)]
            enqueue(parcels, server, "s", user, now(), fetch, due=due)
    else:
        if who == "daemon":
            chosen = user.due(int(now().timestamp()))
        else:
            chosen = [m for m in user.outbox() if all(to.due is None for to in m.recipients)]
        jobs = [job for m in chosen if (job := stored(m, fetch)).to]
        deliver(jobs, lambda: connect(server, None), user, now, fault=fault)
""".replace("MESSAGES", str(MESSAGES))


def start(root: Path, sink: Sink, who: str, kill_at: int = 0, *to: str) -> subprocess.Popen[bytes]:
    arguments = [sys.executable, "-c", SENDER, str(root), str(sink.port), who, str(kill_at), *to]
    return subprocess.Popen(arguments)


def arrived(sink: Sink) -> Counter[tuple[str, str]]:
    """How often each recipient got each message."""
    return Counter(
        (str(email.message_from_bytes(got.data)["Resent-Message-ID"]), address)
        for got in tuple(sink.messages)
        for address in got.rcpt_tos
    )


def unknown(root: Path) -> int:
    """Of how many messages the outcome is unknown for somebody."""
    with User(str(root)) as user:
        return sum(any(to.status == "unknown" for to in entry.recipients) for entry in user.outbox())


def check(root: Path, sink: Sink) -> Counter[str]:
    """Compare the outbox with what arrived; how many recipients have which status."""
    allowed = {"sent": (1,), "queued": (0,), "unknown": (0, 1)}
    with User(str(root)) as user:
        user.orphans(0)
        entries = user.outbox()
    got = arrived(sink)
    assert len(entries) == 2 * MESSAGES
    for entry in entries:
        assert len(entry.recipients) == len(TO)
        for to in entry.recipients:
            assert got[entry.message_id, to.address] in allowed[to.status], (entry.id, to)
    assert max(got.values(), default=0) <= 1
    assert sum(got.values()) <= 2 * MESSAGES * len(TO)
    return Counter(to.status for entry in entries for to in entry.recipients)


def test_by_hand_and_by_the_daemon_at_once_killed_at_every_step(tmp_path: Path, rounds: int) -> None:
    # Ten steps a message with three recipients, two before the first: all of two messages, and beyond.
    last = 26 if rounds <= 3 else 120
    with Sink() as sink:
        assert start(tmp_path, sink, "fill", 0, *TO).wait(60) == 0
        for step in range(1, last + 1):
            both = [start(tmp_path, sink, who, step) for who in ("hand", "daemon")]
            ends = {process.wait(60) for process in both}
            assert ends <= {-signal.SIGKILL, 0}
            lost = unknown(tmp_path)
            check(tmp_path, sink)
            # The one message that each was at, however many it had reserved.
            assert unknown(tmp_path) <= lost + 2
        counts = check(tmp_path, sink)
        assert counts["unknown"] > len(TO) and counts["queued"] > 0
        for who in ("hand", "daemon"):
            assert start(tmp_path, sink, who).wait(60) == 0
        counts = check(tmp_path, sink)
        assert counts["queued"] == 0 and counts["sent"] + counts["unknown"] == 2 * MESSAGES * len(TO)

        # The user's word, for one of them.
        with User(str(tmp_path)) as user:
            entry = next(m for m in user.outbox() if any(to.status == "unknown" for to in m.recipients))
            before = arrived(sink)
            assert user.retry(entry.id, 0) == sum(to.status == "unknown" for to in entry.recipients)
        assert start(tmp_path, sink, "daemon").wait(60) == 0
        more = arrived(sink) - before
        assert {message_id for message_id, _ in more} == {entry.message_id}
        assert set(more.values()) == {1}
