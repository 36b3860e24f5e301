"""The table of providers, and what a configuration makes of it."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from archiver import presets
from archiver.config import Config, ImapServer, SmtpServer, parse
from archiver.errors import ConfigError, LoginError
from archiver.imap import connect
from archiver.presets import PRESETS, Preset
from tests.imap.conftest import server_for
from tests.servers.scripted import ScriptedServer

__all__ = ["server_for"]

FILE = Path("/somewhere/config.yaml")
NAMES = [preset.name for preset in PRESETS]


def imap(more: str) -> ImapServer:
    return written(f"accounts: {{a: {{imap: {{user: u, password: x, {more}}}}}}}").accounts["a"].imap


def smtp(more: str) -> SmtpServer:
    return written(f"smtp: {{s: {{from: a@example.org, {more}}}}}").smtp["s"]


def written(text: str) -> Config:
    return parse(f"archive: mail\n{text}\n", FILE)


def problem(read: Callable[[str], object], more: str) -> str:
    with pytest.raises(ConfigError) as caught:
        read(more)
    (found,) = caught.value.problems
    return found.removeprefix(f"{FILE}:2: ")


class TestTable:
    def test_names_can_be_written_and_are_one_each(self) -> None:
        assert len(set(NAMES)) == len(NAMES)
        assert all(re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", name) for name in NAMES)
        asked = "gmail outlook icloud yahoo fastmail gmx webde yandex mailru qq 163 126 yeah zoho aol"
        assert {*asked.split(), "proton-bridge"} <= {*NAMES}

    @pytest.mark.parametrize("preset", PRESETS, ids=NAMES)
    def test_each_makes_a_good_configuration(self, preset: Preset) -> None:
        receives, sends = imap(f"preset: {preset.name}"), smtp(f"preset: {preset.name}")
        assert (receives.host, receives.port, receives.security) == preset.imap
        assert (sends.host, sends.port, sends.security) == preset.smtp
        assert receives.preset == sends.preset == preset.name
        assert 1 <= receives.connections <= (preset.connections or 20)
        assert receives.daily_bytes == preset.daily_bytes

    @pytest.mark.parametrize("preset", PRESETS, ids=NAMES)
    def test_each_says_how_to_log_in(self, preset: Preset) -> None:
        assert preset.title and preset.login and preset.where
        for text in (preset.title, preset.login, preset.where, preset.quirks):
            assert "|" not in text and "\n" not in text, "it would break the table of the page"

    def test_no_server_is_in_clear(self) -> None:
        assert {server[2] for preset in PRESETS for server in (preset.imap, preset.smtp)} <= {
            "tls",
            "starttls",
        }


class TestConfiguration:
    def test_what_is_written_out_counts(self) -> None:
        server = imap("preset: gmail, host: localhost, port: 1993, connections: 9, daily_bytes: 1G")
        assert (server.host, server.port, server.security) == ("localhost", 1993, "tls")
        assert (server.connections, server.daily_bytes) == (9, 1 << 30)
        assert smtp("preset: gmail, host: localhost").port == 465

    def test_another_security_has_another_port(self) -> None:
        assert (imap("preset: gmail, security: starttls").port) == 143
        assert (smtp("preset: gmail, security: starttls").port) == 587
        assert (smtp("preset: proton-bridge, security: starttls").port) == 1025

    def test_limits(self) -> None:
        assert (imap("preset: gmail").connections, imap("preset: gmail").daily_bytes) == (3, 2_500_000_000)
        assert imap("preset: gmail, daily_bytes: null").daily_bytes is None
        assert imap("preset: fastmail").daily_bytes is None

    def test_never_more_connections_than_allowed(self, monkeypatch: pytest.MonkeyPatch) -> None:
        strict = Preset(
            **{key: getattr(PRESETS[0], key) for key in Preset.__struct_fields__ if key != "connections"},
            connections=2,
        )
        monkeypatch.setattr(presets, "PRESETS", (strict,))
        assert imap("preset: gmail").connections == 2

    def test_numbers_are_names(self) -> None:
        assert imap("preset: 163").host == "imap.163.com"
        assert imap("preset: '126'").host == "imap.126.com"

    @pytest.mark.parametrize(
        ("written", "meant"),
        [
            *(("gmial", "gmail"), ("GMail", "gmail"), ("162", "163"), ("web.de", "webde")),
            *(("protonbridge", "proton-bridge"), ("yahooexport", "yahoo-export")),
        ],
    )
    def test_the_nearest_is_named(self, written: str, meant: str) -> None:
        assert (
            problem(imap, f"preset: {written}") == f"accounts.a.imap.preset: unknown; did you mean {meant}?"
        )
        assert problem(smtp, f"preset: {written}") == f"smtp.s.preset: unknown; did you mean {meant}?"

    @pytest.mark.parametrize("written", ["xyzzy", "null", "[gmail]", "{}", "''"])
    def test_all_are_named_where_none_is_near(self, written: str) -> None:
        found = problem(imap, f"preset: {written}")
        assert found.startswith("accounts.a.imap.preset: unknown; ")
        assert "gmail" in found

    def test_other_problems_of_the_same_server_are_told_too(self) -> None:
        with pytest.raises(ConfigError) as caught:
            imap("preset: gmial, security: ssl, prot: 1")
        assert len(caught.value.problems) == 3

    def test_without_one_the_host_is_missing(self) -> None:
        assert problem(imap, "port: 993") == "accounts.a.imap: host is missing"


def test_the_table_is_read_only_when_used() -> None:
    script = (
        "import sys, pathlib, archiver.cli.app, archiver.archive\n"
        "from archiver.config import parse\n"
        "text = 'archive: mail\\naccounts: {a: {imap: {host: h, user: u, password: x}}}'\n"
        "parse(text, pathlib.Path('c.yaml'))\n"
        "print('archiver.presets' in sys.modules)\n"
        "parse(text.replace('host: h', 'preset: gmail'), pathlib.Path('c.yaml'))\n"
        "print('archiver.presets' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_refused_login_says_what_the_provider_takes(
    scripted: Callable[..., ScriptedServer], server_for: Callable[..., ImapServer]
) -> None:
    server = server_for(scripted(), preset="icloud")
    with pytest.raises(LoginError) as caught, connect(server, lambda: "wrong"):
        pytest.fail("logged in")
    assert "app-specific password; account.apple.com" in (caught.value.hint or "")
    server = server_for(scripted(), preset="a provider of tomorrow")
    with pytest.raises(LoginError) as caught, connect(server, lambda: "wrong"):
        pytest.fail("logged in")
    assert "check user and password" in (caught.value.hint or "")
