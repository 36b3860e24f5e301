"""Conversations beside notmuch's: the same mail, grouped by both, and why each difference is one.

The corpus lies in an archive, and notmuch indexes the same Maildir. What differs is put into classes; what
is in none is printed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from archiver.message import parse, referred
from archiver.search.ids import id_term
from archiver.search.index import Conversation, Index, open_index
from archiver.search.threads import Link, groups
from archiver.search.tree import Thread
from archiver.store.layout import index_path
from archiver.store.ledger import Ledger
from archiver.store.reader import Reader
from bench import common, search

TARGET = 0.99
UNKNOWN = "unknown"
# A field of ids with none in angle brackets.
_BARE = re.compile(rb"(?im)^(?:in-reply-to|references):[^<\n]*(?:\n[ \t][^<\n]*)*$\n?")


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--count", type=int, default=search.CORPUS, help="messages (default: %(default)s)")
    options = parser.parse_args()
    if shutil.which("notmuch") is None:
        sys.exit("notmuch is not installed: apt install notmuch")
    common.compiled()
    with common.workplace(options.root) as directory:
        common.heading(f"{options.count:,} messages, threads of archiver and of notmuch")
        search.fill(directory, options.count)
        root = directory / "archive"
        command = search.notmuch(root, directory)["notmuch"][:2]
        told(root, notmuch_threads(command), options.count)


def told(root: Path, theirs: Mapping[str, frozenset[str]], count: int) -> None:
    """Print how many messages are in the same company in both, and why the others are not."""
    index = open_index(index_path(str(root)))
    ours = our_threads(index)
    same = sum(theirs.get(name) == names(conversation) for name, conversation in ours.items())
    here, there = len(set(map(names, ours.values()))), len(set(theirs.values()))
    print(f"  {here:,} conversations here, {there:,} there")
    with Ledger(str(root)) as ledger:
        wire = Reader(ledger).wire
        reasons = Counter(why(each, theirs, wire) for each in differing(ours, theirs))
    for reason, number in reasons.most_common():
        print(f"    {number:5,} differ: {reason}")
    index.close()
    common.verdict(f"in the same company: {same / count:.2%}", f"{TARGET:.0%}", same / count >= TARGET)
    common.verdict(f"differences without a reason: {reasons[UNKNOWN]}", "none", not reasons[UNKNOWN])


def differing(
    ours: Mapping[str, Conversation], theirs: Mapping[str, frozenset[str]]
) -> Iterator[Conversation]:
    """Each of our conversations that is not one of theirs, once."""
    seen: set[frozenset[str]] = set()
    for name, conversation in ours.items():
        group = names(conversation)
        if group not in seen and theirs.get(name) != group:
            yield conversation
        seen.add(group)


def why(
    conversation: Conversation, theirs: Mapping[str, frozenset[str]], wire: Callable[[bytes], bytes]
) -> str:
    """Why notmuch has it otherwise: every difference must have one of these reasons."""
    links = [each.link for each in conversation.messages]
    if all_theirs([replace(link, reply=False) for link in links], theirs):
        return "a reply that names nobody: joined by its subject here, alone there"
    strict = [_as_notmuch_reads(link, wire(link.key)) for link in links]
    if all_theirs(strict, theirs):
        return "an id without angle brackets: read here, not there"
    return UNKNOWN


def all_theirs(links: Iterable[Link], theirs: Mapping[str, frozenset[str]]) -> bool:
    """Whether these links alone group the messages as notmuch does."""
    found = [frozenset(link.key.hex()[:32] for link in group) for group in groups(links)]
    return all(group == theirs.get(next(iter(group))) for group in found)


def _as_notmuch_reads(link: Link, raw: bytes) -> Link:
    """The same message without what is no id in angle brackets, and without its subject."""
    bracketed = referred(parse(_BARE.sub(b"", raw.replace(b"\r\n", b"\n").partition(b"\n\n")[0]) + b"\n\n"))
    return replace(link, reply=False, refers=tuple(map(id_term, bracketed)))


def names(conversation: Conversation) -> frozenset[str]:
    """The messages, by the first half of their keys, which is in the names of their files."""
    return frozenset(each.hit.key.hex()[:32] for each in conversation.messages)


def our_threads(index: Index) -> dict[str, Conversation]:
    """Of every message its conversation."""
    found: dict[str, Conversation] = {}
    for key in sorted(index.keys()):
        if key.hex()[:32] not in found:
            conversation = index.conversation(Thread(key=key))
            found.update(dict.fromkeys(names(conversation), conversation))
    return found


def notmuch_threads(command: list[str]) -> dict[str, frozenset[str]]:
    """Of every message those in notmuch's thread of it. Files with one Message-ID are one message there."""
    shown = subprocess.run(
        [*command, "show", "--format=json", "--body=false", "--entire-thread=true", "*"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    found: dict[str, frozenset[str]] = {}
    for thread in json.loads(shown):
        group = frozenset(_files(thread))
        found.update(dict.fromkeys(group, group))
    return found


def _files(thread: Any) -> Iterator[str]:
    """The keys in the names of all files of a thread: lists of (message, list of answers)."""
    waiting = [thread]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting += each
        elif each:
            yield from (os.path.basename(name).split(".")[1] for name in each["filename"])


if __name__ == "__main__":
    main()
