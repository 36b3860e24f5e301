"""Carrying mail over: mbox, Maildir, .eml files and archives of those, out of the archive and into it."""

from archiver.exchange.giving import FORMATS, ExportReport, Format, Wanted, give, guess_format
from archiver.exchange.mbox import DIALECTS, Dialect
from archiver.exchange.taking import ImportReport, take

__all__ = [
    "DIALECTS",
    "FORMATS",
    "Dialect",
    "ExportReport",
    "Format",
    "ImportReport",
    "Wanted",
    "give",
    "guess_format",
    "take",
]
