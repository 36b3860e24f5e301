"""What a configuration file says, as frozen structs; their annotations are also its reference page."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct, field
from msgspec.structs import force_setattr

Security = Literal["tls", "starttls", "none"]
AutoOnOff = Literal["auto", "on", "off"]
Namespace = Literal["personal", "others", "shared"]
PERSONAL: tuple[Namespace, ...] = ("personal",)
Stemming = Literal[
    "off", "danish", "dutch", "english", "finnish", "french", "german", "hungarian", "italian", "norwegian",
    "portuguese", "romanian", "russian", "spanish", "swedish",
]  # fmt: skip

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DURATION = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([smhdw])\s*")
_LONGEST = 520 * _UNITS["w"]
_SIZE = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,6})?)\s*([KMGT])i?B?\s*", re.IGNORECASE)
_SMALLEST_BUDGET = 1 << 20
CONNECTIONS = 3


class Duration(float):
    """A time span in seconds, written `90s`, `15m`, `2h`, `1d` or `1w`."""

    @classmethod
    def parse(cls, text: object) -> Duration:
        match = _DURATION.fullmatch(text) if isinstance(text, str) else None
        if not match:
            raise ValueError("expected a time span such as 30s, 15m, 2h or 1d")
        seconds = float(match[1]) * _UNITS[match[2]]
        if seconds > _LONGEST:
            raise ValueError("expected a time span of at most 520w")
        return cls(seconds)

    def __str__(self) -> str:
        unit = next((u for u in "wdhm" if self >= _UNITS[u] and self % _UNITS[u] == 0), "s")
        return f"{self / _UNITS[unit]:g}{unit}"


class Size(int):
    """A number of bytes, written `500M`, `2G` or `1.5G`, in units of 1024."""

    @classmethod
    def parse(cls, text: object) -> Size:
        if isinstance(text, Size):
            return text
        match = _SIZE.fullmatch(text) if isinstance(text, str) else None
        if not match:
            raise ValueError("expected a size such as 500M or 2G")
        return cls(float(match[1]) * 1024 ** (" KMGT".index(match[2].upper())))

    def __str__(self) -> str:
        power = next((i for i in (4, 3, 2, 1) if self and self % 1024**i == 0), 0)
        return f"{int(self) // 1024**power}{' KMGT'[power].strip()}"


class SecretSource(Struct, frozen=True, forbid_unknown_fields=True):
    """Where a password or token comes from; exactly one of the four. Shown as stars everywhere."""

    env: Annotated[str | None, Meta(description="name of an environment variable")] = None
    file: Annotated[str | None, Meta(description="a file; its first line counts")] = None
    command: Annotated[
        str | None, Meta(description="a shell command; the first line it prints counts (one minute at most)")
    ] = None
    literal: Annotated[
        str | None, Meta(description="the secret itself, written as a plain string instead of a mapping")
    ] = None

    def problems(self) -> Iterator[tuple[str, str]]:
        if sum(v is not None for v in (self.env, self.file, self.command, self.literal)) != 1:
            yield "", "expected exactly one of env, file, command, or a plain string"

    def __repr__(self) -> str:
        return "SecretSource(***)"

    __str__ = __repr__

    def __rich_repr__(self) -> list[tuple[str, str]]:
        return [("secret", "***")]


class Server(Struct, frozen=True, kw_only=True):
    """What IMAP and SMTP servers have in common."""

    preset: Annotated[
        str | None,
        Meta(description="a provider of [the table](providers.md): it fills in what is not written here"),
    ] = None
    host: Annotated[str, Meta(min_length=1, description="name or address of the server; a preset has it")]
    security: Annotated[
        Security,
        Meta(
            description="`tls`: encrypted from the first byte; `starttls`: encrypted by command before "
            "anything else, or no connection; `none`: in clear, for a loopback host only unless "
            "`allow_plaintext` is true"
        ),
    ] = "tls"
    allow_plaintext: Annotated[
        bool, Meta(description="allow `security: none` to a host that is not this machine")
    ] = False
    ca_file: Annotated[
        str | None, Meta(description="PEM file with the certificate authority of a private server")
    ] = None
    fingerprint: Annotated[
        str | None,
        Meta(
            description="SHA-256 of the server's certificate in hex; replaces the check of authority and name"
        ),
    ] = None
    connect_timeout: Annotated[Duration, Meta(description="how long connecting may take")] = Duration(30)
    read_timeout: Annotated[Duration, Meta(description="how long the server may be silent")] = Duration(60)

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.security == "none" and not self.allow_plaintext and not is_loopback(self.host):
            yield (
                "security",
                f"expected tls or starttls: in clear, everybody on the way to {self.host} can read",
            )
        if self.fingerprint is not None and not re.fullmatch(r"[0-9a-fA-F]{64}", plain_hex(self.fingerprint)):
            yield "fingerprint", "expected the SHA-256 of the certificate: 64 hex digits, colons allowed"
        if self.ca_file and self.fingerprint:
            yield "fingerprint", "expected either ca_file or fingerprint, not both"
        if re.search(r"[\x00-\x20\x7f]", self.host):
            yield "host", "expected a host name without spaces or control characters"
        for name in ("connect_timeout", "read_timeout"):
            if getattr(self, name) < 0.1:
                yield name, "expected at least 0.1s"


Port = Annotated[int, Meta(ge=0, le=65535, description="default: the usual one for `security`")]
User = Annotated[str, Meta(min_length=1, pattern=r"\A[^\x00\r\n]+\Z", description="login name")]


class ImapServer(Server, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The mailbox to keep. Ports: 993 for tls, 143 for starttls and none."""

    one_of: ClassVar[tuple[str, ...]] = (
        "password",
        "token",
    )  # for the loader: keys of which one must be there

    user: User
    password: Annotated[
        SecretSource | None, Meta(description="where the password comes from; this or `token`")
    ] = None
    token: Annotated[
        SecretSource | None,
        Meta(
            description="where an OAuth access token comes from; asked again when it has expired, so best a "
            "command that gets a new one"
        ),
    ] = None
    port: Port = 0
    connections: Annotated[
        int, Meta(ge=1, le=20, description="connections at once, at most; fewer where the server wants fewer")
    ] = CONNECTIONS
    compress: Annotated[
        AutoOnOff,
        Meta(description="COMPRESS=DEFLATE; `auto`: where the line is slower than compressing"),
    ] = "auto"
    daily_bytes: Annotated[
        Size | None,
        Meta(description="fetch no more than this in a day, the rest on the days after; without it no limit"),
    ] = None

    def __post_init__(self) -> None:
        if not self.port:
            force_setattr(self, "port", 993 if self.security == "tls" else 143)

    @property
    def secret(self) -> SecretSource:
        """The password or the token, whichever there is."""
        source = self.token or self.password
        assert source is not None, "one of the two, as the loader has seen to"
        return source

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from super().problems()
        if self.daily_bytes is not None and self.daily_bytes < _SMALLEST_BUDGET:
            yield "daily_bytes", "expected at least 1M"


class SmtpServer(Server, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A server that takes mail for sending. Ports: 465 for tls, 587 for starttls, 25 for none."""

    from_: Annotated[
        str, Meta(pattern=r"\A[^\x00\r\n]+@[^\x00\r\n]+\Z", description="the address that resends")
    ] = field(name="from")
    user: User | None = None
    password: Annotated[
        SecretSource | None, Meta(description="where the password comes from; with `user` this or `token`")
    ] = None
    token: Annotated[
        SecretSource | None,
        Meta(
            description="where an OAuth access token comes from; asked again when one is refused, so best a "
            "command that gets a new one"
        ),
    ] = None
    port: Port = 0
    messages_per_minute: Annotated[
        int, Meta(ge=0, le=100_000, description="send no more than these in a minute; 0: no limit")
    ] = 0
    recipients_per_message: Annotated[
        int,
        Meta(
            ge=1,
            le=10_000,
            description="name no more recipients at once; the others get the message in a transaction of "
            "their own",
        ),
    ] = 100

    def __post_init__(self) -> None:
        if not self.port:
            force_setattr(self, "port", {"tls": 465, "starttls": 587, "none": 25}[self.security])

    @property
    def secret(self) -> SecretSource | None:
        """The password or the token, whichever there is."""
        return self.token or self.password

    def problems(self) -> Iterator[tuple[str, str]]:
        yield from super().problems()
        if self.password and self.token:
            yield "token", "expected either password or token, not both"
        if (self.user is None) != (self.secret is None):
            yield "user", "expected user and password (or token) together, or neither"


class Folders(Struct, frozen=True, forbid_unknown_fields=True):
    r"""Which folders are kept: glob patterns (`*` crosses levels), or special uses such as `\Junk`."""

    include: Annotated[tuple[str, ...], Meta(description="only these; empty: all")] = ()
    exclude: Annotated[tuple[str, ...], Meta(description="not these, even if included")] = ()
    namespaces: Annotated[
        tuple[Namespace, ...],
        Meta(
            min_length=1,
            description="whose folders, as far as the server tells them apart (RFC 2342): one's own "
            "(`personal`), those that `others` let one see, `shared` ones",
        ),
    ] = PERSONAL


class Schedule(Struct, frozen=True, forbid_unknown_fields=True):
    """When `archiver run` syncs the account: exactly one of every and cron, or push. Without it: by hand.

    `schedule: push` is short for `schedule: {push: true}`.
    """

    every: Annotated[Duration | None, Meta(description="time span between runs, at least 10s")] = None
    cron: Annotated[
        str | None, Meta(description="minute hour day month weekday, local time, as in crontab(5)")
    ] = None
    push: Annotated[
        bool,
        Meta(
            description="listen to the server (IDLE, NOTIFY) and pull when something changes; `every`, 15m "
            "unless given, or `cron` is for the folders that cannot be listened to"
        ),
    ] = False

    def __post_init__(self) -> None:
        if self.push and self.every is None and self.cron is None:
            force_setattr(self, "every", Duration(900))

    def problems(self) -> Iterator[tuple[str, str]]:
        if (self.every is None) == (self.cron is None):
            yield "", f"expected exactly one of every, cron{'' if self.every else ', or push'}"
        if self.every is not None and self.every < 10:
            yield "every", "expected at least 10s"
        if self.cron is not None and not is_cron(self.cron):
            yield "cron", 'expected five fields as in crontab(5), such as "0 3 * * *"'


class Account(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One mailbox: where it is, what of it is kept, and when."""

    imap: ImapServer
    folders: Folders = Folders()
    schedule: Schedule | None = None
    flags_every: Annotated[
        Duration,
        Meta(description="how often flags are compared on servers that do not say what changed"),
    ] = Duration(86400)
    name: str = ""


_LEAST_MEMORY = Size(128 << 20)
# Several times that is in memory while it is read.
_LARGEST_ATTACHMENT = Size(32 << 20)


class IndexSettings(Struct, frozen=True, forbid_unknown_fields=True):
    """How the search index is built."""

    workers: Annotated[
        int, Meta(ge=0, le=64, description="processes that index much mail; 0: one per core, at most 4")
    ] = 0
    memory: Annotated[
        Size,
        Meta(
            description="what all of them together take, the reading of a large attachment apart; fewer are "
            "started where it is short"
        ),
    ] = Size(512 << 20)
    stemming: Annotated[
        Stemming,
        Meta(
            description="find words of this language in all their forms; another value makes the next sync "
            "build the index anew"
        ),
    ] = "off"

    attachments: Annotated[
        AutoOnOff,
        Meta(
            description="search the text of attachments; needs the extra `attachments`; auto: when that is "
            "installed; after a change the next sync indexes mail that has attachments again"
        ),
    ] = "auto"
    attachment_size: Annotated[Size, Meta(description="attachments of more bytes are not read")] = Size(
        25 << 20
    )

    def problems(self) -> Iterator[tuple[str, str]]:
        if self.memory < _LEAST_MEMORY:
            yield "memory", f"expected at least {_LEAST_MEMORY}"
        if not 0 < self.attachment_size <= _LARGEST_ATTACHMENT:
            yield "attachment_size", f"expected at most {_LARGEST_ATTACHMENT}"


class Config(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file."""

    archive: Annotated[
        str,
        Meta(min_length=1, pattern=r"\A[^\x00\r\n]+\Z", description="the directory that holds everything"),
    ]
    accounts: Annotated[
        dict[str, Account], Meta(description="mailboxes by name: lower-case letters, digits, - and _")
    ] = {}
    smtp: Annotated[
        dict[str, SmtpServer], Meta(description="sending servers by name, for `resend --via`")
    ] = {}
    index: IndexSettings = IndexSettings()
    searches: Annotated[
        dict[str, str], Meta(description="queries by name, for `saved:NAME` in a [query](query.md)")
    ] = {}


def plain_hex(fingerprint: str) -> str:
    """The fingerprint without the colons and spaces people copy along, lower case."""
    return re.sub(r"[:\s]", "", fingerprint).lower()


def is_loopback(host: str) -> bool:
    """Whether `host` can only be this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


_CRON_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_CRON_NAMES = (
    (),
    (),
    (),
    ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"),
    ("sun", "mon", "tue", "wed", "thu", "fri", "sat"),
)


def cron_field(text: str, position: int) -> frozenset[int] | None:
    """The numbers a crontab(5) field stands for (weekdays: 0 is Sunday), or None when it is none."""
    low, high = _CRON_RANGES[position]
    names = _CRON_NAMES[position]
    numbers: set[int] = set()

    def number(word: str) -> int:
        if word.lower() in names:
            return names.index(word.lower()) + (1 if position == 3 else 0)
        return int(word) if re.fullmatch(r"[0-9]{1,4}", word) else -1

    for part in text.split(","):
        span, slash, step_text = part.partition("/")
        step = number(step_text) if slash else 1
        first, dash, last = span.partition("-")
        start = low if span == "*" else number(first)
        end = high if span == "*" or (slash and not dash) else number(last) if dash else start
        if step < 1 or not low <= start <= end <= high:
            return None
        numbers.update(range(start, end + 1, step))
    return frozenset(n % 7 for n in numbers) if position == 4 else frozenset(numbers)


def is_cron(text: str) -> bool:
    parts = text.split()
    return len(parts) == 5 and all(cron_field(part, i) is not None for i, part in enumerate(parts))
