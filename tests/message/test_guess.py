from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.message.guess import guess

_TEXTS = {
    "cp1251": "Сегодня у нас хорошая погода, и мы идём гулять в парк.",
    "koi8_r": "Отчёт за первый квартал готов, прошу проверить таблицы.",
    "iso8859_5": "Поезд отправляется завтра утром с первого пути.",
    "cp866": "Файлы находятся в каталоге программы.",
    "cp1253": "Σας ευχαριστούμε για το μήνυμά σας, θα απαντήσουμε σύντομα.",
    "cp1255": "הפגישה נדחתה ליום רביעי, אנא אשרו את הגעתכם.",
    "cp1256": "نرجو حضوركم الاجتماع يوم الأربعاء القادم في المكتب.",
    "cp874": "เรียนทุกท่าน การประชุมเลื่อนไปวันพุธหน้า",
    "gb18030": "各位同事：下周三上午九点在三楼会议室开会，请准时参加。",
    "big5": "您好：感謝您的來信，我們將在三個工作天內回覆。",
    "cp949": "안녕하세요. 다음 주 회의가 목요일로 변경되었습니다.",
    "cp932": "こんにちは。大阪からのメールです。よろしくお願いいたします。",
    "euc_jp": "こんにちは。京都からのメールです。よろしくお願いします。",
    "cp1250": "Dziękuję bardzo za wiadomość, proszę o szybką odpowiedź. Książka leży na półce.",
}


@pytest.mark.parametrize("codec", _TEXTS)
def test_a_sentence_is_enough(codec: str) -> None:
    data = _TEXTS[codec].encode(codec)
    assert data.decode(guess(data)) == _TEXTS[codec]


@pytest.mark.parametrize("codec", _TEXTS)
def test_among_english(codec: str) -> None:
    data = (
        b"Hello,\n\nsee below, please.\n\n" + "\n".join([_TEXTS[codec]] * 4).encode(codec) + b"\n\nRegards\n"
    )
    if codec != "cp1250":  # between so much English its few signs could be anything
        assert data.decode(guess(data)).count(_TEXTS[codec]) == 4


@pytest.mark.parametrize(
    "text",
    [
        "Schöne Grüße aus Köln",
        "Ça va très bien, señor",
        "naïve façade — “quoted”",
        "Æblegrød på øen",
        "a b  c",
    ],
)
def test_western_is_left_alone(text: str) -> None:
    assert guess(text.encode("cp1252")) == ""


def test_doubt_asks_for_more_letters() -> None:
    data = "Привет".encode("cp1251")
    assert guess(data) == "cp1251"
    assert guess(data, letters=20) == ""


@given(st.binary())
def test_total(data: bytes) -> None:
    codec = guess(data)
    assert codec == "" or isinstance(data.decode(codec, "replace"), str)
