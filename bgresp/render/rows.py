"""Jobs as rows: tab-separated in a pipe, an aligned table on a terminal.

May import core and render.streams.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from bgresp.core.board import took
from bgresp.core.model import Job, Status
from bgresp.core.printable import one_line
from bgresp.core.times import brief, rfc3339
from bgresp.render.streams import Streams, as_json

Cell = Callable[[Job, float], str]
NONE: Final = "-"


def _age(job: Job, now: float) -> str:
    start = job.submitted_at or job.created_at
    return NONE if start is None else brief(now - start)


def _took(job: Job, now: float) -> str:
    del now
    seconds = took(job)
    return NONE if seconds is None else brief(seconds)


def _tokens(job: Job, now: float) -> str:
    del now
    total = job.usage.total_tokens if job.usage else None
    return NONE if total is None else str(total)


def _status(job: Job, now: float) -> str:
    del now
    asked = job.cancel_requested_at is not None and job.status.is_open
    return f"{job.status.value} (cancelling)" if asked else job.status.value


def _text(name: str) -> Cell:
    def cell(job: Job, now: float) -> str:
        del now
        value = getattr(job, name)
        return NONE if value is None or value == "" else str(value)

    return cell


def _field(name: str) -> Cell:
    """Return the cell of a field of the record: text as it is, else JSON."""

    def cell(job: Job, now: float) -> str:
        del now
        value = job.to_record().get(name)
        if value is None or value == "":
            return NONE
        return value if isinstance(value, str) else as_json(value)

    return cell


def _moment(name: str) -> Cell:
    return lambda job, _: rfc3339(getattr(job, name)) or NONE


def _left(job: Job, now: float) -> str:
    """Return how long the endpoint keeps a job still: what a person wants to know."""
    if job.expires_at is None:
        return NONE
    return brief(job.expires_at - now) if job.expires_at > now else "over"


def _labels(job: Job, now: float) -> str:
    del now
    return ",".join(f"{k}={v}" for k, v in sorted(job.labels.items())) or NONE


COLUMNS: Final[dict[str, Cell]] = {
    "id": lambda job, _: job.id or job.key,
    "name": _text("name"),
    "status": _status,
    "age": _age,
    "took": _took,
    "model": _text("model"),
    "tokens": _tokens,
    "expires": _moment("expires_at"),
    "labels": _labels,
}
DEFAULT: Final = ("id", "name", "status", "age", "took", "model", "tokens", "expires")
_COLOURS: Final = {
    Status.COMPLETED: "32",
    Status.IN_PROGRESS: "36",
    Status.QUEUED: "36",
    Status.FAILED: "31",
    Status.LOST: "31",
    Status.REJECTED: "31",
    Status.UNKNOWN: "35",
    Status.INCOMPLETE: "33",
    Status.CANCELLED: "33",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of jobs on one pair of streams; `now` dates the ages."""

    streams: Streams
    now: float
    columns: Sequence[str] = DEFAULT

    def show(self, jobs: Iterable[Job]) -> None:
        """Write the rows; on a terminal with a heading, and aligned."""
        if not self.streams.out_is_terminal:
            for job in jobs:
                self.streams.line("\t".join(self.cells(job)))
            return
        found = list(jobs)
        if found:
            self._aligned(found)

    def cells(self, job: Job) -> list[str]:
        """Return one row, each cell on one line and without tabs."""
        return [one_line(self._cell(name)(job, self.now)) for name in self.columns]

    def _cell(self, name: str) -> Cell:
        if name == "expires" and self.streams.out_is_terminal:
            return _left
        return COLUMNS[name] if name in COLUMNS else _field(name)

    def _aligned(self, jobs: list[Job]) -> None:
        from rich.cells import cell_len

        heading = [name.upper() for name in self.columns]
        rows = [self.cells(job) for job in jobs]
        widths = [
            max(map(cell_len, column)) for column in zip(heading, *rows, strict=True)
        ]
        self._row(heading, widths, "1")
        for job, row in zip(jobs, rows, strict=True):
            self._row(row, widths, _COLOURS.get(job.status, ""))

    def _row(self, cells: list[str], widths: list[int], colour: str) -> None:
        from rich.cells import cell_len

        padded = [
            cell + " " * (width - cell_len(cell))
            for cell, width in zip(cells, widths, strict=True)
        ]
        text = "  ".join(padded).rstrip()
        if self.streams.colour and colour:
            text = f"\x1b[{colour}m{text}\x1b[0m"
            self.streams.raw(text.encode("utf-8", "backslashreplace") + b"\n")
        else:
            self.streams.line(text)
