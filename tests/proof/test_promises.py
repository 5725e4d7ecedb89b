"""T9: whatever happens in whatever order, what the README promises holds.

A state machine submits against an endpoint of values that accepts, refuses, loses
replies or cuts them; processes die, the clock jumps, lines are compacted and forgotten.
"""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core import update
from bgresp.core.model import Job, Status
from bgresp.core.request import Draft
from bgresp.core.signals import Fault, FaultKind, Reading, Signal, Snapshot
from bgresp.engine.recorder import Recorder
from bgresp.engine.resubmit import Keyed
from bgresp.engine.settle import Settling
from bgresp.engine.submit import Submitter
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.saved import Answers
from tests.endpoint import dialect, endpoint
from tests.proof.conftest import Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

OUTCOMES = ("accepts", "loses the reply", "cuts the reply", "refuses", "is away")
KEYS = ("nightly", "weekly", None, None)


class Values:
    """An endpoint of values: counts POSTs by key, and what it accepted."""

    def __init__(self) -> None:
        self.endpoint = endpoint("http://127.0.0.1:9/v1")
        self.posts: Counter[str] = Counter()
        self.accepted: dict[str, str] = {}
        self.outcome = "accepts"

    async def create(
        self, body: bytes, *, key: str, stream: bool, sent: Sent
    ) -> AsyncGenerator[Signal, None]:
        if self.outcome == "is away":
            yield Fault(FaultKind.UNREACHABLE, "Connection refused")
            return
        sent.started = True
        self.posts[key] += 1
        if self.outcome == "refuses":
            yield Fault(FaultKind.REFUSED, "no such model", http_status=400)
            return
        id_ = self.accepted.setdefault(key, f"resp_{len(self.accepted):04}")
        if self.outcome == "accepts":
            yield Snapshot(Reading(Status.QUEUED, "queued", id=id_), b"{}")
        elif self.outcome == "loses the reply":
            yield Fault(FaultKind.CLOSED, "Connection reset by peer")
        else:
            yield Fault(FaultKind.AMBIGUOUS, "accepted, but not JSON in the reply")

    def can(self, op: str) -> bool:
        return op in dialect().ops


class Promises(RuleBasedStateMachine):
    """Submits, deaths, recoveries, forgetting; the invariants are the promises."""

    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.state = Path(self.folder.name)
        self.values = Values()
        self.clock = 1_790_000_000.0
        self.printed: set[str] = set()
        self.forgotten: set[str] = set()
        self.under: dict[str, set[str]] = {}

    def teardown(self) -> None:
        self.folder.cleanup()

    def recorder(self) -> Recorder:
        """Record as a fresh process would."""
        ledger = Ledger(self.state, now=lambda: self.clock, run_bytes=2000)
        return Recorder(ledger, Answers(self.state), lambda: self.clock)

    def draft(self, key: str | None) -> Job:
        return Job(
            key="",
            submit_key=key,
            submitted_at=self.clock,
            base_url="http://127.0.0.1:9/v1",
            dialect="openai",
        )

    @rule(target=jobs, outcome=st.sampled_from(OUTCOMES), key=st.sampled_from(KEYS))
    def submit(self, outcome: str, key: str | None) -> Any:
        self.values.outcome = outcome
        recorder = self.recorder()
        api = cast("Api", self.values)
        submitter = Submitter(api, recorder, lambda _: None, jitter=lambda: 0.0)
        keyed = Keyed(submitter, Settling(None, recorder, lambda _: None))
        body = {"model": "m", "input": "hi"}
        done = asyncio.run(keyed.submit(Draft(self.draft(key), body)))
        if done.fault is None:
            assert done.job.id is not None
            self.printed.add(done.job.id)
            if key is not None:
                self.under.setdefault(key, set()).add(done.job.id)
        return done.job.key

    @rule(target=jobs, sent=st.booleans(), key=st.sampled_from(KEYS))
    def die(self, sent: bool, key: str | None) -> Any:
        """Let a process die between its intent and the reply; perhaps it had posted."""
        ledger = self.recorder().ledger
        earlier = ledger.by_submit_key(key) if key else None
        if earlier is not None and earlier.status is not Status.REJECTED:
            return multiple()
        with ledger.submitting(self.draft(key)) as job:
            if sent:
                self.values.posts[job.key] += 1
                self.values.accepted[job.key] = f"resp_{len(self.values.accepted):04}"
        return job.key

    @rule()
    def recover(self) -> None:
        """Two recoveries in a row end in the same state."""
        for _ in range(2):
            recorder = self.recorder()
            lost = list(recorder.ledger.unsettled())
            asyncio.run(Settling(None, recorder, lambda _: None).settle(lost))
            after = [job.to_line() for job in self.recorder().ledger.newest()]
        assert after == [job.to_line() for job in self.recorder().ledger.newest()]
        assert all(
            j.status is Status.UNKNOWN for j in self.recorder().ledger.unsettled()
        )

    @rule(key=jobs)
    def adopt(self, key: str) -> None:
        """Let a person find the response of an unknown submit."""
        recorder = self.recorder()
        job = recorder.ledger.by_key(key)
        id_ = self.values.accepted.get(key)
        if job is None or id_ is None or job.status is not Status.UNKNOWN:
            return
        reading = Reading(Status.QUEUED, "queued", id=id_)
        limits = dialect().limits
        recorder.ledger.record(
            update.accepted(job, reading, now=self.clock, limits=limits)
        )

    @rule(key=jobs)
    def news(self, key: str) -> None:
        recorder = self.recorder()
        job = recorder.ledger.by_key(key)
        if job is not None and job.status.is_open:
            recorder.ledger.record(job._replace(status=Status.COMPLETED))

    @rule(key=jobs)
    def forget(self, key: str) -> None:
        recorder = self.recorder()
        job = recorder.ledger.by_key(key)
        if job is not None and job.status.is_terminal:
            recorder.ledger.forget(job)
            self.forgotten.add(key)

    @rule()
    def compact(self) -> None:
        self.recorder().ledger.compact()

    @rule(days=st.sampled_from([-10.0, 0.01, 1.0, 7300.0]))
    def jump(self, days: float) -> None:
        self.clock = max(1.0, min(self.clock + days * 86400.0, 4e9))

    @invariant()
    def never_doubled(self) -> None:
        """No submission was posted twice, and no key was accepted under two ids."""
        assert all(count == 1 for count in self.values.posts.values())
        assert all(len(ids) == 1 for ids in self.under.values())

    @invariant()
    def never_lost(self) -> None:
        """Each accepted job has a record, and each id that was printed is found."""
        ledger = self.recorder().ledger
        for key in self.values.accepted:
            assert key in self.forgotten or ledger.by_key(key) is not None
        kept = {job.id for job in ledger.newest()}
        gone = {
            self.values.accepted[k] for k in self.forgotten if k in self.values.accepted
        }
        assert self.printed <= kept | gone

    @invariant()
    def ordered(self) -> None:
        """Whatever the clock did, keys were given in ascending order."""
        found = [job.key for job in self.recorder().ledger.newest()]
        assert found == sorted(found, reverse=True)


def test_the_promises_hold(figure: Figure, full: bool) -> None:
    """Some order of submits, deaths and recoveries loses or doubles a job."""
    examples, steps = (2000, 50) if full else (60, 25)
    how = settings(max_examples=examples, stateful_step_count=steps, deadline=None)
    run_state_machine_as_test(Promises, settings=how)
    figure(f"T9: {examples} histories of up to {steps} steps: 0 lost, 0 doubled")
