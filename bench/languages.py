"""How often a message is found by two characters or a word of its own, in languages other than English.

Of the subject and of the body of every message the first two characters of Chinese, Japanese or Korean in a
row, and the first word in Cyrillic, Greek, Hebrew, Arabic, Thai or accented Latin, are asked for. What they
are is said by the standard library and the charset that the mail declares, not by our own reading. Where that
charset is a lie they are no words at all: what was not found is listed, to be judged by hand.
"""

from __future__ import annotations

import email
import email.header
import email.message
import re
import shutil
import subprocess
import sys
import tarfile
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from archiver.archive import Archive
from archiver.config import Config
from archiver.store.maildir import key_of
from bench import common, mail
from tests.store.tree import Tree

CORPUS = mail.CORPUS.with_name("multilingual.tar.xz")
TARGET = 0.99
FIELDS = ("subject", "body")

_PAIR = re.compile("[\u3041-\u3096\u30a1-\u30fa\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3]{2}")
_WORD = re.compile("(?:[^\\W\\d_][\u0300-\u036f\u0591-\u05c7\u064b-\u0652\u0e31-\u0e4e]*){2,}")
# By the first name of the letters' names; of Latin words those with a letter beyond ASCII.
_SCRIPTS = {
    "CYRILLIC": "Cyrillic",
    "GREEK": "Greek",
    "HEBREW": "Hebrew",
    "ARABIC": "Arabic",
    "THAI": "Thai",
    "LATIN": "accented Latin",
}
CLASSES = ("CJK", *_SCRIPTS.values())


@dataclass(frozen=True)
class Asked:
    """One query: which message must be among what it finds, and for what it is asked."""

    path: str
    key: bytes
    field: str
    kind: str
    words: str

    @property
    def query(self) -> str:
        return f'{self.field}:"{self.words}"'


def main() -> None:
    parser = common.arguments(__doc__.partition("\n")[0])
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="an archive of messages (%(default)s)")
    parser.add_argument("--alone", action="store_true", help="leave notmuch out")
    options = parser.parse_args()
    if not options.corpus.exists():
        sys.exit(f"the mail to measure with is not there: {options.corpus}")
    messages = unpacked(options.corpus)
    with common.workplace(options.root) as directory:
        archive, files = filled(directory, list(messages.values()))
        asked = [each for path, raw in messages.items() for each in own(path, raw)]
        unfound = {"archiver": missed(asked, lambda each: each.key in archive.search_keys(each.query))}
        if not options.alone and shutil.which("notmuch"):
            search = notmuch(directory)
            unfound["notmuch"] = missed(asked, lambda each: files[each.key] in search(each.query))
    print(f"{len(messages)} messages, {len(asked)} queries\n")
    tell(asked, unfound)


def unpacked(corpus: Path) -> dict[str, bytes]:
    """The messages of an archive by their paths, each content once."""
    contents: dict[bytes, str] = {}
    with tarfile.open(corpus) as members:
        for member in members:
            if member.isfile() and (file := members.extractfile(member)):
                contents.setdefault(file.read(), member.name)
    return {path: raw for raw, path in contents.items()}


def filled(directory: Path, messages: Sequence[bytes]) -> tuple[Archive, dict[bytes, str]]:
    """An archive of these messages, indexed; the file of each by its key."""
    tree = Tree(str(directory / "archive"))
    paths = tree.file(tree.folder(), messages)
    tree.ledger.close()
    archive = Archive(Config(archive=tree.root))
    archive.reindex()
    return archive, dict(zip(map(key_of, messages), paths, strict=True))


def missed(asked: Sequence[Asked], found: Callable[[Asked], bool]) -> list[Asked]:
    return [each for each in asked if not found(each)]


def least(asked: Sequence[Asked], unfound: Sequence[Asked]) -> float:
    """The share that was found in the class and field with the smallest."""
    return min(1 - lost / count for count, lost in by_class(asked, unfound).values())


def by_class(asked: Sequence[Asked], unfound: Sequence[Asked]) -> dict[tuple[str, str], tuple[int, int]]:
    """How many were asked and not found, by class and field."""
    every, lost = (Counter((each.kind, each.field) for each in them) for them in (asked, unfound))
    order = [(kind, field) for kind in CLASSES for field in FIELDS]
    return {each: (every[each], lost[each]) for each in order if every[each]}


# What is asked for: the standard library's reading


def own(path: str, raw: bytes) -> Iterator[Asked]:
    """The queries that must find a message."""
    key, message = key_of(raw), email.message_from_bytes(raw)
    for field, texts in (("subject", subject(message)), ("body", body(message))):
        found: dict[str, str] = {}
        for text in texts:
            for kind, words in of_each_kind(unicodedata.normalize("NFC", text)):
                found.setdefault(kind, words)
        for kind, words in found.items():
            yield Asked(path, key, field, kind, words)


def of_each_kind(text: str) -> Iterator[tuple[str, str]]:
    if pair := _PAIR.search(text):
        yield "CJK", pair[0]
    for word in _WORD.findall(text):
        scripts = {
            unicodedata.name(c, "?").partition(" ")[0] for c in word if unicodedata.category(c) != "Mn"
        }
        if len(scripts) == 1 and (kind := _SCRIPTS.get(scripts.pop())) and not word.isascii():
            yield kind, word


def subject(message: email.message.Message) -> Iterator[str]:
    """The decoded subject; nothing when its charset is unknown to Python."""
    try:
        pieces = email.header.decode_header(str(message.get("subject", "")))
        yield "".join(
            piece if isinstance(piece, str) else piece.decode(charset or "ascii", "replace")
            for piece, charset in pieces
        )
    except (LookupError, UnicodeError, email.errors.HeaderParseError):
        return


def body(message: email.message.Message) -> Iterator[str]:
    """The texts a reader shows: the plain ones, or where those say nothing the HTML."""
    for kind in ("text/plain", "text/html"):
        texts = [text for text in inline(message, kind) if text.strip()]
        if texts:
            yield from texts
            return


def inline(message: email.message.Message, kind: str) -> Iterator[str]:
    for part in message.walk():
        if part.get_content_type() != kind or part.get_content_disposition() == "attachment":
            continue
        payload = part.get_payload(decode=True)
        try:
            text = (
                payload.decode(str(part.get_param("charset") or "ascii"), "replace")
                if isinstance(payload, bytes)
                else ""
            )
        except (LookupError, UnicodeError):
            continue
        yield text if kind == "text/plain" else shown(text)


class _Shown(HTMLParser):
    """The text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.pieces: list[str] = []
        self.hidden = 0

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.hidden += tag in ("head", "style", "script")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("head", "style", "script")

    def handle_data(self, data: str) -> None:
        if self.hidden <= 0:
            self.pieces.append(data)


def shown(html: str) -> str:
    page = _Shown()
    page.feed(html)
    page.close()
    return " ".join(page.pieces)


# The other program


def notmuch(directory: Path) -> Callable[[str], set[str]]:
    """Index the same Maildir with notmuch, as it comes; a function that gives the files a query finds."""
    config = directory / "notmuch-config"
    config.write_text(
        f"[database]\npath={directory / 'notmuch'}\nmail_root={directory / 'archive' / 'mail'}\n"
        "[maildir]\nsynchronize_flags=false\n",
        encoding="utf-8",
    )
    (directory / "notmuch").mkdir()
    command = ["notmuch", f"--config={config}"]
    subprocess.run([*command, "new", "--quiet"], check=True, capture_output=True)

    def search(query: str) -> set[str]:
        done = subprocess.run(
            [*command, "search", "--output=files", query], check=True, capture_output=True, text=True
        )
        return set(done.stdout.splitlines())

    return search


def tell(asked: Sequence[Asked], unfound: dict[str, list[Asked]]) -> None:
    """The table by class, and what the archiver did not find."""
    print(f"  {'found':<16}{'':<9}{'asked':>6}" + "".join(f"{name:>12}" for name in unfound))
    columns = [by_class(asked, lost) for lost in unfound.values()]
    for (kind, field), (count, _) in columns[0].items():
        shares = "".join(f"{1 - column[kind, field][1] / count:>12.1%}" for column in columns)
        print(f"  {kind:<16}{field:<9}{count:>6}{shares}")
    print("\n  not found by archiver:")
    for each in unfound["archiver"]:
        print(f"    {each.query:<30} {each.path}")
    share = least(asked, unfound["archiver"])
    common.verdict(f"least {share:.1%}", f"{TARGET:.0%} in each", share >= TARGET)


if __name__ == "__main__":
    main()
