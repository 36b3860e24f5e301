"""When what a server did not take is offered to it again."""

from __future__ import annotations

_FIRST = 5 * 60
_LONGEST = 4 * 3600
# With these delays the last one comes about five days after the first (RFC 5321, 4.5.4.1).
LAST_TRY = 34


def next_try(now: int, tries: int) -> int | None:
    """When to try again after so many tries (1 or more), Unix seconds; None when there were enough.

    The delay doubles from five minutes up to four hours.
    """
    if tries >= LAST_TRY:
        return None
    return now + min(_FIRST << min(tries - 1, 10), _LONGEST)
