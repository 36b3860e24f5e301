"""The pages that are made from the program's own tables are what the tables say."""

from __future__ import annotations

from pathlib import Path

from archiver import presets
from archiver.config import reference
from archiver.search import fields

DOCS = Path(__file__).resolve().parents[1] / "docs"


def test_the_configuration_page_is_made_from_the_structs() -> None:
    expected = reference.markdown()
    assert (DOCS / "configuration.md").read_text() == expected, (
        "make it anew: python -m archiver.config.reference > docs/configuration.md"
    )


def test_the_page_of_providers_is_made_from_the_table() -> None:
    assert (DOCS / "providers.md").read_text() == presets.markdown(), (
        "make it anew: python -m archiver.presets > docs/providers.md"
    )


def test_the_query_page_holds_the_table_of_fields() -> None:
    assert fields.markdown() in (DOCS / "query.md").read_text()
