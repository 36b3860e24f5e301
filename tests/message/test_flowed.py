from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.flowed import unflow


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("one \ntwo \nthree\nfour", "one two three\nfour"),
        ("> quoted \n> lines\nmine \nalso", "> quoted \n> lines\nmine also"),
        ("mine \n> quoted", "mine \n> quoted"),
        ("text \n-- \nAna", "text \n-- \nAna"),
        ("-- \nAna \nSample", "-- \nAna Sample"),
        (" >stuffed\n From here", ">stuffed\nFrom here"),
        ("\n\n", "\n\n"),
        ("", ""),
    ],
)
def test_paragraphs(text: str, joined: str) -> None:
    assert unflow(text) == joined


def test_deleted_spaces() -> None:
    assert unflow("日本 \n語", delete_space=True) == "日本語"


@given(st.text("ab >-\n"))
def test_only_blanks_and_line_ends_are_lost(text: str) -> None:
    assert unflow(text).replace(" ", "").replace("\n", "") == text.replace(" ", "").replace("\n", "")
