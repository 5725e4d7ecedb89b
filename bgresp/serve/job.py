"""One open job: its Response object, its events, and the ways it can end.

Each change is on disk before anyone sees it. Imports `wire`, `log`, `store`.
"""

import asyncio
import json
from collections.abc import Callable
from dataclasses import replace

from bgresp.serve import wire
from bgresp.serve.engines import Outcome
from bgresp.serve.log import Event, EventLog
from bgresp.serve.store import Entry, Store
from bgresp.serve.wire import Json

Clock = Callable[[], float]


class Job:
    """A job that is queued or in progress, until it ends, once."""

    def __init__(
        self, entry: Entry, response: Json, *, store: Store, clock: Clock
    ) -> None:
        """Take up a job that is in the store."""
        self.id = entry.id
        self.response = response
        self.log: EventLog | None = None
        self.started: float | None = None
        self.ended = asyncio.Event()
        self.saved = False
        self._entry = entry
        self._store = store
        self._clock = clock
        self._pieces: list[str] = []

    def open(self) -> None:
        """Emit the first events of a new job."""
        if self._entry.streamable:
            self.log = EventLog(self._store.events_path(self.id))
            self.log.append(*wire.opening(self.response))

    def reopen(self) -> None:
        """Take up the events that an earlier process left."""
        if self._entry.streamable:
            events = self._store.events(self.id)
            self.log = EventLog(self._store.events_path(self.id), events)
            self._pieces = [_delta(event) for event in events if _is_delta(event)]

    def growing(self) -> tuple[str, int]:
        """Return the text so far, and in how many pieces it came."""
        return "".join(self._pieces), len(self._pieces)

    def request(self) -> Json:
        """Read the body that created the job."""
        return self._store.request(self.id)

    def start(self) -> None:
        """Go from queued to in progress."""
        self.started = self._clock()
        self.response = {**self.response, "status": "in_progress"}
        self._store.put(self._entry, self.response)
        self._emit(wire.lifecycle("in_progress", self.response))

    def add(self, piece: str) -> None:
        """Take a piece of text from the engine."""
        if self.ended.is_set():
            return
        if not self._pieces:
            self._emit(*wire.message_begun(self.id))
        self._pieces.append(piece)
        self._emit(wire.delta(self.id, piece))

    def finish(self, outcome: Outcome) -> None:
        """End as completed, or incomplete when the engine stopped short."""
        if self.ended.is_set():
            return
        reason = outcome.incomplete_reason
        status = "incomplete" if reason else "completed"
        if not self._pieces:
            self.add("")
        item = wire.message(self.id, status, "".join(self._pieces))
        self._emit(*wire.message_done(self.id, item))
        self._end(
            status,
            output=[item],
            usage=wire.usage(outcome.input_tokens, outcome.output_tokens),
            incomplete_details={"reason": reason} if reason else None,
        )

    def fail(self, code: str, message: str) -> None:
        """End as failed; what text there is stays."""
        error = {"code": code, "message": message}
        self._end("failed", output=self._partial(), error=error)

    def cancel(self) -> None:
        """End as cancelled; what text there is stays."""
        self._end("cancelled", output=self._partial())

    def _partial(self) -> list[Json]:
        if not self._pieces:
            return []
        return [wire.message(self.id, "incomplete", "".join(self._pieces))]

    def _end(self, status: str, **fields: object) -> None:
        if self.ended.is_set():
            return
        now = self._clock()
        completed_at = int(now) if status == "completed" else None
        changed = {"status": status, "completed_at": completed_at, **fields}
        self.response = {**self.response, **changed}
        self.ended.set()
        try:
            self._store.put(replace(self._entry, ended=now), self.response)
            self.saved = True
        finally:
            # OpenAI names no event for cancelled; this one is what MKA1 sends.
            self._emit(wire.lifecycle(status, self.response))
            if self.log is not None:
                self.log.close()

    def _emit(self, *payloads: Json) -> None:
        if self.log is not None:
            self.log.append(*payloads)


def _is_delta(event: Event) -> bool:
    return event.type == "response.output_text.delta"


def _delta(event: Event) -> str:
    piece: str = json.loads(event.data)["delta"]
    return piece
