"""How long verbs take that look at everything a query finds: count, tag, stats, addresses; and thread.

The corpus, or 100,000 messages made of it, lie in an archive. Each verb is a process of its own, and queries
that find everything are among those asked. Orders that look at everything found, too, are measured warm.
"""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from archiver.search.index import Order, open_index
from archiver.search.places import LedgerPlaces
from archiver.search.query import parse
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger
from archiver.store.tags import Change, Tags
from bench import common, search

EVERYTHING = "date:1970.."
COMMON = "the"
TAGGED = 10_000
TARGET = 0.300
TAGGED_AT_ONCE = 1.000

VERBS: tuple[tuple[str, ...], ...] = (
    ("count", COMMON),
    ("count", EVERYTHING),
    ("tag", "+bench", COMMON),
    ("count", "tag:bench"),
    ("tag", "-bench", "tag:bench"),
    ("tag", "--list"),
    ("stats",),
    ("stats", COMMON),
    ("stats", EVERYTHING),
    ("addresses",),
    ("addresses", "--recipients"),
    ("addresses", "--match", "dav"),
    ("addresses", COMMON),
    ("addresses", EVERYTHING),
)
ORDERS: tuple[tuple[Order, int], ...] = (
    ("newest", 10_000),
    ("oldest", 10_000),
    ("size", 0),
    ("size", 10_000),
    ("sender", 0),
    ("sender", 10_000),
)


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--large", action="store_true", help=f"with {search.LARGE:,} messages")
    options = parser.parse_args()
    common.compiled()
    count = search.LARGE if options.large else search.CORPUS
    with common.workplace(options.root) as directory:
        common.heading(f"{count:,} messages")
        config = search.fill(directory, count)
        whole(config)
        warm(str(directory / "archive"))


def whole(config: Path) -> None:
    """Every verb as a command of its own; before each run of `tag` what the last one did is undone."""
    print(f"  whole process, least and median of {search.RUNS}")
    slowest = tagging = 0.0
    for verb in (*VERBS, ("thread", newest(config))):
        before = undo(verb)
        times = []
        for _ in range(search.RUNS):
            for command in before:
                common.measure(common.archiver(config, *command))
            times.append(common.measure(common.archiver(config, *verb)).wall)
        times.sort()
        median = times[len(times) // 2]
        if before:
            tagging = max(tagging, median)
        else:
            slowest = max(slowest, median)
        print(f"    {' '.join(verb):<38}{search.ms(times[0])}{search.ms(median)}", flush=True)
    common.verdict(f"slowest median {search.ms(slowest)}", "300 ms", slowest < TARGET)
    common.verdict(
        f"tagging, or untagging, nine of ten {search.ms(tagging)}", "1 s", tagging < TAGGED_AT_ONCE
    )


def undo(verb: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """What makes a tagging have its work to do again."""
    if verb[:2] == ("tag", "+bench"):
        return (("tag", "-bench", "tag:bench"),)
    if verb[:2] == ("tag", "-bench"):
        return (("tag", "+bench", COMMON),)
    return ()


def newest(config: Path) -> str:
    """The id of a message in a conversation."""
    command = common.archiver(config, "search", "subject:re", "--limit", "1", "--json")
    found = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    return str(found["hits"][0]["id"])


def warm(root: str) -> None:
    """Pages in every order, and of tags, the index open; and what memory that took in the end."""
    index = open_index(index_path(root))
    with Ledger(root) as ledger:
        places = LedgerPlaces(ledger)
        print(f"  warm, 20 of a word in nine of ten, CPU{'':<4}median    worst    total")
        for order, offset in ORDERS:
            search.told(index, places, f"by {order}, from {offset:,} on", COMMON, order, offset)
        with Tags(root) as tags:
            found = list(index.found(parse(COMMON, now=datetime.now()), places))
            tags.change(found, Change(("many",)))
            tags.change(found[:TAGGED], Change(("some",)))
        for text in ("tag:some", "tag:many", "tag:many patch", "-tag:many"):
            search.told(index, places, text, text, "newest", 0)
    index.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(f"  peak memory of this process {common.megabytes(peak)}")


if __name__ == "__main__":
    main()
