"""Configurations that point at the tests' servers, with short timeouts and the test authority trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Protocol

import pytest

from archiver.config import Duration, ImapServer, SecretSource
from archiver.imap import Connection, connect
from tests.servers.tls import Authority

PASSWORD = "secret"


class Listening(Protocol):
    """Any of the tests' servers."""

    @property
    def host(self) -> str: ...
    @property
    def port(self) -> int: ...


ServerFor = Callable[..., ImapServer]
Connect = Callable[..., Connection]


@pytest.fixture
def server_for(authority: Authority) -> ServerFor:
    """`server_for(server)`, in clear; `server_for(server, security="tls", port=..., user=...)`."""

    def make(server: Listening, **changes: object) -> ImapServer:
        values: dict[str, object] = {
            "host": server.host,
            "port": server.port,
            "security": "none",
            "user": "user",
            "password": SecretSource(literal=PASSWORD),
            "connect_timeout": Duration(5),
            "read_timeout": Duration(5),
        }
        if changes.get("security", "none") != "none" and not {"fingerprint", "ca_file"} & changes.keys():
            values["ca_file"] = str(authority.ca_file)
        return ImapServer(**{**values, **changes})  # type: ignore[arg-type]

    return make


@pytest.fixture
def log_in(server_for: ServerFor) -> Iterator[Connect]:
    """A logged-in connection, closed at the end: `log_in(server, password="other", **changes)`."""
    with ExitStack() as stack:

        def make(server: Listening, *, password: str = PASSWORD, **changes: object) -> Connection:
            return stack.enter_context(connect(server_for(server, **changes), lambda: password))

        yield make
