"""format=flowed text (RFC 3676) -> paragraphs as they were typed."""

from __future__ import annotations


def unflow(text: str, *, delete_space: bool = False) -> str:
    """Soft line breaks undone outside quotations, space stuffing removed; quoted lines stay as they are."""
    out: list[str] = []
    flowing = False
    for line in text.split("\n"):
        quoted = line.startswith(">")
        line = line.removeprefix(" ")
        if out and not (flowing and not quoted and line != "-- "):
            out.append("\n")
        flowing = line.endswith(" ") and not quoted and line != "-- "
        out.append(line[:-1] if flowing and delete_space else line)
    return "".join(out)
