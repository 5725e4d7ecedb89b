"""Which engine an endpoint has: as options, as a process's arguments, as an engine.

And what a child process gets of our environment: everything but keys. A program that is
run for a job, a hook or an endpoint has no business with the keys of every profile;
what it needs is passed on by name.
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final

from bgresp.core.errors import ConfigError, UsageError

if TYPE_CHECKING:
    import argparse

    from bgresp.serve.engines import Engine

APIS: Final = ("responses", "chat")
_KEYS: Final = re.compile(
    r"(.*_)?(API_?KEY|ACCESS_KEY|SECRET_KEY|PRIVATE_KEY|TOKEN|SECRET|PASSWORD)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What runs the jobs: a program, an upstream server, or the demo.

    `command` is a program and its arguments; `whole_request` gives it the request as
    JSON. `env_pass` names variables that a program gets although they look like keys;
    `pace` is the demo's, in seconds a word.
    """

    command: tuple[str, ...] = ()
    whole_request: bool = False
    upstream: str | None = None
    upstream_key_env: str | None = None
    upstream_api: str | None = None
    env_pass: tuple[str, ...] = ()
    pace: float | None = None

    def check(self) -> None:
        """Refuse what cannot be meant. Raises UsageError."""
        if self.command and self.upstream:
            raise UsageError("one engine at a time: a program or an upstream")
        if self.upstream is None and (self.upstream_key_env or self.upstream_api):
            raise UsageError("the upstream's key and API are of no use without its URL")
        if self.whole_request and not self.command:
            raise UsageError("a whole request is for a program")
        if self.upstream_api not in {None, *APIS}:
            raise UsageError(f"an upstream's API is one of {', '.join(APIS)}")
        if self.upstream is not None and not self.upstream.startswith(
            ("http://", "https://")
        ):
            raise UsageError("an upstream is a URL: http://HOST:PORT/v1")

    @property
    def needed(self) -> frozenset[str]:
        """Return the variables that look like keys and are needed all the same."""
        key = () if self.upstream_key_env is None else (self.upstream_key_env,)
        return frozenset({*self.env_pass, *key})

    def arguments(self) -> list[str]:
        """Return these options as arguments of `python -m bgresp.serve`."""
        found: list[str] = []
        for field, option in _OPTIONS.items():
            value = getattr(self, field)
            values = value if isinstance(value, tuple) else (value,)
            if value is not None and value is not False and value != ():
                found += [option if v is True else f"{option}={v}" for v in values]
        return found

    def digest(self) -> str:
        """Return what is equal for engines that do the same."""
        return hashlib.sha256(repr(self.arguments()).encode()).hexdigest()

    def upstream_key(self, environ: Mapping[str, str]) -> str | None:
        """Return the upstream's key. Raises ConfigError where it is not set."""
        name = self.upstream_key_env
        if name is None:
            return None
        key = environ.get(name, "").strip()
        if not key or not key.isascii() or not key.isprintable():
            message = f"no key for the upstream: {name} is not set"
            raise ConfigError(message, hint=f"export {name}=...")
        return key

    def build(self, environ: Mapping[str, str], named: Sequence[str] = ()) -> "Engine":
        """Make the engine; `named` are the variables of keys that it must not see.

        Raises ConfigError where the upstream's key is not set.
        """
        self.check()
        if self.command:
            from bgresp.serve.engines import Command

            kept = without_keys(environ, named=named, passed=self.env_pass)
            return Command(self.command, kept, whole=self.whole_request)
        if self.upstream is not None:
            from bgresp.serve.upstream import Upstream

            key = self.upstream_key(environ)
            return Upstream(self.upstream.rstrip("/"), key=key, api=self.upstream_api)
        from bgresp.serve.engines import Demo

        return Demo() if self.pace is None else Demo(self.pace)


_OPTIONS: Final = {
    "command": "--command",
    "whole_request": "--whole-request",
    "upstream": "--upstream",
    "upstream_key_env": "--upstream-key-env",
    "upstream_api": "--upstream-api",
    "env_pass": "--env-pass",
    "pace": "--pace",
}


def add_arguments(parser: "argparse.ArgumentParser") -> None:
    """Let a parser take what `arguments` returns."""
    for field, option in _OPTIONS.items():
        if field in {"command", "env_pass"}:
            parser.add_argument(option, dest=field, action="append")
        elif field == "whole_request":
            parser.add_argument(option, dest=field, action="store_true")
        else:
            kind = float if field == "pace" else str
            parser.add_argument(option, dest=field, type=kind)


def from_arguments(
    given: Mapping[str, object],
) -> tuple[EngineOptions, dict[str, object]]:
    """Return the engine of parsed arguments, and the arguments that are left."""
    names = {field.name for field in fields(EngineOptions)}
    own = {n: v for n, v in given.items() if n in names and v is not None}
    lists = {n: tuple(v) for n, v in own.items() if isinstance(v, list)}
    rest = {name: value for name, value in given.items() if name not in names}
    return EngineOptions(**{**own, **lists}), rest  # type: ignore[arg-type]


def is_key(name: str) -> bool:
    """Say whether a variable's name is that of a key by its look."""
    return _KEYS.fullmatch(name) is not None


def without_keys(
    environ: Mapping[str, str],
    *,
    named: Collection[str] = (),
    passed: Collection[str] = (),
) -> dict[str, str]:
    """Return an environment without keys.

    `named` are variables that a profile or a dialect names as its key; `passed` are
    those that the user passes on all the same.
    """
    return {
        name: value
        for name, value in environ.items()
        if name in passed or not (name in named or is_key(name))
    }
