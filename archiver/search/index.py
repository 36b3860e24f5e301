"""What an index is: the documents that go in, the hits that come out, and the protocol of an engine.

One document stands for one message by its bytes (`key` is their SHA-256). It holds only what never
changes; where the message is and its flags are asked from the ledger at query time.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Literal, Protocol, TypeAlias

import msgspec
from msgspec.structs import replace

from archiver.search import people
from archiver.search.ids import Ids, id_term, topic_terms
from archiver.search.kinds import kinds
from archiver.search.people import Role
from archiver.search.tree import Node, Thread

if TYPE_CHECKING:
    from archiver.message import Address, Message
    from archiver.search.threads import Link

Order = Literal["newest", "oldest", "relevance", "size", "sender"]
Lock = Callable[[], AbstractContextManager[None]]
Attachments = Literal["off", "on", "some"]
BODY_LIMIT = 4_000_000
"""Characters of a body that are searched; what follows them is not."""

TERM_LIMIT = 100
"""Characters of a type that are searched."""

CONVERSATION_LIMIT = 20_000
"""Messages of a conversation that are looked at."""

SENDERS_LIMIT = 100
"""Messages of a conversation whose senders are told with a hit."""

DISPLAY_LIMIT = 300
"""Characters of subject and sender that a hit carries."""

SHOWN_LIMIT = 2_000
"""Characters of each field that are kept to be shown; what follows them no regular expression sees."""


Received: TypeAlias = tuple[int, int]
"""Where a document stands among all: INTERNALDATE of its oldest place, its number in the ledger."""

LATEST = (1 << 63) - 1
"""Later than anything was received."""


class Stretch(msgspec.Struct, frozen=True):
    """The documents that are older than `after`, down to `last`, which belongs to them."""

    after: Received
    last: Received


class Bulk(msgspec.Struct, frozen=True):
    """How far much mail at once has come, which is taken newest first, not in the order of the changes.

    Of the documents that changed up to `upto`, those whose (INTERNALDATE, number in the ledger) is at least
    (`received`, `document`) are in the index, and so are the older ones of `ahead`, which an interrupted run
    left; `done` counts what was gone through.
    """

    upto: int
    received: int
    document: int
    done: int
    ahead: tuple[Stretch, ...] = ()

    @property
    def reached(self) -> Received:
        return self.received, self.document

    @property
    def since(self) -> int | None:
        """All that was received later than that is in the index; None while it is not known of any."""
        return self.received if self.received < LATEST else None

    def further(self, stretch: Stretch, done: int) -> Bulk:
        """The same when a stretch is in the index, too: so many documents, those of `ahead` left out."""
        reached, ahead = self.reached, []
        for each in sorted([*self.ahead, stretch], key=lambda each: each.after, reverse=True):
            if each.after >= reached:
                reached = min(reached, each.last)
            else:
                ahead.append(each)
        return replace(
            self, received=reached[0], document=reached[1], done=self.done + done, ahead=tuple(ahead)
        )


class IndexState(msgspec.Struct, frozen=True):
    """How far an index is: which ledger it was fed from, its last change in it, how words are stemmed.

    `mark` is the ledger's of the last change that was looked at, which a ledger put back from a backup lacks.
    `bulk`: what else of that ledger is in it. `attachments`: whether their texts are in it; of `some`, where
    they could not be read for a while.
    """

    ledger: str
    change: int
    stemming: str = "off"
    bulk: Bulk | None = None
    attachments: Attachments = "off"
    mark: int = 0

    @property
    def seen(self) -> int:
        """Changes after this one were not looked at."""
        return self.bulk.upto if self.bulk else self.change


class Portion(msgspec.Struct, frozen=True):
    """Documents that were written by some process and belong to no index yet; `about` is the engine's."""

    documents: int
    about: bytes


class Draft(Protocol):
    """Documents gathered in the memory of one process, to become a portion; their keys differ."""

    @property
    def memory(self) -> int:
        """About how many bytes it takes, also while it is written."""

    def add(self, document: Document) -> None:
        """Analyse a document and gather it."""

    def __len__(self) -> int:
        """How many documents there are."""

    def write(self) -> Portion:
        """Write what was gathered, one document at least, durably. Afterwards the draft is of no more use."""


class Document(msgspec.Struct, frozen=True):
    """A message as it is searched and shown. Dates are Unix seconds, sizes wire bytes.

    `from_`, `to` (Bcc too), `cc` and `bcc` have one entry for each address, `Name <address>`, `lists` one for
    each List-Id. `attachments` are texts of attachments. `id` is its Message-ID, `refers` those it refers to,
    the one it answers last. `topic` is what its subject is about; `is_reply`: that says it is one.
    """

    key: bytes
    date: int
    size: int
    subject: str = ""
    from_: tuple[str, ...] = ()
    to: tuple[str, ...] = ()
    cc: tuple[str, ...] = ()
    bcc: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    body: str = ""
    attachments: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()
    mimetypes: tuple[str, ...] = ()
    id: str = ""
    refers: tuple[str, ...] = ()
    topic: str = ""
    is_reply: bool = False
    has_attachment: bool = False
    has_calendar: bool = False
    is_encrypted: bool = False
    is_signed: bool = False


class Hit(msgspec.Struct, frozen=True):
    """One document found, with what a list of results shows."""

    key: bytes
    date: int
    size: int
    subject: str
    sender: str
    has_attachment: bool


class Linked(msgspec.Struct, frozen=True):
    """A message of a conversation, and what ties it to the others."""

    hit: Hit
    ids: Ids

    @property
    def link(self) -> Link:
        from archiver.search.threads import Link

        ids = self.ids
        return Link(self.hit.key, self.hit.date, ids.own, ids.refers, ids.topic, ids.reply)


class Conversation(msgspec.Struct, frozen=True):
    """The messages of a conversation, oldest first; `whole`: these are all of them."""

    messages: tuple[Linked, ...]
    whole: bool


class ThreadHit(msgspec.Struct, frozen=True):
    """A conversation with messages that were found: the first of them, how many, and how many it has in all.

    `senders`: each once, as hits have them, in the order of time; of the first hundred messages.
    """

    hit: Hit
    matched: int
    messages: int
    senders: tuple[str, ...]


class ThreadHits(msgspec.Struct, frozen=True):
    """A page of conversations; `more`: others follow."""

    hits: tuple[ThreadHit, ...]
    more: bool


class Total(msgspec.Struct, frozen=True):
    """How many documents there are for a query: counted, or else estimated to one or two digits."""

    count: int
    exact: bool


class Hits(msgspec.Struct, frozen=True):
    """A page of hits, and how many there are in all."""

    total: Total
    hits: tuple[Hit, ...]


class Survey(msgspec.Struct, frozen=True):
    """What some documents are together: their dates, sizes, the ledger's numbers if asked for, in no order.

    `people`: for each role, how many documents have each address and name (`people.split`).
    """

    dates: array[int]
    sizes: array[int]
    numbers: array[int]
    people: Mapping[Role, Counter[str]]


class Places(Protocol):
    """What a ledger tells of the places of documents, which it knows by numbers of its own."""

    @property
    def ledger(self) -> str:
        """Its id; another ledger has other numbers. Empty where none that were noted may be its own."""

    def documents(self, tree: Node) -> AbstractSet[int]:
        """The documents with a place for which a SamePlace holds, as it is now."""

    def numbers(self, keys: Sequence[bytes]) -> Sequence[int]:
        """The number of each of these documents, which it keeps; 0 for one that is not known."""


class Index(Protocol):
    """What every engine does.

    Readers need no lock and see the last commit; one writer at a time, who else writes gets LockedError.
    Any call but `clear` raises DamagedError when the index on disk is not what was written.
    """

    def state(self) -> IndexState | None:
        """The state of the last commit; None when there is no index yet."""

    def apply(self, documents: Iterable[Document], removed: Iterable[bytes], state: IndexState) -> None:
        """Remove and add (replacing by key), and record the state: one commit, durable, all or nothing.

        The words of the documents are stemmed as the state says. Memory grows with `documents`: many are
        given in several calls. A key given twice is added once, as it came last; one both removed and given
        is added.
        """

    def drafting(self) -> AbstractContextManager[str]:
        """A place for drafts, which `open_draft` takes in any process; portions not adopted in it are lost.

        Needs no lock.
        """

    def adopt(
        self, portions: Iterable[Portion], state: IndexState, outdated: AbstractSet[bytes] = frozenset()
    ) -> None:
        """Make portions a part of the index, replacing by key: one commit, as `apply`.

        What they have of the `outdated` keys is left out.
        """

    def search(
        self, tree: Node, places: Places, order: Order = "newest", offset: int = 0, limit: int = 20
    ) -> Hits:
        """The page of hits from `offset` on.

        Equal dates are ordered by key; `newest` is the reverse of `oldest`, and what is equal in another
        order is ordered so. `size`: largest first; `sender`: by the first of the addresses it is from,
        what has none last.
        The total is exact when it costs little; who needs it asks `matches`.
        """

    def matches(self, tree: Node, places: Places) -> int:
        """How many documents there are for a query, counted."""

    def found(self, tree: Node, places: Places) -> Iterator[bytes]:
        """The keys of all documents for a query, in no order."""

    def survey(
        self, tree: Node | None, places: Places, roles: Sequence[Role] = (), with_numbers: bool = False
    ) -> Survey:
        """What the documents for a query, or all without one, are together; people of these roles only."""

    def count(self) -> int:
        """How many documents there are."""

    def keys(self) -> set[bytes]:
        """The keys of all documents."""

    def hit(self, key: bytes) -> Hit | None:
        """What a hit on this document would show; None when it is not in the index."""

    def ids(self, key: bytes) -> Ids | None:
        """The ids of this document; None when it is not in the index."""

    def conversation(self, of: Thread) -> Conversation:
        """What belongs together with a document, or with all that have or name an id (`threads.groups`).

        Nothing when there is no such document. Of more than CONVERSATION_LIMIT messages, those that fewest
        steps lead to.
        """

    def search_threads(
        self, tree: Node, places: Places, order: Order = "newest", offset: int = 0, limit: int = 20
    ) -> ThreadHits:
        """The conversations of what `search` finds, in the order of the first of each, from `offset` on."""

    def maintain(self, lock: Lock = nullcontext, idle: Callable[[], None] = lambda: None) -> bool:
        """One step of tidying up; True when another is worth taking.

        Changes no answer. Only at its end others may not write; `lock` is held then. `idle` is called
        now and then, and may raise to give the step up. False when somebody else is tidying up.
        """

    def note_numbers(self, places: Places) -> None:
        """Remember the numbers of its documents, which need not be asked then; changes no answer."""

    def verify(self) -> None:
        """Compare every byte of the last commit with what was written; DamagedError when one differs."""

    def recover(self) -> None:
        """The same after an unclean end, or when a search met damage; otherwise it costs nothing."""

    def mend(self, before: Callable[[IndexState | None, set[bytes]], None]) -> None:
        """Leave out what is not what was written: one commit, the state stays as it was.

        `before` is called with this state and the keys that are kept, and may raise. DamagedError when there
        is nothing to be kept, or no telling what was written.
        """

    def clear(self) -> None:
        """Make it an empty index without a state, whatever is on disk."""

    def close(self) -> None:
        """Let go of files. Does not commit anything."""


def open_index(path: str) -> Index:
    """The index in this directory, which is made at the first commit. Reads nothing yet."""
    from archiver.search.whoosh.engine import WhooshIndex

    return WhooshIndex(path)


def open_draft(place: str, stemming: str = "off") -> Draft:
    """A new draft in a place that `Index.drafting` gave, its words stemmed as those of the index are."""
    from archiver.search.whoosh.write import WhooshDraft

    return WhooshDraft(place, stemming)


def document(key: bytes, received: int, size: int, message: Message) -> Document:
    """A message as a document; `received` is its INTERNALDATE, `size` its bytes on the wire."""
    from archiver.message import base_subject, document_date, lists, message_id, referred

    topic, is_reply = base_subject(message.subject)

    return Document(
        key=key,
        date=document_date(message, received),
        size=size,
        subject=message.subject,
        from_=_addresses(message.from_),
        to=_addresses((*message.to, *message.bcc)),
        cc=_addresses(message.cc),
        bcc=_addresses(message.bcc),
        lists=lists(message),
        body=message.text,
        filenames=tuple(part.filename for part in message.attachments if part.filename),
        mimetypes=tuple(part.content_type for part in message.attachments),
        id=message_id(message),
        refers=referred(message),
        topic=topic,
        is_reply=is_reply,
        has_attachment=bool(message.attachments),
        has_calendar=message.calendar,
        is_encrypted=message.encrypted,
        is_signed=message.signed,
    )


def texts(document: Document) -> dict[str, tuple[str, ...]]:
    """What each field of words searches."""
    return {
        "from": document.from_,
        "to": document.to,
        "cc": document.cc,
        "bcc": document.bcc,
        "subject": (document.subject,),
        "body": (document.body[:BODY_LIMIT],),
        "attachment": document.attachments,
        "filename": document.filenames,
        "list": document.lists,
    }


def exact_terms(document: Document) -> dict[str, Iterable[str]]:
    """What each field of `fields.TERMS` has, each term once."""
    types = [term for each in document.mimetypes if (term := each[:TERM_LIMIT])]
    return {
        "has": facts(document),
        "mimetype": dict.fromkeys((*types, *(each.partition("/")[0] for each in types))),
        "id": (id_term(document.id),) if document.id else (),
        "refers": dict.fromkeys(map(id_term, document.refers)),
        "topic": topic_terms(document.topic, document.is_reply and not document.refers),
        "people": dict.fromkeys(_people(document)),
    }


def _people(document: Document) -> Iterator[str]:
    yield from people.terms("from", document.from_)
    yield from people.terms("to", document.to)
    yield from people.terms("cc", document.cc)
    yield from people.terms("list", document.lists)


def shown(document: Document) -> dict[str, str]:
    """What is kept of a document to show it by, and for regular expressions to look at."""
    kept = {
        "subject": document.subject[:SHOWN_LIMIT],
        "from": ", ".join(document.from_)[:SHOWN_LIMIT],
    }
    others = {
        "to": document.to,
        "cc": document.cc,
        "bcc": document.bcc,
        "filename": document.filenames,
        "list": document.lists,
        "has": (" ".join(facts(document)),),
    }
    return kept | {
        field: text for field, values in others.items() if (text := ", ".join(values)[:SHOWN_LIMIT])
    }


def facts(document: Document) -> tuple[str, ...]:
    """What holds for a document, as words of the field `has`."""
    known = {
        "attachment": document.has_attachment,
        "encrypted": document.is_encrypted,
        "signed": document.is_signed,
    }
    found = kinds(document.mimetypes, document.filenames) if document.has_attachment else set()
    if document.has_calendar:
        found.add("calendar")
    return (*(fact for fact, holds in known.items() if holds), *sorted(found))


def _addresses(addresses: Iterable[Address]) -> tuple[str, ...]:
    return tuple(shown for each in addresses if (shown := _address(each)))


def _address(address: Address) -> str:
    if address.name and address.address:
        return f"{address.name} <{address.address}>"
    return address.name or address.address
