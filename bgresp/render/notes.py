"""Which notes about many jobs are worth a line."""

from dataclasses import dataclass, field
from typing import Final

from bgresp.core.outage import AGAIN, TRYING

MOST: Final = 20  # different notes that are shown; more would be a flood


@dataclass(slots=True)
class Notes:
    """What was said; to many alike it is said once."""

    _said: set[str] = field(default_factory=set)

    def take(self, message: str) -> bool:
        """Say whether a note is worth a line; the next outage is told again."""
        if message.startswith(AGAIN):
            self._said = {each for each in self._said if not each.endswith(TRYING)}
            return True
        if message in self._said or len(self._said) >= MOST:
            return False
        self._said.add(message)
        return True
