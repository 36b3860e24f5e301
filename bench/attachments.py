"""How fast the text of attachments is read: documents of three kinds, each once, however often they come.

PDF files of three pages, letters of sixty paragraphs, sheets of 300 rows, a message each; then the same in
other messages, and an index built anew. What it takes is told beside what the same mail takes without.
"""

from __future__ import annotations

import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from string import ascii_lowercase

from archiver.attachments import Reading, Tally, installed
from archiver.indexer import drain
from archiver.search.index import Index, open_index
from archiver.search.places import LedgerPlaces
from archiver.search.query import parse
from archiver.store.layout import attachments_path, index_path
from archiver.store.maildir import key_of
from bench import common
from tests.attachments import documents
from tests.store.tree import Tree

DOCUMENTS = 1_000
AGAIN = 500
TARGET = 50
READING = Reading(25 << 20)


@dataclass(frozen=True)
class Taken:
    """Seconds of an indexing, of the clock and of CPU, and what became of attachments."""

    wall: float
    cpu: float
    tally: Tally


def main() -> None:
    options = common.arguments(__doc__.partition("\n")[0]).parse_args()
    if not installed():
        sys.exit("the extra is not installed: pip install -e '.[attachments]'")
    common.compiled()
    with common.workplace(options.root) as directory:
        measure(directory)


def measure(directory: Path) -> None:
    common.heading(f"{DOCUMENTS:,} documents: PDF, docx, xlsx")
    made = list(generated())
    print(f"  {common.megabytes(sum(len(data) for _, data in made))}")
    tree, index = Tree(str(directory)), open_index(index_path(str(directory)))
    mails = [documents.mail(paper, subject=f"number {n}") for n, paper in enumerate(made)]
    tree.file(tree.folder(), mails)
    with tree.ledger:
        told("without their text", indexed(tree, index, None))
        index.clear()
        first = told("each read", indexed(tree, index, READING))
        rate = DOCUMENTS / first.wall
        common.verdict(f"{rate:.0f} documents a second, indexed with their mail", str(TARGET), rate >= TARGET)
        mails = [documents.mail(paper, subject=f"once more {n}") for n, paper in enumerate(made[:AGAIN])]
        tree.file(tree.folder(), mails, first=DOCUMENTS + 1)
        later = told(f"{AGAIN:,} of them in other mail", indexed(tree, index, READING))
        index.clear()
        anew = told("the index anew", indexed(tree, index, READING))
        read = [taken.tally.read for taken in (first, later, anew)]
        once = read == [DOCUMENTS, 0, 0]
        common.verdict(f"read: {read[0]:,}, then {read[1]:,}, then {read[2]:,}", "none twice", once)
        found(tree, index, mails[7])
    size = Path(attachments_path(str(directory))).stat().st_size
    print(f"  their texts as they are kept: {common.megabytes(size)}")
    index.close()


def indexed(tree: Tree, index: Index, reading: Reading | None) -> Taken:
    start, before = time.perf_counter(), cpu()
    report = drain(tree.ledger, index, nullcontext, workers=2, attachments=reading, tidy=False)
    if report.unreadable or report.attachments.unread or report.attachments.broken:
        sys.exit(f"not read: {report.attachments}")
    return Taken(time.perf_counter() - start, cpu() - before, report.attachments)


def found(tree: Tree, index: Index, wire: bytes) -> None:
    """One that was read is found, in both messages that have it."""
    query = parse("attachment:unique7", now=datetime.now())
    keys = set(index.found(query, LedgerPlaces(tree.ledger)))
    if len(keys) != 2 or key_of(wire) not in keys:
        sys.exit(f"{len(keys)} messages have a document that two were sent with")


def told(name: str, taken: Taken) -> Taken:
    common.step(name, common.Run(taken.wall, taken.cpu, 0))
    return taken


def cpu() -> float:
    """Seconds of this process and of its children, as far as they have ended."""
    each = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(used.ru_utime + used.ru_stime for used in each)


def generated() -> Iterator[tuple[str, bytes]]:
    """Documents that differ; the same ones each time."""
    chance = random.Random(1)
    words = ["".join(chance.choices(ascii_lowercase, k=chance.randint(3, 10))) for _ in range(5000)]
    for number in range(DOCUMENTS):
        lines = [" ".join(chance.choices(words, k=12)) for _ in range(60)]
        lines[0] = f"unique{number} {lines[0]}"
        kind = ("pdf", "docx", "xlsx")[number % 3]
        yield f"{kind}{number}.{kind}", MAKERS[kind](lines)


def pdf(lines: list[str]) -> bytes:
    return documents.pdf("\n".join(lines[:50]), pages=3)


def letter(lines: list[str]) -> bytes:
    import docx

    document = docx.Document()
    for line in lines:
        document.add_paragraph(line)
    return documents.saved(document.save)


def sheet(lines: list[str]) -> bytes:
    import openpyxl

    book = openpyxl.Workbook(write_only=True)
    page = book.create_sheet()
    for row in range(300):
        page.append([row, *lines[row % 60].split()[:4], row * 1.5])
    file = BytesIO()
    book.save(file)
    return file.getvalue()


MAKERS = {"pdf": pdf, "docx": letter, "xlsx": sheet}


if __name__ == "__main__":
    main()
