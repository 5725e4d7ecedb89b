"""What the TOML files of the configuration say.

They are only ever read here.
"""

import json
import math
import os
import stat
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

from bgresp.config import places
from bgresp.core import dialect_schema as schema
from bgresp.core.dialect import Dialect
from bgresp.core.errors import ConfigError
from bgresp.core.model import NOTHING, Job
from bgresp.core.text import NotUtf8Error, did_you_mean, is_plain, nearest, text_of

Table = Mapping[str, Any]
DIALECTS: Final = "dialects"  # where a job keeps the tables of its own
_TOP: Final = frozenset({"default_profile", "profiles", "dialects"})
PROFILE_KEYS: Final = {
    "dialect": schema.TEXT,
    "base_url": schema.TEXT,
    "model": schema.TEXT,
    "api_key_env": schema.TEXT,
    "api_key_cmd": schema.LIST,
    "api_key_file": schema.TEXT,
    "env_pass": schema.LIST,
    "allow_http": schema.SWITCH,
    "stream": schema.SWITCH,
    "pretty": schema.SWITCH,
    "vars": schema.TABLE,
    "headers": schema.TABLE,
    "rate": schema.NUMBER,
    "connections": schema.WHOLE,
    "streams": schema.WHOLE,
    "exec": schema.LIST,
    "exec_json": schema.SWITCH,
    "upstream": schema.TEXT,
    "upstream_key_env": schema.TEXT,
    "upstream_api": schema.TEXT,
    "workers": schema.WHOLE,
    "notify": schema.LIST,
    "webhook_url": schema.TEXT,
    "webhook_secret_env": schema.TEXT,
    "prices": schema.TABLE,
}
_LISTS: Final = {
    "api_key_cmd": "must be a program and its arguments, each text",
    "exec": "must be a program and its arguments, each text",
    "notify": "must be a program and its arguments, each text",
    "env_pass": "must be names of variables, each text",
}
PRICES: Final = ("input", "output", "cached")  # each for a million tokens
_LEAST: Final = {"rate": 0, "connections": 1, "streams": 0, "workers": 1}


class Config(NamedTuple):
    """What the user's files say; `origins` names the file of each profile.

    `default_origin` is where the default profile is named.
    """

    path: Path
    default_profile: str | None = None
    profiles: Mapping[str, Table] = NOTHING
    origins: Mapping[str, Path] = NOTHING
    dialects: Mapping[str, Table] = NOTHING
    default_origin: str = ""

    @property
    def key_variables(self) -> frozenset[str]:
        """Return the variables that a profile or a dialect names as its key's."""
        tables = (*self.dialects.values(), *built_in().values())
        named = [_text_in(table.get("auth"), "env") for table in tables]
        named += [
            _text_in(table, name)
            for table in self.profiles.values()
            for name in ("api_key_env", "upstream_key_env", "webhook_secret_env")
        ]
        return frozenset({*filter(None, named), "BGRESP_API_KEY"})

    def env_pass(self, profile: str | None) -> frozenset[str]:
        """Return the variables that a profile passes on to the programs it runs."""
        return frozenset(self.profiles.get(profile or "", {}).get("env_pass", ()))


def astray(environ: Mapping[str, str]) -> str | None:
    """Return what to say where BGRESP_CONFIG names nothing; None where all is well.

    That is an empty configuration, as with KUBECONFIG, and may be a slip of the pen.
    """
    path = places.config_path(environ)
    if not environ.get(places.CONFIG) or not _is_bare(path):
        return None
    return (
        f"{places.CONFIG} names {path}, which is not there: bgresp config init makes it"
    )


def load(path: Path) -> Config:
    """Read config.toml and profiles/*.toml beside it; neither has to exist.

    Raises ConfigError that names the file, and the line or key.
    """
    table = _read(path)
    for key in table:
        if key not in _TOP:
            meant = did_you_mean(key, sorted(_TOP))
            raise ConfigError(
                f"{path}: unknown key {key!r}",
                hint=f"{meant}expected one of {', '.join(sorted(_TOP))}",
            )
    profiles = dict(_tables(table.get("profiles", {}), path, "profiles"))
    origins = dict.fromkeys(profiles, path)
    for file in _profile_files(path.parent / "profiles"):
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
        message = f"{path}: 'default_profile' must be text"
        raise ConfigError(message, hint=f"edit {path}")
    dialects = _tables(table.get("dialects", {}), path, "dialects")
    origin = f"{path}: default_profile"
    if default is None:
        chosen = default_path(path)
        default = _text(chosen).strip() or None
        origin = str(chosen) if default else ""
    return Config(path, default, profiles, origins, dialects, origin)


def _profile_files(folder: Path) -> list[Path]:
    try:
        names = os.listdir(folder)  # noqa: PTH208  costs a tenth of a pattern
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    return [folder / name for name in sorted(names) if name.endswith(".toml")]


def default_path(path: Path) -> Path:
    """Return where `config use` writes the name of the default profile."""
    return path.parent / "default"


@lru_cache(maxsize=1)
def built_in() -> Mapping[str, Table]:
    """Return the dialects that bgresp brings.

    They stand in dialects.toml; a test holds dialects.json to it, which is parsed in a
    hundredth of the time, and in each command that needs an endpoint.
    """
    found: Mapping[str, Table] = json.loads(
        (Path(__file__).parents[1] / "dialects.json").read_bytes()
    )
    return found


def _text_in(table: Any, name: str) -> str:
    """Return a text of a table; nothing where either is something else."""
    found = table.get(name) if isinstance(table, Mapping) else None
    return found if isinstance(found, str) else ""


def _is_bare(path: Path) -> bool:
    """Say whether there is neither a config.toml nor a folder of profiles."""
    try:
        path.stat()
    except FileNotFoundError:
        return not (path.parent / "profiles").is_dir()
    except OSError:
        pass  # reading it tells why
    return False


def _text(path: Path) -> str:
    """Return the text of a file of ours; nothing where there is none."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            if stat.S_ISREG(found.st_mode):  # not /dev/null
                _check_owner(path, found, os.getuid())
            return text_of(file.read(), str(path))
    except FileNotFoundError:
        return ""
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise ConfigError(message, hint="bgresp config path") from None
    except NotUtf8Error as error:
        message = f"cannot read {path}: {error}"
        raise places.misencoded(message, error) from None


def _read(path: Path) -> dict[str, Any]:
    text = _text(path)
    if not text:  # most have none, or one: the parser costs more than to ask for it
        return {}
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        end = f"at line {len(text.splitlines())}, end of document"
        said = str(error).replace("at end of document", end)
        raise ConfigError(f"{path}: {said}", hint="bgresp config edit") from None


def _check_owner(path: Path, found: os.stat_result, uid: int) -> None:
    """Refuse a configuration that another user may have written: it names commands.

    A group may, as where each user has one of his own and 002 is the umask.
    """
    wrong = places.distrust(
        str(path), found, uid=uid, root_takes_all=True, others=stat.S_IWOTH
    )
    if wrong is not None:
        hint = f"read it, then: chmod o-w {path}"
        if found.st_uid not in {uid, 0}:
            hint = f"read it, then: bgresp config path, and cp {path} there"
        raise ConfigError(f"{wrong}: it may name no commands or keys", hint=hint)


def _tables(found: Any, path: Path, name: str) -> Mapping[str, Table]:
    if not isinstance(found, dict) or not all(
        isinstance(table, dict) for table in found.values()
    ):
        message = f"{path}: {name!r} must hold tables, as in [{name}.work]"
        raise ConfigError(message, hint=f"edit {path}")
    return found


def _check_profile(name: str, profile: Table, path: Path) -> None:
    if not is_plain(name):
        message = f"{path}: the profile {name!r} has control characters"
        raise ConfigError(message, hint=f"edit {path}")
    for key, value in profile.items():
        wanted = PROFILE_KEYS.get(key)
        if wanted is None:
            meant = did_you_mean(key, PROFILE_KEYS)
            raise ConfigError(
                f"{path}: profile {name!r} has an unknown key {key!r}",
                hint=f"{meant}expected one of {', '.join(PROFILE_KEYS)}",
            )
        if not schema.fits(value, wanted):
            raise _wrong(path, name, f"{key!r} must be {wanted}")
        wrong = _beyond(key, value)
        if wrong:
            raise _wrong(path, name, f"{key!r} {wrong}")


def _wrong(path: Path, profile: str, said: str) -> ConfigError:
    return ConfigError(f"{path}: profile {profile!r}: {said}", hint=f"edit {path}")


def _beyond(key: str, value: Any) -> str | None:
    """Say what a value of the right type must be; None where it is."""
    if key == "prices":
        fit = all(map(_are_prices, value.values()))
        return (
            None if fit else "must be tables of input, output, cached, 0 or more each"
        )
    if key in _LEAST and not _LEAST[key] <= value < math.inf:
        return f"must be {_LEAST[key]} or more"
    is_text = key not in _LISTS or all(isinstance(v, str) for v in value)
    if is_text and (key not in {"api_key_cmd", "exec", "notify"} or value):
        return None
    return _LISTS[key]


def _are_prices(value: Any) -> bool:
    """Say whether a value is the prices of a model."""
    return (
        isinstance(value, dict)
        and {"input", "output"} <= {*value} <= {*PRICES}
        and all(schema.fits(v, schema.NUMBER) for v in value.values())
        and all(0 <= v < math.inf for v in value.values())
    )


def known_profiles(config: Config) -> list[str]:
    """Return every name that `-p` takes."""
    return sorted({*config.profiles, *config.dialects, *built_in()})


def meant(name: str, known: Sequence[str]) -> str:
    """Return a hint: which name may be meant, and which there are."""
    close = nearest(name, known)
    first = "" if close is None else f"did you mean {close}? "
    return f"{first}known: {', '.join(known)}"


def wrong_default(config: Config) -> ConfigError:
    """Return what to say of a default profile that is none: where it stands."""
    name, known = config.default_profile or "", known_profiles(config)
    message = f"{config.default_origin}: {name!r} is not a profile"
    if config.default_origin == f"{config.path}: default_profile":
        message = (
            f"{config.path}: 'default_profile' is {name!r}, which is not a profile"
        )
    return ConfigError(message, hint=meant(name, known))


def dialect(name: str, config: Config) -> Dialect:
    """Build a dialect, built in or the user's.

    Raises ConfigError that names the dialect and the mistake.
    """
    for name_ in config.dialects:
        if name_ in built_in():
            message = f"dialect {name_!r} is built in; choose a name"
            raise ConfigError(f"{config.path}: {message}")
    try:
        # One that is built in extends no other, and a test has checked it.
        if name in built_in():
            return _built(name)
        return schema.build(name, {**built_in(), **config.dialects})
    except ConfigError as error:
        if name in built_in():
            raise
        message = f"{config.path}: {error.message}"
        raise ConfigError(message, hint=error.hint) from None


@lru_cache(maxsize=32)
def _built(name: str) -> Dialect:
    return schema.build(name, built_in(), checked=True)


def to_read(job: Job, load: Callable[[], Config]) -> Config:
    """Return what it takes to read a job's answer; the user's files only if needed.

    To read is to trust nobody: no request is made from it. Raises what `load` raises.
    """
    if (job.dialect or "openai") in built_in():
        return Config(Path())
    stored = stored_dialects(job)
    return load() if stored is None else Config(Path(), dialects=stored)


def stored_dialects(job: Job) -> Mapping[str, Table] | None:
    """Return the tables that a job keeps; None where they are no dialect's."""
    stored: Any = job.extra.get(DIALECTS)
    if job.dialect in built_in() or not isinstance(stored, Mapping):
        return None
    if stored.keys() & built_in().keys():
        return None
    return stored if all(isinstance(t, Mapping) for t in stored.values()) else None
