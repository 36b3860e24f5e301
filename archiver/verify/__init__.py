"""Store against ledger, index and server: what differs, and what would mend it. Changes nothing."""

from archiver.verify.findings import REMEDIES, Asked, Compared, Finding, Kind, VerifyReport
from archiver.verify.run import verify

__all__ = ["REMEDIES", "Asked", "Compared", "Finding", "Kind", "VerifyReport", "verify"]
