from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import UsageError
from archiver.smtp import Mailbox, check_address, mailbox


@pytest.mark.parametrize(
    "address",
    [
        "me@example.org",
        "first.last+tag@mail.example.org",
        '"quoted local"@example.org',
        "me@localhost",
        "me@[127.0.0.1]",
        "me@[IPv6:::1]",
        "me@xn--bcher-kva.example",
        "jürgen@bücher.example",
        "用户@例子.example",
        f"{'a' * 64}@example.org",
    ],
)
def test_addresses_of_every_kind_pass(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "me",
        "@example.org",
        "me@",
        "me@@example.org",
        "me@example..org",
        ".me@example.org",
        "me you@example.org",
        "me@exam ple.org",
        "me@example.org>",
        "<me@example.org>",
        "me@example.org\r\nRCPT TO:<you@example.org>",
        "me@example.org\n",
        "me\0@example.org",
        "me\x7f@example.org",
        "me\x85@example.org",
        "me\u2028@example.org",
        "me\u00a0you@example.org",
        '"me\r\n"@example.org',
        "me@-example.org",
        "me@[127.0.0.999]",
        "me@[::1]",
        "me\ud800@example.org",
        f"{'a' * 65}@example.org",
        f"me@{'a' * 64}.org",
        f"me@{'.'.join(['a' * 60] * 5)}",
    ],
)
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_address(address)
    assert caught.value.message.isprintable()
    assert caught.value.hint


@given(st.text(alphabet=st.one_of(st.sampled_from('ab.@<>"\\ \t\r\n\0,;:[]='), st.characters()), max_size=30))
def test_no_address_that_passes_can_end_a_command(text: str) -> None:
    try:
        check_address(text)
    except UsageError:
        return
    assert text.isprintable()
    assert "@" in text
    text.encode("utf-8")


@given(
    st.text(max_size=20),
    st.sampled_from(["\r", "\n", "\0", "\r\n", "\x0b", "\x85", "\u2028"]),
    st.text(max_size=20),
)
def test_a_control_character_anywhere_is_refused(before: str, control: str, after: str) -> None:
    for text in (
        f"{before}{control}{after}@example.org",
        f"me@{before}{control}{after}",
        f"a{control}b <me@example.org>",
    ):
        with pytest.raises(UsageError):
            mailbox(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("me@example.org", Mailbox("", "me@example.org")),
        ("  <me@example.org> ", Mailbox("", "me@example.org")),
        ("Me Myself <me@example.org>", Mailbox("Me Myself", "me@example.org")),
        (r'"Myself, \"me\"" <me@example.org>', Mailbox('Myself, "me"', "me@example.org")),
        ("山田 太郎 <taro@example.org>", Mailbox("山田 太郎", "taro@example.org")),
    ],
)
def test_names_and_addresses_are_told_apart(text: str, expected: Mailbox) -> None:
    assert mailbox(text) == expected


def test_a_name_beyond_measure_is_refused() -> None:
    with pytest.raises(UsageError, match="200 characters"):
        mailbox(f"{'a' * 201} <me@example.org>")
