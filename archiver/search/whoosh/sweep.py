"""What belongs to no commit: directories of drafts, and what killed writers left."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from archiver.search.whoosh import record as records
from archiver.search.whoosh.record import Record

_toc = re.compile(r"_MAIN_\d+\.toc\Z")
_ours = re.compile(r"_MAIN_\d+\.toc|MAIN_[0-9a-z]+\.|archiver-\d+\.json")
_DRAFTS = "draft-"
_STOCK_DRAFTS = "MAIN.tmp"


def sweep(folder: str, record: Record | None) -> None:
    """Delete what killed commits left and what the last commit made old. Needs the writer's lock.

    Only names that Whoosh or this package gives; a reader that has such a file open keeps it.
    """
    keep = records.files(record) if record else set()
    # A reader that finds no table of contents finds no index; one without its files looks damaged.
    for each in sorted(os.listdir(folder), key=lambda each: _toc.match(each) is None):
        if _ours.match(each) and each not in keep:
            os.unlink(os.path.join(folder, each))
        elif each.startswith(_DRAFTS):
            _sweep_drafts(os.path.join(folder, each))
        elif each == _STOCK_DRAFTS:
            shutil.rmtree(os.path.join(folder, each))


@contextmanager
def drafts(folder: str) -> Iterator[str]:
    """A directory in the index for what belongs to no commit yet; as long as it is open, nobody sweeps it."""
    with records.told("write"):
        os.makedirs(folder, mode=0o700, exist_ok=True)
        records.check_private(folder)
        place, descriptor = _make_drafts(folder)
    try:
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)
        os.close(descriptor)


def _make_drafts(folder: str) -> tuple[str, int]:
    while True:
        place = tempfile.mkdtemp(prefix=_DRAFTS, dir=folder)
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if os.path.exists(place):
            return place, descriptor
        os.close(descriptor)  # it was swept before it was locked


def _sweep_drafts(place: str) -> None:
    """Delete a directory of drafts whose owner is gone: the kernel unlocked it."""
    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # A worker of a killed owner may write into it for a moment more; the next sweep gets the rest.
        shutil.rmtree(place, ignore_errors=True)
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)
