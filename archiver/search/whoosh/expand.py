"""Words of a form, and words a few edits away: which terms of a field they are."""

from __future__ import annotations

from collections.abc import Iterator

from archiver.search.limits import Limits
from archiver.search.patterns import Probe, fitting, longest, probes, within
from archiver.search.tree import Fuzzy, Glob
from archiver.search.whoosh.lexicon import Lexicon
from archiver.search.whoosh.segment import Segment

_OFTEN = 256


def expanded(segment: Segment, field: str, leaf: Glob | Fuzzy, limits: Limits) -> list[bytes]:
    """The entries of all terms in the field that are as the leaf says."""
    lexicon = segment.lexicon(field)
    found = _of_form(lexicon, leaf.pattern) if isinstance(leaf, Glob) else _alike(lexicon, leaf)
    entries: list[bytes] = []
    counted = 0
    for looked, term in enumerate(found, 1):
        if term is not None and (entry := segment.terms.get(field, term)):
            entries.append(entry)
        if looked % _OFTEN == 0:
            limits.check()
            limits.count(leaf, len(entries) - counted)
            counted = len(entries)
    limits.count(leaf, len(entries) - counted)
    return entries


def _of_form(lexicon: Lexicon, pattern: str) -> Iterator[str | None]:
    """The terms of this form, None for others that were looked at."""
    fits, part = fitting(pattern), longest(pattern)
    if pattern.startswith(part):
        likely = lexicon.starting(part)
    else:
        likely = lexicon.containing(part, end=pattern.endswith(part))
    if pattern in (f"*{part}*", f"*{part}", f"{part}*"):
        return likely
    return (term if fits(term) else None for term in likely)


def _alike(lexicon: Lexicon, leaf: Fuzzy) -> Iterator[str | None]:
    seen = set()
    for probe in probes(leaf.term, leaf.edits):
        for term in _likely(lexicon, probe, leaf.edits):
            near = abs(len(term) - len(leaf.term)) <= leaf.edits and term not in seen
            if near and within(leaf.term, term, leaf.edits):
                seen.add(term)
                yield term
            else:
                yield None


def _likely(lexicon: Lexicon, probe: Probe, edits: int) -> Iterator[str]:
    match probe.kind:
        case "whole":
            return iter((probe.text,))
        case "start":
            return lexicon.starting(probe.text)
        case "end":
            return lexicon.containing(probe.text, end=True)
    low, high = max(probe.at - edits, 0), probe.at + edits + len(probe.text)
    return (term for term in lexicon.containing(probe.text) if term.find(probe.text, low, high) >= 0)
