"""Every error this package raises on purpose.

    ArchiverError                        exit 1
    ├── UsageError                       exit 2   what was asked cannot be asked
    │   ├── ConfigError                           the configuration, all its problems at once
    │   ├── QueryError                            a search query, with the position
    │   │   └── TooCostlyError                    a query that would take more than it may
    │   ├── NotFoundError                         an id, account, folder or server that does not exist
    │   └── RepeatError                           what was sent already, to be asked for expressly
    ├── CredentialError                           a password or token could not be had
    ├── ServerError                               an IMAP or SMTP server, or the way to it
    │   ├── ConnectError                 exit 75  cannot connect; transient
    │   ├── ConnectionLostError          exit 75  the line died or the server fell silent; transient
    │   │   └── ExpiredError             exit 75  the login is no longer good; transient
    │   ├── UnavailableError             exit 75  the server says: not now; transient
    │   ├── TlsError                              certificate refused, STARTTLS not offered
    │   ├── LoginError                            credentials refused
    │   ├── FolderError                           one folder cannot be read
    │   ├── ProtocolError                         an answer nobody could understand
    │   └── RefusedError                          SMTP: the server refused sender, recipients or message
    ├── StoreError                                the archive on disk
    │   ├── DiskFullError                exit 75  no space left; transient
    │   ├── LockedError                  exit 75  another run holds the lock; transient
    │   └── DamagedError                          a file of ours is not what it must be
    ├── SourceError                               what is to be imported cannot be read
    ├── UnsendableError                           a message that must not be sent as it is
    ├── PartialError                     exit 3   part of the work was done
    └── InterruptedRun                   exit 130 Ctrl-C or, 143, SIGTERM

The exit code and whether trying again later can help (`transient`) are the class's.
An error carries a message of one line, an optional `hint` (what to do) and the place
(`account`, `folder`, `uid`) where it is known; the cause is chained. No message holds a
secret or the content of a mail.
"""

from __future__ import annotations

from collections.abc import Sequence


class ArchiverError(Exception):
    """Something this package can explain. Anything else that escapes is a bug."""

    exit_code = 1
    transient = False

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        account: str | None = None,
        folder: str | None = None,
        uid: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.account = account
        self.folder = folder
        self.uid = uid

    def place(self) -> str:
        """Where it happened, `account/folder UID n`, as far as known; may be empty."""
        names = "/".join(name for name in (self.account, self.folder) if name)
        return " ".join(part for part in (names, f"UID {self.uid}" if self.uid else "") if part)

    def __str__(self) -> str:
        place = self.place()
        return f"{place}: {self.message}" if place else self.message


class UsageError(ArchiverError):
    """What was asked for cannot be asked for."""

    exit_code = 2


class ConfigError(UsageError):
    """The configuration is wrong; `problems` has every reason, one line each or, of a query, some more."""

    def __init__(self, message: str, problems: Sequence[str] = (), *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)


class QueryError(UsageError):
    """A search query is wrong at `position` (0-based, in characters of `query`)."""

    def __init__(self, message: str, query: str, position: int, *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.query = query
        self.position = position


class TooCostlyError(QueryError):
    """A query would take more than it may, the part `leaf` of it, or all; there is no answer then.

    `leaf` is a node of the query's tree. Who has the text of the query raises it again with that and the
    position.
    """

    def __init__(self, message: str, leaf: object, *, hint: str) -> None:
        super().__init__(message, "", 0, hint=hint)
        self.leaf = leaf


class NotFoundError(UsageError):
    """No such id, account, folder, server; or several where one was meant."""


class RepeatError(UsageError):
    """What would be sent was sent to the same recipient not long ago, or is about to be."""


class CredentialError(ArchiverError):
    """A password or token could not be had from where the configuration says it is."""


class ServerError(ArchiverError):
    """A mail server, or the way to it."""


class ConnectError(ServerError):
    """No connection: unknown host, refused, timed out."""

    exit_code = 75
    transient = True


class ConnectionLostError(ServerError):
    """The connection ended or fell silent in the middle of the work."""

    exit_code = 75
    transient = True


class ExpiredError(ConnectionLostError):
    """The server wants to have the session's login anew: a token or the session itself has expired."""


class UnavailableError(ServerError):
    """The server is there and says: not now. `wait` is its own suggestion in seconds, if it made one."""

    exit_code = 75
    transient = True

    def __init__(self, message: str, *, wait: float | None = None, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.wait = wait


class TlsError(ServerError):
    """The encrypted connection cannot be trusted or was not offered."""


class LoginError(ServerError):
    """The server refused the credentials."""


class FolderError(ServerError):
    """One folder cannot be read; the others can."""


class ProtocolError(ServerError):
    """The server answered something that cannot be understood or relied on."""


class RefusedError(ServerError):
    """An SMTP server refused the sender, every recipient, or the message. `code` is its reply code."""

    def __init__(self, message: str, *, code: int = 0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.code = code


class StoreError(ArchiverError):
    """The archive on disk cannot be read or written."""


class DiskFullError(StoreError):
    """No space, quota or file size left on the archive's file system."""

    exit_code = 75
    transient = True


class LockedError(StoreError):
    """Another run holds the lock and waiting for it was not wanted."""

    exit_code = 75
    transient = True


class DamagedError(StoreError):
    """A ledger, index or user database that is not what it must be."""


class SourceError(ArchiverError):
    """A file or an archive of another program that cannot be read to its end."""


class UnsendableError(ArchiverError):
    """A message that no server should get as it is."""


class PartialError(ArchiverError):
    """Part of the work was done; the report says which part was not."""

    exit_code = 3


class InterruptedRun(ArchiverError):
    """Stopped by a signal: 130 for SIGINT, 143 for SIGTERM."""

    exit_code = 130

    def __init__(self, message: str = "interrupted", *, signal_number: int = 2) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number
