"""Calendar entries and address cards -> the lines in them that a person would look for."""

from __future__ import annotations

import re

TYPES = frozenset({"text/calendar", "text/vcard", "text/x-vcard", "text/directory"})

_FOLD = re.compile(r"\n[ \t]")
_LINE = re.compile(
    r"(?im)^(?:item\d+\.)?(?:summary|description|location|comment|contact|organizer|attendee|categories|fn|org|title"
    r"|role|email|tel|note|adr|nickname|url)((?:;[^:\n\"]*+(?:\"[^\"\n]*+\"[^:\n\"]*+)*+)?):(.*)$"
)
_COMMON_NAME = re.compile(r"(?i);cn=(?:\"([^\"]*)\"|([^;\"]*))")
_ESCAPE = re.compile(r"\\([\\;,nN])")


def card_text(source: str) -> str:
    """Texts, places and people of iCalendar (RFC 5545) or vCard (RFC 6350) data, one to a line."""
    lines = []
    for parameters, value in _LINE.findall(_FOLD.sub("", source)):
        value = _ESCAPE.sub(lambda escape: "\n" if escape[1] in "nN" else escape[1], value)
        value = re.sub(r"(?i)^mailto:", "", value)
        if name := _COMMON_NAME.search(parameters):
            value = f"{name[1] or name[2]} {value}"
        lines.append(value.strip(" ;"))
    return "\n".join(filter(None, lines))
