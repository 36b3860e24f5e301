"""Words to their stems, where the configuration asks for it: `connections` and `connected` to `connect`.

The stemmers are Whoosh's (Snowball): nothing more to install, and they do not change under an index.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

CODES = {
    "danish": "da",
    "dutch": "nl",
    "english": "en",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "hungarian": "hu",
    "italian": "it",
    "norwegian": "no",
    "portuguese": "pt",
    "romanian": "ro",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
}
"""The languages of `index.stemming` and what Whoosh calls them."""


def stem(word: str, code: str) -> str:
    """The stem of a word in lower case; the word itself where it has none."""
    if not word.isalpha():
        return word
    try:
        return _stemmer(code)(word) or word
    except IndexError:  # the Spanish one, of words that are nothing but an ending
        return word


@cache
def _stemmer(code: str) -> Callable[[str], str]:
    from whoosh.lang.snowball import classes

    found: Callable[[str], str] = classes[code]().stem
    return found
