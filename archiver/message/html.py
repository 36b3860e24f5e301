"""HTML -> the text a person would read; linear in time whatever the input.

No tree is built, so nesting costs nothing. Left out: comments, script, style and head, and all
attributes (targets of links, alternative texts). Does not lay out tables, does not apply styles,
is no sanitiser.
"""

from __future__ import annotations

import re

_REST = r"(?:(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+>|[^<>]*+>)"
_TAG = re.compile(rf"<[a-zA-Z/!?]{_REST}")
_BLOCK = re.compile(
    r"<(?:/?(?:address|article|aside|blockquote|body|caption|center|dd|div|dl|dt|fieldset|figcaption|figure|footer"
    r"|form|h[1-6]|header|li|main|nav|ol|p|pre|section|table|tbody|tfoot|thead|tr|ul)|br|hr|option)(?=[\s/>])"
    rf"{_REST}",
    re.IGNORECASE,
)
_CELL = re.compile(rf"</?(?:td|th)(?=[\s/>]){_REST}", re.IGNORECASE)
_APART = re.compile(
    r"<(?:!--|(head|pre|script|style|template|textarea|title)(?=[\s/>])[^<>]*+>?)", re.IGNORECASE
)
_ENTITY = re.compile(r"&(?:#([0-9]{1,7})|#[xX]([0-9a-fA-F]{1,6})|([A-Za-z][A-Za-z0-9]{1,31}));?")
_SPACES = str.maketrans("\n\t\f\r", "    ")


def html_to_text(source: str) -> str:
    """Lines of text: one for each block, blank ones never twice. Never raises."""
    text = _shown(source).translate(_SPACES)
    text = _CELL.sub(" ", _BLOCK.sub("\n", text))
    text = _TAG.sub("", text)
    if "&" in text:
        text = _ENTITY.sub(_character, text)
    lines: list[str] = []
    for line in text.split("\n"):
        line = " ".join(line.split())
        if line or (lines and lines[-1]):
            lines.append(line)
    return "\n".join(lines).strip("\n")


def _shown(source: str) -> str:
    """Without what is never shown; line ends in preformatted text made tags, to survive.

    An element that is not ended is taken as if only its tag were there, and its end is not
    looked for again: that keeps this linear and loses no text.
    """
    out: list[str] = []
    unended: set[str] = set()
    position = 0
    while start := _APART.search(source, position):
        name = (start[1] or "").lower()
        out.append(source[position : start.start()])
        end = None if name in unended else _end_of(name).search(source, start.end())
        if end is None:
            unended.add(name)
            out.append(" " if name else "")
            position = start.end()
            continue
        if name in ("pre", "textarea"):
            out += ("<br>", source[start.end() : end.start()].replace("\n", "<br>"), "<br>")
        position = end.end()
    out.append(source[position:])
    return "".join(out)


def _end_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}\s*+>" if name else r"--!?>", re.IGNORECASE)


def _character(entity: re.Match[str]) -> str:
    from html.entities import html5

    if name := entity[3]:
        return html5.get(f"{name};" if entity[0].endswith(";") else name, entity[0])
    code = int(entity[1]) if entity[1] else int(entity[2], 16)
    if 0x80 <= code <= 0x9F:
        return bytes([code]).decode("cp1252", "replace")
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return chr(code) if code >= 32 else " "
