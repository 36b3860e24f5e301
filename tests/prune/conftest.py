"""Homes with mail to prune."""

from __future__ import annotations

from tests.cli.conftest import home, pycache

__all__ = ["home", "pycache"]
