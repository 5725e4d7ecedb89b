"""One line of the journal: a job's whole record with a checksum, and its key. Pure.

A key is 26 characters, sortable by time, never reused. Its form is a ULID's: 48 bits of
milliseconds, 80 random bits, Crockford's base 32.
"""

import json
import re
import zlib
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from bgresp.core.errors import LedgerError
from bgresp.core.model import LEDGER_VERSION, Job, Status, may_be_key

_SEALED: Final = re.compile(rb',"c":"([0-9a-f]{8})"\}')
_STATUSES: Final = frozenset(map(str, Status))
_TAIL: Final = len(b',"c":"00000000"}')
_START: Final = b'{"v":'
_OUR_START: Final = b'{"v":1,'
_OPEN: Final = tuple(f'{s}"'.encode("ascii") for s in Status if s.is_open)
_OURS: Final = re.compile(rb'\{"v":1,"key":"([A-Za-z0-9_-]{1,64})"')
_CHECKSUM: Final = b',"c":"'
_LIKE_CHECKSUM: Final = re.compile(rb'[0-9a-f]{8}"?\}?')
# A number or a word that may go on behind the cut.
_BEGUN: Final = re.compile(rb"(?<=[:,\[])[-+.0-9a-zE]+$")
_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_DIGITS: Final = frozenset(_ALPHABET)
LENGTH: Final = 26
_RANDOM_BITS: Final = 80
_LAST: Final = (1 << 128) - 1
# How far a key may lie ahead of the clock: clocks differ, but not by more.
_AHEAD: Final = 86_400.0
_GREATEST: Final = _ALPHABET[-1] * 16  # the digits of random bits


class BadLineError(ValueError):
    """A line that cannot be read; it is kept, and costs the others nothing."""


class Line(NamedTuple):
    """What a line says: a job's record as a table, or that something newer wrote it."""

    table: Mapping[str, Any] | None
    newer: bool = False

    @property
    def key(self) -> str:
        """Return the job's key; only where there is a table."""
        return str((self.table or {})["key"])

    @property
    def job(self) -> Job | None:
        """Return the job; None where the line holds none, or one of odd shapes."""
        if self.table is None:
            return None
        try:
            return Job.from_line(self.table)
        except (KeyError, ValueError, TypeError, AttributeError):
            return None


def encode(job: Job) -> bytes:
    """Return the line of a job, newline included; ASCII only."""
    body = json.dumps(job.to_line(), ensure_ascii=True, separators=(",", ":"))
    return seal(body.encode("ascii"))


def seal(body: bytes) -> bytes:
    """Close a JSON object with the checksum of what stands before it."""
    return b'%b,"c":"%08x"}\n' % (body[:-1], zlib.crc32(body))


def decode(raw: bytes) -> Line:
    """Read one line without its newline.

    A line without a checksum is taken as it is: a person may have written it. Raises
    BadLineError with the reason.
    """
    sealed = _sealed(raw)
    if sealed:
        body = raw[:-_TAIL] + b"}"
        if zlib.crc32(body) != int(sealed[1], 16):
            raise BadLineError("the checksum does not match")
    try:
        table: Any = json.loads(raw)
    except (ValueError, RecursionError):
        raise BadLineError("not JSON") from None
    if not isinstance(table, dict):
        raise BadLineError("not an object")
    if "c" in table and not sealed:
        raise BadLineError("the checksum does not match")
    return _job(table)


def _sealed(raw: bytes) -> re.Match[bytes] | None:
    """Match the checksum at the end of a line."""
    return _SEALED.fullmatch(raw, max(len(raw) - _TAIL, 0))


def key_of(raw: bytes) -> str | None:
    """Return the key of the job in a line; None where it holds none that can be read.

    A line whose checksum holds is not parsed for it.
    """
    ours, sealed = _OURS.match(raw), _sealed(raw)
    if ours and sealed and zlib.crc32(raw[:-_TAIL] + b"}") == int(sealed[1], 16):
        return ours[1].decode("ascii")
    try:
        line = decode(raw)
    except BadLineError:
        return None
    return line.key if line.job is not None else None


def is_of_open_job(raw: bytes, key: str) -> bool:
    """Say whether a whole line of ours surely tells that a job is open.

    Nothing is parsed for it: there may be very many of them.
    """
    sealed = _sealed(raw)
    if not sealed or not raw.startswith(_OUR_START):
        return False
    begun = b'"key":"%b","status":"' % key.encode("ascii")
    at = raw.find(begun)
    if at < 0 or not raw.startswith(_OPEN, at + len(begun)):
        return False
    return zlib.crc32(raw[:-_TAIL] + b"}") == int(sealed[1], 16)


def is_cut_short(raw: bytes) -> bool:
    """Say whether a line that cannot be read is no more than the beginning of one.

    Then its write was torn, and never synced: nothing was sent on its word. What a
    power cut left unwritten of it reads as NULs.
    """
    begun = raw.rstrip(b"\0")
    if not begun.startswith(_START):
        return _START.startswith(begun)
    body, found, checksum = begun.rpartition(_CHECKSUM)
    if found and _is_closed(body, checksum):
        return False
    begun = _BEGUN.sub(b"", begun)
    try:
        json.loads(begun.decode("ascii"))
    except json.JSONDecodeError as error:
        if error.msg.startswith("Unterminated string"):
            return True
        left = len(begun) - error.pos
        return left == 0 or ("escape" in error.msg and left <= len("\\u0000"))
    except (ValueError, RecursionError):
        return False
    return False


def _is_closed(body: bytes, checksum: bytes) -> bool:
    """Say whether a line was written to its end, with a byte of that end changed.

    Where only its last byte is missing it was cut there, or that byte is a newline now:
    both cost nothing while the checksum holds.
    """
    if len(checksum) == len('00000000"'):
        fits = _LIKE_CHECKSUM.fullmatch(checksum) is not None
        return fits and checksum[:8] != b"%08x" % zlib.crc32(body + b"}")
    whole = b'00000000"}'
    return len(checksum) == len(whole) and any(
        _LIKE_CHECKSUM.fullmatch(
            checksum[:at] + whole[at : at + 1] + checksum[at + 1 :]
        )
        for at in range(len(whole))
    )


def _job(table: dict[str, Any]) -> Line:
    version = table.get("v", LEDGER_VERSION)
    if isinstance(version, int) and version > LEDGER_VERSION:
        return Line(None, newer=True)
    table.pop("c", None)
    if "kind" in table and "key" not in table:
        return Line(None)
    key = table.get("key")
    if not may_be_key(key):
        raise BadLineError("no key, or one that is none")
    status = table.get("status")
    if not isinstance(status, str) or status not in _STATUSES:
        raise BadLineError(f"no status that is known: {status!r}"[:80])
    return Line(table)


def new_key(now: float, random: int, *, after: str | None) -> str:
    """Return a key for this moment, greater than `after` whatever the clock says.

    `random` holds 80 random bits. Raises LedgerError where no key is left after it.
    """
    value = _milliseconds(now) << _RANDOM_BITS | random & ((1 << _RANDOM_BITS) - 1)
    if after is not None and is_key(after):
        value = max(value, _number(after) + 1)
    if value > _LAST:
        raise LedgerError(f"no key comes after {after}", hint="bgresp doctor")
    return _digits(value, LENGTH)


def key_horizon(moment: float) -> str:
    """Return the greatest key that is not ahead of time; a sane one sorts up to it.

    A greater one, of whatever form, was not given by a clock: it never counts as the
    last.
    """
    # What new_key makes of this moment and of random bits that are all set; each look
    # into the ledger asks for it.
    return _digits(_milliseconds(moment + _AHEAD), LENGTH - len(_GREATEST)) + _GREATEST


class LatestKeys:
    """The greatest key that was met up to a horizon, and the smallest beyond it.

    Either is "" where there is none.
    """

    def __init__(self, horizon: str = "", last: str = "", ahead: str = "") -> None:
        """Have met no key yet, or those up to a place."""
        self.horizon = horizon
        self.last = last
        self.ahead = ahead

    def take(self, key: str) -> None:
        """Take a key into account; what has not the form of one is passed over."""
        if self.last < key <= self.horizon and is_key(key):
            self.last = key
        elif key > self.horizon and (not self.ahead or key < self.ahead):
            self.ahead = key if is_key(key) else self.ahead

    def join(self, other: "LatestKeys") -> None:
        """Take another range's keys into account, met under the same horizon."""
        self.last = max(self.last, other.last)
        self.ahead = min(filter(None, (self.ahead, other.ahead)), default="")

    def holds(self, horizon: str) -> bool:
        """Say whether no key has changed sides since: a clock may be set either way."""
        return self.last <= horizon and not (self.ahead and self.ahead <= horizon)


def is_key(text: str) -> bool:
    """Say whether a text has the form of a key."""
    return len(text) == LENGTH and _DIGITS.issuperset(text)


def _milliseconds(moment: float) -> int:
    return min(max(int(moment * 1000), 0), (1 << 48) - 1)


def _digits(value: int, length: int) -> str:
    shifts = range(5 * (length - 1), -1, -5)
    return "".join([_ALPHABET[value >> shift & 31] for shift in shifts])


def _number(key: str) -> int:
    value = 0
    for char in key:
        value = value << 5 | _ALPHABET.index(char)
    return value
