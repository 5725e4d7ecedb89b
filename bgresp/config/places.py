"""Where configuration and state lie, as a variable or the platform says; and whose."""

import os
import stat
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bgresp.core.errors import ConfigError, FileEncodingError, LedgerError
from bgresp.core.text import NotUtf8Error

CONFIG: Final = "BGRESP_CONFIG"
STATE_DIR: Final = "BGRESP_STATE_DIR"
_XDG: Final = {"config": "~/.config", "state": "~/.local/state"}
_HOMES: Final = ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_RUNTIME_DIR")


def config_path(environ: Mapping[str, str]) -> Path:
    """Return the path of config.toml: BGRESP_CONFIG, else the platform's place.

    Raises ConfigError where nobody has a home.
    """
    chosen = environ.get(CONFIG)
    if chosen:
        return expanded(chosen)
    return _of_platform("config") / "config.toml"


def state_path(environ: Mapping[str, str]) -> Path:
    """Return the ledger's folder: BGRESP_STATE_DIR, else the platform's place.

    Raises LedgerError where it is something else than a folder, ConfigError where
    nobody has a home.
    """
    chosen = environ.get(STATE_DIR)
    path = expanded(chosen).absolute() if chosen else _of_platform("state")
    if os.path.exists(path) and not os.path.isdir(path):  # noqa: PTH110, PTH112  these never raise
        or_not = f", or unset {STATE_DIR}" if chosen else ""
        raise LedgerError(
            f"{path} is not a folder, which the ledger needs",
            hint=f"export {STATE_DIR}=FOLDER{or_not}",
        )
    return path


def expanded(path: str) -> Path:
    """Return a path whose ~ is the home, as HOME or passwd has it.

    Raises ConfigError where neither has one.
    """
    _drop_relative_homes()
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise _homeless() from None


def distrust(
    name: str,
    found: os.stat_result,
    *,
    uid: int,
    root_takes_all: bool = False,
    others: int = stat.S_IWGRP | stat.S_IWOTH,
) -> str | None:
    """Say why a file is not believed: who else may have written it; None where nobody.

    It is this user's or root's, as a container's secrets are, and nobody of `others`
    (mode bits) may write it. Where `root_takes_all`, root minds no owner.
    """
    is_taken = root_takes_all and uid == 0
    if found.st_uid not in {uid, 0} and not is_taken:
        return f"{name} belongs to another user"
    if found.st_mode & others:
        return f"others may write {name}"
    return None


def misencoded(message: str, error: NotUtf8Error) -> ConfigError:
    """Return the error of a file that is no UTF-8, by whether it can be converted."""
    kind = FileEncodingError if error.hint else ConfigError
    return kind(message, hint=error.hint)


def _of_platform(kind: str) -> Path:
    _drop_relative_homes()
    if sys.platform == "linux":  # what platformdirs says, whose import costs more
        chosen = os.environ.get(f"XDG_{kind.upper()}_HOME")
        return expanded(chosen or _XDG[kind]) / "bgresp"
    import platformdirs

    try:
        path: Path = getattr(platformdirs, f"user_{kind}_path")("bgresp")
    except RuntimeError:  # platformdirs since 4.5
        raise _homeless() from None
    if not path.is_absolute():  # a folder `~` below the working directory, before
        raise _homeless()
    return path


def _drop_relative_homes() -> None:
    """Take away what names no whole path: the XDG specification says so of its own.

    Else a job's record would lie wherever the command was run, or in the root folder.
    """
    for name in _HOMES:
        if not os.path.isabs(os.environ.get(name, "/")):  # noqa: PTH117  no Path yet
            del os.environ[name]


def _homeless() -> ConfigError:
    return ConfigError(
        "there is no home folder: HOME is no absolute path, and passwd names none",
        hint=f"export {STATE_DIR}=FOLDER {CONFIG}=FILE",
    )
