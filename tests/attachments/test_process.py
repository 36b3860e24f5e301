"""Whatever a document does to its process, an answer comes, and the next document is read."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from archiver.attachments import formats
from archiver.attachments import process as reading
from archiver.attachments.process import Outcome, Process, Task, read_document
from tests.attachments import documents
from tests.attachments.hostile import obey

PDF = documents.pdf("quarterly figures")


def task(data: bytes, kind: str = "text", seconds: float = 20.0, memory: int = 512 << 20) -> Task:
    return Task(kind, data, seconds, memory, 10_000)


@pytest.fixture
def process() -> Iterator[Process]:
    with Process(obey) as made:
        yield made


def test_one_process_for_many_documents(process: Process) -> None:
    before = set(multiprocessing.active_children())
    assert "figures" in process.read(task(PDF, "pdf")).text
    started = set(multiprocessing.active_children()) - before
    assert process.read(task(b"plain words")).text == "plain words"
    assert set(multiprocessing.active_children()) - before == started
    assert len(started) == 1


@pytest.mark.parametrize("order", [b"crash", b"kill"])
def test_a_document_that_kills_the_process(process: Process, order: bytes) -> None:
    assert process.read(task(order)).reason == reading.DEADLY
    assert process.read(task(b"next")).text == "next"


def test_a_document_that_never_ends(process: Process) -> None:
    process.read(task(b"first"))
    begun = time.monotonic()
    assert process.read(task(b"hang", seconds=1)).reason == reading.LATE
    assert 1 <= time.monotonic() - begun < 10
    assert process.read(task(b"next")).text == "next"


def test_a_process_that_does_not_end_by_itself_is_ended(process: Process) -> None:
    before = set(multiprocessing.active_children())
    process.read(task(b"first"))
    (child,) = set(multiprocessing.active_children()) - before
    assert process.read(task(b"stay:10")).text == "stays"
    assert child.exitcode == -signal.SIGKILL
    assert process.read(task(b"next")).text == "next"


def test_a_process_that_is_ended_by_somebody_is_no_fault_of_the_document(
    process: Process, tmp_path: Path
) -> None:
    process.read(task(b"first"))
    assert process.read(task(b"once:" + os.fsencode(tmp_path / "mark"))).text.startswith("once:")


def test_memory_has_a_limit() -> None:
    """A sheet of 18 MB takes 150 MB when it is read."""
    row = '<row><c t="inlineStr"><is><t>hello world</t></is></c></row>'
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    sheet = f'<worksheet xmlns="{main}"><sheetData>{row * 300_000}'
    data = documents.with_part(
        documents.xlsx("x"), "xl/worksheets/sheet1.xml", sheet + "</sheetData></worksheet>"
    )
    with Process() as process:
        assert process.read(task(data, "zip", seconds=60, memory=64 << 20)).reason in (
            reading.DEADLY,
            reading.LARGE,
        )
        assert "figures" in process.read(task(PDF, "pdf")).text


def test_a_process_that_grew_is_replaced() -> None:
    with Process() as process:
        assert not process.read(task(b"small")).worn
        assert process.read(task(b"words " * 15_000_000)).worn
        assert not process.read(task(b"small")).worn


def test_limits_are_the_kernels(tmp_path: Path) -> None:
    """No file is written, no core is left; who forgot to watch is no reason to go on for ever."""
    script = (
        "import os, resource, sys\n"
        "from archiver.attachments.process import Task, read_document\n"
        "read_document(Task('text', b'x', 1, 512 << 20, 100))\n"
        "assert resource.getrlimit(resource.RLIMIT_FSIZE) == (0, 0)\n"
        "assert resource.getrlimit(resource.RLIMIT_CORE) == (0, 0)\n"
        "assert resource.getrlimit(resource.RLIMIT_DATA) == (512 << 20, 512 << 20)\n"
        "assert os.listdir(sys.argv[1]) == []\n"
        "import archiver.attachments.formats as formats, archiver.attachments.process as process\n"
        "formats.text_of, process._ALARM = lambda *_: [None for _ in iter(int, 1)], 0\n"
        "read_document(Task('text', b'x', 1, 512 << 20, 100))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    ended = subprocess.run(command, env={**os.environ, "TMPDIR": str(tmp_path)}, timeout=60)
    assert ended.returncode == -signal.SIGALRM


def test_nothing_of_the_library_is_taken_from_where_others_may_write(tmp_path: Path) -> None:
    """It unpacks a part of itself into a directory of a known name, and loads what is there."""
    (tmp_path / "kreuzberg-pdfium").mkdir()
    (tmp_path / "kreuzberg-pdfium" / "libpdfium.so").write_bytes(b"not ours")
    script = (
        "from archiver.attachments.process import Task, read_document\n"
        "import os, sys\n"
        "out = os.dup(1)\n"
        "outcome = read_document(Task('pdf', sys.stdin.buffer.read(), 20, 512 << 20, 100))\n"
        "os.write(out, outcome.text.encode())\n"
    )
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    run = subprocess.run(
        [sys.executable, "-c", script], input=PDF, env=environment, capture_output=True, check=True
    )
    assert b"figures" in run.stdout
    assert os.listdir(tmp_path) == ["kreuzberg-pdfium"]


def test_a_place_that_takes_no_code_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where /tmp is mounted noexec, what is unpacked there cannot be loaded: every PDF would seem damaged."""
    refusing, taking = tmp_path / "refusing", tmp_path / "taking"
    refusing.mkdir()
    taking.mkdir()
    code_runs = reading._lets_code_run
    monkeypatch.setattr(reading, "_PLACES", (str(tmp_path / "absent"), str(refusing), str(taking)))
    monkeypatch.setattr(reading, "_lets_code_run", lambda path: "taking" in path and code_runs(path))
    with reading._own_directory() as directory:
        assert Path(directory).parent == taking
    assert os.listdir(refusing) == os.listdir(taking) == []


def test_without_the_library_it_says_so() -> None:
    script = (
        "import sys\n"
        "sys.modules['kreuzberg'] = None\n"
        "from archiver.attachments.process import Task, read_document\n"
        "outcome = read_document(Task('text', b'x', 1, 512 << 20, 100))\n"
        "sys.exit(7 if not outcome.usable and outcome.reason else 1)\n"
    )
    assert subprocess.run([sys.executable, "-c", script]).returncode == 7


def test_where_no_process_starts_no_document_is_to_blame() -> None:
    with Process(die) as process:
        outcome = process.read(task(b"x"))
    assert not outcome.usable and outcome.reason


def die(task: Task) -> Outcome:
    os._exit(1)


def test_how_long_it_takes_to_start_is_no_fault_of_the_document() -> None:
    with Process(start_slowly) as process:
        assert process.read(task(b"plain words", seconds=1)).text == "plain words"


def start_slowly(task: Task) -> Outcome:
    if not task.data:
        time.sleep(2)
    return Outcome(task.data.decode())


def test_the_end_of_the_reader_is_the_end_of_the_process() -> None:
    before = set(multiprocessing.active_children())
    with Process() as process:
        assert isinstance(process.read(task(b"x")), Outcome)
        assert set(multiprocessing.active_children()) > before
    assert set(multiprocessing.active_children()) == before


def test_a_panic_is_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    def panic(*_: object) -> str:
        raise BaseException("with content of the document")

    monkeypatch.setattr(reading, "_prepare", lambda memory: None)
    monkeypatch.setattr(formats, "text_of", panic)
    outcome = read_document(task(b"x"))
    assert (outcome.reason, outcome.worn) == (reading.DEADLY, True)
    signal.alarm(0)
