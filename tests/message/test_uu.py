from __future__ import annotations

import binascii

from hypothesis import given
from hypothesis import strategies as st

from archiver.message.uu import find_uu, uu_content, without_uu


def encoded(content: bytes, name: bytes = b"file.bin") -> bytes:
    lines = [binascii.b2a_uu(content[at : at + 45]) for at in range(0, len(content), 45)]
    return b"begin 644 " + name + b"\n" + b"".join(lines) + b"`\nend\n"


@given(st.binary(min_size=1, max_size=300), st.booleans())
def test_found_decoded_removed(content: bytes, crlf: bool) -> None:
    text = b"before\n" + encoded(content) + b"after\n"
    if crlf:
        text = text.replace(b"\n", b"\r\n")
    (file,) = find_uu(text)
    assert (file.name, uu_content(text, file)) == (b"file.bin", content)
    assert without_uu(text, [file]).split() == [b"before", b"after"]


def test_two_files_and_a_cut_one() -> None:
    cut = b"".join(encoded(b"three" * 30).splitlines(keepends=True)[:3])
    text = encoded(b"one", b"1.txt") + b"between\n" + encoded(b"two", b"2 .txt") + cut
    files = find_uu(text)
    assert [file.name for file in files] == [b"1.txt", b"2 .txt", b"file.bin"]
    assert [uu_content(text, file)[:5] for file in files] == [b"one", b"two", b"three"]
    assert without_uu(text, files).split() == [b"between"]


def test_blanks_stripped_on_the_way() -> None:
    text = encoded(bytes(45)).replace(b"`", b" ")
    stripped = b"\n".join(line.rstrip() for line in text.split(b"\n"))
    assert [uu_content(text, file) for file in find_uu(text)] == [bytes(45)]
    assert find_uu(stripped) == [] or uu_content(stripped, find_uu(stripped)[0]) == bytes(45)


def test_prose_is_no_file() -> None:
    assert find_uu(b"begin 644 dinner.txt\nThis only looks like it.\nend\n") == []
    assert find_uu(b"we begin 644 times\n") == []
    assert find_uu(b"begin 644 x") == []


@given(st.lists(st.sampled_from([b"begin 644 x\n", b"#0V%T\n", b"end\n", b"`\n", b"M\n", b"\r\n", b"text "])))
def test_total_and_in_order(pieces: list[bytes]) -> None:
    text = b"".join(pieces)
    position = 0
    for file in find_uu(text):
        assert position <= file.start < file.end <= len(text)
        assert len(uu_content(text, file)) < len(text)
        position = file.end
