"""Two mailboxes: one that is archived, and one to restore into."""

from __future__ import annotations

from tests.cli.conftest import home, pycache

__all__ = ["home", "pycache"]
