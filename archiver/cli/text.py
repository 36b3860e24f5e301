"""Text fit for a terminal: whatever mail or a server wrote, it cannot steer the screen."""

from __future__ import annotations

from datetime import datetime

_UNITS = ("B", "kB", "MB", "GB", "TB")
# No letters, but words of some scripts are wrong without the first two, and none of them moves anything.
_JOINERS = "\u200c\u200d"
_INVISIBLE = "\u200b\u2060\ufeff\u00ad\u034f"


def printable(text: str, *, lines: bool = False) -> str:
    """`text` without control and direction-changing characters; with `lines`, LF and tab are kept.

    Each character gives one character, so that positions in the one are positions in the other.
    """
    if text.isprintable():
        return text
    keep = _JOINERS + _INVISIBLE + ("\n\t" if lines else "")
    return "".join(c if c.isprintable() or c in keep else " " if c.isspace() else "\ufffd" for c in text)


def columns(text: str) -> int:
    """How many columns printable text takes on a terminal."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(char: str) -> int:
    from unicodedata import category, east_asian_width

    # Vowels and finals of decomposed Hangul melt into the syllable before them.
    if category(char) in ("Mn", "Me", "Cf") or "\u1160" <= char <= "\u11ff":
        return 0
    return 2 if east_asian_width(char) in "WF" else 1


def one_line(text: str, width: int) -> str:
    """At most `width` columns on one line, spaces folded, cut with an ellipsis."""
    kept = printable(text).translate(dict.fromkeys(map(ord, _INVISIBLE)))
    return cut(" ".join(kept.split()), width)


def name_of(sender: str) -> str:
    """The name of `Name <address>`, the first of several, or the address where there is none."""
    return sender.partition("<")[0].strip(' "') or sender


def cut(text: str, width: int) -> str:
    """Printable text on at most `width` columns; an ellipsis stands for what is left out."""
    if columns(text) <= width:
        return text
    taken = 0
    for end, char in enumerate(text):
        taken += _width(char)
        if taken > width - 1:
            return text[:end] + "…"
    raise AssertionError


def pad(text: str, width: int) -> str:
    """Printable text filled up with spaces to `width` columns."""
    return text + " " * (width - columns(text))


def pointed(text: str, position: int, width: int = 76) -> tuple[str, str]:
    """A line with the part of `text` around `position`, and one that puts a caret right below it."""
    head, tail = printable(text[:position]), printable(text[position:])
    if columns(head) > width * 2 // 3:
        head = "…" + cut(head[::-1], width // 2)[:-1][::-1]
    return head + cut(tail, width - columns(head)), " " * columns(head) + "^"


def size(count: float) -> str:
    """Bytes as people read them, 1 kB being 1024 bytes."""
    for unit in _UNITS:
        if count < 1024 or unit == _UNITS[-1]:
            return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"
        count /= 1024
    raise AssertionError


def moment(seconds: float | None) -> str:
    """Unix seconds as local date and time; `never` for None."""
    if seconds is None:
        return "never"
    try:
        return datetime.fromtimestamp(seconds).strftime("%Y-%m-%d %H:%M")
    except (OverflowError, ValueError, OSError):
        return "no valid date"


def span(seconds: float) -> str:
    """A time span in its largest fitting unit."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"


def count(number: int, noun: str, several: str = "") -> str:
    """`1 message`, `2,000 messages`, and with a plural of its own `2,000 copies`."""
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"
