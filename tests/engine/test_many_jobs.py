"""T21: ten thousand jobs in one process: what the endpoint sees, in virtual time."""

import asyncio
import gc
import tracemalloc
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from bgresp.core.dialect import Op
from bgresp.core.model import Job, Status
from bgresp.core.observer import Observer
from bgresp.engine.endpoints import BURST
from bgresp.engine.polling import JobPoller, News, Semaphore
from bgresp.engine.recorder import Recorder
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.tracker import Tracker
from bgresp.ledger import files
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.line import encode
from tests import fakewire as fw
from tests.endpoint import dialect, endpoint
from tests.engine.many import ManyJobs, Memory, many_jobs
from tests.scripted import EPOCH, Heard, recorder_at, tools, tracker
from tests.virtualclock import run_virtual

LIST = {"list": Op("GET", "/responses")}


def follow(
    place: ManyJobs, jobs: list[Job], *, streams: int = 0, mode: str = "poll"
) -> tuple[list[Tracker], Heard]:
    """Follow all jobs to their end as `watch --group` does."""
    recorder = cast(Recorder, Memory(place.endpoint.dialect))
    trackers: list[Tracker] = []
    heard = Heard()

    async def main() -> None:
        shared = tools(place.api, recorder, heard, mode=mode)
        shared = replace(shared, streams=Semaphore(streams), is_alone=False)
        trackers.extend(tracker(one, shared) for one in jobs)
        await Scheduler(16).run(trackers)

    run_virtual(main())
    assert {Status.COMPLETED} == {each.job.status for each in trackers}
    assert [[fw.FOX]] * len(jobs) == list(heard.ends.values())
    return trackers, heard


@pytest.mark.proof
def test_the_pace_of_a_herd() -> None:
    """T21: more than 10 requests in some second, or 5 a second in the mean.

    Ten thousand jobs of 120 s in the median, at the built-in rate.
    """
    place, jobs = many_jobs(endpoint(), 10_000)
    follow(place, jobs)
    times = [at for _, at in place.asked]
    assert len(times) <= 5 * times[-1] + BURST
    assert max(Counter(map(int, times[BURST:])).values()) <= 10


@pytest.mark.proof
def test_the_polls_of_a_job_without_a_gate() -> None:
    """T21: a job of ordinary length is asked about more than 45 times."""
    place, jobs = many_jobs(endpoint(spoken=dialect(limits={"rate": 0.0})), 1_000)
    follow(place, jobs)
    assert place.polls.total() <= 45 * len(jobs)
    assert {"get"} == {op for op, _ in place.asked}


def test_a_list_spares_most_of_the_polls() -> None:
    """With a list jobs cost as many requests, or are heard of much later.

    At 5 requests a second one round of questions takes 50 s, of lists 1 s.
    """
    listing, jobs = many_jobs(
        endpoint(spoken=dialect(ops=LIST)), 250, median=600.0, spread=0.1
    )
    follow(listing, jobs)
    plain, jobs = many_jobs(endpoint(), 250, median=600.0, spread=0.1)
    follow(plain, jobs)
    assert 2 * len(listing.asked) <= len(plain.asked)
    assert listing.late() < 1.5 * plain.late()


def test_a_lost_list_is_asked_for_again() -> None:
    """A list that did not arrive says nothing about the endpoint's lists."""
    place, jobs = many_jobs(
        endpoint(spoken=dialect(ops=LIST)), 250, median=600.0, spread=0.1, faults=1
    )
    follow(place, jobs)
    assert place.count("list") > 20


def test_jobs_that_join_one_by_one_share_a_list() -> None:
    """Many are many, also where each joined while others were followed."""
    place, jobs = many_jobs(
        endpoint(spoken=dialect(ops=LIST)), 250, median=600.0, spread=0.1
    )
    recorder = cast(Recorder, Memory(place.endpoint.dialect))
    ended: list[Tracker] = []

    def heard(each: Tracker) -> bool:
        ended.append(each)
        return False

    async def main() -> None:
        shared = replace(
            tools(place.api, recorder, Heard(), mode="poll"), is_alone=False
        )
        scheduler = Scheduler(16, heard)
        following = asyncio.create_task(scheduler.follow())
        for one in jobs:
            scheduler.join(tracker(one, shared))
            await asyncio.sleep(0.1)
        scheduler.close()
        await following

    run_virtual(main())
    assert {one.key for one in jobs} == {each.job.key for each in ended}
    assert {Status.COMPLETED} == {each.job.status for each in ended}
    assert place.count("list") > 20
    assert place.polls.total() < 10 * len(jobs)


@pytest.mark.parametrize(
    "rest", [{"lists": False}, {"hidden": frozenset()}], ids=["no route", "hides"]
)
def test_a_list_that_is_no_use(rest: dict[str, Any]) -> None:
    """A list that is refused, or leaves jobs out, keeps a job from its end."""
    place, jobs = many_jobs(endpoint(spoken=dialect(ops=LIST)), 250, **rest)
    if "hidden" in rest:
        place.hidden = frozenset(list(place.ends)[::2] + list(place.ends)[1:100])
    follow(place, jobs)
    assert 1 == place.count("list")


def test_a_useless_list_leaves_the_pace_as_it_was() -> None:
    """Where a list tells nothing jobs are asked about in gulps, or in a trickle."""
    place, jobs = many_jobs(
        endpoint(spoken=dialect(ops=LIST, limits={"rate": 20.0})), 250, lists=False
    )
    place.ends = dict.fromkeys(place.ends, 0.0)
    follow(place, jobs)
    asked = Counter(int(at) for op, at in place.asked if op == "get")
    assert 250 == asked.total()
    assert max(asked.values()) <= 20 + BURST
    assert min(asked[second] for second in range(1, max(asked))) >= 19


def test_only_so_many_streams() -> None:
    """More streams than the profile says are open, or the rest is not polled."""
    place, jobs = many_jobs(endpoint(spoken=dialect(limits={"rate": 0.0})), 60)
    follow(place, jobs, streams=8, mode="auto")
    assert 8 == place.most_streaming
    assert place.count("get") > 52


class Nobody(Observer):
    """Who is told of the jobs, and keeps nothing."""


def recorded(state: Path, jobs: list[Job]) -> None:
    """Write jobs into a new ledger as a batch leaves them."""
    files.prepare(state)
    lines = [
        encode(
            one._replace(
                group="rows",
                profile="bench",
                base_url="http://127.0.0.1:9/v1",
                model="m",
                model_asked="m",
                submitted_at=EPOCH - 3000 + number,  # asked about every 30 s
                created_at=EPOCH + number,
                checked_at=EPOCH + number,
                expires_at=EPOCH + number,
                request_sha256=f"{number:064x}",
                row=f"row-{number}",
                extra={"key_source": "env:KEY", "key_digest": "a2be2bb6"},
            )
        )
        for number, one in enumerate(jobs)
    ]
    (state / "ledger.jsonl").write_bytes(b"".join(lines))


def memory_of(state: Path, count: int) -> dict[str, int]:
    """Return the bytes that our code holds while so many jobs wait, and afterwards."""
    fast = endpoint(spoken=dialect(limits={"rate": 0.0}))
    place, jobs = many_jobs(fast, count, median=60.0, spread=0.1)
    recorded(state, jobs)
    taken: dict[str, int] = {}

    def weigh(when: str) -> None:
        gc.collect()
        ours = tracemalloc.Filter(inclusive=False, filename_pattern="*/tests/*")
        found = tracemalloc.take_snapshot().filter_traces([ours])
        taken[when] = sum(trace.size for trace in found.traces)

    async def main() -> None:
        ledger = Ledger(state, run_bytes=1024)  # what is not indexed is held whole
        recorder = cast(Recorder, Memory(fast.dialect))
        shared = tools(place.api, recorder, Nobody(), mode="poll")
        trackers = [tracker(one, shared) for one in ledger.open_jobs()]
        following = asyncio.create_task(Scheduler(16).run(trackers))
        await asyncio.sleep(30.0)
        weigh("while it waits")
        await following
        weigh("when it is over")
        assert {Status.COMPLETED} == {each.job.status for each in trackers}

    tracemalloc.start(1)
    try:
        run_virtual(main())
    finally:
        tracemalloc.stop()
    return taken


def test_what_a_followed_job_takes(tmp_path: Path) -> None:
    """A followed job takes more than 1.5 KiB: record, tracker, turn, place in the index.

    Also once it is over, when its answer is saved.
    """
    memory_of(tmp_path / "first", 20)  # imports, and fills caches
    few = memory_of(tmp_path / "few", 100)
    many = memory_of(tmp_path / "many", 400)
    each = {when: (many[when] - few[when]) // 300 for when in few}
    assert all(500 < size <= 1536 for size in each.values()), each


def test_a_pass_believes_the_list(state: Path) -> None:
    """`sync` asks one by one about what the list shows to be open.

    What has ended, and what the list does not show, is asked for.
    """
    place, jobs = many_jobs(endpoint(spoken=dialect(ops=LIST)), 500)
    ids = list(place.ends)
    place.ends = {id_: 0.0 if n < 40 else 1e9 for n, id_ in enumerate(ids)}
    place.hidden = frozenset(ids[-10:])
    news: list[News] = []

    async def main() -> None:
        await JobPoller(place.api, recorder_at(state), news.append, thrifty=True).all(
            jobs
        )

    run_virtual(main())
    assert (500, 50, 5) == (len(news), place.polls.total(), place.count("list"))
    ended = [one.job.status for one in news if one.job.status.is_terminal]
    assert [Status.COMPLETED] * 40 == ended
