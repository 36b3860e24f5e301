"""The query language: text -> tokens -> frozen tree.

    or      = and ("OR" and)*
    and     = near (["AND"] near)*
    near    = unary | [FIELD ":"] row ("NEAR/n" row)+
    row     = WORD | PHRASE
    unary   = ("NOT" | "-") unary | primary
    primary = "(" or ")" | FIELD ":" value | WORD, which may have "*" or end in "~n" | PHRASE
    value   = "(" or ")" | WORD | PHRASE | "/" regular expression "/"

Place predicates joined by AND hold for one and the same place: `folder:A is:unread` is an unread copy
in A; places alone joined by OR may stand among them. A negation is the complement on documents:
`-folder:Spam` is every message with no copy in Spam, and `folder:A -is:unread` one with a copy in A and no
unread copy anywhere. `before:` excludes the first moment of the date it names, `after:` includes it;
a range of `date:` includes both its ends.

Whatever is wrong is a QueryError at the position of the mistake; no bad query has an empty result.
Does not look at an index: a word that occurs nowhere is a good query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import NoReturn

import msgspec

from archiver.errors import NotFoundError, QueryError
from archiver.search import values
from archiver.search.analysis import ends_in_word, fold, is_paired, query_terms, stem_alternatives, terms
from archiver.search.fields import BY_NAME, CHOICES, FIELDS, STEMMED, SYNONYMS, Field
from archiver.search.ids import id_term
from archiver.search.saved import DEPTH_LIMIT as SAVED_LIMIT
from archiver.search.tree import (
    All,
    DateRange,
    Exact,
    Fuzzy,
    Glob,
    Near,
    Node,
    Phrase,
    Place,
    Prefix,
    Received,
    Regex,
    SamePlace,
    SizeRange,
    Thread,
    Word,
    both,
    either,
    negated,
)

LENGTH_LIMIT = 10_000
DEPTH_LIMIT = 50
THREADS_LIMIT = 20
NEAR_DISTANCE = 10
NEAR_LIMIT = 1000
GLOB_LEAST = 2
FUZZY_LEAST = {1: 3, 2: 6}
"""Edits -> letters that a word must have for so many."""

PLACES_LIMIT = 200
"""Questions about places; the ledger takes no condition that is nested a thousand levels deep."""

_QUOTES = '"“”„\uff02'
_space = re.compile(r"\s*")
_word = re.compile(f"[^\\s(){_QUOTES}]+")
_no_character = re.compile("[\ud800-\udfff]")
_quote = re.compile(f"[{_QUOTES}]")
_field = re.compile(r"([A-Za-z][A-Za-z0-9_-]*):")
_short_id = re.compile(r"[0-9A-Fa-f]{4,64}\Z")
_near = re.compile(r"(?:(?:NEAR|ADJ)(?:/\d+)?|AROUND[ ]+\d+)(?![^\s()])")
_slashes = re.compile(r"/((?:[^/\\]|\\.)*)/", re.DOTALL)
_fuzzy = re.compile(r"(.+)~(\d*)\Z", re.DOTALL)
_escaped = re.compile(r"\\.", re.DOTALL)
_stars = re.compile(r"\*+")
_not_a_value = re.compile(r"//|:|\\")


class _Token(msgspec.Struct, frozen=True):
    """`kind` is ( ) word phrase regex field AND OR NOT NEAR end; `at` the position in the query."""

    kind: str
    text: str
    at: int


def _unknown(text: str) -> NoReturn:
    raise NotFoundError(f"no message has the id {text}")


def parse(
    text: str,
    *,
    now: datetime,
    stemming: str = "off",
    message: Callable[[str], bytes] = _unknown,
    saved: Mapping[str, str] = MappingProxyType({}),
    within: tuple[str, ...] = (),
    spots: dict[Node, int] | None = None,
) -> Node:
    """The tree of a query; `now` gives relative dates their meaning and all dates their zone.

    `stemming` must be that of the index. `message` gives the key of a message by its short id, or raises
    NotFoundError. `saved` are searches by name, `within` those that the text is of. In `spots` is noted where
    in the text each leaf of the tree stands first.
    """
    searches = _Saved(saved, within, LENGTH_LIMIT)
    return _Parser(text, _checked(text), now, stemming, message, searches, spots).whole(0)


def _checked(text: str) -> list[_Token]:
    """The tokens of a query that is one."""
    if len(text) > LENGTH_LIMIT:
        raise QueryError(f"the query is longer than {LENGTH_LIMIT} characters", text, LENGTH_LIMIT)
    if found := _no_character.search(text):
        raise QueryError("the query has a byte here that is not UTF-8", text, found.start())
    if not text.strip():
        raise QueryError("the query is empty", text, 0, hint="give a word to look for")
    return list(_tokens(text))


def thread_of(text: str, message: Callable[[str], bytes]) -> Thread:
    """The conversation of a message, by a short id or its Message-ID; NotFoundError when it is neither."""
    wanted = text.strip()
    if _short_id.match(wanted):
        return Thread(key=message(wanted))
    bare = wanted.strip("<>").strip()
    if not bare or (bare == wanted and "@" not in bare):
        raise NotFoundError(
            f"{text!r} is no id", hint="take one from the first column of `archiver search`, or a Message-ID"
        )
    return Thread(id=id_term(bare))


def _tokens(text: str) -> Iterator[_Token]:
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
            yield _Token("word", value[0], at)
            at = value.end()
    yield _Token("end", "", len(text))


def _token(text: str, at: int) -> tuple[_Token, int]:
    """The token that begins at `at`, and where it ends."""
    if text[at] == "(":
        return _Token("(", "(", at), at + 1
    if text[at] == ")":
        return _Token(")", ")", at), at + 1
    if text[at] in _QUOTES:
        close = _quote.search(text, at + 1)
        if not close:
            raise QueryError("the quotation mark is never closed", text, at)
        return _Token("phrase", text[at + 1 : close.start()], at), close.end()
    if text[at] == "-":
        return _Token("NOT", "-", at), at + 1
    return _plain(text, at)


def _regex_token(text: str, at: int) -> _Token:
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
    return _Token("regex", found[0], at)


def _plain(text: str, at: int) -> tuple[_Token, int]:
    """A word, an operator, or the name of a field with its colon."""
    found = _word.match(text, at)
    assert found
    word = found[0]
    if word in ("AND", "OR", "NOT"):
        return _Token(word, word, at), found.end()
    if near := _near.match(text, at):
        return _Token("NEAR", near[0], at), near.end()
    field = _field.match(word)
    if field is None or _not_a_value.match(word, field.end()):
        return _Token("word", word, at), found.end()
    if field[1].lower() not in BY_NAME:
        if any(map(str.isdigit, field[1])):
            return _Token("word", word, at), found.end()
        _unknown_field(text, field[1], at)
    return _Token("field", field[1].lower(), at), at + field.end()


def _unknown_field(text: str, name: str, at: int) -> NoReturn:
    near = _nearest(name, BY_NAME)
    hint = (
        f"did you mean {near}:?"
        if near
        else "fields are " + ", ".join(dict.fromkeys(f"{f.name}:" for f in FIELDS))
    )
    raise QueryError(f"no field is called {name}:", text, at, hint=f"{hint}; quote it to look for the words")


def _nearest(word: str, choices: Sequence[str] | dict[str, Field]) -> str | None:
    from difflib import get_close_matches

    return next(iter(get_close_matches(word.lower(), choices, 1)), None)


class _Saved(msgspec.Struct):
    """The searches by name, those the text is in, outermost first, and how many characters may be left."""

    searches: Mapping[str, str]
    within: tuple[str, ...]
    left: int


class _Parser:
    """Recursive descent over the tokens; `field` is the one whose group is being read."""

    def __init__(
        self,
        text: str,
        tokens: list[_Token],
        now: datetime,
        stemming: str,
        message: Callable[[str], bytes],
        saved: _Saved,
        spots: dict[Node, int] | None,
    ) -> None:
        self.text = text
        self.tokens = tokens
        self.now = now
        self.stemming = stemming
        self.message = message
        self.saved = saved
        self.next = 0
        self.places = 0
        self.threads = 0
        self.spots: dict[Node, int] = {} if spots is None else spots

    def whole(self, depth: int) -> Node:
        tree = self.any_of(None, depth)
        if self.token.kind == ")":
            self.fail("the parenthesis was never opened", self.token.at)
        return tree

    @property
    def token(self) -> _Token:
        return self.tokens[self.next]

    def take(self) -> _Token:
        token = self.tokens[self.next]
        self.next += 1
        return token

    def fail(self, message: str, at: int, hint: str | None = None) -> NoReturn:
        raise QueryError(message, self.text, at, hint=hint)

    def any_of(self, field: Field | None, depth: int) -> Node:
        parts = [self.all_of(field, depth)]
        while self.token.kind == "OR":
            self.operand_after(self.take())
            parts.append(self.all_of(field, depth))
        return either(parts)

    def all_of(self, field: Field | None, depth: int) -> Node:
        parts = [self.near(field, depth)]
        while self.token.kind not in ("OR", ")", "end"):
            if self.token.kind == "NEAR":
                self.fail(f"{self.token.text} stands between words or phrases", self.token.at, _NEAR_HINT)
            if self.token.kind == "AND":
                self.operand_after(self.take())
            parts.append(self.near(field, depth))
        return both(parts)

    def near(self, field: Field | None, depth: int) -> Node:
        start, first = self.token.at, self.next
        if self.token.kind == "field" and BY_NAME[self.token.text].takes == "words":
            first += 1
        follows = self.tokens[first].kind in ("word", "phrase") and self.tokens[first + 1].kind == "NEAR"
        if not follows:
            return self.one(field, depth)
        if self.token.kind == "field":
            field = self.named(field)
        rows, operator = [self.row()], self.token
        while self.token.kind == "NEAR":
            found = self.take()
            self.operand_after(found)
            if found.text != operator.text:
                self.fail(f"{operator.text} and {found.text} cannot stand in one row", found.at)
            if self.token.kind not in ("word", "phrase"):
                self.fail(f"{found.text} stands between words or phrases", found.at, _NEAR_HINT)
            rows.append(self.row())
        return self.noted(
            Near(field.name if field else "", tuple(rows), self.distance(operator), "ADJ" in operator.text),
            start,
        )

    def row(self) -> tuple[str, ...]:
        """The terms of a word or phrase beside a NEAR."""
        token = self.take()
        fixed, prefix = query_terms(token.text)
        if prefix is not None or (token.kind == "word" and ("*" in token.text or _fuzzy.match(token.text))):
            self.fail("beside NEAR stand whole words and phrases", token.at)
        if not fixed:
            self.fail("there is no letter or digit to look for", token.at)
        return fixed

    def distance(self, operator: _Token) -> int:
        digits = "".join(filter(str.isdigit, operator.text))
        distance = int(digits[:9]) if digits else NEAR_DISTANCE
        if not 1 <= distance <= NEAR_LIMIT:
            self.fail(f"the distance is from 1 to {NEAR_LIMIT} words", operator.at, "as in NEAR/5")
        return distance

    def noted(self, leaf: Node, at: int) -> Node:
        """The leaf, and where it stands."""
        self.spots.setdefault(leaf, at)
        return leaf

    def operand_after(self, operator: _Token) -> None:
        if self.token.kind in ("AND", "OR", "NEAR", ")", "end"):
            self.fail(f"nothing follows {operator.text}", operator.at, _AS_A_WORD.get(operator.text))

    def one(self, field: Field | None, depth: int) -> Node:
        token = self.token
        if depth > DEPTH_LIMIT:
            self.fail(f"more than {DEPTH_LIMIT} levels of parentheses and negations", token.at)
        if token.kind == "field":
            return self.value(field, depth)
        self.take()
        if token.kind == "NOT":
            self.operand_after(token)
            if token.text == "-" and self.token.at != token.at + 1:
                self.fail("nothing follows -", token.at)
            return negated(self.one(field, depth + 1))
        if token.kind == "(":
            return self.group(token, field, depth)
        if token.kind in ("word", "phrase", "regex"):
            found = self.search(token, depth) if field and field.takes == "saved" else self.leaf(field, token)
            return self.noted(found, token.at)
        if token.kind == ")":
            self.fail("the parenthesis was never opened", token.at)
        self.fail(f"nothing stands before {token.text}", token.at, _AS_A_WORD.get(token.text))

    def group(self, opening: _Token, field: Field | None, depth: int) -> Node:
        if self.token.kind == ")":
            self.fail("the parentheses are empty", opening.at)
        if self.token.kind == "end":
            self.fail("the parenthesis is never closed", opening.at)
        tree = self.any_of(field, depth + 1)
        if self.token.kind != ")":
            self.fail("the parenthesis is never closed", opening.at)
        self.take()
        return tree

    def value(self, outer: Field | None, depth: int) -> Node:
        at, grouped = self.token.at, self.tokens[self.next + 1].kind == "("
        field = self.named(outer)
        leaf = self.one(field, depth)
        if not grouped:
            self.spots[leaf] = min(self.spots.get(leaf, at), at)
        return leaf

    def named(self, outer: Field | None) -> Field:
        """The field whose name stands here, and a value right behind it."""
        name = self.take()
        if outer is not None:
            self.fail(f"{name.text}: cannot stand inside {outer.name}:( )", name.at)
        field, token = BY_NAME[name.text], self.token
        end = name.at + len(name.text) + 1
        if token.kind not in ("word", "phrase", "regex", "(") or token.at != end:
            self.fail(f"{name.text}: needs a value", end, f"write it right after the colon: {field.example}")
        if token.kind == "word" and token.text.startswith("-"):
            self.fail("- stands before the field, not after it", end, f"as in -{field.example}")
        return field

    def leaf(self, field: Field | None, token: _Token) -> Node:
        if token.kind == "regex" and field:
            return self.regex(field.name, token)
        if field is None or field.takes == "words":
            return self.words(field.name if field else "", token)
        if field.takes == "message":
            return self.thread(field, token)
        try:
            leaf = _LEAVES[field.takes](field, token.text, self.now)
        except values.BadValue as error:
            start = token.at + (token.kind == "phrase")
            self.fail(f"{field.name}:{token.text} {error}", start + error.offset, f"as in {field.example}")
        self.places += isinstance(leaf, SamePlace)
        if self.places > PLACES_LIMIT:
            self.fail(f"more than {PLACES_LIMIT} accounts, folders, labels and flags", token.at)
        return leaf

    def thread(self, field: Field, token: _Token) -> Node:
        start = token.at + (token.kind == "phrase")
        self.threads += 1
        if self.threads > THREADS_LIMIT:
            self.fail(f"more than {THREADS_LIMIT} conversations", token.at)
        try:
            return thread_of(token.text, self.message)
        except NotFoundError as error:
            self.fail(error.message, start, error.hint)

    def search(self, token: _Token, depth: int) -> Node:
        """The tree of a saved search: as if its text stood here in parentheses."""
        name, saved = token.text.lower(), self.saved
        if name not in saved.searches:
            near = _nearest(name, list(saved.searches))
            hint = f"did you mean {near}?" if near else "they stand under searches: in the configuration"
            self.fail(f"no search is saved as {token.text}", token.at, hint)
        if name in saved.within:
            self.fail(f"saved:{name} leads back to itself", token.at, " -> ".join((*saved.within, name)))
        if len(saved.within) > SAVED_LIMIT:
            self.fail(f"saved searches are more than {SAVED_LIMIT} deep in each other", token.at)
        text = saved.searches[name]
        saved.left -= len(text)
        if saved.left < 0:
            self.fail(f"with its saved searches the query is longer than {LENGTH_LIMIT} characters", token.at)
        inner = _Saved(saved.searches, (*saved.within, name), saved.left)
        spots: dict[Node, int] = {}
        parser = _Parser(text, _checked(text), self.now, self.stemming, self.message, inner, spots)
        parser.places, parser.threads = self.places, self.threads
        tree = parser.whole(depth + 1)
        for leaf in spots:
            self.noted(leaf, token.at)
        self.places, self.threads, saved.left = parser.places, parser.threads, inner.left
        return tree

    def regex(self, field: str, token: _Token) -> Node:
        from archiver.search.regex import compiled

        pattern = _escaped.sub(lambda found: "/" if found[0] == "\\/" else found[0], token.text[1:-1])
        try:
            compiled(pattern)
        except values.BadValue as error:
            self.fail(f"{token.text} {error}", token.at + error.offset, "as in subject:/re.+x/")
        return Regex(field, pattern)

    def glob(self, field: str, token: _Token, text: str) -> Node:
        if text == "*" and not field:
            return All()
        pieces = [piece for piece in fold(text).split("*") if piece]
        at = token.at + token.text.index("*")
        if max(map(len, pieces), default=0) < GLOB_LEAST:
            self.fail(f"beside a * stand {GLOB_LEAST} letters or more", at, "as in *voice or in*ice")
        if any(terms(piece) != [piece] or is_paired(piece) for piece in pieces):
            self.fail("a * at the beginning or inside stands in a single word, of letters and digits", at)
        return Glob(field, "*".join(fold(text).split("*")))

    def fuzzy(self, field: str, token: _Token, word: str, digits: str) -> Node:
        found, at = terms(word), token.at + token.text.rindex("~")
        if len(found) != 1 or "*" in word or is_paired(found[0]):
            self.fail("~ stands behind a single word, of letters and digits", at, _quoted(token.text))
        edits = int(digits[:3] or 1)
        if edits not in FUZZY_LEAST:
            self.fail("behind ~ stands 1 or 2, for so many letters", at, "as in invoice~ or invoice~2")
        if len(found[0]) < FUZZY_LEAST[edits]:
            self.fail(f"~{edits} needs a word of {FUZZY_LEAST[edits]} letters or more", at)
        return Fuzzy(field, found[0], edits)

    def words(self, field: str, token: _Token) -> Node:
        text = token.text
        if token.kind == "word":
            text = _stars.sub("*", text)
            if found := _fuzzy.match(text):
                return self.fuzzy(field, token, found[1], found[2])
            if "*" in text[:-1] or text == "*":
                return self.glob(field, token, text)
        before = text.removesuffix("*")
        # After a sign, as in CVE-*, it stands for whatever follows, so for nothing that has to.
        fixed, prefix = query_terms(before, star=before != text and ends_in_word(before))
        if prefix is not None:
            return Prefix(field, fixed, prefix)
        if not fixed:
            self.fail("there is no letter or digit to look for", token.at)
        if len(fixed) > 1:
            return Phrase(field, fixed)
        if self.stemming != "off" and token.kind == "word" and field in ("", *STEMMED):
            return either(Word(field, term) for term in stem_alternatives(text, self.stemming))
        return Word(field, fixed[0])


_AS_A_WORD = {
    word: f'quote it to look for the word itself: "{word.lower()}"' for word in ("AND", "OR", "NOT")
}


_NEAR_HINT = 'as in invoice NEAR/5 "next month"'


def _quoted(text: str) -> str:
    return f'quote it to look for the words: "{text}"'


def _date(field: Field, text: str, now: datetime) -> Node:
    if field.name == "received":
        return SamePlace(Received(*values.date_range(text, now)))
    if field.name == "before":
        return DateRange(None, values.span(text, now)[0])
    if field.name == "after":
        return DateRange(values.span(text, now)[0], None)
    return DateRange(*values.date_range(text, now))


def _age(field: Field, text: str, now: datetime) -> Node:
    day = values.age(text, now)
    return DateRange(None, day) if field.name == "older_than" else DateRange(day, None)


def _size(field: Field, text: str, now: datetime) -> Node:
    if field.name == "size":
        return SizeRange(*values.size_range(text))
    size = values.size(text)
    return SizeRange(size + 1, None) if field.name == "larger" else SizeRange(None, size)


def _name(field: Field, text: str, now: datetime) -> Node:
    if not text.strip("/ "):
        raise values.BadValue("names nothing")
    return SamePlace(Place(field.name, text.lstrip("/") if field.name == "folder" else text))


def _choice(field: Field, text: str, now: datetime) -> Node:
    name, value = SYNONYMS.get((field.name, text.lower()), (field.name, text.lower()))
    if row := CHOICES.get((name, value)):
        return SamePlace(Place(row.name, value)) if row.kind == "place" else Exact("has", value)
    values_ = [word for name, word in CHOICES if name == field.name]
    near = _nearest(value, values_)
    raise values.BadValue(f"is unknown: did you mean {near}?" if near else f"is none of {', '.join(values_)}")


def _term(field: Field, text: str, now: datetime) -> Node:
    wanted = text.strip().strip("<>").strip() if field.name == "id" else text.strip().lower()
    if not wanted:
        raise values.BadValue("names nothing")
    return Exact(field.name, id_term(wanted) if field.name == "id" else wanted)


_LEAVES: dict[str, Callable[[Field, str, datetime], Node]] = {
    "age": _age,
    "date": _date,
    "term": _term,
    "size": _size,
    "name": _name,
    "choice": _choice,
}
