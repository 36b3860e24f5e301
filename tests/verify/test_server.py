"""What a server has beside what the ledger has: nothing is found exactly when nothing is missing."""

from __future__ import annotations

from array import array
from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from archiver.errors import FolderError
from archiver.imap.types import Selected
from archiver.store.records import Failure, Folder
from archiver.verify import Finding
from archiver.verify.server import Ours, Theirs, compare, vanished

FOLDER = Folder(3, "work", "INBOX", "INBOX", "work/INBOX", 1, 7, 0, None, None, None, 0.0, 0, 1, None)
UIDS = st.sets(st.integers(1, 40) | st.integers(2**32 - 5, 2**32 - 1))


def numbers(uids: Iterable[int]) -> array[int]:
    return array("I", sorted(uids))


def ours(live: Iterable[int] = (), gone: Iterable[int] = (), failed: Iterable[int] = ()) -> Ours:
    return Ours(FOLDER, numbers(live), numbers(gone), {n: Failure(3, 1, n, "no body", 2, 0) for n in failed})


def theirs(
    uids: Iterable[int], *, hidden: int = 0, uidvalidity: int | None = 7, uidnext: int | None = None
) -> Theirs:
    listed = numbers(uids)
    return Theirs(Selected(len(listed) + hidden, uidvalidity, uidnext, None), listed)


def found(their: Theirs | FolderError, our: Ours | None) -> list[Finding]:
    return list(compare("work", "INBOX", their, our))


def meant(findings: Iterable[Finding], kind: str) -> set[int]:
    """The UIDs that findings of one kind are about."""
    of_kind = [finding for finding in findings if finding.kind == kind]
    uids: list[int] = [finding.uid for finding in of_kind if finding.uid]
    for finding in of_kind:
        for span in filter(None, finding.uids.split(",")):
            first, _, last = span.partition(":")
            uids += range(int(first), int(last or first) + 1)
        assert not finding.uids or finding.messages == len(uids)
    assert len(uids) == len(set(uids))
    return set(uids)


@given(there=UIDS, known=UIDS, gone=UIDS, failed=UIDS, hidden=st.integers(0, 2))
def test_every_uid_is_told_of_once(
    there: set[int], known: set[int], gone: set[int], failed: set[int], hidden: int
) -> None:
    gone, failed = gone - known, failed - known - gone
    findings = found(theirs(there, hidden=hidden), ours(known, gone, failed))
    assert meant(findings, "unfetched") == there - known - gone - failed
    assert meant(findings, "failed") == failed
    assert meant(findings, "expunged") == (set() if hidden else known - there)
    assert {f.uid for f in findings if f.kind == "failed" and f.gone} == (set() if hidden else failed - there)
    assert [f.messages for f in findings if f.kind == "unlisted"] == ([hidden] if hidden else [])
    assert {f.kind for f in findings} <= {"unfetched", "failed", "expunged", "unlisted"}
    if not hidden:
        assert all(f.harmless for f in findings) == (there <= known | gone)
        assert (findings == []) == (known <= there <= known | gone and not failed)


@given(there=UIDS, known=UIDS)
def test_all_is_well_only_when_all_are_known(there: set[int], known: set[int]) -> None:
    assert all(f.harmless for f in found(theirs(there), ours(known))) == (there <= known)


class TestUidsThatMeanSomethingElse:
    @pytest.mark.parametrize(
        ("their", "why"),
        [
            (theirs([1, 2], uidvalidity=8), "UIDVALIDITY is 8, it was 7"),
            (theirs([1, 2], uidnext=3), "UIDs are counted anew: the next one is 3, 9 is known"),
        ],
    )
    def test_the_folder_is_told_of_and_no_uid(self, their: Theirs, why: str) -> None:
        (finding,) = found(their, ours([4, 9]))
        assert (finding.kind, finding.messages, finding.detail) == ("renumbered", 2, why)
        assert not finding.harmless

    def test_of_another_mailbox(self) -> None:
        our = replace(ours([1]), other_mailbox=True)
        (finding,) = found(theirs([1]), our)
        assert (finding.kind, finding.harmless) == ("renumbered", False)
        assert "another mailbox" in finding.detail

    @pytest.mark.parametrize(
        ("theirs_", "ours_", "same"), [("F1", "F1", True), ("F2", "F1", False), ("F2", None, True)]
    )
    def test_of_another_folder_of_that_name(self, theirs_: str, ours_: str | None, same: bool) -> None:
        their, our = theirs([1, 2]), ours([1, 2])
        their = replace(their, selected=replace(their.selected, mailboxid=theirs_))
        our = replace(our, folder=replace(our.folder, mailboxid=ours_))
        assert [finding.kind for finding in found(their, our)] == ([] if same else ["renumbered"])

    def test_where_there_is_no_message_none_is_missing(self) -> None:
        (finding,) = found(theirs([], uidvalidity=8), ours([4]))
        assert (finding.kind, finding.harmless) == ("renumbered", True)

    def test_the_next_uid_may_be_far_away_or_not_given(self) -> None:
        assert found(theirs([1, 2], uidnext=90), ours([1, 2])) == []
        assert found(theirs([1, 2], uidnext=None), ours([1, 2])) == []


class TestFoldersThatCannotBeCompared:
    def test_refused(self) -> None:
        (finding,) = found(FolderError("cannot be opened: NO [NOPERM] no"), ours([1]))
        assert (finding.kind, finding.detail) == ("refused", "cannot be opened: NO [NOPERM] no")
        assert (finding.account, finding.folder, finding.harmless) == ("work", "INBOX", False)

    @pytest.mark.parametrize("none", [None, 0])
    @pytest.mark.parametrize("known", [True, False])
    def test_without_uidvalidity(self, none: int | None, known: bool) -> None:
        findings = found(theirs([1], uidvalidity=none), ours([1], failed=[5]) if known else None)
        assert [f.kind for f in findings] == (["refused", "failed"] if known else ["refused"])
        assert "UIDVALIDITY" in findings[0].detail
        assert not any(f.harmless for f in findings)

    @pytest.mark.parametrize("known", [True, False])
    def test_never_pulled(self, known: bool) -> None:
        never = Ours(replace(FOLDER, uidvalidity=0), numbers([]), numbers([]), {})
        our = never if known else None
        (finding,) = found(theirs([3, 4]), our)
        assert (finding.kind, finding.messages, finding.harmless) == ("unpulled", 2, False)
        assert found(theirs([]), our) == []
        assert [f.messages for f in found(theirs([], hidden=5), our)] == [5]

    def test_no_longer_there(self) -> None:
        findings = list(vanished(ours([1, 2], [3], [4])))
        assert [(f.kind, f.uid, f.uids, f.harmless) for f in findings] == [
            ("failed", 4, "", True),
            ("expunged", 0, "1:2", True),
        ]
        assert list(vanished(ours([], [3]))) == []
