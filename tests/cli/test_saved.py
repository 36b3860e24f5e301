"""`searches:` in the configuration."""

from __future__ import annotations

from tests.cli.home import Home, complains
from tests.cli.test_search import subjects


def test_used_in_queries_of_every_verb(own_library: Home) -> None:
    home = own_library
    home.settings["searches"] = {
        "money": "invoice OR euros",
        "news": "subject:news",
        "all": "saved:(money OR news)",
    }
    home.write()
    assert subjects(home, "saved:money") == ["Invoice for March"]
    assert home.good("count", "saved:all").out == "26\n"
    assert home.good("check").lines()[1:4] == [
        "  saved:money  invoice OR euros",
        "  saved:news  subject:news",
        "  saved:all  saved:(money OR news)",
    ]


def test_checked_when_the_configuration_is_read(home: Home) -> None:
    home.write(
        'archive: a\nsearches:\n  good: "x"\n  bad: "from:alice form:bob"\n  Worse: x\n  round: saved:round\n'
    )
    result = home.call("status")
    assert result.code == 2
    lines = result.err.splitlines()
    assert lines[0] == f"archiver: {home.config}: 3 problems"
    assert [line.split(":")[1:3] for line in lines if line.startswith(f"  {home.config}")] == [
        ["4", " searches.bad"],
        ["5", " searches.Worse"],
        ["6", " searches.round"],
    ]
    home.write("archive: a\nsearches: {a: 'saved:b', b: 'saved:a'}\n")
    complains(home.call("check"), 2, "a: saved:a leads back to itself", "b: saved:b leads back to itself")
    home.write('archive: a\nsearches:\n  good: "x"\n  bad: "from:alice form:bob"\n  round: saved:round\n')
    result = home.call("status")
    lines = result.err.splitlines()
    assert lines[0] == f"archiver: {home.config}: 2 problems"
    assert lines[1:4] == [
        f"  {home.config}:4: searches.bad: no field is called form:",
        "    from:alice form:bob",
        "               ^",
    ]
    assert lines[5] == f"  {home.config}:5: searches.round: saved:round leads back to itself"
    home.write("archive: a\nsearches: {x: 5}\n")
    complains(home.call("status"), 2, ":2: searches.x: expected text")
    home.write("archive: a\nsearches: [x]\n")
    complains(home.call("status"), 2, ":2: searches: expected a mapping")


def test_an_unknown_name(own_library: Home) -> None:
    own_library.settings["searches"] = {"money": "invoice"}
    own_library.write()
    complains(
        own_library.call("search", "x saved:mone"), 2, "saved as mone", "        ^", "did you mean money?"
    )
