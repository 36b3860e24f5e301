"""Which certificates are trusted, by a real handshake in memory; the edges' own tests use it over a line."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver import trust
from archiver.config import ImapServer, SecretSource, Server, SmtpServer
from archiver.errors import ConfigError, TlsError
from tests.servers.tls import Authority, Certificate, self_signed

Make = Callable[..., Server]


def imap(**changes: object) -> Server:
    values: dict[str, object] = {"host": "localhost", "user": "me", "password": SecretSource(literal="x")}
    return ImapServer(**{**values, **changes})  # type: ignore[arg-type]


def smtp(**changes: object) -> Server:
    values: dict[str, object] = {"host": "localhost", "from_": "me@example.org"}
    return SmtpServer(**{**values, **changes})  # type: ignore[arg-type]


def handshake(server: Server, shown: Certificate, version: ssl.TLSVersion | None = None) -> None:
    """As both edges do it; raises what they would meet."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    theirs = shown.context()
    if version:
        theirs.minimum_version = theirs.maximum_version = version
    client = trust.context(server).wrap_bio(to_client, to_server, server_hostname=server.host)
    answering = theirs.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(4):
        for side in (client, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                pass
    trust.check(server, client.getpeercert(binary_form=True))
    assert client.version() in ("TLSv1.2", "TLSv1.3")


@pytest.mark.parametrize("make", [imap, smtp])
class TestContext:
    def test_a_private_authority(self, make: Make, authority: Authority, certificate: Certificate) -> None:
        handshake(make(ca_file=str(authority.ca_file)), certificate)
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(make(), certificate)

    def test_its_certificates_are_for_one_host_and_time(self, make: Make, authority: Authority) -> None:
        for shown in (authority.server("elsewhere.example.org"), authority.expired()):
            with pytest.raises(ssl.SSLCertVerificationError):
                handshake(make(ca_file=str(authority.ca_file)), shown)

    def test_a_file_that_holds_none(self, make: Make, tmp_path: Path) -> None:
        path = tmp_path / "ca.pem"
        for content in (None, b"", b"no certificate", b"\xff\xfe"):
            if content is not None:
                path.write_bytes(content)
            with pytest.raises(
                ConfigError, match=r"localhost: ca_file .*ca.pem holds no certificate"
            ) as caught:
                trust.context(make(ca_file=str(path)))
            assert "PEM" in (caught.value.hint or "")

    def test_old_versions_are_refused(
        self, make: Make, authority: Authority, certificate: Certificate
    ) -> None:
        server = make(ca_file=str(authority.ca_file))
        assert trust.context(server).minimum_version == ssl.TLSVersion.TLSv1_2
        handshake(server, certificate, ssl.TLSVersion.TLSv1_2)


@pytest.mark.parametrize("make", [imap, smtp])
class TestFingerprint:
    def test_replaces_authority_name_and_date(self, make: Make, authority: Authority, tmp_path: Path) -> None:
        for shown in (self_signed(tmp_path), authority.expired(), authority.server("elsewhere.example.org")):
            pairs = [shown.fingerprint[i : i + 2].upper() for i in range(0, 64, 2)]
            for written in (shown.fingerprint, ":".join(pairs), " ".join(pairs)):
                handshake(make(fingerprint=written), shown)

    def test_another_is_refused_and_told(self, make: Make, certificate: Certificate, tmp_path: Path) -> None:
        with pytest.raises(TlsError, match=f"this one has {certificate.fingerprint}") as caught:
            handshake(make(fingerprint=self_signed(tmp_path).fingerprint), certificate)
        assert "renewed" in (caught.value.hint or "")

    def test_no_certificate_is_not_the_right_one(self, make: Make) -> None:
        for nothing in (None, b""):
            with pytest.raises(TlsError, match="showed no certificate"):
                trust.check(make(fingerprint="ab" * 32), nothing)

    def test_without_one_there_is_nothing_to_compare(self, make: Make) -> None:
        trust.check(make(), None)
