"""One table drives parser, help and documentation."""

from __future__ import annotations

import re
from datetime import datetime
from pathlib import Path

import pytest

from archiver.search.fields import ANYWHERE, BY_NAME, CHOICES, CONTENT, FIELDS, Field, help_text, markdown
from archiver.search.query import parse


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_field_is_parsed_and_documented(field: Field) -> None:
    parse(
        field.example,
        now=datetime(2026, 1, 1),
        message=lambda text: b"k" * 32,
        saved={"invoices": "invoice"},
    )
    assert field.example.startswith(tuple(f"{name}:" for name in (field.name, *field.aliases)))
    assert f"{field.name}:" in help_text()
    assert f"`{field.name}:`" in markdown() and f"`{field.example}`" in markdown()
    assert all(value in help_text() and f"`{value}`" in markdown() for value in field.values)


@pytest.mark.parametrize("field", [field for field in FIELDS if field.values], ids=lambda field: field.name)
def test_every_choice_is_parsed(field: Field) -> None:
    for value in field.values:
        parse(f"{field.name}:{value}", now=datetime(2026, 1, 1))


def test_names_are_unique_but_for_rows_of_other_choices() -> None:
    names = [name for field in FIELDS for name in (field.name, *field.aliases)]
    twice = {name for name in names if names.count(name) > 1}
    assert twice == {"is", "flag"} and BY_NAME.keys() == set(names)
    assert len(CHOICES) == sum(len(field.values) for field in FIELDS)
    assert set(ANYWHERE) == set(CONTENT) - {"bcc", "list"}


def test_help_fits_a_terminal_of_110_columns() -> None:
    assert max(map(len, help_text().splitlines())) <= 110
    assert all(line.count("|") - line.count("\\|") == 5 for line in markdown().splitlines())


def _examples() -> list[str]:
    """Every query on the page: of commands, of tables, and in the text."""
    page = (Path(__file__).parents[2] / "docs" / "query.md").read_text("utf-8")
    commands = re.findall(
        r"^ +(?:\$ )?archiver (?:search|count) (?:--explain )?(?:-- )?(.+)$", page, re.MULTILINE
    )
    names = "|".join(sorted(BY_NAME, key=len, reverse=True))
    spans = re.findall(rf"`(-?(?:{names}):[^`]+)`", page)
    return [*(text.strip("'") for text in commands), *spans]


@pytest.mark.parametrize("text", _examples())
def test_every_example_of_the_page_is_a_query(text: str) -> None:
    if text == "form:alice":
        return
    saved = dict.fromkeys(("invoices", "unpaid"), "subject:invoice")
    parse(text, now=datetime(2026, 1, 1), saved=saved, message=lambda id: bytes(32))


def test_the_page_has_an_example_for_every_row_and_operator() -> None:
    found = " ".join(_examples())
    for field in FIELDS:
        assert field.example in found
    for sign in ("*", "~", "~2", "NEAR/5", "ADJ/3", "AROUND 5", ":/", "OR", "NOT", "-", "(", '"'):
        assert sign in found
