"""A fold over lines of the journal. May import core, ledger.journal and ledger.line."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from bgresp.core.model import Job, merge
from bgresp.ledger.journal import RawLine
from bgresp.ledger.line import BadLineError, decode


@dataclass(slots=True)
class Scan:
    """A fold over lines: the last state of each job with where it stands."""

    jobs: dict[str, tuple[Job, int]] = field(default_factory=dict)
    bad: list[tuple[int, str]] = field(default_factory=list)
    newer: bool = False
    stop: int = 0
    last: str = ""

    def take(self, lines: Iterable[RawLine], *, upto: int | None = None) -> None:
        """Fold lines in, up to an offset."""
        for line in lines:
            if upto is not None and line.end > upto:
                return
            self.stop = line.end
            if line.raw:
                self._one(line)

    def _one(self, line: RawLine) -> None:
        try:
            read = decode(line.raw)
        except BadLineError as error:
            self.bad.append((line.offset, str(error)))
            return
        self.newer |= read.newer
        if read.job is not None:
            old = self.jobs.get(read.job.key)
            job = merge(old[0], read.job) if old else read.job
            self.jobs[job.key] = (job, line.offset)
            self.last = max(self.last, job.key)
