"""The text of a query to tokens: words, phrases, names of fields, operators, parentheses."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NoReturn

import msgspec

from archiver.errors import QueryError
from archiver.search.fields import BY_NAME, FIELDS, Field

_QUOTES = '"“”„\uff02'
_space = re.compile(r"\s*")
_word = re.compile(f"[^\\s(){_QUOTES}]+")
_quote = re.compile(f"[{_QUOTES}]")
_field = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):")
_near = re.compile(r"(?:(?:NEAR|ADJ)(?:/\d+)?|AROUND[ ]+\d+)(?![^\s()])")
# What was to be one: NEAR/, NEAR/x, NEAR-5, near/5, AROUND(5). NEAR-FIELD is a word.
_half_near = re.compile(r"(?:NEAR|ADJ|AROUND)(?:/|[-~^]\d|\(\d)|(?:near|adj|around)/\d+(?![^\s()])")
_weighed = re.compile(r"[^\s^]{2,}\^\d+(?:\.\d+)?\Z")
_slashes = re.compile(r"/((?:[^/\\]|\\.)*)/", re.DOTALL)
_not_a_value = re.compile(r"//|:|\\")


class Token(msgspec.Struct, frozen=True):
    """`kind` is ( ) word phrase regex field AND OR NOT NEAR end; `at` the position in the query."""

    kind: str
    text: str
    at: int


def tokens(text: str) -> Iterator[Token]:
    """All of them, `end` the last; QueryError for what none begins with."""
    at = 0
    while True:
        found = _space.match(text, at)
        at = found.end() if found else at
        if at == len(text):
            break
        token, at = _token(text, at)
        yield token
        if token.kind == "field" and text[at : at + 1] == "/" and BY_NAME[token.text].regex:
            yield (regex := _regex_token(text, at))
            at += len(regex.text)
        elif token.kind == "field" and (value := _word.match(text, at)):
            yield Token("word", value[0], at)
            at = value.end()
    yield Token("end", "", len(text))


def doubts(text: str) -> Iterator[str]:
    """What is to be said of a good query whose words may be operators of other programs."""
    for token in tokens(text):
        if token.kind == "word" and _weighed.match(token.text):
            yield f"{token.text} is looked for as words: no word weighs more than others here"


def _token(text: str, at: int) -> tuple[Token, int]:
    """The token that begins at `at`, and where it ends."""
    if text[at] == "(":
        return Token("(", "(", at), at + 1
    if text[at] == ")":
        return Token(")", ")", at), at + 1
    if text[at] in _QUOTES:
        close = _quote.search(text, at + 1)
        if not close:
            raise QueryError("the quotation mark is never closed", text, at)
        return Token("phrase", text[at + 1 : close.start()], at), close.end()
    if text[at] == "-":
        return Token("NOT", "-", at), at + 1
    return _plain(text, at)


def _regex_token(text: str, at: int) -> Token:
    """A regular expression with its slashes."""
    found = _slashes.match(text, at)
    if not found:
        raise QueryError(
            "the regular expression is never closed", text, at, hint="it ends with a /; inside, write \\/"
        )
    end = found.end()
    if end < len(text) and not text[end].isspace() and text[end] != ")":
        raise QueryError(
            "something stands right behind the regular expression",
            text,
            end,
            hint="a / inside is written \\/",
        )
    return Token("regex", found[0], at)


def inner_field(word: str) -> str | None:
    """The name of a field that a word begins with, as its first token would."""
    found = _field.match(word)
    known = found is not None and found[1].lower() in BY_NAME
    return found[1] if found and known and not _not_a_value.match(word, found.end()) else None


def like_regex(text: str, at: int) -> str | None:
    """What looks like a regular expression there, with its slashes; a path such as /usr/bin/x does not."""
    found = _slashes.match(text, at)
    if not found or not found[1] or found[1] != found[1].strip():
        return None
    return found[0] if text[found.end() : found.end() + 1].strip(")").strip() == "" else None


def _plain(text: str, at: int) -> tuple[Token, int]:
    """A word, an operator, or the name of a field with its colon."""
    found = _word.match(text, at)
    assert found
    word = found[0]
    if word in ("AND", "OR", "NOT"):
        return Token(word, word, at), found.end()
    if near := _near.match(text, at):
        return Token("NEAR", near[0], at), near.end()
    if _half_near.match(text, at):
        hint = f'as in invoice NEAR/5 "next month"; quote it to look for the words: "{word}"'
        raise QueryError(f"{word} is no operator", text, at, hint=hint)
    field = _field.match(word)
    if field is None or _not_a_value.match(word, field.end()):
        return Token("word", word, at), found.end()
    if field[1].lower() not in BY_NAME:
        if any(map(str.isdigit, field[1])):
            return Token("word", word, at), found.end()
        _unknown_field(text, field[1], at)
    return Token("field", field[1].lower(), at), at + field.end()


def _unknown_field(text: str, name: str, at: int) -> NoReturn:
    near = nearest(name, BY_NAME)
    hint = (
        f"did you mean {near}:?"
        if near
        else "fields are " + ", ".join(dict.fromkeys(f"{f.name}:" for f in FIELDS))
    )
    raise QueryError(f"no field is called {name}:", text, at, hint=f"{hint}; quote it to look for the words")


def nearest(word: str, choices: Sequence[str] | dict[str, Field]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(word.lower(), choices, 1)), None)
