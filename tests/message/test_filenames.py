from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message import safe_filename
from archiver.message.filenames import MAX_BYTES


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("report.pdf", "report.pdf"),
        ("Rechnung März 2024.pdf", "Rechnung März 2024.pdf"),
        ("照片.jpg", "照片.jpg"),
        ("../../etc/passwd", "passwd"),
        ("/etc/passwd", "passwd"),
        ("C:\\dir\\file.txt", "file.txt"),
        ("dir/", "dir"),
        (".bashrc", "bashrc"),
        ("..", "fallback"),
        (".", "fallback"),
        ("/", "fallback"),
        ("", "fallback"),
        ("   ", "fallback"),
        ("a\x00b\x1b[31m.txt", "ab[31m.txt"),
        ("a\nb.txt", "ab.txt"),
        ("exe\u202etxt.gpj", "exetxt.gpj"),  # a right-to-left override hides the real ending
        ("zero\u200bwidth", "zerowidth"),
        ("a\u2028b", "a b"),
        ("a:b*c?.txt", "a_b_c_.txt"),
        ('<a>|"b".txt', "_a___b_.txt"),
        ("-rf", "rf"),
        ("name. ", "name"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("com1.tar.gz", "_com1.tar.gz"),
        ("console.txt", "console.txt"),
        ("e\u0301.txt", "é.txt"),
        ("x" * 300 + ".pdf", "x" * 116 + ".pdf"),
        ("会" * 100 + ".docx", "会" * 38 + ".docx"),
        ("x" * 300 + "." + "y" * 50, "x" * 120),
        ("a\udcffb", "ab"),
    ],
)
def test_names(name: str, safe: str) -> None:
    assert safe_filename(name, "fallback") == safe


def test_a_bad_fallback_is_no_way_round() -> None:
    assert safe_filename("..", "../x") == "x"
    assert safe_filename("", "") == "attachment"


@given(st.text(st.characters()), st.text())
def test_always_one_name_in_the_directory(name: str, fallback: str) -> None:
    safe = safe_filename(name, fallback)
    assert 0 < len(safe.encode()) <= MAX_BYTES
    assert os.path.basename(safe) == safe
    assert not safe.startswith((".", "-", " ")) and not safe.endswith((".", " "))
    assert not any(unicodedata.category(character).startswith("C") for character in safe)
    assert safe_filename(safe, "x") == safe
