from __future__ import annotations

from array import array

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.config import Folders
from archiver.errors import FolderError
from archiver.imap import Mailbox, Selected, Status
from archiver.pull import plan
from archiver.pull.listing import Named, Names
from archiver.store.records import Failure, Folder, State

NOW = 1_700_000_000.0
DAY = 86400.0
SETTLED = Folder(
    id=1,
    account="work",
    raw="INBOX",
    name="INBOX",
    path="work/INBOX",
    epoch=1,
    uidvalidity=7,
    cursor=10,
    uidnext=11,
    messages=8,
    modseq=99,
    flags_at=NOW - 60,
    open=0,
    listed=1,
    error=None,
)
SAME = Status(messages=8, uidnext=11, uidvalidity=7, modseq=99)


def folder(**changes: object) -> Folder:
    return msgspec.structs.replace(SETTLED, **changes)


def status(**changes: object) -> Status:
    return msgspec.structs.replace(SAME, **changes)


def selected(**changes: object) -> Selected:
    return msgspec.structs.replace(Selected(exists=8, uidvalidity=7, uidnext=11, modseq=99), **changes)


def failure(uid: int, due: float) -> Failure:
    return Failure(1, 1, uid, "NO", 1, due)


def mailbox(name: str, *special: str, selectable: bool = True) -> Mailbox:
    return Mailbox(name, name, "/", special, selectable)


class TestChoose:
    MAILBOXES = (
        mailbox("Work/2024"),
        mailbox("Work"),
        mailbox("Müll", "\\Junk", "\\HasNoChildren"),
        mailbox("Lists/python-dev"),
        mailbox("INBOX"),
        mailbox("[Gmail]", selectable=False),
    )

    def chosen(self, include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
        return [m.name for m in plan.choose(self.MAILBOXES, Folders(include, exclude))]

    def test_all_that_can_be_opened_inbox_first(self) -> None:
        assert self.chosen() == ["INBOX", "Lists/python-dev", "Müll", "Work", "Work/2024"]

    @pytest.mark.parametrize(
        ("include", "exclude", "names"),
        [
            (("Work*",), (), ["Work", "Work/2024"]),
            (("work",), (), ["Work"]),
            (("Work*", "INBOX"), ("*/2024",), ["INBOX", "Work"]),
            ((), ("\\Junk", "Lists/*"), ["INBOX", "Work", "Work/2024"]),
            ((), ("\\jUNK", "MÜLL", "lists/*", "inbox"), ["Work", "Work/2024"]),
            (("\\Junk",), (), ["Müll"]),
            (("\\Trash",), (), []),
            (("[Gmail]",), (), []),
            (("Work?2024",), (), ["Work/2024"]),
        ],
    )
    def test_patterns(self, include: tuple[str, ...], exclude: tuple[str, ...], names: list[str]) -> None:
        assert self.chosen(include, exclude) == names


class TestIsUnchanged:
    def unchanged(
        self, known: Folder = SETTLED, told: Status = SAME, *failures: Failure, flags_every: float = DAY
    ) -> bool:
        return plan.is_unchanged(known, told, failures, NOW, flags_every)

    def test_when_every_value_is_equal(self) -> None:
        assert self.unchanged()

    @pytest.mark.parametrize(
        "told",
        [
            status(messages=7),
            status(uidnext=12),
            status(uidvalidity=8),
            status(modseq=100),
            status(modseq=98),
            status(messages=None),
            status(uidnext=None),
            status(uidvalidity=None),
        ],
        ids=repr,
    )
    def test_not_when_one_differs_or_was_not_told(self, told: Status) -> None:
        assert not self.unchanged(told=told)

    @pytest.mark.parametrize("known", [folder(open=1), folder(uidnext=None), folder(messages=None)])
    def test_not_after_a_run_that_was_cut_short(self, known: Folder) -> None:
        assert not self.unchanged(known)

    def test_not_when_a_failed_uid_is_due(self) -> None:
        assert not self.unchanged(SETTLED, SAME, failure(3, NOW + 1), failure(4, NOW))
        assert self.unchanged(SETTLED, SAME, failure(3, NOW + 1))

    @pytest.mark.parametrize("known", [None, 99])
    @pytest.mark.parametrize("told", [None, 99])
    def test_without_mod_sequences_flags_are_compared_now_and_then(
        self, known: int | None, told: int | None
    ) -> None:
        if known and told:
            return
        assert self.unchanged(folder(modseq=known, flags_at=NOW - DAY + 1), status(modseq=told))
        assert not self.unchanged(folder(modseq=known, flags_at=NOW - DAY), status(modseq=told))

    @pytest.mark.parametrize("uidvalidity", [0, None])
    def test_never_without_a_uidvalidity(self, uidvalidity: int | None) -> None:
        """A folder whose account became another's has none either; equal is not enough then."""
        assert not self.unchanged(folder(uidvalidity=0), status(uidvalidity=uidvalidity))


class TestIsNewEpoch:
    @pytest.mark.parametrize(
        ("known", "told", "new"),
        [
            (SETTLED, selected(), False),
            (SETTLED, selected(uidnext=12), False),
            (SETTLED, selected(uidnext=None), False),
            (SETTLED, selected(uidvalidity=8), True),
            (SETTLED, selected(uidvalidity=6), True),
            (SETTLED, selected(uidnext=10), True),
            (SETTLED, selected(uidnext=1), True),
            (folder(uidvalidity=0, cursor=0, epoch=0), selected(), True),
            (folder(cursor=0), selected(uidnext=1), False),
        ],
    )
    def test_when_uids_mean_something_else(self, known: Folder, told: Selected, new: bool) -> None:
        assert plan.is_new_epoch(known, told, 0) is new

    def test_when_a_known_uid_is_yet_to_be_given(self) -> None:
        """After a run that was cut short, or in a ledger made from the files, the cursor lags behind."""
        assert plan.is_new_epoch(folder(cursor=0), selected(uidnext=5), 7)
        assert not plan.is_new_epoch(folder(cursor=0), selected(uidnext=8), 7)


class TestNeedsAll:
    def needs(self, known: Folder, told: Selected, live: int, tail: int, flags_every: float = DAY) -> bool:
        return plan.needs_all(known, told, live, tail, NOW, flags_every)

    def test_the_first_time(self) -> None:
        assert self.needs(folder(cursor=0, uidnext=None), selected(exists=0), 0, 0)

    def test_not_when_all_is_accounted_for(self) -> None:
        assert not self.needs(SETTLED, selected(), 8, 0)
        assert not self.needs(SETTLED, selected(exists=11, uidnext=14), 8, 3)

    def test_when_something_vanished_or_is_lacking_here(self) -> None:
        assert self.needs(SETTLED, selected(exists=7), 8, 0)
        assert self.needs(SETTLED, selected(), 7, 0)
        assert self.needs(SETTLED, selected(exists=10), 8, 3)

    def test_after_a_run_that_was_cut_short(self) -> None:
        """What is lacking here and what vanished there may be as many."""
        assert self.needs(folder(uidnext=None), selected(), 8, 0)

    def test_now_and_then_where_nobody_says_what_changed(self) -> None:
        for known, told in ((None, None), (99, None), (None, 99)):
            assert not self.needs(folder(modseq=known, flags_at=NOW - DAY + 1), selected(modseq=told), 8, 0)
            assert self.needs(folder(modseq=known, flags_at=NOW - DAY), selected(modseq=told), 8, 0)
        assert not self.needs(folder(flags_at=0), selected(), 8, 0)


UIDS = st.integers(1, 30)
FLAGS = st.frozensets(st.sampled_from(["\\Seen", "\\Flagged", "\\seen", "$Work", "Later", "\\Other"]))
KNOWN = st.tuples(
    st.sampled_from(["", "S", "FS"]), st.sampled_from(["", "$Work"]), st.sampled_from([0, 5]), st.none()
)


class TestCompare:
    @given(
        st.dictionaries(UIDS, FLAGS),
        st.dictionaries(UIDS, KNOWN),
        st.dictionaries(UIDS, st.sampled_from([NOW - 1, NOW, NOW + 1])),
        st.booleans(),
    )
    def test_is_the_servers_facts_minus_ours(
        self,
        server: dict[int, frozenset[str]],
        known: dict[int, State],
        due: dict[int, float],
        complete: bool,
    ) -> None:
        failures = {uid: failure(uid, when) for uid, when in due.items()}
        work = plan.compare(server, known, failures, NOW, complete=complete)
        wanted = {uid for uid in server if (due[uid] <= NOW if uid in due else uid not in known)}
        assert set(work.fetch) == wanted
        assert list(work.fetch) == sorted(set(work.fetch))
        there = {uid for uid, (_, _, gone, _) in known.items() if not gone}
        assert set(work.gone) == (there - server.keys() if complete else set())
        assert {uid for uid, *_ in work.flags} <= known.keys() & server.keys()
        assert not set(work.fetch) & set(work.gone)

    @given(st.dictionaries(UIDS, FLAGS), st.dictionaries(UIDS, KNOWN))
    def test_once_it_is_done_nothing_differs(
        self, server: dict[int, frozenset[str]], known: dict[int, State]
    ) -> None:
        work = plan.compare(server, known, {}, NOW, complete=True)
        after = dict(known)
        after.update((uid, (letters, words, 0, labels)) for uid, letters, words, labels in work.flags)
        after.update((uid, (*after[uid][:2], 9, after[uid][3])) for uid in work.gone)
        for uid in work.fetch:
            told, odd = {uid: server[uid]}, {uid: ("?", "", 0, None)}
            ((_, letters, words, _),) = plan.compare(told, odd, {}, NOW, complete=False).flags
            after[uid] = (letters, words, 0, None)
        assert plan.compare(server, after, {}, NOW, complete=True) == plan.Differences(array("I"), (), ())

    def test_what_came_back_is_no_longer_gone(self) -> None:
        work = plan.compare({1: frozenset()}, {1: ("", "", 5, None)}, {}, NOW, complete=False)
        assert work.flags == ((1, "", "", None),)

    def test_flags_in_letters_and_keywords(self) -> None:
        told = {1: frozenset({"\\Seen", "\\FLAGGED", "b", "a", "\\Odd"})}
        work = plan.compare(told, {1: ("S", "", 0, None)}, {}, NOW, complete=False)
        assert work.flags == ((1, "FS", "a b", None),)

    def test_labels_count_where_the_server_tells_them(self) -> None:
        told = dict.fromkeys((1, 2, 3, 4), frozenset[str]())
        known: dict[int, State] = {uid: ("", "", 0, "Work") for uid in told}
        work = plan.compare(told, known, {}, NOW, complete=True, labels={1: "Work", 2: "", 3: "Home\nWork"})
        assert work.flags == ((2, "", "", ""), (3, "", "", "Home\nWork"))


class TestRenames:
    """What STATUS tells, what EXAMINE confirms, and in which order names change."""

    def rows(self, **mailboxids: str | None) -> list[Folder]:
        return [folder(id=i, raw=raw, mailboxid=name) for i, (raw, name) in enumerate(mailboxids.items())]

    def told(self, **mailboxids: str | None) -> dict[str, Status | FolderError]:
        return {raw: status(mailboxid=name) for raw, name in mailboxids.items()}

    def test_nobody_is_suspected_where_all_is_as_it_was(self) -> None:
        told = self.told(A="F1", B=None, New="F7")
        assert plan.suspects(self.rows(A="F1", B="F2"), told, told) == []

    @pytest.mark.parametrize(
        ("told", "suspects"),
        [
            ({"A": "F1", "New": "F2"}, {"New"}),  # B has another name
            ({"A": "F1", "New": "garbage"}, {"New"}),
            ({"A": "F1", "New": None, "Other": "F2"}, {"New", "Other"}),
            ({"A": "F2", "B": "F1"}, {"A", "B"}),
            ({"A": "F2", "B": None}, {"A"}),
            ({"A": "F9", "B": "F2", "New": "F1"}, {"A", "New"}),
        ],
    )
    def test_who_may_have_another_name(self, told: dict[str, str | None], suspects: set[str]) -> None:
        assert set(plan.suspects(self.rows(A="F1", B="F2"), told, self.told(**told))) == suspects

    @pytest.mark.parametrize("change", [{"uidvalidity": 8}, {"uidnext": 9}])
    def test_also_where_status_tells_no_mailboxids(self, change: dict[str, int]) -> None:
        told: dict[str, Status | FolderError] = {"A": status(**change), "B": status()}
        assert plan.suspects(self.rows(A="F1", B="F2"), told, told) == ["A"]

    @pytest.mark.parametrize("listed", [1, 0])
    def test_what_is_not_pulled_is_looked_at_once(self, listed: int) -> None:
        rows = [*self.rows(A="F1"), folder(raw="B", mailboxid="F2", listed=listed)]
        found = plan.suspects(rows, ["A", "Pulled", "Unpulled"], self.told(A="F1", Pulled=None))
        assert found == (["Pulled", "Unpulled"] if listed else ["Pulled"])

    def test_one_whose_mailboxid_was_never_known_may_be_any(self) -> None:
        assert plan.suspects(self.rows(A="F1", B=None), {"B"}, self.told(B=None)) == ["B"]

    def test_a_refused_status_is_no_reason(self) -> None:
        told: dict[str, Status | FolderError] = {"A": FolderError("NO"), "B": status()}
        assert plan.suspects(self.rows(A="F1", B="F2"), told, told) == []

    @pytest.mark.parametrize(
        ("confirmed", "renamed"),
        [
            ({"A": "F1"}, {}),
            ({"New": None}, {}),
            ({"New": "F9"}, {}),
            ({"New": "F1"}, {"New": "A"}),
            ({"New": "F1", "Other": "F1"}, {}),
            ({"A": "F2", "B": "F1"}, {"A": "B", "B": "A"}),
        ],
    )
    def test_what_examine_tells_counts(
        self, confirmed: dict[str, str | None], renamed: dict[str, str]
    ) -> None:
        found = plan.renames(self.rows(A="F1", B="F2"), confirmed, confirmed)
        assert {raw: owner.raw for raw, owner in found.items()} == renamed

    @given(st.permutations(range(6)), st.booleans())
    def test_a_name_is_left_before_it_is_taken_where_that_can_be(self, order: list[int], ring: bool) -> None:
        """Each of six folders has the next one's name; the last a new one, or the first one's."""
        rows = self.rows(**{f"N{n}": f"F{n}" for n in order})
        names = {n: f"N{(n + 1) % 6 if ring else n + 1}" for n in order}
        confirmed = {names[n]: f"F{n}" for n in reversed(order)}
        found = plan.renames(rows, confirmed, confirmed)
        held = {owner.raw for owner in found.values()}
        in_the_way = []
        for raw, owner in found.items():
            in_the_way += [raw] if raw in held else []
            held -= {raw, owner.raw}
        assert len(found) == 6
        assert in_the_way == (["N0"] if ring else [])

    def test_of_two_with_one_mailboxid_the_one_that_is_there_counts(self) -> None:
        rows = self.rows(A="F1", Gone="F1")
        assert plan.renames(rows, {"A", "New"}, {"New": "F1"})["New"].raw == "A"
        assert plan.renames(rows[::-1], {"A", "New"}, {"New": "F1"})["New"].raw == "A"


class TestFirstOfEach:
    def names(self, **contents: str) -> Names:
        names = Names()
        for uid, content in contents.items():
            names.add(int(uid[1:]), Named(content, 0, None))
        return names

    def test_keeps_apart_what_only_repeats(self) -> None:
        names = self.names(_1="a", _2="b", _4="a", _5="b", _6="c")
        assert plan.first_of_each([1, 2, 3, 4, 5, 6], names) == ([1, 2, 3, 6], [4, 5])

    def test_what_has_no_name_is_of_its_own(self) -> None:
        assert plan.first_of_each([1, 2], Names()) == ([1, 2], [])
