"""Deliveries of webhooks on disk: each once, and what of them is still to be done.

`STATE/webhooks.jsonl` has a line for each delivery that came and one for each that was
dealt with. One process at a time writes it; the caller holds its lock.
"""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bgresp.ledger import files, journal

KEPT: Final = 72 * 3600.0  # an endpoint may deliver again for so long
MOST: Final = 100_000  # deliveries that are remembered; the oldest go first
_SLACK: Final = 1_000


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a delivery says: its own id, the kind of event, and the job's id.

    `job_id` is None where it is about no job. `at` is when it came, in Unix seconds.
    """

    id: str
    type: str
    job_id: str | None
    at: float


class Deliveries:
    """What was delivered in the last days, and whether it was dealt with."""

    def __init__(self, state: Path, now: Callable[[], float]) -> None:
        """Name the file; `load` reads it."""
        self.path = state / "webhooks.jsonl"
        self._now = now
        self._seen: dict[str, Delivery | None] = {}  # None: it was dealt with
        self._times: dict[str, float] = {}
        self._lines = 0

    def load(self) -> list[Delivery]:
        """Read the file; return what was not dealt with. Raises LedgerError."""
        for line in journal.read(self.path):
            self._lines += 1
            self._fold(line.raw)
        self._compact()
        return [one for one in self._seen.values() if one is not None]

    def __contains__(self, id_: str) -> bool:
        """Say whether a delivery is on disk already."""
        return id_ in self._seen

    def append(self, came: Iterable[Delivery], done: Iterable[str] = ()) -> None:
        """Write down, synced, what came and what was dealt with. Raises LedgerError.

        Any thread may, one at a time.
        """
        lines = [_line(one) for one in came]
        lines += [json.dumps({"id": id_, "done": self._now()}) for id_ in done]
        if not lines:
            return
        journal.append(self.path, "".join(f"{line}\n" for line in lines).encode())
        for line in lines:
            self._fold(line.encode())
        self._lines += len(lines)
        if self._lines > 3 * len(self._seen) + _SLACK:
            self._compact()

    def _fold(self, raw: bytes) -> None:
        """Take a line; one that is none, as a torn one, costs itself alone."""
        try:
            found = json.loads(raw)
            id_, done = str(found["id"]), found.get("done")
            if done is not None:
                self._times[id_] = self._times.get(id_, float(done))
                self._seen[id_] = None
                return
            at = float(found["at"])
            delivery = Delivery(id_, str(found["type"]), str(found["job"]), at)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return
        self._seen.setdefault(id_, delivery)
        self._times.setdefault(id_, at)

    def _compact(self) -> None:
        """Write the file anew without what is too old to come again."""
        oldest = self._now() - KEPT
        recent = [id_ for id_ in self._seen if self._times[id_] >= oldest][-MOST:]
        self._seen = {id_: self._seen[id_] for id_ in recent}
        self._times = {id_: self._times[id_] for id_ in recent}
        if self._lines <= len(recent):
            return
        lines = [
            _line(one)
            if one is not None
            else json.dumps({"id": id_, "done": self._times[id_]})
            for id_, one in self._seen.items()
        ]
        files.replace(self.path, "".join(f"{line}\n" for line in lines).encode())
        self._lines = len(lines)


def _line(one: Delivery) -> str:
    said: dict[str, Any] = {"id": one.id, "type": one.type, "job": one.job_id}
    return json.dumps({**said, "at": one.at})
