"""kill -9 in the middle of a restore, then the same again: nothing twice, nothing missing."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from tests.cli.home import Home
from tests.conftest import AnyUser
from tests.pull.conftest import mail
from tests.pull.steps import crowd
from tests.restore.test_restore import MIGRATE, NOON, content, filled
from tests.servers.dovecot import Dovecot, User

PROJECT = Path(__file__).parent.parent.parent
STEPS = [
    ("created", 1),
    ("recorded", 1),
    ("recorded", 3),
    ("sent", 1),
    ("sent", 4),
    ("answered", 1),
    ("answered", 3),
    ("known", 1),
    ("known", 4),
]


def kill(home: Home, step: str, number: int) -> None:
    command = [sys.executable, "-m", "tests.restore.driver", str(home.config), "old", "new"]
    done = subprocess.run(
        [*command, "--kill", step, str(number)], cwd=PROJECT, capture_output=True, timeout=60, check=False
    )
    assert done.returncode == -signal.SIGKILL, done


def complete(home: Home) -> None:
    """Everything of the restored account is archived, byte for byte, and its contents are the old one's."""
    home.good("sync")
    home.good("verify", "--server")


@pytest.mark.parametrize(("step", "number"), STEPS)
def test_at_every_step(home: Home, mailbox: User, any_mailbox: AnyUser, step: str, number: int) -> None:
    home.mailbox(filled(mailbox), "old")
    home.good("sync", "old")
    home.mailbox(any_mailbox, "new")
    kill(home, step, number)
    home.good(*MIGRATE)
    assert content(any_mailbox) == content(mailbox)
    complete(home)


@pytest.mark.parametrize("capability", ["IMAP4rev1", "IMAP4rev1 LITERAL+", "IMAP4rev1 MULTIAPPEND"])
def test_where_no_uids_are_told(
    home: Home, mailbox: User, start_dovecot: Callable[..., Dovecot], capability: str
) -> None:
    """Killed after messages were sent, with somebody else's mail among them; then looked for by content."""
    new = start_dovecot(capability=f"{capability} NAMESPACE").new_user()
    home.mailbox(filled(mailbox), "old")
    home.good("sync", "old")
    home.mailbox(new, "new")
    new.save(mail(70), date=NOON + timedelta(days=1))
    kill(home, "answered", 2)
    new.save(mail(71), date=NOON + timedelta(days=2))
    home.good(*MIGRATE)
    expected = content(mailbox)
    found = content(new)
    others = {mail(70), mail(71)}
    found["INBOX"] = [each for each in found["INBOX"] if each[0] not in others]
    assert found == expected
    assert all("there already" in line for line in home.good(*MIGRATE).lines())


MANY = 3000


def test_at_any_instant(home: Home, dovecot: Dovecot, rounds: int) -> None:
    """The real command, killed at moments spread over its run, each into a new mailbox, and run again."""
    old, contents = crowd(dovecot, MANY)
    home.mailbox(old, "old")
    home.good("sync", "old")
    home.mailbox(dovecot.new_user(), "new")
    begun = time.monotonic()
    home.run(*MIGRATE)
    whole = time.monotonic() - begun
    killed = 0
    for number in range(rounds):
        new = dovecot.new_user()
        home.mailbox(new, "new")
        with home.spawn(*MIGRATE) as process:
            try:
                process.wait(whole * (number + 1) / (rounds + 1))
            except subprocess.TimeoutExpired:
                process.kill()
            killed += process.wait() == -signal.SIGKILL
        assert home.run(*MIGRATE).code == 0
        assert new.status()["messages"] == contents
        assert {each[0] for each in content(new)["INBOX"]} == {each[0] for each in content(old)["INBOX"]}
    assert killed
    complete(home)
