"""One pass over open jobs: in order, polite, and sceptical of a single 404."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bgresp.api.client import Api
from bgresp.core.dialect import Dialect
from bgresp.core.model import Job, Status
from bgresp.core.schedule import YOUNG
from bgresp.core.selection import Selector
from bgresp.core.signals import Fault, FaultKind, exit_code
from bgresp.core.update import LOST_AGAIN
from bgresp.engine.polling import BETWEEN, BROKEN, FRESH, LOOKS
from bgresp.engine.recorder import Recorder
from bgresp.engine.scheduler import Sync, due
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.saved import Answers
from bgresp.render.columns import Look, Times
from bgresp.render.streams import Streams
from bgresp.render.table import Table
from tests.endpoint import dialect, endpoint, using
from tests.fakeanswers import Forever, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import response_of

DAY = 86400.0
GONE = refusal(404, "Response not found.")


@dataclass(slots=True)
class Heard:
    """What a pass said, changed and slept."""

    changes: list[tuple[str | None, str, str]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    codes: list[int] = field(default_factory=list)

    def tell(self, before: Job, job: Job) -> None:
        if before.status is not job.status:
            self.changes.append((job.id, before.status.value, job.status.value))

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


def gone_over(
    server: FakeServer,
    recorder: Recorder,
    jobs: Sequence[Job],
    spoken: Dialect | None = None,
) -> Heard:
    """Let one pass go over jobs; its sleeps take no time."""
    told = Heard()

    async def ask(api: Api) -> None:
        one = Sync(recorder, told.tell, told.said.append, told.codes, told.sleep)
        await one.run(api, jobs)
        told.codes += [int(exit_code(fault)) for _, fault in one.unheard]
        told.said += [f"{job.ref}: {fault.message}" for job, fault in one.unheard]

    using(endpoint(server.base_url, spoken=spoken), ask)
    return told


def opened(recorder: Recorder, id_: str, *, age: float = 0.0, **changes: Any) -> Job:
    """Put an open job into the ledger."""
    draft = Job(
        key="",
        status=Status.QUEUED,
        raw_status="queued",
        id=id_,
        submitted_at=recorder.now() - age,
        checked_at=recorder.now(),
    )
    return recorder.ledger.adopt(draft._replace(**changes))


@pytest.fixture
def recorder(state: Path) -> Recorder:
    return Recorder.at(state)


def answered(*words: str) -> list[Any]:
    return [as_json(response_of(word, "Four.")) for word in words]


def test_the_soonest_to_expire_is_asked_first(
    server: FakeServer, recorder: Recorder
) -> None:
    """When the pass is cut short what would have been lost next is safe."""
    late, never, soon = (
        opened(recorder, name, expires_at=moment)
        for name, moment in (("late", 3e9), ("never", None), ("soon", 2e9))
    )
    server.script("get", *answered("completed", "completed", "completed"))
    spoken = dialect(limits={"connections": 1})
    gone_over(server, recorder, [late, never, soon], spoken)
    assert ["soon", "late", "never"] == [seen.job for seen in server.asked("get")]


def test_every_result_is_saved(server: FakeServer, recorder: Recorder) -> None:
    """What ended is told with its old status and is on disk."""
    ended, open_ = opened(recorder, "ended"), opened(recorder, "open")
    server.script("get", *answered("completed"), job="ended")
    server.script("get", *answered("in_progress"), job="open")
    told = gone_over(server, recorder, [ended, open_])
    changes = [("ended", "queued", "completed"), ("open", "queued", "in_progress")]
    assert sorted(changes) == sorted(told.changes)
    assert recorder.answers.response(ended.key) is not None
    assert recorder.answers.response(open_.key) is None


def test_a_young_404_is_not_believed(server: FakeServer, recorder: Recorder) -> None:
    """Case 78: a job that was just submitted is not lost because of a 404."""
    job = opened(recorder, "resp_1", age=YOUNG / 2)
    server.script("get", GONE)
    told = gone_over(server, recorder, [job])
    assert ([], [], []) == (told.changes, told.codes, told.slept)
    server.script("get", *answered("completed"))
    told = gone_over(server, recorder, [job])
    assert [("resp_1", "queued", "completed")] == told.changes


def test_an_old_404_is_believed_in_a_later_pass(
    server: FakeServer, state: Path
) -> None:
    """Case 79: lost is said after three looks and a minute, with the reason."""
    clock = Clock()
    recorder = Recorder(Ledger(state, clock), Answers(state), clock)
    job = opened(recorder, "resp_1", age=DAY)
    server.script("get", Forever(GONE))
    told = gone_over(server, recorder, [job])
    assert ([], []) == (told.changes, told.codes)
    assert (10.0, [BETWEEN] * (LOOKS - 1)) == (sum(told.slept), told.slept)
    for seconds, changes in ((59.0, []), (1.0, [("resp_1", "queued", "lost")])):
        clock.moment += seconds
        told = gone_over(server, recorder, list(due(recorder, Selector())))
        assert changes == told.changes
    lost = recorder.ledger.by_key(job.key)
    assert lost is not None
    assert "no longer has it" in str(lost.last_error)
    assert [] == told.codes


def test_one_that_expired_is_lost_at_once(
    server: FakeServer, recorder: Recorder
) -> None:
    """A job is doubted for long that its endpoint keeps no longer."""
    job = opened(recorder, "resp_1", age=DAY, expires_at=recorder.now() - 1)
    server.script("get", Forever(GONE))
    told = gone_over(server, recorder, [job])
    assert [("resp_1", "queued", "lost")] == told.changes


def test_several_at_once_are_believed_in_the_third_pass(
    server: FakeServer, state: Path
) -> None:
    """A gateway that was deployed anew turns every job lost, or none ever."""
    clock = Clock()
    recorder = Recorder(Ledger(state, clock), Answers(state), clock)
    for number in range(3):
        opened(recorder, f"resp_{number}", age=DAY)
    server.script("get", Forever(GONE))
    changes = []
    for seconds in (0.0, 300.0, 299.0, 1.0):
        clock.moment += seconds
        told = gone_over(server, recorder, list(due(recorder, Selector())))
        changes.append(len(told.changes))
        if not told.changes:
            (said,) = told.said
            assert "3 jobs are not found at" in said
            assert "another key, project or base URL?" in said
    assert [0, 0, 0, 3] == changes


def test_a_lost_job_is_asked_hourly_and_comes_back(
    server: FakeServer, state: Path
) -> None:
    """A job that was lost by mistake stays so, or is asked about all the time."""
    clock = Clock()
    recorder = Recorder(Ledger(state, clock), Answers(state), clock)
    job = opened(recorder, "resp_1", age=DAY, expires_at=clock() + 3 * DAY)
    lost = recorder.lost(job, Fault(FaultKind.GONE, "No."))
    assert Status.LOST is lost.status
    clock.moment += LOST_AGAIN - 1
    assert [] == list(due(recorder, Selector()))
    clock.moment += 1
    server.script("get", GONE, *answered("in_progress", "completed"))
    changes = []
    for seconds in (0.0, LOST_AGAIN, 60.0):
        clock.moment += seconds
        told = gone_over(server, recorder, list(due(recorder, Selector())))
        changes += told.changes
    assert [
        ("resp_1", "lost", "in_progress"),
        ("resp_1", "in_progress", "completed"),
    ] == changes
    assert 3 == len(server.asked("get"))


@pytest.mark.parametrize(("expires", "until"), [(None, DAY), (3 * DAY, 3 * DAY)])
def test_a_lost_job_is_given_up_when_it_expires(
    state: Path, expires: float | None, until: float
) -> None:
    """A lost job is asked about for ever, or not to the end of its retention."""
    clock = Clock()
    recorder = Recorder(Ledger(state, clock), Answers(state), clock)
    moment = None if expires is None else clock() + expires
    job = opened(recorder, "resp_1", age=60.0, expires_at=moment)
    gone = Fault(FaultKind.GONE, "No.")
    recorder.lost(recorder.missed(job, gone), gone)
    clock.moment += until - 1
    assert ["resp_1"] == [job.id for job in due(recorder, Selector())]
    clock.moment += 1
    assert [] == list(due(recorder, Selector()))


@dataclass(slots=True)
class Clock:
    """A wall clock that is moved by hand."""

    moment: float = 1_700_000_000.0

    def __call__(self) -> float:
        return self.moment


def test_a_404_that_passes_loses_nothing(
    server: FakeServer, recorder: Recorder
) -> None:
    """One good answer among the looks keeps the job."""
    job = opened(recorder, "resp_1", age=DAY)
    server.script("get", GONE, GONE, *answered("completed"))
    told = gone_over(server, recorder, [job])
    assert [("resp_1", "queued", "completed")] == told.changes


def test_many_lost_jobs_cost_one_wait(server: FakeServer, recorder: Recorder) -> None:
    """The looks at twenty jobs are shared: ten seconds, not two hundred."""
    jobs = [opened(recorder, f"resp_{number}", age=DAY) for number in range(20)]
    server.script("get", Forever(GONE))
    told = gone_over(server, recorder, jobs, dialect(limits={"rate": 0}))
    assert ([], 1) == (told.changes, len(told.said))
    assert 10.0 == sum(told.slept)


def test_a_pass_without_news_writes_nothing(
    server: FakeServer, recorder: Recorder, state: Path
) -> None:
    """A cron job that runs every minute does not grow the ledger."""
    jobs = [opened(recorder, f"resp_{number}") for number in range(3)]
    server.script("get", Forever(*answered("queued")))
    before = (state / "ledger.jsonl").read_bytes()
    for _ in range(3):
        gone_over(server, recorder, jobs)
    assert before == (state / "ledger.jsonl").read_bytes()


def test_an_old_look_is_noted(server: FakeServer, recorder: Recorder) -> None:
    """The ledger is never much behind the last look at a job."""
    job = opened(recorder, "resp_1", checked_at=recorder.now() - 2 * FRESH)
    server.script("get", *answered("queued"))
    gone_over(server, recorder, [job])
    now = recorder.ledger.by_key(job.key)
    assert now is not None
    assert now.checked_at is not None
    assert recorder.now() - now.checked_at < FRESH


def test_a_rate_limit_is_heeded_and_asked_again(
    server: FakeServer, recorder: Recorder
) -> None:
    """A short Retry-After delays a job, it does not cost it the pass."""
    job = opened(recorder, "resp_1")
    server.script("get", refusal(429, retry_after="0.01"), *answered("completed"))
    told = gone_over(server, recorder, [job])
    assert [("resp_1", "queued", "completed")] == told.changes
    assert [] == told.codes


def test_a_long_retry_after_ends_the_pass(
    server: FakeServer, recorder: Recorder
) -> None:
    """An endpoint that asks for an hour is left alone; the jobs stay as they are."""
    jobs = [opened(recorder, f"resp_{number}") for number in range(9)]
    server.script("get", refusal(429, retry_after="3600"))
    told = gone_over(server, recorder, jobs, dialect(limits={"connections": 1}))
    assert 1 == len(server.requests)
    assert ([], {6}) == (told.changes, set(told.codes))
    assert len(jobs) == len(told.said)


def test_a_dead_endpoint_is_left_alone(server: FakeServer, recorder: Recorder) -> None:
    """After five failed connections nobody waits for the sixth."""
    jobs = [opened(recorder, f"resp_{number}") for number in range(20)]
    server.refuse()
    told = gone_over(server, recorder, jobs, dialect(limits={"connections": 1}))
    now = [recorder.ledger.by_key(job.key) for job in jobs]
    assert BROKEN == len([job for job in now if job and job.last_error])
    assert ([], {6}) == (told.changes, set(told.codes))


@pytest.mark.parametrize(("status", "code"), [(401, 4), (400, 5), (500, 6)])
def test_what_went_wrong_has_its_code(
    server: FakeServer, recorder: Recorder, status: int, code: int
) -> None:
    """A fault of the endpoint is told, coded, and changes no job."""
    job = opened(recorder, "resp_1")
    server.script("get", Forever(refusal(status, "No.")))
    told = gone_over(server, recorder, [job])
    assert ([], [code], ["resp_1: No."]) == (told.changes, told.codes, told.said)
    now = recorder.ledger.by_key(job.key)
    assert now is not None
    assert (Status.QUEUED, "No.") == (now.status, now.last_error)


@pytest.mark.parametrize(
    ("days", "order"),
    [(-10, ["resp_3", "resp_2", "resp_1"]), (20 * 365, ["resp_2", "resp_3", "resp_1"])],
)
def test_the_clock_may_jump(
    server: FakeServer, state: Path, recorder: Recorder, days: float, order: list[str]
) -> None:
    """Case 53: a clock that jumps lets nothing expire, and changes no other's order.

    A key that is years ahead of time stays in front; it sets no other key.
    """
    first = opened(recorder, "resp_1", expires_at=recorder.now() + DAY)

    def clock() -> float:
        return recorder.now() + days * DAY

    later = Recorder(Ledger(state, clock), recorder.answers, clock)
    second = opened(later, "resp_2", expires_at=clock() + DAY)
    third = opened(Recorder.at(state), "resp_3")
    keys = {str(job.id): job.key for job in (first, second, third)}
    assert first.key < third.key
    assert order == [job.id for job in Recorder.at(state).ledger.newest()]
    assert order == sorted(order, key=lambda id_: keys[id_], reverse=True)
    server.script("get", *answered("in_progress"), job="resp_1")
    server.script("get", *answered("completed"), job="resp_2")
    server.script("get", *answered("queued"), job="resp_3")
    told = gone_over(server, later, [first, second, third])
    assert {"in_progress", "completed"} == {status for _, _, status in told.changes}
    for now in (recorder.now(), clock()):
        table = Table(Streams(None, None), Look(now, Times.RELATIVE))
        cells = [cell for job in later.ledger.newest() for cell in table.cells(job)]
        assert not [cell for cell in cells if cell.startswith("-") and cell != "-"]
