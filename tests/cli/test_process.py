"""The program as a process: signals, pipes, closed streams, locales, and how soon it is there."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable

import pytest

from archiver.search.index import Bulk, open_index
from archiver.store.layout import index_path
from tests.cli import mails
from tests.cli.home import PROGRAM, Home, complains, until
from tests.cli.mails import mail
from tests.indexer.fresh import assert_as_fresh
from tests.servers.dovecot import User
from tests.servers.scripted import ScriptedServer, late, stall
from tests.store.tree import Tree, message

Scripted = Callable[..., ScriptedServer]
# What only some verbs need.
HEAVY = {
    "apscheduler",
    "asyncio",
    "concurrent.futures",
    "email",
    "imapclient",
    "imaplib",
    "multiprocessing",
    "rich",
    "smtplib",
    "sqlite3",
    "ssl",
    "whoosh",
    "yaml",
}


def imported(home: Home, *arguments: str) -> set[str]:
    """The modules that a run of the program imports."""
    env = home.environment()
    command = [sys.executable, "-X", "importtime", PROGRAM, "--config", str(home.config), *arguments]
    done = subprocess.run(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=True)
    return set(re.findall(r"^import time:.*\| +(\S+)$", done.stderr.decode(), re.MULTILINE))


class TestStart:
    def test_help_loads_nothing_heavy(self, home: Home) -> None:
        modules = imported(home, "--help")
        assert "click" in modules and not modules & HEAVY
        assert not [
            name
            for name in modules
            if name.startswith("archiver.") and name.count(".") > 1 and "cli" not in name
        ]

    @pytest.mark.parametrize("verb", ["sync", "search", "show", "resend", "run", "verify"])
    def test_help_of_a_verb_neither(self, home: Home, verb: str) -> None:
        assert not imported(home, verb, "--help") & HEAVY

    def test_search_loads_what_it_needs(self, library: Home) -> None:
        modules = imported(library, "search", "invoice")
        assert modules & HEAVY == {"sqlite3", "yaml"}
        assert "archiver.message" not in modules and "hashlib" not in modules - {"hashlib"}

    def test_show_neither_speaks_to_servers_nor_asks_the_index(self, library: Home) -> None:
        assert not imported(library, "show", library.good("search", "invoice").out[:8]) & (
            HEAVY - {"sqlite3", "yaml", "email"}
        )


class TestSignals:
    @pytest.fixture
    def pulling(self, home: Home, scripted: Scripted) -> Iterable[tuple[Home, subprocess.Popen[bytes]]]:
        """A sync in the middle of a folder, five messages into two hundred."""
        server = scripted()
        for number in range(200):
            server.folder().add(mail(f"Number {number}"))
        server.on("UID FETCH", late(0.5), when=lambda command: "BODY.PEEK[]" in command.arguments)
        home.account("work", server.port)
        home.make_archive()
        with home.spawn("sync") as process:
            until(lambda: "UID FETCH" in server.names())
            try:
                yield home, process
            finally:
                process.kill()

    @pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
    def test_the_first_stops_after_the_batch(
        self, pulling: tuple[Home, subprocess.Popen[bytes]], number: signal.Signals, code: int
    ) -> None:
        home, process = pulling
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
        assert process.returncode == code
        assert err.decode().splitlines() == [
            "stopping after the batch in hand; once more to abort",
            "archiver: interrupted",
        ]
        home.good("sync")
        assert home.good("verify", "--json").json()["found"]["places"] == 200

    @pytest.mark.parametrize(
        ("first", "second", "code"),
        [
            (signal.SIGINT, signal.SIGINT, 130),
            (signal.SIGINT, signal.SIGTERM, 143),
            (signal.SIGTERM, signal.SIGTERM, 143),
        ],
    )
    def test_the_second_ends_it(
        self, home: Home, scripted: Scripted, first: signal.Signals, second: signal.Signals, code: int
    ) -> None:
        server = scripted()
        server.folder().add(mail("Number 1"))
        server.on("EXAMINE", stall(), times=1)
        home.account("work", server.port, read_timeout="60s")
        home.make_archive()
        with home.spawn("sync") as process:
            until(lambda: "EXAMINE" in server.names())
            process.send_signal(first)
            assert process.stderr is not None
            assert process.stderr.readline() == b"stopping after the batch in hand; once more to abort\n"
            process.send_signal(second)
            process.communicate(timeout=20)
        assert process.returncode == code
        home.good("sync")
        home.good("verify")

    def test_a_verb_without_batches_ends_at_once(self, home: Home, scripted: Scripted) -> None:
        server = scripted()
        server.on("LOGIN", stall())
        home.account("work", server.port, read_timeout="60s")
        with home.spawn("check", "--connect") as process:
            until(lambda: "LOGIN" in server.names())
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=20)
        assert (process.returncode, err) == (130, b"archiver: interrupted\n")

    def test_an_interrupted_reindex_is_continued(self, own_library: Home) -> None:
        with own_library.spawn("reindex") as process:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)
        own_library.good("sync")
        own_library.good("verify")

    def test_a_reindex_that_is_killed_is_continued(self, home: Home) -> None:
        """The newest mail is small and soon done, the older is long: the kill comes in the middle of that."""
        home.settings["index"] = {"workers": 2}
        home.write()
        tree = Tree(str(home.root))
        long = " ".join(f"word{n}" for n in range(5000))
        bodies = [message(n, long if n < 400 else "") for n in range(800)]
        tree.file(tree.folder(), bodies)
        index = open_index(index_path(tree.root))

        def bulk() -> Bulk | None:
            state = index.state()
            return state.bulk if state else None

        with home.spawn("reindex") as process:
            until(lambda: (now := bulk()) is not None and now.done > 0)
            process.kill()
        done = index.count()
        assert bulk() is not None and 0 < done < 800
        again = home.good("reindex")
        assert again.out == f"indexed {800 - done} messages\n"
        assert f"going on where the last run stopped: {done} of 800 messages are indexed\n" in again.err
        assert_as_fresh(tree.ledger, index, home.path / "fresh")
        index.close()
        tree.ledger.close()
        home.good("verify")


class TestPipes:
    @pytest.mark.parametrize("unbuffered", [{}, {"PYTHONUNBUFFERED": "1"}])
    @pytest.mark.parametrize(
        "arguments",
        [
            ("search", "account:work", "--limit", "1000"),
            ("search", "account:work", "--json"),
            ("search", "account:work", "--format", "paths"),
            ("--help",),
        ],
    )
    def test_a_reader_that_goes_away(
        self, library: Home, arguments: tuple[str, ...], unbuffered: dict[str, str]
    ) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        result = library.run(*arguments, stdout=writing, env=unbuffered)
        os.close(writing)
        assert result.code == 141
        assert re.fullmatch(r"(\d+ messages\n)?", result.err)

    def test_search_into_head(self, library: Home) -> None:
        command = f'"{PROGRAM}" --config "{library.config}" search account:work --format keys | head -1'
        done = subprocess.run(
            ["sh", "-c", command], env=library.environment(), capture_output=True, check=True
        )
        assert len(done.stdout) == 65 and done.stderr == b""

    def test_a_full_disk_for_the_output(self, library: Home) -> None:
        with open("/dev/full", "wb") as full:
            result = library.run("search", "account:work", "--format", "keys", stdout=full)
        complains(result, 1, "cannot write the output: No space left on device")

    def test_a_full_disk_for_little_output(self, library: Home) -> None:
        with open("/dev/full", "wb") as full:
            result = library.run("status", stdout=full)
        complains(result, 1, "cannot write the output: No space left on device")

    @pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
    def test_too_many_open_files_are_not_the_outputs_fault(
        self, library: Home, monkeypatch: pytest.MonkeyPatch, number: int
    ) -> None:
        def verify(*arguments: object, **options: object) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("archiver.archive.Archive.verify", verify)
        complains(library.call("verify"), 1, os.strerror(number), "ulimit -n")
        assert "output" not in library.call("verify").err

    def test_streams_that_are_closed(self, own_library: Home) -> None:
        sync = own_library.run("sync", preexec_fn=lambda: os.closerange(0, 3))
        assert sync.code == 0
        search = own_library.run("search", "invoice", preexec_fn=lambda: os.closerange(0, 3))
        assert search.code == 0
        own_library.good("verify")

    def test_nobody_reads_the_errors(self, library: Home) -> None:
        reading, writing = os.pipe()
        os.close(reading)
        result = library.run("search", "form:x", stderr=writing)
        os.close(writing)
        assert result.code == 2


class TestLocales:
    @pytest.mark.parametrize(
        "env",
        [
            {"LC_ALL": "C"},
            {"LC_ALL": "POSIX"},
            {"LANG": ""},
            {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
            {"PYTHONIOENCODING": "latin-1"},
            {"PYTHONIOENCODING": "ascii"},
        ],
    )
    @pytest.mark.parametrize(
        "arguments",
        [
            ("search", "subject:(项目 OR look)"),
            ("show", "0736e8fe"),
            ("show", "--headers", "0736e8fe"),
            ("status", "--folders"),
        ],
    )
    def test_any_takes_the_output(
        self, library: Home, env: dict[str, str], arguments: tuple[str, ...]
    ) -> None:
        result = library.run(*arguments, env=env)
        assert result.code == 0 and result.raw
        assert b"Traceback" not in result.raw and "rror" not in result.err

    @pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
    def test_programs_get_utf_8_in_all(self, library: Home, env: dict[str, str]) -> None:
        found = library.run("search", "subject:项目", "--json", env=env).json()
        assert found["hits"][0]["subject"] == "项目会议纪要"
        (path,) = library.run("search", "subject:项目", "--format", "paths", env=env).lines()
        assert os.path.exists(path)

    def test_names_of_files_are_utf_8_in_all(self, home: Home, mailbox: User) -> None:
        mailbox.create("仕事/会議")
        mailbox.save(mails.CHINESE, "仕事/会議")
        home.mailbox(mailbox)
        env = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
        assert home.run("sync", env=env).code == 0
        assert (home.root / "mail" / "work" / "仕事" / "会議" / "cur").is_dir()
        home.good("verify")

    @pytest.mark.parametrize("env", [{"LC_ALL": "C"}, {"PYTHONIOENCODING": "ascii"}])
    def test_errors_too(self, library: Home, env: dict[str, str]) -> None:
        result = library.run("search", "项目 form:x", env=env)
        assert result.code == 2 and "did you mean from:?" in result.err


class TestUsage:
    def test_no_verb_shows_the_help(self, home: Home) -> None:
        result = home.run(bare=True)
        assert result.code == 2 and "Verbs:" in result.err and result.out == ""
        complains(home.run(), 2, "Missing command")

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            (["serch", "x"], "no verb 'serch'; did you mean search?"),
            (["frobnicate"], "no verb 'frobnicate'"),
            (["--bogus"], "No such option"),
            (["search"], "Missing argument 'QUERY...'"),
            (["status", "extra"], "unexpected extra argument"),
            (["show", "\x1b[31m", "x"], "unexpected extra argument"),
        ],
    )
    def test_wrong_usage_is_one_line(self, home: Home, arguments: list[str], words: str) -> None:
        complains(home.call(*arguments), 2, words, "--help says what there is")

    @pytest.mark.parametrize(
        "arguments",
        [["search", "folder:\udcff"], ["sync", "--folder", "\udcff"], ["resend", "--query", "\udcff"]],
    )
    def test_bytes_that_are_no_text(self, library: Home, arguments: list[str]) -> None:
        complains(library.call(*arguments), 2, "not UTF-8 text")
        assert library.run(*arguments).code == 2

    def test_version(self, home: Home) -> None:
        assert re.fullmatch(r"archiver, version \d+\.\d+\.\d+\S*\n", home.good("--version").out)

    def test_a_bug_is_one_line_too(self, home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
        import archiver.archive

        def fail(*arguments: object) -> None:
            raise RuntimeError(f"the body was {mails.HOSTILE}")

        monkeypatch.setattr(archiver.archive.Archive, "status", fail)
        result = home.call("status")
        assert (result.code, result.err) == (
            1,
            "archiver: internal error (RuntimeError); --debug shows where\n",
        )
        debugged = home.call("--debug", "status").err
        assert "Traceback" in debugged and "in fail" in debugged and "\x1b" not in debugged
