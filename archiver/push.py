"""What push adds to a schedule: a thread for each account that listens, and a count of what it asked for.

What to pull is said by `archiver.watch`; when to, and the pulling, is `archiver.schedule`'s.
"""

from __future__ import annotations

import functools
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping

from archiver.archive import Archive
from archiver.archive.reports import Watching
from archiver.archive.status import note_watching
from archiver.config import Account
from archiver.errors import ArchiverError
from archiver.watch import Pull, State

# How long the end of all listeners may take: one that a server keeps waiting is left behind (seconds).
_PARTING = 1.0


class Demand:
    """What the pulls of one account still have to do: never two at once, and no word lost.

    Who asks during a pull is not sure to be in it, so another follows. Safe to use from any thread.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._folders: set[str] = set()
        self._all = False
        self._arranged = False
        self._running = False

    def ask(self, folders: tuple[str, ...] = ()) -> bool:
        """Want these folders pulled, or all; True when the caller has to see to it that `begin` is called."""
        with self._lock:
            self._folders.update(folders)
            self._all |= not folders
            return self._arrange()

    def begin(self) -> tuple[str, ...] | None:
        """Pull now: which folders, () being all; None when there is nothing to do for the caller.

        After anything but None, `end` must follow.
        """
        with self._lock:
            self._arranged = False
            if self._running or not self._wanted():
                return None
            folders = () if self._all else tuple(sorted(self._folders))
            self._folders, self._all, self._running = set(), False, True
            return folders

    def end(self) -> bool:
        """The pull is over, however it went; True as of `ask`."""
        with self._lock:
            self._running = False
            return self._wanted() and self._arrange()

    def _wanted(self) -> bool:
        return self._all or bool(self._folders)

    def _arrange(self) -> bool:
        if self._arranged or self._running:
            return False
        self._arranged = True
        return True


class Listener:
    """A thread that follows a watch, until `stop`; after that it says nothing more.

    `pull` gets the folders of each Pull, `state` each State, `crashed` an exception nobody expected.
    """

    def __init__(
        self,
        watch: Callable[[int], Iterator[Pull | State]],
        pull: Callable[[tuple[str, ...]], None],
        state: Callable[[State], None],
        crashed: Callable[[BaseException], None],
    ) -> None:
        self._watch = watch
        self._pull = pull
        self._state = state
        self._crashed = crashed
        self._lock = threading.Lock()
        self._stopped = self._over = False
        self._wake, self._awake = os.pipe()
        # It writes nothing, and where a server keeps it waiting nobody should wait for it: a daemon.
        self._thread = threading.Thread(target=self._run, name="listener", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """End soon, and say nothing from here on; does not wait for the end."""
        with self._lock:
            self._stopped = True
            if not self._over:
                os.write(self._awake, b".")

    def join(self, seconds: float) -> None:
        """Wait for the end, not longer than this."""
        self._thread.join(seconds)

    def _run(self) -> None:
        try:
            for event in self._watch(self._wake):
                with self._lock:
                    if not self._stopped:
                        self._tell(event)
        # The end of a thread: above is nobody who would say it.
        except BaseException as exc:
            with self._lock:
                if not self._stopped:
                    self._crashed(exc)
        finally:
            with self._lock:
                self._over = True
                os.close(self._wake)
                os.close(self._awake)

    def _tell(self, event: Pull | State) -> None:
        if isinstance(event, Pull):
            self._pull(event.folders)
        else:
            self._state(event)


class Listeners:
    """The listeners of an archive's accounts, and what each does, written down for `archiver status`.

    `pull` gets an account's name and the folders to pull; it and `log` are called from their threads.
    """

    def __init__(
        self,
        root: str,
        pull: Callable[[str, tuple[str, ...]], None],
        log: Callable[[str], None],
        crashed: Callable[[str, BaseException], None],
    ) -> None:
        self._root = root
        self._pull = pull
        self._log = log
        self._crashed = crashed
        self._lock = threading.Lock()
        self._listeners: dict[str, Listener] = {}
        self._states: dict[str, Watching] = {}
        self._taken: dict[str, int] = {}

    def follow(self, archive: Archive, before: Mapping[str, Account]) -> None:
        """Listen for the accounts that want push; a listener whose account is as `before` goes on."""
        accounts = {n: a for n, a in archive.config.accounts.items() if a.schedule and a.schedule.push}
        for name in [name for name in self._listeners if accounts.get(name) != before.get(name)]:
            self._listeners.pop(name).stop()
            with self._lock:
                del self._states[name], self._taken[name]
        for name in sorted(accounts.keys() - self._listeners.keys()):
            self._state(name, State("connecting", accounts[name].imap.connections - 1))
            self._listeners[name] = Listener(
                functools.partial(archive.watch, name),
                functools.partial(self._pull, name),
                functools.partial(self._state, name),
                functools.partial(self._ended, name),
            )
            self._listeners[name].start()
        self._note()

    def taken(self, name: str) -> int:
        """How many of an account's connections are in use for it."""
        return self._taken.get(name, 0)

    def stop(self) -> None:
        """End all of them."""
        for listener in self._listeners.values():
            listener.stop()
        until = time.monotonic() + _PARTING
        for listener in self._listeners.values():
            listener.join(until - time.monotonic())
        with self._lock:
            self._states.clear()
        self._note()

    def _state(self, name: str, state: State) -> None:
        with self._lock:
            before = self._states.get(name)
            # Not to be listening is one state, however often it was tried.
            still = before is not None and not state.connections and not self._taken[name]
            since = before.since if before is not None and still else time.time()
            self._states[name] = Watching(state.text, since)
            self._taken[name] = state.connections
        if before is not None and state.text != before.text:
            self._log(f"{name}: {state.text}")
        self._note()

    def _ended(self, name: str, exc: BaseException) -> None:
        self._crashed(name, exc)
        self._state(name, State(f"polling: internal error ({type(exc).__name__})"))

    def _note(self) -> None:
        try:
            with self._lock:
                note_watching(self._root, self._states)
        except ArchiverError as exc:
            self._log(f"what is listened to cannot be noted: {exc.message}")
