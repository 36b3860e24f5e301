from __future__ import annotations

import pytest

from archiver.message import parse
from tests.message.samples import SAMPLES

_EXPECTED = {
    "alternative.eml": (
        "Two forms",
        "The plain form of a paragraph — flowed.\n\n> quoted \n> lines stay",
        ["logo.png"],
    ),
    "arabic.eml": ("دعوة إلى الاجتماع", "نرجو حضوركم الاجتماع يوم الأربعاء القادم.\n", []),
    "attachments.eml": (
        "Files",
        "Four files are attached.",
        ["Rechnung März 2024.pdf", "照片.jpg", "../../etc/fix.patch", ""],
    ),
    "bounce.eml": (
        "Undelivered Mail Returned to Sender",
        "Your message could not be delivered.\nReporting-MTA: dns; mail.example.org\n\n"
        "Final-Recipient: rfc822; nobody@example.net\nAction: failed\nStatus: 5.1.1\n"
        "Subject: A lost letter\n",
        [],
    ),
    "broken-headers.eml": ("An unended änd spaced word", "Still read: café.\n", []),
    "broken-structure.eml": (
        "Never closed",
        "First text, never closed.\nSecond text, boundary not declared.",
        ["cut.bin"],
    ),
    "chinese-big5.eml": (
        "歡迎使用本公司的產品",
        "您好：\n\n感謝您的來信，我們將在三個工作天內回覆。\n臺北市信義區\n",
        [],
    ),
    "chinese-gb2312.eml": (
        "关于下周会议的通知",
        "各位同事：\n\n下周三上午九点在三楼会议室开会，请准时参加。朱镕基、喆这些字不在旧表里。\n\n王小明\n",
        [],
    ),
    "forwarded.eml": (
        "Fwd: the plan",
        "See below.\nZoë Inner zoe@example.com\nDer große Plan\nWe meet at the harbour.",
        ["plan.eml", "plan.csv"],
    ),
    "greek.eml": ("Καλημέρα από την Αθήνα", "Σας ευχαριστούμε για το μήνυμά σας.\n", []),
    "header-words.eml": ("会議の資料を送ります", "See the subject.\n", []),
    "hebrew.eml": ("שלום לכולם", "הפגישה נדחתה ליום רביעי.\n", []),
    "html-only.eml": (
        "Offer",
        "Spring offer\n\nAll garden chairs—now half price & free of charge.\n\nChairs\nTables\n\nOrder here",
        [],
    ),
    "invitation.eml": (
        "Invitation",
        "Planning, part 2\nGroßer Saal\nBring the figures\nand coffee\nAna Example ana@example.org",
        [],
    ),
    "japanese-iso2022.eml": (
        "会議のお知らせ",
        "お世話になっております。山田です。\n来週の会議は水曜日の午後に変更になりました。\n① アジア\n",
        [],
    ),
    "japanese-shift-jis-undeclared.eml": (
        "Osaka",
        "こんにちは。大阪からのメールです。よろしくお願いいたします。\n",
        [],
    ),
    "korean-euc.eml": (
        "회의 일정 변경 안내",
        "안녕하세요.\n다음 주 회의가 목요일로 변경되었습니다. 똠방각하도 옵니다.\n",
        [],
    ),
    "no-header.eml": ("", "Just a few lines\nwithout any header at all.\n", []),
    "pgp-inline.eml": (
        "Said and signed",
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA512\n\nI said this, too: ä.\n"
        "-----BEGIN PGP SIGNATURE-----\n\niQEzBAEBCgAdFiEE\n=abcd\n-----END PGP SIGNATURE-----\n",
        [],
    ),
    "plain.eml": (
        "The quarterly report",
        "Dear Ben,\n\nthe quarterly report is at https://example.org/reports/q1.\n\n> Where is it?\n\nAna\n",
        [],
    ),
    "polish-undeclared.eml": (
        "Zażółć gęślą jaźń",
        "Zażółć gęślą jaźń. Dziękuję bardzo za wiadomość, proszę o szybką odpowiedź. "
        "Książka leży na półce, a łódź stoi w porcie; przyjdź później.\n",
        [],
    ),
    "russian-koi8.eml": (
        "Отчёт за первый квартал",
        "Здравствуйте!\n\nОтчёт за первый квартал готов, прошу проверить таблицы.\n",
        [],
    ),
    "russian-undeclared.eml": (
        "Привет из Москвы, дорогие друзья",
        "Сегодня у нас хорошая погода, и мы идём гулять в парк.\n",
        [],
    ),
    "signed-opaque.eml": ("Vertrag", "Ich unterschreibe das: Größe.", ["vertrag.pdf"]),
    "signed.eml": ("Signed", "I said this.", []),
    "thai.eml": ("ขอเชิญประชุม", "เรียนทุกท่าน การประชุมเลื่อนไปวันพุธ\n", []),
    "utf7.eml": ("Prüfung", "Die Prüfung ist bestanden. 1 + 1 = 2\n", []),
    "uuencoded.eml": ("Old ways", "The file is below.\n\n\n\nThat was it.\n", ["notes.txt"]),
    "winmail.eml": (
        "The figures",
        "The figures are attached.",
        ["winmail.dat", "Zahlen März.xls", "notes of the day.txt"],
    ),
    "western-quoted-printable.eml": (
        "Grüße aus Köln – façade",
        "Schöne Grüße aus der Straße. Ça va très bien, señor.\nEine lange Zeile, die umbrochen werden muss, "
        "weil sie viel länger ist als die Zeilen, die quoted-printable erlaubt.\n",
        [],
    ),
}


@pytest.mark.parametrize("name", sorted({*SAMPLES, *_EXPECTED}))
def test_sample(name: str) -> None:
    message = parse(SAMPLES[name])
    subject, text, filenames = _EXPECTED[name]
    assert (message.subject, message.text) == (subject, text)
    assert [found.filename for found in message.attachments] == filenames


@pytest.mark.parametrize(
    ("name", "people"),
    [
        ("western-quoted-printable.eml", ["Jürgen Müßig <juergen@example.org>"]),
        ("chinese-gb2312.eml", ["王小明 <wang@example.org>"]),
        ("japanese-iso2022.eml", ["山田太郎 <yamada@example.org>"]),
        ("russian-koi8.eml", ["Иван Петров <ivan@example.org>"]),
        ("header-words.eml", ["Lefèvre, Zoé <zoe@example.org>"]),
        ("broken-headers.eml", ["Ana <ana@example.org>"]),
        ("bounce.eml", ["Mail Delivery System <MAILER-DAEMON>"]),
    ],
)
def test_senders(name: str, people: list[str]) -> None:
    assert [f"{found.name} <{found.address}>" for found in parse(SAMPLES[name]).from_] == people
