"""archiver addresses"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import click

from archiver.cli.app import Session, as_text
from archiver.cli.behind import say_behind
from archiver.cli.text import count, printable

if TYPE_CHECKING:
    from archiver.archive.reports import Person
    from archiver.search.people import Role

# What a name may not have without quotes (RFC 5322, 3.2.3).
_special = re.compile(r'[()<>\[\]:;@\\,."]')


@click.command(
    epilog="Exit codes: 0 also without any, 1 the index is damaged, 2 the query or the usage is wrong."
)
@click.argument("query", nargs=-1, callback=as_text)
@click.option("--senders", is_flag=True, help="Only whom messages are from.")
@click.option("--recipients", is_flag=True, help="Only whom messages are for: To, Cc, Bcc.")
@click.option(
    "--match",
    metavar="WORDS",
    default="",
    callback=as_text,
    help="Only those with words that begin so, in name or address.",
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="How many to print at most.")
@click.option("--count", "counted", is_flag=True, help="Print how often each is named, too.")
@click.option(
    "--format",
    "shape",
    type=click.Choice(["plain", "mutt", "json"]),
    default="plain",
    show_default=True,
    help="Lines as in a header; lines for mutt's query_command; a list of objects.",
)
@click.pass_obj
def command(
    session: Session,
    query: tuple[str, ...],
    senders: bool,
    recipients: bool,
    match: str,
    limit: int | None,
    counted: bool,
    shape: str,
) -> None:
    """List the people of the messages a query finds, of all without one; those of most messages first.

    Each address stands once, with the name it goes by most often. For mutt: set query_command =
    "archiver addresses --format mutt --match '%s'"
    """
    roles: tuple[Role, ...] = ("from",) if senders else ()
    if recipients or not senders:
        roles = (*roles, "to", "cc") if recipients or senders else ("from", "to", "cc")
    found = session.archive().addresses(" ".join(query), roles, match)
    say_behind(found.behind)
    people = found.people[:limit]
    if shape == "json":
        from archiver.cli.output import print_json

        print_json(people)
        return
    if shape == "mutt":
        # The first line is shown as a message.
        print(f"{len(people):,} found")
    for each in people:
        print(_mutt(each) if shape == "mutt" else f"{f'{each.count}  ' if counted else ''}{_plain(each)}")


def _plain(person: Person) -> str:
    """As it stands in a header, unencoded."""
    name, address = printable(person.name), printable(person.address)
    if not name:
        return address
    if _special.search(name):
        name = '"' + re.sub(r'([\\"])', r"\\\1", name) + '"'
    return f"{name} <{address}>"


def _mutt(person: Person) -> str:
    """Address, name, and what else there is to say, with tabs between."""
    return f"{printable(person.address)}\t{printable(person.name)}\t{count(person.count, 'message')}"
