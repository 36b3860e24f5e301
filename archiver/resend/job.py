"""One message of the outbox and all that is needed to send it."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from archiver.resend.compose import compose
from archiver.resend.recipe import Recipe

Fetch = Callable[[bytes], bytes]
Original = tuple[bytes, Callable[[], bytes]]


class Job(Struct, frozen=True):
    """A message of the outbox: its originals' keys and what fetches their bytes; who is to get it.

    tries: how often it was tried before. block: what goes before the original's bytes, where that is kept.
    """

    id: int
    originals: tuple[Original, ...]
    message_id: str
    sender: str
    to: tuple[str, ...]
    recipe: Recipe
    tries: int = 0
    block: bytes = b""

    @property
    def key(self) -> bytes:
        return self.originals[0][0]

    def load(self) -> tuple[bytes, bytes]:
        """The block and the rest; our own errors where bytes cannot be had or must not go like this."""
        wires = [fetch() for _, fetch in self.originals]
        block, data = compose(self.recipe, self.message_id, wires)
        return self.block or block, data
