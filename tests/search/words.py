"""What the documents and queries of these tests are made of."""

from __future__ import annotations

WORDS = tuple(
    "alpha beta gamma delta alphabet quarterly report_v2 naïve NAIVE Ёлка straße 東京都 東京 京都 かな "  # noqa: SIM905
    "안녕하세요 สวัสดี שלום x1 2024 re-sent user.name@mail.example.org alhpa bet".split()
)
"""Few words, so that documents share them and phrases repeat."""

FOLDERS = ("A", "B", "Lists")
FLAGS = ("unread", "read", "flagged")


def message_id(number: int) -> str:
    return f"{number}.Sent@mail.example.org"
