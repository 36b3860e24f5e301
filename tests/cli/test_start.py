"""What a search loads: it is over in a tenth of a second, and each module costs some of that."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.cli.home import Home

SCRIPT = """
import sys
before = set(sys.modules)
from archiver.cli import main
code = main(sys.argv[1:])
print(*sorted(set(sys.modules) - before), file=sys.stderr)
sys.exit(code)
"""

PACKAGES = {"archiver", "click", "msgspec", "yaml", "typing_extensions"}
MODULES = {
    "archive": {"find", "ids", "reports"},
    "cli": {"app", "behind", "hits", "search", "text"},
    "config": {"load", "structs"},
    "errors": set(),
    "search": {
        "analysis",
        "fields",
        "ids",
        "index",
        "kinds",
        "leaves",
        "limits",
        "people",
        "places",
        "positions",
        "query",
        "saved",
        "stemming",
        "tokens",
        "tree",
        "values",
        "whoosh",
    },
    "store": {"database", "layout", "ledger", "locks", "maildir", "records"},
}
ENGINE = {
    "engine", "evaluate", "groups", "lists", "numbers", "pages", "parts", "postings",
    "record", "rows", "segment", "totals",
}  # fmt: skip
# Modules of Python that cost milliseconds and that nothing here needs.
HEAVY = {
    "asyncio", "concurrent.futures", "email", "hashlib", "http", "imaplib", "json", "logging",
    "multiprocessing", "random", "select", "shutil", "smtplib", "socket", "ssl", "subprocess",
    "tempfile", "xml",
}  # fmt: skip


def loaded(home: Home, *arguments: str) -> set[str]:
    """The modules a run of the program loads."""
    command = [sys.executable, "-c", SCRIPT, "--config", str(home.config), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stderr.splitlines()[-1].split())


@pytest.mark.parametrize("query", ["news", '"news number"', "ne* -folder:kept", "is:unread larger:1k"])
def test_a_search_loads_what_it_uses(library: Home, query: str) -> None:
    modules = loaded(library, "search", query)
    ours = {f"archiver.{room}" for room in MODULES}
    ours |= {f"archiver.{room}.{module}" for room, inner in MODULES.items() for module in inner}
    ours |= {f"archiver.search.whoosh.{module}" for module in ENGINE}
    assert {module for module in modules if module.startswith("archiver.")} == ours
    assert modules & HEAVY == set()
    top = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    assert {name for name in top if not name.startswith("_")} <= PACKAGES | {"cython_runtime"}


def test_relevance_loads_ranking_besides(library: Home) -> None:
    more = loaded(library, "search", "--sort", "relevance", "news") - loaded(library, "search", "news")
    assert {module for module in more if module.startswith("archiver.")} == {"archiver.search.whoosh.rank"}
