"""Configurations that point at a sink."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from archiver.config import Duration, SecretSource, SmtpServer
from tests.servers.smtp import Sink
from tests.servers.tls import Authority

ServerFor = Callable[..., SmtpServer]


@pytest.fixture
def server_for(authority: Authority) -> ServerFor:
    """Makes the configuration for a sink; short timeouts, the test authority trusted."""

    def make(sink: Sink, **changes: object) -> SmtpServer:
        values: dict[str, object] = {
            "host": sink.host,
            "port": sink.port,
            "security": sink.security,
            "from_": "me@example.org",
            "user": sink.offer.user,
            "password": SecretSource(literal="x") if sink.offer.user and "token" not in changes else None,
            "ca_file": str(authority.ca_file) if sink.security != "none" else None,
            "connect_timeout": Duration(5),
            "read_timeout": Duration(5),
        }
        return SmtpServer(**{**values, **changes})  # type: ignore[arg-type]

    return make
