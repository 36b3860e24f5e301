"""Where things are below the archive root, and how names a server chose become directories.

A folder name is hostile until encoded: no component may leave the tree (`..`, `/`, NUL), hide (a leading
dot), be taken for a part of a Maildir (`cur`, `new`, `tmp`) or outgrow a file system (120 bytes here).
Two names that end in the same directory, on a file system that folds case or accents for instance, are
kept apart by a hash. The true name stands in the directory's `.folder.json`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator

import msgspec

FOLDER_FILE = ".folder.json"
_MAX_BYTES = 120
# Of all levels together, so that path and file name stay below what a system call takes (4096).
_MAX_PATH = 1000
# Control characters, separators of any system, and % because it is the escape character.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f/\\%:*?"<>|\u2028\u2029\ud800-\udfff]')
_RESERVED = re.compile(r"(?:cur|new|tmp|con|prn|aux|nul|com\d|lpt\d)(?:\..*)?\Z", re.IGNORECASE)


class FolderFile(msgspec.Struct, frozen=True):
    """The content of `.folder.json`: what the server calls the folder.

    `raw` is the name on the wire, each byte one character (latin-1); `name` the readable form with `/`
    between the levels; without a `delimiter` the server has no levels and a `/` is a letter.
    """

    raw: str
    name: str
    delimiter: str | None


def mail_root(root: str) -> str:
    return os.path.join(root, "mail")


def ledger_path(root: str) -> str:
    return os.path.join(root, "ledger.sqlite3")


def index_path(root: str) -> str:
    return os.path.join(root, "index")


def lock_path(root: str, name: str) -> str:
    return os.path.join(root, "locks", name + ".lock")


def watch_path(root: str) -> str:
    return os.path.join(root, "watch.json")


def quarantine_root(root: str) -> str:
    return os.path.join(root, "quarantine")


def make_directory(path: str) -> None:
    """Create `path` and its parents, each private (0700) and durable in its parent."""
    if os.path.isdir(path):
        return
    parent = os.path.dirname(path) or os.curdir
    make_directory(parent)
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        return
    sync_directory(parent)


def sync_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_file(path: str, data: bytes) -> None:
    """Replace a file durably: the old content or the new, never a mixture, and private (0600)."""
    temporary = f"{path}.{os.getpid()}.new"
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_directory(os.path.dirname(path))


def encode_component(name: str) -> str:
    """One level of a folder name as a directory name: reversible to the eye, safe on any file system."""
    text = _UNSAFE.sub(_escape, name)
    if not text:
        return "%"
    if text[0] == "." or _RESERVED.match(text):
        text = _escape(text[0]) + text[1:]
    if text[-1] in ". ":
        text = text[:-1] + _escape(text[-1])
    if len(os.fsencode(text)) <= _MAX_BYTES:
        return text
    head = os.fsencode(text)[: _MAX_BYTES - 18].decode("utf-8", "ignore")
    return f"{head}%~{_short_hash(name)}"


def _escape(match: re.Match[str] | str) -> str:
    char = match if isinstance(match, str) else match[0]
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogatepass"))


def _short_hash(text: str) -> str:
    import hashlib

    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def folder_components(folder: FolderFile) -> list[str]:
    return [
        encode_component(part) for part in (folder.name.split("/") if folder.delimiter else [folder.name])
    ]


def claim_folder(root: str, account: str, folder: FolderFile) -> str:
    """The directory of a folder relative to the mail root, created with its `.folder.json` if new.

    Where another folder already has the directory, a hash of the raw name is added.
    """
    parts = [account, *folder_components(folder)]
    if len("/".join(parts).encode()) > _MAX_PATH:
        parts = [account, f"%~{_short_hash(folder.raw)}"]
    hashed = [*parts[:-1], f"{parts[-1][:80]}%~{_short_hash(folder.raw)}"]
    for candidate in (parts, hashed):
        relative = "/".join(candidate)
        path = os.path.join(mail_root(root), relative)
        present = read_folder_file(path)
        if present is None:
            make_directory(path)
            write_file(os.path.join(path, FOLDER_FILE), _dump(folder))
        if present is None or present.raw == folder.raw:
            for sub in ("cur", "new", "tmp"):
                make_directory(os.path.join(path, sub))
            return relative
    raise AssertionError(f"two folders with one hash: {folder.raw!r}")


def read_folder_file(path: str) -> FolderFile | None:
    """What `.folder.json` in a directory says; None when there is none or it cannot be understood."""
    try:
        with open(os.path.join(path, FOLDER_FILE), "rb") as file:
            return msgspec.json.decode(file.read(), type=FolderFile)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def walk_folders(root: str) -> Iterator[tuple[str, str, FolderFile]]:
    """Every folder on disk: account, directory relative to the mail root, what it is called.

    OSError where a directory cannot be listed: what is in it must not be taken for gone.
    """
    top = mail_root(root)
    for directory, names, _ in os.walk(top, onerror=_unless_gone):
        names[:] = sorted(n for n in names if n not in ("cur", "new", "tmp"))
        found = read_folder_file(directory)
        if found is not None:
            relative = os.path.relpath(directory, top)
            yield relative.split(os.sep, 1)[0], relative, found


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _dump(folder: FolderFile) -> bytes:
    import json

    return json.dumps(msgspec.structs.asdict(folder), indent=1, ensure_ascii=True).encode() + b"\n"
