"""A process that reads documents one after the other, and is replaced when one of them kills it.

Anybody may send a file that its reader cannot bear. Here it can take so much time, so much memory, give so
much text, write no file and leave no core; whatever it does, it does to a process that holds nothing else.
The process is as much the user's as any other: this is no prison for a document that takes it over.
"""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec.structs import replace

if TYPE_CHECKING:
    from tempfile import TemporaryDirectory

    from archiver.workers import Workers

LATE = "reading it takes too long"
LARGE = "reading it takes too much memory"
DEADLY = "reading it kills the process"
DAMAGED = "it is damaged"
UNPACKED = "it is too large when it is unpacked"

# Seconds that starting a process may take.
_START = 60.0
# Seconds after which the kernel ends a process that nobody watches any more.
_ALARM = 10
# Bytes that a process took at most until it is replaced, so that none stays large.
_WORN = 200 << 20
# A PDF with an empty page: reading it loads the library that reads PDF.
_LEAST_PDF = (
    b"%PDF-1.4\n1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj\n"
    b"2 0 obj<</Type/Pages/Kids[3 0 R]/Count 1>>endobj\n"
    b"3 0 obj<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>endobj\ntrailer<</Root 1 0 R>>\n"
)
# Where a library can be unpacked to, one after the other; None: where temporary files belong.
_PLACES = (None, "/var/tmp", "/dev/shm", "~")


class Task(msgspec.Struct, frozen=True):
    """A document, what may be spent on it: seconds, bytes of memory, characters of text."""

    kind: str
    data: bytes
    seconds: float
    memory: int
    characters: int


class Outcome(msgspec.Struct, frozen=True):
    """The text of a document, or the reason why there is none; neither where it is encrypted.

    `worn`: the process had better be replaced. `usable`: False where reading cannot work here at all.
    """

    text: str = ""
    reason: str = ""
    worn: bool = False
    usable: bool = True


_UNUSABLE = Outcome(reason="the process that reads documents ends as it starts", usable=False)
Work: TypeAlias = "Callable[[Task], Outcome]"


def read_document(task: Task) -> Outcome:
    """Read a document; runs in a process that does nothing else."""
    try:
        _prepare(task.memory)
    except BaseException as error:  # a panic of the library is no Exception
        return Outcome(reason=f"documents cannot be read here: {type(error).__name__}", usable=False)
    signal.alarm(round(task.seconds) + _ALARM)
    outcome = _read(task)
    signal.alarm(0)
    return replace(outcome, worn=outcome.worn or _most_memory() > _WORN)


def _read(task: Task) -> Outcome:
    from archiver.attachments import formats

    try:
        return Outcome(formats.text_of(task.kind, task.data, task.characters))
    except formats.Encrypted:
        return Outcome()
    except formats.Damaged:
        return Outcome(reason=DAMAGED)
    except formats.TooLarge:
        return Outcome(reason=UNPACKED)
    except MemoryError:
        return Outcome(reason=LARGE)
    except BaseException:  # a panic of the library is no Exception
        return Outcome(reason=DEADLY, worn=True)


def _most_memory() -> int:
    """Bytes that this process took at most. (What getrusage tells begins with the parent's.)"""
    with open("/proc/self/status", "rb") as file:
        return next((int(line.split()[1]) << 10 for line in file if line.startswith(b"VmHWM:")), 0)


@cache
def _prepare(memory: int) -> None:
    """Take on the limits, once, and load what reads documents.

    What is printed may have content in it. The library unpacks a part of itself into a directory of a name
    that anybody can guess, and takes what is there: so it gets one of its own, for as long as that takes.
    """
    from archiver.attachments import formats

    null = os.open(os.devnull, os.O_RDWR)
    for stream in (1, 2):
        os.dup2(null, stream)
    with _own_directory() as directory:
        os.environ["TMPDIR"] = directory
        os.environ["TOKIO_WORKER_THREADS"] = "1"
        formats.text_of("pdf", _LEAST_PDF, 1)
    # The kernel ends who is late, whatever state it is in.
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    for limit, most in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_DATA, memory),
    ):
        resource.setrlimit(limit, (most, most))


def _own_directory() -> TemporaryDirectory[str]:
    """A new directory from which code may be loaded; OSError where there is none."""
    from tempfile import TemporaryDirectory

    for place in _PLACES:
        try:
            made = TemporaryDirectory(prefix="archiver-", dir=place and os.path.expanduser(place))
        except OSError:
            continue
        if _lets_code_run(made.name):
            return made
        made.cleanup()
    raise OSError("no place from which code may be loaded")


def _lets_code_run(directory: str) -> bool:
    """Whether the file system takes code; many a /tmp is mounted noexec."""
    import mmap

    with open(os.path.join(directory, "code"), "w+b") as file:
        file.write(b"\0")
        file.flush()
        try:
            mmap.mmap(file.fileno(), 1, prot=mmap.PROT_READ | mmap.PROT_EXEC).close()
        except OSError:
            return False
    return True


class Process:
    """One process, started for the first document; close it, or use it as a context manager."""

    def __init__(self, work: Work = read_document) -> None:
        self._work = work
        self._workers: Workers[Task, Outcome] | None = None

    def read(self, task: Task) -> Outcome:
        """What became of a document; only in a new process it is to blame for the end of that."""
        from archiver.workers import Crashed

        new = self._workers is None
        workers = self._workers or self._start(task)
        if isinstance(workers, Outcome):
            return workers
        (answer,) = workers.map([task], deadline=task.seconds)
        if isinstance(answer, Crashed) or answer.worn:
            self.close()
        if isinstance(answer, Outcome):
            return answer
        if answer.late:
            return Outcome(reason=LATE)
        return Outcome(reason=DEADLY) if new else self.read(task)

    def _start(self, task: Task) -> Workers[Task, Outcome] | Outcome:
        """A process that can read. On a busy machine starting it takes long: that is no document's fault."""
        from archiver.workers import Crashed, Workers

        try:
            self._workers = workers = Workers(self._work, 1)
        except OSError:
            return _UNUSABLE
        (answer,) = workers.map([replace(task, kind="text", data=b"")], deadline=_START)
        if isinstance(answer, Outcome) and answer.usable:
            return workers
        self.close()
        return _UNUSABLE if isinstance(answer, Crashed) else answer

    def close(self) -> None:
        """End the process: it holds nothing, and what it has read may keep it from ending by itself."""
        if self._workers is not None:
            self._workers.kill()
            self._workers.__exit__(None, None, None)
            self._workers = None

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
