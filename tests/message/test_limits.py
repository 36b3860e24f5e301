"""Hostile input takes bounded time: each of these took minutes with one careless pattern or join."""

from __future__ import annotations

import time

import pytest

from archiver.message import parse

_TEXT = b"Subject: x\nContent-Type: text/plain\n\n"
_HTML = b"Subject: x\nContent-Type: text/html\n\n"
_MIXED = b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n"
_LEVEL = b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n'

_HOSTILE = {
    "enclosures never closed": b"".join(_LEVEL % (level, level) for level in range(50_000)),
    "messages in messages": b"Content-Type: message/rfc822\n\n" * 200_000,
    "a million parts": _MIXED + b"--b\n\nx\n" * 1_000_000,
    "boundaries inside lines": _MIXED + b"--b" * 2_000_000,
    "lines like boundaries": b"Content-Type: multipart/mixed\n\n" + (b"\n--" + b"a" * 190) * 20_000,
    "a million fields": b"a:\n" * 1_000_000,
    "a million folds": b"Subject : x\n" + b" y\n" * 1_000_000 + b"From: x\n\n",
    "a million broken lines": b"Subject: x\n" + b"junk line\n" * 1_000_000 + b"From: x\n\n",
    "unended words": b"Subject: " + b"=?a?q?" * 80_000 + b"\n\n",
    "words of one letter": b"Subject: " + b"=?a?b?A?=" * 50_000 + b"\n\n",
    "quotes in addresses": b"From: " + b'"\\"' * 80_000 + b"\n\n",
    "comments in addresses": b"From: " + b"(" * 250_000 + b"\n\n",
    "half words in addresses": b"From: " + b"=?" * 100_000 + b"\n\n",
    "empty addresses": b"To: " + b"," * 250_000 + b"\n\n",
    "parameters": b"Content-Type: a/b" + b"; a*0*=x" * 50_000 + b"\n\n",
    "blanks in parameters": b"Content-Type: a/b; x" + b" " * 400_000 + b"y\n\n",
    "padding": _TEXT.replace(b"\n\n", b"\nContent-Transfer-Encoding: base64\n\n") + b"A=" * 1_000_000,
    "soft breaks": _TEXT.replace(b"\n\n", b"\nContent-Transfer-Encoding: quoted-printable\n\n")
    + b"= " * 1_000_000,
    "files that begin": _TEXT + b"begin 644 x\n" * 200_000,
    "flowed lines": _TEXT.replace(b"plain", b"plain; format=flowed") + b"a \n" * 500_000,
    "escapes": _TEXT + b"\x1b$B" * 500_000,
    "unended tags": _HTML + b"<a" * 500_000,
    "unended quotes": _HTML + b'<a "' * 500_000,
    "unended comments": _HTML + b"<!--" * 500_000,
    "unended styles": _HTML + b"<style>" * 300_000,
    "deep nesting": _HTML + b"<div>" * 400_000,
    "long numbers": _HTML + b"&#" + b"1" * 1_000_000 + b";",
    "calendar quotes": _TEXT.replace(b"plain", b"calendar") + b'SUMMARY;"' * 200_000,
    "references": b"References: " + b"<" * 400_000 + b"\n\n",
    "blank lines": b"\n" * 4_000_000,
    "carriage returns": b"\r" * 2_000_000,
    "zeros": bytes(4_000_000),
}


@pytest.mark.parametrize("name", _HOSTILE)
def test_bounded_time(name: str) -> None:
    start = time.process_time()
    parse(_HOSTILE[name])
    assert time.process_time() - start < 5  # seconds of a slow machine; most take a tenth of one
