"""YAML -> Config; every problem at once, each with file, line and key path."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

import msgspec
import yaml

from archiver.config.structs import (
    CONNECTIONS,
    Account,
    Config,
    Duration,
    ImapServer,
    Schedule,
    SecretSource,
    Server,
    Size,
)
from archiver.errors import ConfigError

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ACCOUNT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]*")
_MAX_DEPTH = 20
_MAX_VALUES = 50_000
_SECRETS = ("password", "token")
_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}

Path_ = tuple[str | int, ...]


def find(explicit: str | None, environ: Mapping[str, str]) -> Path:
    """The configuration file to use; ConfigError when there is none.

    Searched: the explicit path, $ARCHIVER_CONFIG, ./config.yaml, $XDG_CONFIG_HOME/archiver/config.yaml.
    """
    if named := explicit or environ.get("ARCHIVER_CONFIG"):
        return Path(os.path.expanduser(named))
    base = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    xdg = Path(base, "archiver", "config.yaml")
    for candidate in (Path("config.yaml"), xdg):
        if candidate.exists():
            return candidate
    raise ConfigError(
        f"no configuration: neither ./config.yaml nor {xdg} exists",
        hint="write one (docs/configuration.md has every key), or name it with --config or $ARCHIVER_CONFIG",
    )


Check = Callable[[Mapping[str, str]], Iterable[tuple[str, str]]]
"""What is wrong with saved searches, by name: queries are understood in a later room."""


def load(path: Path, check_searches: Check = lambda searches: ()) -> Config:
    """The configuration in `path`, with `~` and relative paths resolved; ConfigError with all problems."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigError(
            f"cannot read {path}: {exc.strerror}", hint="name another with --config or $ARCHIVER_CONFIG"
        ) from exc
    except UnicodeDecodeError as exc:
        raise ConfigError(f"{path} is not UTF-8 text (byte {exc.start})", hint="save it as UTF-8") from exc
    return parse(text, path, check_searches)


def parse(text: str, path: Path, check_searches: Check = lambda searches: ()) -> Config:
    """As `load`, from text; `path` is what problems name and relative paths start from."""
    decoder = _Decoder(path)
    value = decoder.read(text)
    config = decoder.decode(value, Config, ())
    if not decoder.problems:
        config = _resolve(config, path.absolute().parent)
        decoder.check_files(config)
    if searches := _searches(value):
        for name, problem in check_searches(searches):
            decoder.problem(("searches", name), problem)
    if decoder.problems:
        count = len(decoder.problems)
        raise ConfigError(
            f"{path}: {count} problem{'s' if count > 1 else ''}",
            [text for _, text in sorted(decoder.problems)],
            hint="docs/configuration.md describes every key",
        )
    assert isinstance(config, Config)
    return config


def _searches(value: object) -> dict[str, str]:
    """The saved searches that are text, be the rest of the configuration good or not."""
    found = value.get("searches") if isinstance(value, dict) else None
    return {k: v for k, v in found.items() if isinstance(v, str)} if isinstance(found, dict) else {}


def warnings(config: Config, path: Path) -> list[str]:
    """What is allowed but unwise: passwords written into a file that others can read."""
    try:
        readable = bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
    except OSError:
        return []
    sources = [(f"accounts.{name}.imap.password", a.imap.password) for name, a in config.accounts.items()]
    sources += [(f"accounts.{name}.imap.token", a.imap.token) for name, a in config.accounts.items()]
    for key in _SECRETS:
        sources += [(f"smtp.{name}.{key}", getattr(s, key)) for name, s in config.smtp.items()]
    return [
        f"{path}: {key} is written out and others can read the file: chmod 600 it, or use env, file, command"
        for key, source in sources
        if readable and source and source.literal is not None
    ]


def _resolve(config: Config, base: Path) -> Config:
    """Fill in names; make paths absolute, those in the file being relative to it."""

    def absolute(text: str | None) -> str | None:
        return text and os.path.normpath(base / os.path.expanduser(text))

    def secret(source: Any) -> Any:
        return source and msgspec.structs.replace(source, file=absolute(source.file))

    def server(value: Any) -> Any:
        secrets = {key: secret(getattr(value, key)) for key in _SECRETS if hasattr(value, key)}
        return msgspec.structs.replace(value, ca_file=absolute(value.ca_file), **secrets)

    return msgspec.structs.replace(
        config,
        archive=absolute(config.archive),
        accounts={
            name: msgspec.structs.replace(account, name=name, imap=server(account.imap))
            for name, account in config.accounts.items()
        },
        smtp={name: server(value) for name, value in config.smtp.items()},
    )


class _Decoder:
    """Walks YAML values and struct types side by side, and gathers what does not fit."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[Path_, int] = {}
        self.problems: list[tuple[int, str]] = []
        self._values = 0

    def problem(self, path: Path_, text: str) -> None:
        while path not in self.lines and path:
            path, last = path[:-1], path[-1]
            text = text if path in self.lines or not path else f"{last}: {text}"
        line = self.lines.get(path, 1)
        where = _dotted(path)
        self.problems.append((line, f"{self.path}:{line}: {where + ': ' if where else ''}{text}"))

    def read(self, text: str) -> object:
        """Parse YAML, remembering the line of every key."""
        try:
            self.check_depth(text)
            loader = _Loader(text)
            node = loader.get_single_node()
            return self.value(loader, node, ()) if node else {}
        except yaml.YAMLError as exc:
            line, why = _where_and_why(exc, text)
        # Outside the handler, so not chained: its text may quote the line, which may hold a password.
        raise ConfigError(
            f"{self.path} is not YAML", [f"{self.path}:{line}: {why}"], hint="check indentation and quotes"
        )

    def check_depth(self, text: str) -> None:
        """Refuse what would exhaust the stack when composed."""
        depth = 0
        for event in yaml.parse(text, Loader=_Loader):
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > _MAX_DEPTH and event.start_mark:
                self.refuse(event.start_mark.line + 1, "nested too deeply")

    def refuse(self, line: int, why: str) -> NoReturn:
        raise ConfigError(
            f"{self.path} cannot be read as a configuration",
            [f"{self.path}:{line}: {why}"],
            hint="docs/configuration.md describes every key",
        )

    def value(self, loader: Any, node: Any, path: Path_) -> object:
        line = node.start_mark.line + 1
        self.lines.setdefault(path, line)
        self._values += 1
        # Aliases can make a small file endless.
        if len(path) > _MAX_DEPTH or self._values > _MAX_VALUES:
            self.refuse(line, "nested too deeply, or repeated too often by aliases")
        if isinstance(node, yaml.SequenceNode):
            return [self.value(loader, item, (*path, i)) for i, item in enumerate(node.value)]
        if not isinstance(node, yaml.MappingNode):
            return self.scalar(loader, node, path)
        result: dict[object, object] = {}
        for key_node, value_node in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else "?"
            inner = (*path, key)
            if key in result:
                self.lines[inner] = key_node.start_mark.line + 1
                self.problem(inner, "written twice")
            self.lines[inner] = key_node.start_mark.line + 1
            result[key] = self.value(loader, value_node, inner)
        return result

    def scalar(self, loader: Any, node: Any, path: Path_) -> object:
        """A number, truth value or nothing; anything else, dates too, is text."""
        kind = node.tag.removeprefix("tag:yaml.org,2002:")
        if kind in ("bool", "int", "float", "null"):
            try:
                return loader.construct_object(node)
            except (ValueError, LookupError):
                pass  # a tag that does not fit the text, a number without end: the text then
        elif kind not in ("str", "timestamp", "merge", "value"):
            self.problem(path, "expected plain text, without a tag (!); put it in quotes")
        return node.value

    def decode(self, value: object, kind: Any, path: Path_) -> Any:
        """`value` as `kind`; where it does not fit, a problem and None."""
        bare = _bare(kind)
        if bare is SecretSource and isinstance(value, str):
            return SecretSource(literal=value)
        if bare is SecretSource and isinstance(value, bool | int | float):
            self.problem(path, "expected text; put it in quotes")
            return None
        if bare is Schedule and value == "push":
            return Schedule(push=True)
        if isinstance(bare, type) and issubclass(bare, msgspec.Struct):
            return self.struct(value, bare, path)
        if get_origin(bare) is dict:
            return self.mapping(value, get_args(bare)[1], path)
        if get_origin(bare) is Literal and isinstance(value, bool) and "off" in get_args(bare):
            return "on" if value else "off"  # YAML's reading of the two words
        try:
            return msgspec.convert(value, kind, dec_hook=_dec_hook)
        except msgspec.ValidationError as exc:
            self.problem(path, _explain(exc, bare))
        return None

    def mapping(self, value: object, kind: Any, path: Path_) -> Any:
        if not isinstance(value, dict):
            self.problem(path, f"expected a mapping of names, got {_describe(value)}")
            return None
        for name in value:
            if not ACCOUNT_NAME.fullmatch(name):
                self.problem((*path, name), "expected a name of lower-case letters, digits, - and _")
        return {name: self.decode(inner, kind, (*path, name)) for name, inner in value.items()}

    def struct(self, value: object, kind: type[msgspec.Struct], path: Path_) -> Any:
        hints = get_type_hints(kind, include_extras=True)
        fields = {f.encode_name: f for f in msgspec.structs.fields(kind)}
        if kind is Account:
            del fields["name"]
        if not isinstance(value, dict):
            self.problem(path, f"expected a mapping with {', '.join(fields)}; got {_describe(value)}")
            return None
        if issubclass(kind, Server) and "preset" in value:
            value = self.with_preset(value, kind, path)
        for key in value.keys() - fields.keys():
            import difflib

            near = difflib.get_close_matches(str(key), fields, n=1)
            advice = f"did you mean {near[0]}?" if near else f"known here: {', '.join(fields)}"
            self.problem((*path, key), f"unknown key; {advice}")
        before = len(self.problems)
        decoded = {}
        for name, field in fields.items():
            if name in value:
                decoded[field.name] = self.decode(value[name], hints[field.name], (*path, name))
            elif field.required:
                self.problem(path, f"{name} is missing")
        choice: tuple[str, ...] = getattr(kind, "one_of", ())
        if choice and sum(name in value for name in choice) != 1:
            self.problem(path, f"expected exactly one of {', '.join(choice)}")
        if len(self.problems) > before:
            return None
        result = kind(**decoded)
        # What the fields cannot say alone.
        for key, text in getattr(result, "problems", tuple)():
            self.problem((*path, key) if key else path, text)
        return result

    def with_preset(self, value: dict[str, Any], kind: type[Server], path: Path_) -> dict[str, Any]:
        """What is written, and what the preset says of the rest; a problem when there is no such preset."""
        from archiver import presets

        name = str(value["preset"]) if isinstance(value["preset"], str | int) else ""  # 163 is a number
        preset = presets.find(name)
        if preset is None:
            near = presets.nearest(name)
            known = ", ".join(each.name for each in presets.PRESETS)
            self.problem(
                (*path, "preset"), f"unknown; {f'did you mean {near}?' if near else f'known here: {known}'}"
            )
            return {**value, "preset": None, "host": "unknown"}
        host, port, security = preset.imap if kind is ImapServer else preset.smtp
        given: dict[str, Any] = {"host": host, "security": security}
        if value.get("security", security) == security:
            given["port"] = port
        if kind is ImapServer:
            given["connections"] = min(CONNECTIONS, preset.connections or CONNECTIONS)
            given["daily_bytes"] = preset.daily_bytes and Size(preset.daily_bytes)
        return {**given, **value, "preset": name}

    def check_files(self, config: Config) -> None:
        servers: list[tuple[Path_, Server]] = [
            (("accounts", name, "imap"), account.imap) for name, account in config.accounts.items()
        ]
        servers += [(("smtp", name), server) for name, server in config.smtp.items()]
        for path, server in servers:
            if server.ca_file and not os.path.isfile(server.ca_file):
                self.problem((*path, "ca_file"), f"no such file: {server.ca_file}")


def _bare(kind: Any) -> Any:
    """The type without Annotated and without `| None`."""
    if get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, UnionType):
        others = [arg for arg in get_args(kind) if arg is not NoneType]
        return _bare(others[0]) if len(others) == 1 else kind
    return kind


def _dec_hook(kind: type, value: object) -> object:
    if kind in (Duration, Size):
        return kind.parse(value)
    raise NotImplementedError(kind)


def _dotted(path: Path_) -> str:
    """The path as people write it. What stands where only `env`, `file` or `command` may is not shown."""
    return ".".join("***" if _may_be_secret(path, i) else str(part) for i, part in enumerate(path))


def _may_be_secret(path: Path_, position: int) -> bool:
    """Whether a key could be a password that was not put in quotes: `password: {so it goes}`."""
    below = position >= 3 and not {*_SECRETS}.isdisjoint(path[2:position])
    return below and path[position] not in SecretSource.__struct_fields__


# Nothing in quotes but signs of YAML itself.
_SIGNS = re.compile(r"""[^'"]*(?:'[^\w'"]{1,3}'[^'"]*)*""")


def _where_and_why(exc: yaml.YAMLError, text: str) -> tuple[int, str]:
    """The line of an error of YAML, and its reason without the pieces it quotes, signs apart."""
    if isinstance(exc, yaml.reader.ReaderError):
        return text.encode()[: exc.position].count(b"\n") + 1, "a control character"
    mark = getattr(exc, "problem_mark", None)
    why = getattr(exc, "problem", None) or "cannot be read"
    if not _SIGNS.fullmatch(why):
        why = re.sub(r" ?(['\"]).*\1", "", why)
    return mark.line + 1 if mark else 1, why


def _describe(value: object) -> str:
    names = {dict: "a mapping", list: "a list", str: "a text", NoneType: "nothing", bool: "true or false"}
    return names.get(type(value), "a number")


def _explain(exc: msgspec.ValidationError, kind: Any) -> str:
    """What was expected, in a configuration writer's words; never the value, which may be a secret."""
    if get_origin(kind) is Literal:
        return f"expected one of {', '.join(get_args(kind))}"
    if get_origin(kind) is tuple and get_origin(get_args(kind)[0]) is Literal:
        return f"expected a list of {', '.join(get_args(get_args(kind)[0]))}"
    text = str(exc).split(" - at ")[0]
    for theirs, ours in _WORDS.items():
        text = text.replace(f"`{theirs}`", ours)
    if "matching regex" in text:
        return "expected one line" + (" with an address in it" if "@" in text else "")
    return text[:1].lower() + text[1:]
