"""The reference page of the configuration, made from the structs: `python -m archiver.config.reference`."""

from __future__ import annotations

import inspect
from types import NoneType
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from archiver.config.structs import (
    Account,
    Config,
    Duration,
    Folders,
    ImapServer,
    IndexSettings,
    Schedule,
    SecretSource,
    Size,
    SmtpServer,
)

# Where each struct stands in the file, in reading order.
_SECTIONS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("", Config),
    ("accounts.NAME", Account),
    ("accounts.NAME.imap", ImapServer),
    (
        "accounts.NAME.imap.password, accounts.NAME.imap.token, smtp.NAME.password, smtp.NAME.token",
        SecretSource,
    ),
    ("accounts.NAME.folders", Folders),
    ("accounts.NAME.schedule", Schedule),
    ("smtp.NAME", SmtpServer),
    ("index", IndexSettings),
)

_INTRODUCTION = """\
# Configuration

One YAML file. It is looked for as `--config FILE`, then `$ARCHIVER_CONFIG`, then `./config.yaml`, then
`$XDG_CONFIG_HOME/archiver/config.yaml` (`~/.config/archiver/config.yaml`). Relative paths in it start at the
file's own directory, `~` is your home. `archiver check` validates it and shows every problem at once;
`archiver check --connect` tries every login too. The `config.yaml` that comes with the program is a complete
example, and [providers](providers.md) has what to write for well-known ones.

This page is made from the program's own definitions.
"""


def markdown() -> str:
    """The whole page."""
    return _INTRODUCTION + "".join(_section(path, kind) for path, kind in _SECTIONS)


def _section(path: str, kind: type[msgspec.Struct]) -> str:
    title = f"`{path}`" if path else "Top level"
    about = " ".join((inspect.getdoc(kind) or "").split())
    rows = [
        _row(field, get_type_hints(kind, include_extras=True)[field.name])
        for field in msgspec.structs.fields(kind)
        if (kind, field.name) != (Account, "name")
    ]
    table = "| key | takes | default | meaning |\n|---|---|---|---|\n" + "".join(rows)
    return f"\n## {title}\n\n{about}\n\n{table}"


def _row(field: msgspec.structs.FieldInfo, hint: Any) -> str:
    takes, description = _takes(hint)
    return f"| `{field.encode_name}` | {takes} | {_default(field)} | {description} |\n"


def _takes(hint: Any) -> tuple[str, str]:
    """What a key takes, and its description."""
    description = ""
    while get_origin(hint) is Annotated:
        hint, *metas = get_args(hint)
        description = next((m.description for m in metas if m.description), description)
    parts = [arg for arg in get_args(hint) if arg is not NoneType]
    if NoneType in get_args(hint):
        inner, deeper = _takes(parts[0])
        return inner, description or deeper
    if get_origin(hint) is Literal:
        return ", ".join(f"`{word}`" for word in parts), description
    names: dict[Any, str] = {
        str: "text",
        int: "a number",
        bool: "`true`, `false`",
        Duration: "a time span: `15m`",
        Size: "a size: `500M`, `2G`",
    }
    if get_origin(hint) is tuple:
        words, _ = _takes(parts[0])
        return f"a list of {'texts' if parts[0] is str else words}", description
    if get_origin(hint) is dict and parts[1] is str:
        return "names, each with a query", description
    if get_origin(hint) is dict:
        return (
            f"names, each with a mapping: `{'accounts' if parts[1] is Account else 'smtp'}.NAME`",
            description,
        )
    if hint is SecretSource:
        return "a mapping of one key, or a plain string", description or "where the password comes from"
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        takes = "a mapping, or `push`" if hint is Schedule else "a mapping"
        return takes, description or (inspect.getdoc(hint) or "").split("\n")[0].rstrip(".")
    return names[hint], description


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    value = field.default
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{each}`" for each in value)
    shown = isinstance(value, str | Duration) or (isinstance(value, int) and field.name != "port")
    return f"`{value}`" if shown else ""


if __name__ == "__main__":
    print(markdown(), end="")
