"""T9 over a real wire: two writers at one ledger, a server that loses replies.

What test_promises.py proves with an endpoint of values, with more that can go wrong:
views that another writer made stale, stored answers, adoption from the server's list.
"""

import asyncio
import json
import os
import tempfile
from collections import Counter
from collections.abc import AsyncGenerator, Coroutine
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core.errors import NoSuchJobError, UsageError
from bgresp.core.model import Job
from bgresp.core.output import read_parts
from bgresp.core.request import Draft
from bgresp.core.signals import Signal
from bgresp.core.signals import Snapshot as Seen
from bgresp.engine.recorder import Recorder
from bgresp.engine.resubmit import Keyed
from bgresp.engine.settle import Settling, abandoned, candidates, holding
from bgresp.engine.submit import Submitter
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.saved import Answers
from tests.endpoint import dialect, endpoint
from tests.fakeanswers import (
    RESET,
    Answer,
    Performed,
    Reply,
    Snapshot,
    halved,
    html,
    redirect,
    refusal,
)
from tests.fakeserver import FakeServer
from tests.proof.conftest import Figure
from tests.virtualclock import VirtualLoop

pytestmark = [pytest.mark.proof, pytest.mark.timeout(3600)]

DAY = 86400.0
LATER = refusal(429, "Slow down.", retry_after="0.001")
HALVED = Snapshot(change=halved)
ANSWERS: dict[str, list[Answer]] = {
    "as usual": [],
    "lost": [Performed(RESET)],
    "lost unseen": [RESET],
    "truncated": [HALVED],
    "refused": [refusal(400)],
    "failing": [refusal(500)],
    "failing, done": [Performed(refusal(502))],
    "elsewhere": [redirect(307, "http://127.0.0.1:1/v1/responses")],
    "a portal": [Performed(html(200))],
    "later": [LATER, LATER],
    "without id": [Performed(Reply(200, b"{}", {"Content-Type": "application/json"}))],
}
CRASHES = ("before the POST", "before the record")
MEMORY = Path("/dev/shm")  # noqa: S108  syncs are not what is proved here
HAPPENED: Counter[str] = Counter()
Result = TypeVar("Result")


class CrashedError(BaseException):
    """The process is gone."""


@dataclass(slots=True)
class Mortal:
    """The endpoint's client in a process that dies at a chosen moment."""

    api: Api
    moment: str | None = None

    def __getattr__(self, name: str) -> Any:
        """Be the client in all other respects."""
        return getattr(self.api, name)

    async def create(
        self, body: bytes, *, key: str, stream: bool, sent: Sent
    ) -> AsyncGenerator[Signal, None]:
        """Post, unless it is time to die."""
        if self.moment == CRASHES[0]:
            raise CrashedError
        async for signal in self.api.create(body, key=key, stream=stream, sent=sent):
            if self.moment == CRASHES[1]:
                raise CrashedError
            yield signal


@dataclass(slots=True)
class Believed:
    """What was promised so far."""

    ranks: dict[str, int] = field(default_factory=dict)
    printed: dict[str, str] = field(default_factory=dict)
    texts: dict[str, int] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)
    retried: set[str] = field(default_factory=set)
    given_up: set[str] = field(default_factory=set)
    order: list[str] = field(default_factory=list)


class Accidents(RuleBasedStateMachine):
    """Two writers at one ledger, one endpoint, and whatever can happen."""

    def __init__(self) -> None:
        super().__init__()
        memory = MEMORY if os.access(MEMORY, os.W_OK) else None
        self.folder = tempfile.TemporaryDirectory(dir=memory)
        self.state = Path(self.folder.name) / "state"
        self.server = FakeServer(listing=True)
        self.server.__enter__()
        self.runner = asyncio.Runner(loop_factory=VirtualLoop)
        self.clock = 1_800_000_000.0
        self.recorders = [self.opened(), self.opened()]
        self.told = Believed()

    def teardown(self) -> None:
        """Let everything go."""
        self.runner.close()
        self.server.__exit__(None, None, None)
        self.folder.cleanup()

    def opened(self) -> Recorder:
        """Record as a new process does; in small files, so that they are indexed."""

        def now() -> float:
            return self.clock

        ledger = Ledger(self.state, now=now, run_bytes=2500, seal_bytes=9000)
        return Recorder(ledger, Answers(self.state), now)

    def api(self, *, lists: bool) -> Api:
        """Return a client of the endpoint, which can list or cannot."""
        spoken = (
            dialect("local", limits={"idempotency": "none"}) if lists else dialect()
        )
        return Api(endpoint(self.server.base_url, spoken=spoken))

    def settling(self, writer: int, *, lists: bool) -> Settling:
        """Settle as a command with the network does."""
        return Settling(self.api(lists=lists), self.recorders[writer], lambda _: None)

    def do(self, work: Coroutine[Any, Any, Result], api: Api) -> Result:
        """Run to the end, and let connections go."""
        try:
            return self.runner.run(work)
        finally:
            self.runner.run(api.aclose())

    # ---- what happens --------------------------------------------------------

    @rule(
        answer=st.sampled_from([*ANSWERS, *CRASHES]),
        key=st.sampled_from([None, None, "a", "b", "c"]),
        writer=st.integers(0, 1),
    )
    def submit(self, answer: str, key: str | None, writer: int) -> None:
        """Submit; the reply comes, is lost, or the process dies."""
        HAPPENED[answer] += 1
        api = self.api(lists=False)
        moment = answer if answer in CRASHES else None
        mortal: Any = Mortal(api, moment)
        submitter = Submitter(mortal, self.recorders[writer], lambda _: None)
        keyed = Keyed(submitter, Settling(None, self.recorders[writer], lambda _: None))
        known = {job.key for job in self.opened().ledger.newest()}
        # A key that a clock far ahead gave stays in front, and sets no other key.
        sane = {
            key for key in known if key <= self.opened().ledger._refreshed().horizon
        }
        submitted_at = self.clock
        draft = Job("", submit_key=key, base_url=api.endpoint.base_url)
        draft = draft._replace(submitted_at=submitted_at, dialect="openai")
        answers = ANSWERS.get(answer, [])
        before = len(self.server.creates)
        self.server.script("create", *answers)
        try:
            submitted = self.do(keyed.submit(Draft(draft, {"input": "x"})), api)
        except CrashedError:
            self.recorders[writer] = self.opened()
        else:
            if submitted.fault is None and submitted.job.id is not None:
                self.told.printed[submitted.job.key] = submitted.job.id
        if len(self.server.creates) == before:
            self.server._script.queues.clear()  # the answer was for a POST
        fresh = [job.key for job in self.opened().ledger.newest()]
        new = [name for name in reversed(fresh) if name not in known]
        assert all(key > max(sane, default="") for key in new), "not the newest"
        self.told.order += new
        if answer == "later":
            self.told.retried.update(new)

    @rule(writer=st.integers(0, 1), lists=st.booleans())
    def recover(self, writer: int, lists: bool) -> None:
        """Settle what died; a second time nothing changes."""
        found = []
        for _ in range(2):
            settling = self.settling(writer, lists=lists)
            assert settling.api is not None
            jobs = candidates(self.recorders[writer])
            self.do(settling.settle(jobs), settling.api)
            found.append(list(self.opened().ledger.newest()))
        assert found[0] == found[1]

    @precondition(lambda self: self.told.printed)
    @rule(
        pick=st.integers(0, 99),
        word=st.sampled_from(["in_progress", "completed", "failed", "cancelled"]),
        text=st.sampled_from(["", "a", "a long answer"]),
        writer=st.integers(0, 1),
    )
    def hear(self, pick: int, word: str, text: str, writer: int) -> None:
        """Hear news of a job, which may be older than what is known."""
        recorder = self.recorders[writer]
        job = self.picked(pick, lambda job: job.id is not None)
        if job is None:
            return
        api = self.api(lists=False)
        self.server.script("get", Snapshot(word))
        news = self.do(api.retrieve(str(job.id)), api)
        assert isinstance(news, Seen)
        body = b'{"id": "%b", "status": "%b", "output_text": "%b"}'
        raw = body % (str(job.id).encode(), word.encode(), text.encode())
        parts = read_parts(api.endpoint.dialect, json.loads(raw))
        reading = news.reading._replace(text=text, answer=parts)
        news = news._replace(reading=reading, raw=raw)
        recorder.heard(job, news, api.endpoint.dialect)
        saved = recorder.answers.text(job.key, api.endpoint.dialect)
        self.told.texts[job.key] = max(
            self.told.texts.get(job.key, 0), len(saved or "")
        )

    @rule(pick=st.integers(0, 99), writer=st.integers(0, 1))
    def adopt(self, pick: int, writer: int) -> None:
        """Say which id an unknown submit has: the endpoint's list shows it."""
        job = self.picked(pick, lambda job: job.status.is_unsettled)
        made = self.made().get(job.key) if job else None
        if job is None or made is None:
            return
        settling = self.settling(writer, lists=True)
        assert settling.api is not None
        with (
            suppress(UsageError, NoSuchJobError),
            holding(self.recorders[writer], job) as j,
        ):
            self.do(settling.adopt(j, made), settling.api)
            self.told.printed[job.key] = made
            HAPPENED["adopted"] += 1

    @rule(pick=st.integers(0, 99), writer=st.integers(0, 1))
    def abandon(self, pick: int, writer: int) -> None:
        """Give an unknown submit up."""
        job = self.picked(pick, lambda job: job.status.is_unsettled)
        if job is not None:
            with holding(self.recorders[writer], job) as now:
                abandoned(self.recorders[writer], now)
            self.told.given_up.add(job.key)

    @rule(pick=st.integers(0, 99), writer=st.integers(0, 1))
    def forget(self, pick: int, writer: int) -> None:
        """Forget a job that is over."""
        job = self.picked(pick, lambda job: job.status.is_terminal)
        if job is not None:
            self.recorders[writer].ledger.forget(job)
            self.told.forgotten.add(job.key)
            HAPPENED["forgotten"] += 1

    @rule(writer=st.integers(0, 1))
    def compact(self, writer: int) -> None:
        """Rewrite the files."""
        self.recorders[writer].ledger.compact()

    @rule(days=st.sampled_from([-10, -3650, 0.0001, 1, 7300, 20]))
    def jump(self, days: float) -> None:
        """Set the clock."""
        self.clock = max(1.0, self.clock + days * DAY)

    @rule(writer=st.integers(0, 1))
    def reopen(self, writer: int) -> None:
        """Start a new process."""
        self.recorders[writer] = self.opened()

    # ---- what was promised ---------------------------------------------------

    @invariant()
    def every_promise(self) -> None:
        """Keep what RELIABILITY.md section 9 promises."""
        recorder = self.opened()
        jobs = {job.key: job for job in recorder.ledger.newest()}
        tags = [seen.json["metadata"]["bgresp_key"] for seen in self.server.creates]
        self._posts_once(jobs, tags)
        self._keeps_ids(jobs, recorder.ledger)
        self._turns_nothing_back(jobs, recorder)
        kept = [key for key in self.told.order if key not in self.told.forgotten]
        assert sorted(kept) == [*jobs][::-1], "missing, or not in the order of keys"
        for writer in self.recorders:
            assert [*jobs] == [job.key for job in writer.ledger.newest()]

    def _posts_once(self, jobs: dict[str, Job], tags: list[str]) -> None:
        """Know every POST, and post again only what was surely not processed."""
        assert set(tags) <= jobs.keys() | self.told.forgotten, "a POST without a record"
        twice = {tag for tag, count in Counter(tags).items() if count > 1}
        assert twice <= self.told.retried, "posted twice"
        made = self.made()
        assert len(made) == len(self.server.jobs), "two jobs of one submission"
        settled = (jobs[key] for key in made if key in jobs.keys() - self.told.given_up)
        counts = Counter(job.submit_key for job in settled if job.submit_key)
        assert set(counts.values()) <= {1}, "two jobs under a --key"

    def _keeps_ids(self, jobs: dict[str, Job], ledger: Ledger) -> None:
        """Keep every id that was printed, under its key."""
        for key, id_ in self.told.printed.items():
            if key not in self.told.forgotten:
                assert id_ == jobs[key].id
                assert jobs[key] == ledger.by_id(id_) == ledger.by_key(key)

    def _turns_nothing_back(self, jobs: dict[str, Job], recorder: Recorder) -> None:
        """Lower no status, shorten no answer, bring nothing back."""
        for key, rank in self.told.ranks.items():
            assert key in self.told.forgotten or jobs[key].status.rank >= rank
        self.told.ranks = {key: job.status.rank for key, job in jobs.items()}
        for key in self.told.texts.keys() - self.told.forgotten:
            assert self.told.texts[key] == len(
                recorder.answers.text(key, dialect()) or ""
            )
        assert not self.told.forgotten & jobs.keys()
        assert [] == recorder.ledger.bad

    # ---- help ----------------------------------------------------------------

    def picked(self, number: int, fits: Any) -> Job | None:
        """Return one of the jobs that fit, as a new process sees them."""
        jobs = [job for job in self.opened().ledger.newest() if fits(job)]
        return jobs[number % len(jobs)] if jobs else None

    def made(self) -> dict[str, str]:
        """Return what the endpoint really made: key to id."""
        jobs = self.server._jobs.kept.values()
        return {job.body["metadata"]["bgresp_key"]: job.id for job in jobs}


def test_accidents(figure: Figure, full: bool) -> None:
    """Some history of submits, losses, crashes and recoveries breaks a promise."""
    examples, steps = (2000, 50) if full else (100, 30)
    run_state_machine_as_test(
        Accidents,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=False,
        ),
    )
    crashes = sum(HAPPENED[name] for name in CRASHES)
    submits = crashes + sum(HAPPENED[name] for name in ANSWERS)
    figure(
        f"T9 over the wire: {examples} histories of up to {steps} steps ({submits} submits, {crashes} "
        f"crashes, {HAPPENED['lost']} lost replies, {HAPPENED['adopted']} adopted, "
        f"{HAPPENED['forgotten']} forgotten): every promise kept"
    )
    assert all(HAPPENED[name] for name in (*ANSWERS, *CRASHES, "adopted", "forgotten"))
