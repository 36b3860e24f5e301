"""Regular expressions, by RE2: in time that grows with the text and not with the expression's cunning."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from archiver.search.values import BadValue

LENGTH_LIMIT = 500

SIZE_LIMIT = 100_000
"""Instructions; each character of a text may take as many steps, and a text is looked at in one go."""

_MEMORY = 16 << 20

# Makes ^ and $ stand at line ends.
_LINES = "(?m)"

# What a text that is looked at together with others does not have: its own beginning and end.
_alone = re.compile(r"\\[Az]|\(\?[a-zA-Z]*[-ms]")


@lru_cache(maxsize=32)
def compiled(pattern: str) -> Any:
    """An RE2 object for bytes in UTF-8; `^` and `$` stand at line ends, nothing matches across them.

    Upper and lower case are the same. BadValue when it is none.
    """
    # 5 ms, and few queries need it.
    import re2

    if len(pattern) > LENGTH_LIMIT:
        raise BadValue(f"is longer than {LENGTH_LIMIT} characters", LENGTH_LIMIT)
    options = re2.Options()
    options.case_sensitive = False
    options.never_nl = True
    options.log_errors = False
    options.max_mem = _MEMORY
    try:
        made = re2.compile(f"{_LINES}{pattern}", options)
    except re2.error as error:
        said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error)
        # Some reasons end with the whole of what was compiled; it is shown already, as it was written.
        why = said.removesuffix(f": {_LINES}{pattern}")
        raise BadValue(f"is no regular expression: {why}", 1) from error
    if made.programsize > SIZE_LIMIT:
        raise BadValue("repeats too much", 1)
    return made


def is_alone(pattern: str) -> bool:
    """Whether each text must be looked at by itself, not as a line among others."""
    return _alone.search(pattern) is not None
