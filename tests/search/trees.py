"""Queries as Hypothesis makes them up: trees that can be printed, and texts as people write them."""

from __future__ import annotations

from hypothesis import strategies as st

from archiver.search.analysis import query_terms
from archiver.search.fields import CONTENT, REGEX
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
    Word,
    both,
    either,
    negated,
)
from tests.search.words import FLAGS, FOLDERS, WORDS, message_id

_ROWS = tuple(fixed for word in WORDS if (fixed := query_terms(word)[0]) and query_terms(word)[1] is None)
_DAY = 86_400
_FIRST = 1_700_000_000

fields = st.sampled_from(["", *CONTENT])


def _row(least: int) -> st.SearchStrategy[tuple[str, ...]]:
    """Terms in a row, as a query asks for them; no pairs of characters, which depend on their neighbours."""
    plain = [row for row in _ROWS if all(term < "\u0e01" for term in row)]
    joined = st.lists(st.sampled_from(plain), min_size=1, max_size=3)
    return joined.map(lambda rows: tuple(term for row in rows for term in row)).filter(
        lambda row: len(row) >= least
    )


def _between(low: int, high: int) -> st.SearchStrategy[tuple[int | None, int | None]]:
    """A range with an end, at least."""
    ends = st.tuples(st.integers(low, high), st.integers(1, high - low)).map(lambda e: (e[0], e[0] + e[1]))
    return ends | ends.map(lambda e: (e[0], None)) | ends.map(lambda e: (None, e[1]))


def _content() -> st.SearchStrategy[Node]:
    terms = st.sampled_from([row[0] for row in _ROWS if len(row) == 1] + ["absent", "a"])
    prefixes = st.sampled_from(["al", "q", "re", "na", "x", "z", "v", "r", "b"])
    globs = st.sampled_from(
        ["*lph*", "*et", "*eta", "a*ha", "al*et", "*a*ph*", "*uar*", "na*e", "*zz*", "*лк*", "*ss*", "q*ly*"]
    )
    one = "alpha bets beat ablet gama qarterly naive delta еклa".split()  # noqa: SIM905
    two = "quartrely alhpabet zzzzzz aplhaebt".split()  # noqa: SIM905
    fuzzy = st.sampled_from([*((word, 1) for word in (*one, *two)), *((word, 2) for word in two)])
    rows = st.lists(_row(1), min_size=2, max_size=3).map(tuple)
    return (
        st.builds(Word, fields, terms)
        | st.builds(Phrase, fields, _row(2))
        | st.builds(Prefix, fields, st.just(()) | _row(1), prefixes)
        | st.builds(Glob, fields, globs)
        | st.builds(lambda field, word: Fuzzy(field, *word), fields, fuzzy)
        | st.builds(Near, fields, rows, st.integers(1, 12), st.booleans())
    )


def _facts() -> st.SearchStrategy[Node]:
    patterns = [
        "^alpha",
        "a$",
        "al+pha.*beta",
        "[^a-z@. ]",
        "^$",
        "b|q",
        "x?",
        "\\Aalpha",
        "T\u00d3",
        "a/b",
        "\\\\/",
    ]
    patterns += ["(?-m)^gamma", "\\w+@example", "na\u00efve", "alpha\\s+beta", "\\bbet\\b", "pdf|png"]
    has = st.sampled_from(["attachment", "pdf", "image", "calendar", "encrypted", "signed"])
    return (
        st.builds(Regex, st.sampled_from(REGEX), st.sampled_from(patterns))
        | st.just(All())
        | _between(_FIRST - 45 * _DAY, _FIRST + 45 * _DAY).map(lambda ends: DateRange(*ends))
        | _between(0, 1 << 34).map(lambda ends: SizeRange(*ends))
        | st.builds(Exact, st.just("has"), has)
        | st.builds(Exact, st.just("mimetype"), st.sampled_from(["image", "image/png", "image/gif"]))
    )


def _places() -> st.SearchStrategy[Node]:
    place: st.SearchStrategy[Node] = (
        st.builds(Place, st.just("folder"), st.sampled_from(FOLDERS))
        | st.builds(Place, st.just("is"), st.sampled_from(FLAGS))
        | _between(_FIRST, _FIRST + 20 * _DAY).map(lambda ends: Received(*ends))
    )
    return place.map(SamePlace)


def trees() -> st.SearchStrategy[Node]:
    """Trees in the form in which a query is read, that can be printed."""

    def joined(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        several = st.lists(inner, min_size=2, max_size=3)
        return several.map(both) | several.map(either) | inner.map(negated)

    return st.recursive(_content() | _facts() | _places(), joined, max_leaves=8)


def texts() -> st.SearchStrategy[str]:
    """Queries as they are typed, some of which no tree is printed as."""
    word = st.sampled_from([*WORDS, "京", "absent", "a", "東京 user"]).map(
        lambda word: word.replace(" ", "-")
    )
    prefix = st.sampled_from(["user.n*", "東*", "report_v*", "naï*", "re-s*"])
    phrase = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(lambda row: f'"{" ".join(row)}"')
    phrase_prefix = st.tuples(st.sampled_from(WORDS), st.sampled_from(["al", "b", "x", "東"])).map(
        lambda row: f'"{row[0]} {row[1]}*"'
    )
    near = st.tuples(word | phrase, st.sampled_from(["NEAR", "NEAR/3", "ADJ/2"]), word | phrase)
    content = word | prefix | phrase | phrase_prefix
    field = st.sampled_from([f"{name}:" for name in CONTENT])
    day = st.sampled_from(["2023", "2023-11", "2023/11/14", "20231020", "2023-12-05"])
    dated = st.sampled_from(["before:", "after:", "date:", "received:", "older:"])
    size = st.sampled_from(["larger:", "smaller:", "size:", "size:.."])
    exact = st.sampled_from(["mimetype:image/gif", "id:x@example.org", "has:photo", "is:starred"])
    exact |= st.integers(0, 300).map(lambda number: f"id:<{message_id(number)}>".lower())
    leaf = (
        content
        | st.tuples(field, content).map("".join)
        | near.filter(lambda row: "京" not in (row[0], row[2])).map(" ".join)
        | st.tuples(dated, day).map("".join)
        | st.tuples(day, day).map(sorted).map(lambda ends: f"date:{ends[0][:4]}..{ends[1]}")
        | st.tuples(size, st.sampled_from(["0", "1", "1k", "5M", "9G"])).map("".join)
        | exact
    )
    return st.recursive(leaf, _combined, max_leaves=8)


def _combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    joined = st.tuples(inner, st.sampled_from([" ", " AND ", " OR "]), inner).map("".join)
    return joined | joined.map("({})".format) | inner.map("-({})".format)
