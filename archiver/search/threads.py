"""Conversations: which messages belong together, and who answers whom.

Two messages belong together when one names the other in References or In-Reply-To, when both name the same
id, or have the same. A reply that names nobody belongs to the nearest earlier message of its subject, at
most `SPAN` before it. A conversation is whatever hangs together so: it depends on the messages there are
and on no order in which they came. Forged ids and cycles join what they name, and cannot do more.

No engine in here, and no I/O.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

import msgspec

SPAN = 30 * 86_400
"""Seconds before a reply that names nobody, in which the message it answers is looked for."""


class Link(msgspec.Struct, frozen=True):
    """What a message says of its conversation.

    `own` is its Message-ID, "" when it has none; `refers` the ids it refers to, each once, the last one
    being what it answers; `topic` what its subject is about, "" for nothing; `reply`: its subject says it
    is one. Ids and topics may be hashes. `date` in Unix seconds.
    """

    key: bytes
    date: int
    own: str = ""
    refers: tuple[str, ...] = ()
    topic: str = ""
    reply: bool = False

    @property
    def is_lost(self) -> bool:
        """Only its subject says where it belongs."""
        return self.reply and not self.refers and bool(self.topic)

    @property
    def place(self) -> tuple[int, bytes]:
        """Its place in the order of time."""
        return self.date, self.key


class Entry(msgspec.Struct, frozen=True):
    """A line of a conversation drawn as a tree, `depth` levels in.

    `link` None: a message that several refer to and that is not here. `missing`: so many more are not here
    between this one and the one above it. `guessed`: only its subject says it belongs there.
    """

    depth: int
    link: Link | None
    missing: int = 0
    guessed: bool = False


class Sets:
    """Numbers from 0 on in disjoint sets, each a set of its own at first."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def find(self, number: int) -> int:
        """The number that stands for its set: the lowest in it."""
        above = self._above
        while above[number] != number:
            above[number] = number = above[above[number]]
        return number

    def join(self, one: int, other: int) -> None:
        first, second = sorted((self.find(one), self.find(other)))
        self._above[second] = first


def groups(links: Iterable[Link]) -> list[list[Link]]:
    """The conversations, each in the order of time, by their first messages."""
    ordered = sorted(links, key=lambda link: link.place)
    sets = Sets(len(ordered))
    naming: dict[str, int] = {}
    for number, link in enumerate(ordered):
        for each in (*link.refers, *filter(None, (link.own,))):
            sets.join(naming.setdefault(each, number), number)
    for number, answered in guesses(ordered):
        sets.join(number, answered)
    found: dict[int, list[Link]] = {}
    for number, link in enumerate(ordered):
        found.setdefault(sets.find(number), []).append(link)
    return list(found.values())


def guesses(ordered: Sequence[Link]) -> Iterator[tuple[int, int]]:
    """(reply, nearest earlier message of its subject) of the replies that name nobody, as numbers."""
    latest: dict[str, int] = {}
    for number, link in enumerate(ordered):
        if link.is_lost and link.topic in latest and link.date - ordered[latest[link.topic]].date <= SPAN:
            yield number, latest[link.topic]
        if link.topic:
            latest[link.topic] = number


_Node: TypeAlias = "int | str"
"""A message by its place in time, or an id that no message has."""


def tree(links: Iterable[Link]) -> list[Entry]:
    """A conversation as a tree, its lines from above; whatever hangs below nothing stands at the left.

    Messages answer the last id they refer to, of which the earliest message counts when several have it;
    where that is not here, who refers to it says whom it answers. Siblings are in the order of time. A
    cycle is cut above its earliest message. Time and memory grow with the messages and their ids.
    """
    ordered = sorted(links, key=lambda link: link.place)
    parents, guessed = _parents(ordered)
    _cut_cycles(parents)
    return list(_drawn(ordered, *_collapsed(len(ordered), parents), guessed))


def _parents(ordered: Sequence[Link]) -> tuple[dict[_Node, _Node], set[int]]:
    """Whom each answers, messages first; and of which messages that is only guessed."""
    known: dict[str, int] = {}
    for number, link in enumerate(ordered):
        known.setdefault(link.own, number)
    known.pop("", None)
    parents: dict[_Node, _Node] = {}
    for number, link in enumerate(ordered):
        if link.refers:
            parents[number] = known.get(link.refers[-1], link.refers[-1])
    guessed: set[int] = set()
    for number, answered in guesses(ordered):
        parents[number] = answered
        guessed.add(number)
    for link in ordered:
        for above, below in pairwise(link.refers):
            if below not in known:
                parents.setdefault(below, known.get(above, above))
    return parents, guessed


def _cut_cycles(parents: dict[_Node, _Node]) -> None:
    """Let the earliest message of each cycle, or the lowest id where it has none, answer nobody."""
    done: set[_Node] = set()
    for start in list(parents):
        path: dict[_Node, None] = {}
        node: _Node | None = start
        while node is not None and node not in done and node not in path:
            path[node] = None
            node = parents.get(node)
        if node in path:
            ring = list(path)[list(path).index(node) :]
            del parents[min(ring, key=lambda each: (isinstance(each, str), each))]
        done.update(path)


def _collapsed(
    count: int, parents: dict[_Node, _Node]
) -> tuple[dict[_Node, list[_Node]], list[_Node], Counter[_Node]]:
    """Who is below whom, who is below nobody, and how many messages are missing above each.

    Of missing messages only those stay that several answer.
    """
    below = Counter(parents.values())
    idle = [node for node in parents if isinstance(node, str) and not below[node]]
    while idle:
        answered = parents.pop(idle.pop())
        below[answered] -= 1
        if isinstance(answered, str) and not below[answered] and answered in parents:
            idle.append(answered)
    missing: Counter[_Node] = Counter()
    children: dict[_Node, list[_Node]] = {}
    roots: list[_Node] = []
    gaps = [node for node, number in below.items() if isinstance(node, str) and number > 1]
    for node in (*range(count), *gaps):
        above: _Node | None = parents.get(node)
        while isinstance(above, str) and below[above] == 1:
            missing[node] += 1
            above = parents.get(above)
        (roots if above is None else children.setdefault(above, [])).append(node)
    return children, roots, missing


def _drawn(
    ordered: Sequence[Link],
    children: dict[_Node, list[_Node]],
    roots: list[_Node],
    missing: Counter[_Node],
    guessed: set[int],
) -> Iterator[Entry]:
    """From above, siblings in the order of time: a missing message's is that of the first below it."""
    preorder: list[_Node] = []
    waiting = list(roots)
    while waiting:
        preorder.append(waiting.pop())
        waiting += children.get(preorder[-1], ())
    first: dict[_Node, int] = {}
    for node in reversed(preorder):
        first[node] = node if isinstance(node, int) else min(first[each] for each in children[node])
    stack = [(node, 0) for node in sorted(roots, key=first.__getitem__, reverse=True)]
    while stack:
        node, depth = stack.pop()
        link = ordered[node] if isinstance(node, int) else None
        yield Entry(depth, link, missing[node], node in guessed)
        inner = sorted(children.get(node, ()), key=first.__getitem__, reverse=True)
        stack += [(each, depth + 1) for each in inner]
