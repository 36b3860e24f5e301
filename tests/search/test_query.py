"""The query language: what each operator becomes, and where each mistake is."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import NotFoundError, QueryError
from archiver.search.ids import id_term
from archiver.search.query import DEPTH_LIMIT, LENGTH_LIMIT, PLACES_LIMIT, parse
from archiver.search.tree import (
    All,
    And,
    DateRange,
    Exact,
    Fuzzy,
    Glob,
    Near,
    Node,
    Not,
    Or,
    Phrase,
    Place,
    Prefix,
    Received,
    Regex,
    SamePlace,
    SizeRange,
    Thread,
    Word,
)

NOW = datetime(2026, 3, 31, 12, 30, tzinfo=UTC)


def day(year: int, month: int = 1, date: int = 1) -> int:
    return int(datetime(year, month, date, tzinfo=UTC).timestamp())


def word(term: str, field: str = "") -> Word:
    return Word(field, term)


A, B, C = word("a"), word("b"), word("c")
IN_A, UNREAD, FLAGGED = Place("folder", "A"), Place("is", "unread"), Place("is", "flagged")

TREES: dict[str, Node] = {
    "a": A,
    "Ä": A,
    "a b": And((A, B)),
    "a AND b": And((A, B)),
    "a AND b c": And((A, B, C)),
    "a OR b": Or((A, B)),
    "a OR b c": Or((A, And((B, C)))),
    "a b OR c": Or((And((A, B)), C)),
    "(a OR b) c": And((Or((A, B)), C)),
    "a or b and not": And((A, word("or"), B, word("and"), word("not"))),
    "((a))": A,
    "a OR (b OR c)": Or((A, B, C)),
    "-a": Not(A),
    "NOT a": Not(A),
    "NOT NOT a": A,
    "--a": A,
    "-(a b)": Not(And((A, B))),
    "a -b": And((A, Not(B))),
    "a NOT b": And((A, Not(B))),
    "a AND -b": And((A, Not(B))),
    "-a -b": And((Not(A), Not(B))),
    '-"a b"': Not(Phrase("", ("a", "b"))),
    '"a b"': Phrase("", ("a", "b")),
    "“a b”": Phrase("", ("a", "b")),
    '"a"': A,
    '"AND"': word("and"),
    'a"b"c': And((A, B, C)),
    "a(b)": And((A, B)),
    "a-b": Phrase("", ("a", "b")),
    "user.name@mail.example.org": Phrase("", ("user", "name", "mail", "example", "org")),
    "inv*": Prefix("", (), "inv"),
    "v2.7.*": Phrase("", ("v2", "7")),
    "CVE-*": word("cve"),
    "*.pdf": word("pdf"),
    "filename:*.tar.gz": Phrase("filename", ("tar", "gz")),
    "e-inv*": Prefix("", ("e",), "inv"),
    '"big inv*"': Prefix("", ("big",), "inv"),
    '"big inv *"': Phrase("", ("big", "inv")),
    "東京": word("東京"),
    "東京都": Phrase("", ("東京", "京都")),
    "東": Prefix("", (), "東"),
    "from:a": word("a", "from"),
    "FROM:a": word("a", "from"),
    'subject:"a b"': Phrase("subject", ("a", "b")),
    "to:inv*": Prefix("to", (), "inv"),
    "cc:(a OR -b)": Or((word("a", "cc"), Not(word("b", "cc")))),
    "body:(a (b OR c))": And((word("a", "body"), Or((word("b", "body"), word("c", "body"))))),
    "filename:report.pdf": Phrase("filename", ("report", "pdf")),
    "from:AND": word("and", "from"),
    "subject:in://a": Phrase("subject", ("in", "a")),
    'subject:"to:a"': Phrase("subject", ("to", "a")),
    "folder:in:a": SamePlace(Place("folder", "in:a")),
    "subject:re:a": Phrase("subject", ("re", "a")),
    "bcc:a": word("a", "bcc"),
    "list:a.b": Phrase("list", ("a", "b")),
    "attachment:a": word("a", "attachment"),
    "mimetype:Image/PNG": Exact("mimetype", "image/png"),
    "mimetype:Image/*": Exact("mimetype", "image"),
    'mime:"image/*"': Exact("mimetype", "image"),
    'id:"1*@example.org"': Exact("id", id_term("1*@example.org")),
    "mimetype:(image OR text/csv)": Or((Exact("mimetype", "image"), Exact("mimetype", "text/csv"))),
    "id:1.A@example.org": Exact("id", id_term("1.a@example.org")),
    "rfc822msgid:<1@example.org>": Exact("id", id_term("1@example.org")),
    'mid:"a (b)@example.org"': Exact("id", id_term("a (b)@example.org")),
    "has:pdf": Exact("has", "pdf"),
    "x86:b": Phrase("", ("x86", "b")),
    "-from:a": Not(word("a", "from")),
    "has:attachment": Exact("has", "attachment"),
    "HAS:Attachment": Exact("has", "attachment"),
    "is:encrypted": Exact("has", "encrypted"),
    "-is:Signed": Not(Exact("has", "signed")),
    "is:signed is:unread": And((Exact("has", "signed"), SamePlace(Place("is", "unread")))),
    "before:2024": DateRange(None, day(2024)),
    "before:2024-03-05": DateRange(None, day(2024, 3, 5)),
    "after:2024-03": DateRange(day(2024, 3), None),
    "date:2024": DateRange(day(2024), day(2025)),
    "date:2024-12": DateRange(day(2024, 12), day(2025)),
    "date:2024-02-29": DateRange(day(2024, 2, 29), day(2024, 3)),
    "date:2024..2025-03": DateRange(day(2024), day(2025, 4)),
    "date:2024..": DateRange(day(2024), None),
    "date:..2024-03-05": DateRange(None, day(2024, 3, 6)),
    "date:today": DateRange(day(2026, 3, 31), day(2026, 4)),
    "date:yesterday": DateRange(day(2026, 3, 30), day(2026, 3, 31)),
    "date:7d": DateRange(day(2026, 3, 24), None),
    "date:3w..7d": DateRange(day(2026, 3, 10), day(2026, 3, 25)),
    "after:1m": DateRange(day(2026, 2, 28), None),
    "before:1y": DateRange(None, day(2025, 3, 31)),
    "after:25m": DateRange(day(2024, 2, 29), None),
    "larger:5M": SizeRange(5 * 1024**2 + 1, None),
    "smaller:200k": SizeRange(None, 200 * 1024),
    "larger:1.5kB": SizeRange(1537, None),
    "smaller:1G": SizeRange(None, 1024**3),
    "larger:0": SizeRange(1, None),
    "folder:A": SamePlace(IN_A),
    'folder:"A B"': SamePlace(Place("folder", "A B")),
    "in:A": SamePlace(IN_A),
    "account:w*": SamePlace(Place("account", "w*")),
    "folder:[Gmail]/Sent": SamePlace(Place("folder", "[Gmail]/Sent")),
    "is:UNREAD": SamePlace(UNREAD),
    "folder:A is:unread": SamePlace(And((IN_A, UNREAD))),
    "folder:A a is:unread": And((A, SamePlace(And((IN_A, UNREAD))))),
    "folder:A (is:unread is:flagged)": SamePlace(And((IN_A, UNREAD, FLAGGED))),
    "folder:A (is:unread OR is:flagged)": SamePlace(And((IN_A, Or((UNREAD, FLAGGED))))),
    "is:(unread OR flagged)": SamePlace(Or((UNREAD, FLAGGED))),
    "folder:A -is:unread": And((Not(SamePlace(UNREAD)), SamePlace(IN_A))),
    "folder:A -(is:unread is:flagged)": And((Not(SamePlace(And((UNREAD, FLAGGED)))), SamePlace(IN_A))),
    "folder:A (is:unread OR a)": And((Or((SamePlace(UNREAD), A)), SamePlace(IN_A))),
    "folder:A OR is:unread": SamePlace(Or((IN_A, UNREAD))),
    "12:30": Phrase("", ("12", "30")),
    "http://example.org/x": Phrase("", ("http", "example", "org", "x")),
    "nosuch://x": Phrase("", ("nosuch", "x")),
    "std::string": Phrase("", ("std", "string")),
    "C:\\x": Phrase("", ("c", "x")),
    "2001:db8::1": Phrase("", ("2001", "db8", "1")),
    "*": All(),
    "a *": And((A, All())),
    "-*": Not(All()),
    "a**": Prefix("", (), "a"),
    "*voice": Glob("", "*voice"),
    "*Voíce*": Glob("", "*voice*"),
    "in*ce": Glob("", "in*ce"),
    "*in**vo*e": Glob("", "*in*vo*e"),
    "subject:*voice": Glob("subject", "*voice"),
    "from:(*ab OR c*de)": Or((Glob("from", "*ab"), Glob("from", "c*de"))),
    "invoice~": Fuzzy("", "invoice", 1),
    "Invoíce~1": Fuzzy("", "invoice", 1),
    "from:invoice~2": Fuzzy("from", "invoice", 2),
    "~user": word("user"),
    "a~b": Phrase("", ("a", "b")),
    '"invoice~"': word("invoice"),
    "a NEAR/5 b": Near("", (("a",), ("b",)), 5),
    "a NEAR b": Near("", (("a",), ("b",)), 10),
    "a AROUND 7 b": Near("", (("a",), ("b",)), 7),
    "a ADJ/2 b": Near("", (("a",), ("b",)), 2, ordered=True),
    "a near b": And((A, word("near"), B)),
    "a AROUND b": And((A, word("around"), B)),
    "a NEAR-FIELD/2": And((A, Phrase("", ("near", "field", "2")))),
    '"NEAR/5"': Phrase("", ("near", "5")),
    "a near/x": And((A, Phrase("", ("near", "x")))),
    "NEARLY NEAR/2 b": Near("", (("nearly",), ("b",)), 2),
    'a NEAR/5 "b c" NEAR/5 d-e': Near("", (("a",), ("b", "c"), ("d", "e")), 5),
    "c a NEAR/5 b -c": And((C, Near("", (("a",), ("b",)), 5), Not(C))),
    "a OR b NEAR/5 c": Or((A, Near("", (("b",), ("c",)), 5))),
    "-(a NEAR/5 b)": Not(Near("", (("a",), ("b",)), 5)),
    "body:(a NEAR/5 b)": Near("body", (("a",), ("b",)), 5),
    "body:a NEAR/5 b": Near("body", (("a",), ("b",)), 5),
    "subject:/re.+x/": Regex("subject", "re.+x"),
    "subject:/a b|c/ a": And((Regex("subject", "a b|c"), A)),
    "(from:/^a/)": Regex("from", "^a"),
    "filename:/a\\/b\\.c/": Regex("filename", "a/b\\.c"),
    'body:"/a/"': word("a", "body"),
    "/usr/bin/a": Phrase("", ("usr", "bin", "a")),
    "/usr/bin/": Phrase("", ("usr", "bin")),
    "body:/usr/b": Phrase("body", ("usr", "b")),
    "/usr /b": And((word("usr"), B)),
    "a/b/": Phrase("", ("a", "b")),
    "older_than:2m": DateRange(None, day(2026, 1, 31)),
    "newer_than:2w": DateRange(day(2026, 3, 17), None),
    "older:2024": DateRange(None, day(2024)),
    "newer:2024/03/05": DateRange(day(2024, 3, 5), None),
    "date:20240305": DateRange(day(2024, 3, 5), day(2024, 3, 6)),
    "date:@5..@9": DateRange(5, 10),
    "date:2w..now": DateRange(day(2026, 3, 17), day(2026, 4)),
    "received:2024": SamePlace(Received(day(2024), day(2025))),
    "folder:A received:2024": SamePlace(And((IN_A, Received(day(2024), day(2025))))),
    "size:5M": SizeRange(5 << 20, None),
    "size:1k..2k": SizeRange(1024, 2049),
    "size:..2k": SizeRange(None, 2049),
    "size:1k..": SizeRange(1024, None),
    "maildir:/A": SamePlace(IN_A),
    "path:A": SamePlace(IN_A),
    "is:starred": SamePlace(FLAGGED),
    "flag:seen": SamePlace(Place("is", "read")),
    "flag:attach": Exact("has", "attachment"),
    "has:invite": Exact("has", "calendar"),
    "file:a": word("a", "filename"),
    "mime:image": Exact("mimetype", "image"),
    "  a\t\n b ": And((A, B)),
    "a\u3000b": And((A, B)),
}


@pytest.mark.parametrize("text", TREES)
def test_tree(text: str) -> None:
    assert parse(text, now=NOW) == TREES[text]


MISTAKES: dict[str, tuple[int, str]] = {
    "": (0, "empty"),
    " \t": (0, "empty"),
    "(a": (0, "never closed"),
    "a (b (c)": (2, "never closed"),
    "a (": (2, "never closed"),
    "a)": (1, "never opened"),
    ")": (0, "never opened"),
    "a () b": (2, "empty"),
    'a "b': (2, "never closed"),
    'from:"b': (5, "never closed"),
    "a AND": (2, "nothing follows AND"),
    "a OR ": (2, "nothing follows OR"),
    "(a OR) b": (3, "nothing follows OR"),
    "a NOT": (2, "nothing follows NOT"),
    "AND a": (0, "nothing stands before AND"),
    "OR": (0, "nothing stands before OR"),
    "a OR OR b": (2, "nothing follows OR"),
    "a AND OR b": (2, "nothing follows AND"),
    "a (AND b)": (3, "nothing stands before AND"),
    "a -": (2, "nothing follows -"),
    "a - b": (2, "nothing follows -"),
    "-)": (0, "nothing follows -"),
    "a*b": (1, "beside a * stand 2 letters or more"),
    "b *a": (2, "beside a * stand 2 letters or more"),
    "**a*": (0, "beside a * stand 2 letters or more"),
    "*foo-bar*": (0, "in a single word"),
    "fo.o*bar": (4, "in a single word"),
    "東京*都": (2, "in a single word"),
    "*東京*": (0, "in a single word"),
    "a b-c~": (5, "~ stands behind a single word"),
    "東京都~": (3, "~ stands behind a single word"),
    "ab*c~": (4, "~ stands behind a single word"),
    "invoice~3": (7, "behind ~ stands 1 or 2"),
    "invoice~0": (7, "behind ~ stands 1 or 2"),
    "ab~": (2, "~1 needs a word of 3 letters"),
    "alpha~2": (5, "~2 needs a word of 6 letters"),
    "a NEAR/5": (2, "nothing follows NEAR/5"),
    "a NEAR": (2, "nothing follows NEAR"),
    "NEAR/5 a": (0, "nothing stands before NEAR/5"),
    "a NEAR/": (2, "NEAR/ is no operator"),
    "a NEAR/x b": (2, "NEAR/x is no operator"),
    "a NEAR-5 b": (2, "NEAR-5 is no operator"),
    "a (ADJ/)": (3, "ADJ/ is no operator"),
    "a AROUND(5) b": (2, "AROUND is no operator"),
    "a near/5 b": (2, "near/5 is no operator"),
    "(a) NEAR/5 b": (4, "stands between words or phrases"),
    "a NEAR/5 (b)": (2, "stands between words or phrases"),
    "a NEAR/5 from:b": (2, "stands between words or phrases"),
    "a NEAR/5 OR b": (2, "nothing follows NEAR/5"),
    "a NEAR/5 b ADJ/5 c": (11, "cannot stand in one row"),
    "a NEAR/0 b": (2, "the distance is from 1 to 1000"),
    "a ADJ/99999 b": (2, "the distance is from 1 to 1000"),
    "a NEAR/5 b*": (9, "whole words and phrases"),
    "bar~ NEAR/5 b": (0, "whole words and phrases"),
    "東 NEAR b": (0, "whole words and phrases"),
    "a NEAR &": (7, "no letter or digit"),
    "from:(a cc:b NEAR c)": (8, "cannot stand inside from:( )"),
    "has:pdf NEAR b": (8, "stands between words or phrases"),
    "a subject:/re": (10, "the regular expression is never closed"),
    "subject:/re\\/": (8, "the regular expression is never closed"),
    "subject:/a/b": (11, "something stands right behind"),
    "b subject:/(a/": (11, "is no regular expression: missing )"),
    r"cc:/(\pL\pN){500}/": (4, "repeats too much"),
    "cc:/a{1001}/": (4, "is no regular expression"),
    "to:/(?=a)/": (4, "is no regular expression"),
    "list:/" + "a" * 501 + "/": (505, "is longer than 500 characters"),
    "a body:/b/": (7, "only right behind from:, to:, cc:, bcc:, subject:, filename:, list:"),
    "attachment:/a b/": (11, "a regular expression stands only right behind"),
    "a /b.c/ d": (2, "a regular expression stands only right behind"),
    "-/(a|b)/": (1, "a regular expression stands only right behind"),
    "from:(a OR /b/)": (11, "a regular expression stands only right behind"),
    "older_than:2024": (11, "is no age"),
    "newer_than:soon": (11, "is no age"),
    "received:soon": (9, "is not a date"),
    "date:2024/03-05": (5, "is not a date"),
    "date:20241301": (5, "is not a date"),
    "size:1M..1k": (5, "ends before it begins"),
    "size:1M..x": (9, "is not a size"),
    "size:..": (5, "neither a beginning nor an end"),
    "flag:personal": (5, "is none of"),
    ".*": (0, "no letter or digit"),
    "from:*": (5, "beside a * stand 2 letters or more"),
    "a &": (2, "no letter or digit"),
    '"?!"': (0, "no letter or digit"),
    "b subjet:a": (2, "no field is called subjet:"),
    "Re: a": (0, "no field is called Re:"),
    "from:": (5, "from: needs a value"),
    "from: a": (5, "from: needs a value"),
    "from:-a": (5, "- stands before the field"),
    "a from:)": (7, "from: needs a value"),
    "b from:subject:a": (7, "subject: cannot stand inside from:"),
    "-body:TO:a": (6, "TO: cannot stand inside body:"),
    "body:in:a NEAR b": (5, "in: cannot stand inside body:"),
    "from:(to:a)": (6, "cannot stand inside from:( )"),
    "before:soon": (7, "is not a date"),
    "after:2024-13": (6, "is not a date"),
    "date:2023-02-29": (5, "is not a date"),
    "before:2024..2025": (7, "is not a date"),
    "date:2024..x": (11, "is not a date"),
    'date:"x"': (6, "is not a date"),
    "date:..": (5, "neither a beginning nor an end"),
    "date:2025..2024": (5, "ends before it begins"),
    "date:99999y": (5, "is not a date"),
    "larger:5Q": (7, "is not a size"),
    "smaller:-1": (8, "- stands before the field"),
    "is:unred": (3, "did you mean unread?"),
    "is:x": (3, "is none of unread, read, flagged, answered, draft, gone, encrypted, signed"),
    "is:encripted": (3, "did you mean encrypted?"),
    "is:attachment": (3, "is none of unread"),
    "has:attachement": (4, "did you mean attachment?"),
    "id:1*@example.org": (4, "id: takes a whole Message-ID"),
    "b mimetype:im*": (13, "has a * elsewhere than in image/*"),
    'mime:"*/png"': (6, "has a * elsewhere than in image/*"),
    "mimetype:*": (9, "has a * elsewhere than in image/*"),
    "mimetype:/*": (9, "names nothing"),
    "id:<>": (3, "names nothing"),
    "folder:/": (7, "names nothing"),
    'folder:""': (8, "names nothing"),
    "(" * 60 + "a" + ")" * 60: (DEPTH_LIMIT + 1, "more than 50 levels"),
    "-" * 60 + "a": (DEPTH_LIMIT + 1, "more than 50 levels"),
    "in:a " * 1900: (PLACES_LIMIT * 5 + 3, "more than 200 accounts, folders, labels and flags"),
    "in:(" + "a OR " * 1900 + "a)": (
        PLACES_LIMIT * 5 + 4,
        "more than 200 accounts, folders, labels and flags",
    ),
    "folder:\udcff": (7, "not UTF-8"),
    "a b\udcc3": (3, "not UTF-8"),
    "a" * (LENGTH_LIMIT + 1): (LENGTH_LIMIT, "longer than"),
}


@pytest.mark.parametrize(
    ("pattern", "why"), [("(", "missing )"), ("é)", "unexpected )"), ("a**", "bad repetition operator: **")]
)
def test_a_bad_expression_is_shown_as_it_was_written(pattern: str, why: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(f"subject:/{pattern}/", now=NOW)
    assert caught.value.message == f"/{pattern}/ is no regular expression: {why}"


@pytest.mark.parametrize("text", MISTAKES, ids=lambda text: text[:20])
def test_mistake(text: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text, now=NOW)
    position, message = MISTAKES[text]
    assert message in caught.value.message
    assert (caught.value.position, caught.value.query) == (position, text)
    assert caught.value.exit_code == 2


def one_message(text: str) -> bytes:
    """`resolve` of an archive with a single message."""
    if not ("a1b2" * 16).startswith(text.lower()):
        raise NotFoundError(f"no message has the id {text}", hint="`archiver search` shows ids")
    return bytes.fromhex("a1b2" * 16)


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("thread:a1b2", Thread(key=bytes.fromhex("a1b2" * 16))),
        ("thread:A1B2a1", Thread(key=bytes.fromhex("a1b2" * 16))),
        ("thread:<a.b@example.org>", Thread(id=id_term("a.b@example.org"))),
        ("thread:A.b@example.org", Thread(id=id_term("a.b@example.org"))),
        ("thread:<deadbeef>", Thread(id=id_term("deadbeef"))),
        ('thread:"<a b@example.org>"', Thread(id=id_term("a b@example.org"))),
        ("-thread:a1b2", Not(Thread(key=bytes.fromhex("a1b2" * 16)))),
        ("thread:(<a@x> OR <b@x>)", Or((Thread(id=id_term("a@x")), Thread(id=id_term("b@x"))))),
    ],
)
def test_thread(text: str, tree: Node) -> None:
    assert parse(text, now=NOW, message=one_message) == tree


@pytest.mark.parametrize(
    ("text", "position", "message"),
    [
        ("a thread:beef", 9, "no message has the id beef"),
        ('thread:"dead"', 8, "no message has the id dead"),
        ("thread:word", 7, "'word' is no id"),
        ("thread:<>", 7, "'<>' is no id"),
        ("thread:a1b", 7, "'a1b' is no id"),
        ("thread:a1b2 " * 21, 12 * 20 + 7, "more than 20 conversations"),
    ],
)
def test_a_thread_of_no_message(text: str, position: int, message: str) -> None:
    with pytest.raises(QueryError, match=message) as caught:
        parse(text, now=NOW, message=one_message)
    assert caught.value.position == position


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("subjet:a", "subject:"),
        ("form:a", "from:"),
        ("xyz:a", "smaller:"),
        ("a AND", '"and"'),
        ("from:", "from:alice"),
    ],
)
def test_hint(text: str, hint: str) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text, now=NOW)
    assert hint in (caught.value.hint or "")


def test_days_begin_in_the_zone_of_now() -> None:
    from zoneinfo import ZoneInfo

    berlin = datetime(2026, 7, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))
    assert parse("before:2024-01-02", now=berlin) == DateRange(None, day(2024, 1, 2) - 3600)
    assert parse("after:2024-07-02", now=berlin) == DateRange(day(2024, 7, 2) - 7200, None)
    naive = parse("date:2024-01-02", now=datetime(2026, 7, 1))
    assert naive == DateRange(int(datetime(2024, 1, 2).timestamp()), int(datetime(2024, 1, 3).timestamp()))


@given(st.text(st.sampled_from('ab*-():." ANDORfromis2024..,東é/\\'), max_size=60) | st.text(max_size=60))
def test_any_text_is_a_tree_or_an_error_with_a_position(text: str) -> None:
    try:
        parse(text, now=NOW)
    except QueryError as error:
        assert 0 <= error.position <= len(text)


def test_the_longest_query_is_read() -> None:
    tree = parse(" ".join(["ab"] * (LENGTH_LIMIT // 3)), now=NOW)
    assert isinstance(tree, And) and len(tree.parts) == LENGTH_LIMIT // 3


def test_where_each_leaf_stands() -> None:
    spots: dict[Node, int] = {}
    parse("a (from:b OR -c) folder:A a body:(b NEAR/2 c)", now=NOW, spots=spots)
    near = Near("body", (("b",), ("c",)), 2)
    found = {leaf: spots[leaf] for leaf in (A, word("b", "from"), C, SamePlace(IN_A), near)}
    assert list(found.values()) == [0, 3, 14, 17, 34]


def test_only_a_regular_expression_imports_its_engine() -> None:
    script = (
        "import sys; from datetime import datetime; from archiver.search.query import parse\n"
        "import archiver.search.whoosh.engine\n"
        "parse('a *ab* from:abc~ subject:abc', now=datetime.now())\n"
        "assert 're2' not in sys.modules\n"
        "parse('subject:/a/', now=datetime.now())\n"
        "assert 're2' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
