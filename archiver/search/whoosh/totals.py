"""How many documents a tree holds for: counted where that costs little or is asked for, else estimated.

An estimate evaluates a few windows spread evenly over what was not looked at. Words cluster in time, so
counting on from the newest page alone would be far off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from typing import TypeAlias

from archiver.search.index import Total
from archiver.search.tree import Node
from archiver.search.whoosh.evaluate import Reading, cost, most, span
from archiver.search.whoosh.pages import Scan

Left: TypeAlias = "Sequence[tuple[Reading, range]]"
"""Ranges of documents in which the tree was not evaluated."""

# Counted to the end when it costs at most so much (`evaluate.cost`): some milliseconds.
_CHEAP = 25_000
_SAMPLES = 16
_SAMPLE = 128
# So many at least must be in the samples, or they say nothing.
_ENOUGH = 8
# From so many, a guess is good for two digits, before for one.
_PLENTY = 200
# Documents whose numbers are in memory at once.
_COUNTED = 1 << 16


def total(tree: Node, found: int, scans: Sequence[Scan]) -> Total:
    """How many there are in all, after the scans found so many."""
    left = [(each.reading, part) for each in scans if (part := _where(each.reading, tree, each.left))]
    unseen = sum(len(each) for _, each in left)
    if unseen > _SAMPLES * _SAMPLE and sum(cost(reading, tree) for reading, _ in left) > _CHEAP:
        hits, sampled = _sampled(tree, left, unseen)
        if hits < _ENOUGH:
            # Too rare for the samples to tell; then much was looked at for the page.
            hits, sampled = hits + found, sampled + sum(scan.looked for scan in scans)
        if hits >= _ENOUGH:
            guess = min(hits * unseen // sampled, sum(most(reading, tree) for reading, _ in left))
            return Total(max(_rounded(found + guess, 2 if hits >= _PLENTY else 1), found), exact=False)
    return Total(found + sum(count(reading, tree, each) for reading, each in left), exact=True)


def count(reading: Reading, tree: Node, left: range) -> int:
    """For how many documents of a range the tree holds."""
    return sum(map(len, every(reading, tree, left)))


def every(reading: Reading, tree: Node, left: range) -> Iterator[AbstractSet[int]]:
    """The documents of a range for which the tree holds, some at a time."""
    left = _where(reading, tree, left)
    for at in range(0, len(left), _COUNTED):
        yield reading.live(tree, left[at : at + _COUNTED])


def _where(reading: Reading, tree: Node, left: range) -> range:
    """The part of a range in which there may be some."""
    within = span(reading, tree)
    return range(max(left.start, within.start), min(left.stop, within.stop))


def _sampled(tree: Node, left: Left, unseen: int) -> tuple[int, int]:
    """The documents found in windows evenly apart, and how many were looked at.

    First every fourth window, then those between, until there are plenty.
    """
    hits = looked = 0
    for first in range(4):
        for number in range(first, _SAMPLES, 4):
            reading, window = _window(left, number * unseen // _SAMPLES)
            hits += len(reading.live(tree, window))
            looked += len(window)
        if hits >= _PLENTY:
            break
    return hits, looked


def _window(left: Left, at: int) -> tuple[Reading, range]:
    """The window that begins with the at-th document of the ranges, as if these were one."""
    for reading, each in left:
        if at < len(each):
            return reading, each[at : at + _SAMPLE]
        at -= len(each)
    raise AssertionError("beyond what is left")


def _rounded(number: int, digits: int) -> int:
    return int(float(f"{number:.{digits - 1}e}"))
