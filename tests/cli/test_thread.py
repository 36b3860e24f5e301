"""`archiver thread`, `search --threads` and `thread:`: conversations, for people and for programs."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.archive.reports import ThreadLine
from archiver.cli.text import columns
from archiver.cli.thread import drawn, indented
from archiver.cli.threads import names
from archiver.store import layout
from archiver.store.ledger import Ledger
from archiver.store.maildir import Name, key_of, to_file
from tests.cli import mails
from tests.cli.home import Home, complains, fails

ANN, BEN, CLEO = "Ann Example <ann@example.org>", "Ben Example <ben@example.org>", "cleo@example.org"


def mail(number: int, subject: str, refers: str = "", sender: str = ANN) -> bytes:
    """A message with the id `<number@example.org>`, of that day in March 2024, that refers to others."""
    ids = [f"Message-ID: <{number}@example.org>"]
    if refers:
        ids.append(f"References: {' '.join(f'<{each}@example.org>' for each in refers.split())}")
    day = f"{number} Mar 2024 12:00:00 +0000"
    return mails.mail(subject, f"Text {number}.\n", day=day, sender=sender, headers=ids)


PLAN = (
    mail(1, "Plan"),
    mail(2, "Re: Plan", "1", BEN),
    mail(3, "Another plan", "1 2"),
    mail(5, "Re: Another plan", "1 2 3 4", CLEO),
    mail(6, "AW: Plan", "1", f"{mails.word(mails.HOSTILE)} <evil@example.org>"),
    mail(7, "Re: Plan", "", CLEO),
)
LOST = (mail(10, "Re: Lost", "9", BEN), mail(11, "Re: Lost", "9"))
ALONE = (mail(20, "Alone", "", BEN),)


def id_of(raw: bytes) -> str:
    return hashlib.sha256(raw).hexdigest()[:8]


def fill(
    home: Home, messages: tuple[bytes, ...], unread: tuple[int, ...] = (), gone: tuple[int, ...] = ()
) -> None:
    """Put messages, their UIDs from 1 on, into an archive as if they had been pulled, and index them."""
    root = str(home.root)
    folder = Path(root, "mail", layout.claim_folder(root, "work", layout.FolderFile("INBOX", "INBOX", "/")))
    for uid, raw in enumerate(messages, 1):
        data, wire = to_file(raw)
        base = Name(1_712_000_000, key_of(raw).hex()[:32], len(data), wire, 1, uid)
        (folder / "cur" / f"{base}:2,{'' if uid in unread else 'S'}").write_bytes(data)
    home.good("reindex")
    with Ledger(root) as ledger:
        (known,) = ledger.folders()
        ledger.set_gone(known, gone, 1_720_000_000)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory, pycache: Path) -> Home:
    home = Home(tmp_path_factory.mktemp("talk"), pycache)
    home.write()
    fill(home, (*PLAN, *LOST, *ALONE), unread=(2, 7), gone=(3,))
    return home


class TestThread:
    def test_the_tree(self, talk: Home) -> None:
        result = talk.good("thread", id_of(PLAN[3]))
        assert result.err == "6 messages, 1 missing\n"
        ids = [id_of(raw) for raw in PLAN]
        assert [line.rstrip() for line in result.lines() if "evil" not in line][:4] == [
            f"{ids[0]}  2024-03-01 12:00      Ann Example  Plan",
            f"{ids[1]}  2024-03-02 12:00   *    Ben Example",
            f"{ids[2]}  2024-03-03 12:00          Ann Example  Another plan  (gone)",
            f"{ids[3]}  2024-03-05 12:00  >         [1 missing] cleo@example.org",
        ]
        assert result.lines()[5] == f"{ids[5]}  2024-03-07 12:00          ~ cleo@example.org"

    @pytest.mark.parametrize(
        "words", [id_of(PLAN[0]), id_of(PLAN[5]), "<1@example.org>", "7@example.org", "<4@example.org>"]
    )
    def test_any_message_of_it_shows_all(self, talk: Home, words: str) -> None:
        shown = [line["message"]["id"] for line in talk.good("thread", "--json", words).json()["lines"]]
        assert sorted(shown) == sorted(map(id_of, PLAN))

    def test_several_answers_to_what_is_not_here(self, talk: Home) -> None:
        assert [line.strip() for line in talk.good("thread", id_of(LOST[1])).lines()] == [
            "[1 message missing]",
            f"{id_of(LOST[0])}  2024-03-10 12:00   *    Ben Example  Re: Lost",
            f"{id_of(LOST[1])}  2024-03-11 12:00  >     Ann Example  Re: Lost",
        ]

    def test_json(self, talk: Home) -> None:
        report = talk.good("thread", "--json", id_of(LOST[0])).json()
        assert {key: report[key] for key in report if key != "lines"} == {
            "messages": 2,
            "whole": True,
            "indexed": True,
            "pending": 0,
        }
        gap, first, second = report["lines"]
        assert gap == {"depth": 0, "missing": 0, "guessed": False, "asked": False, "message": None}
        assert (first["depth"], first["asked"], second["asked"]) == (1, True, False)
        hit = talk.good("search", "--json", "subject:lost", "date:2024-03-10").json()["hits"][0]
        assert first["message"] == hit

    def test_what_is_no_message(self, talk: Home, home: Home) -> None:
        fails(talk, ["thread", "word"], 2, "'word' is no id", "Message-ID")
        fails(talk, ["thread", "beefbeef"], 2, "no message has the id beefbeef")
        fails(talk, ["thread", "<nobody@example.org>"], 2, "no message has this Message-ID")
        fails(home, ["thread", "<nobody@example.org>"], 2, "there is no archive")

    def test_not_indexed_yet(self, home: Home) -> None:
        fill(home, ALONE)
        (home.root / "index").rename(home.path / "elsewhere")
        fails(home, ["thread", id_of(ALONE[0])], 2, "not indexed yet", "archiver sync")

    def test_on_a_terminal(self, talk: Home) -> None:
        code, shown = talk.terminal("thread", id_of(PLAN[3]), columns=60)
        assert code == 0
        assert "├ " in shown and "└ " in shown and "│ " in shown
        assert "\x1b[7m" in shown, "the message asked for is not marked"
        for steering in ("\x1b[31m", "\x1b]0", "\u202e", "\x9b"):
            assert steering not in shown

    @pytest.mark.parametrize("width", [40, 80])
    def test_a_deep_one_stays_on_the_screen(self, home: Home, width: int) -> None:
        deep = tuple(
            mails.mail(
                "Deep",
                f"{n}\n",
                headers=[f"Message-ID: <{n}@x>", f"References: <0@x> <{n - 1}@x>" if n else "X-First: 1"],
            )
            for n in range(60)
        )
        fill(home, deep)
        _, shown = home.terminal("thread", id_of(deep[59]), columns=width, env={"NO_COLOR": "1"})
        lines = re.sub(r"\x1b\[[0-9;]*m", "", shown).splitlines()
        assert len(lines) == 61
        assert all(columns(line) <= width for line in lines)
        assert sum("Alic" in line for line in lines) == 60
        assert all(
            "Alice Example" in line and len(line) < 80 for line in home.good("thread", "<0@x>").lines()
        )


class TestSearchThreads:
    def test_a_line_each(self, talk: Home) -> None:
        result = talk.good("search", "--threads", "example")
        assert [line.split(None, 3) for line in result.lines()] == [
            [id_of(ALONE[0]), "2024-03-20", "12:00", "1 Ben Example                     Alone"],
            [id_of(LOST[1]), "2024-03-11", "12:00", "2 Ben, Ann                        Re: Lost"],
            [id_of(PLAN[5]), "2024-03-07", "12:00", result.lines()[2].split(None, 3)[3]],
        ]
        assert result.lines()[2].endswith("Re: Plan") and " 6 Ann, Ben, cleo@example.org" in result.lines()[2]
        assert result.err == "3 conversations\n"

    def test_how_many_of_them_were_found(self, talk: Home) -> None:
        (line,) = talk.good("search", "--threads", "from:ben subject:plan").lines()
        assert line.startswith(f"{id_of(PLAN[1])}  2024-03-02 12:00      1/6 Ann, Ben,")

    def test_pages(self, talk: Home) -> None:
        first = talk.good("search", "--threads", "--limit", "1", "example")
        assert first.err == "conversations 1 to 1; --offset 1 goes on\n"
        second = talk.good("search", "--threads", "--limit", "2", "--offset", "1", "example")
        assert second.err == "2 to 3 of 3 conversations\n"
        whole = talk.good("search", "--threads", "example").lines()
        assert first.lines() + second.lines() == whole
        assert talk.good("search", "--threads", "--offset", "9", "example").err == "nothing from 10 on\n"
        assert talk.good("search", "--threads", "nowhere").err == "0 conversations\n"

    def test_json(self, talk: Home) -> None:
        found = talk.good("search", "--threads", "--json", "--limit", "1", "from:ben subject:plan").json()
        (thread,) = found.pop("threads")
        assert found == {"offset": 0, "more": False, "indexed": True, "pending": 0}
        assert (thread["matched"], thread["messages"]) == (1, 6)
        assert thread["senders"][:2] == ["Ann Example <ann@example.org>", BEN]
        assert thread["hit"] == talk.good("search", "--json", "from:ben subject:plan").json()["hits"][0]

    def test_on_a_terminal(self, talk: Home) -> None:
        code, shown = talk.terminal("search", "--threads", "example", columns=80)
        assert code == 0 and "Re: Lost" in shown and "Ben, Ann" in shown
        assert "\x1b]0" not in shown

    def test_no_paths_of_conversations(self, talk: Home) -> None:
        complains(talk.call("search", "--threads", "--format", "keys", "plan"), 2, "--threads", "--format")


def test_thread_in_a_query(talk: Home) -> None:
    def found(*query: str) -> set[str]:
        return {hit["id"] for hit in talk.good("search", "--json", *query).json()["hits"]}

    assert found(f"thread:{id_of(PLAN[2])}") == set(map(id_of, PLAN))
    assert found("thread:<10@example.org>", "from:ben") == {id_of(LOST[0])}
    assert found(f"from:ben -thread:{id_of(PLAN[0])}") == {id_of(LOST[0]), id_of(ALONE[0])}
    complains(talk.call("search", "ben thread:beef"), 2, "no message has the id beef", "         ^")


@given(st.lists(st.integers(0, 30), max_size=40))
def test_stems_are_bounded_and_draw_a_tree(depths: list[int]) -> None:
    lines: list[ThreadLine] = []
    for depth in depths:
        bound = lines[-1].depth + 1 if lines else 0
        lines.append(ThreadLine(min(depth, bound), None, 0, guessed=False, asked=False, turns=False))
    stems = drawn(lines)
    assert all(len(stem) < 24 for stem in [*stems, *indented(lines)])
    for at, (line, stem) in enumerate(zip(lines, stems, strict=True)):
        below = next((each for each in lines[at + 1 :] if each.depth <= line.depth), None)
        end = "" if not line.depth else "├ " if below and below.depth == line.depth else "└ "
        assert stem.endswith(end) and (bool(end) or not stem)


@pytest.mark.parametrize(
    ("senders", "shown"),
    [
        (["Ann Example <ann@example.org>"], "Ann Example"),
        (["Ann Example <ann@example.org>", "Ben B. <b@example.org>"], "Ann, Ben"),
        (
            ["Ann Example <a@example.org>", "Ann Example <b@example.org>", "c@example.org"],
            "Ann, c@example.org",
        ),
        (["Ann Example <a@example.org>, Ben <b@example.org>"], "Ann Example"),
        ([], ""),
        (['" " <a@example.org>', "王小明 <w@example.org>"], '" " <a@example.org>, 王小明'),
    ],
)
def test_names(senders: list[str], shown: str) -> None:
    assert names(senders, 60) == shown
