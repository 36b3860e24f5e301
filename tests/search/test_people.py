"""People as terms."""

from __future__ import annotations

import pytest

from archiver.search.people import Role, split, terms


@pytest.mark.parametrize(
    ("role", "shown", "term"),
    [
        ("from", "Ana Example <Ana@Example.org>", "fana@example.org\tAna Example"),
        ("to", "ben@example.org", "tben@example.org\t"),
        ("cc", '"O\'Neill, Eva" <eva@example.org>', "ceva@example.org\tO'Neill, Eva"),
        ("from", "ana@example.org <ANA@example.org>", "fana@example.org\t"),
        ("from", "No Address", "f\tNo Address"),
        ("from", "A <b> <c@example.org>", "fc@example.org\tA <b>"),
        ("from", "A\tB\n C <a b@exam\tple.org>", "fab@example.org\tA B C"),
        ("from", "x\ud800 <y\udfff@example.org>", "fy?@example.org\tx?"),
        ("list", "Plans <plans.example.org>", "lplans.example.org\tPlans"),
        ("list", "plans.example.org", "lplans.example.org\t"),
        ("to", "n" * 300 + " <" + "a" * 300 + ">", "t" + "a" * 200 + "\t" + "n" * 100),
    ],
)
def test_a_term_of_each(role: Role, shown: str, term: str) -> None:
    assert list(terms(role, [shown])) == [term]
    assert term.count("\t") == 1 and "\t".join(split(term[1:])) == term[1:]
