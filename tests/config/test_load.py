"""Reading the configuration: what is accepted, and that every problem is said, once, where it is."""

from __future__ import annotations

import os
import traceback
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.config import Config, Duration, Schedule, SecretSource, find, load, parse, warnings
from archiver.config.structs import IndexSettings, Size
from archiver.errors import ArchiverError, ConfigError

PROJECT = Path(__file__).parents[2]
FILE = Path("/somewhere/config.yaml")
SECRET = "Xq7hunter2"

# Of what YAML takes for more than text.
PIECES = (
    *(
        "archive",
        "accounts",
        "imap",
        "password",
        ": ",
        "\n",
        "  ",
        "- ",
        "{",
        "}",
        "[",
        "]",
        "? ",
        "|",
        "'",
        '"',
    ),
    *("&a ", "*a", "<<", "=", "%", "~", "!x ", "!!int ", "!!bool ", "!!float ", "!!timestamp ", "!!binary "),
    *("!!null ", "!!set ", "2024-99-99", "0b_", "1_000", ".inf", "9" * 5000),
)
SMALL = """\
archive: mail
accounts:
  work:
    imap: {host: imap.example.org, user: me, password: {env: PW}}
"""


def problems(text: str) -> list[str]:
    """Every problem of a text, without the name of the file; it must have one."""
    with pytest.raises(ConfigError) as caught:
        parse(text, FILE)
    assert caught.value.exit_code == 2
    assert caught.value.hint
    assert caught.value.problems
    found = []
    for problem in caught.value.problems:
        name, colon, rest = problem.partition(":")
        assert (name, colon) == (str(FILE), ":")
        assert "\n" not in problem
        found.append(rest)
    return found


def account(lines: str) -> str:
    """A configuration whose account `work` has these lines, which start at line 4."""
    return "archive: mail\naccounts:\n  work:\n" + "".join(f"    {line}\n" for line in lines.splitlines())


class TestAccepted:
    def test_the_example_at_the_top_of_the_project(self) -> None:
        config = load(PROJECT / "config.yaml")
        assert set(config.accounts) == {"work", "web", "home"}
        assert config.accounts["work"].schedule is not None
        assert config.accounts["work"].schedule.every == Duration(900)
        assert config.accounts["work"].folders.exclude == ("\\Junk", "\\Trash", "Lists/*")
        assert (config.accounts["home"].imap.port, config.accounts["home"].imap.security) == (143, "starttls")
        assert config.smtp["work"].from_ == "me@example.org"
        assert os.path.isabs(config.archive)

    def test_what_is_left_out_has_its_default(self) -> None:
        config = parse(SMALL, FILE)
        server = config.accounts["work"].imap
        assert (server.port, server.security, server.allow_plaintext) == (993, "tls", False)
        assert (server.connect_timeout, server.read_timeout) == (Duration(30), Duration(60))
        assert config.accounts["work"].name == "work"
        assert config.accounts["work"].schedule is None
        assert config.accounts["work"].flags_every == Duration(86400)
        assert (config.smtp, config.index) == ({}, IndexSettings(0, Size(512 << 20)))
        assert (server.connections, server.compress, server.daily_bytes) == (3, "auto", None)

    @pytest.mark.parametrize("written", ["password: x", "token: x", "token: {command: get-token}"])
    def test_a_password_or_a_token(self, written: str) -> None:
        server = parse(account(f"imap: {{host: h, user: u, {written}}}"), FILE).accounts["work"].imap
        assert (server.password is None) == written.startswith("token")
        assert server.secret is (server.password or server.token)

    @pytest.mark.parametrize(
        ("written", "meant"),
        [("auto", "auto"), ("on", "on"), ("off", "off"), ("'on'", "on"), ("true", "on"), ("No", "off")],
    )
    def test_on_and_off_are_words(self, written: str, meant: str) -> None:
        text = account(f"imap: {{host: h, user: u, password: x, compress: {written}}}")
        assert parse(text, FILE).accounts["work"].imap.compress == meant

    def test_what_limits_a_pull(self) -> None:
        limits = "connections: 20, daily_bytes: 1.5G"
        server = parse(account(f"imap: {{host: h, user: u, token: x, {limits}}}"), FILE).accounts["work"].imap
        assert (server.connections, server.daily_bytes) == (20, 3 << 29)

    @pytest.mark.parametrize(
        ("kind", "security", "port"),
        [
            ("imap", "tls", 993),
            ("imap", "starttls", 143),
            ("imap", "none", 143),
            ("smtp", "tls", 465),
            ("smtp", "starttls", 587),
            ("smtp", "none", 25),
        ],
    )
    def test_ports_follow_from_security(self, kind: str, security: str, port: int) -> None:
        server = f"host: localhost, security: {security}"
        if kind == "imap":
            text = account(f"imap: {{{server}, user: me, password: x}}")
            assert parse(text, FILE).accounts["work"].imap.port == port
        else:
            text = f"archive: mail\nsmtp: {{s: {{{server}, from: me@example.org}}}}"
            assert parse(text, FILE).smtp["s"].port == port

    def test_relative_paths_start_at_the_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOME", "/home/somebody")
        (tmp_path / "ca.pem").write_text("a certificate")
        path = tmp_path / "c.yaml"
        path.write_text(
            "archive: ../mail\naccounts:\n"
            "  a: {imap: {host: h, user: u, password: {file: pw}, ca_file: ca.pem}}\n"
            "  b: {imap: {host: h, user: u, password: {file: ~/pw}}}\n"
            "  c: {imap: {host: h, user: u, token: {file: token}}}\n"
        )
        monkeypatch.chdir("/")
        config = load(path)
        assert config.archive == str(tmp_path.parent / "mail")
        assert config.accounts["a"].imap.secret.file == str(tmp_path / "pw")
        assert config.accounts["a"].imap.ca_file == str(tmp_path / "ca.pem")
        assert config.accounts["b"].imap.secret.file == "/home/somebody/pw"
        assert config.accounts["c"].imap.secret.file == str(tmp_path / "token")

    def test_anchors_share_what_accounts_have_in_common(self) -> None:
        config = parse(
            "archive: mail\naccounts:\n  a: {imap: {host: h, user: u, password: &p {env: P}}}\n"
            "  b: {imap: {host: h, user: v, password: *p}}\n",
            FILE,
        )
        assert config.accounts["b"].imap.secret.env == "P"

    @pytest.mark.parametrize("written", ["2024-01-02", "'12345'", "="])
    def test_passwords_that_look_like_something_else_are_text(self, written: str) -> None:
        config = parse(account(f"imap: {{host: h, user: u, password: {written}}}"), FILE)
        assert config.accounts["work"].imap.secret.literal == written.strip("' ")


class TestProblems:
    def test_all_at_once_each_with_line_and_key(self) -> None:
        text = (
            "archive: 7\n"
            "acounts: {}\n"
            "accounts:\n"
            "  Work: {imap: {host: h, user: u, password: x}}\n"
            "  home:\n"
            "    imap:\n"
            "      host: ''\n"
            "      port: 70000\n"
            "      security: ssl\n"
            "      user: me\n"
            "    folders: {include: INBOX}\n"
            "    schedule: {every: soon}\n"
            "index: {workers: -1, memory: 64M}\n"
        )
        assert problems(text) == [
            "1: archive: expected text, got a whole number",
            "2: acounts: unknown key; did you mean accounts?",
            "4: accounts.Work: expected a name of lower-case letters, digits, - and _",
            "6: accounts.home.imap: expected exactly one of password, token",
            "7: accounts.home.imap.host: expected text of length >= 1",
            "8: accounts.home.imap.port: expected a whole number <= 65535",
            "9: accounts.home.imap.security: expected one of tls, starttls, none",
            "11: accounts.home.folders.include: expected a list, got text",
            "12: accounts.home.schedule.every: expected a time span such as 30s, 15m, 2h or 1d",
            "13: index.workers: expected a whole number >= 0",
        ]

    def test_memory_that_is_no_use(self) -> None:
        assert problems("archive: a\nindex: {memory: 100M}\n") == ["2: index.memory: expected at least 128M"]
        assert parse("archive: a\nindex: {memory: 1G}\n", Path()).index.memory == 1 << 30

    def test_attachments(self) -> None:
        assert parse("archive: a\n", Path()).index.attachments == "auto"
        assert parse("archive: a\nindex: {attachments: off}\n", Path()).index.attachments == "off"
        assert parse("archive: a\nindex: {attachment_size: 1M}\n", Path()).index.attachment_size == 1 << 20
        assert problems("archive: a\nindex: {attachments: some}\n") == [
            "2: index.attachments: expected one of auto, on, off"
        ]
        assert problems("archive: a\nindex: {attachment_size: 1G}\n") == [
            "2: index.attachment_size: expected at most 32M"
        ]

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "1: archive is missing"),
            ("# nothing\n", "1: archive is missing"),
            ("- a\n", "1: expected a mapping with archive, accounts, smtp, index, searches; got a list"),
            (
                "archive: mail\nfoo: 1\n",
                "2: foo: unknown key; known here: archive, accounts, smtp, index, searches",
            ),
            ("archive: mail\narchive: mail\n", "2: archive: written twice"),
            ("archive:\n", "1: archive: expected text, got nothing"),
            ("archive: ''\n", "1: archive: expected text of length >= 1"),
            ('archive: "a\\0b"\n', "1: archive: expected one line"),
            ("archive: 1.5\n", "1: archive: expected text, got a number"),
            ("archive: [a]\n", "1: archive: expected text, got a list"),
            (
                "archive: mail\naccounts: [a]\n",
                "2: accounts: expected a mapping of names, got a list",
            ),
            (
                account("schedule: {every: 1m}"),
                "3: accounts.work: imap is missing",
            ),
            (
                account("imap: {host: h, user: u, password: x}\nname: other"),
                "5: accounts.work.name: unknown key; known here: imap, folders, schedule, flags_every",
            ),
            (
                account('imap: {host: h, user: "a\\nb", password: x}'),
                "4: accounts.work.imap.user: expected one line",
            ),
            (
                account('imap: {host: "a b", user: u, password: x}'),
                "4: accounts.work.imap.host: expected a host name without spaces or control characters",
            ),
            (
                account("imap: {host: h, user: u, password: 12345}"),
                "4: accounts.work.imap.password: expected text; put it in quotes",
            ),
            (
                account("imap: {host: h, user: u, password: 12:30:45}"),
                "4: accounts.work.imap.password: expected text; put it in quotes",
            ),
            (
                account("imap: {host: h, user: u, password: yes}"),
                "4: accounts.work.imap.password: expected text; put it in quotes",
            ),
            (
                account("imap: {host: h, user: u, password: {}}"),
                "4: accounts.work.imap.password: expected exactly one of env, file, command,"
                " or a plain string",
            ),
            (
                account("imap: {host: h, user: u, password: {env: A, file: b}}"),
                "4: accounts.work.imap.password: expected exactly one of env, file, command,"
                " or a plain string",
            ),
            (
                account("imap: {host: h, user: u, password: x, allow_plaintext: 1}"),
                "4: accounts.work.imap.allow_plaintext: expected true or false, got a whole number",
            ),
            (
                account("imap: {host: h, user: u, password: x, connect_timeout: 0s}"),
                "4: accounts.work.imap.connect_timeout: expected at least 0.1s",
            ),
            (
                account("imap: {host: h, user: u, password: x, port: yes}"),
                "4: accounts.work.imap.port: expected a whole number, got true or false",
            ),
            (
                account("imap: {host: h, user: u, password: x, token: y}"),
                "4: accounts.work.imap: expected exactly one of password, token",
            ),
            (
                account("imap: {host: h, user: u, token: {env: A, file: b}}"),
                "4: accounts.work.imap.token: expected exactly one of env, file, command, or a plain string",
            ),
            (
                account("imap: {host: h, user: u, token: x, connections: 21}"),
                "4: accounts.work.imap.connections: expected a whole number <= 20",
            ),
            (
                account("imap: {host: h, user: u, token: x, connections: 0}"),
                "4: accounts.work.imap.connections: expected a whole number >= 1",
            ),
            (
                account("imap: {host: h, user: u, token: x, compress: sometimes}"),
                "4: accounts.work.imap.compress: expected one of auto, on, off",
            ),
            (
                account("imap: {host: h, user: u, token: x, daily_bytes: 2000}"),
                "4: accounts.work.imap.daily_bytes: expected a size such as 500M or 2G",
            ),
            (
                account("imap: {host: h, user: u, token: x, daily_bytes: 1K}"),
                "4: accounts.work.imap.daily_bytes: expected at least 1M",
            ),
            (
                "archive: mail\nsmtp: {s: {host: h, from: a@example.org, security: on}}\n",
                "2: smtp.s.security: expected one of tls, starttls, none",
            ),
            (
                "archive: mail\nsmtp: {s: {host: h, from: nobody}}\n",
                "2: smtp.s.from: expected one line with an address in it",
            ),
            (
                "archive: mail\nsmtp: {s: {host: h, from: a@example.org, user: u}}\n",
                "2: smtp.s.user: expected user and password (or token) together, or neither",
            ),
            (
                "archive: mail\nsmtp: {s: {host: h, from: a@example.org, user: u, password: x, token: y}}\n",
                "2: smtp.s.token: expected either password or token, not both",
            ),
            (
                "archive: mail\nsmtp: {s: {host: h, from: a@example.org, recipients_per_message: 0}}\n",
                "2: smtp.s.recipients_per_message: expected a whole number >= 1",
            ),
            ("archive: !mine x\n", "1: archive: expected plain text, without a tag (!); put it in quotes"),
        ],
    )
    def test_says_what_was_expected(self, text: str, expected: str) -> None:
        assert problems(text) == [expected]

    @pytest.mark.parametrize(
        ("schedule", "expected"),
        [
            ("{}", "schedule: expected exactly one of every, cron, or push"),
            ("{push: false}", "schedule: expected exactly one of every, cron, or push"),
            ("{push: yes please, every: 1h}", "schedule.push: expected true or false, got text"),
            ("pull", "schedule: expected a mapping with every, cron, push; got a text"),
            ("{push: true, every: 1s}", "schedule.every: expected at least 10s"),
            ("{every: 1m, cron: '* * * * *'}", "schedule: expected exactly one of every, cron"),
            ("{every: 9s}", "schedule.every: expected at least 10s"),
            ("{every: 15}", "schedule.every: expected a time span such as 30s, 15m, 2h or 1d"),
            ("{every: 999999w}", "schedule.every: expected a time span of at most 520w"),
            (
                "{cron: '* * * *'}",
                'schedule.cron: expected five fields as in crontab(5), such as "0 3 * * *"',
            ),
            ("{cron: daily}", 'schedule.cron: expected five fields as in crontab(5), such as "0 3 * * *"'),
        ],
    )
    def test_schedules(self, schedule: str, expected: str) -> None:
        found = problems(account(f"imap: {{host: h, user: u, password: x}}\nschedule: {schedule}"))
        assert found == [f"5: accounts.work.{expected}"]

    @pytest.mark.parametrize(
        ("schedule", "meant"),
        [
            ("push", Schedule(push=True, every=Duration(900))),
            ("{push: true}", Schedule(push=True, every=Duration(900))),
            ("{push: true, every: 1h}", Schedule(push=True, every=Duration(3600))),
            ("{push: true, cron: '0 3 * * *'}", Schedule(push=True, cron="0 3 * * *")),
            ("{every: 1h, push: false}", Schedule(every=Duration(3600))),
        ],
    )
    def test_push(self, schedule: str, meant: Schedule) -> None:
        text = account(f"imap: {{host: h, user: u, password: x}}\nschedule: {schedule}")
        assert parse(text, Path("config.yaml")).accounts["work"].schedule == meant

    @pytest.mark.parametrize("host", ["imap.example.org", "10.0.0.1", "localhost.example.org", "::2"])
    def test_in_clear_only_to_this_machine(self, host: str) -> None:
        text = f"imap: {{host: '{host}', user: u, password: x, security: none%s}}"
        assert problems(account(text % "")) == [
            "4: accounts.work.imap.security: expected tls or starttls:"
            f" in clear, everybody on the way to {host} can read"
        ]
        allowed = parse(account(text % ", allow_plaintext: true"), FILE)
        assert allowed.accounts["work"].imap.security == "none"

    @pytest.mark.parametrize("host", ["localhost", "LocalHost", "127.0.0.1", "127.8.9.10", "::1", "[::1]"])
    def test_in_clear_to_this_machine(self, host: str) -> None:
        text = account(f"imap: {{host: '{host}', user: u, password: x, security: none}}")
        assert parse(text, FILE).accounts["work"].imap.security == "none"

    def test_fingerprints(self) -> None:
        text = "imap: {{host: h, user: u, password: x, fingerprint: '{}'{}}}"
        for good in ("aB" * 32, ":".join(["5f"] * 32), " ".join(["5F"] * 32)):
            assert parse(account(text.format(good, "")), FILE).accounts["work"].imap.fingerprint == good
        expected = "expected the SHA-256 of the certificate: 64 hex digits, colons allowed"
        for bad in ("", "ab" * 31, "ab" * 20, "ab" * 33, "xy" * 32, "SHA256:" + "ab" * 32):
            assert problems(account(text.format(bad, ""))) == [
                f"4: accounts.work.imap.fingerprint: {expected}"
            ]
        assert problems(account(text.format("ab" * 32, ", ca_file: /dev/null"))) == [
            "4: accounts.work.imap.fingerprint: expected either ca_file or fingerprint, not both"
        ]

    def test_an_authority_that_is_not_there(self, tmp_path: Path) -> None:
        path = tmp_path / "c.yaml"
        path.write_text(
            "archive: mail\naccounts:\n  a:\n    imap:\n      host: h\n      user: u\n      password: x\n"
            "      ca_file: ca.pem\n"
        )
        with pytest.raises(ConfigError) as caught:
            load(path)
        assert caught.value.problems == (
            f"{path}:8: accounts.a.imap.ca_file: no such file: {tmp_path / 'ca.pem'}",
        )

    def test_keys_twice_on_every_level(self) -> None:
        text = account("imap: {host: h, user: u, password: x}\nfolders: {include: [a], include: [b]}")
        assert problems(text) == ["5: accounts.work.folders.include: written twice"]


class TestNamespaces:
    @pytest.mark.parametrize(
        ("written", "read"),
        [("[personal]", ("personal",)), ("[shared, others]", ("shared", "others"))],
    )
    def test_whose_folders(self, written: str, read: tuple[str, ...]) -> None:
        text = account(f"imap: {{host: h, user: u, password: x}}\nfolders: {{namespaces: {written}}}")
        assert parse(text, Path("config.yaml")).accounts["work"].folders.namespaces == read

    @pytest.mark.parametrize("written", ["[]", "[mine]", "shared", "{}", "[Personal]", "null"])
    def test_a_word_that_is_none(self, written: str) -> None:
        text = account(f"imap: {{host: h, user: u, password: x}}\nfolders: {{namespaces: {written}}}")
        assert problems(text) == [
            "5: accounts.work.folders.namespaces: expected a list of personal, others, shared"
        ]


class TestNotYaml:
    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("archive: mail\n\taccounts: {}\n", "2: found a tab character that violates indentation"),
            ('archive: "mail\n', "2: found unexpected end of stream"),
            ("archive: *nobody\n", "1: found undefined alias"),
            ("archive: a\n---\narchive: b\n", "2: but found another document"),
            ("archive: mail\naccounts: \x07\n", "2: a control character"),
        ],
    )
    def test_says_where(self, text: str, expected: str) -> None:
        assert problems(text) == [expected]

    def test_not_text_at_all(self, tmp_path: Path) -> None:
        path = tmp_path / "config.yaml"
        path.write_bytes(b"archive: caf\xe9\n")
        with pytest.raises(ConfigError, match=r"not UTF-8 text \(byte 12\)"):
            load(path)

    def test_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=r"cannot read .*: No such file"):
            load(tmp_path / "nothing.yaml")
        with pytest.raises(ConfigError, match=r"cannot read .*: Is a directory"):
            load(tmp_path)

    @pytest.mark.timeout(20)
    @pytest.mark.parametrize(
        "text",
        [
            "archive: " + "[" * 200_000 + "]" * 200_000,
            "archive: " + "{a: " * 100_000,
            "archive: &a [*a]",
            "archive: &a [*a, *a]",
            "a0: &a0 [x, x, x, x, x, x, x, x]\n"
            + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]\n" for i in range(1, 12)),
            "archive: &a {" + ", ".join(f"k{i}: &a{i} [*a]" for i in range(50)) + "}",
        ],
        ids=["lists", "mappings", "itself", "itself twice", "laughs", "itself often"],
    )
    def test_deep_or_endless_files_are_refused_at_once(self, text: str) -> None:
        (found,) = problems(text)
        assert "nest" in found  # in the words of PyYAML, where it notices first

    @given(
        st.text(max_size=60)
        | st.lists(
            st.sampled_from(PIECES),
            max_size=12,
        ).map("".join)
    )
    def test_any_text_is_a_configuration_or_a_list_of_problems(self, text: str) -> None:
        try:
            parse(text, FILE)
        except ConfigError as exc:
            assert exc.problems or "UTF-8" in exc.message


class TestSecrets:
    @given(
        prefix=st.text(st.sampled_from("!&*%@`'\"{}[]|>#:-? ~=x0\t"), max_size=4),
        suffix=st.text(st.sampled_from("!&*%@`'\"{}[]|>#:-? ~=x0\t"), max_size=4),
        flow=st.booleans(),
        key=st.sampled_from(
            [
                *("password: ", "password: {env: ", "password: {evn: ", "pasword: ", "password:\n        "),
                *("token: ", "token: {env: ", "token: {evn: ", "tokn: ", "token:\n        "),
            ]
        ),
        more=st.sampled_from(["", "\n      port: x", "\n      user: u", "\n     broken"]),
    )
    def test_no_problem_shows_one(self, prefix: str, suffix: str, flow: bool, key: str, more: str) -> None:
        value = f"{key}{prefix}{SECRET}{suffix}"
        if flow:
            text = account(f"imap: {{host: h, user: u, {value}}}\nunknown: 1")
        else:
            text = "archive: mail\naccounts:\n  work:\n    unknown: 1\n    imap:\n"
            text += f"      host: h\n      user: u\n      {value}{more}\n"
        with pytest.raises(ConfigError) as caught:
            parse(text, FILE)
        assert SECRET not in "".join(traceback.format_exception(caught.value))
        shown = [caught.value.message, str(caught.value), repr(caught.value), str(caught.value.hint)]
        assert SECRET not in "\n".join([*shown, *caught.value.problems])

    @given(
        st.text(min_size=4).filter(lambda text: text not in "SecretSource(***) SecretSource(secret='***')")
    )
    def test_a_source_is_stars(self, secret: str) -> None:
        from rich.pretty import pretty_repr

        source = SecretSource(literal=secret)
        for shown in (repr(source), str(source), f"{source}", repr([source]), pretty_repr(source)):
            assert secret not in shown
            assert "***" in shown

    def test_a_whole_configuration_shows_stars(self) -> None:
        from rich.pretty import pretty_repr

        config = parse(account(f"imap: {{host: h, user: u, password: {SECRET}}}"), FILE)
        assert config.accounts["work"].imap.secret.literal == SECRET
        for shown in (repr(config), str(config), pretty_repr(config)):
            assert SECRET not in shown
            assert "***" in shown


class TestFind:
    @pytest.fixture
    def here(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.chdir(tmp_path)
        return tmp_path

    def test_the_order(self, here: Path) -> None:
        (here / "xdg" / "archiver").mkdir(parents=True)
        (here / "xdg" / "archiver" / "config.yaml").touch()
        (here / "config.yaml").touch()
        environ = {"ARCHIVER_CONFIG": "by-name.yaml", "XDG_CONFIG_HOME": str(here / "xdg")}
        assert find("given.yaml", environ) == Path("given.yaml")
        assert find(None, environ) == Path("by-name.yaml")
        del environ["ARCHIVER_CONFIG"]
        assert find(None, environ) == Path("config.yaml")
        (here / "config.yaml").unlink()
        assert find(None, environ) == here / "xdg" / "archiver" / "config.yaml"

    def test_nothing_found_says_where_it_looked(self, here: Path) -> None:
        with pytest.raises(
            ConfigError, match=r"neither ./config.yaml nor .*xdg/archiver/config.yaml"
        ) as caught:
            find(None, {"XDG_CONFIG_HOME": str(here / "xdg")})
        assert "--config" in str(caught.value.hint)

    def test_a_home_that_does_not_exist(self, here: Path) -> None:
        with pytest.raises(ArchiverError, match="cannot read ~nobody-of-that-name"):
            load(find("~nobody-of-that-name/config.yaml", {}))


class TestWarnings:
    def config(self, path: Path, mode: int) -> Config:
        path.write_text(
            "archive: mail\naccounts:\n  a: {imap: {host: h, user: u, password: written}}\n"
            "  b: {imap: {host: h, user: u, password: {env: B}}}\n"
            "  c: {imap: {host: h, user: u, token: written}}\n"
            "smtp:\n  s: {host: h, from: a@example.org, user: u, password: written}\n"
            "  t: {host: h, from: a@example.org}\n"
        )
        path.chmod(mode)
        return load(path)

    @pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
    def test_passwords_that_others_can_read(self, tmp_path: Path, mode: int) -> None:
        path = tmp_path / "config.yaml"
        found = warnings(self.config(path, mode), path)
        names = ["accounts.a.imap.password", "accounts.c.imap.token", "smtp.s.password"]
        assert [line.split(" ")[1] for line in found] == names
        assert all("chmod 600" in line for line in found)

    def test_a_private_file_may_hold_them(self, tmp_path: Path) -> None:
        path = tmp_path / "config.yaml"
        assert warnings(self.config(path, 0o600), path) == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("archive: [1, 2\nx: 3\n", "2: did not find expected ',' or ']'"),
        ("archive: *secret\n", "1: found undefined alias"),
    ],
)
def test_where_yaml_ends_and_what_it_lacks(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(path)
    (told,) = caught.value.problems
    assert told == f"{path}:{problem}"
    assert "secret" not in told
