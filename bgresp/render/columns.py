"""What a job's columns are: one value each, for JSON as it is, for a row as text."""

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, NamedTuple

from bgresp.core.errors import UsageError
from bgresp.core.model import NOTHING, RECORD_FIELDS, EndedWith, Job, Status
from bgresp.core.selection import longest, queue_time, run_time, took
from bgresp.core.text import did_you_mean, one_line
from bgresp.core.times import brief, local, rfc3339
from bgresp.render.streams import as_json

NONE: Final = "-"
UNTOLD: Final = "their end was only noticed, not told"
OVER: Final = "over"


class Times(StrEnum):
    """How `--time` has times written."""

    RELATIVE = "relative"
    LOCAL = "local"
    UTC = "utc"


class ColumnKind(StrEnum):
    """What a column's value is."""

    PLAIN = "plain"
    MOMENT = "moment"  # Unix seconds
    END = "end"  # a moment after which there is nothing left
    SPAN = "span"  # seconds


_MOMENTS: Final = frozenset({ColumnKind.MOMENT, ColumnKind.END})


class Look(NamedTuple):
    """How rows are written: `now` dates the ages; `times` None leaves records exact.

    `titles` are, by a job's key, the cells of "id" and "name" that a person sees.
    """

    now: float
    times: Times | None = None
    terminal: bool = False
    titles: Mapping[str, Mapping[str, str]] = NOTHING

    @property
    def relative(self) -> bool:
        """Say whether spans and ages are for people."""
        if self.times is None:
            return self.terminal
        return self.times is Times.RELATIVE


class Column(NamedTuple):
    """How to read a column of a job; None where it is not known."""

    value: Callable[[Job], Any]
    kind: ColumnKind = ColumnKind.PLAIN
    head: str = ""  # its heading, where that is not its name
    exact_head: str = ""  # and where times are exact
    exact: bool = False  # a time of the record: relative only where asked
    most: Callable[[Job], Any] | None = None  # no more than this, for people

    def cell(self, job: Job, look: Look) -> str:
        """Return the value as a row shows it, on one line and without tabs."""
        value = self.value(job)
        if value is None and self.most is not None and look.relative:
            bound = self.most(job)
            return NONE if bound is None else at_most(bound)
        if value is None or value in ("", {}):
            return NONE
        relative = look.times is Times.RELATIVE if self.exact else look.relative
        if self.kind in _MOMENTS:
            return self._moment(value, look) if relative else _dated(value, look)
        if self.kind is ColumnKind.SPAN:
            return brief(value) if relative else f"{value:.3f}"
        return one_line(value if isinstance(value, str) else as_json(value))

    def plain(self, job: Job) -> Any:
        """Return the value as JSON shows it: times in RFC 3339, spans in seconds."""
        value = self.value(job)
        if self.kind in _MOMENTS:
            return rfc3339(value)
        is_span = value is not None and self.kind is ColumnKind.SPAN
        return round(value, 3) if is_span else value

    def _moment(self, value: float, look: Look) -> str:
        """Return how long ago something was, or how long it is until then."""
        if self.kind is ColumnKind.END and value <= look.now:
            return OVER
        return brief(abs(look.now - value))


def _dated(value: float, look: Look) -> str:
    return local(value) if look.times is Times.LOCAL else rfc3339(value) or NONE


def _submitted(job: Job) -> float | None:
    return job.submitted_at if job.submitted_at is not None else job.created_at


def _tokens(name: str) -> Callable[[Job], float | None]:
    return lambda job: getattr(job.usage, name) if job.usage else None


def _labels(job: Job) -> str:
    return ",".join(f"{name}={value}" for name, value in sorted(job.labels.items()))


def _reason(job: Job) -> str | None:
    """Return why a job is as it is: its error, or the last fault of asking."""
    if job.error is not None:
        return f"{job.error.code}: {job.error.message}"
    return job.incomplete_reason or job.last_error


def _calls(job: Job) -> str | None:
    """Return the calls that wait for their caller, or what is to be approved."""
    waits = job.ended_with in {EndedWith.CALLS, EndedWith.APPROVAL}
    if not (waits and job.told and job.status.has_answer):
        return None
    said = job.told.removeprefix("with text, and ").removeprefix("without text: ")
    return said.removeprefix("calls ")


def _attribute(name: str) -> Callable[[Job], Any]:
    return lambda job: getattr(job, name)


def _of_record(name: str) -> Callable[[Job], Any]:
    return lambda job: job.to_record().get(name)


COLUMNS: Final[Mapping[str, Column]] = {
    "id": Column(_attribute("ref")),
    "name": Column(_attribute("name")),
    "status": Column(lambda job: job.status.value),
    "age": Column(_submitted, ColumnKind.MOMENT, "AGE", "SUBMITTED"),
    "queue": Column(queue_time, ColumnKind.SPAN),
    "run": Column(run_time, ColumnKind.SPAN),
    "took": Column(took, ColumnKind.SPAN, most=longest),
    "model": Column(_attribute("wanted_model")),
    "tokens": Column(_tokens("total_tokens")),
    "tokens_in": Column(_tokens("input_tokens")),
    "tokens_out": Column(_tokens("output_tokens")),
    "tokens_reasoning": Column(_tokens("reasoning_tokens")),
    "tokens_cached": Column(_tokens("cached_tokens")),
    "cost": Column(_tokens("cost")),
    "expires": Column(
        _attribute("expires_at"), ColumnKind.END, "KEPT FOR", "KEPT UNTIL"
    ),
    "started": Column(_attribute("started_at"), ColumnKind.MOMENT),
    "finished": Column(_attribute("finished_at"), ColumnKind.MOMENT),
    "labels": Column(_labels),
    "reason": Column(_reason),
    "calls": Column(_calls),
}
DEFAULT: Final = ("id", "name", "status", "age", "took", "model", "tokens", "expires")
WIDE: Final = (*DEFAULT, "group", "labels", "profile", "key", "reason")
TIMELINE: Final = ("id", "name", "status", "age", "started", "finished", "queue", "run")
_RECORD: Final = {
    name: Column(_attribute(name), ColumnKind.MOMENT, exact=True)
    if name.endswith("_at")
    else Column(_of_record(name))
    for name in RECORD_FIELDS
}
_DERIVED: Final = tuple(name for name in COLUMNS if name not in RECORD_FIELDS)
FIELDS: Final = (*RECORD_FIELDS, "text", *_DERIVED)


def column(name: str) -> Column:
    """Return a column by the name of a field."""
    return COLUMNS.get(name) or _RECORD.get(name) or Column(lambda _: None)


def heading(name: str, look: Look) -> str:
    """Return what stands above a column."""
    found = column(name)
    return (found.head if look.relative else found.exact_head) or name.upper()


def check_fields(wanted: tuple[str, ...], known: tuple[str, ...] = FIELDS) -> None:
    """Refuse names that are no field.

    Raises UsageError, which says what was probably meant.
    """
    for name in wanted:
        if name not in known:
            meant = did_you_mean(name, known)
            said = "one of " + " ".join(sorted(known))
            raise UsageError(f"no field {name!r}", hint=meant + said)


def record(
    job: Job, wanted: tuple[str, ...] = (), *, text: str | None = None
) -> dict[str, Any]:
    """Return a job's JSON record, with its text where given, cut down to `wanted`."""
    whole = job.to_record()
    if text is not None:
        whole["text"] = text
    if not wanted:
        return whole
    derived = {name: COLUMNS[name].plain(job) for name in wanted if name in COLUMNS}
    return {name: whole.get(name, derived.get(name)) for name in wanted}


def reason(job: Job) -> str:
    """Return why a job ended other than completed, in the endpoint's words: a line."""
    if job.incomplete_reason:
        return one_line(job.incomplete_reason)
    if job.error is not None:
        return one_line(f"{job.error.code}: {job.error.message}")
    return (job.last_error or "") if job.status is Status.LOST else ""


# Where what an answer ended with is to be had, where that is not its text.
_PARTS: Final = {
    EndedWith.CALLS: "tools",
    EndedWith.APPROVAL: "tools",
    EndedWith.REFUSAL: "refusal",
    EndedWith.MEDIA: "images -o FILE",
}


def told_of(job: Job) -> str:
    """Return how an answer ended other than in text alone, and how to get it."""
    how = job.ended_with
    if not job.told or how is None or not job.status.has_answer:
        return ""
    if how is EndedWith.NOTHING and job.status is not Status.COMPLETED:
        return ""
    part = _PARTS.get(how)
    if how is EndedWith.MEDIA and "image" not in job.told:
        part = "files"
    if how is EndedWith.NOTHING:
        part = next((p for p in ("commentary", "reasoning") if p in job.told), "raw")
    return f"{job.told} (bgresp get {job.quoted} --part {part})"


def at_most(seconds: float) -> str:
    """Write a span for people that may have been shorter."""
    return f"≤ {brief(seconds)}"


def summary(job: Job) -> str:
    """Return a job's status in a few words: why, how long, how many tokens."""
    why = reason(job)
    parts = [job.status.value, f"({why})"] if why else [job.status.value]
    if told := told_of(job):
        parts.append(told)
    if (seconds := longest(job)) is not None:
        parts.append(f"{'in' if job.took_exact else 'within'} {brief(seconds)}")
    if job.usage is not None and job.usage.total_tokens is not None:
        parts.append(f"{job.usage.total_tokens} tokens")
    return " ".join(parts)
