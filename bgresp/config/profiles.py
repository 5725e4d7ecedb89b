"""Profiles: files of their own that a person can edit, and the values that hold in one.

Every value says where it comes from; no key is read, and nothing is written here.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bgresp.config import places, secret
from bgresp.config.files import (
    Config,
    Table,
    built_in,
    dialect,
    known_profiles,
    meant,
    wrong_default,
)
from bgresp.config.secret import VARIABLE, KeySource
from bgresp.config.settings import (
    DEFAULT,
    OPENAI,
    OPENAI_VARS,
    Flags,
    Settings,
    resolve,
)
from bgresp.core.dialect import variables
from bgresp.core.errors import ConfigError, UsageError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*", re.ASCII)
_LONGEST: Final = 64
_HEADER: Final = re.compile(
    r"^\s*\[\s*profiles\s*\.\s*(?:\"([^\"]*)\"|'([^']*)'|([A-Za-z0-9_-]+))",
    re.MULTILINE,
)
_DEFAULT: Final = re.compile(r"^\s*([\"']?)default_profile\1\s*=", re.MULTILINE)
SET: Final = "set"  # what is shown of a header: its name may tell nothing
_KEYS: Final = ("api_key_env", "api_key_cmd", "api_key_file")
_TUNED: Final = ("rate", "connections", "streams")
_SWITCHES: Final = ("allow_http", "stream")
_OF_ENV: Final = frozenset({"env", secret.MISSING})
_WHOLE: Final = ("headers", "query")  # what a dialect replaces as a whole


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
    added = config._replace(
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
    message = f"the dialect {spoken.name} does not use it (it uses: {known})"
    return [f"var {name!r}: {message}" for name in unused]


def line_of(text: str, name: str) -> int | None:
    """Return the number of the line in config.toml that begins a profile."""
    for found in _HEADER.finditer(text):
        if name in found.groups():
            return text.count("\n", 0, found.end()) + 1
    return None


def line_of_default(text: str) -> int | None:
    """Return the number of the line in config.toml that names the default profile."""
    found = _DEFAULT.search(text)
    return text.count("\n", 0, found.end()) + 1 if found else None


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


@dataclass(frozen=True, slots=True)
class Value:
    """One value that holds: `origin` is a flag, a variable, a file's key, a dialect."""

    key: str
    value: Any
    origin: str


@dataclass(frozen=True, slots=True)
class Effective:
    """The values of one endpoint."""

    flags: Flags
    environ: Mapping[str, str]
    config: Config

    def all(self, *, everything: bool = False) -> Iterator[Value]:
        """Yield every value; with `everything` those of the dialect too.

        Where nothing is configured they are the defaults. Raises ConfigError when
        something is wrong.
        """
        found = resolve(self.flags, self.environ, self.config, keyed=False)
        profile = self.config.profiles.get(found.profile, {})
        yield Value("profile", found.profile, self._origin_of(found, "profile"))
        yield Value("dialect", found.dialect.name, self._dialect(found, profile))
        yield Value("base_url", found.base_url, self._origin_of(found, "base_url"))
        yield Value("model", found.model, self._origin_of(found, "model"))
        yield self._key(found, profile)
        for name in _SWITCHES:
            given = name == "allow_http" and self.flags.allow_http
            origin = "flag --allow-http" if given else self._in_profile(found, name)
            yield Value(name, given or bool(profile.get(name, False)), origin)
        for name in _TUNED:
            origin = self._in_profile(found, name, otherwise=f"limits.{name}")
            yield Value(name, getattr(found.dialect.limits, name), origin)
        yield from self._vars(found, profile)
        for name in found.headers:
            own = name in self.flags.headers
            origin = "flag -H" if own else self._in_profile(found, f"headers.{name}")
            yield Value(f"headers.{name}", SET, origin)
        if everything:
            yield from self._of_the_dialect(found.dialect.name)

    def _origin_of(self, found: Settings, name: str) -> str:
        """Say where a value comes from that flag, environment or file may tell."""
        told = found.origins[name]
        if told == DEFAULT:
            return told
        if told.startswith("-"):
            return f"flag {told}"
        if told.isupper():
            return f"env {told}"
        if name == "profile":
            return self.config.default_origin
        return self._in_profile(
            found, name, otherwise=name if name == "base_url" else ""
        )

    def _dialect(self, found: Settings, profile: Table) -> str:
        if "dialect" in profile or found.profile in self.config.profiles:
            return self._in_profile(found, "dialect")
        return "the profile's name"

    def _in_profile(self, found: Settings, path: str, *, otherwise: str = "") -> str:
        """Say which file's key gives a value; else the dialect's, else the default."""
        name = found.profile
        table = self.config.profiles.get(name, {})
        first, _, rest = path.partition(".")
        if first in table and (not rest or rest in table[first]):
            file = self.config.origins.get(name, self.config.path)
            inside = file == self.config.path
            return _at(file, f"profiles.{name}.{path}" if inside else path)
        return self._in_dialect(found.dialect.name, otherwise) or DEFAULT

    def _in_dialect(self, name: str, path: str) -> str:
        if not path:
            return ""
        for own, table in self._chain(name):
            if path in dict(_leaves(table)):
                return self._of(own, path)
        return ""

    def _of(self, dialect: str, path: str) -> str:
        if dialect in built_in():
            return f"dialect {dialect}"
        return _at(self.config.path, f"dialects.{dialect}.{path}")

    def _chain(self, name: str) -> Iterator[tuple[str, Table]]:
        """Yield a dialect and those it extends, the last one last."""
        tables = {**built_in(), **self.config.dialects}
        at: str | None = name
        while at is not None:
            yield at, tables[at]
            at = tables[at].get("extends", None if at == OPENAI else OPENAI)

    def _of_the_dialect(self, name: str) -> Iterator[Value]:
        found: dict[str, Value] = {}
        for own, table in reversed(list(self._chain(name))):
            if table.get("request", {}).get("replace"):
                body = "request.body."
                found = {k: v for k, v in found.items() if not k.startswith(body)}
            for path, value in _leaves(table):
                found[path] = Value(f"dialect.{path}", value, self._of(own, path))
        yield from (found[path] for path in sorted(found))

    def _key(self, found: Settings, profile: Table) -> Value:
        source = found.key_source
        if source == KeySource("env", "BGRESP_API_KEY"):
            origin = "env BGRESP_API_KEY"
        else:
            name = next((key for key in _KEYS if key in profile), _KEYS[0])
            given = "auth.command" if source.kind == "cmd" else "auth.env"
            origin = self._in_profile(found, name, otherwise=given)
        return Value("key", told(source, self.environ), origin)

    def _vars(self, found: Settings, profile: Table) -> Iterator[Value]:
        for name, value in found.vars.items():
            own = profile.get("vars", {}).get(name)
            env = OPENAI_VARS.get(name) if value != own else None
            origin = f"env {env}" if env else self._in_profile(found, f"vars.{name}")
            yield Value(f"vars.{name}", value, origin)


def told(source: KeySource, environ: Mapping[str, str]) -> str:
    """Say whether a key is set and where, without reading or running anything."""
    match source.kind:
        case "env":
            there = bool(environ.get(source.name, "").strip())
            return f"{'set' if there else 'not set'} (env {source.name})"
        case "cmd":
            return "set (command)"
        case "file":
            there = places.expanded(source.name).is_file()
            return f"{'set' if there else 'not set'} (file {source.name})"
        case secret.MISSING:
            there = bool(environ.get(source.name))
            missing = f"{'not for this host' if there else 'not set'} ({source.name})"
            return missing.replace("(", "(env ") if source.name else "not configured"
        case "local":
            return "set (the local endpoint's own)"
    return "not needed"


def destination(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return where a request would go, and where the key in its header comes from.

    A key is not read.
    """
    source, auth = settings.key_source, settings.dialect.auth
    if auth.header.lower() in {name.lower() for name in settings.headers}:
        # A header that was given wins over the key's own.
        return f"{settings.base_url} with {auth.header} as -H or `headers` has it"
    if source.kind in {"local", "none"}:
        return settings.base_url
    scheme = "Bearer " if auth.value.startswith("Bearer ") else ""
    name = f"${source.name}" if source.kind in _OF_ENV else f"<{source.kind}>"
    if source == KeySource(secret.MISSING):
        name = "<nothing>"
    is_set = told(source, environ).partition(" (")[0]
    return f"{settings.base_url} with {auth.header}: {scheme}{name} ({is_set})"


def _at(file: Path, key: str) -> str:
    return f"{file}: {key}"


def _leaves(table: Table, path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in table.items():
        here = f"{path}.{name}" if path else name
        if isinstance(value, Mapping) and here not in _WHOLE:
            yield from _leaves(value, here)
        elif here != "extends":
            yield here, value
