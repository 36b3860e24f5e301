"""Files of an index that are being written: on the disk before they are known."""

from __future__ import annotations

import os


def sync(path: str) -> None:
    """Wait until a file, or the names in a directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(folder: str, name: str, data: bytes) -> None:
    """Write a small file under a temporary name, sync it, give it its name."""
    temporary = os.path.join(folder, f"{name}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(descriptor)
    os.rename(temporary, os.path.join(folder, name))
