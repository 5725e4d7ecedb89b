"""Many jobs at once: few connections, one pace an endpoint, no task for who waits."""

import asyncio
from pathlib import Path
from typing import Any, cast

import pytest

from bgresp.core.model import Job, Status
from bgresp.core.signals import FaultKind
from bgresp.engine.endpoints import BURST
from bgresp.engine.polling import FirstAnswer
from bgresp.engine.recorder import Recorder
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.tracker import Tracker
from tests import fakewire as fw
from tests.endpoint import dialect, endpoint
from tests.engine.many import Memory
from tests.scripted import (
    CLOSED,
    LOST_REPLY,
    Heard,
    Late,
    Scripted,
    events,
    job,
    recorder_at,
    refusal,
    snapshot,
    tools,
    tracker,
)
from tests.virtualclock import run_virtual

EVENTS = events(fw.events_of(fw.FOX))
RUNNING, ANSWER = snapshot("in_progress"), snapshot("completed", fw.FOX)
UNGATED = endpoint(spoken=dialect(limits={"rate": 0.0}))


def jobs(count: int, **fields: Any) -> list[Job]:
    return [job(n, **fields) for n in range(1, count + 1)]


def follow_all(
    scripted: Scripted,
    state: Path,
    many: list[Job],
    *,
    scheduler: Scheduler | None = None,
    heard: Heard | None = None,
    mode: str = "poll",
) -> tuple[list[Tracker], float]:
    """Follow jobs to their end; return their trackers and the virtual time it took."""
    trackers: list[Tracker] = []

    async def main() -> float:
        shared = tools(scripted.api, recorder_at(state), heard or Heard(), mode=mode)
        trackers.extend(tracker(one, shared) for one in many)
        await (scheduler or Scheduler(16)).run(trackers)
        return asyncio.get_running_loop().time()

    return trackers, run_virtual(main())


@pytest.mark.parametrize("mode", ["poll", "auto"])
@pytest.mark.parametrize("count", [1, 3, 40])
def test_all_come_to_their_end(state: Path, count: int, mode: str) -> None:
    """One job, three or forty: each text is shown once and each answer saved."""
    scripted = Scripted(get=[RUNNING, ANSWER], streams=[[*EVENTS, CLOSED]])
    heard, many = Heard(), jobs(count)
    trackers, _ = follow_all(scripted, state, many, heard=heard, mode=mode)
    assert all(each.done for each in trackers)
    assert {one.key: fw.FOX for one in many} == heard.shown
    assert {one.key: [fw.FOX] for one in many} == heard.ends
    found = [one.status for one in recorder_at(state).ledger.newest()]
    assert [Status.COMPLETED] * count == found
    expected = {"get": 2 * count} if mode == "poll" else {"get": 0, "stream": count}
    assert expected == {op: scripted.count(op) for op in expected}


@pytest.mark.parametrize("count", [1000, pytest.param(10_000, marks=pytest.mark.proof)])
def test_thousands_of_jobs(count: int) -> None:
    """Each job ends after two polls, at the endpoint's rate, on few tasks."""
    scripted, heard = Scripted(get=[RUNNING, ANSWER]), Heard()
    recorder = cast(Recorder, Memory(scripted.endpoint.dialect))

    trackers: list[Tracker] = []

    async def main() -> None:
        shared = tools(scripted.api, recorder, heard, mode="poll")
        trackers.extend(tracker(one, shared) for one in jobs(count))
        await Scheduler(16).run(trackers)

    run_virtual(main())
    assert {Status.COMPLETED} == {each.job.status for each in trackers}
    assert [[fw.FOX]] * count == list(heard.ends.values())
    times, rate = scripted.times(), scripted.endpoint.dialect.limits.rate
    assert 2 * count == len(times)
    for start in range(0, len(times), 97):
        for n, at in enumerate(times[start : start + 50]):
            assert n + 1 <= rate * (at - times[start]) + BURST + 1e-6
    assert times[-1] == pytest.approx(2 * count / rate, rel=0.01)
    assert scripted.tasks <= 16 + 2


def test_only_so_many_connections(state: Path) -> None:
    """Never more jobs do I/O at once than there are connections; all get their turn.

    The first is asked alone: its key may be refused.
    """
    scripted = Scripted(get=lambda _: Late(1.0, ANSWER), endpoint=UNGATED)
    _, took = follow_all(scripted, state, jobs(1 + 20), scheduler=Scheduler(4))
    assert (1.0 + 5.0, 4 + 1) == (took, scripted.tasks)


def test_a_waiting_job_has_no_task(state: Path) -> None:
    """Between its polls a job is an entry of a heap, not a task."""
    counts: list[int] = []
    scripted = Scripted(get=[RUNNING, RUNNING, ANSWER], endpoint=UNGATED)

    async def main() -> None:
        shared = tools(scripted.api, recorder_at(state), Heard(), mode="poll")
        scheduler = Scheduler(16)
        running = asyncio.create_task(
            scheduler.run([tracker(j, shared) for j in jobs(50)])
        )
        while not running.done():
            await asyncio.sleep(0.1)
            if scheduler._heap and not scheduler._tasks:
                counts.append(len(asyncio.all_tasks()))

    run_virtual(main())
    assert counts
    assert {2} == set(counts[:-1])


def test_one_slow_job_holds_up_nobody(state: Path) -> None:
    """A poll that hangs costs its own connection, the others go on."""
    slow = job(1).id

    def get(id_: str) -> Late:
        return Late(600.0 if id_ == slow else 0.1, ANSWER)

    scripted = Scripted(get=get, endpoint=UNGATED)
    ended: list[tuple[str, float]] = []

    class Timed(Heard):
        def end_line(self, job: Job) -> None: ...

        def ended(self, job: Job, text: str) -> None:
            ended.append((job.key, asyncio.get_running_loop().time()))

    follow_all(scripted, state, jobs(40), scheduler=Scheduler(2), heard=Timed())
    assert (job(1).key, 600.0) == ended[-1]
    assert max(at for _, at in ended[:-1]) <= 10.0


def test_the_ones_that_waited_longest_come_first(state: Path) -> None:
    """Jobs are asked in the order in which they are due: nobody starves."""
    scripted = Scripted(get=[RUNNING, RUNNING, RUNNING, ANSWER])
    many = jobs(50)
    follow_all(scripted, state, many)
    firsts = [id_ for _, id_, _ in scripted.asked[:50]]
    assert [one.id for one in many] == firsts
    last_seen: dict[str, float] = {}
    for _, id_, at in scripted.asked:
        assert at - last_seen.get(id_, at) <= 50 / 5.0 + 5.0
        last_seen[id_] = at


def test_stopping_early_leaves_the_rest_open(state: Path) -> None:
    """When the caller says stop the rest is detached, and asked no more."""
    failed = snapshot("failed")
    scripted = Scripted(get=lambda id_: failed if id_ == job(2).id else RUNNING)
    scheduler = Scheduler(16, stop=lambda each: each.job.status is Status.FAILED)
    trackers, took = follow_all(scripted, state, jobs(5), scheduler=scheduler)
    assert [False, True, False, False, False] == [each.done for each in trackers]
    statuses = {each.job.status for each in trackers}
    assert {Status.FAILED, Status.IN_PROGRESS, Status.QUEUED} >= statuses
    assert took < 2.0


def test_leaving_detaches_everybody(state: Path) -> None:
    """A timeout closes every stream and keeps every cursor."""
    scripted = Scripted(streams=[[*EVENTS[:5], Late(1000, CLOSED)]])
    recorder, many = recorder_at(state), jobs(3)

    async def main() -> None:
        shared = tools(scripted.api, recorder, Heard())
        try:
            async with asyncio.timeout(10):
                await Scheduler(16).run([tracker(one, shared) for one in many])
        except TimeoutError:
            assert 1 == len(asyncio.all_tasks())

    run_virtual(main())
    assert 3 == scripted.closed
    found = list(recorder.ledger.newest())
    assert [(Status.IN_PROGRESS, 4)] * 3 == [(j.status, j.cursor) for j in found]


def test_a_bug_in_one_job_is_not_swallowed(state: Path) -> None:
    """What is raised for one job ends all of them cleanly and is raised again."""

    def get(id_: str) -> Late:
        if id_ == job(2).id:
            raise ZeroDivisionError
        return Late(1000.0, ANSWER)

    scripted = Scripted(get=get, endpoint=UNGATED)
    with pytest.raises(ZeroDivisionError):
        follow_all(scripted, state, jobs(3))


def test_nothing_to_follow_is_no_wait(state: Path) -> None:
    """An empty scheduler, or one whose jobs ended before, asks nobody and returns."""
    over = [job(n, status=Status.COMPLETED) for n in (1, 2)]
    for many in ([], over):
        scripted = Scripted()
        trackers, took = follow_all(scripted, state, many)
        assert all(each.done for each in trackers)
        assert (0.0, []) == (took, scripted.asked)


def test_an_outage_of_the_endpoint_is_one_pause_for_all(state: Path) -> None:
    """With everything failing, forty jobs ask less and less, and still end."""
    answers = [LOST_REPLY] * 12 + [ANSWER]
    scripted = Scripted(get=answers)
    trackers, took = follow_all(scripted, state, jobs(40))
    assert {Status.COMPLETED} == {each.job.status for each in trackers}
    assert 40 * 13 == len(scripted.asked)
    assert 40 * 13 / 5.0 - 5 <= took <= 40 * 13 / 5.0 * 1.5


def test_a_wait_for_one_endpoint_is_none_for_another(state: Path) -> None:
    """Jobs of an endpoint that says wait do not take the connections of another."""
    limited = refusal(429, FaultKind.RATE_LIMITED, retry_after=500.0)
    held = Scripted(get=[limited, ANSWER])
    free = Scripted(get=[RUNNING, RUNNING, ANSWER])
    recorder, heard = recorder_at(state), Heard()

    async def main() -> float:
        loop = asyncio.get_running_loop()
        waiting = tools(held.api, recorder, heard, mode="poll")
        going = tools(free.api, recorder, heard, mode="poll")
        slow = [tracker(one, waiting) for one in jobs(40)]
        fast = [tracker(job(n), going) for n in range(100, 103)]
        scheduler = Scheduler(16, stop=lambda _: all(each.done for each in fast))
        await scheduler.run([*slow, *fast])
        return loop.time()

    assert run_virtual(main()) < 60


def test_a_key_that_was_good_is_good_for_the_others() -> None:
    """One job that is refused a good key costs all others their answers."""
    refused = refusal(401, FaultKind.REFUSED)
    assert refused.is_of_key
    first = FirstAnswer()
    first.came(refused)
    assert refused == first.refused
    for signal in (RUNNING, refused):
        first.came(signal)
        assert first.refused is None
    gone = FirstAnswer()
    for signal in (refusal(404, FaultKind.GONE), refused):
        gone.came(signal)
        assert gone.refused is None
