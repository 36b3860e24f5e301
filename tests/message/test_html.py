from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.html import html_to_text


@pytest.mark.parametrize(
    ("source", "text"),
    [
        ("plain", "plain"),
        ("<b>bo</b>ld", "bold"),
        ("a<br>b<BR/>c", "a\nb\nc"),
        ("<p>a</p><p>b</p>", "a\n\nb"),
        ("<p>a<p>b", "a\n\nb"),
        ("<div>a</div><div>b</div>", "a\nb"),
        ("<div>a<br></div><div><br></div><div>b</div>", "a\n\nb"),
        ("a<br><br><br><br>b", "a\n\nb"),
        ("<ul><li>one<li>two</ul>", "one\ntwo"),
        ("<table><tr><td>1</td><td>2</td></tr><tr><th>3</table>", "1 2\n3"),
        ("line\n  breaks\tand   blanks", "line breaks and blanks"),
        ("<pre>kept\n  lines</pre>", "kept\nlines"),
        ("<head><title>t</title></head>x", "x"),
        ("a<style>p{}</style>b<script>1 < 2</script>c", "abc"),
        ("a<!-- <p> -->b<!---->c", "abc"),
        ("<!--[if mso]>x<![endif]-->y<![if !mso]>z<![endif]>", "yz"),
        ("<?xml version='1.0'?><!DOCTYPE html>x", "x"),
        ("x<style>never ended", "x never ended"),
        ("x<!-- never ended", "x never ended"),
        ("x<script src=y", "x"),
        ('<img alt="a > b">c', "c"),
        ("<p title=don't>it's</p>", "it's"),
        ("1 < 2 and 3 > 2", "1 < 2 and 3 > 2"),
        ("a &amp; b &lt;c&gt; &quot;d&quot;", 'a & b <c> "d"'),
        ("&auml;&Auml;&eacute;&euro;&mdash;", "äÄé€—"),
        ("&#228;&#xe4;&#XE4;&#8364;&#150;", "äää€–"),
        ("a&nbsp;&nbsp;b", "a b"),
        ("&ampx &nosuch; &; &#; AT&T", "&ampx &nosuch; &; &#; AT&T"),
        ("&#0;&#1;&#xD800;&#99999999;x", "\ufffd\ufffd9;x"),
        ("&copy2024", "&copy2024"),
        ("caf&eacute", "café"),
        ("<o:p>x</o:p><x-y>z</x-y>", "xz"),
        ("", ""),
        ("<div></div>", ""),
    ],
)
def test_text(source: str, text: str) -> None:
    assert html_to_text(source) == text


def test_nesting_costs_nothing() -> None:
    assert html_to_text("<div>" * 100_000 + "deep" + "</div>" * 100_000) == "deep"


_PIECES = [
    "<",
    ">",
    "</",
    "<!--",
    "-->",
    "<style>",
    "</style>",
    "<pre>",
    "</pre>",
    "<p",
    '"',
    "'",
    "&",
    "&#",
    "x41;",
    "\n",
    "a",
    "\x01",
    "\x02",
    "<br>",
    "<td>",
]


@given(st.lists(st.sampled_from(_PIECES)))
def test_total_and_tidy(pieces: list[str]) -> None:
    text = html_to_text("".join(pieces))
    assert text == text.strip("\n")
    assert "\n\n\n" not in text and "\x01" not in text and "  " not in text
