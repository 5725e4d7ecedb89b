"""Creates of many drafts pass one limiter: never more, never sooner than was said."""

import asyncio
import tempfile
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgresp.api.transport import Sent
from bgresp.core.errors import BgrespError, UnreachableError
from bgresp.core.model import Job
from bgresp.core.request import Draft
from bgresp.core.signals import Fault, FaultKind, Signal, Snapshot
from bgresp.engine.endpoints import BURST, PacedQueue, RateLimiter
from bgresp.engine.recorder import Recorder
from bgresp.engine.submit import Submitter
from tests.scripted import EPOCH, Scripted, recorder_at, refusal, snapshot
from tests.virtualclock import run_virtual

# What the endpoint answers one after the other: (kind, seconds until the answer, wait).
ANSWERS = st.lists(
    st.tuples(
        st.sampled_from(["taken", "limited", "unreachable", "refused"]),
        st.floats(0, 3),
        st.none() | st.floats(0, 40),
    ),
    max_size=25,
)


@dataclass(slots=True)
class Telling(Scripted):
    """Notes when each request left, and until when each answer asked for silence."""

    answers: list[tuple[str, float, float | None]] = field(default_factory=list)
    left: list[float] = field(default_factory=list)
    silences: list[tuple[float, float]] = field(default_factory=list)
    _numbers: "count[int]" = field(default_factory=count)

    async def create(
        self, body: bytes, *, key: str, stream: bool, sent: Sent
    ) -> AsyncGenerator[Signal, None]:
        loop = asyncio.get_running_loop()
        self.left.append(loop.time())
        number = next(self._numbers)
        asked = self.answers[number] if number < len(self.answers) else None
        kind, late, wait = asked or ("taken", 0.1, None)
        sent.started = kind != "unreachable"
        await asyncio.sleep(late)
        if wait is not None and kind != "unreachable":
            self.silences.append((loop.time(), loop.time() + wait))
        yield _answer(kind, wait, number)


def _answer(kind: str, wait: float | None, number: int) -> Signal:
    if kind == "limited":
        return refusal(429, FaultKind.RATE_LIMITED, retry_after=wait)
    if kind == "refused":
        return refusal(400, FaultKind.REFUSED, retry_after=wait)
    if kind == "unreachable":
        return Fault(FaultKind.UNREACHABLE, "Connection refused")
    taken = snapshot("queued", id=f"resp_{number}")
    assert isinstance(taken, Snapshot)
    return taken._replace(retry_after=wait)


def _sent(endpoint: Telling, queue: PacedQueue, drafts: int) -> None:
    async def main(state: Path) -> None:
        sender = Submitter(
            endpoint.api,
            recorder_at(state),
            lambda _: None,
            jitter=lambda: 0.5,
            queue=queue,
            patience=1e6,
        )
        draft = Draft(Job("", submitted_at=EPOCH), {}, keep=False)
        await asyncio.gather(*(sender.submit(draft) for _ in range(drafts)))

    with tempfile.TemporaryDirectory() as folder:
        run_virtual(main(Path(folder)))


@settings(max_examples=30)
@given(
    answers=ANSWERS,
    drafts=st.integers(1, 12),
    rate=st.sampled_from([0.0, 0.5, 5.0]),
    every=st.sampled_from([0.0, 0.7, 2.0]),
)
def test_no_create_leaves_before_what_the_endpoint_said(
    answers: list[tuple[str, float, float | None]],
    drafts: int,
    rate: float,
    every: float,
) -> None:
    """Whatever is answered, no request leaves too soon, or faster than the rate."""
    endpoint = Telling(answers=answers)
    _sent(endpoint, PacedQueue(RateLimiter(rate), every), drafts)
    assert drafts <= len(endpoint.left)
    for at in endpoint.left:
        for told, until in endpoint.silences:
            assert not told + 1e-9 < at < until - 1e-9
    times = sorted(endpoint.left)
    assert all(b - a >= every - 1e-6 for a, b in pairwise(times))
    if rate:
        for n, start in enumerate(times):
            for m in range(n, len(times)):
                assert m - n + 1 <= rate * (times[m] - start) + BURST + 1e-6


def test_a_wait_in_the_lane_takes_no_turn_from_polls() -> None:
    """While creates leave one a minute, the polls go on at the limiter's pace."""

    async def main() -> tuple[list[float], float]:
        limiter = RateLimiter(5.0)
        queue, passed = PacedQueue(limiter, 60.0), list[float]()
        loop = asyncio.get_running_loop()

        async def create() -> None:
            await queue.turn()
            passed.append(loop.time())

        creates = [asyncio.create_task(create()) for _ in range(3)]
        await asyncio.sleep(1)
        for _ in range(50):
            await limiter.turn()
        polled = loop.time()
        await asyncio.gather(*creates)
        return passed, polled

    passed, polled = run_virtual(main())
    assert [0.0, 60.0, 120.0] == pytest.approx(passed)
    assert polled < 12


def test_too_long_a_wait_is_said_and_nothing_is_written(tmp_path: Path) -> None:
    """A limit that is spent for hours ends the submit before an intent is written."""

    async def main() -> BgrespError:
        limiter = RateLimiter(0.0)
        limiter.hold(7200.0)
        recorder = recorder_at(tmp_path)
        sender = Submitter(
            Telling().api,
            recorder,
            lambda _: None,
            jitter=lambda: 0.5,
            queue=PacedQueue(limiter),
        )
        with pytest.raises(UnreachableError) as raised:
            await sender.submit(Draft(Job("", submitted_at=EPOCH), {}))
        return raised.value

    assert "2h00m" in run_virtual(main()).message
    assert not (tmp_path / "ledger.jsonl").exists()


def test_what_is_told_between_the_turn_and_the_request_is_heard(tmp_path: Path) -> None:
    """A POST leaves though another draft was told to wait just before it."""
    endpoint, limiter = Telling(), RateLimiter(0.0)

    async def main() -> None:
        recorder = recorder_at(tmp_path)

        def now() -> float:  # asked when the turn has come, before the intent
            if not endpoint.left:
                limiter.hold(30.0)
            return recorder.now()

        told = Recorder(recorder.ledger, recorder.answers, now)
        sender = Submitter(
            endpoint.api,
            told,
            lambda _: None,
            jitter=lambda: 0.5,
            queue=PacedQueue(limiter),
        )
        await sender.submit(Draft(Job("", submitted_at=EPOCH), {}, keep=False))

    run_virtual(main())
    assert [30.0] == endpoint.left
