"""Fixtures every test may ask for: mail servers, private to the run, on loopback."""

from __future__ import annotations

import contextlib
import os
import ssl
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import pytest
import trustme

from tests.servers import dovecot as dovecots
from tests.servers.proxy import Proxy
from tests.servers.pymap import Mail, Pymap
from tests.servers.scripted import ScriptedServer


@dataclass(frozen=True)
class Tls:
    """A test CA and a certificate by it for localhost and 127.0.0.1, as PEM files."""

    ca_file: Path
    certificate: Path
    key: Path

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.ca_file)


@pytest.fixture(scope="session")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A fresh CA, trusted by nobody else, and the servers' certificate."""
    directory = tmp_path_factory.mktemp("tls")
    made = Tls(directory / "ca.pem", directory / "server.pem", directory / "server.key")
    authority = trustme.CA()
    issued = authority.issue_cert("localhost", "127.0.0.1")
    authority.cert_pem.write_to_path(made.ca_file)
    made.certificate.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
    issued.private_key_pem.write_to_path(made.key)
    return made


@pytest.fixture(scope="session")
def dovecot(tls: Tls) -> Iterator[dovecots.Dovecot]:
    """One Dovecot for the whole run, with TLS; take `mailbox` for a user of your own on it."""
    with running(dovecots.Options(tls.certificate, tls.key)) as server:
        yield server


@pytest.fixture
def mailbox(dovecot: dovecots.Dovecot) -> dovecots.User:
    """A new, empty user on the common Dovecot."""
    return dovecot.new_user()


@pytest.fixture
def start_dovecot(tls: Tls) -> Iterator[Callable[..., dovecots.Dovecot]]:
    """Start further Dovecots that differ: `start_dovecot(capability="IMAP4rev1 IDLE")`; see `Options`."""
    with contextlib.ExitStack() as stack:

        def start(**options: str) -> dovecots.Dovecot:
            wanted = dovecots.Options(tls.certificate, tls.key, **options)
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


def missing(what: str) -> NoReturn:
    """Skip the test; where the environment says CI everything must be there, so fail."""
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


@pytest.fixture
def scripted(tls: Tls) -> Iterator[Callable[..., ScriptedServer]]:
    """Start scripted IMAP servers: `scripted()`, `scripted("tls")`, `scripted("starttls")`."""
    with contextlib.ExitStack() as stack:

        def start(security: str = "none") -> ScriptedServer:
            context = None if security == "none" else tls.server_context()
            server = ScriptedServer(context=context, starttls=security == "starttls")
            return stack.enter_context(server)

        yield start


@pytest.fixture
def start_pymap(tls: Tls) -> Iterator[Callable[..., Pymap]]:
    """Start pymap servers with mail in them: `start_pymap({"INBOX": [Mail(raw)]}, encrypted=True)`."""
    with contextlib.ExitStack() as stack:

        def start(folders: Mapping[str, Sequence[Mail]], *, encrypted: bool = False) -> Pymap:
            context = tls.server_context() if encrypted else None
            return stack.enter_context(Pymap(folders, context=context))

        yield start


@pytest.fixture
def start_proxy() -> Iterator[Callable[..., Proxy]]:
    """Start proxies in front of a server: `start_proxy(("127.0.0.1", port), delay=0.025)`."""
    with contextlib.ExitStack() as stack:

        def start(target: tuple[str, int], *, delay: float = 0, rate: float | None = None) -> Proxy:
            return stack.enter_context(Proxy(target, delay=delay, rate=rate))

        yield start
