"""Who is told while jobs are followed: what the engine says, and what may be shown.

An endpoint that does not answer is told once, however many jobs notice.

The engine calls an Observer and the renderers are Observers; neither knows the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from bgresp.core.model import Job
from bgresp.core.signals import Fault, FaultKind
from bgresp.core.times import brief

TRYING: Final = "; trying again"
AGAIN: Final = "the endpoint is reachable again"
_LASTING: Final = frozenset(
    {
        *(FaultKind.UNREACHABLE, FaultKind.RATE_LIMITED),
        *(FaultKind.UNREADABLE, FaultKind.AMBIGUOUS),
    }
)


@dataclass(frozen=True, slots=True)
class JobProgress:
    """How following a job stands, for people: times in seconds of a monotonic clock.

    `mode` is `stream` or `poll`; `deltas` counts the events that told text, about one a
    token. `retry_at` is set while the endpoint does not answer.
    """

    mode: str
    characters: int = 0
    deltas: int = 0
    reconnects: int = 0
    last_event_at: float | None = None
    retry_at: float | None = None


class Observer(Protocol):
    """Told of everything, in order; may raise OSError when stdout is gone.

    Each method does nothing unless an observer says otherwise. Whoever follows the jobs
    calls `start` first and `stop` last, and `tick` every `period` seconds in between.
    """

    __slots__ = ()

    period: ClassVar[float | None] = None  # None: nothing changes by itself
    is_drawn: ClassVar[bool] = False  # what moves goes away before the process stops

    def start(self, jobs: Iterable[Job] = ()) -> None:
        """Take the jobs that are followed; more may come."""
        return

    def stop(self) -> None:
        """Take the end: what moves is taken away."""
        return

    def tick(self) -> None:
        """Show how time has passed."""
        return

    def pause(self) -> None:
        """Leave the terminal to others until the next tick."""
        return

    def changed(self, job: Job, progress: JobProgress) -> None:
        """Take news of a job's status."""
        return

    def moved(self, job: Job, progress: JobProgress) -> None:
        """Take a sign of life that changed no status."""
        return

    def text(self, job: Job, fresh: str) -> None:
        """Write text that continues what was shown."""
        return

    def refusal(self, job: Job, fresh: str) -> None:
        """Write what continues a refusal: no answer, so it is told of always."""
        return

    def end_line(self, job: Job) -> None:
        """End the line of the text: it is whole, and does not end one itself."""
        return

    def event(self, job: Job, raw: str) -> None:
        """Take one event of the endpoint, its JSON as it came."""
        return

    def note(self, job: Job, message: str) -> None:
        """Say something about a job that is no news of its status."""
        return

    def ended(self, job: Job, text: str) -> None:
        """Take the last word: the job's record and its whole text."""
        return


@dataclass(slots=True)
class Outage:
    """What one endpoint's jobs know together; times in seconds of one clock.

    It lasts from the first question that fails until no job waits for an answer.
    """

    _away: set[str] = field(default_factory=set)
    _said: set[FaultKind] = field(default_factory=set)
    _since: float = 0.0

    def failed(self, key: str, fault: Fault, now: float) -> str | None:
        """Return what is worth a line of a failed question: each kind of fault once."""
        said = f"{fault.kind.value.replace('_', ' ')}: {fault.message}"
        if fault.kind not in _LASTING:
            return said
        if not self._away:
            self._said, self._since = set(), now
        self._away.add(key)
        if fault.kind in self._said:
            return None
        self._said.add(fault.kind)
        return said + TRYING

    def answered(self, key: str, now: float) -> str | None:
        """Return what is worth a line of an answer: that it was the last to come."""
        if key not in self._away:
            return None
        self.left(key)
        return None if self._away else f"{AGAIN} after {brief(now - self._since)}"

    def left(self, key: str) -> None:
        """Forget a job that is asked about no more."""
        self._away.discard(key)


def not_found(count: int, host: str) -> str:
    """Return what to say of several jobs that an endpoint has not, all at once."""
    said = f"{count} jobs are not found at {host}: another key, project or base URL?"
    return f"{said} None is taken for lost yet: bgresp doctor"


@dataclass(slots=True)
class Missing:
    """Which of an endpoint's jobs it said last that it has not."""

    _keys: set[str] = field(default_factory=set)
    _is_told: bool = False

    def add(self, key: str) -> bool:
        """Take one; say whether it is one of several."""
        self._keys.add(key)
        return len(self._keys) > 1

    def found(self, key: str) -> None:
        """Take that one is there, or is asked about no more."""
        self._keys.discard(key)
        self._is_told &= bool(self._keys)

    def to_tell(self, host: str) -> str | None:
        """Return what is worth a line: once, that several are missing."""
        if self._is_told or len(self._keys) < 2:
            return None
        self._is_told = True
        return not_found(len(self._keys), host)
