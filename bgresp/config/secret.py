"""Keys: found by the name of their source, checked before use, never shown.

A key is never part of a message; its source is.
"""

import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from bgresp.config import places, urls
from bgresp.config.files import Table
from bgresp.core.dialect import Auth
from bgresp.core.endpoint import Webhook
from bgresp.core.errors import ConfigError, UsageError
from bgresp.core.text import NotUtf8Error, text_of

TWO_WAYS: Final = "export OPENAI_API_KEY=..., or use the local endpoint: -p local"
NAME_IT: Final = (
    "in its profile: api_key_env, api_key_file or api_key_cmd; "
    "else export BGRESP_API_KEY=..."
)
COMMAND_TIMEOUT: Final = 30.0
MISSING: Final = "missing"
DIALECT: Final = "dialect"
WEBHOOK: Final = ("webhook_url", "webhook_secret_env")
VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class KeySource(NamedTuple):
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

    @property
    def warning(self) -> str | None:
        """Return what is to be said before the key is used, if anything."""
        if self.kind != "file":
            return None
        return _foreign(places.expanded(self.name), os.getuid())

    def read(
        self, environ: Mapping[str, str], hidden: frozenset[str] = frozenset()
    ) -> str | None:
        """Return the key, trimmed and checked; None where the source needs none.

        A command does not see the variables in `hidden`: they name other keys. Raises
        ConfigError that names the source.
        """
        if self.kind == "env":
            found = environ.get(self.name, "")
            if not found.strip():
                raise ConfigError(
                    f"no key: {self.name} is not set", hint=f"export {self.name}=..."
                )
            return checked(found, self.name)
        if self.kind == "cmd":
            seen = {n: v for n, v in environ.items() if n not in hidden}
            source = f"the output of {self.command[0]!r}"
            return checked(_run(self.command, seen), source)
        if self.kind == "file":
            return checked(_read(places.expanded(self.name)), self.name)
        return None


def choose(
    profile: Table,
    environ: Mapping[str, str],
    auth: Auth,
    *,
    base_url: str,
    explicit: bool,
) -> KeySource:
    """Choose where the key comes from; OPENAI_API_KEY only goes where it belongs.

    It is for a base URL; `explicit`: the user named that outright. Raises ConfigError.
    """
    if urls.is_local(base_url):
        return KeySource("local")
    if environ.get("BGRESP_API_KEY"):
        return KeySource("env", "BGRESP_API_KEY")
    configured = profile_source(profile)
    if configured is not None:
        return configured
    if not _belongs(auth, base_url, explicit=explicit):
        host = urls.host(base_url) or "what is no URL"
        message = f"nothing says where the key for {host} is"
        if environ.get(auth.env):
            message = f"OPENAI_API_KEY is not sent to {host}"
        raise ConfigError(message, hint=NAME_IT)
    if environ.get(auth.env):
        return KeySource("env", auth.env)
    if auth.command:
        return KeySource("cmd", DIALECT, auth.command)
    if auth.optional:
        return KeySource("none")
    ways = TWO_WAYS.replace("OPENAI_API_KEY", auth.env)
    raise ConfigError(f"no key: {auth.env} is not set", hint=ways)


def missing(
    environ: Mapping[str, str], auth: Auth, *, base_url: str, explicit: bool
) -> KeySource:
    """Return the source of a key that is not there, unnamed where nothing names one."""
    belongs = _belongs(auth, base_url, explicit=explicit)
    return KeySource(MISSING, auth.env if belongs or environ.get(auth.env) else "")


def _belongs(auth: Auth, base_url: str, *, explicit: bool) -> bool:
    """Say whether a dialect's variable may go to a host; `explicit`: the user said."""
    host = urls.host(base_url)
    return auth.env != "OPENAI_API_KEY" or explicit or host == "api.openai.com"


def profile_source(profile: Table) -> KeySource | None:
    """Return the source that a profile itself names; None where it names none."""
    if "api_key_env" in profile:
        return KeySource("env", profile["api_key_env"])
    if profile.get("api_key_cmd"):
        return KeySource("cmd", command=tuple(profile["api_key_cmd"]))
    if "api_key_file" in profile:
        return KeySource("file", profile["api_key_file"])
    return None


def configured(profile: Table, auth: Auth, base_url: str) -> list[KeySource]:
    """Return the sources that a profile, or its dialect, names for its base URL.

    Several where the dialect knows several ways, in the order they are tried.
    """
    explicit = profile_source(profile)
    if explicit is not None:
        return [explicit]
    sources = []
    if _belongs(auth, base_url, explicit=False):
        sources.append(KeySource("env", auth.env))
    if auth.command:
        sources.append(KeySource("cmd", DIALECT, auth.command))
    if auth.optional:
        sources.append(KeySource("none"))
    return sources


def named(text: str, profile: Table, auth: Auth | None) -> KeySource | None:
    """Return the source that the ledger's form means, with the profile's own command.

    None where the text is none, or its command is not configured.
    """
    kind, _, name = text.partition(":")
    if kind in {"env", "file"} and name:
        return KeySource(kind, name)
    if text == "none":
        return KeySource("none")
    command = () if auth is None else auth.command
    for source in (profile_source(profile), KeySource("cmd", DIALECT, command)):
        if source is not None and source.command and str(source) == text:
            return source
    return None


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


def _run(command: Sequence[str], environ: Mapping[str, str]) -> str:
    import subprocess  # few keys come from a program

    name = command[0]
    try:
        done = subprocess.run(  # noqa: S603  the user's own api_key_cmd, no shell
            list(command),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=COMMAND_TIMEOUT,
            check=False,
            env=environ,
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


def _distrust(found: os.stat_result, uid: int) -> tuple[str, str] | None:
    """Say what is wrong with a key file, and the cure; None where nothing is.

    It is mine and nobody else reads it, or root's, as a container's secrets are, and
    nobody else writes it.
    """
    mode = stat.S_IMODE(found.st_mode)
    if not stat.S_ISREG(found.st_mode):
        return "the key file {} is not a regular file", ""
    if found.st_uid == uid and mode & 0o077:
        return "others may read the key file {}", "chmod 600 {}"
    wrong = places.distrust("the key file {}", found, uid=uid, root_takes_all=True)
    if wrong is None:
        return None
    is_mine = found.st_uid in {uid, 0} or uid == 0
    return wrong, "chmod go-w {}" if is_mine else "copy it, and chmod 600"


def _foreign(path: Path, uid: int) -> str | None:
    """Say whose a key file is that root reads all the same."""
    try:
        owner = path.stat().st_uid
    except OSError:
        return None  # reading it tells why
    message = f"the key file {path} belongs to another user"
    return message if uid == 0 != owner else None


def _read(path: Path) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            wrong = _distrust(os.fstat(fd), os.getuid())
            if wrong is not None:
                said, hint = wrong[0].format(path), wrong[1].format(path)
                raise ConfigError(said, hint=hint)
            return text_of(file.read(), str(path))
    except OSError as error:
        raise ConfigError(
            f"cannot read the key file {path}: {error.strerror}"
        ) from None
    except NotUtf8Error as error:
        said = f"cannot read the key file {path}: {error}"
        raise places.misencoded(said, error) from None


def webhook(table: Table, names: tuple[str, str] = WEBHOOK) -> Webhook | None:
    """Return the webhook that a table asks for; `names` are what it says that by.

    Raises UsageError where half of it is missing, or its URL is none; what stands where
    a variable belongs is not repeated, it may be the secret.
    """
    url, variable = (table.get(name) for name in WEBHOOK)
    if url is None and variable is None:
        return None
    if url is None or variable is None:
        raise UsageError(f"{names[0]} and {names[1]} need each other")
    parts = urls.split(url)
    if (
        not url.isprintable()
        or parts is None
        or parts.scheme not in {"http", "https"}
        or not parts.hostname
        or "@" in parts.netloc
    ):
        raise UsageError(f"{names[0]} takes a URL: https://HOST/PATH")
    if not VARIABLE.fullmatch(variable) or variable.startswith("whsec_"):
        raise UsageError(f"{names[1]} takes the name of a variable, not a secret")
    return Webhook(url, variable)


def webhook_secret(name: str, environ: Mapping[str, str]) -> str | None:
    """Return the secret of webhooks that a variable has; None where it has none."""
    found = environ.get(name, "").strip()
    return found if found and found.isascii() and found.isprintable() else None


def with_secret(asked: Webhook | None, environ: Mapping[str, str]) -> Webhook | None:
    """Return a webhook with its secret, where that is set."""
    if asked is None:
        return None
    return asked._replace(secret=webhook_secret(asked.variable, environ))
