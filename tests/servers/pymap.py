r"""pymap, a second IMAP server, on a thread of this process: no CONDSTORE, UIDs from 101, no keywords.

    with Pymap({"INBOX": [Mail(b"Subject: hello\r\n\r\nhello\r\n", flags=["\\Seen"])]}) as server:
        ...                                    # connect to server.port as server.user, server.password

Folder names are in Unicode with "/" between levels. With a TLS context the connection is encrypted from
the first byte, though pymap then still announces STARTTLS.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from proxyprotocol.reader import ProxyProtocolReader
from pymap.backend.dict import Config, Login
from pymap.backend.dict.filter import FilterSet
from pymap.backend.dict.mailbox import MailboxSet
from pymap.concurrent import Subsystem
from pymap.imap import IMAPServer
from pymap.parsing.message import AppendMessage
from pymap.parsing.specials.flag import Flag
from pymap.user import UserMetadata
from pysasl.hashing import Cleartext

from demo.servers import kept

HOST = "127.0.0.1"


@dataclass(frozen=True)
class Mail:
    """One message to begin with; `date` (aware) becomes its INTERNALDATE."""

    raw: bytes
    flags: Sequence[str] = ()
    date: datetime = datetime(2020, 1, 1, tzinfo=UTC)


class QuietConfig(Config):
    """pymap's configuration, without its look for the machine's name in the DNS at every greeting."""

    @property
    def greeting(self) -> bytes:
        return b"Server ready"


class Pymap:
    """A running server from `with` or `start` to `close`."""

    host = HOST

    def __init__(
        self,
        folders: Mapping[str, Sequence[Mail]],
        *,
        user: str = "user",
        password: str = "secret",
        context: ssl.SSLContext | None = None,
    ) -> None:
        self.user = user
        self.password = password
        self._folders = folders
        self._context = context
        self._mailboxes = MailboxSet()
        self._listener = socket.create_server((HOST, 0))
        self.port = int(self._listener.getsockname()[1])
        self._ready = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> Self:
        self._thread.start()
        self._ready.wait()
        return self

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *exc: object) -> None:
        self.close()

    def append(self, folder: str, *mails: Mail) -> None:
        """Deliver messages; the folder is made when it is not there."""
        asyncio.run_coroutine_threadsafe(self._append(folder, mails), self._loop).result()

    def rename(self, folder: str, name: str) -> None:
        """Give a folder, and those below it, another name."""
        done = self._mailboxes.rename_mailbox(folder, name)
        asyncio.run_coroutine_threadsafe(done, self._loop).result()

    def set_uidvalidity(self, folder: str, value: int) -> None:
        """A new UIDVALIDITY for those who select the folder from now on; the UIDs stay."""
        mailbox = asyncio.run_coroutine_threadsafe(self._mailboxes.get_mailbox(folder), self._loop).result()
        mailbox._uid_validity = value

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            try:
                runner.run(self._serve())
            finally:
                self._ready.set()

    async def _serve(self) -> None:
        config = self._configure()
        login = Login(config)
        await login.demo_user_identity.set(UserMetadata(config, self.user, password=self.password))
        for folder, mails in self._folders.items():
            await self._append(folder, mails)
        answer = ProxyProtocolReader(config.proxy_protocol).get_callback(kept(IMAPServer(login, config)))
        server = await asyncio.start_server(answer, sock=self._listener, ssl=self._context)
        self._ready.set()
        await self._stop.wait()
        server.close()

    def _configure(self) -> Config:
        args = Namespace(passlib_cfg=None, proxy_protocol=None)
        config = QuietConfig(
            args,
            host=HOST,
            port=self.port,
            tls_enabled=False,
            demo_data=False,
            demo_user=self.user,
            demo_password=self.password,
            hash_context=Cleartext(),  # pymap's own hash takes a quarter of a second a login
            cpu_subsystem=Subsystem.for_asyncio(),
        )
        config.apply_context()
        config.set_cache[self.user] = (self._mailboxes, FilterSet())
        return config

    async def _append(self, folder: str, mails: Sequence[Mail]) -> None:
        try:
            mailbox = await self._mailboxes.get_mailbox(folder)
        except KeyError:
            await self._mailboxes.add_mailbox(folder)
            mailbox = await self._mailboxes.get_mailbox(folder)
        for mail in mails:
            flags = frozenset(Flag(flag.encode()) for flag in mail.flags)
            await mailbox.append(AppendMessage(mail.raw, mail.date, flags))
