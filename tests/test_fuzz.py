"""A short run of the fuzzer; `python -m bench.fuzz` is an hour of it."""

from __future__ import annotations

import time

import pytest

from bench import fuzz


@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_every_promise_is_kept(target: str, rounds: int) -> None:
    assert fuzz.fuzz(target, seconds=4 * rounds) > 0


def test_what_raises_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    def careless(raw: bytes) -> None:
        assert b"From" in raw

    monkeypatch.setitem(fuzz.TARGETS, "mail", (fuzz.mails(), careless))
    with pytest.raises(AssertionError) as caught:
        fuzz.fuzz("mail", seconds=20)
    assert any("raw=b" in note for note in caught.value.__notes__)


def test_what_takes_long_is_told() -> None:
    def slow(raw: bytes) -> None:
        end = time.process_time() + fuzz.SECONDS
        while time.process_time() < end:
            pass

    with pytest.raises(AssertionError, match="it took 1"):
        fuzz.bounded(slow, b"x", 1)


def test_what_takes_much_memory_is_told() -> None:
    def greedy(raw: bytes) -> None:
        end = time.process_time() + fuzz.SUSPECT
        much = bytearray(fuzz.BYTES + 1000)
        while time.process_time() < end:
            much[0] += 0

    with pytest.raises(AssertionError, match="it took 32 MiB"):
        fuzz.bounded(greedy, b"x", 1)
