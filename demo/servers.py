"""Two real servers on loopback in a thread of this process: IMAP (pymap) and SMTP (aiosmtpd).

The IMAP server holds the samples in memory. UIDVALIDITY, UIDs, MAILBOXID and EMAILID follow from the
samples, so that a restarted server is the same mailbox to a client. What clients change is forgotten
at the end; the UIDs that a run gives out begin at its own thousand, so that none is used twice.

The SMTP server wants AUTH, keeps what arrives, and delivers mail for the mailbox's owner to INBOX.
It refuses the recipient nobody@, to show what a refusal looks like. Nothing leaves this machine.

Neither speaks TLS: a certificate would need a further dependency, and both listen on 127.0.0.1 only.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import threading
import zlib
from argparse import Namespace
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from proxyprotocol.reader import ProxyProtocolReader
from pymap.backend.dict import Config, Login
from pymap.backend.dict.filter import FilterSet
from pymap.backend.dict.mailbox import MailboxData, MailboxSet
from pymap.concurrent import Subsystem
from pymap.imap import IMAPServer
from pymap.parsing.message import AppendMessage
from pymap.parsing.specials import ObjectId
from pymap.parsing.specials.flag import Flag
from pymap.user import UserMetadata
from pysasl.hashing import Cleartext

from demo.compose import OWNER
from demo.samples import Sample, folders

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Credentials:
    """What both servers ask for."""

    user: str
    password: str


@dataclass(frozen=True)
class Arrival:
    """A message that the SMTP server took; `content` as it came, CRLF and all."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes


class Servers:
    """Both servers, from `with` to its end; OSError from `with` when a port is taken.

    Port 0 means any free one; `imap_port` and `smtp_port` then hold what was chosen. `arrived` grows while
    they run; `on_arrival` is called in the servers' thread. `generation` counts the runs on the same mailbox.
    """

    def __init__(
        self,
        samples: Iterable[Sample],
        credentials: Credentials,
        imap_port: int = 0,
        smtp_port: int = 0,
        generation: int = 0,
        on_arrival: Callable[[Arrival], None] | None = None,
    ) -> None:
        self.imap_port = imap_port
        self.smtp_port = smtp_port
        self.arrived: list[Arrival] = []
        self._samples = tuple(samples)
        self._credentials = credentials
        self._generation = generation
        self._on_arrival = on_arrival

    def __enter__(self) -> Servers:
        with ExitStack() as stack:
            loop = stack.enter_context(_loop_in_a_thread())
            _in(loop, self._start(stack))
            self._running = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    async def _start(self, stack: ExitStack) -> None:
        loop = asyncio.get_running_loop()
        mailboxes = await _load(self._samples, 1000 * (self._generation + 1))
        imap = await _start_imap(mailboxes, self._credentials, self.imap_port)
        stack.callback(lambda: _in(loop, _close(imap)))
        sink = _Sink(self._credentials, self._took, await mailboxes.get_mailbox("INBOX"))
        smtp = await _start_smtp(sink, self.smtp_port)
        stack.callback(lambda: _in(loop, _close(smtp)))
        self.imap_port, self.smtp_port = _port(imap), _port(smtp)

    def _took(self, arrival: Arrival) -> None:
        self.arrived.append(arrival)
        if self._on_arrival:
            self._on_arrival(arrival)


@contextmanager
def _loop_in_a_thread() -> Iterator[asyncio.AbstractEventLoop]:
    """An event loop that runs until the end of `with`."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="demo servers", daemon=True)
    thread.start()
    try:
        yield loop
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


def _in(loop: asyncio.AbstractEventLoop, work: Coroutine[None, None, None]) -> None:
    """Do this work in the loop's thread and wait for its end."""
    asyncio.run_coroutine_threadsafe(work, loop).result()


async def _close(server: asyncio.Server) -> None:
    """Take no more connections, and end those there are; they say so to their clients first."""
    server.close()
    connections = asyncio.all_tasks() - {asyncio.current_task()}
    for task in connections:
        task.cancel()
    await asyncio.gather(*connections, return_exceptions=True)
    with suppress(TimeoutError):
        await asyncio.wait_for(server.wait_closed(), 2)
    await asyncio.sleep(0)  # transports close their sockets in the loop's next round


def _port(server: asyncio.Server) -> int:
    port: int = server.sockets[0].getsockname()[1]
    return port


class _ImapConfig(Config):
    """pymap's settings, without its look-up of this machine's name, which can take seconds."""

    @property
    def greeting(self) -> bytes:
        return b"Sample mailbox ready"

    @property
    def id_response(self) -> Mapping[bytes, bytes]:
        return {b"name": b"pymap, with the sample mailbox"}


async def _start_imap(mailboxes: MailboxSet, credentials: Credentials, port: int) -> asyncio.Server:
    config = _ImapConfig(
        Namespace(passlib_cfg=None, proxy_protocol=None),
        host=HOST,
        port=port,
        tls_enabled=False,
        demo_data=False,
        demo_user=credentials.user,
        demo_password=credentials.password,
        hash_context=Cleartext(),
        cpu_subsystem=Subsystem.for_asyncio(),
        invalid_user_sleep=0,
    )
    config.apply_context()
    login = Login(config)
    user = UserMetadata(config, credentials.user, password=credentials.password)
    await login.demo_user_identity.set(user)
    config.set_cache[credentials.user] = (mailboxes, FilterSet())
    server = IMAPServer(login, config)
    answer = ProxyProtocolReader(config.proxy_protocol).get_callback(kept(server))
    return await asyncio.start_server(answer, HOST, port)


def kept(answer: Any) -> Any:
    """A connection's handler whose task is held until it ends; nobody else does, so it could be collected."""
    running: set[asyncio.Task[None] | None] = set()

    async def serve(*connection: Any) -> None:
        task = asyncio.current_task()
        running.add(task)
        try:
            await answer(*connection)
        finally:
            running.discard(task)

    return serve


async def _load(samples: tuple[Sample, ...], later_uids: int) -> MailboxSet:
    """The samples in pymap's memory, with identifiers that are the same in every run.

    Whatever comes later gets UIDs above `later_uids`.
    """
    mailboxes = MailboxSet()
    for name in folders(samples):
        if name != "INBOX":
            await mailboxes.add_mailbox(name)
        mailbox = await mailboxes.get_mailbox(name)
        mailbox._uid_validity = 1 + zlib.crc32(name.encode()) % (2**31)
        mailbox._mailbox_id = ObjectId(b"F" + _digest(name.encode()))
    for sample in samples:
        flags = frozenset(Flag(flag.encode()) for flag in sample.flags)
        mailbox = await mailboxes.get_mailbox(sample.folder)
        message = await mailbox.append(AppendMessage(sample.raw, sample.received, flags))
        message._email_id = ObjectId(b"M" + _digest(sample.raw))
    for name in folders(samples):
        (await mailboxes.get_mailbox(name))._max_uid = later_uids
    return mailboxes


def _digest(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest()[:32].encode()


def _start_smtp(sink: _Sink, port: int) -> Awaitable[asyncio.Server]:
    loop = asyncio.get_running_loop()

    def connection() -> SMTP:
        return SMTP(
            sink,
            hostname="sink.example.org",
            ident="sample sink",
            enable_SMTPUTF8=True,
            auth_require_tls=False,
            authenticator=sink.authenticate,
            loop=loop,
        )

    return loop.create_server(connection, HOST, port)


class _Sink:
    """aiosmtpd's hooks. They ask for AUTH: the library's own way warns at each connection without TLS."""

    def __init__(self, credentials: Credentials, took: Callable[[Arrival], None], inbox: MailboxData) -> None:
        self._credentials = credentials
        self._took = took
        self._inbox = inbox

    def authenticate(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, auth_data: Any
    ) -> AuthResult:
        expected = f"{self._credentials.user}\0{self._credentials.password}".encode()
        given = b"\0".join(auth_data) if isinstance(auth_data, LoginPassword) else b""
        return AuthResult(success=hmac.compare_digest(given, expected), handled=False)

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 2.1.0 OK"

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if address.lower().startswith("nobody@"):
            return "550 5.1.1 There is nobody here by that name"
        envelope.rcpt_tos.append(address)
        envelope.rcpt_options.extend(options)
        return "250 2.1.5 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        arrival = Arrival(
            str(envelope.mail_from), tuple(envelope.rcpt_tos), bytes(envelope.original_content or b"")
        )
        if any(address.lower() == OWNER for address in arrival.recipients):
            await self._inbox.append(AppendMessage(arrival.content), recent=True)
        self._took(arrival)
        return "250 2.0.0 Kept in memory"
