"""Who is told while the engine works.

The engine only knows this protocol; renderers fulfil it without knowing the engine.
"""

from dataclasses import dataclass
from typing import Protocol

from bgresp.core.model import Job


@dataclass(frozen=True, slots=True)
class View:
    """How following a job stands, for people: times in seconds of a monotonic clock.

    `retry_at` is set while the endpoint does not answer.
    """

    mode: str
    characters: int = 0
    deltas: int = 0
    reconnects: int = 0
    last_event_at: float | None = None
    retry_at: float | None = None


class Audience(Protocol):
    """Told of everything, in order; may raise OSError when stdout is gone."""

    def changed(self, job: Job, view: View) -> None:
        """Take news of a job's status."""

    def moved(self, job: Job, view: View) -> None:
        """Take a sign of life that changed no status."""

    def text(self, job: Job, fresh: str) -> None:
        """Write text that continues what was shown."""

    def end_line(self, job: Job) -> None:
        """End the line of the text: it is whole, and does not end one itself."""

    def event(self, job: Job, raw: str) -> None:
        """Take one event of the endpoint, its JSON as it came."""

    def note(self, job: Job, message: str) -> None:
        """Say something about a job that is no news of its status."""

    def ended(self, job: Job, text: str) -> None:
        """Take the last word: the job's record and its whole text."""
