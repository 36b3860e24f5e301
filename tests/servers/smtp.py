"""A real SMTP server (aiosmtpd) on a free loopback port: keeps what it took, fails where it is told to."""

from __future__ import annotations

import asyncio
import hmac
import re
import ssl
import threading
from base64 import b64decode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

HOST = "127.0.0.1"
DROP = "drop"  # cut the connection, no answer
STALL = "stall"  # keep it and say nothing


class Received(NamedTuple):
    """One message as it arrived, dot-stuffing undone."""

    mail_from: str
    rcpt_tos: tuple[str, ...]
    data: bytes


@dataclass(frozen=True)
class Script:
    """What goes wrong: a reply (`451 later`), DROP or STALL at a stage; None: nothing.

    banner, ehlo, starttls, auth, mail, data, quit: instead of the usual answer to that command. rcpt: by
    address. body: cut in the middle of the message (DROP or STALL only). dot: after the end of the message;
    a reply of 4xx or 5xx refuses it, with DROP and STALL it was taken. after: how many messages pass before
    all of that begins.
    """

    banner: str | None = None
    ehlo: str | None = None
    starttls: str | None = None
    auth: str | None = None
    mail: str | None = None
    rcpt: Mapping[str, str] = field(default_factory=dict)
    data: str | None = None
    body: str | None = None
    dot: str | None = None
    quit: str | None = None
    after: int = 0


def failing(stage: str, action: str) -> Script:
    """A script with one thing in it."""
    changes: dict[str, Any] = {stage: action}
    return replace(Script(), **changes)


@dataclass(frozen=True)
class Offer:
    """What the server can do.

    With a `user`, AUTH comes before MAIL; mechanisms: PLAIN, LOGIN, CRAM-MD5, OAUTHBEARER, XOAUTH2. The last
    two take each of `tokens`.
    """

    user: str | None = None
    password: str = ""
    mechanisms: Sequence[str] = ("PLAIN", "LOGIN")
    tokens: Sequence[str] = ()
    size: int | None = None
    eight_bit: bool = True
    utf8: bool = True
    dsn: bool = False
    starttls: bool = True


class Sink:
    """The running server; a context manager.

    security: none, starttls, tls; the last two need the server-side `context`. `messages` is what it took,
    `commands` every MAIL and RCPT argument as it came, `connections` how many there were.
    """

    def __init__(
        self,
        security: str = "none",
        context: ssl.SSLContext | None = None,
        offer: Offer | None = None,
        script: Script | None = None,
    ) -> None:
        self.security = security
        self.context = context
        self.offer = offer or Offer()
        self.script = script or Script()
        self.host, self.port = HOST, 0
        self.messages: list[Received] = []
        self.commands: list[str] = []
        self.mechanisms: list[str] = []
        self.after_refusal: list[bytes] = []
        self.connections = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="smtp-sink", daemon=True)

    def __enter__(self) -> Sink:
        self._thread.start()
        if not self._ready.wait(10):
            raise RuntimeError("the SMTP sink did not start")
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def play(self, **changes: Any) -> None:
        """Follow another script from now on."""
        self.script = replace(Script(), **changes)

    def stage(self, name: str) -> str | None:
        """What the script says for a stage, if its time has come."""
        action: str | None = getattr(self.script, name)
        return action if self.begun else None

    @property
    def begun(self) -> bool:
        return len(self.messages) >= self.script.after

    def _run(self) -> None:
        server = self._loop.run_until_complete(
            self._loop.create_server(
                lambda: _Connection(self), HOST, 0, ssl=self.context if self.security == "tls" else None
            )
        )
        self.port = server.sockets[0].getsockname()[1]
        self._loop.call_soon(self._ready.set)
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        # Last: a connection that is being accepted asserts that its server is open.
        server.close()
        self._loop.close()

    async def _end(self) -> None:
        """Let the clients' leaving be noticed, in a TLS handshake too; then cut who is still there."""
        transports = vars(self._loop)["_transports"]
        until = self._loop.time() + 2
        await asyncio.sleep(0)
        while len(asyncio.all_tasks()) > 1 and self._loop.time() < until:
            await asyncio.sleep(0.002)
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for transport in tuple(transports.values()):
            transport.abort()
        # They close in a later turn of the loop, encrypted ones in the one after that.
        for _ in range(5):
            await asyncio.sleep(0)


class _Handler:
    """Keeps messages; answers for the stages that aiosmtpd has hooks for."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        action = self.sink.stage("dot")
        if action in (None, DROP, STALL):
            recipients = tuple(envelope.rcpt_tos)
            self.sink.messages.append(Received(envelope.mail_from, recipients, bytes(envelope.content)))
        if action is not None:
            return str(await server.act(action) or action)
        return "250 2.0.0 taken"

    async def handle_EHLO(
        self, server: Any, session: Any, envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        kept = [line for line in responses if self.sink.offer.eight_bit or "8BITMIME" not in line]
        return [kept[0], "250-DSN", *kept[1:]] if self.sink.offer.dsn else kept

    async def auth_CRAM__MD5(self, server: Any, args: list[str]) -> AuthResult:
        challenge = b"<1896.697170952@example.org>"
        answer = await server.challenge_auth(challenge)
        user, _, digest = answer.decode().rpartition(" ")
        expected = hmac.new(self.sink.offer.password.encode(), challenge, "md5").hexdigest()
        return AuthResult(success=(user, digest) == (self.sink.offer.user, expected), handled=False)

    async def auth_XOAUTH2(self, server: Any, args: list[str]) -> AuthResult:
        return await self.bearer(server, args, f"user={self.sink.offer.user}\1auth=Bearer ")

    async def auth_OAUTHBEARER(self, server: Any, args: list[str]) -> AuthResult:
        place = f"host={self.sink.host}\1port={self.sink.port}"
        return await self.bearer(server, args, f"n,a={self.sink.offer.user},\1{place}\1auth=Bearer ")

    async def bearer(self, server: Any, args: list[str], before: str) -> AuthResult:
        said = b64decode(args[1]).decode()
        if said in {f"{before}{token}\1\1" for token in self.sink.offer.tokens}:
            return AuthResult(success=True, handled=False)
        self.sink.after_refusal.append(await server.challenge_auth(b'{"status": "invalid_token"}'))
        return AuthResult(success=False, handled=False)


class _Connection(SMTP):
    """One connection, following the sink's script."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink
        self.greeted = False
        sink.connections += 1
        offer = sink.offer
        known = {"PLAIN", "LOGIN", "CRAM-MD5", "OAUTHBEARER", "XOAUTH2"}
        super().__init__(
            _Handler(sink),
            loop=sink._loop,
            hostname="sink.example.org",
            data_size_limit=offer.size,
            enable_SMTPUTF8=offer.utf8,
            tls_context=sink.context if sink.security == "starttls" and offer.starttls else None,
            auth_require_tls=False,
            auth_exclude_mechanism=known - set(offer.mechanisms if offer.user else ()),
            authenticator=self.authenticate,
        )

    def authenticate(self, server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        expected = ((self.sink.offer.user or "").encode(), self.sink.offer.password.encode())
        return AuthResult(success=(data.login, data.password) == expected, handled=False)

    async def act(self, action: str) -> str | None:
        """Drop or stall; or give back the reply to say instead."""
        if action == DROP:
            assert isinstance(self.transport, asyncio.Transport)
            self.transport.abort()
            await asyncio.sleep(3600)
        if action == STALL:
            await asyncio.sleep(3600)
        return action

    async def scripted(self, stage: str) -> bool:
        """Whether the script had something to say, and it is said."""
        action = self.sink.stage(stage)
        if action is None:
            return False
        await self.push(await self.act(action))
        return True

    async def push(self, status: Any) -> None:
        if not self.greeted:
            self.greeted = True
            if await self.scripted("banner"):
                return
        await super().push(status)

    async def smtp_EHLO(self, hostname: str) -> None:
        if not await self.scripted("ehlo"):
            await super().smtp_EHLO(hostname)

    async def smtp_STARTTLS(self, arg: str) -> None:
        if not await self.scripted("starttls"):
            await super().smtp_STARTTLS(arg)

    async def smtp_AUTH(self, arg: str) -> None:
        self.sink.mechanisms.append(arg.partition(" ")[0])
        if not await self.scripted("auth"):
            await super().smtp_AUTH(arg)

    async def smtp_MAIL(self, arg: str | None) -> None:
        self.sink.commands.append(arg or "")
        if await self.scripted("mail"):
            return
        if self.sink.offer.user and not (self.session and self.session.authenticated):
            await self.push("530 5.7.0 Authentication required")
            return
        await super().smtp_MAIL(self.without_wishes(arg))

    async def smtp_RCPT(self, arg: str | None) -> None:
        self.sink.commands.append(arg or "")
        address = (arg or "").partition("<")[2].partition(">")[0]
        action = self.sink.script.rcpt.get(address) if self.sink.begun else None
        if action is None:
            await super().smtp_RCPT(self.without_wishes(arg))
        else:
            await self.push(await self.act(action))

    def without_wishes(self, arg: str | None) -> str:
        """The argument without the options of RFC 3461, which aiosmtpd does not know."""
        return re.sub(r" (RET|ENVID|NOTIFY)=\S+", "", arg or "") if self.sink.offer.dsn else arg or ""

    async def smtp_DATA(self, arg: str) -> None:
        if await self.scripted("data"):
            return
        body = self.sink.stage("body")
        if body is not None:
            await self.push("354 go on")
            await self._reader.read(10)
            await self.act(body)
        await super().smtp_DATA(arg)

    async def smtp_QUIT(self, arg: str) -> None:
        if not await self.scripted("quit"):
            await super().smtp_QUIT(arg)
