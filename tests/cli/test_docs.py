"""The documentation names every verb, option, key and field, and none that is not there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_type_hints

import click
import msgspec
import pytest

from archiver.cli.app import VERBS, Session, root
from archiver.config.structs import (
    Account,
    Config,
    Folders,
    ImapServer,
    IndexSettings,
    Schedule,
    SecretSource,
    SmtpServer,
)
from archiver.errors import ArchiverError
from archiver.search.fields import BY_NAME, FIELDS
from tests.cli.home import Home

TOP = Path(__file__).parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
STRUCTS = (Config, Account, ImapServer, SmtpServer, Folders, Schedule, SecretSource, IndexSettings)
# Options of others that the pages speak of: systemctl's.
FOREIGN = {"--user", "--now"}


def command(verb: str) -> click.Command:
    found = root.get_command(click.Context(root, obj=Session()), verb)
    assert found is not None
    return found


def parameters(verb: str) -> list[click.Parameter]:
    """The options and arguments of a verb, and of what stands after it."""
    found = command(verb)
    inner = found.commands.values() if isinstance(found, click.Group) else ()
    return [parameter for each in (found, *inner) for parameter in each.params]


def options(verb: str) -> set[str]:
    """The long options of a verb, its help aside."""
    return {
        name
        for parameter in parameters(verb)
        if isinstance(parameter, click.Option)
        for name in parameter.opts
        if name.startswith("--")
    }


def sections() -> dict[str, str]:
    """Heading -> text, for the second-level sections of docs/commands.md."""
    text = (TOP / "docs" / "commands.md").read_text("utf-8")
    parts = re.split(r"^## (.+)$", text, flags=re.MULTILINE)
    return dict(zip((name.strip("`") for name in parts[1::2]), parts[2::2], strict=True))


def mentioned(pattern: str) -> Iterator[tuple[str, str]]:
    for page in PAGES:
        for found in re.findall(pattern, page.read_text("utf-8")):
            yield page.name, found


class TestVerbs:
    @pytest.mark.parametrize("verb", VERBS)
    def test_each_has_a_section_with_its_options_and_arguments(self, verb: str) -> None:
        text = sections()[verb]
        assert f"archiver {verb}" in text
        for option in options(verb):
            assert re.search(rf"{option}\b", text), f"docs/commands.md, {verb}: {option}"
        for parameter in parameters(verb):
            if isinstance(parameter, click.Argument):
                assert (parameter.name or "").upper().rstrip("S") in text

    def test_the_readme_leads_to_every_page(self) -> None:
        text = (TOP / "README.md").read_text("utf-8")
        assert [page.name for page in PAGES[1:] if f"(docs/{page.name})" not in text] == []

    @pytest.mark.parametrize("verb", VERBS)
    def test_each_section_names_no_option_of_another(self, verb: str) -> None:
        named = set(re.findall(r"`(--[a-z][a-z-]+)", sections()[verb]))
        named |= set(re.findall(rf"(?<=archiver {verb} ).*?(--[a-z-]+)", sections()[verb]))
        assert named <= options(verb) | {"--config", "--debug"}

    def test_no_page_names_a_verb_or_an_option_that_is_not_there(self) -> None:
        known = {option for verb in VERBS for option in options(verb)} | FOREIGN
        known |= {"--config", "--debug", "--help", "--version"}
        assert {
            (page, o)
            for page, o in mentioned(r"(?<![\w-])(--[a-z][a-z-]*[a-z])(?![\w-])")
            if o not in known and page != "benchmarks.md"  # its options are the benchmarks' own
        } == set()
        words = mentioned(r"(?:^    |`|\$ )archiver (?:--config \S+ |--debug )*([a-z]+)\b")
        assert {(page, verb) for page, verb in words if verb not in VERBS} == set()

    @pytest.mark.parametrize("verb", VERBS)
    def test_each_help_is_complete(self, home: Home, verb: str) -> None:
        text = " ".join(home.good(verb, "--help").out.split())
        assert "Exit codes: 0 " in text
        for parameter in parameters(verb):
            assert not isinstance(parameter, click.Option) or parameter.help, f"{verb}: {parameter.opts}"
        assert command(verb).help

    def test_no_help_is_wider_than_a_terminal(self, home: Home) -> None:
        for verb in VERBS:
            assert [line for line in home.good(verb, "--help").lines() if len(line) > 80] == []

    def test_every_exit_code(self) -> None:
        kinds = [ArchiverError]
        for kind in kinds:
            kinds += kind.__subclasses__()
        codes = {kind.exit_code for kind in kinds} | {0, 143}
        for text in ((TOP / "docs" / "commands.md").read_text("utf-8"), root.epilog or ""):
            assert {code for code in codes if not re.search(rf"\b{code}\b", text)} == set()


class TestConfiguration:
    @pytest.mark.parametrize("kind", STRUCTS)
    def test_each_key_is_documented(self, kind: type[msgspec.Struct]) -> None:
        text = (TOP / "docs" / "configuration.md").read_text("utf-8")
        for field in msgspec.structs.fields(kind):
            if (kind, field.name) != (Account, "name"):
                key = "a plain string" if field.name == "literal" else f"`{field.encode_name}`"
                assert key in text, f"{kind.__name__}.{field.name}"

    def test_no_struct_is_forgotten(self) -> None:
        inner = {
            name
            for kind in STRUCTS
            for hint in get_type_hints(kind).values()
            for name in re.findall(r"structs\.(\w+)", repr(hint))
        }
        assert inner - {"Duration", "Size"} <= {kind.__name__ for kind in STRUCTS}

    def test_the_example_has_every_section(self) -> None:
        from archiver.config import load

        loaded = load(TOP / "config.yaml")
        assert loaded.accounts and loaded.smtp
        text = (TOP / "config.yaml").read_text("utf-8")
        for field in msgspec.structs.fields(Config):
            assert re.search(rf"^{field.encode_name}:", text, re.MULTILINE)


class TestQueries:
    @pytest.mark.parametrize("name", BY_NAME)
    def test_each_field_is_documented(self, home: Home, name: str) -> None:
        assert f"`{name}:`" in (TOP / "docs" / "query.md").read_text("utf-8")

    def test_each_field_is_in_the_help(self, home: Home) -> None:
        text = home.good("search", "--help").out
        for field in FIELDS:
            assert re.search(rf"^ +{re.escape(field.example)}  ", text, re.MULTILINE)
            assert field.example.startswith(f"{field.name}:")
            assert all(value in text for value in (*field.values, *(f"{a}:" for a in field.aliases)))
