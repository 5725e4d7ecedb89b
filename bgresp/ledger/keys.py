"""Keys of jobs: 26 characters, sortable by time, never reused. Pure.

The form is a ULID's: 48 bits of milliseconds, 80 random bits, Crockford's base 32.
"""

from dataclasses import dataclass
from typing import Final

from bgresp.core.errors import LedgerError

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
LENGTH: Final = 26
_RANDOM_BITS: Final = 80
_LAST: Final = (1 << 128) - 1
# How far a key may lie ahead of the clock: clocks differ, but not by more.
_AHEAD: Final = 86_400.0


def make(now: float, random: int, *, after: str | None) -> str:
    """Return a key for this moment, greater than `after` whatever the clock says.

    `random` holds 80 random bits. Raises LedgerError where no key is left after it.
    """
    milliseconds = min(max(int(now * 1000), 0), (1 << 48) - 1)
    value = milliseconds << _RANDOM_BITS | random & ((1 << _RANDOM_BITS) - 1)
    if after is not None and is_key(after):
        value = max(value, _number(after) + 1)
    if value > _LAST:
        raise LedgerError(f"no key comes after {after}", hint="bgresp doctor")
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def horizon(moment: float) -> str:
    """Return the greatest key that is not ahead of time; a sane one sorts up to it.

    A greater one, of whatever form, was not given by a clock: it never counts as the
    last.
    """
    return make(moment + _AHEAD, (1 << _RANDOM_BITS) - 1, after=None)


@dataclass(slots=True)
class Latest:
    """The greatest key that was met up to a horizon, and the smallest beyond it.

    Either is "" where there is none.
    """

    horizon: str = ""
    last: str = ""
    ahead: str = ""

    def take(self, key: str) -> None:
        """Take a key into account; what has not the form of one is passed over."""
        if self.last < key <= self.horizon and is_key(key):
            self.last = key
        elif key > self.horizon and (not self.ahead or key < self.ahead):
            self.ahead = key if is_key(key) else self.ahead

    def join(self, other: "Latest") -> None:
        """Take another range's keys into account, met under the same horizon."""
        self.last = max(self.last, other.last)
        self.ahead = min(filter(None, (self.ahead, other.ahead)), default="")

    def holds(self, horizon: str) -> bool:
        """Say whether no key has changed sides since: a clock may be set either way."""
        return self.last <= horizon and not (self.ahead and self.ahead <= horizon)


def is_key(text: str) -> bool:
    """Say whether a text has the form of a key."""
    return len(text) == LENGTH and all(char in _ALPHABET for char in text)


def _number(key: str) -> int:
    value = 0
    for char in key:
        value = value << 5 | _ALPHABET.index(char)
    return value
