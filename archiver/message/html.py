"""HTML -> the text a person would read; linear in time whatever the input.

No tree is built, so nesting costs nothing. Left out: comments, script, style and head, and all
attributes (targets of links, alternative texts). Does not lay out tables, does not apply styles,
is no sanitiser.
"""

from __future__ import annotations

import re
from functools import lru_cache

# Attributes may hold ">" in quotes; one with "<" in it or an unended quote ends at the first ">".
_TAG = re.compile(
    r"<(?:/?([a-zA-Z][^\s/<>\"']*+)|[!?/])(?:(?:[^<>\"']++|\"[^\"<]*+\"|'[^'<]*+')*+>|[^<>]*+>)"
)
_APART = re.compile(
    r"<(?:!--|(head|pre|script|style|template|textarea|title)(?=[\s/>])[^<>]*+>?)", re.IGNORECASE
)
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")

# What ends a line: a break always, a block when something is on it, a paragraph with a blank line after.
_BREAK, _BLOCK, _PARAGRAPH = "\n", "\x01", "\x02"
_END = re.compile(f"([{_BREAK}{_BLOCK}{_PARAGRAPH}])")
_PARAGRAPHS = "blockquote dl h1 h2 h3 h4 h5 h6 hr ol p pre table textarea ul"
_BLOCKS = (
    "address article aside body caption center dd div dt fieldset figcaption figure footer form header legend"
    " li main nav option section tbody tfoot thead tr"
)
_INSTEAD = {
    **dict.fromkeys(_PARAGRAPHS.split(), _PARAGRAPH),
    **dict.fromkeys(_BLOCKS.split(), _BLOCK),
    "br": _BREAK,
    "td": " ",
    "th": " ",
}


def html_to_text(source: str) -> str:
    """Lines of text: one for each block, a blank one between paragraphs, never two. Never raises."""
    text = _shown(source)
    for character in "\n\x01\x02":
        text = text.replace(character, " ")
    text = _TAG.sub(lambda tag: _INSTEAD.get((tag[1] or "").lower(), ""), text)
    if "&" in text:
        text = _ENTITY.sub(lambda entity: _character(entity[0]), text)
    pieces = _END.split(text + _BLOCK)
    lines: list[str] = []
    apart = False
    for line, end in zip(pieces[::2], pieces[1::2], strict=False):
        line = " ".join(line.split())
        if line:
            if apart and lines and lines[-1]:
                lines.append("")
            lines.append(line)
        elif end == _BREAK and lines and lines[-1]:
            lines.append("")
        apart = end == _PARAGRAPH or (apart and not line)
    return "\n".join(lines).rstrip("\n")


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


@lru_cache(maxsize=16)
def _end_of(name: str) -> re.Pattern[str]:
    return re.compile(rf"</{name}\s*+>" if name else r"--!?>", re.IGNORECASE)


@lru_cache(maxsize=1024)
def _character(entity: str) -> str:
    """What a character reference stands for; itself when it stands for nothing. Never a control character."""
    from html.entities import html5

    name = entity[1:].removesuffix(";")
    if not name.startswith("#"):
        return html5.get(name + ";" if entity.endswith(";") else name, entity)
    code = int(name[2:], 16) if name[1] in "xX" else int(name[1:])
    if 0x80 <= code <= 0x9F:
        return bytes([code]).decode("cp1252", "replace")
    if code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:
        return "\ufffd"
    return chr(code) if code >= 32 and code != 127 else " "
