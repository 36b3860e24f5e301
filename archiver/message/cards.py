"""Calendar entries and address cards -> the lines in them that a person would look for."""

from __future__ import annotations

import re

from archiver.message.charset import readable
from archiver.message.transfer import decode_quoted_printable

CALENDARS = frozenset({"text/calendar", "application/ics"})
TYPES = CALENDARS | {"text/vcard", "text/x-vcard", "text/directory", "application/vcard"}

_FOLD = re.compile(r"\n[ \t]")
_LINE = re.compile(
    r"(?im)^(?:item\d+\.)?(?:summary|description|location|comment|contact|organizer|attendee|categories|fn|org|title"
    r"|role|email|tel|note|adr|nickname|url)((?:;[^:\n\"]*+(?:\"[^\"\n]*+\"[^:\n\"]*+)*+)?):(.*)$"
)
_COMMON_NAME = re.compile(r"(?i);cn=(?:\"([^\"]*)\"|([^;\"]*))")
_ESCAPE = re.compile(r"\\([\\;,nN])")
_QUOTED = re.compile(r"(?i);(?:encoding=)?quoted-printable\b")
_CHARSET = re.compile(r"(?i);charset=\"?([^;\"]{1,40})")


def card_text(source: str) -> str:
    """Texts, places and people of iCalendar (RFC 5545) or vCard (RFC 6350, and 2.1) data, one to a line."""
    if _QUOTED.search(source):
        source = source.replace("=\n", "")  # its soft line breaks, and the end of pictures that nobody reads
    lines = []
    for parameters, value in _LINE.findall(_FOLD.sub("", source)):
        if _QUOTED.search(parameters):
            charset = _CHARSET.search(parameters)
            value = readable(decode_quoted_printable(value.encode()), charset[1] if charset else "")
        value = _ESCAPE.sub(lambda escape: "\n" if escape[1] in "nN" else escape[1], value)
        value = re.sub(r"(?i)^mailto:", "", value)
        if name := _COMMON_NAME.search(parameters):
            value = f"{name[1] or name[2]} {value}"
        lines.append(value.strip(" ;"))
    return "\n".join(filter(None, lines))
