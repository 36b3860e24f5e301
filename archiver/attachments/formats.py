"""The text of a document, by kind; runs in the process that reads attachments. Only here kreuzberg is used.

Of OpenDocument kreuzberg knows presentations not at all, and cells only by half: what is between the tags
of `content.xml` is its text, so it needs no parser. No entity is ever defined or followed.
"""

from __future__ import annotations

import html
import re
import warnings
import zipfile
from collections.abc import Callable
from io import BytesIO
from typing import Any

from archiver.message.charset import readable
from archiver.message.html import html_to_text

_TYPES = {
    "pdf": "application/pdf",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "epub": "application/epub+zip",
    "rtf": "application/rtf",
}
# What is inside an archive by which it is known.
_OFFICE = {"word/document.xml": "docx", "xl/workbook.xml": "xlsx", "ppt/presentation.xml": "pptx"}
_SAID = {b"application/epub+zip": "epub", b"application/vnd.oasis.opendocument.": "odf"}
# Bytes of all text inside a document, unpacked; a spreadsheet takes eight times as much when it is read.
_UNPACKED = 64 << 20
_MARKUP = (".xml", ".rels", ".html", ".htm", ".xhtml", ".opf", ".ncx")

# Possessive, so that one that is never closed is looked through once.
_TAG = re.compile(r"<(/?)([^\s<>/!?]*+)[^<>]*+>")
_XML_DECLARED = re.compile(rb"<\?xml[^>]{0,200}encoding\s{0,5}=\s{0,5}[\"']([A-Za-z0-9._-]{1,40})")
# Tags of OpenDocument that part words; all others may stand inside one.
_PARTING = frozenset(
    {
        "text:p",
        "text:h",
        "text:s",
        "text:tab",
        "text:line-break",
        "table:table-cell",
        "table:table",
        "draw:page",
    }
)


class Encrypted(Exception):
    """Nothing can be read without a password, and that is nobody's mistake."""


class Damaged(Exception):
    """It is not what it says it is."""


class TooLarge(Exception):
    """Unpacked, it would take more memory than there is for it."""


def text_of(kind: str, data: bytes, limit: int) -> str:
    """The text, `limit` characters at most; raises what is above, or whatever a broken file leads to."""
    return _READERS[kind](data, limit)[:limit]


def _text(data: bytes, limit: int) -> str:
    return readable(data[: 4 * limit])


def _html(data: bytes, limit: int) -> str:
    return html_to_text(readable(data[: 8 * limit]))


def _xml(data: bytes, limit: int) -> str:
    declared = _XML_DECLARED.match(data)
    text = readable(data[: 8 * limit], declared[1].decode() if declared else "")
    return html.unescape(_TAG.sub(" ", text))


def _zip(data: bytes, limit: int) -> str:
    """What the archive is by what is in it; of one that is just an archive, the names."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            kind = _kind_inside(archive)
            texts = [each for each in archive.infolist() if each.filename.endswith(_MARKUP)]
            if kind and sum(each.file_size for each in texts) > _UNPACKED:
                raise TooLarge
            if kind == "odf":
                return _opendocument(archive)
            names = archive.namelist()
    except (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError) as error:
        raise Damaged from error
    return _by_kreuzberg(kind, data) if kind else "\n".join(names)


def _kind_inside(archive: zipfile.ZipFile) -> str:
    names = set(archive.namelist())
    if "[Content_Types].xml" in names:
        return next((kind for part, kind in _OFFICE.items() if part in names), "")
    said = _read(archive, "mimetype", 100) if "mimetype" in names else b""
    return next((kind for start, kind in _SAID.items() if said.startswith(start)), "")


def _read(archive: zipfile.ZipFile, name: str, size: int) -> bytes:
    import zlib

    try:
        with archive.open(name) as file:
            return file.read(size)
    except RuntimeError as error:
        raise Encrypted from error
    except (zlib.error, KeyError, OSError) as error:
        raise Damaged from error


def _opendocument(archive: zipfile.ZipFile) -> str:
    if b"encryption-data" in _read(archive, "META-INF/manifest.xml", _UNPACKED):
        raise Encrypted
    content = _read(archive, "content.xml", _UNPACKED).decode("utf-8", "replace")
    text = _TAG.sub(lambda tag: "\n" if tag[2] in _PARTING else "", content)
    return html.unescape(re.sub(r"\n\s*", "\n", text)).strip()


def _by_kreuzberg(kind: str, data: bytes) -> str:
    from kreuzberg import exceptions, extract_bytes_sync

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return str(extract_bytes_sync(data, _TYPES[kind], _configuration()).content).replace("\r\n", "\n")
    except (exceptions.KreuzbergError, OSError, ValueError, RuntimeError) as error:
        if "password" in str(error) or "encrypted" in str(error):
            raise Encrypted from error
        raise Damaged from error


def _configuration() -> Any:
    """Text alone, without reading pictures, by one thread, and nothing kept on disk."""
    from kreuzberg import ConcurrencyConfig, ExtractionConfig

    return ExtractionConfig(
        use_cache=False,
        ocr=None,
        enable_quality_processing=False,
        concurrency=ConcurrencyConfig(max_threads=1),
    )


_READERS: dict[str, Callable[[bytes, int], str]] = {
    "text": _text,
    "html": _html,
    "xml": _xml,
    "zip": _zip,
    "pdf": lambda data, limit: _by_kreuzberg("pdf", data),
    "rtf": lambda data, limit: _by_kreuzberg("rtf", data),
}
