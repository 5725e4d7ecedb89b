"""Which source of a key goes with which base URL here: what was noted of it.

A ledger names both, and may be another's. A key is read where the configuration, this
call, or a line of `endpoints.jsonl` beside config.toml joins its source to the base
URL of a job; a dialect that a job keeps is spoken where it was noted there. That file
is like known_hosts: this user's own, never in a state folder.
"""

import json
import os
import stat
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from bgresp.config import places
from bgresp.core.errors import ConfigError

NAME: Final = "endpoints.jsonl"
_PRIVATE_FILE: Final = 0o600
_PRIVATE_DIR: Final = 0o700


@dataclass(frozen=True, slots=True)
class Pair:
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
        return is_same(self.base_url, base_url)


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted: pairs, oldest first, and digests of dialects."""

    pairs: tuple[Pair, ...] = ()
    dialects: frozenset[str] = field(default_factory=frozenset)


def is_same(url: str | None, other: str | None) -> bool:
    """Say whether two base URLs are one; a trailing slash is no difference."""
    return (url or "").rstrip("/") == (other or "").rstrip("/")


def path_of(config_path: Path) -> Path:
    """Return where pairs are noted: beside config.toml."""
    return config_path.parent / NAME


def load(path: Path) -> Noted:
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


def add(path: Path, notes: Iterable[Pair | str], known: Noted) -> None:
    """Note pairs, and digests of dialects, that are not known yet.

    The lines are on disk when this returns. Raises ConfigError.
    """
    tables = [
        {"dialect": note} if isinstance(note, str) else asdict(note)
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
