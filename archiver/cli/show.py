"""archiver show"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session
from archiver.cli.output import write_bytes
from archiver.cli.text import moment, printable, size
from archiver.errors import UsageError

if TYPE_CHECKING:
    from archiver.message import Address, Message
    from archiver.store.records import Spot


@click.command(epilog="Exit codes: 0 shown, 1 the stored message cannot be read, 2 no such message or usage.")
@click.argument("id")
@click.option("--raw", is_flag=True, help="The bytes as the server sent them.")
@click.option("--html", is_flag=True, help="The HTML part in UTF-8, not cleaned: for a program to read.")
@click.option("--headers", is_flag=True, help="Every header field, decoded.")
@click.pass_obj
def command(session: Session, id: str, raw: bool, html: bool, headers: bool) -> None:
    """Show a message: its main headers, where it is, its attachments and its text.

    ID is the first column of archiver search, or any four digits or more that begin a single message's key.
    On a terminal, control characters are shown as stand-ins, those of --raw and --html too; written to a
    file or a pipe, these two are byte for byte.
    """
    if raw + html + headers > 1:
        raise UsageError("--raw, --html and --headers exclude each other", hint="choose one")
    archive = session.archive()
    key = archive.resolve(id)
    if raw:
        _write(archive.wire(key))
        return
    message = archive.message(key)
    if html:
        if not message.html:
            raise UsageError("the message has no HTML part", hint="show it without --html")
        _write(message.html.encode(errors="replace"))
    elif headers:
        for name, value in message.headers:
            print(f"{printable(name)}: {printable(value)}")
    else:
        _show(message, archive.spots(key), archive.pruned(key), archive.tags_of(key), key)


def _write(data: bytes) -> None:
    """Exactly these bytes, or on a terminal what cannot steer it."""
    if sys.stdout.isatty():
        text = data.decode(errors="replace").replace("\r\n", "\n")
        print(printable(text, lines=True))
    else:
        write_bytes(data)


def _show(
    message: Message,
    spots: list[Spot],
    pruned: Mapping[tuple[str, str, int], int],
    tags: tuple[str, ...],
    key: bytes,
) -> None:
    for name, value in (
        ("From", _addresses(message.from_)),
        ("To", _addresses(message.to)),
        ("Cc", _addresses(message.cc)),
        ("Date", moment(message.date) if message.date is not None else ""),
        ("Subject", message.subject),
    ):
        if value:
            _field(name, value)
    for spot in spots:
        by_us = " by archiver prune" if spot.gone and (spot.account, spot.folder, spot.uid) in pruned else ""
        gone = f", gone from the server since {moment(spot.gone)}{by_us}" if spot.gone else ""
        flags = f" [{spot.flags}]" if spot.flags else ""
        labels = f", labels: {', '.join(spot.label_names)}" if spot.label_names else ""
        _field("Where", f"{spot.account}/{spot.folder}{flags}{labels}{gone}")
    if tags:
        _field("Tags", ", ".join(tags))
    for a in message.attachments:
        _field("Attached", f"{a.filename or '(no name)'} ({a.content_type}, {size(a.size)})")
    _field("Key", key.hex())
    print()
    print(printable(message.text.rstrip("\n"), lines=True))


def _field(name: str, value: str) -> None:
    print(f"{name + ':':<12}{printable(value)}")


def _addresses(addresses: tuple[Address, ...]) -> str:
    return ", ".join(
        f"{a.name} <{a.address}>" if a.name and a.address else a.name or a.address for a in addresses
    )
