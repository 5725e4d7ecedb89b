"""Every value that holds for an endpoint, and where it comes from; no key is read."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bgresp.config import places, secret
from bgresp.config.files import Config, Table, built_in
from bgresp.config.secret import KeySource
from bgresp.config.settings import (
    DEFAULT,
    OPENAI,
    OPENAI_VARS,
    Flags,
    Settings,
    resolve,
)

SET: Final = "set"  # what is shown of a header: its name may tell nothing
_KEYS: Final = ("api_key_env", "api_key_cmd", "api_key_file")
_TUNED: Final = ("rate", "connections", "streams")
_SWITCHES: Final = ("allow_http", "stream")
_OF_ENV: Final = frozenset({"env", secret.MISSING})
_WHOLE: Final = ("headers", "query")  # what a dialect replaces as a whole


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
        yield Value("profile", found.profile, self._said(found, "profile"))
        yield Value("dialect", found.dialect.name, self._dialect(found, profile))
        yield Value("base_url", found.base_url, self._said(found, "base_url"))
        yield Value("model", found.model, self._said(found, "model"))
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

    def _said(self, found: Settings, name: str) -> str:
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
            return f"{'not for this host' if there else 'not set'} (env {source.name})"
        case "local":
            return "set (the local endpoint's own)"
    return "not needed"


def destination(settings: Settings, environ: Mapping[str, str]) -> str:
    """Return where a request would go, and where the key in its header comes from.

    A key is not read.
    """
    source, auth = settings.key_source, settings.dialect.auth
    if source.kind in {"local", "none"}:
        return settings.base_url
    scheme = "Bearer " if auth.value.startswith("Bearer ") else ""
    name = f"${source.name}" if source.kind in _OF_ENV else f"<{source.kind}>"
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
