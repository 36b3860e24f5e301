"""Time spans, crontab fields, hosts: the small languages inside the configuration."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.config import Duration, Size
from archiver.config.structs import cron_field, is_cron, is_loopback, plain_hex


class TestDuration:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("90s", 90),
            ("15m", 900),
            ("2h", 7200),
            ("1d", 86400),
            ("1w", 604800),
            ("1.5h", 5400),
            (" 5 m ", 300),
        ],
    )
    def test_units(self, text: str, seconds: float) -> None:
        assert Duration.parse(text) == seconds

    @pytest.mark.parametrize(
        "text", ["", "5", "m", "-5m", "5 minutes", "5M", "1h30m", "1e9s", ".5h", "٣m", "infs", 5, None, True]
    )
    def test_anything_else_is_refused(self, text: object) -> None:
        with pytest.raises(ValueError, match="expected a time span such as"):
            Duration.parse(text)

    @pytest.mark.parametrize("text", ["521w", "9" * 400 + "s"])
    def test_longer_than_ten_years(self, text: str) -> None:
        with pytest.raises(ValueError, match="at most 520w"):
            Duration.parse(text)

    @given(st.integers(1, 520), st.sampled_from("smhdw"))
    def test_reads_what_it_writes(self, number: int, unit: str) -> None:
        span = Duration.parse(f"{number}{unit}")
        assert Duration.parse(str(span)) == span


class TestSize:
    @pytest.mark.parametrize(
        ("text", "number"),
        [
            ("0K", 0),
            ("1K", 1024),
            ("500M", 500 << 20),
            ("2G", 2 << 30),
            ("1.5g", 3 << 29),
            (" 2 GB ", 2 << 30),
            ("2GiB", 2 << 30),
            ("1T", 1 << 40),
        ],
    )
    def test_units(self, text: str, number: int) -> None:
        assert Size.parse(text) == number

    @pytest.mark.parametrize("text", ["", "5", "M", "-5M", "5 mega", "1e9M", ".5G", "٣M", 5, None, True])
    def test_anything_else_is_refused(self, text: object) -> None:
        with pytest.raises(ValueError, match="expected a size such as"):
            Size.parse(text)

    @given(st.integers(1, 10**6), st.sampled_from("KMGT"))
    def test_reads_what_it_writes(self, number: int, unit: str) -> None:
        size = Size.parse(f"{number}{unit}")
        assert Size.parse(str(size)) == size

    def test_shown_in_the_largest_unit_that_fits(self) -> None:
        assert [str(Size(n)) for n in (0, 1000, 1024, 3 << 29, 2 << 30)] == ["0", "1000", "1K", "1536M", "2G"]


MONTHS, WEEKDAYS = 3, 4


class TestCron:
    @pytest.mark.parametrize(
        ("text", "position", "numbers"),
        [
            ("*", 1, set(range(24))),
            ("0", 0, {0}),
            ("59", 0, {59}),
            ("1,3,5", 0, {1, 3, 5}),
            ("10-12", 0, {10, 11, 12}),
            ("*/20", 0, {0, 20, 40}),
            ("50/4", 0, {50, 54, 58}),
            ("10-20/5", 0, {10, 15, 20}),
            ("1-3,50-59/3", 0, {1, 2, 3, 50, 53, 56, 59}),
            ("jan,DEC", MONTHS, {1, 12}),
            ("mar-may", MONTHS, {3, 4, 5}),
            ("0", WEEKDAYS, {0}),
            ("7", WEEKDAYS, {0}),
            ("5-7", WEEKDAYS, {5, 6, 0}),
            ("sun,Sat", WEEKDAYS, {0, 6}),
            ("mon-fri", WEEKDAYS, {1, 2, 3, 4, 5}),
            ("*", WEEKDAYS, set(range(7))),
        ],
    )
    def test_fields(self, text: str, position: int, numbers: set[int]) -> None:
        assert cron_field(text, position) == frozenset(numbers)

    @pytest.mark.parametrize(
        ("text", "position"),
        [
            *[
                (text, 0)
                for text in ("", "60", "-1", "5-", "-5", "*-5", "5-1", "*/0", "*/", "/5", "1//2", ",")
            ],
            *[(text, 0) for text in ("a", "1,", "1-2-3", "*/a", "**", "٣", "²", "1.5", "+1", "9" * 5000)],
            *[
                ("24", 1),
                ("0", 2),
                ("32", 2),
                ("0", 3),
                ("13", 3),
                ("8", 4),
                ("jan", 4),
                ("mon", 3),
                ("su", 4),
            ],
        ],
    )
    def test_what_is_none(self, text: str, position: int) -> None:
        assert cron_field(text, position) is None

    @given(st.text("0123456789*/-,abjnsu", max_size=8), st.integers(0, 4))
    def test_any_field_is_in_its_range_or_none(self, text: str, position: int) -> None:
        numbers = cron_field(text, position)
        low, high = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))[position]
        assert numbers is None or (numbers and low <= min(numbers) <= max(numbers) <= high)

    def test_five_fields(self) -> None:
        assert is_cron("0 3 * * *")
        assert is_cron("  */15\t8-18 1,15 jan-mar mon-fri ")
        for text in ("", "0 3 * *", "0 3 * * * *", "@daily", "0 3 * * x"):
            assert not is_cron(text)


def test_only_this_machine_is_loopback() -> None:
    for host in ("localhost", "127.0.0.1", "127.255.255.255", "::1", "[::1]", "LOCALHOST"):
        assert is_loopback(host)
    for host in (
        "",
        "example.org",
        "localhost.example.org",
        "128.0.0.1",
        "0.0.0.0",
        "::",
        "127.0.0.1.example.org",
    ):
        assert not is_loopback(host)


def test_fingerprints_lose_what_was_copied_along() -> None:
    assert plain_hex(" AB:cd ef\n") == "abcdef"
