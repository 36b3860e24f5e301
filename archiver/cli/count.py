"""archiver count"""

from __future__ import annotations

import click

from archiver.cli.app import Session, as_text
from archiver.cli.behind import behind_facts, say_behind


@click.command(epilog="Exit codes: 0 counted, 1 the index is damaged, 2 the query or the usage is wrong.")
@click.argument("query", nargs=-1, required=True, callback=as_text)
@click.option("--json", "as_json", is_flag=True, help="Print it for programs.")
@click.pass_obj
def command(session: Session, query: tuple[str, ...], as_json: bool) -> None:
    """Count the messages a query finds, every one of them.

    The query language is that of archiver search. A query that begins with a minus goes after a double
    dash: archiver count -- -is:read
    """
    counted = session.archive().count(" ".join(query))
    say_behind(counted.behind)
    if as_json:
        from archiver.cli.output import print_json

        print_json({"count": counted.count, **behind_facts(counted.behind)})
    else:
        print(counted.count)
