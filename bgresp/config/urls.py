"""Base URLs: which are fit to be sent a key, what fills them, which we start ourselves.

A profile of the dialect `local` may name a program or an upstream. That comes from this
user's configuration alone: a job keeps the profile's name, `local:NAME`, and no more.

A ledger names a base URL and the source of a key, and may be another's. A key is read
where the configuration, this call, or a line of `endpoints.jsonl` beside config.toml
joins its source to the base URL of a job; a dialect that a job keeps is spoken where it
was noted there. That file is like known_hosts: this user's own, never in a state
folder.
"""

import hashlib
import json
import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import SplitResult, urlsplit

from bgresp.config import places
from bgresp.config.files import Config, Table, stored_dialects
from bgresp.core import dialect
from bgresp.core.dialect import Dialect, unclosed
from bgresp.core.dialect import variables as in_templates
from bgresp.core.endpoint import is_loopback
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job

LOCAL: Final = "local:"
ENGINES: Final = ("exec", "upstream")
KEYS: Final = frozenset(
    {
        *ENGINES,
        *("exec_json", "upstream_key_env", "upstream_api", "workers"),
    }
)
NOTED: Final = "endpoints.jsonl"
_PRIVATE_FILE: Final = 0o600
_PRIVATE_DIR: Final = 0o700
_MAY_BE_SECRET: Final = ("headers", "query")


def is_local(base_url: str) -> bool:
    """Say whether this is an endpoint that bgresp itself starts: local:PROFILE."""
    return base_url.startswith(LOCAL)


def check(base_url: str, *, keyed: bool, allow_http: bool) -> None:
    """Refuse a base URL that is none, or that a key must not go to.

    Raises ConfigError; a password in the URL is never repeated.
    """
    if is_local(base_url):
        return
    parts = split(base_url)
    if parts is not None and "@" in parts.netloc:
        raise ConfigError("the base URL holds a user name or password: refused")
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        shown = "" if "@" in base_url or "?" in base_url else f": {base_url!r}"
        raise ConfigError(f"not a base URL{shown}", hint="write https://HOST/v1")
    if not {"?", "#"}.isdisjoint(base_url):  # an empty one would take the path, too
        raise ConfigError("the base URL must not have a query or a fragment")
    if parts.scheme == "http" and keyed and not (allow_http or is_loopback(base_url)):
        raise ConfigError(
            f"a key is never sent over http:// to {parts.hostname}",
            hint="use https://, or --allow-http if the way there is safe",
        )


def host(base_url: str) -> str | None:
    """Return the host of a URL; None where it is no URL."""
    parts = split(base_url)
    return parts.hostname if parts is not None else None


def split(base_url: str) -> SplitResult | None:
    """Split a URL; None where it cannot be, or holds white space or controls."""
    if any(char.isspace() or not char.isprintable() for char in base_url):
        return None
    try:
        parts = urlsplit(base_url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def local_base_url(name: str, profile: Table, spoken: Dialect) -> str | None:
    """Return the base URL of a profile with an engine of its own; None of any other.

    Raises ConfigError where the engine cannot be meant.
    """
    said = [key for key in profile if key in KEYS]
    if not said:
        return None
    if spoken.base_url != LOCAL or "base_url" in profile:
        raise ConfigError(
            f"profile {name!r}: {said[0]!r} is for endpoints that bgresp starts",
            hint='give it dialect = "local" and no base_url',
        )
    engines = [key for key in ENGINES if key in profile]
    if len(engines) > 1:
        raise ConfigError(f"profile {name!r} has both exec and upstream: one runs jobs")
    if not engines:
        raise ConfigError(
            f"profile {name!r}: {said[0]!r} is of no use without exec or upstream"
        )
    return f"{LOCAL}{name}"


def profile_of(found: str) -> str:
    """Return the profile that a base URL `local:PROFILE` names; empty for `local:`."""
    return found.removeprefix(LOCAL)


def engine(found: str, config: Config) -> Mapping[str, Any] | None:
    """Return what a profile says of its engine: its keys, none for the plain endpoint.

    None where the profile of that base URL names no engine any more.
    """
    name = profile_of(found)
    if not name:
        return {}
    profile = config.profiles.get(name, {})
    kept = {key: value for key, value in profile.items() if key in KEYS}
    return kept if any(key in kept for key in ENGINES) else None


class MissingError(ConfigError):
    """Variables without which no request is whole; `names` are theirs."""

    def __init__(self, message: str, names: tuple[str, ...], **how: Any) -> None:
        """Keep the names beside what every error keeps."""
        super().__init__(message, **how)
        self.names = names


def require(
    spoken: Dialect, base_url: str, variables: Mapping[str, str], profile: str
) -> None:
    """Refuse an endpoint whose requests would lack what they need.

    Raises MissingError that names all the variables, ConfigError for a base URL that
    is no template.
    """
    half = unclosed(base_url)
    if half is not None:
        message = (
            f"profile {profile!r}: its base URL has an unclosed placeholder {half!r}"
        )
        raise ConfigError(message)
    needed = dict.fromkeys([*spoken.needs, *in_templates(base_url)])
    missing = tuple(name for name in needed if not variables.get(name))
    if missing:
        raise MissingError(
            f"profile {profile!r}: its endpoint needs {', '.join(missing)}",
            missing,
            hint=_hint(spoken, profile, missing),
        )


def _hint(spoken: Dialect, profile: str, missing: tuple[str, ...]) -> str:
    """Say how to set them; a dialect that is used by its name has no profile yet."""
    if profile == spoken.name:
        given = " ".join(as_options(missing))
        return f"bgresp config add mine --dialect {spoken.name} {given}; then -p mine"
    return f"set it under [profiles.{profile}.vars]"


def as_options(names: tuple[str, ...]) -> list[str]:
    """Return the options that set some variables, their values to be filled in."""
    return [f"--var {name}=NAME" for name in names]


def filled(base_url: str, variables: Mapping[str, str]) -> str:
    """Return a base URL with its variables in place, percent-encoded; else nothing."""
    values = {f"var.{name}": dialect.encode(value) for name, value in variables.items()}
    return str(dialect.fill(base_url, values) or "")


class Pair(NamedTuple):
    """A base URL, the source of a key that may go there, and the profile it was of.

    `home` is the base URL that the profile itself said then: one that has moved since
    lends nothing more. `trusted` is set where the user said so outright: then it also
    serves jobs whose own source nothing names.
    """

    base_url: str
    key_source: str
    profile: str
    home: str | None = None
    trusted: bool = False

    def joins(self, base_url: str) -> bool:
        """Say whether it is about a base URL; a trailing slash is no difference."""
        return is_same_url(self.base_url, base_url)


class Noted(NamedTuple):
    """What was noted: pairs, oldest first, and digests of dialects."""

    pairs: tuple[Pair, ...] = ()
    dialects: frozenset[str] = frozenset()


def is_same_url(url: str | None, other: str | None) -> bool:
    """Say whether two base URLs are one; a trailing slash is no difference."""
    return (url or "").rstrip("/") == (other or "").rstrip("/")


def noted_path(config_path: Path) -> Path:
    """Return where pairs are noted: beside config.toml."""
    return config_path.parent / NOTED


def load_noted(path: Path) -> Noted:
    """Return what was noted; a line that cannot be read says nothing.

    Raises ConfigError where others could have written the file.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            _check(os.fstat(fd), path)
            lines = file.read().splitlines()
    except FileNotFoundError:
        return Noted()
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from None
    notes = [note for line in lines if (note := _read(line)) is not None]
    return Noted(
        tuple(note for note in notes if isinstance(note, Pair)),
        frozenset(note for note in notes if isinstance(note, str)),
    )


def note_endpoints(path: Path, notes: Iterable[Pair | str], known: Noted) -> None:
    """Note pairs, and digests of dialects, that are not known yet.

    The lines are on disk when this returns. Raises ConfigError.
    """
    tables = [
        {"dialect": note} if isinstance(note, str) else note._asdict()
        for note in notes
        if note not in known.pairs and note not in known.dialects
    ]
    if not tables:
        return
    text = "".join(json.dumps(table, ensure_ascii=True) + "\n" for table in tables)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        path.parent.mkdir(mode=_PRIVATE_DIR, parents=True, exist_ok=True)
        fd = os.open(path, flags, _PRIVATE_FILE)
        try:
            found = os.fstat(fd)
            _check(found, path)
            if found.st_uid == os.getuid():
                os.fchmod(fd, _PRIVATE_FILE)
            size = found.st_size
            torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
            os.write(fd, (b"\n" if torn else b"") + text.encode("ascii"))
            os.fsync(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror}") from None


def _check(found: os.stat_result, path: Path) -> None:
    """Refuse a file that another user owns or may write."""
    if not stat.S_ISREG(found.st_mode):
        raise ConfigError(f"{path} is not a regular file")
    wrong = places.distrust(str(path), found, uid=os.getuid())
    if wrong is not None:
        hint = f"chmod 600 {path}, once you have read it"
        raise ConfigError(f"{wrong}: it may name no keys", hint=hint)


def _read(line: bytes) -> Pair | str | None:
    try:
        table: Any = json.loads(line)
        if isinstance(table.get("dialect"), str):
            return str(table["dialect"])
        url, source, profile = (table[name] for name in _TEXTS)
        home, trusted = table.get("home"), table.get("trusted") is True
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return None
    if not all(isinstance(text, str) for text in (url, source, profile)):
        return None
    return Pair(url, source, profile, str(home) if home else None, trusted)


_TEXTS: Final = ("base_url", "key_source", "profile")


def kept_tables(name: str, config: Config) -> dict[str, Table]:
    """Return the tables that a dialect of the user's is made of, by name.

    Values of headers and of the query that are no template may be secrets, and a
    command is run: they are left to the configuration.
    """
    found: dict[str, Table] = {}
    while name in config.dialects and name not in found:
        table = config.dialects[name]
        safe = {key: _safe(key, value) for key, value in table.items()}
        found[name] = json.loads(json.dumps(safe, default=str))
        name = str(table.get("extends", "openai"))
    return found


def noted_tables(job: Job, noted: frozenset[str]) -> Mapping[str, Table]:
    """Return the tables that a job keeps, where they were noted on this machine.

    Else none: then it is spoken to as the configuration says of the dialect now.
    """
    stored = stored_dialects(job)
    return stored if stored is not None and tables_digest(stored) in noted else {}


def with_tables(
    config: Config, tables: Mapping[str, Table], *, lent: frozenset[str]
) -> Config:
    """Return the configuration with the tables that a job keeps over its dialects.

    What may be secret goes with the dialects that are `lent` to the job, no others.
    """
    ours = {name: _given(t, name in lent) for name, t in config.dialects.items()}
    for name, table in tables.items():
        now = config.dialects.get(name, {}) if name in lent else {}
        ours[name] = _with(table, now)
    return config._replace(dialects=ours)


def tables_digest(tables: Mapping[str, Table]) -> str:
    """Return what tells the tables of a dialect from all others."""
    text = json.dumps(tables, ensure_ascii=True, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def dialect_chain(name: str, config: Config) -> frozenset[str]:
    """Return a dialect of the user's and those that it is made from."""
    found: set[str] = set()
    while name in config.dialects and name not in found:
        found.add(name)
        name = str(config.dialects[name].get("extends", "openai"))
    return frozenset(found)


def _safe(key: str, value: Any) -> Any:
    if key == "auth" and isinstance(value, Mapping):
        return {name: given for name, given in value.items() if name != "command"}
    if key not in _MAY_BE_SECRET or not isinstance(value, Mapping):
        return value
    return {name: text for name, text in value.items() if "{" in str(text)}


def _given(table: Table, is_lent: bool) -> Table:
    """Return a table of the configuration without what it must not lend."""
    return table if is_lent else {key: _safe(key, v) for key, v in table.items()}


def _with(table: Table, now: Table) -> Table:
    """Return a stored table with what only the configuration says."""
    merged = dict(table)
    for key in _MAY_BE_SECRET:
        if isinstance(now.get(key), Mapping) and isinstance(table.get(key), Mapping):
            literal = {k: v for k, v in now[key].items() if "{" not in str(v)}
            merged[key] = {**literal, **table[key]}
    return merged
