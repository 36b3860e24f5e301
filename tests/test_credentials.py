"""Where passwords come from, and that no error shows one."""

from __future__ import annotations

import os
import time
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver import credentials
from archiver.config import SecretSource
from archiver.credentials import secret
from archiver.errors import CredentialError, InterruptedRun

WHAT = "accounts.work.imap.password"
WORD = "Xq7hunter2"


def refused(source: SecretSource) -> CredentialError:
    """The error of a source that gives nothing; it names its use and shows no secret."""
    with pytest.raises(CredentialError) as caught:
        secret(source, WHAT)
    assert WHAT in caught.value.message
    assert caught.value.exit_code == 1
    shown = "".join(traceback.format_exception(caught.value)) + str(caught.value.hint)
    assert WORD not in shown
    return caught.value


@given(st.text(min_size=1).filter(lambda text: not set(text) & set("\r\n\0")))
def test_written_out(text: str) -> None:
    assert secret(SecretSource(literal=text), WHAT) == text


@pytest.mark.parametrize("text", [f"{WORD}\n", f"{WORD}\r", f"{WORD}\r\nA1 LOGOUT", f"{WORD}\0"])
def test_line_breaks_and_nul_never_get_through(text: str) -> None:
    assert "line break or NUL" in refused(SecretSource(literal=text)).message


def test_empty() -> None:
    assert "empty" in refused(SecretSource(literal="")).message


class TestEnvironment:
    def test_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("A_PASSWORD", f" {WORD} ")
        assert secret(SecretSource(env="A_PASSWORD"), WHAT) == f" {WORD} "

    def test_not_set(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("A_PASSWORD", raising=False)
        error = refused(SecretSource(env="A_PASSWORD"))
        assert "A_PASSWORD is not set" in error.message

    def test_empty_or_of_two_lines(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("A_PASSWORD", "")
        assert "empty" in refused(SecretSource(env="A_PASSWORD")).message
        monkeypatch.setenv("A_PASSWORD", f"{WORD}\n")
        assert "line break" in refused(SecretSource(env="A_PASSWORD")).message

    def test_not_text(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("A_PASSWORD", f"{WORD}\udce9")
        assert "not UTF-8" in refused(SecretSource(env="A_PASSWORD")).message

    @pytest.mark.parametrize("name", ["", "A=B", "A\0B"])
    def test_names_that_cannot_be(self, name: str) -> None:
        assert "is not set" in refused(SecretSource(env=name)).message


class TestFile:
    @pytest.mark.parametrize(
        "content", [WORD, f"{WORD}\n", f"{WORD}\r\n", f"{WORD}\nuser: me\n", f"{WORD}\n\n"]
    )
    def test_the_first_line_counts(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "pw").write_bytes(content.encode())
        assert secret(SecretSource(file=str(tmp_path / "pw")), WHAT) == WORD

    def test_other_scripts(self, tmp_path: Path) -> None:
        (tmp_path / "pw").write_text("пароль 密码\n", encoding="utf-8")
        assert secret(SecretSource(file=str(tmp_path / "pw")), WHAT) == "пароль 密码"

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"", "empty"),
            (f"\n{WORD}\n".encode(), "empty"),
            (f"{WORD}\0x\n".encode(), "NUL"),
            (f"{WORD}\rx\n".encode(), "line break"),
            (f"{WORD}\r\r\n".encode(), "line break"),
            (f"{WORD}\xe9\n".encode("latin-1"), "is not UTF-8"),
        ],
    )
    def test_what_is_no_secret(self, tmp_path: Path, content: bytes, why: str) -> None:
        (tmp_path / "pw").write_bytes(content)
        assert why in refused(SecretSource(file=str(tmp_path / "pw"))).message

    def test_not_there(self, tmp_path: Path) -> None:
        assert "No such file" in refused(SecretSource(file=str(tmp_path / "pw"))).message
        assert "Is a directory" in refused(SecretSource(file=str(tmp_path))).message
        assert "cannot read" in refused(SecretSource(file=f"{tmp_path}\0")).message


class TestCommand:
    @pytest.mark.parametrize(
        "command",
        [
            f"echo {WORD}",
            f"printf {WORD}",
            f"printf '{WORD}\\r\\n'",
            f"echo {WORD}; echo user: me",
            f"echo {WORD} | cat",
        ],
    )
    def test_the_first_line_it_prints(self, command: str) -> None:
        assert secret(SecretSource(command=command), WHAT) == WORD

    @pytest.mark.parametrize(
        ("command", "why"),
        [
            (f"echo {WORD}; exit 3", "exit code 3"),
            (f"no-such-program {WORD}", "exit code 127"),
            (f"echo {WORD}; kill -9 $$", "exit code -9"),
            ("true", "empty"),
            ("echo", "empty"),
            (f"printf '{WORD}\\0x'", "NUL"),
            (f"printf '{WORD}\\rx\\n'", "line break"),
            (f"printf '{WORD}\\351'", "UTF-8"),
            (f"echo {WORD}\0", "cannot be run"),
            ("", "empty"),
        ],
    )
    def test_what_gives_none(self, capfd: pytest.CaptureFixture[str], command: str, why: str) -> None:
        assert why in refused(SecretSource(command=command)).message
        assert WORD not in capfd.readouterr().out

    def test_one_that_does_not_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(credentials, "COMMAND_SECONDS", 0.2)
        begun = time.monotonic()
        error = refused(SecretSource(command=f"echo {WORD}; exec sleep 20"))
        assert "did not end in 0.2 s" in error.message
        assert time.monotonic() - begun < 5

    def test_one_whose_child_does_not_end(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(credentials, "COMMAND_SECONDS", 0.2)
        begun = time.monotonic()
        assert "did not end" in refused(SecretSource(command=f"echo {WORD}; sleep 4; true")).message
        assert time.monotonic() - begun < 3


def test_a_hung_command_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "COMMAND_SECONDS", 0.3)
    note = tmp_path / "pid"
    with pytest.raises(CredentialError, match="did not end"):
        secret(SecretSource(command=f"sh -c 'echo $$ > {note}; sleep 500'; true"), "work")
    child = int(note.read_text())
    give_up = time.monotonic() + 5
    while os.path.exists(f"/proc/{child}") and time.monotonic() < give_up:
        time.sleep(0.01)
    assert not os.path.exists(f"/proc/{child}")


def test_a_command_that_was_interrupted_is_an_interruption() -> None:
    with pytest.raises(InterruptedRun) as caught:
        secret(SecretSource(command="kill -INT $$"), "work")
    assert caught.value.exit_code == 130
