"""Mail and queries that nobody would write: reading them never raises, and takes bounded time and memory.

Hypothesis makes them in rounds until the time is over: real messages damaged, spliced, nested and made long,
and queries of the language's own words. What breaks a promise is made as small as it can be, and shown.
"""

from __future__ import annotations

import argparse
import base64
import json
import time
import tracemalloc
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from archiver.errors import QueryError
from archiver.message import attachment_bytes, parse
from archiver.search import places
from archiver.search.analysis import terms
from archiver.search.index import document, texts
from archiver.search.query import parse as parse_query
from archiver.search.snippet import snippet, wanted
from archiver.search.tree import And, Node, Not, Or, SamePlace
from archiver.search.whoosh.gather import Gathered

SAMPLES = [path.read_bytes() for path in sorted((Path(__file__).parents[1] / "tests/samples").glob("*.eml"))]
Check = Callable[[Any], None]
NOW = datetime(2026, 1, 1)
ROUND = 500
SHOWN = 3_000  # characters of a text that a snippet is made of

# Seconds of CPU that anything may take, and that each megabyte adds; one that takes SUSPECT is done again
# with its memory counted: bytes that anything may take, and that each of its own adds.
SECONDS, SECONDS_PER_MEGABYTE = 1.0, 4.0
SUSPECT = 0.05
BYTES, BYTES_PER_BYTE = 32 << 20, 60

_PIECES = [
    *(b"\n", b"\r\n", b"\r", b"\n\n", b"\n ", b"\0", b"\xff", b"=", b"=\n", b'"', b"(", b"<", b">", b";"),
    *(b"=?utf-8?b?", b"=?x?q?=E4?=", b"?=", b"=?", b"*0*=", b"%C4%", b"\xe3\x81", b"\xcc\x81", b"+2AA-"),
    *(b"\x1b$B", b"\x1b(B", b"\x0e", b"~{", b"--b\n", b"--b--\n", b"begin 644 x\n", b"#0V%T\n", b"end\n"),
    *(b"&#xD800;", b"<!--", b"<style>", b"<a '", b"</p>", b"charset=gb2312", b"format=flowed"),
    *(b"From: ", b"To: a@example.org, \n", b"Subject: ", b"Date: 1 Jan", b"smime-type=x"),
    b"Content-Type: multipart/mixed; boundary=b\n",
    b"Content-Type: message/rfc822\n\n",
    b"Content-Type: text/html; charset=utf-7\n\n",
    b"Content-Transfer-Encoding: base64\n",
    b"Content-Transfer-Encoding: quoted-printable\n",
    *(b"Content-Type: application/ms-tnef\n\n", b"\x78\x9f\x3e\x22\x01\x00", b"\x05\x90\x06\x00"),
    *(b"-----BEGIN PGP MESSAGE-----\n", b"BEGIN:VCARD\nFN;QUOTED-PRINTABLE:=\n", b'SUMMARY;CN="'),
]  # fmt: skip


@st.composite
def mails(draw: st.DrawFn) -> bytes:
    """A real message with stretches left out, put in, repeated, or taken from another one."""
    raw = bytearray(draw(st.sampled_from(SAMPLES)))
    for _ in range(draw(st.integers(1, 8))):
        start = draw(st.integers(0, len(raw)))
        end = min(len(raw), start + draw(st.integers(0, 100)))
        piece = draw(st.sampled_from(_PIECES) | st.binary(max_size=12) | stretches())
        raw[start:end] = draw(st.sampled_from([piece, piece, bytes(raw[start:end]) + piece]))
    if draw(st.integers(0, 9)) == 0:
        at, length = draw(st.integers(0, len(raw))), draw(st.integers(1, 40))
        raw[at:at] = bytes(raw[at : at + length]) * draw(st.integers(2, 3_000))
    return nested(bytes(raw), draw(st.integers(0, 12)))


def stretches() -> st.SearchStrategy[bytes]:
    """A part of a real message."""
    return st.tuples(st.sampled_from(SAMPLES), st.integers(0, 3_000), st.integers(1, 400)).map(
        lambda where: where[0][where[1] : where[1] + where[2]]
    )


def nested(raw: bytes, way: int) -> bytes:
    """The message as it is, most of the time, or inside another, or as an encoded part of one."""
    if way == 0:
        return b"Content-Type: message/rfc822\n\n" + raw
    if way == 1:
        return b"Content-Type: multipart/digest; boundary=b\n\n--b\n\n" + raw + b"\n--b--\n"
    if way == 2:
        head = b"Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\n"
        return head + base64.encodebytes(raw)
    return raw


def queries() -> st.SearchStrategy[str]:
    """Words of the language in any order, and characters of all kinds."""
    words = [
        *(
            "a",
            "ab*",
            '"',
            "(",
            ")",
            "-",
            "NOT ",
            "OR",
            "AND",
            " ",
            " ",
            ":",
            "*",
            "..",
            "/",
            "京",
            "é",
            "\u0301",
            "™",
        ),
        *(
            "from:",
            "is:",
            "unread",
            "signed",
            "has:attachment",
            "folder:",
            "date:",
            "2024",
            "7d",
            "larger:",
            "5M",
        ),
        *("v2.7", "CVE-2024-1", "x" * 70, "\ud800", "“", "\u200d", "İ", "ß", "0x80070005", "a@example.org"),
    ]
    return st.lists(st.sampled_from(words) | st.text(max_size=4), max_size=40).map("".join)


def read_mail(raw: bytes) -> None:
    """What holds for the message of any bytes."""
    message = parse(raw)
    # Raises where a lone surrogate was left in a text: it could be neither shown nor indexed.
    json.dumps(msgspec.to_builtins(message), ensure_ascii=False).encode()
    for each in message.attachments[:20]:
        assert len(attachment_bytes(raw, each.part)) == each.size, "an attachment is as long as is said"
    indexed = document(b"k" * 32, 0, len(raw), message)
    Gathered("english").add(indexed)
    for values in texts(indexed).values():
        assert all(map(all, map(terms, values))), "a term is never empty"
    snippet(message.text[:SHOWN], wanted(parse_query("a OR 京", now=NOW), "body"), 80)


def read_query(text: str) -> None:
    """A query becomes a tree that can be asked, or an error at a place in it."""
    try:
        tree = parse_query(text, now=NOW, stemming="english")
    except QueryError as error:
        assert 0 <= error.position <= len(text), "the position is in the query"
        return
    for each in place_questions(tree):
        places.compile(each, lambda pattern: "1,2")
    snippet(text, wanted(tree, "body"), 80)


def place_questions(tree: Node) -> list[SamePlace]:
    match tree:
        case SamePlace():
            return [tree]
        case And(parts) | Or(parts):
            return [found for part in parts for found in place_questions(part)]
        case Not(part):
            return place_questions(part)
    return []


def bounded(read: Check, what: Any, size: int) -> None:
    """Read it; AssertionError when that takes too much time or memory for its size."""
    begun = time.process_time()
    read(what)
    taken = time.process_time() - begun
    assert taken < SECONDS + SECONDS_PER_MEGABYTE * size / 1e6, f"it took {taken:.1f} s"
    if taken > SUSPECT:
        tracemalloc.start()
        try:
            read(what)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < BYTES + BYTES_PER_BYTE * size, f"it took {peak >> 20} MiB"


TARGETS: dict[str, tuple[st.SearchStrategy[Any], Check]] = {
    "mail": (mails(), lambda raw: bounded(read_mail, raw, len(raw))),
    "query": (queries(), lambda text: bounded(read_query, text, len(text))),
}


def fuzz(target: str, seconds: float, first: int = 0) -> int:
    """Rounds of ROUND examples until the time is over, seeds from `first` on; how many rounds those were.

    Raises what the first example raised that broke a promise, made small, and the example as a note.
    """
    strategy, check = TARGETS[target]
    end = time.monotonic() + seconds
    rounds = 0
    while time.monotonic() < end:
        run = settings(
            max_examples=ROUND,
            deadline=None,
            database=None,
            phases=[Phase.generate, Phase.shrink],
            suppress_health_check=list(HealthCheck),
        )(seed(first + rounds)(given(strategy)(check)))
        run()
        rounds += 1
    return rounds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=3600, help="for all targets together (%(default)s)")
    parser.add_argument("--target", choices=TARGETS, help="one of them; both without it")
    parser.add_argument(
        "--seed", type=int, default=time.time_ns() >> 20, help="of the first round (the time)"
    )
    options = parser.parse_args()
    targets = [options.target] if options.target else list(TARGETS)
    for target in targets:
        rounds = fuzz(target, options.seconds / len(targets), options.seed)
        print(
            f"{target}: {rounds * ROUND:,} examples, seeds from {options.seed} on: every promise kept",
            flush=True,
        )


if __name__ == "__main__":
    main()
