from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.addresses import parse_addresses


def pairs(value: str, hint: str = "") -> list[tuple[str, str]]:
    return [(found.name, found.address) for found in parse_addresses(value, hint)]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("a@example.org", [("", "a@example.org")]),
        ("<a@example.org>", [("", "a@example.org")]),
        ("Ana <a@example.org>", [("Ana", "a@example.org")]),
        ("Ana B. Sample <a@example.org>", [("Ana B. Sample", "a@example.org")]),
        ('"Sample, Ana" <a@example.org>', [("Sample, Ana", "a@example.org")]),
        ("a@example.org, Ben <b@example.org>", [("", "a@example.org"), ("Ben", "b@example.org")]),
        (
            '"Sample, Ana" <a@example.org>, b@example.org',
            [("Sample, Ana", "a@example.org"), ("", "b@example.org")],
        ),
        ('"Ana \\"A\\" S" <a@example.org>', [('Ana "A" S', "a@example.org")]),
        ("'Ana' <a@example.org>", [("Ana", "a@example.org")]),
        ("a@example.org (Ana)", [("Ana", "a@example.org")]),
        ("a@example.org (Ana (the first))", [("Ana (the first)", "a@example.org")]),
        ("Ana (office) <a@example.org>", [("Ana", "a@example.org")]),
        ("ana(comment)@example.org", [("comment", "ana@example.org")]),
        (
            "Team: a@example.org, Ben <b@example.org>;, c@example.org",
            [("", "a@example.org"), ("Ben", "b@example.org"), ("", "c@example.org")],
        ),
        ("undisclosed-recipients:;", []),
        ("Undisclosed recipients", [("Undisclosed recipients", "")]),
        ("<@relay.example.org,@b.example.org:a@example.org>", [("", "a@example.org")]),
        ("<mailto:a@example.org>", [("", "a@example.org")]),
        ("<<a@example.org>>", [("", "a@example.org")]),
        ("< a@example.org >", [("", "a@example.org")]),
        ("Ana <a@example.org", [("Ana", "a@example.org")]),
        ("Ana <a@example.org, Ben <b@example.org>", [("Ana", "a@example.org"), ("Ben", "b@example.org")]),
        ("Ana <a@example.org> Ben <b@example.org>", [("Ana", "a@example.org"), ("Ben", "b@example.org")]),
        ("<a@example.org> Ana", [("Ana", "a@example.org")]),
        ("a@example.org; b@example.org", [("", "a@example.org"), ("", "b@example.org")]),
        ("a@example.org b@example.org", [("", "a@example.org"), ("", "b@example.org")]),
        ("Ana a@example.org", [("Ana", "a@example.org")]),
        ("a@example.org <b@example.org>", [("a@example.org", "b@example.org")]),
        ('"Ana <a@example.org>', [("Ana", "a@example.org")]),
        ('"ana sample"@example.org', [("", '"ana sample"@example.org')]),
        ("postmaster", [("", "postmaster")]),
        ("MAILER-DAEMON (Mail System)", [("Mail System", "MAILER-DAEMON")]),
        ("<postmaster>", [("", "postmaster")]),
        (",, a@example.org ,", [("", "a@example.org")]),
        ("<>", []),
        ("", []),
        ("=?utf-8?Q?J=C3=B6rg?= <a@example.org>", [("Jörg", "a@example.org")]),
        ("=?utf-8?Q?J=C3=B6rg?= =?utf-8?Q?_M?= <a@example.org>", [("Jörg M", "a@example.org")]),
        ('"=?utf-8?Q?M=2C_J=C3=B6rg?=" <a@example.org>', [("M, Jörg", "a@example.org")]),
        ("=?utf-8?Q?M,_J=C3=B6rg?= <a@example.org>", [("M, Jörg", "a@example.org")]),
        ("=?utf-8?Q?Ana_=3Ca=40example=2Eorg=3E?=", [("Ana", "a@example.org")]),
        ("a@example.org (=?utf-8?Q?J=C3=B6rg?=)", [("Jörg", "a@example.org")]),
        ("Jörg <jörg@exämple.org>", [("Jörg", "jörg@exämple.org")]),
        ("J\udcf6rg <a@example.org>", [("Jörg", "a@example.org")]),
        ("\x1b$B;3ED\x1b(B <a@example.org>", [("山田", "a@example.org")]),
    ],
)
def test_addresses(value: str, expected: list[tuple[str, str]]) -> None:
    assert pairs(value) == expected


def test_raw_names_follow_the_hint() -> None:
    raw = "表".encode("cp932").decode("utf-8", "surrogateescape")  # its second byte is a backslash
    assert pairs(f'"{raw}" <a@example.org>', "shift_jis") == [("表", "a@example.org")]


_NAMES = st.text(st.characters(categories=["L", "N"], max_codepoint=0x24F), min_size=1, max_size=12)


@given(
    st.lists(
        st.tuples(_NAMES, st.from_regex(r"[a-z]{1,8}@[a-z]{1,8}\.example\.org", fullmatch=True)), max_size=6
    )
)
def test_ordinary_lists_come_back(mailboxes: list[tuple[str, str]]) -> None:
    assert pairs(", ".join(f"{name} <{address}>" for name, address in mailboxes)) == mailboxes
    assert pairs(", ".join(f'"{name}, X" <{address}>' for name, address in mailboxes)) == [
        (f"{name}, X", address) for name, address in mailboxes
    ]


@given(
    st.lists(
        st.sampled_from(
            [
                "<",
                ">",
                "(",
                ")",
                '"',
                "\\",
                ",",
                ";",
                ":",
                "@",
                " ",
                "a",
                "b@c",
                "=?utf-8?Q?",
                "?=",
                "\udcff",
                "ä",
            ]
        )
    )
)
def test_total_and_never_both_halves_empty(pieces: list[str]) -> None:
    for found in parse_addresses("".join(pieces)):
        assert found.name or found.address
        assert (found.name + found.address).encode()
