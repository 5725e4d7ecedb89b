"""One line of the journal: a job's whole record with a checksum; pure."""

import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bgresp.core.model import LEDGER_VERSION, Job, Status, may_be_key

_SEALED: Final = re.compile(rb',"c":"([0-9a-f]{8})"\}$')
_STATUSES: Final = frozenset(map(str, Status))
_TAIL: Final = len(b',"c":"00000000"}')


class BadLineError(ValueError):
    """A line that cannot be read; it is kept, and costs the others nothing."""


@dataclass(frozen=True, slots=True)
class Line:
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
    sealed = _SEALED.search(raw)
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
    return _job(table)


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
