"""Keys: found by the name of their source, checked before use, never shown.

A key is never part of a message; its source is.
"""

import os
import stat
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgresp.config import files, urls
from bgresp.config.files import Table
from bgresp.core import encoding
from bgresp.core.dialect import Auth
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job

TWO_WAYS: Final = "export OPENAI_API_KEY=..., or use the local endpoint: -p local"
COMMAND_TIMEOUT: Final = 30.0
MISSING: Final = "missing"
DIALECT: Final = "dialect"


@dataclass(frozen=True, slots=True)
class KeySource:
    """Where a key comes from: `env:NAME`, `cmd`, `file:PATH`, `local` or `none`.

    `cmd:dialect` is the dialect's own command, `cmd` the profile's.
    `missing:NAME` is a variable that is not set, where that is to be told.
    """

    kind: str
    name: str = ""
    command: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return the form that the ledger keeps."""
        return f"{self.kind}:{self.name}" if self.name else self.kind

    def read(self, environ: Mapping[str, str]) -> str | None:
        """Return the key, trimmed and checked; None where the source needs none.

        Raises ConfigError that names the source.
        """
        if self.kind == "env":
            found = environ.get(self.name, "")
            if not found.strip():
                raise ConfigError(
                    f"no key: {self.name} is not set", hint=f"export {self.name}=..."
                )
            return checked(found, self.name)
        if self.kind == "cmd":
            return checked(_run(self.command), f"the output of {self.command[0]!r}")
        if self.kind == "file":
            return checked(_read(files.expanded(self.name)), self.name)
        return None


def choose(
    profile: Table, environ: Mapping[str, str], auth: Auth, to: tuple[str, bool]
) -> KeySource:
    """Choose where the key comes from; OPENAI_API_KEY only goes where it belongs.

    `to` is the base URL, and whether the user named it. Raises ConfigError.
    """
    base_url, explicit = to
    if base_url == urls.LOCAL:
        return KeySource("local")
    if environ.get("BGRESP_API_KEY"):
        return KeySource("env", "BGRESP_API_KEY")
    configured = _profile_source(profile)
    if configured is not None:
        return configured
    host = urls.host(base_url)
    belongs = explicit or host == "api.openai.com"
    if auth.env == "OPENAI_API_KEY" and not belongs:
        raise ConfigError(
            f"OPENAI_API_KEY is not sent to {host or 'what is no URL'}",
            hint="set BGRESP_API_KEY, or api_key_env in the profile",
        )
    if environ.get(auth.env):
        return KeySource("env", auth.env)
    if auth.command:
        return KeySource("cmd", DIALECT, auth.command)
    if auth.optional:
        return KeySource("none")
    ways = TWO_WAYS.replace("OPENAI_API_KEY", auth.env)
    raise ConfigError(f"no key: {auth.env} is not set", hint=ways)


def _profile_source(profile: Table) -> KeySource | None:
    if "api_key_env" in profile:
        return KeySource("env", profile["api_key_env"])
    if profile.get("api_key_cmd"):
        return KeySource("cmd", command=tuple(profile["api_key_cmd"]))
    if "api_key_file" in profile:
        return KeySource("file", profile["api_key_file"])
    return None


def stored(job: Job, profile: Table, auth: Auth) -> KeySource:
    """Return where the key of a job came from when it was made.

    Raises ConfigError when that source is gone.
    """
    kind, _, name = str(job.extra.get("key_source", "")).partition(":")
    if kind == "env" and name:
        return KeySource("env", name)
    if kind == "cmd" and name == DIALECT and auth.command:
        return KeySource("cmd", DIALECT, auth.command)
    configured = _profile_source(profile)
    if configured is not None:
        return configured
    if kind in {"file", "local", "none"}:
        return KeySource(kind, name)
    raise ConfigError(
        f"the key of {job.ref} came from profile {job.profile!r}, "
        "which has none for it now",
        hint="bgresp config show",
    )


def checked(raw: str, source: str) -> str:
    """Trim a key and refuse what no header may carry.

    Raises ConfigError that names the source, never the value.
    """
    scheme, _, rest = raw.strip().partition(" ")
    key = rest.strip() if scheme.lower() == "bearer" else raw.strip()
    if not key:
        raise ConfigError(f"the key from {source} is empty")
    if not all("!" <= char <= "~" for char in key):
        raise ConfigError(
            f"the key from {source} has characters that no key has",
            hint="look for spaces, line ends or quotes in it",
        )
    return key


def _run(command: Sequence[str]) -> str:
    name = command[0]
    try:
        done = subprocess.run(  # noqa: S603  the user's own api_key_cmd, no shell
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        reason = error.strerror if isinstance(error, OSError) else "took too long"
        raise ConfigError(f"api_key_cmd {name!r}: {reason}") from None
    if done.returncode != 0:
        raise ConfigError(
            f"api_key_cmd {name!r} ended with {done.returncode}",
            hint="run it by hand to see why",
        )
    return done.stdout.decode("utf-8-sig", "replace")


def _read(path: Path) -> str:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            raise ConfigError(f"the key file {path} is not a regular file")
        if found.st_uid == os.getuid() and stat.S_IMODE(found.st_mode) & 0o077:
            raise ConfigError(
                f"others may read the key file {path}", hint=f"chmod 600 {path}"
            )
        return encoding.text_of(path.read_bytes(), str(path))
    except OSError as error:
        raise ConfigError(
            f"cannot read the key file {path}: {error.strerror}"
        ) from None
    except encoding.NotUtf8Error as error:
        raise ConfigError(
            f"cannot read the key file {path}: {error}", hint=error.hint
        ) from None
