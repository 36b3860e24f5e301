"""The demo: its sample mailbox, its two servers, its directory, and the guided run itself."""

from __future__ import annotations

import base64
import collections
import contextlib
import email
import email.header
import email.message
import hashlib
import itertools
import os
import pty
import re
import signal
import smtplib
import subprocess
import sys
import termios
import unicodedata
import zlib
from collections.abc import Iterator
from datetime import timedelta
from email.utils import getaddresses, parseaddr
from pathlib import Path

import imapclient
import pytest
import yaml

from demo import attachments
from demo.__main__ import main
from demo.compose import OWNER, Letter, message
from demo.directory import MARKER, DemoError, Directory, Settings
from demo.run import Stage, split_resent
from demo.samples import EMPTY_FOLDERS, ODDS, Sample, folders, mailbox
from demo.servers import HOST, Credentials, Servers

PROJECT = Path(__file__).parent.parent
CREDENTIALS = Credentials("someone", "a password, with spaces")
SAMPLES = mailbox()
MALFORMED = next(sample for sample in SAMPLES if sample.folder == ODDS)


def parsed(sample: Sample) -> email.message.Message:
    return email.message_from_bytes(sample.raw)


def decoded(value: str | None) -> str:
    return str(email.header.make_header(email.header.decode_header(value or "")))


def text_of(part: email.message.Message) -> str:
    payload = part.get_payload(decode=True)
    assert isinstance(payload, bytes)
    charset = part.get_content_charset() or "us-ascii"
    return payload.decode({"windows-874": "cp874"}.get(charset, charset))


def whole_text(sample: Sample) -> str:
    """Subject and every text part, decoded."""
    mail = parsed(sample)
    parts = [text_of(part) for part in mail.walk() if part.get_content_maintype() == "text"]
    return "\n".join([decoded(mail["Subject"]), *parts])


class TestSamples:
    def test_there_are_about_two_hundred_and_always_the_same(self) -> None:
        assert 190 <= len(SAMPLES) <= 220
        assert mailbox() == SAMPLES

    def test_folders_are_nested_and_of_many_scripts(self) -> None:
        names = folders(SAMPLES)
        assert names[0] == "INBOX"
        assert {
            "Projekte/Küche",
            "仕事",
            "仕事/会議",
            "Архив/2024",
            "친구",
            "Ταξίδια",
            *EMPTY_FOLDERS,
        } <= set(names)
        assert any("&" in name for name in names), "the character that modified UTF-7 escapes"

    @pytest.mark.parametrize(
        "script",
        ["CJK", "HIRAGANA", "HANGUL", "CYRILLIC", "GREEK", "ARABIC", "HEBREW", "THAI"],
        ids=str.lower,
    )
    def test_every_script_is_there_in_several_messages(self, script: str) -> None:
        def has_script(sample: Sample) -> bool:
            return any(unicodedata.name(char, "").startswith(script) for char in whole_text(sample))

        assert sum(has_script(sample) for sample in SAMPLES if sample is not MALFORMED) >= 5

    def test_charsets_and_encodings_are_those_of_real_mail(self) -> None:
        leaves = [part for sample in SAMPLES for part in parsed(sample).walk() if not part.is_multipart()]
        charsets = {part.get_content_charset() for part in leaves}
        wanted = "gb18030 gb2312 big5 iso-2022-jp shift_jis euc-jp euc-kr koi8-r windows-1251 iso-8859-7"
        assert {*wanted.split(), "windows-1256", "windows-1255", "tis-620", "iso-8859-1", "utf-8"} <= charsets
        encodings = {str(part["Content-Transfer-Encoding"]).lower() for part in leaves}
        assert {"7bit", "8bit", "base64", "quoted-printable"} <= encodings

    def test_all_but_one_are_well_formed(self) -> None:
        defective = [sample for sample in SAMPLES if any(part.defects for part in parsed(sample).walk())]
        assert defective == [MALFORMED]
        for sample in SAMPLES:
            assert b"\n" not in sample.raw.replace(b"\r\n", b"")
            assert max(map(len, sample.raw.split(b"\r\n"))) <= 998

    def test_every_header_and_text_decodes(self) -> None:
        for sample in SAMPLES:
            if sample is not MALFORMED:
                assert decoded(parsed(sample)["Subject"]).strip()
                assert len(whole_text(sample)) > 40

    def test_every_address_is_one_that_belongs_to_nobody(self) -> None:
        for sample in SAMPLES:
            if sample is not MALFORMED:
                mail = parsed(sample)
                found = getaddresses([str(mail[name]) for name in ("From", "To", "Cc", "Bcc") if mail[name]])
                domains = [address.rpartition("@")[2] for _, address in found]
                assert domains
                for domain in domains:
                    assert domain.split(".")[-2:] in (
                        ["example", "org"],
                        ["example", "net"],
                        ["example", "com"],
                    )

    def test_display_names_decode(self) -> None:
        names = {
            parseaddr(decoded(parsed(sample)["From"]))[0] for sample in SAMPLES if sample is not MALFORMED
        }
        assert {
            "王丽",
            "田中 由紀",
            "박미나",
            "Иван Петров",
            "Küchenstudio Bär",
            "Łukasz Wiśniewski",
        } <= names

    def test_message_ids_are_unique_but_for_copies(self) -> None:
        by_id = collections.defaultdict(set)
        for sample in SAMPLES:
            if sample is not MALFORMED:
                by_id[parsed(sample)["Message-ID"]].add(sample.raw)
        assert all(len(raws) == 1 for raws in by_id.values())

    def test_two_messages_lie_in_two_folders_each(self) -> None:
        places = collections.Counter(sample.raw for sample in SAMPLES)
        assert [count for count in places.values() if count > 1] == [2, 2]

    def test_a_thread_of_ten_holds_together(self) -> None:
        ids = {f"<tiles-{number}." for number in range(1, 11)}
        thread = [s for s in map(parsed, SAMPLES) if str(s["Message-ID"]).startswith(tuple(ids))]
        assert len(thread) == 10
        for before, answer in itertools.pairwise(thread):
            assert answer["In-Reply-To"] == before["Message-ID"]
            assert answer["References"].split() == [
                *(before["References"] or "").split(),
                before["Message-ID"],
            ]

    def test_newsletters_html_flags_and_drafts(self) -> None:
        assert sum("List-Id" in parsed(sample) for sample in SAMPLES) >= 20
        assert sum(parsed(sample).get_content_type() == "text/html" for sample in SAMPLES) == 5
        flags = collections.Counter(flag for sample in SAMPLES for flag in sample.flags)
        assert set(flags) == {"\\Seen", "\\Answered", "\\Flagged", "\\Draft"}
        assert 20 < flags["\\Seen"] < len(SAMPLES) - 20

    def test_dates_span_years_and_arrival_follows_sending(self) -> None:
        assert {sample.received.year for sample in SAMPLES} >= set(range(2019, 2026))
        for sample in SAMPLES:
            if sample is not MALFORMED:
                sent = email.utils.parsedate_to_datetime(parsed(sample)["Date"])
                assert timedelta(0) < sample.received - sent < timedelta(minutes=2)

    def test_the_malformed_one_has_no_date_and_no_end(self) -> None:
        mail = parsed(MALFORMED)
        assert email.utils.parsedate_tz(mail["Date"]) is None
        assert not MALFORMED.raw.endswith(b"\r\n")
        assert b"\xdc" in MALFORMED.raw


class TestAttachments:
    def files(self) -> dict[str, tuple[str, bytes]]:
        found = {}
        for part in (part for sample in SAMPLES for part in parsed(sample).walk()):
            if part.get_content_disposition() == "attachment":
                payload = part.get_payload(decode=True)
                content = payload if isinstance(payload, bytes) else part.as_bytes()
                found[decoded(part.get_filename())] = (part.get_content_type(), content)
        return found

    def test_they_arrive_under_their_own_names(self) -> None:
        kinds = collections.Counter(kind for kind, _ in self.files().values())
        assert set(kinds) == {"application/pdf", "image/png", "text/plain", "text/calendar", "message/rfc822"}
        assert {"Angebot Küche Weber.pdf", "図面第三版.pdf", "新地址.txt", "المنارة.png"} <= set(self.files())

    def test_pdfs_have_a_right_cross_reference_table(self) -> None:
        content = attachments.pdf(("One line", "Äußerst", "three"))
        start = int(content.rsplit(b"startxref\n", 1)[1].split(b"\n", 1)[0])
        assert content[start : start + 4] == b"xref"
        offsets = [int(line[:10]) for line in content[start:].splitlines()[3:8]]
        assert [content[at : at + 7] for at in offsets] == [b"%d 0 obj" % n for n in range(1, 6)]

    def test_pngs_hold_the_rows_they_promise(self) -> None:
        content = attachments.png(((0, 0, 3, 1, 2), (2, 1, 9, 9, 4)), width=4, height=3)
        assert content.startswith(b"\x89PNG\r\n\x1a\n")
        data = content.split(b"IDAT", 1)[1].rsplit(b"IEND", 1)[0]
        rows = zlib.decompressobj().decompress(data)
        assert rows == bytes([0, 2, 2, 2, 0] + [0, 0, 0, 4, 4] * 2)

    def test_invitations_ask_for_an_answer(self) -> None:
        _, content = attachments.content("ics", "展示会.ics")
        assert b"METHOD:REQUEST\r\n" in content
        assert "SUMMARY:秋の展示会".encode() in content


class TestLetters:
    def letter(self, **fields: str) -> Letter:
        shared = {"from": "Zoë <zoe@example.org>", "date": "2024-05-06 07:08:09 +0200", "subject": "Grüße"}
        return Letter("test", {**shared, **fields}, (), "Der Käse, bitte.\n")

    def test_base64_holds_crlf_and_the_charset_is_kept(self) -> None:
        raw = message(self.letter(charset="iso-8859-15", encoding="base64"), {})
        body = raw.split(b"\r\n\r\n", 1)[1]
        assert base64.b64decode(body) == "Der Käse, bitte.\r\n".encode("iso-8859-15")

    def test_a_body_that_its_charset_lacks_is_refused(self) -> None:
        with pytest.raises(UnicodeEncodeError):
            message(self.letter(charset="koi8-r"), {})

    def test_a_name_that_its_charset_lacks_goes_in_utf_8(self) -> None:
        raw = message(self.letter(charset="iso-8859-1", to="田中 <tanaka@example.net>"), {})
        assert b"To: =?utf-8?" in raw
        assert b"Subject: =?iso-8859-1?" in raw

    def test_special_characters_in_a_name_are_quoted(self) -> None:
        raw = message(self.letter(charset="utf-8", to='"Bread, Inc." <bread@example.net>'), {})
        assert b'To: "Bread, Inc." <bread@example.net>\r\n' in raw


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers(SAMPLES, CREDENTIALS) as running:
        yield running


@contextlib.contextmanager
def imap(servers: Servers) -> Iterator[imapclient.IMAPClient]:
    client = imapclient.IMAPClient(HOST, servers.imap_port, ssl=False, timeout=20)
    try:
        client.normalise_times = False
        client.login(CREDENTIALS.user, CREDENTIALS.password)
        yield client
    finally:
        client.logout()


@contextlib.contextmanager
def smtp(servers: Servers, credentials: Credentials = CREDENTIALS) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP(HOST, servers.smtp_port, timeout=20) as client:
        client.login(credentials.user, credentials.password)
        yield client


def served(client: imapclient.IMAPClient) -> list[tuple[str, frozenset[str], object, bytes]]:
    found = []
    for attributes, _, name in client.list_folders():
        if b"\\Noselect" not in attributes:
            client.select_folder(name, readonly=True)
            uids = [uid for uid in client.search() if uid < 1000]
            for data in client.fetch(uids, ["FLAGS", "INTERNALDATE", "BODY.PEEK[]"]).values():
                flags = frozenset(flag.decode() for flag in data[b"FLAGS"])
                found.append((name, flags, data[b"INTERNALDATE"], data[b"BODY[]"]))
    return found


class TestServers:
    def test_every_sample_is_served_with_bytes_date_and_flags(self, servers: Servers) -> None:
        with imap(servers) as client:
            found = served(client)
        expected = [(s.folder, s.flags, s.received, s.raw) for s in SAMPLES]
        # Not by repr: that of a set has no order of its own.
        assert sorted(found, key=lambda m: (m[0], m[3])) == sorted(expected, key=lambda m: (m[0], m[3]))

    def test_a_wrong_password_is_refused(self, servers: Servers) -> None:
        client = imapclient.IMAPClient(HOST, servers.imap_port, ssl=False, timeout=20)
        with pytest.raises(imapclient.exceptions.LoginError):
            client.login(CREDENTIALS.user, "wrong")
        client.logout()
        with (
            pytest.raises(smtplib.SMTPAuthenticationError),
            smtp(servers, Credentials(CREDENTIALS.user, "wrong")),
        ):
            pass

    def test_mail_without_login_is_refused(self, servers: Servers) -> None:
        with (
            smtplib.SMTP(HOST, servers.smtp_port, timeout=20) as client,
            pytest.raises(smtplib.SMTPSenderRefused),
        ):
            client.sendmail("me@example.org", ["you@example.net"], b"Subject: no\r\n\r\n")

    def test_the_sink_keeps_what_arrives_byte_by_byte(self, servers: Servers) -> None:
        raw = b"Subject: dots\r\n\r\n.\r\n..two\r\n\xff\xfe eight bits\r\n"
        before = len(servers.arrived)
        with smtp(servers) as client:
            refused = client.sendmail("me@example.org", ["you@example.net", "nobody@example.net"], raw)
        assert set(refused) == {"nobody@example.net"}
        (arrival,) = servers.arrived[before:]
        assert (arrival.sender, arrival.recipients, arrival.content) == (
            "me@example.org",
            ("you@example.net",),
            raw,
        )

    def test_mail_for_the_owner_goes_to_inbox_above_all_samples(self, servers: Servers) -> None:
        raw = b"Subject: to myself\r\n\r\nhello\r\n"
        with smtp(servers) as client:
            client.sendmail("me@example.org", [OWNER], raw)
        with imap(servers) as client:
            client.select_folder("INBOX", readonly=True)
            (uid,) = client.search("UID 1000:*")
            assert uid == 1001
            assert client.fetch([uid], ["BODY.PEEK[]"])[uid][b"BODY[]"] == raw

    def test_another_run_is_the_same_mailbox_and_uses_no_uid_twice(self) -> None:
        def facts(generation: int) -> tuple[dict[bytes, object], dict[int, object], int]:
            with Servers(SAMPLES, CREDENTIALS, generation=generation) as running, imap(running) as client:
                status = client.folder_status("仕事", ["UIDVALIDITY", "MAILBOXID", "UIDNEXT"])
                client.select_folder("仕事", readonly=True)
                ids = {
                    uid: data[b"EMAILID"] for uid, data in client.fetch(client.search(), ["EMAILID"]).items()
                }
                return status, ids, status.pop(b"UIDNEXT")

        first, second = facts(0), facts(1)
        assert first[:2] == second[:2]
        assert (first[2], second[2]) == (1001, 2001)

    def test_a_port_in_use_is_an_error_and_leaves_nothing_running(self, servers: Servers) -> None:
        with (
            pytest.raises(OSError, match="in use"),
            Servers(SAMPLES, CREDENTIALS, smtp_port=servers.smtp_port),
        ):
            pass

    def test_the_end_closes_open_connections(self) -> None:
        with Servers(SAMPLES, CREDENTIALS) as running:
            client = imapclient.IMAPClient(HOST, running.imap_port, ssl=False, timeout=20)
            line = smtplib.SMTP(HOST, running.smtp_port, timeout=20)
        with pytest.raises(client.AbortError):
            client.noop()
        with pytest.raises(smtplib.SMTPServerDisconnected):
            line.noop()
        client.shutdown()
        line.close()


class TestDirectory:
    def test_the_configuration_says_what_the_servers_are(self, tmp_path: Path) -> None:
        directory = Directory(tmp_path / "a 'quoted\" Küche")
        credentials = directory.make_fresh()
        directory.remember(Settings(1143, 1025))
        config = yaml.safe_load(directory.config.read_text("utf-8"))
        imap_server, smtp_server = config["accounts"]["demo"]["imap"], config["smtp"]["demo"]
        assert (imap_server["port"], smtp_server["port"]) == (1143, 1025)
        assert imap_server["host"] == smtp_server["host"] == HOST
        assert Path(imap_server["password"]["file"]).read_text().strip() == credentials.password
        assert config["archive"] == str(directory.path / "archive")
        assert (directory.password_file.stat().st_mode & 0o777, smtp_server["from"]) == (0o600, OWNER)

    def test_the_next_run_begins_afresh(self, tmp_path: Path) -> None:
        directory = Directory(tmp_path / "demo")
        directory.make_fresh()
        (directory.path / "archive").mkdir()
        directory.make_fresh()
        assert sorted(entry.name for entry in directory.path.iterdir()) == [MARKER, "password"]

    def test_a_directory_of_somebody_else_stays(self, tmp_path: Path) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        with pytest.raises(DemoError, match="not made by the demo") as caught:
            Directory(tmp_path).make_fresh()
        assert caught.value.exit_code == 2
        assert (tmp_path / "thesis.txt").read_text() == "years of work"

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        target = Directory(tmp_path / "target")
        target.make_fresh()
        (tmp_path / "link").symlink_to(target.path)
        with pytest.raises(DemoError):
            Directory(tmp_path / "link").make_fresh()
        assert (target.path / MARKER).exists()

    def test_serving_again_counts_its_runs_and_keeps_the_ports(self, tmp_path: Path) -> None:
        directory = Directory(tmp_path / "demo")
        credentials = directory.make_fresh()
        directory.remember(Settings(1143, 1025))
        assert directory.recall() == (Settings(1143, 1025, 1), credentials)
        assert directory.recall() == (Settings(1143, 1025, 2), credentials)

    def test_serving_what_was_never_made_is_an_error(self, tmp_path: Path) -> None:
        unfinished = Directory(tmp_path / "unfinished")
        unfinished.make_fresh()
        for directory in (unfinished, Directory(tmp_path / "none")):
            with pytest.raises(DemoError, match="make demo") as caught:
                directory.recall()
            assert caught.value.exit_code == 2


class TestSteps:
    def stage(self, tmp_path: Path, script: str) -> Stage:
        program = tmp_path / "archiver"
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        return Stage(program, tmp_path / "config.yaml")

    def test_a_step_is_shown_as_typed_and_its_output_follows(
        self, tmp_path: Path, capfd: pytest.CaptureFixture[str]
    ) -> None:
        self.stage(tmp_path, 'echo "got: $*"').run("search", "two words")
        typed, output = capfd.readouterr().out.splitlines()
        assert typed == f"$ archiver --config {tmp_path}/config.yaml search 'two words'"
        assert output == f"got: --config {tmp_path}/config.yaml search two words"

    def test_a_failing_step_stops_with_its_own_exit_code(self, tmp_path: Path) -> None:
        with pytest.raises(DemoError, match=r"exit code 75 from: archiver .* sync") as caught:
            self.stage(tmp_path, "exit 75").run("sync")
        assert caught.value.exit_code == 75

    def test_a_search_without_hits_stops_where_a_key_is_needed(self, tmp_path: Path) -> None:
        with pytest.raises(DemoError, match="nothing was found"):
            self.stage(tmp_path, "exit 0").key("unicorn")

    def test_the_first_key_is_taken(self, tmp_path: Path) -> None:
        assert self.stage(tmp_path, "echo abc; echo def").key("anything") == "abc"

    @pytest.mark.parametrize(
        ("content", "block"),
        [
            (b"Resent-To: a\r\nResent-From: b\r\n c\r\nFrom: d\r\nResent-To: old\r\n\r\n", 2 + 1),
            (b"From: d\r\nResent-To: old\r\n\r\n", 0),
            (b" odd\r\nResent-To: a\r\n\r\n", 0),
        ],
    )
    def test_the_resent_block_ends_at_the_first_other_line(self, content: bytes, block: int) -> None:
        lines = content.splitlines(keepends=True)
        assert split_resent(content) == (b"".join(lines[:block]), b"".join(lines[block:]))


class TestProgram:
    """The demo as a user starts it."""

    def test_a_foreign_directory_is_exit_code_2(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--directory", str(tmp_path)]) == 2
        assert "left as it is" in capsys.readouterr().err

    def test_serve_listens_on_the_remembered_ports_until_ctrl_c(self, tmp_path: Path) -> None:
        directory = Directory(tmp_path / "demo")
        credentials = directory.make_fresh()
        with Servers((), credentials) as free:
            settings = Settings(free.imap_port, free.smtp_port)
        directory.remember(settings)
        with start_demo("--directory", str(directory.path), "serve") as process:
            assert process.stdout
            assert f"IMAP at {HOST}:{settings.imap_port}" in process.stdout.readline()
            assert "sync" in process.stdout.readline()
            assert "Ctrl-C" in process.stdout.readline()
            client = imapclient.IMAPClient(HOST, settings.imap_port, ssl=False, timeout=20)
            client.login(credentials.user, credentials.password)
            assert client.folder_status("친구", ["MESSAGES"]) == {b"MESSAGES": 10}
            process.send_signal(signal.SIGINT)
            output, errors = process.communicate(timeout=20)
            client.shutdown()
        assert (process.returncode, errors) == (0, "")
        assert "Both servers are gone" in output

    @pytest.mark.timeout(60)
    def test_the_whole_run(self, tmp_path: Path) -> None:
        with start_demo("--directory", str(tmp_path / "demo")) as process:
            output, errors = process.communicate(timeout=55)
        assert process.returncode == 0, errors
        self.complete(tmp_path / "demo", output)
        assert "\x1b" not in output

    @pytest.mark.timeout(60)
    def test_the_whole_run_on_a_terminal(self, tmp_path: Path) -> None:
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (50, 110))
        with start_demo("--directory", str(tmp_path / "demo"), output=theirs) as process:
            os.close(theirs)
            output = read_terminal(ours)
            assert process.wait(timeout=55) == 0, output
        self.complete(tmp_path / "demo", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output))
        assert "\x1b[32m" in output

    def complete(self, directory: Path, output: str) -> None:
        """It said what it must say, and left what it must leave."""
        steps = (
            "check --connect",
            "sync",
            "status",
            "search telescope",
            "search is:unread",
            "show ",
            "attachments ",
        )
        for step in (*steps, "resend ", "outbox", "verify"):
            assert f"$ archiver --config {directory}/config.yaml {step}" in output
        assert f"201 messages in {len(folders(SAMPLES))} folders" in output
        assert "Resent-To: nora@example.net" in output
        assert "bytes after the Resent- block equal the archived message's bytes" in output
        assert "That was the demo" in output
        assert (directory / "attachments" / "Angebot Küche Weber.pdf").read_bytes().startswith(b"%PDF")
        archiver = [str(Path(sys.executable).parent / "archiver"), "--config", str(directory / "config.yaml")]
        search = [*archiver, "search", "车票", "--format", "keys"]
        keys = subprocess.run(search, capture_output=True, text=True, check=True)
        tickets = {
            hashlib.sha256(s.raw).hexdigest()
            for s in SAMPLES
            if s is not MALFORMED and "车票" in whole_text(s)
        }
        assert set(keys.stdout.split()) == tickets != set()


def read_terminal(descriptor: int) -> str:
    """All that was written until the last writer closed the other end."""
    output = b""
    with contextlib.suppress(OSError):  # how Linux says end of file here
        while piece := os.read(descriptor, 65536):
            output += piece
    os.close(descriptor)
    return output.decode().replace("\r\n", "\n")


@contextlib.contextmanager
def start_demo(*arguments: str, output: int = subprocess.PIPE) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "demo", *arguments]
    with subprocess.Popen(command, cwd=PROJECT, stdout=output, stderr=output, text=True) as process:
        try:
            yield process
        finally:
            process.kill()
