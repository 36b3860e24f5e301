"""Homes for the tests of the command line: an empty one, and one with an archive in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli import mails
from tests.cli.home import Home
from tests.servers.dovecot import Dovecot, User


@pytest.fixture(scope="session")
def pycache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the program's processes keep their bytecode."""
    return tmp_path_factory.mktemp("pycache")


@pytest.fixture
def home(tmp_path: Path, pycache: Path) -> Home:
    """A new home without any account."""
    made = Home(tmp_path, pycache)
    made.write()
    return made


@pytest.fixture(scope="session")
def shelf(
    dovecot: Dovecot, tmp_path_factory: pytest.TempPathFactory, pycache: Path
) -> Iterator[tuple[Home, User]]:
    """A home whose archive holds `mails.LIBRARY`, pulled and indexed; only for looking."""
    user = dovecot.new_user()
    made = Home(tmp_path_factory.mktemp("shelf"), pycache)
    made.mailbox(user)
    mails.deliver(user)
    made.good("sync")
    # One message that the archive has and the server no longer.
    user.expunge("INBOX", str(mails.GONE_UID))
    made.good("sync")
    yield made, user


@pytest.fixture
def library(shelf: tuple[Home, User]) -> Home:
    """The common archive; whoever changes it takes `own_library`."""
    return shelf[0]


@pytest.fixture
def own_library(shelf: tuple[Home, User], tmp_path: Path, pycache: Path) -> Home:
    """A copy of the common archive, on the same mailbox."""
    made = Home(tmp_path, pycache)
    shutil.copytree(shelf[0].root, made.root)
    made.settings = json.loads(json.dumps(shelf[0].settings))
    made.write()
    return made
