"""What is heard of a job: signals, as the machine and all others are fed them.

And the one place where a Fault becomes an error: its kind, its exit code, what to type.
A question that nobody answered says nothing about a job; what is told here is what the
person who asked can do.
"""

import shlex
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    ExitCode,
    RefusedError,
    UnreachableError,
)
from bgresp.core.model import Job, ResponseError, Status, Usage
from bgresp.core.output import Answer

Cursor = int | str
PROXY: Final = "set the proxy's user and password in its variable: bgresp doctor"


class Reading(NamedTuple):
    """What a response object says, in our words; `None` where it says nothing.

    `hide` takes out of a text what its request kept secret: whatever else of the answer
    a record is to take goes through it.
    """

    status: Status
    raw_status: str
    id: str | None = None
    text: str | None = None
    model: str | None = None
    usage: Usage | None = None
    error: ResponseError | None = None
    incomplete_reason: str | None = None
    created_at: float | None = None
    finished_at: float | None = None
    key: str | None = None
    known: bool = True
    background: bool | None = None
    answer: Answer = Answer()
    hide: Callable[[str], str] = str


class Event(NamedTuple):
    """One server-sent event; `type` is an open set, unknown ones pass through.

    `part` is (output_index, content_index). `delta` extends its text, `full` replaces
    it; `refusal` and `refused` do so with a refusal. `reading` is set where the event
    carries a response object, whose JSON text is `response`; `item` is an item of the
    answer, where the event carries one, and `grown` what it adds to one. `is_aside`:
    its text is commentary. `terminal` says that nothing follows.
    """

    type: str
    sequence: Cursor | None = None
    raw: str = ""
    part: tuple[int, int] = (0, 0)
    delta: str | None = None
    full: str | None = None
    refusal: str | None = None
    refused: str | None = None
    reading: Reading | None = None
    response: Mapping[str, Any] | None = None
    terminal: bool = False
    error: ResponseError | None = None
    item: Mapping[str, Any] | None = None
    grown: Mapping[str, Any] | None = None
    is_aside: bool = False


class Snapshot(NamedTuple):
    """A response object as a retrieve returned it; `raw` is the body, byte for byte.

    `unread` says why no more than its status could be read: it is too large.
    `retry_after`: seconds for which nothing is left of the endpoint's rate limit.
    """

    reading: Reading
    raw: bytes = b""
    request_id: str | None = None
    unread: str | None = None
    retry_after: float | None = None


class FaultKind(StrEnum):
    """What went wrong on the way; none of them says anything about the job."""

    UNREACHABLE = "unreachable"
    CLOSED = "closed"
    IDLE = "idle"
    RATE_LIMITED = "rate_limited"
    UNREADABLE = "unreadable"
    NOT_STREAMABLE = "not_streamable"
    GONE = "gone"
    REFUSED = "refused"
    AMBIGUOUS = "ambiguous"


class Fault(NamedTuple):
    """A failure as a value: for the machine, never raised.

    `setup`: what to look at where it is this machine's configuration that is wrong, and
    trying again would not help.
    """

    kind: FaultKind
    message: str
    http_status: int | None = None
    retry_after: float | None = None
    request_id: str | None = None
    error: ResponseError | None = None
    setup: str | None = None

    @property
    def is_for_user(self) -> bool:
        """Say whether a person must set a key, a proxy or a base URL right."""
        status = self.http_status
        return self.setup is not None or status in {401, 403, 407} or self.is_redirect

    @property
    def is_of_key(self) -> bool:
        """Say whether it is the key, or a proxy's, that is refused: for every job."""
        return self.http_status in {401, 407}

    @property
    def is_redirect(self) -> bool:
        """Say whether the reply names another place, where nothing is ever sent."""
        return 300 <= (self.http_status or 0) < 400


Signal = Event | Snapshot | Fault


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
        hint=_hint(fault, job) if kind is ConfigError else _again(fault, job),
        request_id=fault.request_id,
        retryable=kind is UnreachableError,
    )


def _kind(fault: Fault) -> type[BgrespError]:
    if fault.is_for_user:
        return ConfigError
    return RefusedError if fault.kind in _REFUSED else UnreachableError


def _again(fault: Fault, job: Job | None) -> str:
    """Return when to ask again, of which profile; nothing where it is no use."""
    if fault.kind is FaultKind.RATE_LIMITED:
        return "the same command again, later; what is open: bgresp list --open"
    if _kind(fault) is not UnreachableError or job is None or not job.profile:
        return ""
    return f"{UnreachableError.usual} -p {shlex.quote(job.profile)}"


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
