r"""Gmail, as far as it is not like other servers: a label is a folder, and All Mail has everything again.

    gmail = Gmail(server)                                      # a scripted server, not connected to yet
    one = gmail.deliver(b"Subject: hello\r\n\r\n", "\\Inbox", "Büro")
    ...
    assert gmail.downloads() == {one: 1}

Speaks X-GM-EXT-1; folders have the names a German user sees, in modified UTF-7.
"""

from __future__ import annotations

from collections import Counter

from tests.servers.dovecot import modified_utf7
from tests.servers.honest import Command, Folder, Mail
from tests.servers.scripted import ScriptedServer

ALL = "[Gmail]/Alle Nachrichten"
SYSTEM = {"\\Inbox": "INBOX", "\\Sent": "[Gmail]/Gesendet", "\\Starred": "[Gmail]/Markiert"}
SPECIAL = {
    "[Gmail]": "\\Noselect",
    ALL: "\\All",
    "[Gmail]/Entwürfe": "\\Drafts",
    "[Gmail]/Gesendet": "\\Sent",
    "[Gmail]/Markiert": "\\Flagged",
    "[Gmail]/Papierkorb": "\\Trash",
    "[Gmail]/Spam": "\\Junk",
}


class Gmail:
    """Turns a scripted server into Gmail; `condstore`: whether it tells mod-sequences."""

    def __init__(self, server: ScriptedServer, *, condstore: bool = True) -> None:
        self.server = server
        self.modseq = 100
        late = ("X-GM-EXT-1", "SPECIAL-USE", "UIDPLUS", *(["CONDSTORE"] if condstore else []))
        server.account.late = (*server.account.late, *late)
        self._condstore = condstore
        self._messages = 0
        for name, attribute in SPECIAL.items():
            server.folder(name).attributes = ("\\HasNoChildren", attribute)
        self._change()

    def deliver(self, raw: bytes, *labels: str, flags: tuple[str, ...] = ()) -> str:
        """A new message in All Mail and in the folder of each label; its X-GM-MSGID."""
        self._messages += 1
        msgid = str(1278455344230334865 + self._messages)
        for name in (ALL, *labels):
            if name != "\\Important":  # which has no folder that is shown
                self._add(SYSTEM.get(name, name), raw, msgid, labels, flags)
        self._change()
        return msgid

    def label(self, msgid: str, *labels: str) -> None:
        """Give a message these labels and no others; its folders follow."""
        copies = self._copies(msgid)
        (everything,) = (mail for folder, mail in copies if folder.name == ALL)
        wanted = {ALL, *(SYSTEM.get(label, label) for label in labels if label != "\\Important")}
        for folder, mail in copies:
            if folder.name in wanted:
                mail.extra["X-GM-LABELS"] = _wire(labels, folder.name)
            else:
                folder.mails.remove(mail)
        for name in wanted - {folder.name for folder, _ in copies}:
            self._add(name, everything.raw, msgid, labels, everything.flags)
        self._change()

    def _add(
        self, name: str, raw: bytes, msgid: str, labels: tuple[str, ...], flags: tuple[str, ...]
    ) -> None:
        extra = {"X-GM-MSGID": msgid, "X-GM-LABELS": _wire(labels, name)}
        self.server.folder(name).add(raw, flags=flags, extra=extra)

    def _copies(self, msgid: str) -> list[tuple[Folder, Mail]]:
        folders = self.server.account.folders.values()
        return [(f, mail) for f in folders for mail in f.mails if mail.extra["X-GM-MSGID"] == msgid]

    def _change(self) -> None:
        self.modseq += 1
        for folder in self.server.account.folders.values() if self._condstore else ():
            folder.extra["HIGHESTMODSEQ"] = str(self.modseq)

    def messages(self) -> dict[tuple[str, int], bytes]:
        """(folder, UID) -> bytes of everything there is, once for each label."""
        folders = self.server.account.folders.values()
        return {(folder.name, mail.uid): mail.raw for folder in folders for mail in folder.mails}

    def downloads(self) -> Counter[str]:
        """How often the content of each X-GM-MSGID was asked for."""
        found: Counter[str] = Counter()
        examined: dict[int, str] = {}
        for command in self.server.commands:
            if command.name == "EXAMINE":
                examined[command.connection] = command.text(0)
            elif command.name == "UID FETCH" and "BODY" in command.arguments:
                folder = self.server.account.find(examined[command.connection])
                assert folder is not None
                found.update(m.extra["X-GM-MSGID"] for m in folder.mails if _names(command, m.uid))
        return found


def _names(command: Command, uid: int) -> bool:
    spans = [part.split(":") for part in command.text(0).split(",")]
    return any(int(span[0]) <= uid <= int(span[-1]) for span in spans)


def _wire(labels: tuple[str, ...], folder: str) -> str:
    """Labels as they are sent; in a label's own folder it is left out."""
    shown = [label for label in labels if SYSTEM.get(label, label) != folder]
    quoted = (modified_utf7(label).replace("\\", "\\\\").replace('"', '\\"') for label in shown)
    return "(" + " ".join(f'"{label}"' for label in quoted) + ")"
