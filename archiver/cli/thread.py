"""archiver thread"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from archiver.cli.app import Session, as_text, say
from archiver.cli.behind import behind_facts, say_behind
from archiver.cli.hits import facts
from archiver.cli.text import count, moment, name_of, one_line

if TYPE_CHECKING:
    from archiver.archive.reports import ThreadLine, ThreadReport

_SENDER = 30
_SUBJECT = 100
# So many levels are indented; of those further in, the last ones are.
_LEVELS, NARROW_LEVELS = 8, 3


@click.command(epilog="Exit codes: 0 shown, 1 the index is damaged, 2 no such message or usage.")
@click.argument("id", callback=as_text)
@click.option("--json", "as_json", is_flag=True, help="Print the conversation for programs.")
@click.pass_obj
def command(session: Session, id: str, as_json: bool) -> None:
    """Show the conversation a message belongs to, as a tree, wherever its messages are.

    ID is the first column of archiver search, or a Message-ID. Each answer stands below what it answers.
    Before a sender stand: > the message asked for, * unread, + attachments, ~ only the subject says
    that it belongs there, [2 missing] messages that the archive does not have.
    """
    report = session.archive().thread(id)
    say_behind(report.behind)
    if as_json:
        from archiver.cli.output import print_json

        print_json(_facts(report))
        return
    if sys.stdout.isatty():
        from archiver.cli.table import print_thread

        print_thread(report.lines)
    else:
        for line, stem in zip(report.lines, indented(report.lines), strict=True):
            print(plain(line, stem))
    say(_summary(report))


def plain(line: ThreadLine, stem: str) -> str:
    """A line without colours."""
    if line.row is None:
        return f"{'':8}  {'':16}      {stem}{absent(line)}"
    who, about = one_line(name_of(line.row.hit.sender), _SENDER), subject(line, _SUBJECT)
    rest = "  ".join(filter(None, (who, about, "(gone)" if line.row.gone else "")))
    return f"{line.row.id}  {moment(line.row.hit.date)}  {marks(line)} {stem}{missing(line)}{rest}".rstrip()


def marks(line: ThreadLine) -> str:
    """Three columns: asked for, unread, attachments."""
    assert line.row
    return "".join(
        mark if holds else " "
        for mark, holds in (
            (">", line.asked),
            ("*", line.row.unread),
            ("+", line.row.hit.has_attachment),
        )
    )


def missing(line: ThreadLine) -> str:
    """What stands between a message and whom it answers."""
    return (f"[{line.missing:,} missing] " if line.missing else "") + ("~ " if line.guessed else "")


def absent(line: ThreadLine) -> str:
    return f"[{count(line.missing + 1, 'message')} missing]"


def subject(line: ThreadLine, width: int) -> str:
    """Only where it is about something else than what it answers."""
    assert line.row
    return (one_line(line.row.hit.subject, width) or "(no subject)") if line.turns else ""


def indented(lines: Sequence[ThreadLine]) -> Iterator[str]:
    """What stands before each sender where there are no lines to draw; never wider than some levels."""
    for line in lines:
        deep = line.depth - _LEVELS
        yield "  " * line.depth if deep <= 0 else f"{line.depth:<{2 * _LEVELS}} "


def drawn(lines: Sequence[ThreadLine], levels: int = _LEVELS) -> list[str]:
    """The same with lines from each message to its answers; of deep ones only the last levels."""
    found = []
    going: list[bool] = []  # by depth: whether an answer of that depth follows below
    for line in reversed(lines):
        depth = line.depth
        going += [False] * (depth + 1 - len(going))
        first = max(depth - levels + 1, 1)
        stem = "".join("│ " if each else "  " for each in going[first:depth])
        if depth:
            stem += "├ " if going[depth] else "└ "
        if first > 1:
            stem = f"{depth}… {stem}"
        found.append(stem)
        del going[depth + 1 :]
        going[depth] = True
    return found[::-1]


def _summary(report: ThreadReport) -> str:
    lacking = sum(line.missing + (line.row is None) for line in report.lines)
    text = count(report.messages, "message") + (f", {lacking:,} missing" if lacking else "")
    return text if report.whole else f"{text}; there are more, of which these are the nearest"


def _facts(report: ThreadReport) -> dict[str, Any]:
    return {
        "messages": report.messages,
        "whole": report.whole,
        **behind_facts(report.behind),
        "lines": [_line_facts(line) for line in report.lines],
    }


def _line_facts(line: ThreadLine) -> dict[str, Any]:
    return {
        "depth": line.depth,
        "missing": line.missing,
        "guessed": line.guessed,
        "asked": line.asked,
        "message": facts(line.row) if line.row else None,
    }
