from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.params import parse_parameters


@pytest.mark.parametrize(
    ("value", "main", "params"),
    [
        ("text/plain", "text/plain", {}),
        ("Text/PLAIN; Charset=UTF-8", "text/plain", {"charset": "UTF-8"}),
        (
            'text/plain; charset="utf-8"; format=flowed',
            "text/plain",
            {"charset": "utf-8", "format": "flowed"},
        ),
        ('text/plain charset="utf-8"', "text/plain", {"charset": "utf-8"}),
        ("text/plain;;; charset = utf-8 ;", "text/plain", {"charset": "utf-8"}),
        ('a/b; name="x;y\\"z\\\\"; q=1', "a/b", {"name": 'x;y"z\\', "q": "1"}),
        ('a/b; name="C:\\dir\\file.txt"', "a/b", {"name": "C:\\dir\\file.txt"}),
        ("a/b; name=my file.pdf; x=y", "a/b", {"name": "my file.pdf", "x": "y"}),
        ('a/b; name="unended; x=y', "a/b", {"name": "unended; x=y"}),
        ('a/b; name="x" junk; y=z', "a/b", {"name": "x", "y": "z"}),
        ("a/b; n=1; n=2", "a/b", {"n": "1"}),
        ("a/b (comment); n=1", "a/b", {"n": "1"}),
        ("attachment; filename*=utf-8'de'M%C3%A4rz.pdf", "attachment", {"filename": "März.pdf"}),
        ("attachment; filename*=iso-8859-1''%E4; filename=a", "attachment", {"filename": "ä"}),
        ("attachment; filename*=gb2312''%D5%D5%C6%AC.jpg", "attachment", {"filename": "照片.jpg"}),
        ("a; f*0*=utf-8''a%C3; f*1*=%A4; f*2=\".b%41\"", "a", {"f": "aä.b%41"}),
        ("a; f*2=c; f*0=a; f*1=b", "a", {"f": "abc"}),
        ("a; f*=plain", "a", {"f": "plain"}),
        ("a; f*1=b; f*0*=''a%20", "a", {"f": "a b"}),
        ("a; f*=utf-8''100%; g=1", "a", {"f": "100%", "g": "1"}),
        ("", "", {}),
        (";=;", "", {}),
    ],
)
def test_parameters(value: str, main: str, params: dict[str, str]) -> None:
    assert parse_parameters(value) == (main, params)


def test_a_boundary_stays_as_it_was_sent() -> None:
    assert parse_parameters('m/x; boundary="=?utf-8?Q?=41?=\udcff"')[1]["boundary"] == "=?utf-8?Q?=41?=\udcff"


@given(
    st.lists(
        st.sampled_from(
            ["; ", "name", "*", "0", "1", "=", '"', "\\", "''", "utf-8", "%E4", " ", "\udce4", "(", ";"]
        )
    )
)
def test_total(pieces: list[str]) -> None:
    main, params = parse_parameters("".join(pieces))
    assert isinstance(main, str)
    assert all(name == name.lower() for name in params)
