"""Regular expressions on what is shown of many documents."""

from __future__ import annotations

import pytest

from archiver.search.limits import Limits
from archiver.search.whoosh.shown import Shown

COUNT = 5000


class Looks(Limits):
    """Counts the looks at the clock."""

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def check(self) -> None:
        self.looks += 1
        super().check()


@pytest.fixture(scope="module")
def shown() -> Shown:
    return Shown(COUNT, lambda number: f"{'ab' * 50} {number}")


def test_the_larger_an_expression_the_more_often_the_clock_is_looked_at(shown: Shown) -> None:
    plain, large = Looks(), Looks()
    assert not shown.matching("zx", range(COUNT), None, plain)
    assert not shown.matching("z(ab){1000}", range(COUNT), None, large)
    assert plain.looks == 2  # of more than one piece
    assert large.looks > 20


@pytest.mark.parametrize("large", ["", "(z{0,1000}|(yz){0,1000})"])
def test_every_document_is_found_however_often_that_is(shown: Shown, large: str) -> None:
    window = range(3, COUNT - 3)
    found = shown.matching(f"7{large}$", window, None, Limits())
    assert found == {number for number in window if number % 10 == 7}
    assert shown.matching(f"^{large}ab", window, None, Limits()) == set(window)
