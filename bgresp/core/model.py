"""What a job is: its status, its record, what it may be called, and how it is written.

A record never holds a key or output text. What is typed, listed and completed later
holds no control character, and a name is no REF of another kind.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

from bgresp.core.errors import ExitCode, UsageError
from bgresp.core.text import is_plain
from bgresp.core.times import rfc3339, unix

SCHEMA: Final = "bgresp.job/1"
LEDGER_VERSION: Final = 1
FORGOTTEN: Final = "forgotten"  # in the line of a job that was dropped
INCLUDE: Final = "include"  # in its line: what its request asks to be included
WEBHOOK: Final = "webhook"  # in its line alone: its create asked for one
NOTHING: Final[Mapping[str, Any]] = {}  # nobody writes a Mapping
KEY_DIGEST: Final = "key_digest"  # in its line alone: which key made it
# The form of any key, whoever made it: it names files.
# What no shell reads as anything but itself.
_PASTED: Final = re.compile(r"[A-Za-z0-9_.:+,/=-]+", re.ASCII)
_KEY: Final = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class Status(StrEnum):
    """The six words of the wire, and the four that only a client needs."""

    SUBMITTING = "submitting"
    UNKNOWN = "unknown"
    REJECTED = "rejected"
    QUEUED = "queued"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    INCOMPLETE = "incomplete"
    CANCELLED = "cancelled"
    FAILED = "failed"
    LOST = "lost"

    @property
    def is_open(self) -> bool:
        """Say whether the endpoint may still change it."""
        return self in _OPEN

    @property
    def is_terminal(self) -> bool:
        """Say whether the endpoint gave its last word."""
        return self in _TERMINAL

    @property
    def is_unsettled(self) -> bool:
        """Say whether it is of a submit of which nobody knows what became."""
        return self in _UNSETTLED

    @property
    def may_change(self) -> bool:
        """Say whether there is anything to wait for: it is open, or unsettled."""
        return self.is_open or self.is_unsettled

    @property
    def did_not_complete(self) -> bool:
        """Say whether the job was accepted and came to nothing, or to less."""
        return self in _DID_NOT_COMPLETE

    @property
    def has_answer(self) -> bool:
        """Say whether an answer comes with it: whole, or cut short."""
        return self in _HAS_ANSWER

    @property
    def is_accepted(self) -> bool:
        """Say whether the endpoint surely took the request."""
        return self.rank >= _RANK[Status.QUEUED]

    @property
    def rank(self) -> int:
        """Order what may replace what: a lower rank never replaces a higher one."""
        return _RANK[self]

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of a command that waited for this status."""
        return _EXIT[self]


class EndedWith(StrEnum):
    """What a job's answer ended with; of several the first that is true of its end."""

    REFUSAL = "refusal"
    APPROVAL = "approval"
    CALLS = "calls"
    TEXT = "text"
    MEDIA = "media"
    NOTHING = "nothing"

    @property
    def is_answer(self) -> bool:
        """Say whether it is what was asked for."""
        return self in {EndedWith.TEXT, EndedWith.MEDIA}


_OPEN = frozenset({Status.QUEUED, Status.IN_PROGRESS})
_TERMINAL = frozenset(
    {Status.COMPLETED, Status.INCOMPLETE, Status.CANCELLED, Status.FAILED}
)
_UNSETTLED = frozenset({Status.SUBMITTING, Status.UNKNOWN})
_DID_NOT_COMPLETE = frozenset(
    {Status.FAILED, Status.INCOMPLETE, Status.CANCELLED, Status.LOST}
)
_HAS_ANSWER = frozenset({Status.COMPLETED, Status.INCOMPLETE})
_RANK = {
    Status.SUBMITTING: 0,
    Status.UNKNOWN: 1,
    Status.REJECTED: 2,
    Status.QUEUED: 3,
    Status.IN_PROGRESS: 3,
    Status.LOST: 3,  # a suspicion: between it and open the later word holds
    Status.CANCELLED: 5,
    Status.INCOMPLETE: 6,
    Status.FAILED: 6,
    Status.COMPLETED: 7,
}
_EXIT = {
    Status.SUBMITTING: ExitCode.NOT_FINISHED,
    Status.UNKNOWN: ExitCode.UNKNOWN_OUTCOME,
    Status.REJECTED: ExitCode.REFUSED,
    Status.QUEUED: ExitCode.NOT_FINISHED,
    Status.IN_PROGRESS: ExitCode.NOT_FINISHED,
    Status.COMPLETED: ExitCode.OK,
    Status.INCOMPLETE: ExitCode.INCOMPLETE,
    Status.CANCELLED: ExitCode.CANCELLED,
    Status.FAILED: ExitCode.FAILED,
    Status.LOST: ExitCode.LOST,
}


# The largest whole number that every reader of JSON keeps as it is.
_MOST_TOKENS = 2**53 - 1
_COUNTED: Final = ("input_tokens", "output_tokens", "total_tokens")
_DETAILS: Final = ("reasoning_tokens", "cached_tokens")


class Usage(NamedTuple):
    """Tokens as the endpoint counted them; None where it did not say.

    Those of reasoning are among the output's, those that were cached among the input's;
    of them a zero is as good as none. `cost` is in the endpoint's own money.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    total_tokens: int | None = None
    reasoning_tokens: int | None = None
    cached_tokens: int | None = None
    cost: float | None = None

    @classmethod
    def read(cls, raw: object) -> Self | None:
        """Read the wire's `usage`; None when there is none."""
        if not isinstance(raw, Mapping):
            return None
        counts = {name: _count(raw.get(name)) for name in _COUNTED}
        told = {name: _count(raw.get(name)) or None for name in _DETAILS}
        found = cls(**counts, **told, cost=_money(raw.get("cost")))
        return None if found == cls() else found

    def to_dict(self) -> dict[str, int | float | None]:
        """Return the wire's form; the details where there are any."""
        found = self._asdict()
        return {k: v for k, v in found.items() if k in _COUNTED or v is not None}


class ResponseError(NamedTuple):
    """Why a job failed or a request was refused, in the endpoint's words."""

    code: str
    message: str

    def to_dict(self) -> dict[str, str]:
        """Return the wire's form."""
        return {"code": self.code, "message": self.message}

    @classmethod
    def read(cls, raw: object) -> Self | None:
        """Read what stood in the ledger; None when there is none."""
        if not isinstance(raw, Mapping):
            return None
        return cls(str(raw.get("code", "")), str(raw.get("message", "")))


class Job(NamedTuple):
    """One background response: who it is, where it runs, what became of it.

    Times are Unix seconds; `started_at` is when it was first seen running, as exact as
    the polls. `noticed` is true where nobody told when it ended: `finished_at` is when
    that was seen. `key` is ours, sortable by time and never reused; `id` is
    the endpoint's, any text. `cursor` is None, never 0, while nothing was seen.
    `model` is the one that answers, as far as it was said. `told` is a line on how the
    answer ended, where that is not its text alone.
    `missed_at` is when the endpoint first said that it has no such job, `misses` in how
    many passes it has said so since, with no other word between.
    """

    key: str
    status: Status = Status.SUBMITTING
    id: str | None = None
    name: str | None = None
    group: str | None = None
    labels: Mapping[str, str] = NOTHING
    profile: str | None = None
    base_url: str | None = None
    dialect: str | None = None
    vars: Mapping[str, str] = NOTHING
    model: str | None = None
    raw_status: str | None = None
    created_at: float | None = None
    submitted_at: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    checked_at: float | None = None
    expires_at: float | None = None
    cancel_requested_at: float | None = None
    cursor: int | str | None = None
    streamable: bool | None = None
    usage: Usage | None = None
    error: ResponseError | None = None
    incomplete_reason: str | None = None
    retry_of: str | None = None
    previous_id: str | None = None
    output_path: str | None = None
    request_id: str | None = None
    request_sha256: str | None = None
    submit_key: str | None = None
    row: str | None = None
    ended_with: EndedWith | None = None
    refusal: str | None = None
    told: str | None = None
    model_asked: str | None = None
    expect: float | None = None
    last_error: str | None = None
    noticed: bool | None = None
    missed_at: float | None = None
    misses: int | None = None
    extra: Mapping[str, Any] = NOTHING

    @property
    def ref(self) -> str:
        """Return what a person or a script types to mean this job: one plain word.

        That is its id, but our key where the id would be taken for an option or a
        reference, be split, or show as something else.
        """
        return self.id if self.id and _is_word(self.id) else self.key

    @property
    def quoted(self) -> str:
        """Return what means it in a command that may be pasted into a shell."""
        return self.ref if _PASTED.fullmatch(self.ref) else self.key

    @property
    def exit_code(self) -> ExitCode:
        """Return the exit code of a command that waited for this job."""
        is_answer = self.ended_with is None or self.ended_with.is_answer
        if self.status is Status.COMPLETED and not is_answer:
            return ExitCode.NO_ANSWER
        return self.status.exit_code

    @property
    def wanted_model(self) -> str | None:
        """Return the model that was asked for, else the one that answered."""
        return self.model_asked or self.model

    @property
    def include(self) -> list[str]:
        """Return what its request asks to be included with the answer."""
        asked = self.extra.get(INCLUDE)
        return asked if isinstance(asked, list) and _are_texts(asked) else []

    @property
    def is_forgotten(self) -> bool:
        """Say whether only a tombstone is left of it."""
        return FORGOTTEN in self.extra

    @property
    def took_exact(self) -> bool | None:
        """Say whether the time of its end was told; None while it has none."""
        return None if self.finished_at is None else not self.noticed

    def to_line(self) -> dict[str, Any]:
        """Return the ledger's form: everything that is known, nothing that is not."""
        line: dict[str, Any] = {"v": LEDGER_VERSION, **self.extra}
        for name in _NAMES:
            value = getattr(self, name)
            if value is None or value == {}:
                continue
            line[name] = _plain(name, value)
        return line

    @classmethod
    def from_line(cls, line: Mapping[str, Any]) -> Self:
        """Read the ledger's form; unknown keys are kept in `extra`.

        Raises KeyError or ValueError when key or status cannot be read, or a field has
        a value that is none of its own.
        """
        known: dict[str, Any] = {
            "key": str(line["key"]),
            "status": Status(line["status"]),
        }
        extra: dict[str, Any] = {}
        for name, raw in line.items():
            if name in known:
                continue
            if name in _NAMES:
                read = _READERS.get(name)
                value = raw if read is None else read(raw)
                shared = name in _SHARED and type(value) is str
                known[name] = _one(value) if shared else value
            elif name != "v":
                extra[name] = raw
        return cls(**known, extra=_shared(extra))

    def to_record(self) -> dict[str, Any]:
        """Return the record that scripts read: CONTRACT.md, Machine output."""
        record: dict[str, Any] = {"schema": SCHEMA}
        for name in RECORD_FIELDS[1:]:
            record[name] = _plain(name, getattr(self, name))
        record["exit_code"] = int(self.exit_code)
        if self.status.is_open:
            record |= {"ended_with": None, "refusal": None}
        return record


RECORD_FIELDS: Final = (
    *("schema", "key", "id", "name", "group", "labels", "profile", "base_url", "model"),
    *("status", "raw_status", "created_at", "submitted_at", "finished_at"),
    *("checked_at", "expires_at", "cursor", "usage", "error", "incomplete_reason"),
    *("retry_of", "previous_id", "output_path", "request_sha256", "submit_key", "row"),
    *("last_error", "exit_code", "ended_with", "refusal", "model_asked", "took_exact"),
)
# In the order of the fields: it is the order of a line.
_NAMES: Final = dict.fromkeys(name for name in Job._fields if name != "extra")
_TIMES: Final = frozenset(name for name in _NAMES if name.endswith("_at"))
# Words that many jobs have in common: they are kept in memory once.
_SHARED: Final = frozenset(
    {"group", "profile", "base_url", "dialect", "model", "model_asked", "raw_status"}
)
_MAPPINGS: Final = frozenset({"labels", "vars"})


@lru_cache(maxsize=256)
def _one(word: str) -> str:
    """Return the same object for the same word."""
    return word


def _shared(extra: dict[str, Any]) -> Mapping[str, Any]:
    """Return the same mapping for the same words: jobs of an endpoint share them."""
    if not all(type(value) is str for value in extra.values()):
        return extra
    return _one_of(tuple(extra.items()))


@lru_cache(maxsize=256)
def _one_of(items: tuple[tuple[str, str], ...]) -> Mapping[str, str]:
    """Return the same mapping for the same items."""
    return dict(items)


def _plain(name: str, value: Any) -> Any:
    if name in _TIMES:
        return rfc3339(value)
    if isinstance(value, Usage | ResponseError):
        return value.to_dict()
    if name in _MAPPINGS:
        return dict(value)
    return str(value) if isinstance(value, StrEnum) else value


def _mapping(raw: Any) -> dict[str, str]:
    return {str(k): str(v) for k, v in raw.items()} if raw else {}


def _as_it_is(name: str, kinds: tuple[type, ...]) -> Callable[[Any], Any]:
    """Return how a field is read that stands in the line as it is."""

    def read(raw: Any) -> Any:
        if raw is not None and type(raw) not in kinds:
            raise ValueError(f"{name}: {type(raw).__name__}")
        return raw

    return read


_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "cursor": (int, str),
    "streamable": (bool,),
    "noticed": (bool,),
    "expect": (int, float),
    "misses": (int,),
}
_ENDINGS: Final = frozenset(map(str, EndedWith))
# How a field is read; a line may hold anything.
_READERS: Final[Mapping[str, Callable[[Any], Any]]] = {
    **{name: _as_it_is(name, _KINDS.get(name, (str,))) for name in _NAMES},
    **dict.fromkeys(_TIMES, unix),
    **dict.fromkeys(_MAPPINGS, _mapping),
    "usage": Usage.read,
    "error": ResponseError.read,
    "ended_with": lambda raw: EndedWith(raw) if raw in _ENDINGS else None,
}


def _are_texts(values: list[Any]) -> bool:
    return all(isinstance(value, str) for value in values)


def _count(raw: object) -> int | None:
    """Read a number of tokens; one that cannot be is as good as none."""
    return raw if type(raw) is int and 0 <= raw <= _MOST_TOKENS else None


def _money(raw: object) -> float | None:
    """Read what something cost; nothing is as good as not said."""
    is_number = isinstance(raw, int | float) and not isinstance(raw, bool)
    return float(raw) if is_number and 0 < raw < math.inf else None  # type: ignore[operator, arg-type]


def _is_word(text: str) -> bool:
    """Say whether a text can be typed as a REF, and shows as what it is."""
    is_whole = not any(map(str.isspace, text))
    return is_whole and is_plain(text) and not text.startswith(("-", "@"))


def may_be_key(value: object) -> bool:
    """Say whether a value can be the key of a job: it may stand in a file's name."""
    return isinstance(value, str) and _KEY.fullmatch(value) is not None


def check_names(job: Job) -> None:
    """Refuse a name, group, label or submit key that could not be typed or shown again.

    Raises UsageError that names the field.
    """
    for name, text in _texts(job):
        if not is_plain(text):
            raise UsageError(f"the {name} {text[:80]!r} has control characters")
    if job.name is not None and job.name.startswith(("@", "-")):
        raise UsageError(
            f"the name {job.name[:80]!r} would be taken for a reference or an option",
            hint="begin it with another character than @ and -",
        )


def _texts(job: Job) -> Iterator[tuple[str, str]]:
    given = {"name": job.name, "group": job.group, "key": job.submit_key}
    yield from ((name, text) for name, text in given.items() if text is not None)
    for label, value in job.labels.items():
        yield "label", f"{label}={value}"
