"""Profiles as files of their own: a name, a table, and TOML that a person can edit.

Nothing is written here.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Final

from bgresp.config.files import (
    Config,
    Table,
    built_in,
    dialect,
    known_profiles,
    meant,
    wrong_default,
)
from bgresp.config.secret import VARIABLE
from bgresp.config.settings import Flags, resolve
from bgresp.core.dialect import variables
from bgresp.core.errors import ConfigError, UsageError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*", re.ASCII)
_LONGEST: Final = 64
_HEADER: Final = re.compile(
    r"^\s*\[\s*profiles\s*\.\s*(?:\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+))",
    re.MULTILINE,
)


def path_of(config_path: Path, name: str) -> Path:
    """Return the file of a profile; it lies in profiles/, whatever the name.

    Raises UsageError where the name is not fit for a file.
    """
    if not _NAME.fullmatch(name) or len(name) > _LONGEST:
        raise UsageError(
            f"not a name for a profile: {name[:80]!r}",
            hint=f"letters, digits, - _ and single dots, {_LONGEST} at most",
        )
    return config_path.parent / "profiles" / f"{name}.toml"


def variable(name: str, option: str = "--api-key-env") -> str:
    """Return the name of an environment variable that an option gives.

    Raises UsageError; what was given is not repeated, it may be a key.
    """
    if not VARIABLE.fullmatch(name):
        raise UsageError(f"{option} takes the name of a variable, not a key")
    return name


def known_dialect(name: str, config: Config) -> str:
    """Return the name of a dialect.

    Raises ConfigError that says which one may be meant.
    """
    known = sorted({*built_in(), *config.dialects})
    if name not in known:
        raise ConfigError(f"no dialect {name!r}", hint=meant(name, known))
    return name


def checked(name: str, profile: Table, config: Config) -> list[str]:
    """Check a new profile as a command would use it; return what may be forgotten.

    Raises ConfigError.
    """
    where = path_of(config.path, name)
    added = replace(
        config,
        default_profile=None,
        profiles={**config.profiles, name: profile},
        origins={**config.origins, name: where},
    )
    resolve(Flags(profile=name), {}, added, keyed=False)
    spoken = dialect(str(profile["dialect"]), config)
    templates = [spoken.base_url, profile.get("base_url"), spoken.headers]
    templates += [spoken.query, spoken.body]
    used = variables([*templates, *(op.path for op in spoken.ops.values())])
    unused = sorted(set(profile.get("vars", {})) - {*used})
    known = ", ".join(used) or "none"
    said = f"the dialect {spoken.name} does not use it (it uses: {known})"
    return [f"var {name!r}: {said}" for name in unused]


def line_of(text: str, name: str) -> int | None:
    """Return the number of the line in config.toml that begins a profile."""
    for found in _HEADER.finditer(text):
        if name in found.groups():
            return text.count("\n", 0, found.end()) + 1
    return None


def mistakes(config: Config) -> Iterator[ConfigError]:
    """Yield what a command would stumble over: in dialects, profiles, the default."""
    broken: set[str] = set()
    for name in sorted(config.dialects):
        try:
            dialect(name, config)
        except ConfigError as error:
            broken.add(name)
            yield _in_file(config.path, error)
    for name, profile in sorted(config.profiles.items()):
        if str(profile.get("dialect")) in broken:
            continue  # told of already
        try:
            resolve(Flags(profile=name), {}, config, keyed=False)
        except ConfigError as error:
            yield _in_file(config.origins.get(name, config.path), error, name)
    default = config.default_profile
    if default is not None and default not in known_profiles(config):
        yield wrong_default(config)


def _in_file(path: Path, error: ConfigError, profile: str = "") -> ConfigError:
    """Name the file, and the profile, where the error does not."""
    said = error.message.removeprefix(f"{path}: ")
    if profile and repr(profile) not in said:
        said = f"profile {profile!r}: {said}"
    return ConfigError(f"{path}: {said}", hint=error.hint or f"edit {path}")


TEMPLATE: Final = """\
# bgresp reads this file and never writes it. `bgresp config show` tells which value
# holds and where it comes from; `bgresp config edit` checks the file after editing.
# Profiles that `bgresp config add` makes lie beside it, in profiles/NAME.toml.

# The profile that is used without -p.
#default_profile = "work"

# A profile is an endpoint under a name. Every dialect is also a profile of its name:
# {dialects}
#[profiles.work]
#dialect = "openai"                      # how it is spoken to; built in, or see below
#base_url = "https://llm.example.com/v1"
#model = "large"
#api_key_env = "WORK_KEY"                # the name of a variable, never the key itself
#api_key_cmd = ["pass", "work"]          # or a program that prints the key
#env_pass = ["VAULT_TOKEN"]              # what programs see, though it looks like a key
#api_key_file = "~/.keys/work"           # or a file that only you may read
#allow_http = false                      # let a key travel over http://
#stream = false                          # create jobs streamable without --stream
#pretty = false                          # draw answers on a terminal, as get --pretty
#rate = 5                                # requests a second for polls; 0: no limit
#connections = 16
#streams = 8
#[profiles.work.vars]                    # what the dialect's templates use
#end_user = "user-7"
#[profiles.work.prices.large]            # for a million tokens: stats, show have costs
#input = 1.25
#output = 10
#cached = 0.125
#[profiles.work.headers]                 # sent with every request, shown nowhere
#"X-Team" = "search"

# An endpoint that nobody built in: only what differs is said.
#[dialects.mine]
#extends = "openai"
#base_url = "https://odd.example.com/v9"
#auth = { header = "X-API-Key", value = "{key}", env = "MINE_KEY" }
#[dialects.mine.ops]
#cancel = ""                             # it has none
#[dialects.mine.states]
#queued = ["pending"]
#in_progress = ["running"]
"""


def template() -> str:
    """Return a config.toml that says nothing yet and explains everything."""
    import textwrap

    names = textwrap.fill(
        ", ".join(sorted(built_in())),
        88,
        initial_indent="# ",
        subsequent_indent="# ",
        break_on_hyphens=False,
    )
    return TEMPLATE.replace("# {dialects}", names)
