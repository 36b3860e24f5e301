"""Text fit for a terminal: whatever mail or a server wrote, it cannot steer the screen."""

from __future__ import annotations

from datetime import datetime

_UNITS = ("B", "kB", "MB", "GB", "TB")


def printable(text: str, *, lines: bool = False) -> str:
    """`text` without control and direction-changing characters; with `lines`, LF and tab are kept."""
    keep = "\n\t" if lines else ""
    return "".join(c if c.isprintable() or c in keep else _stand_in(c) for c in text)


def _stand_in(char: str) -> str:
    # Spaces of all kinds are not printable either, but harmless; the rest shows that it was there.
    return " " if char.isspace() else "" if char in "\u200b\u200c\u200d\ufeff\u00ad" else "\ufffd"


def one_line(text: str, width: int) -> str:
    """At most `width` characters on one line, spaces folded, cut with an ellipsis."""
    text = " ".join(printable(text).split())
    return text if len(text) <= width else text[: width - 1] + "…"


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


def count(number: int, noun: str) -> str:
    """`1 message`, `2,000 messages`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
