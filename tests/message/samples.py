"""The mail in tests/samples, of our own making, and the corpora beside the project."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
SAMPLES = {path.name: path.read_bytes() for path in sorted((_ROOT / "tests/samples").glob("*.eml"))}


def corpus(name: str) -> Iterator[tuple[str, bytes]]:
    """Path and bytes of each message of a corpus; skips the test, saying so, when it is not there."""
    archive = _ROOT.parent / "shared/corpus" / f"{name}.tar.xz"
    if not archive.is_file():
        pytest.skip(f"no corpus: {archive} is not there, so nothing was tested on its messages")
    with tarfile.open(archive) as members:
        for member in members:
            if member.isfile() and (file := members.extractfile(member)) is not None:
                yield member.name, file.read()
