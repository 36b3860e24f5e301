"""Pull: what the server has and the archive lacks, by UID, into the store and the ledger."""

from archiver.pull.run import AccountReport, FolderReport, Progress, pull

__all__ = ["AccountReport", "FolderReport", "Progress", "pull"]
