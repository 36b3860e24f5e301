"""Pull: what the server has and the archive lacks, by UID, into the store and the ledger."""

from archiver.pull.report import AccountReport, FolderReport, Progress
from archiver.pull.run import pull

__all__ = ["AccountReport", "FolderReport", "Progress", "pull"]
