"""An endpoint that does not answer: told once, however many jobs notice."""

from dataclasses import dataclass, field
from typing import Final

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
