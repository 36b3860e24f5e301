"""Who a message is from and for, as terms of the field `people`: each address with the name it goes by.

A term is a letter for the role, the address in lower case, a tab, and the name. So all names of an address
stand together among the terms, and the addresses of a role in their order. A mailing list is one, too: its
id is the address.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

Role = Literal["from", "to", "cc", "list"]

LETTERS: dict[Role, str] = {"from": "f", "to": "t", "cc": "c", "list": "l"}
"""`to` is Bcc, too, of what was sent."""

_ADDRESS_LIMIT = 200
_NAME_LIMIT = 100


def terms(role: Role, shown: Iterable[str]) -> Iterator[str]:
    """The term of each of some people, who are given as `Name <address>`."""
    for each in shown:
        name, bracket, address = each.rpartition("<")
        if not (bracket and address.endswith(">")):
            name, address = ("", each) if "@" in each or role == "list" else (each, "")
        name = " ".join(_text(name).split()).strip("\"' ")[:_NAME_LIMIT]
        address = "".join(_text(address.removesuffix(">")).split()).lower()[:_ADDRESS_LIMIT]
        yield f"{LETTERS[role]}{address}\t{'' if name.lower() == address else name}"


def split(term: str) -> tuple[str, str]:
    """Address, "" for who has none, and name of a term without its letter."""
    address, _, name = term.partition("\t")
    return address, name


def _text(text: str) -> str:
    return text.encode(errors="replace").decode()
