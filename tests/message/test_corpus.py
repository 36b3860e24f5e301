"""Real mail: everything is read, and what the standard library can decode comes out the same here."""

from __future__ import annotations

import email
import re
import time
from collections.abc import Iterator
from email.header import decode_header
from email.message import Message as StandardMessage

import pytest

from archiver.message import Message, attachment_bytes, parse
from tests.message.samples import corpus

# Looked at one by one: raw bytes in headers, wrong charsets, boundaries folded without a blank. There the
# standard library shows the mistake, and we what was meant.
_MOST_SUBJECTS_APART = 0.02
_MOST_TEXTS_APART = 0.01

_LOST = re.compile(r"[\s\x00-\x1f\x7f-\x9f\ufeff]+")


@pytest.mark.parametrize("name", ["torture", "multilingual"])
def test_every_message_is_read(name: str) -> None:
    slowest = (0.0, "")
    for path, raw in corpus(name):
        start = time.process_time()
        message = parse(raw)
        slowest = max(slowest, (time.process_time() - start, path))
        for found in message.attachments:
            assert len(attachment_bytes(raw, found.part)) == found.size, path
    assert slowest[0] < 1, slowest


def test_every_message_of_a_mailing_list_is_read() -> None:
    empty = 0
    for path, raw in corpus("list-18k"):
        message = parse(raw)
        assert message.from_ and message.date is not None, path
        empty += not message.text
    assert empty < 100


def standard_subject(message: StandardMessage) -> str:
    """Raises LookupError or UnicodeError where the standard library cannot."""
    pieces = decode_header(str(message.get("subject", "")))
    return "".join(
        piece if isinstance(piece, str) else piece.decode(charset or "ascii") for piece, charset in pieces
    )


def standard_texts(message: StandardMessage) -> Iterator[str]:
    """Each inline text/plain part that decodes by its declared charset."""
    for part in message.walk():
        if part.get_content_type() != "text/plain" or part.get_content_disposition() == "attachment":
            continue
        payload = part.get_payload(decode=True)
        try:
            yield (
                payload.decode(str(part.get_param("charset") or "ascii"))
                if isinstance(payload, bytes)
                else ""
            )
        except (LookupError, UnicodeError):
            continue


def bare(text: str) -> str:
    return _LOST.sub("", text)


def subject_differs(message: Message, standard: StandardMessage) -> bool:
    try:
        return bare(standard_subject(standard)) != bare(message.subject)
    except (LookupError, UnicodeError):
        return False


def test_subjects_and_texts_as_an_independent_decoder_has_them() -> None:
    subjects: list[str] = []
    texts: list[str] = []
    count = 0
    for path, raw in corpus("multilingual"):
        count += 1
        message, standard = parse(raw), email.message_from_bytes(raw)
        if subject_differs(message, standard):
            subjects.append(path)
        if any(bare(text) not in bare(message.text) for text in standard_texts(standard)):
            texts.append(path)
    assert count > 1000
    assert len(subjects) <= _MOST_SUBJECTS_APART * count, subjects
    assert len(texts) <= _MOST_TEXTS_APART * count, texts


# Two letters of a script: Chinese or Japanese, Korean, Cyrillic, Greek, Hebrew, Arabic, Thai.
_SCRIPTS = (
    *("\u3040-\u30ff\u4e00-\u9fff", "\uac00-\ud7a3", "\u0400-\u04ff", "\u0370-\u03ff"),
    *("\u0590-\u05ff", "\u0600-\u06ff", "\u0e00-\u0e7f"),
)
_LETTERS = re.compile("|".join(f"[{script}]{{2}}" for script in _SCRIPTS))


def test_letters_of_other_scripts_are_found() -> None:
    """As a search would: two letters the standard library decodes of a subject or text, in ours of it."""
    missed: list[str] = []
    count = 0
    for path, raw in corpus("multilingual"):
        message, standard = parse(raw), email.message_from_bytes(raw)
        pairs = [(text, message.text) for text in standard_texts(standard)]
        try:
            pairs.append((standard_subject(standard), message.subject))
        except (LookupError, UnicodeError):
            pass  # nothing to compare with
        for text, ours in pairs:
            if letters := _LETTERS.search(text):
                count += 1
                missed += [path] if letters[0] not in ours else []
    assert count > 200
    assert len(missed) <= 0.01 * count, missed
