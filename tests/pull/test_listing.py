from __future__ import annotations

import sys

from hypothesis import given
from hypothesis import strategies as st

from archiver.imap import Listed
from archiver.pull.listing import Flags, Listing, Named, Names

NAMED = st.builds(
    Named,
    st.from_regex(r"(gm|id):[A-Za-z0-9_-]{1,20}:[0-9]{1,5}", fullmatch=True),
    st.none() | st.integers(-(1 << 40), 1 << 40),
    st.none() | st.sampled_from(["", "Work", "Büro\n\\Inbox"]),
)


class TestNames:
    @given(st.lists(st.tuples(st.integers(1, 40) | st.just((1 << 32) - 1), NAMED)))
    def test_are_a_dictionary_whatever_the_order(self, told: list[tuple[int, Named]]) -> None:
        names, expected = Names(), dict[int, Named]()
        for uid, named in told:
            names.add(uid, named)
            expected[uid] = named
        for uid in [*range(42), (1 << 32) - 1]:
            assert names.get(uid) == expected.get(uid)
            assert (uid in names) == (uid in expected)

    def test_take_little_room(self) -> None:
        names = Names()
        for uid in range(1, 10_001):
            names.add(uid, Named(f"gm:{1278455344230334865 + uid}:{uid}", uid, None))
        assert sum(sys.getsizeof(part) for part in vars(names).values()) < 60 * len(names)


class TestFlags:
    @given(
        st.lists(
            st.tuples(
                st.integers(1, 40) | st.just((1 << 32) - 1),
                st.frozensets(st.sampled_from(["\\Seen", "$Work", "Later"])),
            )
        )
    )
    def test_are_a_dictionary_whatever_the_order(self, told: list[tuple[int, frozenset[str]]]) -> None:
        flags = Flags()
        for uid, words in told:
            flags.add(uid, words)
        assert flags == dict(told)
        assert len(flags) == len(set(flags)) == len(dict(told))

    def test_take_little_room(self) -> None:
        flags = Flags()
        for uid in range(1, 10_001):
            flags.add(uid, frozenset({"\\Seen"} if uid % 2 else ()))
        assert sum(sys.getsizeof(part) for part in vars(flags).values()) < 10 * len(flags)


class TestListing:
    def test_takes_what_is_told(self) -> None:
        listing = Listing()
        listing.take(
            [
                Listed(1, frozenset({"\\Seen"})),
                Listed(2, frozenset(), frozenset({"b", "A"})),
                Listed(3, frozenset(), frozenset(), "gm:1:5", 7),
            ]
        )
        listing.take([Listed(2, frozenset({"\\Flagged"}), frozenset({"c"}))])
        assert listing.flags == {1: {"\\Seen"}, 2: {"\\Flagged"}, 3: set()}
        assert listing.labels == {2: "c", 3: ""}
        assert [listing.names.get(uid) for uid in (1, 2, 3)] == [None, None, Named("gm:1:5", 7, "")]
