"""Mail providers: their servers, how one logs in there, what they do differently. One table, also the source
of docs/providers.md: `python -m archiver.presets`.

What a provider allows is known only where it says so: no number means nobody told.
"""

from __future__ import annotations

from msgspec import Struct

_APP = "app password"
_OAUTH = "OAuth token"
_CODE = "authorization code (16 letters)"
_PLAIN = "password"


class Preset(Struct, frozen=True, kw_only=True):
    """What `preset: NAME` stands for. Servers are (host, port, security).

    `login` says what to log in with, `where` how to get it; `quirks` what to know before or after;
    `connections` and `daily_bytes` are the provider's limits, None where it names none.
    """

    name: str
    title: str
    imap: tuple[str, int, str]
    smtp: tuple[str, int, str]
    login: str
    where: str
    quirks: str = ""
    connections: int | None = None
    daily_bytes: int | None = None


PRESETS: tuple[Preset, ...] = (
    Preset(
        name="gmail",
        title="Gmail, Google Workspace",
        imap=("imap.gmail.com", 993, "tls"),
        smtp=("smtp.gmail.com", 465, "tls"),
        login=f"{_APP}, or {_OAUTH}",
        where="myaccount.google.com/apppasswords, once 2-Step Verification is on",
        quirks="a label is a folder, and `[Gmail]/All Mail` has everything once more (downloaded once); "
        "more than 2,500 MB a day locks the account for a day: a first pull takes several",
        connections=15,
        daily_bytes=2_500_000_000,
    ),
    Preset(
        name="outlook",
        title="Outlook.com, Hotmail, Live, MSN",
        imap=("outlook.office365.com", 993, "tls"),
        smtp=("smtp-mail.outlook.com", 587, "starttls"),
        login=_OAUTH,
        where="passwords are no longer taken; `token: {command: ...}` runs a program that has signed in; "
        "allow IMAP at outlook.live.com, Settings, Mail, Forwarding and IMAP",
        quirks="a token lasts about an hour and is fetched anew; sending servers take no token here yet",
    ),
    Preset(
        name="office365",
        title="Microsoft 365 for work or school",
        imap=("outlook.office365.com", 993, "tls"),
        smtp=("smtp.office365.com", 587, "starttls"),
        login=_OAUTH,
        where="as outlook; the administrator must allow IMAP and the program that signs in",
        quirks="as outlook; busy servers name a time to wait, which is heeded; sending with a password where "
        "the administrator allows SMTP AUTH",
    ),
    Preset(
        name="icloud",
        title="iCloud Mail (icloud.com, me.com, mac.com)",
        imap=("imap.mail.me.com", 993, "tls"),
        smtp=("smtp.mail.me.com", 587, "starttls"),
        login="app-specific password",
        where="account.apple.com, Sign-In and Security, App-Specific Passwords",
        quirks="the IMAP user is the part before the @, the SMTP user the whole address",
    ),
    Preset(
        name="yahoo",
        title="Yahoo Mail",
        imap=("imap.mail.yahoo.com", 993, "tls"),
        smtp=("smtp.mail.yahoo.com", 465, "tls"),
        login=f"{_APP}, or {_OAUTH}",
        where="login.yahoo.com, Account security, Generate app password",
        quirks="shows about 10,000 messages of a folder, and the report says how many it hides: "
        "`preset: yahoo-export` for a first pull of more",
    ),
    Preset(
        name="yahoo-export",
        title="Yahoo Mail, for folders of more than 10,000 messages",
        imap=("export.imap.mail.yahoo.com", 993, "tls"),
        smtp=("smtp.mail.yahoo.com", 465, "tls"),
        login=f"{_APP}, or {_OAUTH}",
        where="login.yahoo.com, Account security, Generate app password",
        quirks="the same mailbox as `yahoo`, whole and slower",
    ),
    Preset(
        name="aol",
        title="AOL Mail",
        imap=("imap.aol.com", 993, "tls"),
        smtp=("smtp.aol.com", 465, "tls"),
        login=f"{_APP}, or {_OAUTH}",
        where="login.aol.com, Account security, Generate app password",
        quirks="shows about 10,000 messages of a folder, as Yahoo does",
    ),
    Preset(
        name="fastmail",
        title="Fastmail",
        imap=("imap.fastmail.com", 993, "tls"),
        smtp=("smtp.fastmail.com", 465, "tls"),
        login=_APP,
        where="Settings, Privacy & Security, Manage app passwords",
    ),
    Preset(
        name="gmx",
        title="GMX (gmx.net, gmx.de, gmx.at, gmx.ch)",
        imap=("imap.gmx.net", 993, "tls"),
        smtp=("mail.gmx.net", 465, "tls"),
        login=f"{_PLAIN}; with two-factor login an {_APP}",
        where="allow it first: E-Mail, Einstellungen, POP3/IMAP Abruf",
    ),
    Preset(
        name="gmx-com",
        title="GMX (gmx.com, gmx.us, gmx.co.uk)",
        imap=("imap.gmx.com", 993, "tls"),
        smtp=("mail.gmx.com", 465, "tls"),
        login=f"{_PLAIN}; with two-factor login an {_APP}",
        where="allow it first: E-mail, Settings, POP3 & IMAP",
    ),
    Preset(
        name="webde",
        title="WEB.DE",
        imap=("imap.web.de", 993, "tls"),
        smtp=("smtp.web.de", 465, "tls"),
        login=f"{_PLAIN}; with two-factor login an {_APP}",
        where="allow it first: E-Mail, Einstellungen, POP3/IMAP Abruf",
    ),
    Preset(
        name="t-online",
        title="Telekom Mail (t-online.de, magenta.de)",
        imap=("secureimap.t-online.de", 993, "tls"),
        smtp=("securesmtp.t-online.de", 465, "tls"),
        login="the password for e-mail programs",
        where="telekom.de, Kundencenter, Passwort für E-Mail-Programme",
    ),
    Preset(
        name="mailbox-org",
        title="mailbox.org",
        imap=("imap.mailbox.org", 993, "tls"),
        smtp=("smtp.mailbox.org", 465, "tls"),
        login=f"{_PLAIN}; with two-factor login an {_APP}",
        where="mailbox.org, Settings, Application passwords",
    ),
    Preset(
        name="posteo",
        title="Posteo",
        imap=("posteo.de", 993, "tls"),
        smtp=("posteo.de", 465, "tls"),
        login=_PLAIN,
        where="the one of the web site",
    ),
    Preset(
        name="ionos",
        title="IONOS (ionos.com)",
        imap=("imap.ionos.com", 993, "tls"),
        smtp=("smtp.ionos.com", 465, "tls"),
        login=_PLAIN,
        where="the mailbox's own, not the customer account's",
        quirks="in Germany `host: imap.ionos.de`, and so on in other countries",
    ),
    Preset(
        name="orange",
        title="Orange (orange.fr, wanadoo.fr)",
        imap=("imap.orange.fr", 993, "tls"),
        smtp=("smtp.orange.fr", 465, "tls"),
        login=_PLAIN,
        where="the one of the web site",
    ),
    Preset(
        name="yandex",
        title="Yandex Mail",
        imap=("imap.yandex.com", 993, "tls"),
        smtp=("smtp.yandex.com", 465, "tls"),
        login=f"{_APP}, or {_OAUTH}",
        where="id.yandex.com/security/app-passwords; allow IMAP at mail.yandex.com, Settings, Email clients",
    ),
    Preset(
        name="mailru",
        title="Mail.ru (mail.ru, inbox.ru, list.ru, bk.ru)",
        imap=("imap.mail.ru", 993, "tls"),
        smtp=("smtp.mail.ru", 465, "tls"),
        login="password for external applications",
        where="account.mail.ru, Security, Passwords for external applications",
    ),
    Preset(
        name="qq",
        title="QQ Mail",
        imap=("imap.qq.com", 993, "tls"),
        smtp=("smtp.qq.com", 465, "tls"),
        login=_CODE,
        where="mail.qq.com, Settings, Account, IMAP/SMTP service: turn it on",
        quirks="takes ascending sets only, and searches as it likes: neither is relied on",
    ),
    Preset(
        name="exmail",
        title="Tencent Exmail (WeCom mailboxes)",
        imap=("imap.exmail.qq.com", 993, "tls"),
        smtp=("smtp.exmail.qq.com", 465, "tls"),
        login="client password",
        where="exmail.qq.com, Settings, Client settings",
        quirks="as qq",
    ),
    Preset(
        name="163",
        title="NetEase 163.com",
        imap=("imap.163.com", 993, "tls"),
        smtp=("smtp.163.com", 465, "tls"),
        login=_CODE,
        where="mail.163.com, Settings, POP3/SMTP/IMAP: turn IMAP on",
        quirks="lets nobody in who does not say what program it is: it is told",
    ),
    Preset(
        name="126",
        title="NetEase 126.com",
        imap=("imap.126.com", 993, "tls"),
        smtp=("smtp.126.com", 465, "tls"),
        login=_CODE,
        where="mail.126.com, Settings, POP3/SMTP/IMAP: turn IMAP on",
        quirks="as 163",
    ),
    Preset(
        name="yeah",
        title="NetEase yeah.net",
        imap=("imap.yeah.net", 993, "tls"),
        smtp=("smtp.yeah.net", 465, "tls"),
        login=_CODE,
        where="mail.yeah.net, Settings, POP3/SMTP/IMAP: turn IMAP on",
        quirks="as 163",
    ),
    Preset(
        name="naver",
        title="Naver",
        imap=("imap.naver.com", 993, "tls"),
        smtp=("smtp.naver.com", 465, "tls"),
        login=f"{_PLAIN}; with two-step login an {_APP}",
        where="mail.naver.com, Settings, POP3/IMAP: turn IMAP on",
    ),
    Preset(
        name="zoho",
        title="Zoho Mail (zoho.com, zohomail.com)",
        imap=("imap.zoho.com", 993, "tls"),
        smtp=("smtp.zoho.com", 465, "tls"),
        login=f"{_PLAIN}; with two-factor login an {_APP}",
        where="accounts.zoho.com, Security, App Passwords; allow IMAP at mail.zoho.com, Settings, "
        "Mail Accounts",
        quirks="domains of one's own: `host: imappro.zoho.com` (SMTP smtppro.zoho.com); "
        "in Europe zoho.eu, in India zoho.in for zoho.com",
    ),
    Preset(
        name="proton-bridge",
        title="Proton Mail, through its Bridge on this machine",
        imap=("127.0.0.1", 1143, "starttls"),
        smtp=("127.0.0.1", 1025, "starttls"),
        login="the Bridge's own password",
        where="Bridge, the account's Mailbox details",
        quirks="the Bridge makes its certificate itself: export it (Settings, Advanced settings, Export TLS "
        "certificates) and give its SHA-256 as `fingerprint:`",
    ),
)


def find(name: str) -> Preset | None:
    return next((preset for preset in PRESETS if preset.name == name), None)


def nearest(name: str) -> str | None:
    """The name that was probably meant."""
    from difflib import get_close_matches

    near = get_close_matches(name.lower(), [preset.name for preset in PRESETS], n=1, cutoff=0.5)
    return near[0] if near else None


_INTRODUCTION = """\
# Providers

`preset: NAME` in an account or a sending server stands for host, port and security, so that this is enough:

    accounts:
      home:
        imap: {preset: gmail, user: me@example.org, password: {command: "pass show mail/home"}}
    smtp:
      home: {preset: gmail, user: me@example.org, password: {env: HOME_SMTP}, from: me@example.org}

Every key that is written out counts instead of the preset's. A limit in the table becomes `daily_bytes`
(`daily_bytes: null` lifts it), and `connections` stays below it.

An OAuth token comes from `token:` in place of `password:`, best from a command that gets a new one each time,
since it is run again when the server refuses the one before. Signing in to a provider is that program's part.

This page is made from the program's own table. Something changed, or is missing? Any server can be written
out as `host`, `port` and `security` ([configuration](configuration.md)).
"""


def markdown() -> str:
    """The whole page."""
    servers = "".join(
        f"| `{p.name}` | {p.title} | {_server(p.imap)} | {_server(p.smtp)} | {_limits(p)} |\n"
        for p in PRESETS
    )
    logins = "".join(f"| `{p.name}` | {p.login} | {p.where} | {p.quirks} |\n" for p in PRESETS)
    return (
        f"{_INTRODUCTION}\n## Servers\n\n"
        f"| preset | for | IMAP | SMTP | limits |\n|---|---|---|---|---|\n{servers}"
        f"\n## Logging in\n\n"
        f"| preset | log in with | where to get it | to know |\n|---|---|---|---|\n{logins}"
    )


def _server(server: tuple[str, int, str]) -> str:
    host, port, security = server
    return f"{host}:{port}{'' if security == 'tls' else f' ({security})'}"


def _limits(preset: Preset) -> str:
    limits = []
    if preset.daily_bytes:
        limits.append(f"{preset.daily_bytes / 1e6:,.0f} MB a day")
    if preset.connections:
        limits.append(f"{preset.connections} connections")
    return ", ".join(limits)


if __name__ == "__main__":
    print(markdown(), end="")
