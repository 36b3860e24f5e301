"""Which folders of an account to pull now, as its server says: by NOTIFY, by IDLE, or not at all.

Holds connections for it, never the one that pulls; pulls nothing itself. What it loses sight of for a
moment it makes up for: after each connecting it asks for everything once.
"""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack

import msgspec

from archiver.config.structs import PERSONAL, Namespace
from archiver.errors import ArchiverError, CredentialError, FolderError, LoginError, ServerError
from archiver.imap import Connection, Mailbox, Status
from archiver.imap.idle import RENEW, Heard, Listening, wait

# Flags and deletions come in series, one message after the other: seconds until they are told.
_SETTLE = 5.0
# A machine that slept has not noticed: so often (seconds) the clock on the wall is compared with ours.
_LOOK = 15.0
_SLEPT = 30.0
# After so long without an error the ones before it are forgotten.
_STEADY = 60.0
_FIRST_PAUSE, _LAST_PAUSE = 2.0, 300.0
# Perhaps it is the number of connections that a server puts an end to.
_TOO_MANY = 3
# What waiting does not mend (a password, a certificate) is tried less often; a token may have expired, once.
_HOPELESS_PAUSE = 900.0
# A server that would not listen to so many folders will not listen to the next.
_REFUSALS = 2
# How soon a server that offers nothing is asked again what it offers.
_ASK_AGAIN = 86400.0
# Where one connection can listen to one folder only: the first of these is the one to listen to.
_RANK = ("\\all", "", "\\archive", "\\important", "\\sent", "\\flagged", "\\drafts", "\\trash", "\\junk")

Connect = Callable[[], AbstractContextManager[Connection]]
Choose = Callable[[Sequence[Mailbox]], Sequence[Mailbox]]


class Pull(msgspec.Struct, frozen=True):
    """Something happened in these folders (readable names); in any of the account when there are none."""

    folders: tuple[str, ...] = ()


class State(msgspec.Struct, frozen=True):
    """What is being done from now on, for people, and how many connections that may take."""

    text: str
    connections: int = 0


def pause(failures: int, error: ArchiverError) -> float:
    """Seconds before connecting again after so many failures in a row (1 or more), jitter included.

    Never sooner than the server suggested.
    """
    seconds = min(_FIRST_PAUSE * 2.0 ** min(failures - 1, 10), _LAST_PAUSE)
    refused = isinstance(error, LoginError) and failures > 1
    if refused or not (error.transient or isinstance(error, LoginError | CredentialError)):
        seconds = max(seconds, _HOPELESS_PAUSE)
    return max(seconds * random.uniform(0.75, 1.25), getattr(error, "wait", None) or 0.0)


def watch(
    connect: Connect,
    choose: Choose,
    wake: int,
    *,
    lines: int = 1,
    renew: float = RENEW,
    pause: Callable[[int, ArchiverError], float] = pause,
    wall: Callable[[], float] = time.time,
    namespaces: Collection[Namespace] = PERSONAL,
) -> Iterator[Pull | State]:
    """Until the descriptor `wake` is readable: what to pull, and what is being done to know that.

    `connect` makes a logged-in connection, `choose` the folders of these namespaces that count. Up to
    `lines` connections are held: NOTIFY needs one, with IDLE each listens to a folder of its own; the other
    folders are nobody's business here. Errors of the server are States; it is connected to again after
    `pause(failures, error)` seconds.
    """
    if lines < 1:
        yield State("polling: to listen takes a second connection, and only one is allowed")
        wait([], float("inf"), wake)
        return
    clock = _Clock(wall)
    failures = 0
    yield State("connecting", lines)
    while True:
        begun = time.monotonic()
        try:
            with ExitStack() as lasting:
                post = _Post(choose, lines if failures < _TOO_MANY else 1, renew)
                post.take_up(connect, lasting, namespaces)
                yield State(post.state, len(post.listening))
                if post.listening:
                    yield Pull()
                    yield from _listen(post, wake, clock)
                    return
            failures, seconds = 0, _ASK_AGAIN
        except ArchiverError as exc:
            failures = 1 if time.monotonic() - begun > _STEADY else failures + 1
            seconds = pause(failures, exc)
            yield State(f"connecting again in {seconds:.0f} s: {exc.message}")
        if not _sleep(seconds, wake, clock):
            return


class _Post:
    """What is listened to, over which connections, and how to say so."""

    def __init__(self, choose: Choose, lines: int, renew: float) -> None:
        self._choose = choose
        self._lines = lines
        self._renew = renew
        self.listening: list[Listening] = []
        self.names: dict[str, str] = {}
        self._known: set[str] = set()
        self.state = "polling: the server offers neither IDLE nor NOTIFY"

    def take_up(self, connect: Connect, lasting: ExitStack, namespaces: Collection[Namespace]) -> None:
        """Listen to what can be listened to; connections are closed by `lasting`."""
        connection = lasting.enter_context(connect())
        chosen = self._meet(connection.list_folders(namespaces))
        # NOTIFY hears of the personal namespace only.
        foreign = sum(mailbox.namespace != "personal" for mailbox in chosen)
        if (
            connection.has("NOTIFY")
            and (len(chosen) > foreign or not chosen)
            and self._notify(connection, foreign)
        ):
            return
        if connection.has("IDLE"):
            if not chosen:
                self.state = "polling: no folder is chosen"
            if len(chosen) > self._lines:
                chosen = _by_interest(chosen, connection)
            self._idle(connection, chosen, connect, lasting)

    def _notify(self, connection: Connection, foreign: int) -> bool:
        try:
            self.listening = [connection.notify(self._renew)]
        except FolderError:
            return False  # it was offered, and is not to be had: IDLE then
        rest = f"; polling {_folders(foreign)}" if foreign else ""
        self.state = f"NOTIFY on {_folders(len(self.names) - foreign)}{rest}"
        return True

    def _idle(
        self, connection: Connection, chosen: Sequence[Mailbox], connect: Connect, lasting: ExitStack
    ) -> None:
        free: Connection | None = connection
        heard_of: list[str] = []
        for mailbox in chosen[: self._lines + _REFUSALS]:
            if len(self.listening) == self._lines:
                break
            try:
                free = free or lasting.enter_context(connect())
                self.listening.append(free.idle(mailbox, self._renew))
            except FolderError as exc:
                self.state = f"polling: {exc.message}"
                continue
            except ServerError:
                if not self.listening:
                    raise
                break  # it wants no more connections than these
            heard_of.append(mailbox.name)
            free = None
        if self.listening:
            rest = len(chosen) - len(heard_of)
            self.state = f"IDLE on {', '.join(heard_of)}{f'; polling {_folders(rest)}' if rest else ''}"

    def folder(self, heard: Heard) -> str | None:
        """The readable name of the folder that changed; "" for any, None for one that does not count."""
        if heard.mailbox is not None:
            self._meet([heard.mailbox])
        raw = _same(heard.raw or "")
        return self.names.get(raw, None if raw in self._known else "")

    def _meet(self, mailboxes: Sequence[Mailbox]) -> list[Mailbox]:
        """Know mailboxes, and tell those that count."""
        chosen = list(self._choose(mailboxes))
        self._known |= {_same(mailbox.raw) for mailbox in mailboxes}
        self.names.update((_same(mailbox.raw), mailbox.name) for mailbox in chosen)
        return chosen


def _listen(post: _Post, wake: int, clock: _Clock) -> Iterator[Pull]:
    """What changes, soon: new messages at once, the rest when it has settled."""
    names: set[str] = set()
    due = float("inf")
    while wait(post.listening, min(_LOOK, due - time.monotonic()), wake):
        slept = clock.jumped()
        for each in post.listening:
            if slept:
                each.check()
            for heard in each.heard():
                if (name := post.folder(heard)) is not None:
                    names.add(name)
                    due = min(due, time.monotonic() + (0 if heard.arrived else _SETTLE))
        if time.monotonic() >= due:
            yield Pull(() if "" in names else tuple(sorted(names)))
            names, due = set(), float("inf")
    for each in post.listening:
        each.end()


class _Clock:
    """Finds out whether the machine slept: our clock stood still then, the one on the wall did not."""

    def __init__(self, wall: Callable[[], float]) -> None:
        self._wall = wall
        self._ahead = self._difference()

    def _difference(self) -> float:
        return self._wall() - time.monotonic()

    def jumped(self) -> bool:
        """Whether it did since the last time that was asked."""
        before, self._ahead = self._ahead, self._difference()
        return abs(self._ahead - before) > _SLEPT


def _sleep(seconds: float, wake: int, clock: _Clock) -> bool:
    """So long, or shorter when the machine slept meanwhile; False when `wake` is readable."""
    until = time.monotonic() + seconds
    poll = select.poll()
    poll.register(wake, select.POLLIN)
    while (left := until - time.monotonic()) > 0 and not clock.jumped():
        if poll.poll(min(left, _LOOK) * 1000):
            return False
    return True


def _by_interest(mailboxes: Sequence[Mailbox], connection: Connection) -> list[Mailbox]:
    """INBOX first, then those that got the most messages so far; copies, junk and the like last."""
    statuses = connection.status(mailboxes)

    def rank(mailbox: Mailbox) -> tuple[bool, int, int]:
        uses = [_RANK.index(use.lower()) for use in mailbox.special if use.lower() in _RANK]
        status = statuses[mailbox.raw]
        uidnext = status.uidnext if isinstance(status, Status) else None
        return mailbox.name != "INBOX", min(uses, default=_RANK.index("")), -(uidnext or 0)

    return sorted(mailboxes, key=rank)


def _same(raw: str) -> str:
    """A raw name to compare by: INBOX in any case is one (RFC 9051, 5.1)."""
    return "INBOX" if raw.upper() == "INBOX" else raw


def _folders(count: int) -> str:
    return f"{count} folder{'' if count == 1 else 's'}"
