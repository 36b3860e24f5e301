"""What kinds of files a message has: one table of types and file names, for `has:`."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """A word of `has:`; `types` end in `/` for all of a main type, `extensions` are those of file names."""

    name: str
    types: tuple[str, ...]
    extensions: tuple[str, ...]


_WORD = "application/vnd.openxmlformats-officedocument.wordprocessingml."
_EXCEL = "application/vnd.openxmlformats-officedocument.spreadsheetml."
_SLIDES = "application/vnd.openxmlformats-officedocument.presentationml."
_OPEN = "application/vnd.oasis.opendocument."

KINDS: tuple[Kind, ...] = (
    Kind(
        "image",
        ("image/",),
        tuple("jpg jpeg png gif bmp tif tiff webp heic heif avif svg ico".split()),  # noqa: SIM905
    ),
    Kind("pdf", ("application/pdf", "application/x-pdf"), ("pdf",)),
    Kind("calendar", ("text/calendar", "application/ics", "text/x-vcalendar"), ("ics", "ical", "vcs", "ifb")),
    Kind(
        "audio",
        ("audio/",),
        tuple("mp3 m4a aac wav ogg oga opus flac wma amr aif aiff mid midi".split()),  # noqa: SIM905
    ),
    Kind(
        "video",
        ("video/",),
        tuple("mp4 m4v mov avi mkv webm wmv mpg mpeg 3gp ogv flv".split()),  # noqa: SIM905
    ),
    Kind(
        "document",
        (
            *("application/msword", "application/vnd.ms-word.", _WORD, f"{_OPEN}text", "application/rtf"),
            *("text/rtf", "application/vnd.apple.pages", "application/epub+zip"),
            "application/vnd.google-apps.document",
        ),
        tuple("doc docx docm dot dotx odt ott fodt rtf pages wpd wps epub".split()),  # noqa: SIM905
    ),
    Kind(
        "spreadsheet",
        (
            *("application/vnd.ms-excel", _EXCEL, f"{_OPEN}spreadsheet", "text/csv"),
            *("text/tab-separated-values", "application/vnd.apple.numbers"),
            "application/vnd.google-apps.spreadsheet",
        ),
        tuple("xls xlsx xlsm xlsb xlt xltx ods ots fods csv tsv numbers".split()),  # noqa: SIM905
    ),
    Kind(
        "presentation",
        (
            *("application/vnd.ms-powerpoint", _SLIDES, f"{_OPEN}presentation"),
            *("application/vnd.apple.keynote", "application/vnd.google-apps.presentation"),
        ),
        tuple("ppt pptx pptm pps ppsx pot potx odp otp fodp".split()),  # noqa: SIM905
    ),
    Kind(
        "archive",
        (
            *("application/zip", "application/x-zip", "application/gzip", "application/x-gzip"),
            *("application/x-tar", "application/x-gtar", "application/x-compressed-tar", "application/x-rar"),
            *("application/vnd.rar", "application/x-7z-compressed", "application/x-bzip", "application/x-xz"),
            *("application/zstd", "application/x-lzip", "application/x-lzma", "application/vnd.ms-cab-"),
        ),
        tuple("zip gz tgz tar bz2 tbz tbz2 xz txz zst 7z rar lz lzma cab arj lha".split()),  # noqa: SIM905
    ),
)

_BY_EXTENSION = {extension: kind.name for kind in KINDS for extension in kind.extensions}


def kinds(mimetypes: Iterable[str], filenames: Iterable[str]) -> set[str]:
    """The kinds that a type, or the end of a file name, says are among the files."""
    extensions = {end for name in filenames if (end := _extension(name))}
    by_name = {_BY_EXTENSION[each] for each in extensions & _BY_EXTENSION.keys()}
    return by_name.union(*map(_by_type, mimetypes))


@lru_cache(maxsize=1024)
def _by_type(mimetype: str) -> frozenset[str]:
    return frozenset(kind.name for kind in KINDS if mimetype.startswith(kind.types))


def _extension(name: str) -> str:
    before, _, end = name.rpartition(".")
    return end.strip().lower() if before else ""
