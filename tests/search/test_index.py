"""A message as a document, and what of it is analysed."""

from __future__ import annotations

from datetime import datetime

import pytest

from archiver.message import parse
from archiver.search.ids import LOST, id_term
from archiver.search.index import (
    Document,
    Index,
    IndexState,
    document,
    exact_terms,
    facts,
    open_index,
    shown,
    texts,
)
from archiver.search.query import parse as parse_query
from tests.search.contract import no_places

RAW = (
    b"From: Ana Example <ana@example.org>\nTo: Ben <ben@example.org>, cleo@example.org\n"
    b"Bcc: dan@example.org\nCc: Eva <eva@example.org>\nSubject: Plan\n"
    b"Message-ID: <1@example.org>\nReferences: <0@example.org>\nList-Id: Plans <plans.example.org>\n"
    b"Date: Tue, 05 Mar 2024 12:00:00 +0000\n"
    b"Content-Type: multipart/signed; boundary=b\n\n--b\n\nThe text.\n--b\n"
    b"Content-Type: application/pdf; name=plan.pdf\n\n%PDF\n--b--\n"
)


def test_a_message_as_a_document() -> None:
    made = document(b"k" * 32, 1_800_000_000, 500, parse(RAW))
    assert (made.date, made.size, made.subject, made.body) == (1_709_640_000, 500, "Plan", "The text.")
    assert made.from_ == ("Ana Example <ana@example.org>",)
    assert made.to == ("Ben <ben@example.org>", "cleo@example.org", "dan@example.org")
    assert made.cc == ("Eva <eva@example.org>",)
    assert (made.bcc, made.lists) == (("dan@example.org",), ("Plans <plans.example.org>",))
    assert (made.id, made.refers) == ("1@example.org", ("0@example.org",))
    assert (made.filenames, made.mimetypes) == (("plan.pdf",), ("application/pdf",))
    assert (made.has_attachment, made.has_calendar) == (True, False)
    assert (made.is_encrypted, made.is_signed) == (False, True)


def test_what_a_subject_is_about() -> None:
    reply = RAW.replace(b"Subject: Plan", b"Subject: [list] AW: Plan")
    lost = reply.replace(b"In-Reply-To:", b"X-Other:").replace(b"References:", b"X-Others:")
    made, alone = (document(b"k" * 32, 1_800_000_000, 500, parse(raw)) for raw in (reply, lost))
    assert (made.topic, made.is_reply, alone.topic, alone.is_reply) == ("plan", True, "plan", True)
    assert set(exact_terms(made)["topic"]) == {id_term("plan")}
    assert set(exact_terms(alone)["topic"]) == {id_term("plan"), LOST + id_term("plan")}


def test_what_is_searched_and_shown_of_it() -> None:
    made = document(b"k" * 32, 1_800_000_000, 500, parse(RAW))
    assert texts(made) == {
        "from": made.from_,
        "to": made.to,
        "cc": made.cc,
        "subject": ("Plan",),
        "body": ("The text.",),
        "bcc": made.bcc,
        "attachment": (),
        "filename": ("plan.pdf",),
        "list": made.lists,
    }
    assert facts(made) == ("attachment", "signed", "pdf")
    assert {field: set(found) for field, found in exact_terms(made).items()} == {
        "has": {"attachment", "signed", "pdf"},
        "mimetype": {"application/pdf", "application"},
        "id": {id_term("1@example.org")},
        "refers": {id_term("0@example.org")},
        "topic": {id_term("plan")},
        "people": {
            "fana@example.org\tAna Example",
            "tben@example.org\tBen",
            "tcleo@example.org\t",
            "tdan@example.org\t",
            "ceva@example.org\tEva",
            "lplans.example.org\tPlans",
        },
    }
    assert shown(made) == {
        "subject": "Plan",
        "from": "Ana Example <ana@example.org>",
        "to": "Ben <ben@example.org>, cleo@example.org, dan@example.org",
        "cc": "Eva <eva@example.org>",
        "bcc": "dan@example.org",
        "filename": "plan.pdf",
        "list": "Plans <plans.example.org>",
        "has": "attachment signed pdf",
    }


# A text, queries that find it, and some that must not.
WRITTEN: dict[str, tuple[str, str]] = {
    "quarterly-report_v2.pdf": (
        "quarterly-report_v2.pdf quarterly report v2 pdf report_v2 quarterly-rep* quart* report_v2.p*",
        "quarterly-v2 report_v quarterly_pdf",
    ),
    "user.name+tag@mail.example.org": (
        "user.name+tag@mail.example.org user name tag name+tag user.name@ mail.example.org example.org"
        " @mail.example.org user.na* tag@mail.exam* USER.NAME+TAG@MAIL.EXAMPLE.ORG",
        "user@mail.example.org name@mail example.net",
    ),
    "https://www.example.org/docs/a-b?page=12#top": (
        "https://www.example.org/docs/a-b?page=12#top www.example.org example.org docs/a-b page=12 exam*",
        "http example.org/a-b page=1",
    ),
    "error 0x80070005 (E_ACCESSDENIED)": (
        "0x80070005 0X80070005 0x8007* e_accessdenied E_ACCESS* accessdenied",
        "0x8007 80070005",
    ),
    "fixes CVE-2024-6923.": (
        "CVE-2024-6923 cve-2024 cve-2024-69* 2024-6923 cve 6923 CVE-*",
        "CVE-2024-692 CVE-6923",
    ),
    "since v2.7.4, not 3.0": ("v2.7.4 v2.7 v2.* v2.7.* 2.7 2.7.4* 7.4", "v2.7.5 v2.4 v3"),
    "10.0.3-rc1+build5": ("10.0.3 10.0.3-rc1 10.0.3-rc1+build5 rc1 build5 10.0.3-rc*", "10.3 rc"),
    "C:\\Users\\ana\\report.doc": ("C:\\Users\\ana users\\ana\\report.doc report.d*", "C:\\ana"),
    "Don't say l'été, O’Neill": ("don't don’t l'été l’ete o'neill o’ne* ete", "oneill dont"),
    "会議は東京都庁で": ("会議 東京 京都 東京都庁 都 で 会 議は東", "東都 京庁"),
    "ขอเชิญประชุมวันพุธ": ("ประชุม ประช* ชุม วันพุธ ป", "ขอประชุม"),
}


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Index:
    made = open_index(str(tmp_path_factory.mktemp("index") / "index"))
    documents = [
        Document(bytes([number]) * 32, number, 1, body=f"Before {text} after.")
        for number, text in enumerate(WRITTEN)
    ]
    made.apply(documents, (), IndexState("L", 1))
    return made


def dates(index: Index, query: str) -> set[int]:
    hits = index.search(parse_query(query, now=datetime(2026, 1, 1)), no_places)
    return {hit.date for hit in hits.hits}


@pytest.mark.parametrize("text", WRITTEN)
def test_found_as_a_whole_and_by_parts(index: Index, text: str) -> None:
    found, not_found = (queries.split() for queries in WRITTEN[text])
    number = list(WRITTEN).index(text)
    assert [query for query in (text, *found) if number not in dates(index, f"body:{quoted(query)}")] == []
    assert [query for query in not_found if number in dates(index, f"body:{quoted(query)}")] == []


def quoted(query: str) -> str:
    return query if query.endswith("*") else f'"{query}"'
