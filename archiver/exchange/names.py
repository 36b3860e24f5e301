"""What folders and files are called outside of the archive, and what that means inside of it."""

from __future__ import annotations

import base64
import binascii
import calendar
import re
import time

import msgspec

from archiver.store.layout import FOLDER_FILE, FolderFile, folder_components, guess_folder
from archiver.store.maildir import Name, parse_name

INBOX = "INBOX"
_MAX_NAME = 1000
_MAX_DEPTH = 64
_EML = re.compile(r"(\d{8}T\d{6}Z|-?\d+)\.([0-9a-f]{32})\.eml\Z", re.ASCII)
_STAMP = "%Y%m%dT%H%M%SZ"
_FLAGS = re.compile(r"[:;!]2,([A-Za-z]*)\Z")
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_PLAIN = re.compile(r"[^ -~]+")
# What mail programs put at the end of the names of directories and of mboxes.
_ENDINGS = (".mbox", ".mbx", ".sbd", ".mbs")


class Placed(msgspec.Struct, frozen=True):
    """What the path of a file says: what it may be, below which directories, and what its name tells.

    `name` and `received` only where the name is one of ours.
    """

    kind: str
    directories: tuple[str, ...]
    flags: str = ""
    name: Name | None = None
    digest: str = ""
    received: int | None = None


def place(path: str) -> Placed | None:
    """What a file is, by its path below the source: `maildir`, `eml`, `folder` (a .folder.json), or `mbox`
    if it turns out to be one. None: nothing that holds mail. ValueError where the path leads out.
    """
    *directories, file = path.split("/")
    if path.startswith("/") or "\0" in path or {".", ".."} & {*directories, file}:
        raise ValueError("its path leads out of what is imported")
    if len(directories) > _MAX_DEPTH or len(path) > 4 * _MAX_NAME:
        raise ValueError("its path is too long")
    above = tuple(directories[:-1])
    if directories and directories[-1] in ("cur", "new"):
        return None if file.startswith(".") else _maildir(above, directories[-1], file)
    if (directories and directories[-1] == "tmp") or (file.startswith(".") and file != FOLDER_FILE):
        return None
    if file == FOLDER_FILE:
        return Placed("folder", tuple(directories))
    if file.lower().endswith(".eml"):
        return _eml(tuple(directories), file)
    return Placed("mbox", tuple(directories) if file == "mbox" else (*directories, file))


def _maildir(directories: tuple[str, ...], part: str, file: str) -> Placed:
    found = _FLAGS.search(file)
    flags = "".join(sorted({*found[1]} & {*"DFRST"})) if found and part == "cur" else ""
    if parsed := parse_name(_FLAGS.sub("", file)):
        return Placed("maildir", directories, flags, parsed[0], parsed[0].digest, parsed[0].received)
    return Placed("maildir", directories, flags)


def _eml(directories: tuple[str, ...], file: str) -> Placed:
    ours = _EML.match(file)
    if not ours:
        return Placed("eml", directories)
    try:
        moment = calendar.timegm(time.strptime(ours[1], _STAMP)) if "T" in ours[1] else int(ours[1][:20])
    except ValueError:
        return Placed("eml", directories)
    return Placed("eml", directories, digest=ours[2], received=moment)


def eml_name(received: int, digest: str) -> str:
    """The name of a message's .eml: when it was received, in UTC, and the start of its key."""
    try:
        stamp = time.strftime(_STAMP, time.gmtime(received))
    except (OverflowError, ValueError, OSError):
        stamp = ""
    return f"{stamp if len(stamp) == 16 else received}.{digest}.eml"


def folder_name(directories: tuple[str, ...]) -> str:
    """What the folder in these directories is called, by their names alone; empty for the source itself.

    Names as ours, escapes undone, as those of Maildir++ (`.Lists.python`) and of other programs' trees.
    """
    if not directories:
        return ""
    levels = [part for each in directories for part in _levels(_text(each))]
    return tidy("/".join(levels))


def _text(directory: str) -> str:
    """A name that is not UTF-8 is taken for Latin-1."""
    data = directory.encode("utf-8", "surrogateescape")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


def told_name(directories: tuple[str, ...], file: FolderFile) -> str:
    """What the folder in these directories is called by its `.folder.json`, below what it does not tell."""
    above = directories[: max(len(directories) - len(folder_components(file)), 0)]
    return tidy("/".join(part for part in (folder_name(above), file.name) if part))


def _levels(directory: str) -> list[str]:
    if directory.startswith(".") and directory.strip("."):
        return [_unshifted(part) for part in directory[1:].split(".")]
    for ending in _ENDINGS:
        if directory.lower().endswith(ending) and len(directory) > len(ending):
            directory = directory[: -len(ending)]
    return [_unshifted(guess_folder(f"account/{directory}").name)]


def tidy(name: str) -> str:
    """A folder's name with nothing between its levels but one `/`, INBOX in capitals, and not too long."""
    name = name.encode("utf-8", "replace").decode()
    name = "/".join(part for part in name.split("/") if part)[:_MAX_NAME].rstrip("/")
    return INBOX if name.upper() == INBOX else name


def below(folder: str | None, name: str) -> str:
    """The folder that `name` becomes in the archive: below `folder` where that is given."""
    if folder:
        return tidy(f"{folder}/{name}")
    return name or INBOX


def described(name: str, delimiter: str) -> FolderFile:
    """What a server would call a folder that is named so: its levels parted by `delimiter`, the rest in
    modified UTF-7 (RFC 3501, 5.1.3)."""
    wire = name.replace("&", "&-").replace("/", delimiter)
    return FolderFile(_PLAIN.sub(_shifted, wire), name, delimiter)


def _shifted(match: re.Match[str]) -> str:
    packed = base64.b64encode(match[0].encode("utf-16-be", "surrogatepass")).decode()
    return f"&{packed.rstrip('=').replace('/', ',')}-"


def _unshifted(text: str) -> str:
    """Modified UTF-7 as text; what is none stays as it is."""

    def undo(match: re.Match[str]) -> str:
        if not match[1]:
            return "&"
        packed = match[1].replace(",", "/")
        return base64.b64decode(packed + "=" * (-len(packed) % 4)).decode("utf-16-be")

    if "&" not in text:
        return text
    try:
        decoded = _SHIFTED.sub(undo, text)
    except (UnicodeError, binascii.Error):
        return text
    return decoded if described(decoded, "/").raw == text else text
