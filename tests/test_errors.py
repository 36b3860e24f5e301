"""The error tree is what its docstring draws, and starting up imports no more than it needs."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys

import pytest

from archiver import errors
from archiver.errors import ArchiverError, ConfigError, InterruptedRun, QueryError, UnavailableError

LINE = re.compile(r"(?P<indent>[│├└─ ]*)(?P<name>[A-Z]\w+)(?: +exit (?P<code>\d+))?(?: +(?P<what>.*))?\Z")


def drawn() -> dict[str, tuple[str, int, bool]]:
    """The tree of the docstring: name -> (parent, exit code, transient); codes are inherited."""
    found: dict[str, tuple[str, int, bool]] = {}
    branch: list[str] = []
    for line in str(inspect.getdoc(errors)).splitlines():
        match = LINE.match(line[4:]) if line.startswith("    ") else None
        if not match:
            continue
        depth = len(match["indent"]) // 4
        branch[depth:] = [match["name"]]
        parent = branch[depth - 1] if depth else "Exception"
        code = int(match["code"]) if match["code"] else found[parent][1]
        found[match["name"]] = parent, code, "transient" in (match["what"] or "")
    return found


def written() -> dict[str, tuple[str, int, bool]]:
    classes = [
        cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, ArchiverError)
    ]
    return {cls.__name__: (cls.__mro__[1].__name__, cls.exit_code, cls.transient) for cls in classes}


def test_the_tree_in_the_docstring_is_the_tree_of_classes() -> None:
    assert len(written()) > 20
    assert drawn() == written()


def test_exit_codes_mean_what_the_design_says() -> None:
    for name, (_, code, transient) in written().items():
        assert code in (1, 2, 3, 75, 130), name
        assert transient == (code == 75), name


def test_every_class_has_its_sentence() -> None:
    for name in written():
        assert inspect.getdoc(getattr(errors, name)), name


def test_no_class_of_ours_is_made_elsewhere() -> None:
    script = (
        "import pkgutil, importlib, archiver\n"
        "from archiver.errors import ArchiverError\n"
        "for found in pkgutil.walk_packages(archiver.__path__, 'archiver.'):\n"
        "    if not found.name.endswith('__main__'):\n"
        "        importlib.import_module(found.name)\n"
        "def below(cls):\n"
        "    for each in cls.__subclasses__():\n"
        "        yield each\n"
        "        yield from below(each)\n"
        "print(sorted({c.__module__ for c in below(ArchiverError)}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "['archiver.errors']"


@pytest.mark.parametrize(
    ("place", "text"),
    [
        ({}, "broken"),
        ({"account": "work"}, "work: broken"),
        ({"account": "work", "folder": "INBOX"}, "work/INBOX: broken"),
        ({"account": "work", "folder": "A/B", "uid": 7}, "work/A/B UID 7: broken"),
        ({"uid": 7}, "UID 7: broken"),
    ],
)
def test_an_error_says_where(place: dict[str, str | int], text: str) -> None:
    error = ArchiverError("broken", hint="mend it", **place)  # type: ignore[arg-type]
    assert (str(error), error.message, error.hint) == (text, "broken", "mend it")


def test_what_some_carry_besides() -> None:
    assert ConfigError("bad", ["one", "two"]).problems == ("one", "two")
    error = QueryError("bad", "from:", 5, hint="a name")
    assert (error.query, error.position, error.hint) == ("from:", 5, "a name")
    assert UnavailableError("later", wait=12.5).wait == 12.5
    assert [InterruptedRun(signal_number=n).exit_code for n in (2, 15)] == [130, 143]


HEAVY = (
    "imapclient",
    "imaplib",
    "smtplib",
    "apscheduler",
    "rich",
    "whoosh",
    "ssl",
    "multiprocessing",
    "email",
)


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["search", "--help"], ["sync", "--help"], ["run", "--help"]]
)
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    script = (
        "import sys\n"
        "from archiver.cli import main\n"
        f"{'main(sys.argv[1:])' if arguments else ''}\n"
        f"print(sorted(set({HEAVY!r}) & sys.modules.keys()), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=True, timeout=60
    )
    assert bool(done.stdout) == bool(arguments)
    assert done.stderr.strip() == "[]"
