"""What an honest little IMAP server answers: folders in memory, and one conversation about them as bytes.

Enough of RFC 3501 for a client that reads: CAPABILITY, STARTTLS, LOGIN, ID, NAMESPACE, ENABLE, LIST (with
STATUS, RFC 5819), STATUS, SELECT, EXAMINE, SEARCH by ALL and UID sets, FETCH, NOOP, CHECK, CLOSE, UNSELECT,
LOGOUT; and for one that writes: CREATE, SUBSCRIBE, APPEND (of several, RFC 3502), UID STORE, EXPUNGE. No
sockets here; `scripted` has them, and bends the answers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from imaplib import Time2Internaldate

from archiver.imap.names import readable
from tests.servers.dovecot import modified_utf7

Word = str | list["Word"]
EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
TOKEN = re.compile(r'\s*(?:"((?:[^"\\]|\\.)*)"|(\()|(\))|((?:[^\s()"\[]|\[[^\]]*\])+))')


@dataclass
class Mail:
    """One message. `extra`: further FETCH items as they are sent, {"X-GM-MSGID": "12", "MODSEQ": "(7)"}."""

    uid: int
    raw: bytes
    flags: tuple[str, ...] = ()
    date: datetime = EPOCH
    extra: dict[str, str] = field(default_factory=dict)


@dataclass
class Folder:
    """One folder, named in Unicode. `extra` goes into STATUS and EXAMINE: {"HIGHESTMODSEQ": "7"}."""

    name: str
    uidvalidity: int | None = 1
    uidnext: int = 1
    attributes: tuple[str, ...] = ()
    extra: dict[str, str] = field(default_factory=dict)
    mails: list[Mail] = field(default_factory=list)

    def add(
        self,
        raw: bytes,
        *,
        uid: int | None = None,
        flags: Sequence[str] = (),
        date: datetime = EPOCH,
        extra: Mapping[str, str] | None = None,
    ) -> Mail:
        """Add a message at the end; its UID is the next one unless given, and must ascend."""
        mail = Mail(uid or self.uidnext, raw, tuple(flags), date, dict(extra or {}))
        self.uidnext = mail.uid + 1
        self.mails.append(mail)
        return mail

    def status(self) -> dict[str, str]:
        values = {
            "MESSAGES": str(len(self.mails)),
            "RECENT": "0",
            "UIDNEXT": str(self.uidnext),
            "UNSEEN": str(sum("\\Seen" not in mail.flags for mail in self.mails)),
            **self.extra,
        }
        return values if self.uidvalidity is None else values | {"UIDVALIDITY": str(self.uidvalidity)}

    @property
    def wire(self) -> str:
        """The name as it is sent: modified UTF-7, quoted."""
        return '"' + modified_utf7(self.name).replace("\\", "\\\\").replace('"', '\\"') + '"'


@dataclass
class Account:
    """The data behind a server. `capabilities` are shown always, `late` ones only after login."""

    user: str = "user"
    password: str = "secret"
    capabilities: tuple[str, ...] = ("IMAP4rev1", "ID", "LITERAL+")
    late: tuple[str, ...] = ("NAMESPACE", "UNSELECT", "UIDPLUS")
    folders: dict[str, Folder] = field(default_factory=lambda: {"INBOX": Folder("INBOX")})

    def find(self, name: str) -> Folder | None:
        """The folder a client means by a name on the wire."""
        if name.upper() == "INBOX":
            return self.folders.get("INBOX")
        return next((each for each in self.folders.values() if modified_utf7(each.name) == name), None)


@dataclass(frozen=True)
class Command:
    """One command as received: `name` in capitals ("UID FETCH"), literals among the arguments as strings."""

    tag: str
    name: str
    arguments: str
    connection: int = 0
    encrypted: bool = False

    def words(self) -> list[Word]:
        """The arguments one by one: atoms, strings without quotes, parentheses as lists."""
        return words(self.arguments)

    def text(self, index: int) -> str:
        """The argument at `index`, which must not be a list; "" when there is none."""
        word = self.words()[index : index + 1]
        return word[0] if word and isinstance(word[0], str) else ""


def words(text: str) -> list[Word]:
    open_lists: list[list[Word]] = [[]]
    for match in TOKEN.finditer(text):
        string, opens, closes, atom = match.groups()
        if opens:
            inner: list[Word] = []
            open_lists[-1].append(inner)
            open_lists.append(inner)
        elif closes:
            open_lists.pop()
        else:
            open_lists[-1].append(atom if atom is not None else re.sub(r"\\(.)", r"\1", string))
    return open_lists[0]


class Conversation:
    """One connection's state, and the honest answer to each command in it."""

    def __init__(self, account: Account, *, can_encrypt: bool) -> None:
        self.account = account
        self.can_encrypt = can_encrypt
        self.authenticated = False
        self.ended = False
        self.upgrade = False
        self.selected: Folder | None = None
        self.read_only = True

    def answer(self, command: Command) -> bytes:
        """The bytes to send; changes state as the command does."""
        verb = VERBS.get(command.name)
        if verb is None:
            return tagged(command, "BAD unknown command")
        if not self.authenticated and command.name not in BEFORE_LOGIN:
            return tagged(command, "BAD not before login")
        if self.selected is None and command.name in SELECTED_ONLY:
            return tagged(command, "BAD no folder selected")
        return verb(self, command)

    def capability(self) -> str:
        offered = self.account.capabilities + (self.account.late if self.authenticated else ())
        return " ".join(offered + (("STARTTLS",) if self.can_encrypt and not self.authenticated else ()))


Verb = Callable[[Conversation, Command], bytes]


def tagged(command: Command, text: str, *untagged: str) -> bytes:
    lines = [f"* {line}" for line in untagged] + [f"{command.tag} {text}"]
    return "".join(f"{line}\r\n" for line in lines).encode()


def greeting(talk: Conversation, command: Command) -> bytes:
    return f"* OK [CAPABILITY {talk.capability()}] ready\r\n".encode()


def capability(talk: Conversation, command: Command) -> bytes:
    return tagged(command, "OK done", f"CAPABILITY {talk.capability()}")


def login(talk: Conversation, command: Command) -> bytes:
    if command.words() != [talk.account.user, talk.account.password]:
        return tagged(command, "NO [AUTHENTICATIONFAILED] wrong user or password")
    talk.authenticated = True
    return tagged(command, f"OK [CAPABILITY {talk.capability()}] logged in")


def starttls(talk: Conversation, command: Command) -> bytes:
    if not talk.can_encrypt:
        return tagged(command, "BAD no TLS here")
    talk.can_encrypt, talk.upgrade = False, True
    return tagged(command, "OK go ahead")


def logout(talk: Conversation, command: Command) -> bytes:
    talk.ended = True
    return tagged(command, "OK done", "BYE good bye")


def nothing(talk: Conversation, command: Command) -> bytes:
    return tagged(command, "OK done")


def identify(talk: Conversation, command: Command) -> bytes:
    return tagged(command, "OK done", 'ID ("name" "scripted")')


def namespace(talk: Conversation, command: Command) -> bytes:
    return tagged(command, "OK done", 'NAMESPACE (("" "/")) NIL NIL')


def enable(talk: Conversation, command: Command) -> bytes:
    return tagged(command, "OK done", f"ENABLED {command.arguments}".strip())


def list_folders(talk: Conversation, command: Command) -> bytes:
    if not command.text(1):
        return tagged(command, "OK done", r'LIST (\Noselect) "/" ""')
    pattern = re.escape(command.text(0) + command.text(1)).replace(r"\*", ".*").replace("%", "[^/]*")
    lines: list[str] = []
    for folder in talk.account.folders.values():
        if re.fullmatch(pattern, modified_utf7(folder.name)):
            lines.append(f'LIST ({" ".join(folder.attributes)}) "/" {folder.wire}')
            lines += [status_line(folder, items) for items in wanted_status(command)]
    return tagged(command, "OK done", *lines)


def wanted_status(command: Command) -> Iterator[list[Word]]:
    """The items of LIST ... RETURN (STATUS (items)), if they were asked for."""
    options = command.words()[-1]
    if "RETURN" in command.words() and isinstance(options, list) and "STATUS" in options:
        items = options[options.index("STATUS") + 1]
        if isinstance(items, list):
            yield items


def status_line(folder: Folder, items: Sequence[Word]) -> str:
    values = folder.status()
    known = [str(item).upper() for item in items if str(item).upper() in values]
    return f"STATUS {folder.wire} ({' '.join(f'{item} {values[item]}' for item in known)})"


def status(talk: Conversation, command: Command) -> bytes:
    folder, items = talk.account.find(command.text(0)), command.words()[1]
    if folder is None or not isinstance(items, list):
        return tagged(command, "NO [NONEXISTENT] no such folder")
    return tagged(command, "OK done", status_line(folder, items))


def select(talk: Conversation, command: Command) -> bytes:
    talk.selected = folder = talk.account.find(command.text(0))
    talk.read_only = command.name == "EXAMINE"
    if folder is None:
        return tagged(command, "NO [NONEXISTENT] no such folder")
    codes = {"UIDNEXT": str(folder.uidnext), **folder.extra}
    if folder.uidvalidity is not None:
        codes["UIDVALIDITY"] = str(folder.uidvalidity)
    return tagged(
        command,
        "OK [READ-ONLY] done" if talk.read_only else "OK [READ-WRITE] done",
        f"{len(folder.mails)} EXISTS",
        "0 RECENT",
        r"FLAGS (\Answered \Flagged \Deleted \Seen \Draft)",
        *(f"OK [{name} {value}]" for name, value in codes.items()),
    )


def unselect(talk: Conversation, command: Command) -> bytes:
    talk.selected = None
    return tagged(command, "OK done")


def search(talk: Conversation, command: Command) -> bytes:
    keys = [word for word in command.words() if word not in ("UID", "ALL")]
    if not all(isinstance(key, str) and re.fullmatch(r"[\d:*,]+", key) for key in keys):
        return tagged(command, "BAD this server searches by ALL and UID sets only")
    found = [number for number, mail in meant(talk, ",".join(map(str, keys)) or "1:*", by_uid=True)]
    mails = talk.selected.mails if talk.selected else []
    numbers = [str(mails[number - 1].uid if command.name == "UID SEARCH" else number) for number in found]
    return tagged(command, "OK done", " ".join(["SEARCH", *numbers]))


def meant(talk: Conversation, ids: str, *, by_uid: bool) -> Iterator[tuple[int, Mail]]:
    """The (sequence number, message) pairs of a set; "*" is the highest, so "9:*" always has the last."""
    mails = talk.selected.mails if talk.selected else []
    highest = (mails[-1].uid if by_uid else len(mails)) if mails else 0
    spans: list[tuple[int, int]] = []
    for span in ids.split(","):
        ends = [highest if end == "*" else int(end) for end in span.split(":")]
        spans.append((min(ends), max(ends)))
    for number, mail in enumerate(mails, 1):
        if any(low <= (mail.uid if by_uid else number) <= high for low, high in spans):
            yield number, mail


def fetch(talk: Conversation, command: Command) -> bytes:
    asked = command.words()[1]
    items = [str(item).upper() for item in (asked if isinstance(asked, list) else [asked])]
    by_uid = command.name == "UID FETCH"
    if by_uid and "UID" not in items:
        items.insert(0, "UID")
    lines: list[bytes] = []
    for number, mail in meant(talk, command.text(0), by_uid=by_uid):
        if not talk.read_only and any(item.startswith("BODY[") for item in items):
            mail.flags = tuple(dict.fromkeys((*mail.flags, "\\Seen")))
        lines.append(b"* %d FETCH (%s)\r\n" % (number, b" ".join(fetch_item(mail, item) for item in items)))
    return b"".join(lines) + tagged(command, "OK done")


def fetch_item(mail: Mail, item: str) -> bytes:
    values = {
        "UID": str(mail.uid),
        "FLAGS": f"({' '.join(mail.flags)})",
        "INTERNALDATE": Time2Internaldate(mail.date),
        "RFC822.SIZE": str(len(mail.raw)),
        **mail.extra,
    }
    if item in values:
        return f"{item} {values[item]}".encode()
    body = re.fullmatch(r"BODY(?:\.PEEK)?\[(|HEADER|TEXT)\](?:<(\d+)\.(\d+)>)?", item)
    if body is None:
        return f"{item} NIL".encode()
    section, offset, length = body.groups()
    head, blank, text = mail.raw.partition(b"\r\n\r\n")
    part = {"": mail.raw, "HEADER": head + blank, "TEXT": text}[section]
    origin = ""
    if offset is not None:
        part, origin = part[int(offset) :][: int(length)], f"<{offset}>"
    return f"BODY[{section}]{origin} {{{len(part)}}}\r\n".encode() + part


def create(talk: Conversation, command: Command) -> bytes:
    if talk.account.find(command.text(0)):
        return tagged(command, "NO [ALREADYEXISTS] it is there")
    name = readable(command.text(0))
    talk.account.folders[name] = Folder(name)
    return tagged(command, "OK done")


def append(talk: Conversation, command: Command) -> bytes:
    folder, rest = talk.account.find(command.text(0)), command.words()[1:]
    if folder is None:
        return tagged(command, "NO [TRYCREATE] no such folder")
    uids = []
    for flags, date, raw in zip(rest[::3], rest[1::3], rest[2::3], strict=True):
        assert isinstance(flags, list) and isinstance(date, str) and isinstance(raw, str)
        received = datetime.strptime(date.strip(), "%d-%b-%Y %H:%M:%S %z")
        data = raw.encode("utf-8", "surrogateescape")
        uids.append(folder.add(data, flags=[str(flag) for flag in flags], date=received).uid)
    told = f"[APPENDUID {folder.uidvalidity} {','.join(map(str, uids))}] " * ("UIDPLUS" in talk.capability())
    return tagged(command, f"OK {told}done")


def store(talk: Conversation, command: Command) -> bytes:
    ids, how, flags = command.words()
    assert isinstance(ids, str) and isinstance(how, str) and isinstance(flags, list)
    for _, mail in meant(talk, ids, by_uid=True):
        rest = tuple(flag for flag in mail.flags if flag not in flags)
        mail.flags = rest if how.startswith("-") else (*rest, *map(str, flags))
    return tagged(command, "OK done")


def expunge(talk: Conversation, command: Command) -> bytes:
    ids = command.text(0) if command.name == "UID EXPUNGE" else "1:*"
    going = [mail for _, mail in meant(talk, ids, by_uid=True) if "\\Deleted" in mail.flags]
    lines = []
    for mail in going:
        assert talk.selected
        lines.append(f"{talk.selected.mails.index(mail) + 1} EXPUNGE")
        talk.selected.mails.remove(mail)
    return tagged(command, "OK done", *lines)


VERBS: dict[str, Verb] = {
    "GREETING": greeting,
    "CAPABILITY": capability,
    "LOGIN": login,
    "STARTTLS": starttls,
    "LOGOUT": logout,
    "NOOP": nothing,
    "CHECK": nothing,
    "ID": identify,
    "NAMESPACE": namespace,
    "ENABLE": enable,
    "LIST": list_folders,
    "STATUS": status,
    "SELECT": select,
    "EXAMINE": select,
    "CLOSE": unselect,
    "UNSELECT": unselect,
    "SEARCH": search,
    "UID SEARCH": search,
    "FETCH": fetch,
    "UID FETCH": fetch,
    "CREATE": create,
    "SUBSCRIBE": nothing,
    "APPEND": append,
    "UID STORE": store,
    "UID EXPUNGE": expunge,
    "EXPUNGE": expunge,
}
BEFORE_LOGIN = {"GREETING", "CAPABILITY", "LOGIN", "STARTTLS", "LOGOUT", "NOOP", "ID"}
SELECTED_ONLY = {"CHECK", "CLOSE", "UNSELECT", "SEARCH", "UID SEARCH", "FETCH", "UID FETCH"}
SELECTED_ONLY |= {"UID STORE", "UID EXPUNGE", "EXPUNGE"}
