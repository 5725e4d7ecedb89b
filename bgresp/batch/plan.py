"""What a batch is run by: how wide, how long, and where its news goes."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from bgresp.batch.standing import Rules
from bgresp.core.errors import BgrespError, ExitCode
from bgresp.core.model import Job
from bgresp.engine.tracker import Tracker


class Desk(Protocol):
    """Where a batch's news goes."""

    def accepted(self, job: Job) -> None:
        """Take the job of a row, in the order of the rows."""

    def failed(self, job: Job, error: BgrespError) -> None:
        """Take why a row has no job; its record says what is known."""

    def ended(self, job: Job) -> None:
        """Take the job of a row that is over, in the order of ending."""

    def leaving(self, posting: int) -> None:
        """Take that we are asked to leave while so many requests are on their way."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How a batch is run: so many POSTs, and rows, at once.

    `track` returns who follows a job, None where that is over; without it nobody waits.
    """

    rules: Rules
    posts: int
    in_flight: int
    limit: int | None = None
    max_failures: int | None = None
    track: Callable[[Job], Awaitable[Tracker | None]] | None = None


@dataclass(slots=True)
class Tally:
    """What became of the rows, and an exit code for each thing that went wrong.

    `accepted` counts the rows that got their job, `kept` those that had it; of the
    `failures` those `refused` and otherwise `unsent` have none.
    """

    accepted: int = 0
    kept: int = 0
    failures: int = 0
    refused: int = 0
    unsent: int = 0
    codes: set[int] = field(default_factory=set)

    def fail(self, code: ExitCode, *, has_job: bool) -> None:
        """Count a row that went wrong."""
        self.failures += 1
        self.refused += not has_job and code is ExitCode.REFUSED
        self.unsent += not has_job and code is not ExitCode.REFUSED
        self.codes.add(int(code))
