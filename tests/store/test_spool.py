"""Messages too large to hold: written while they come."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import ConnectionLostError
from archiver.store import spool
from archiver.store.maildir import Name, key_of, to_file, to_wire

pieces_of_mail = st.lists(
    st.lists(st.sampled_from([b"\r", b"\n", b"\r\n", b"a"]), max_size=5).map(b"".join), max_size=8
)


class TestSpool:
    @given(pieces_of_mail)
    def test_stores_what_a_small_message_would_be_stored_as(
        self, tmp_path_factory: pytest.TempPathFactory, pieces: list[bytes]
    ) -> None:
        folder = tmp_path_factory.mktemp("folder")
        (folder / "tmp").mkdir()
        whole = b"".join(pieces)
        spooled = spool.spool(str(folder), iter(pieces))
        assert (spooled.size, spooled.key) == (len(whole), key_of(whole))
        path, size, wire_size = spool.to_file(spooled)
        data = Path(path).read_bytes()
        assert (data, wire_size) == to_file(whole)
        assert len(data) == size
        assert to_wire(data, Name(0, key_of(whole).hex()[:32], size, wire_size, 1, 1)) == whole
        assert [str(left) for left in (folder / "tmp").iterdir()] == [path]
        assert os.stat(path).st_mode & 0o777 == 0o600

    def test_leaves_nothing_when_the_line_is_cut(self, tmp_path: Path) -> None:
        (tmp_path / "tmp").mkdir()

        def cut() -> Iterator[bytes]:
            yield b"half"
            raise ConnectionLostError("gone")

        with pytest.raises(ConnectionLostError):
            spool.spool(str(tmp_path), cut())
        assert list((tmp_path / "tmp").iterdir()) == []
