"""Fixtures every test may ask for: mail servers, private to the run, on loopback."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn

import pytest
from hypothesis import settings

from tests.servers import cyrus as cyruses
from tests.servers import dovecot as dovecots
from tests.servers import postfix as postfixes
from tests.servers.proxy import Proxy
from tests.servers.pymap import Mail, Pymap
from tests.servers.scripted import ScriptedServer
from tests.servers.tls import Authority, Certificate

AnyUser = dovecots.User | cyruses.User

# Servers and disks are slow at times: a deadline for each example would only find that out.
settings.register_profile("quick", deadline=None)
settings.register_profile("soak", deadline=None, max_examples=1000)
settings.load_profile("quick")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--rounds", type=int, default=3, help="how often a kill test kills (default: 3)")


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> int:
    """How many rounds a kill test goes: few here, many in `make soak`."""
    return int(request.config.getoption("--rounds"))


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority for this run; clients need its `ca_file`."""
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="session")
def certificate(authority: Authority) -> Certificate:
    """What the servers below show: valid for localhost and 127.0.0.1."""
    return authority.server()


@pytest.fixture(scope="session")
def dovecot(certificate: Certificate) -> Iterator[dovecots.Dovecot]:
    """One Dovecot for the whole run, with TLS; take `mailbox` for a user of your own on it."""
    with running(dovecots.Options(certificate.certificate, certificate.key)) as server:
        yield server


@pytest.fixture
def mailbox(dovecot: dovecots.Dovecot) -> dovecots.User:
    """A new, empty user on the common Dovecot."""
    return dovecot.new_user()


@pytest.fixture
def start_dovecot(certificate: Certificate) -> Iterator[Callable[..., dovecots.Dovecot]]:
    """Start further Dovecots that differ: `start_dovecot(capability="IMAP4rev1 IDLE")`; see `Options`."""
    with contextlib.ExitStack() as stack:

        def start(**options: str) -> dovecots.Dovecot:
            wanted = dovecots.Options(certificate.certificate, certificate.key, **options)
            return stack.enter_context(running(wanted))

        yield start


@contextlib.contextmanager
def running(options: dovecots.Options) -> Iterator[dovecots.Dovecot]:
    try:
        server = dovecots.start(options)
    except dovecots.MissingServerError as error:
        missing(str(error))
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="session")
def cyrus(certificate: Certificate) -> Iterator[cyruses.Cyrus]:
    """One Cyrus for the whole run, with TLS; take `cyrus_mailbox` for a user of your own on it."""
    try:
        server = cyruses.start(certificate)
    except dovecots.MissingServerError as error:
        missing(str(error))
    yield server
    server.stop()


@pytest.fixture
def cyrus_mailbox(cyrus: cyruses.Cyrus) -> cyruses.User:
    """A new user with an empty INBOX on the common Cyrus."""
    return cyrus.new_user()


@pytest.fixture(scope="session")
def postfix() -> Iterator[postfixes.Postfix]:
    """One Postfix for the whole run, which receives for example.org."""
    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(postfixes.running())
        except dovecots.MissingServerError as error:
            missing(str(error))
        yield server


@pytest.fixture(params=["dovecot", "cyrus"])
def any_mailbox(request: pytest.FixtureRequest) -> AnyUser:
    """A new, empty user on a real server; the test runs once with each of them."""
    server = request.getfixturevalue(request.param)
    assert isinstance(server, dovecots.Dovecot | cyruses.Cyrus)
    return server.new_user()


def missing(what: str) -> NoReturn:
    """Skip the test; where the environment says CI everything must be there, so fail."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture
def scripted(certificate: Certificate) -> Iterator[Callable[..., ScriptedServer]]:
    """Start scripted IMAP servers: `scripted()`, `scripted("tls")`, `scripted("starttls")`."""
    with contextlib.ExitStack() as stack:

        def start(security: str = "none") -> ScriptedServer:
            context = None if security == "none" else certificate.context()
            server = ScriptedServer(context=context, starttls=security == "starttls")
            return stack.enter_context(server)

        yield start


@pytest.fixture
def start_pymap(certificate: Certificate) -> Iterator[Callable[..., Pymap]]:
    """Start pymap servers with mail in them: `start_pymap({"INBOX": [Mail(raw)]}, encrypted=True)`."""
    with contextlib.ExitStack() as stack:

        def start(folders: Mapping[str, Sequence[Mail]], *, encrypted: bool = False) -> Pymap:
            context = certificate.context() if encrypted else None
            return stack.enter_context(Pymap(folders, context=context))

        yield start


@pytest.fixture
def start_proxy() -> Iterator[Callable[..., Proxy]]:
    """Start proxies in front of a server: `start_proxy(("127.0.0.1", port), delay=0.025)`."""
    with contextlib.ExitStack() as stack:

        def start(target: tuple[str, int], *, delay: float = 0, rate: float | None = None) -> Proxy:
            return stack.enter_context(Proxy(target, delay=delay, rate=rate))

        yield start
