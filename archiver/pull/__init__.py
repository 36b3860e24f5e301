"""Pull: what the server has and the archive lacks, by UID, into the store and the ledger."""

from archiver.pull.budget import Budget
from archiver.pull.report import AccountReport, FolderReport, Progress
from archiver.pull.run import pull

__all__ = ["AccountReport", "Budget", "FolderReport", "Progress", "pull"]
