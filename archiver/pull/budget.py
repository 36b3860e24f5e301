"""How much may still be fetched today: some providers shut an account out that takes more in a day."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta

from archiver.errors import UnavailableError


class Budget:
    """Bytes of one account and day (local time); without a `limit` there is always enough.

    What a killed run fetched is not counted: only a run that ends tells the ledger.
    """

    def __init__(self, limit: int | None = None, spent: int = 0) -> None:
        self._limit = limit
        self._before = spent
        self._lock = threading.Lock()
        self.spent = 0

    def spend(self, size: int) -> None:
        with self._lock:
            self.spent += size

    def insist(self) -> None:
        """UnavailableError until midnight when the day's bytes are used up."""
        if self._limit is not None and self._before + self.spent >= self._limit:
            now = datetime.now()
            midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time())
            raise UnavailableError(
                "the daily limit of bytes is reached",
                wait=(midnight - now).total_seconds(),
                hint="the rest is fetched tomorrow; daily_bytes in the configuration sets the limit",
            )
