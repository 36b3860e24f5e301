"""Store against ledger against index: what differs, and what would mend it. Changes nothing."""

from archiver.verify.findings import REMEDIES, Finding, Kind, VerifyReport
from archiver.verify.run import verify

__all__ = ["REMEDIES", "Finding", "Kind", "VerifyReport", "verify"]
