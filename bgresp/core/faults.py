"""The one place where a Fault becomes an error: its kind, its exit code, what to type.

A question that nobody answered says nothing about a job; what is told here is what the
person who asked can do.
"""

import shlex
from typing import Final

from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    ExitCode,
    RefusedError,
    UnreachableError,
)
from bgresp.core.model import Job
from bgresp.core.signals import Fault, FaultKind

PROXY: Final = "set the proxy's user and password in its variable: bgresp doctor"
_REFUSED: Final = frozenset(
    {FaultKind.REFUSED, FaultKind.UNREADABLE, FaultKind.NOT_STREAMABLE}
)


def exit_code(fault: Fault) -> ExitCode:
    """Return the exit code of what was not answered."""
    return _kind(fault).code


def error_of(fault: Fault, message: str = "", *, job: Job | None = None) -> BgrespError:
    """Return the error of what was not answered, with the next command to type.

    `message` is the whole line, where the fault's own does not say it all; `job` is the
    one that was asked about.
    """
    kind = _kind(fault)
    return kind(
        message or fault.message,
        hint=_hint(fault, job) if kind is ConfigError else "",
        request_id=fault.request_id,
        retryable=kind is UnreachableError,
    )


def _kind(fault: Fault) -> type[BgrespError]:
    if fault.is_for_user:
        return ConfigError
    return RefusedError if fault.kind in _REFUSED else UnreachableError


def _hint(fault: Fault, job: Job | None) -> str:
    """Return what to set right: what the fault names, a proxy, a key, a base URL."""
    if fault.setup is not None:
        return fault.setup
    if fault.http_status == 407:
        return PROXY
    profile = job.profile if job is not None else None
    of = f" -p {shlex.quote(profile)}" if profile else ""
    settings = f"bgresp config show{of}"
    if job is None or fault.is_redirect:
        return settings
    source = job.extra.get("key_source", "none")
    if source != "none":
        return f"the key of profile {profile}, from {source}: {settings}"
    return f"profile {profile} has no key: {settings}" if profile else settings
