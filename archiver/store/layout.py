"""Where things are below the archive root, and how names a server chose become directories.

A folder name is hostile until encoded: no component may leave the tree (`..`, `/`, NUL), hide (a leading
dot), be taken for a part of a Maildir (`cur`, `new`, `tmp`) or outgrow a file system (120 bytes here).
Two names that end in the same directory, on a file system that folds case or accents for instance, are
kept apart by a hash. The true name stands in the directory's `.folder.json`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Container, Iterator

import msgspec

FOLDER_FILE = ".folder.json"
# Begins the wire name of a folder that is only guessed: no byte of a true one becomes this character.
_GUESS = "\ufffd"
_MAX_BYTES = 120
# Of all levels together, so that path and file name stay below what a system call takes (4096).
_MAX_PATH = 1000
# Control characters, separators of any system, and % because it is the escape character.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f/\\%:*?"<>|\u2028\u2029\ud800-\udfff]')
_RESERVED = re.compile(r"(?:cur|new|tmp|con|prn|aux|nul|com\d|lpt\d)(?:\..*)?\Z", re.IGNORECASE)


class FolderFile(msgspec.Struct, frozen=True, omit_defaults=True):
    """The content of `.folder.json`: what the server calls the folder.

    `raw` is the name on the wire, each byte one character (latin-1); `name` the readable form with `/`
    between the levels; without a `delimiter` the server has no levels and a `/` is a letter. `mailboxid` is
    the name that stays when the server renames it (RFC 8474), None where it has none.
    """

    raw: str
    name: str
    delimiter: str | None
    mailboxid: str | None = None

    @property
    def guessed(self) -> bool:
        """Whether `raw` is made up: by `guess_folder`, until the next pull of the folder says better, or by
        `set_aside`."""
        return self.raw.startswith(_GUESS)

    def is_same(self, other: FolderFile) -> bool:
        """Whether both are one folder of the server, renamed or not; without MAILBOXIDs raw names tell."""
        if self.mailboxid and other.mailboxid:
            return self.mailboxid == other.mailboxid
        return self.raw == other.raw


def mail_root(root: str) -> str:
    return os.path.join(root, "mail")


def is_archive(root: str) -> bool:
    """Whether anything of an archive is there. OSError when that cannot be told."""
    for path in (ledger_path(root), mail_root(root)):
        try:
            os.stat(path)
        except FileNotFoundError:
            continue
        return True
    return False


def ledger_path(root: str) -> str:
    return os.path.join(root, "ledger.sqlite3")


def index_path(root: str) -> str:
    return os.path.join(root, "index")


def user_path(root: str) -> str:
    return os.path.join(root, "user.sqlite3")


def attachments_path(root: str) -> str:
    return os.path.join(root, "attachments.sqlite3")


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


def sync_file(path: str) -> None:
    """Make the content of a file durable. An error of writing back that nobody was told of is told here."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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

    Where another folder already has the directory, a hash of the raw name, or of the MAILBOXID, is added. A
    directory whose name is lost or guessed becomes the first folder's that would have it.
    """
    relative = describe_folder(root, account, folder)
    make_parts(os.path.join(mail_root(root), relative))
    return relative


def describe_folder(root: str, account: str, folder: FolderFile, taken: Container[str] = ()) -> str:
    """The same with nothing in it but its `.folder.json`; none of those in `taken`."""
    candidates = _candidates(account, folder)
    present = {each: read_folder_file(os.path.join(mail_root(root), each)) for each in candidates}
    own = [each for each, found in present.items() if found and found.is_same(folder)]
    free = [each for each, found in present.items() if (found is None or found.guessed) and each not in taken]
    if not own and not free:
        raise AssertionError(f"two folders with one hash: {folder.raw!r}")
    relative = (own or free)[0]
    if not own or (folder.mailboxid and present[relative] != folder):
        write_folder_file(os.path.join(mail_root(root), relative), folder)
    return relative


def _candidates(account: str, folder: FolderFile) -> list[str]:
    """Where a folder may be, relative to the mail root, the best place first."""
    parts = [account, *folder_components(folder)]
    if len("/".join(parts).encode()) > _MAX_PATH:
        parts = [account, f"%~{_short_hash(folder.raw)}"]
    ids = [folder.raw, folder.mailboxid] if folder.mailboxid else [folder.raw]
    hashed = [[*parts[:-1], f"{parts[-1][:80]}%~{_short_hash(each)}"] for each in ids]
    return ["/".join(each) for each in (hashed if folder.guessed else [parts, *hashed])]


def make_parts(path: str) -> None:
    """Make the three directories of a Maildir."""
    for sub in ("cur", "new", "tmp"):
        make_directory(os.path.join(path, sub))


def set_aside(folder: FolderFile, mark: str) -> FolderFile:
    """The same folder under a raw name no server has, `mark` keeping it apart from others called alike."""
    return FolderFile(f"{_GUESS}{mark}/{folder.raw}", folder.name, folder.delimiter, folder.mailboxid)


def write_folder_file(path: str, folder: FolderFile) -> None:
    make_directory(path)
    write_file(os.path.join(path, FOLDER_FILE), dump_folder_file(folder))


def guess_folder(relative: str) -> FolderFile:
    """What the folder in a directory, relative to the mail root, may be called; its wire name is unknown."""
    parts = relative.split("/")[1:]
    name = "/".join(_decode(part, whole=len(parts) == 1) for part in parts)
    return FolderFile(_GUESS + relative, name, "/" if len(parts) > 1 or "/" not in name else None)


def _decode(component: str, whole: bool) -> str:
    """A directory's name with its escapes undone; a `/` only where it cannot be taken for a level's end."""

    def undo(match: re.Match[str]) -> str:
        try:
            text = bytes.fromhex(match[0].replace("%", "")).decode()
        except UnicodeDecodeError:
            return match[0]
        return text if whole or "/" not in text else match[0]

    return "" if component == "%" else re.sub("(?:%[0-9A-F]{2})+", undo, component)


def read_folder_file(path: str) -> FolderFile | None:
    """What `.folder.json` in a directory says; None when there is none or it cannot be understood."""
    try:
        with open(os.path.join(path, FOLDER_FILE), "rb") as file:
            return msgspec.json.decode(file.read(), type=FolderFile)
    except (FileNotFoundError, NotADirectoryError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def walk_folders(root: str) -> Iterator[tuple[str, str, FolderFile]]:
    """Every folder on disk that says what it is called: account, directory below the mail root, that."""
    for account, relative, found in walk(root):
        if found is not None:
            yield account, relative, found


def walk(root: str) -> Iterator[tuple[str, str, FolderFile | None]]:
    """Every directory of an account but the parts of Maildirs; None where nothing says what it is called.

    An account's directory may be a link, those in it are not followed. OSError where a directory cannot
    be listed: what is in it must not be taken for gone.
    """
    top = mail_root(root)
    try:
        accounts = sorted(entry.name for entry in os.scandir(top) if entry.is_dir())
    except FileNotFoundError:
        return
    for account in accounts:
        for directory, names, _ in os.walk(os.path.join(top, account), onerror=_unless_gone):
            names[:] = sorted(n for n in names if n not in ("cur", "new", "tmp"))
            yield account, os.path.relpath(directory, top), read_folder_file(directory)


def _unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def dump_folder_file(folder: FolderFile) -> bytes:
    """The content of `.folder.json`."""
    import json

    return json.dumps(msgspec.to_builtins(folder), indent=1, ensure_ascii=True).encode() + b"\n"
