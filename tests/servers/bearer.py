"""The scripted server's answer to AUTHENTICATE: lets in who shows a good token (RFC 7628, XOAUTH2).

gate = Gate({"good-token"})
server.on("AUTHENTICATE", gate)
assert gate.heard == [Attempt("XOAUTH2", b"user=...", ...)]
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field

from tests.servers.honest import Command
from tests.servers.scripted import Session, reply

DETAILS = {"status": "invalid_token", "scope": "https://mail.example.org/", "schemes": "bearer"}


@dataclass(frozen=True)
class Attempt:
    """One AUTHENTICATE: what the client said, decoded; its answer to the challenge of a refusal, as sent."""

    mechanism: str
    said: bytes
    at_once: bool
    after_refusal: bytes | None = None


@dataclass
class Gate:
    """An action for AUTHENTICATE. `good` may change while it serves; the refused hear `challenge` first."""

    good: set[str]
    challenge: bytes = base64.b64encode(json.dumps(DETAILS).encode())
    refusal: str = "{tag} NO [AUTHENTICATIONFAILED] Invalid credentials"
    heard: list[Attempt] = field(default_factory=list)

    def __call__(self, session: Session, command: Command) -> bytes:
        mechanism, _, initial = command.arguments.partition(" ")
        line = initial.encode() or session.ask(b"")
        said = base64.b64decode(line, validate=True)
        token = re.search(rb"auth=Bearer ([^\x01]*)\x01\x01\Z", said)
        word = token[1] if token else said.rpartition(b"\0")[2]
        if word.decode() in self.good:
            self.heard.append(Attempt(mechanism, said, bool(initial)))
            session.talk.authenticated = True
            return f"{command.tag} OK [CAPABILITY {session.talk.capability()}] come in\r\n".encode()
        after = session.ask(self.challenge) if token else None
        self.heard.append(Attempt(mechanism, said, bool(initial), after))
        return reply(self.refusal)(session, command)
