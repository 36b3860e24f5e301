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
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import NoReturn

import msgspec

from archiver.errors import NotFoundError, QueryError
from archiver.search import values
from archiver.search.analysis import ends_in_word, fold, is_paired, query_terms, stem_alternatives, terms
from archiver.search.fields import BY_NAME, REGEX, STEMMED, Field
from archiver.search.ids import id_term
from archiver.search.leaves import LEAVES
from archiver.search.saved import DEPTH_LIMIT as SAVED_LIMIT
from archiver.search.saved import leads_back
from archiver.search.tokens import Token, inner_field, like_regex, nearest, tokens
from archiver.search.tree import (
    All,
    Fuzzy,
    Glob,
    Near,
    Node,
    Phrase,
    Prefix,
    Regex,
    SamePlace,
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

_no_character = re.compile("[\ud800-\udfff]")
_short_id = re.compile(r"[0-9A-Fa-f]{4,64}\Z")
_fuzzy = re.compile(r"(.+)~(\d*)\Z", re.DOTALL)
_escaped = re.compile(r"\\.", re.DOTALL)
_stars = re.compile(r"\*+")


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


def _checked(text: str) -> list[Token]:
    """The tokens of a query that is one."""
    if len(text) > LENGTH_LIMIT:
        raise QueryError(f"the query is longer than {LENGTH_LIMIT} characters", text, LENGTH_LIMIT)
    if found := _no_character.search(text):
        raise QueryError("the query has a byte here that is not UTF-8", text, found.start())
    if not text.strip():
        raise QueryError("the query is empty", text, 0, hint="give a word to look for")
    return list(tokens(text))


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
        tokens: list[Token],
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
    def token(self) -> Token:
        return self.tokens[self.next]

    def take(self) -> Token:
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

    def distance(self, operator: Token) -> int:
        digits = "".join(filter(str.isdigit, operator.text))
        distance = int(digits[:9]) if digits else NEAR_DISTANCE
        if not 1 <= distance <= NEAR_LIMIT:
            self.fail(f"the distance is from 1 to {NEAR_LIMIT} words", operator.at, "as in NEAR/5")
        return distance

    def noted(self, leaf: Node, at: int) -> Node:
        """The leaf, and where it stands."""
        self.spots.setdefault(leaf, at)
        return leaf

    def operand_after(self, operator: Token) -> None:
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

    def group(self, opening: Token, field: Field | None, depth: int) -> Node:
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
        if token.kind == "word" and field.takes == "words" and (inner := inner_field(token.text)):
            self.fail(f"{inner}: cannot stand inside {field.name}:", end, _quoted(token.text))
        return field

    def leaf(self, field: Field | None, token: Token) -> Node:
        if token.kind == "regex" and field:
            return self.regex(field.name, token)
        if field is None or field.takes == "words":
            return self.words(field.name if field else "", token)
        if field.takes == "message":
            return self.thread(field, token)
        if field.name == "id" and token.kind == "word" and "*" in token.text:
            self.fail("id: takes a whole Message-ID", token.at + token.text.index("*"), _STAR_HINT)
        try:
            leaf = LEAVES[field.takes](field, token.text, self.now)
        except values.BadValue as error:
            start = token.at + (token.kind == "phrase")
            self.fail(f"{field.name}:{token.text} {error}", start + error.offset, f"as in {field.example}")
        self.places += isinstance(leaf, SamePlace)
        if self.places > PLACES_LIMIT:
            self.fail(f"more than {PLACES_LIMIT} accounts, folders, labels and flags", token.at)
        return leaf

    def thread(self, field: Field, token: Token) -> Node:
        start = token.at + (token.kind == "phrase")
        self.threads += 1
        if self.threads > THREADS_LIMIT:
            self.fail(f"more than {THREADS_LIMIT} conversations", token.at)
        try:
            return thread_of(token.text, self.message)
        except NotFoundError as error:
            self.fail(error.message, start, error.hint)

    def search(self, token: Token, depth: int) -> Node:
        """The tree of a saved search: as if its text stood here in parentheses."""
        name, saved = token.text.lower(), self.saved
        if name not in saved.searches:
            near = nearest(name, list(saved.searches))
            hint = f"did you mean {near}?" if near else "they stand under searches: in the configuration"
            self.fail(f"no search is saved as {token.text}", token.at, hint)
        if name in saved.within:
            self.fail(leads_back(name), token.at, " -> ".join((*saved.within, name)))
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

    def regex(self, field: str, token: Token) -> Node:
        from archiver.search.regex import compiled

        pattern = _escaped.sub(lambda found: "/" if found[0] == "\\/" else found[0], token.text[1:-1])
        try:
            compiled(pattern)
        except values.BadValue as error:
            self.fail(f"{token.text} {error}", token.at + error.offset, "as in subject:/re.+x/")
        return Regex(field, pattern)

    def no_regex(self, token: Token) -> None:
        if found := like_regex(self.text, token.at):
            self.fail(
                f"a regular expression stands only right behind {_WITH_REGEX}", token.at, _quoted(found)
            )

    def glob(self, field: str, token: Token, text: str) -> Node:
        if text == "*" and not field:
            return All()
        pieces = [piece for piece in fold(text).split("*") if piece]
        at = token.at + token.text.index("*")
        if max(map(len, pieces), default=0) < GLOB_LEAST:
            self.fail(f"beside a * stand {GLOB_LEAST} letters or more", at, "as in *voice or in*ice")
        if any(terms(piece) != [piece] or is_paired(piece) for piece in pieces):
            self.fail("a * at the beginning or inside stands in a single word, of letters and digits", at)
        return Glob(field, "*".join(fold(text).split("*")))

    def fuzzy(self, field: str, token: Token, word: str, digits: str) -> Node:
        found, at = terms(word), token.at + token.text.rindex("~")
        if len(found) != 1 or "*" in word or is_paired(found[0]):
            self.fail("~ stands behind a single word, of letters and digits", at, _quoted(token.text))
        edits = int(digits[:3] or 1)
        if edits not in FUZZY_LEAST:
            self.fail("behind ~ stands 1 or 2, for so many letters", at, "as in invoice~ or invoice~2")
        if len(found[0]) < FUZZY_LEAST[edits]:
            self.fail(f"~{edits} needs a word of {FUZZY_LEAST[edits]} letters or more", at)
        return Fuzzy(field, found[0], edits)

    def words(self, field: str, token: Token) -> Node:
        text = token.text
        if token.kind == "word":
            self.no_regex(token)
            text = _stars.sub("*", text)
            # Before a sign, as in *.pdf, it stands for whatever precedes, so for nothing that has to.
            if text[:1] == "*" and text[1:2] and not text[1].isalnum():
                text = text[1:]
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


_WITH_REGEX = ", ".join(f"{name}:" for name in REGEX)
_STAR_HINT = "a * that belongs to it stands in double quotes"
_NEAR_HINT = 'as in invoice NEAR/5 "next month"'


def _quoted(text: str) -> str:
    return f'quote it to look for the words: "{text}"'
