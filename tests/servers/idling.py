"""Scripted servers that push: IDLE (RFC 2177) and NOTIFY (RFC 5465), one line at a time, as a test says.

idling = Idling(server)                      # before a client comes
idling.wait_for(1)                           # a client listens
idling.say("* 2 EXISTS")                     # to all who listen
"""

from __future__ import annotations

import socket
import threading

from tests.servers.honest import Command
from tests.servers.scripted import ScriptedServer, Session


class Idling:
    """Makes a scripted server one that offers `capability`, IDLE or NOTIFY, and keeps who listens."""

    def __init__(self, server: ScriptedServer, capability: str = "IDLE", *, ends: bool = True) -> None:
        """Without `ends`, DONE and NOOP are never answered."""
        self._listeners: dict[int, Session] = {}
        self._tags: dict[int, str] = {}
        self._changed = threading.Condition()
        self.begun = 0
        server.account.late += (capability,)
        server.on(capability, self._begin)
        if capability == "IDLE":
            server.on("", self._end if ends else silence)  # DONE has no tag, and so no name
        elif not ends:
            server.on("NOOP", silence)

    def say(self, *lines: str, raw: bytes = b"") -> None:
        """Send these lines, and then these bytes, to everybody who listens."""
        with self._changed:
            for session in self._listeners.values():
                session.send("".join(f"{line}\r\n" for line in lines).encode() + raw)

    def hang_up(self) -> None:
        """Close the connection of everybody who listens."""
        with self._changed:
            for session in self._listeners.values():
                session.connection.shutdown(socket.SHUT_RDWR)
            self._listeners.clear()

    def wait_for(self, times: int, seconds: float = 10) -> None:
        """Wait until so many times somebody began to listen."""
        with self._changed:
            assert self._changed.wait_for(lambda: self.begun >= times, seconds), f"{self.begun} times only"

    def _begin(self, session: Session, command: Command) -> bytes:
        with self._changed:
            self._listeners[session.number] = session
            self._tags[session.number] = command.tag
            self.begun += 1
            self._changed.notify_all()
            # Within the lock, so that nothing is said before.
            session.send(b"+ idling\r\n" if command.name == "IDLE" else f"{command.tag} OK done\r\n".encode())
        return b""

    def _end(self, session: Session, command: Command) -> bytes:
        with self._changed:
            self._listeners.pop(session.number, None)
        return f"{self._tags[session.number]} OK done\r\n".encode()


def silence(session: Session, command: Command) -> bytes:
    return b""
