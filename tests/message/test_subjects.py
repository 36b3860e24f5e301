"""What a subject is about."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.subjects import base_subject

PIECES = (
    *("Re", "Fwd", "AW", "回复", ":", "：", " ", "\t", "[", "]"),
    *("[list]", "(fwd)", "[fwd:", "a", "Ünicode", "x y"),
)


@pytest.mark.parametrize(
    ("subject", "base", "reply"),
    [
        ("Plan", "plan", False),
        ("Re: Plan", "plan", True),
        ("RE : re:Plan", "plan", True),
        ("Re[2]: Plan", "plan", True),
        ("Re(3): Plan", "plan", True),
        ("Re^2: Plan", "plan", True),
        ("Fwd: Re: Plan", "plan", False),
        ("Re: Fwd: Plan", "plan", True),
        ("Plan (fwd) (fwd)", "plan", False),
        ("[Fwd: Re: Plan]", "plan", False),
        ("Re: [Fwd: [list] Plan (fwd)]", "plan", True),
        ("[list] Re: Plan", "plan", True),
        ("Re: [list] Re: [other] Plan", "plan", True),
        ("[list]  Plan  of \t the\r\n year", "plan of the year", False),
        ("[PATCH 2/3] Plan", "plan", False),
        ("AW: WG: Plan", "plan", True),
        ("Antw: SV: Vs: Plan", "plan", True),
        ("WG: Plan", "plan", False),
        ("回复：计划", "计划", True),
        ("答复: 回覆: 计划", "计划", True),
        ("转发：计划", "计划", False),
        ("Re:", "", True),
        ("[list]", "[list]", False),
        ("Re: [list]", "[list]", True),
        ("", "", False),
        ("Regarding: Plan", "regarding: plan", False),
        ("Re Plan", "re plan", False),
        ("Plan Re: B", "plan re: b", False),
        ("ＲＥ： ＳＴＲＡẞＥ", "strasse", True),
    ],
)
def test_what_it_is_about(subject: str, base: str, reply: bool) -> None:
    assert base_subject(subject) == (base, reply)


@given(st.lists(st.sampled_from(PIECES)).map("".join) | st.text(max_size=100))
def test_marks_put_before_it_change_nothing(subject: str) -> None:
    base, _ = base_subject(subject)
    assert base_subject(f"Re: {subject}") == (base, True)
    assert base_subject(f"Fwd: AW: {subject}") == (base, False)


@given(st.lists(st.sampled_from(PIECES)).map("".join))
def test_what_is_left_has_no_mark(subject: str) -> None:
    base, _ = base_subject(subject)
    assert base_subject(base) == (base, False)


@pytest.mark.parametrize("piece", ["Re:", "[", "[]", "[fwd:", "(fwd)", "re[", " ", "[a]re"])
def test_no_subject_takes_long(piece: str) -> None:
    start = time.process_time()
    base_subject(piece * 100_000)
    assert time.process_time() - start < 0.1
