"""Text to terms: tables of what becomes what, and what holds for any text."""

from __future__ import annotations

import time
import unicodedata
from unicodedata import combining, normalize

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.search.analysis import TERM_LIMIT, fold, query_terms, terms
from archiver.search.positions import pack, unpack
from archiver.search.snippet import Wanted, snippet

TABLE = {
    "Hello, World": ["hello", "world"],
    "quarterly-report_v2.pdf": ["quarterly", "report", "v2", "pdf"],
    "user.name+tag@mail.example.org": ["user", "name", "tag", "mail", "example", "org"],
    "E-1042: 10.0.3": ["e", "1042", "10", "0", "3"],
    "Ångström naïve Café": ["angstrom", "naive", "cafe"],
    "Łódź Việt Nam đường": ["lodz", "viet", "nam", "duong"],
    "straße STRASSE": ["strasse", "strasse"],
    "İstanbul Diyarbakır": ["istanbul", "diyarbakir"],
    "ΆΣΟΣ άσος": ["ασοσ", "ασοσ"],
    "Ёлка йод": ["елка", "иод"],
    "שָׁלוֹם": ["שלום"],
    "مُحَمَّد أحمد مـحمد": ["محمد", "احمد", "محمد"],
    "हिन्दी में": ["हिन्दी", "में"],
    "வணக்கம் நன்றி": ["வணக்கம்", "நன்றி"],
    "北京大学": ["北京", "京大", "大学", "学"],
    "我": ["我"],
    "カタカナとひらがな": ["カタ", "タカ", "カナ", "ナと", "とひ", "ひら", "らが", "がな", "な"],
    "ﾊﾟｿｺﾝ": ["パソ", "ソコ", "コン", "ン"],
    "がか": ["がか", "か"],
    "안녕하세요": ["안녕", "녕하", "하세", "세요", "요"],
    "สวัสดี": ["สว", "วั", "ัส", "สด", "ดี", "ี"],
    "ສະບາຍ": ["ສະ", "ະບ", "ບາ", "າຍ", "ຍ"],
    "ខ្មែរ": ["ខ្", "្ម", "មែ", "ែរ", "រ"],
    "မြန်မာ": ["မြ", "ြန", "န်", "်မ", "မာ", "ာ"],
    "iPhone手机15": ["iphone", "手机", "机", "15"],
    "東京 tokyo、東京": ["東京", "京", "tokyo", "東京", "京"],
    "ＡＢＣ　１２３ ① ﬁn": ["abc", "123", "1", "fin"],
    "Windows™ ЖД№41 1½ ①② m² 20℃": [
        *("windows", "tm", "жд", "no", "41", "1", "1", "2", "1", "2", "m2", "20", "c"),
    ],
    "п\u02bcять п'ять п’ять": ["п", "ять"] * 3,
    "Donau\u00addampf\u200dschiff": ["donaudampfschiff"],
    "葛\U000e0100飾": ["葛飾", "飾"],
    "…!? -- _": [],
    "🎉": [],
    "\ud800x": ["x"],
    "": [],
}


@pytest.mark.parametrize("text", TABLE)
def test_terms(text: str) -> None:
    assert terms(text) == TABLE[text]


@pytest.mark.parametrize("text", ["が", "ぱ", "ヴ", "각", "ก้", "कि"])
def test_marks_are_kept_where_they_are_part_of_the_letter(text: str) -> None:
    assert fold(unicodedata.normalize("NFD", text)) == unicodedata.normalize("NFC", text)


@pytest.mark.parametrize("extra", ["", "é"])
def test_a_long_run_of_letters_is_several_terms(extra: str) -> None:
    assert terms("x" * (2 * TERM_LIMIT + 5) + " " + extra)[:3] == [
        "x" * TERM_LIMIT,
        "x" * TERM_LIMIT,
        "x" * 5,
    ]


@pytest.mark.parametrize(
    ("text", "star", "expected"),
    [
        ("invoice", False, (("invoice",), None)),
        ("Invoice", True, ((), "invoice")),
        ("user.name@example.org", False, (("user", "name", "example", "org"), None)),
        ("user.na", True, (("user",), "na")),
        ("東", False, ((), "東")),
        ("東京", False, (("東京",), None)),
        ("東京都", False, (("東京", "京都"), None)),
        ("東京都", True, (("東京", "京都"), None)),
        ("東京 tokyo", False, (("東京", "京", "tokyo"), None)),
        ("tokyo 東", False, (("tokyo",), "東")),
        ("東京 京", False, (("東京", "京"), "京")),
        ("!?", False, ((), None)),
    ],
)
def test_query_terms(text: str, star: bool, expected: tuple[tuple[str, ...], str | None]) -> None:
    assert query_terms(text, star=star) == expected


@given(st.lists(st.integers(0, 1 << 24), min_size=1, unique=True).map(sorted))
def test_positions_are_packed_without_loss(listed: list[int]) -> None:
    assert unpack(pack(listed)) == listed


MARKS = [
    "a" + "\u0301\u0316" * 50_000,
    "か" + "\u0301\u0316" * 50_000,
    "か" + "\uff9e\u0316" * 50_000,
    "か" + "\u0f73\u0301" * 50_000,
    "か" + "\u0301\u200d\u0316" * 50_000,
    ("か" + "\u0344\u0316" * 40) * 1_000,
]


@pytest.mark.parametrize("text", MARKS, ids=lambda text: ascii(text[:4]))
def test_marks_without_end_are_cut_in_linear_time(text: str) -> None:
    """Putting this many into canonical order takes seconds, with every thread waiting."""
    begun = time.process_time()
    folded = fold(text)
    assert time.process_time() - begun < 1
    assert len(folded) <= 31 * text.count(text[0])
    assert fold(folded) == folded


@pytest.mark.parametrize("text", MARKS, ids=lambda text: ascii(text[:4]))
def test_marks_without_end_in_a_snippet(text: str) -> None:
    begun = time.process_time()
    snippet(f"word {text}", (Wanted(("word",)),), 40)
    assert time.process_time() - begun < 2


def test_every_character_that_may_become_a_mark_is_counted() -> None:
    for character in map(chr, range(0x110000)):
        if combining(normalize("NFKD", character)[0]):
            assert len(fold("か" + character * 99)) < 64, ascii(character)


def test_a_few_marks_stay_in_order() -> None:
    text = "か" + "\u0316" * 15 + "\u0301" * 15
    assert fold(text) == text
    assert fold("か" + "\u0301\u0316" * 15) == text
    assert fold("—" * 50 + "か\u0301") == "—" * 50 + "か\u0301"


ANY_SCRIPT = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(
            "aÉßıİø\u0301\u00ad\u200d_-. かﾊﾟ\u3099가ᄀ\u1161ㄱ東京ก\u0e33สวัह\u093fﬁ①\u0640\u0627\u0654"
        ),
    ),
    max_size=40,
)


@given(ANY_SCRIPT)
def test_folding_is_settled_and_terms_are_small(text: str) -> None:
    folded = fold(text)
    assert terms(folded) == terms(fold(folded))
    assert all(0 < len(term) <= TERM_LIMIT and not term.isspace() for term in terms(text))


@given(st.text(st.one_of(st.characters(max_codepoint=0x2FFF), st.sampled_from("aß_’ⱥ½")), max_size=90))
def test_most_texts_go_a_shorter_way_to_the_same(text: str) -> None:
    assert terms(f"{text} 京")[:-1] == terms(text)


@given(ANY_SCRIPT, ANY_SCRIPT)
def test_a_space_parts_terms(left: str, right: str) -> None:
    assert terms(left + " " + right) == terms(left) + terms(right)


@given(st.text("東京都庁ひらカナ한글กข", min_size=1, max_size=12), st.data())
def test_any_part_of_a_run_is_found(run: str, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(run) - 1))
    part = run[start : data.draw(st.integers(start + 1, len(run)))]
    fixed, prefix = query_terms(part)
    asked = [*fixed, *([prefix] if prefix else [])]
    listed = terms("x " + run + " y")
    rows = [listed[at : at + len(asked)] for at in range(len(listed))]
    assert any(
        row[: len(fixed)] == list(fixed) and (not prefix or row[-1].startswith(prefix))
        for row in rows
        if len(row) == len(asked)
    )
