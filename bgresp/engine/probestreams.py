"""Probe the streams of one job: at its creation, later, and after a cursor."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from bgresp.api.client import Api
from bgresp.core.capabilities import Ability
from bgresp.core.model import Status
from bgresp.core.signals import Cursor, Event, Fault, FaultKind, Signal
from bgresp.engine.findings import NO, UNKNOWN, YES, Findings

ENOUGH: Final = 3  # events of the creating stream, before it is left
PATIENCE: Final = 30.0  # for the next sign of a stream


@dataclass(slots=True)
class Streams:
    """The streams of one endpoint; `left` says that one was left before its end."""

    api: Api
    findings: Findings
    left: bool = False

    async def read_some(self, signals: AsyncGenerator[Signal, None]) -> Cursor | None:
        """Read until the job runs and some events came; return the last number."""
        cursor: Cursor | None = None
        count, runs = 0, False
        async with aclosing(signals) as source:
            while count < ENOUGH or not runs:
                signal = await _next(source)
                if not isinstance(signal, Event):
                    return cursor
                count += 1
                cursor = cursor if signal.sequence is None else signal.sequence
                runs |= self._runs(signal)
                if signal.terminal:
                    return cursor
        self.left = True
        return cursor

    def _runs(self, event: Event) -> bool:
        reading = event.reading
        if reading is not None and reading.background is False:
            said = "ignored: the reply says background: false"
            self.findings.note(Ability.BACKGROUND, NO, said)
        return reading is None or reading.status is not Status.QUEUED

    async def later(self, id_: str, cursor: Cursor | None) -> None:
        """Open the stream again after what was read, then without a cursor."""
        if not self.api.can("stream"):
            self.findings.absent(Ability.STREAM_LATER)
            self.findings.absent(Ability.RESUME)
            return
        minds = bool(self.api.endpoint.dialect.streaming.resume)
        if cursor is not None and minds and await self._resumed(id_, cursor):
            return
        first = await self._first_of(id_, None)
        if isinstance(first, Event):
            self.findings.note(Ability.STREAM_LATER, YES, "its events come later too")
        else:
            self.findings.refused(Ability.STREAM_LATER, first)

    async def _resumed(self, id_: str, cursor: Cursor) -> bool:
        """Say whether the stream opened after a cursor; then both are settled."""
        first = await self._first_of(id_, cursor)
        if not isinstance(first, Event):
            self.findings.refused(Ability.RESUME, first)
            return False
        self.findings.note(Ability.STREAM_LATER, YES, "its events come later too")
        number = first.sequence
        if not isinstance(number, int) or not isinstance(cursor, int):
            said = f"began with {number!r} after {cursor!r}"
            self.findings.note(Ability.RESUME, UNKNOWN, said)
        elif number < cursor:
            said = f"the cursor {cursor} is not minded: it began with {number}"
            self.findings.note(Ability.RESUME, NO, said)
        else:
            said = f"went on with {number} after {cursor}"
            self.findings.note(Ability.RESUME, YES, said)
        return True

    async def _first_of(self, id_: str, cursor: Cursor | None) -> Signal:
        async with aclosing(self.api.stream(id_, cursor)) as source:
            return await _next(source)


async def _next(signals: AsyncGenerator[Signal, None]) -> Signal:
    try:
        async with asyncio.timeout(PATIENCE):
            return await anext(signals)
    except TimeoutError:
        return Fault(FaultKind.IDLE, f"nothing came for {PATIENCE:.0f} s")
    except StopAsyncIteration:
        return Fault(FaultKind.CLOSED, "the stream ended")
