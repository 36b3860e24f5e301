"""How long a search takes: in a process that has the index open, and from a cold interpreter to its exit.

The corpus, or 100,000 messages made of it, lie in an archive, and notmuch and mu index the same Maildir. A
warm time is CPU time in this process; a whole one is the wall clock of a process, least and median.
"""

from __future__ import annotations

import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from archiver.search.index import Index, Order, open_index
from archiver.search.places import LedgerPlaces
from archiver.search.query import parse
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger
from bench import common, mail

CORPUS = 17_885
LARGE = 100_000
WARM_RUNS = 20
RUNS = 10
SHOWN = 20
DEEP = 10_000


@dataclass(frozen=True)
class Query:
    """One question in our words, notmuch's and mu's; theirs are ours where not said."""

    name: str
    ours: str
    notmuch: str = ""
    mu: str = ""


QUERIES = (
    Query("a rare word", "ungetwc"),
    Query("a word in nine of ten", "the"),
    Query("two common words", "patch documentation"),
    Query("a phrase of common words", '"of the"'),
    Query("a prefix", "docum*"),
    Query("dates and a word", "patch date:2021-01..2021-06", "patch date:2021-01..2021-06"),
    Query("a sender and a word", "from:david patch"),
    Query("a Chinese phrase", "公司的保密信", '"公司的保密信"', '"公司的保密信"'),
    Query("not found", "xylophonistically"),
)

OPERATORS = (
    ("any of several words", "patch OR kernel OR driver"),
    ("negation only", "-the"),
    ("every message", "*"),
    ("has", "has:attachment"),
    ("mimetype", "mimetype:text"),
    ("list", "list:linux"),
    ("id", "id:nobody@example.org"),
    ("dates", "date:2020..2021-03"),
    ("sizes", "size:10k..20k"),
    ("larger, rare", "larger:200k"),
    ("received", "received:2021"),
    ("folder", "folder:inbox"),
    ("label", "label:none"),
    ("tag", "tag:none"),
    ("not in a folder, a word", "-folder:inbox patch"),
    ("in an attachment", "attachment:patch"),
)
"""Queries that take no longer than words do."""

SLOWER = (
    ("*infix*, rare", "*uctur*"),
    ("*infix*, common", "*at*"),
    ("*suffix", "*ing"),
    ("in*side", "un*ed"),
    ("fuzzy", "kernle~"),
    ("fuzzy, two letters", "documantaton~2"),
    ("fuzzy, a short word", "abc~"),
    ("NEAR", "patch NEAR/5 kernel"),
    ("NEAR of common words", "of NEAR/2 the"),
    ("ADJ of phrases", '"of the" ADJ/5 "in the"'),
    ("regular expression", "subject:/re.+patch/"),
    ("regular expression, not found", "subject:/(x+x+)+y/"),
    ("regular expression on senders", "from:/@.*google/"),
    ("a letter and *", "a*"),
)
"""Queries that look through all words, or all subjects."""


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--alone", action="store_true", help="leave notmuch and mu out")
    parser.add_argument("--large", action="store_true", help=f"with {LARGE:,} messages, too: half an hour")
    options = parser.parse_args()
    common.compiled()
    for count in (CORPUS, LARGE) if options.large else (CORPUS,):
        with common.workplace(options.root) as directory:
            common.heading(f"{count:,} messages")
            config = fill(directory, count)
            root = directory / "archive"
            beside = {} if options.alone else {**notmuch(root, directory), **mu(root, directory)}
            warm(str(root), large=count == LARGE)
            whole(config, beside, large=count == LARGE)


def fill(directory: Path, count: int) -> Path:
    """An archive of so many messages, indexed; its configuration."""
    mail.fill_archive(directory / "archive", count)
    config = directory / "config.yaml"
    config.write_text(f"archive: {directory / 'archive'}\naccounts: {{}}\n", encoding="utf-8")
    config.chmod(0o600)
    common.step("archiver reindex", common.measure(common.archiver(config, "reindex")))
    return config


def notmuch(root: Path, directory: Path) -> dict[str, list[str]]:
    """Index the same Maildir with notmuch, its database elsewhere; the start of its search."""
    if shutil.which("notmuch") is None:
        return {}
    config = directory / "notmuch-config"
    config.write_text(
        f"[database]\npath={directory / 'notmuch'}\nmail_root={root / 'mail'}\n"
        "[maildir]\nsynchronize_flags=false\n",
        encoding="utf-8",
    )
    (directory / "notmuch").mkdir()
    command = ["notmuch", f"--config={config}"]
    common.step("notmuch new", common.measure([*command, "new", "--quiet"]))
    return {"notmuch": [*command, "search", f"--limit={SHOWN}"]}


def mu(root: Path, directory: Path) -> dict[str, list[str]]:
    """The same with mu (Debian: maildir-utils)."""
    if shutil.which("mu") is None:
        return {}
    home = f"--muhome={directory / 'mu'}"
    common.measure(["mu", "init", home, f"--maildir={root / 'mail'}"])
    common.step("mu index", common.measure(["mu", "index", home, "--quiet"]))
    return {"mu": ["mu", "find", home, f"--maxnum={SHOWN}", "--sortfield=date", "--reverse"]}


def warm(root: str, *, large: bool) -> None:
    """Every query in this process, the index open."""
    index = open_index(index_path(root))
    with Ledger(root) as ledger:
        places = LedgerPlaces(ledger)
        print(f"  warm, newest {SHOWN}, CPU of {WARM_RUNS}{'':<11}median    worst    total")
        worst, medians = 0.0, 0.0
        for query in QUERIES:
            times = told(index, places, query.name, query.ours, "newest", 0)
            worst, medians = max(worst, *times), max(medians, statistics.median(times))
        told(index, places, "unread in a folder", "is:unread folder:inbox patch", "newest", 0)
        quick = max(statistics.median(told(index, places, *each)) for each in OPERATORS)
        slower = [told(index, places, *each) for each in SLOWER]
        deep = [
            statistics.median(
                told(index, places, f"{query.name}, from {DEEP:,} on", query.ours, "newest", DEEP)
            )
            for query in QUERIES[1:4]
        ]
        best = statistics.median(told(index, places, "a word in nine of ten, best", "the", "relevance", 0))
        talk = statistics.median(told(index, places, "a conversation", f"thread:{some_key(index, places)}"))
        listed = told_threads(index, places, "conversations of the second", "the", 0)
        told_threads(index, places, f"the same, from {DEEP // 10:,} on", "the", DEEP // 10)
    index.close()
    if large:
        common.verdict(f"newest: slowest median {ms(medians)}", "10 ms", medians < 0.010)
        common.verdict(f"newest: worst {ms(worst)}", "50 ms", worst < 0.050)
        common.verdict(f"operators: slowest median {ms(quick)}", "50 ms", quick < 0.050)
        patterns = max(map(statistics.median, slower))
        common.verdict(f"patterns: slowest median {ms(patterns)}", "250 ms", patterns < 0.250)
        common.verdict(f"patterns: worst {ms(max(map(max, slower)))}", "2 s", max(map(max, slower)) < 2)
        taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        common.verdict(f"memory: {taken} MiB", "500 MiB", taken < 500)
        common.verdict(f"from {DEEP:,} on: slowest median {ms(max(deep))}", "100 ms", max(deep) < 0.100)
        common.verdict(f"best of a common word: {ms(best)}", "100 ms", best < 0.100)
        common.verdict(f"a conversation: median {ms(talk)}", "50 ms", talk < 0.050)
        common.verdict(f"newest conversations: median {ms(listed)}", "50 ms", listed < 0.050)


def some_key(index: Index, places: LedgerPlaces) -> str:
    """Of a message in the largest conversation among the newest twenty about patches."""
    found = index.search_threads(parse("patch", now=datetime.now()), places, limit=SHOWN).hits
    return max(found, key=lambda each: each.messages).hit.key.hex()


def told_threads(index: Index, places: LedgerPlaces, name: str, text: str, offset: int) -> float:
    """The median of the seconds of CPU of each run but the first, which may put everything into sets."""
    tree = parse(text, now=datetime.now())
    first = timed(lambda: index.search_threads(tree, places, "newest", offset, SHOWN))
    times = [timed(lambda: index.search_threads(tree, places, "newest", offset, SHOWN)) for _ in range(RUNS)]
    print(f"    {name:<38}{ms(statistics.median(times))}{ms(max(times))}  first {ms(first)}", flush=True)
    return statistics.median(times)


def told(
    index: Index, places: LedgerPlaces, name: str, text: str, order: Order = "newest", offset: int = 0
) -> list[float]:
    """Seconds of CPU of each run but the first."""
    tree = parse(text, now=datetime.now(), message=bytes.fromhex)
    total = index.search(tree, places, order, offset, SHOWN).total
    times = [timed(lambda: index.search(tree, places, order, offset, SHOWN)) for _ in range(WARM_RUNS)]
    about = "" if total.exact else "about "
    print(f"    {name:<38}{ms(statistics.median(times))}{ms(max(times))}  {about}{total.count:,}", flush=True)
    return times


def timed(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def whole(config: Path, beside: dict[str, list[str]], *, large: bool) -> None:
    """Every query as a command of its own."""
    print(
        f"  whole process, least and median of {RUNS}"
        + "".join(f"{name:>20}" for name in ("archiver", *beside))
    )
    slowest = 0.0
    for query in QUERIES:
        ours = common.archiver(config, "search", query.ours, "--limit", str(SHOWN))
        demand_hits(ours, wanted=query.name != "not found")
        least, median = processes(ours)
        slowest = max(slowest, median)
        cells = [f"{ms(least)}{ms(median)}"]
        for name, command in beside.items():
            words = getattr(query, name) or query.ours
            # mu says by its exit code, and loudly, that nothing was found.
            cells.append("".join(map(ms, processes([*command, words], allowed=(0, 2, 4)))))
        print(f"    {query.name:<36}" + "".join(f"{cell:>20}" for cell in cells), flush=True)
    talk = conversation(config)
    print(f"    {'archiver thread':<36}" + "".join(map(ms, talk)))
    listed = processes(common.archiver(config, "search", "--threads", "the"))
    print(f"    {'conversations of the second':<36}" + "".join(map(ms, listed)))
    print(f"    {'archiver --help':<36}" + "".join(map(ms, processes([str(common.ARCHIVER), "--help"]))))
    if large:
        common.verdict(f"whole process: slowest median {ms(slowest)}", "150 ms", slowest < 0.150)
        common.verdict(f"archiver thread: median {ms(talk[1])}", "300 ms", talk[1] < 0.300)


def conversation(config: Path) -> tuple[float, float]:
    """The conversation of the newest message about patches, as a tree."""
    newest = common.archiver(config, "search", "patch", "--limit", "1", "--format", "ids")
    found = subprocess.run(newest, capture_output=True, text=True, check=True).stdout.strip()
    return processes(common.archiver(config, "thread", found))


def demand_hits(command: Sequence[str], *, wanted: bool) -> None:
    """End the benchmark when a query finds nothing that should: the time would mean nothing."""
    found = subprocess.run([*command, "--format", "keys"], capture_output=True, text=True, check=True).stdout
    if bool(found.strip()) is not wanted:
        sys.exit(f"{' '.join(command)} found {len(found.split())} messages")


def processes(command: Sequence[str], allowed: Sequence[int] = (0,)) -> tuple[float, float]:
    times = [common.measure(command, allowed=allowed).wall for _ in range(RUNS)]
    return min(times), statistics.median(times)


def ms(seconds: float) -> str:
    return f"{seconds * 1000:6.1f} ms"


if __name__ == "__main__":
    main()
