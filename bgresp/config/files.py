"""Where configuration and state lie, and what the TOML files say; only ever read here.

May import core.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Any, Final

from bgresp.core.errors import ConfigError

Table = Mapping[str, Any]
_TOP: Final = frozenset({"default_profile", "profiles", "dialects"})
PROFILE_KEYS: Final[dict[str, type | tuple[type, ...]]] = {
    "dialect": str,
    "base_url": str,
    "model": str,
    "api_key_env": str,
    "api_key_cmd": list,
    "api_key_file": str,
    "allow_http": bool,
    "stream": bool,
    "vars": dict,
    "headers": dict,
    "rate": (int, float),
    "connections": int,
    "streams": int,
}
_LEAST: Final = {"rate": 0, "connections": 1, "streams": 0}


@dataclass(frozen=True, slots=True)
class Config:
    """What the user's files say; `origins` names the file of each profile."""

    path: Path
    default_profile: str | None = None
    profiles: Mapping[str, Table] = field(default_factory=dict)
    origins: Mapping[str, Path] = field(default_factory=dict)
    dialects: Mapping[str, Table] = field(default_factory=dict)


def config_path(environ: Mapping[str, str]) -> Path:
    """Return the path of config.toml: BGRESP_CONFIG, else the platform's place."""
    chosen = environ.get("BGRESP_CONFIG")
    if chosen:
        return Path(chosen).expanduser()
    import platformdirs

    return platformdirs.user_config_path("bgresp") / "config.toml"


def state_path(environ: Mapping[str, str]) -> Path:
    """Return the ledger's folder: BGRESP_STATE_DIR, else the platform's place."""
    chosen = environ.get("BGRESP_STATE_DIR")
    if chosen:
        return Path(chosen).expanduser().absolute()
    import platformdirs

    return platformdirs.user_state_path("bgresp")


def load(path: Path) -> Config:
    """Read config.toml and profiles/*.toml beside it; neither has to exist.

    Raises ConfigError that names the file, and the line or key.
    """
    table = _read(path)
    for key in table:
        if key not in _TOP:
            raise ConfigError(
                f"{path}: unknown key {key!r}",
                hint="expected one of " + ", ".join(sorted(_TOP)),
            )
    profiles = dict(_tables(table.get("profiles", {}), path, "profiles"))
    origins = dict.fromkeys(profiles, path)
    for file in sorted((path.parent / "profiles").glob("*.toml")):
        if file.stem in profiles:
            raise ConfigError(
                f"profile {file.stem!r} is both in {path} and in {file}",
                hint=f"remove one of them: bgresp config remove {file.stem}",
            )
        profiles[file.stem], origins[file.stem] = _read(file), file
    for name, profile in profiles.items():
        _check_profile(name, profile, origins[name])
    default = table.get("default_profile")
    if default is not None and not isinstance(default, str):
        raise ConfigError(f"{path}: 'default_profile' must be a text")
    dialects = _tables(table.get("dialects", {}), path, "dialects")
    return Config(path, default, profiles, origins, dialects)


@lru_cache(maxsize=1)
def built_in() -> Mapping[str, Table]:
    """Return the dialects that bgresp brings."""
    text = resources.files("bgresp").joinpath("dialects.toml").read_text("utf-8")
    found: Mapping[str, Table] = tomllib.loads(text)["dialects"]
    return found


def _read(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text("utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(f"cannot read {path}: {reason}") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"at line {len(text.splitlines())}, end of document"
        said = str(error).replace("at end of document", end)
        raise ConfigError(f"{path}: {said}", hint="bgresp config edit") from None


def _tables(found: Any, path: Path, name: str) -> Mapping[str, Table]:
    if not isinstance(found, dict) or not all(
        isinstance(table, dict) for table in found.values()
    ):
        raise ConfigError(f"{path}: {name!r} must hold tables, as in [{name}.work]")
    return found


def _check_profile(name: str, profile: Table, path: Path) -> None:
    for key, value in profile.items():
        wanted = PROFILE_KEYS.get(key)
        if wanted is None:
            raise ConfigError(
                f"{path}: profile {name!r} has an unknown key {key!r}",
                hint="expected one of " + ", ".join(PROFILE_KEYS),
            )
        if not isinstance(value, wanted) or (
            isinstance(value, bool) and wanted is not bool
        ):
            kinds = wanted if isinstance(wanted, tuple) else (wanted,)
            names = " or ".join(kind.__name__ for kind in kinds)
            raise ConfigError(f"{path}: profile {name!r}: {key!r} must be a {names}")
        wrong = _beyond(key, value)
        if wrong:
            raise ConfigError(f"{path}: profile {name!r}: {key!r} {wrong}")


def _beyond(key: str, value: Any) -> str | None:
    """Say what a value of the right type must be; None where it is."""
    if key in _LEAST and not _LEAST[key] <= value < math.inf:
        return f"must be {_LEAST[key]} or more"
    if key != "api_key_cmd" or (value and all(isinstance(v, str) for v in value)):
        return None
    return "must be a program and its arguments, each a text"
