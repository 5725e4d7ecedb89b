"""A job is lost only when that is sure: another key, a replica, a gateway say 404 too."""

import asyncio
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from bgresp.api.client import Api
from bgresp.core.dialect import Op
from bgresp.core.errors import ExitCode
from bgresp.core.model import KEY_DIGEST, Job, Status
from bgresp.core.request import Draft
from bgresp.core.signals import FaultKind, Signal, exit_code
from bgresp.engine.polling import ENOUGH, JobPoller, News
from bgresp.engine.resubmit import to_retry
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.submit import Submitter
from bgresp.engine.tracker import Tracker
from bgresp.ledger import files
from tests import fakeanswers as fa
from tests import fakewire as fw
from tests.endpoint import dialect, endpoint, using
from tests.engine.test_tracker import ended, follow
from tests.fakeserver import FakeServer
from tests.scripted import (
    EPOCH,
    Answer,
    Heard,
    Scripted,
    job,
    recorder_at,
    refusal,
    snapshot,
    tools,
    tracker,
)
from tests.virtualclock import run_virtual

GONE = refusal(404, FaultKind.GONE, "Response not found.")
RUNNING, ANSWER = snapshot("in_progress"), snapshot("completed", fw.FOX)
LISTS = {"list": Op("GET", "/responses")}
MINE, THEIRS = "sk-mine-0123456789", "sk-theirs-0123456789"


def place(key: str, *, kept: bool = True) -> Scripted:
    """Return an endpoint that has none of the jobs, asked with a key."""
    at = endpoint("http://127.0.0.1:1/v1")._replace(key=key, key_is_kept=kept)
    return Scripted(get=[GONE], creates=[[snapshot("queued")]], endpoint=at)


def made(state: Path, key: str, *, kept: bool = True) -> Job:
    """Submit a job with a key, a while ago."""

    async def main() -> Job:
        sender = Submitter(place(key, kept=kept).api, recorder_at(state), print)
        draft = Job("", extra={"key_source": "env:MY_KEY"}, streamable=False)
        return (await sender.submit(Draft(draft, {"model": "m"}))).job

    return run_virtual(main())


def asked(scripted: Scripted, state: Path, jobs: list[Job], *, after: float) -> News:
    """Ask once about jobs, so many seconds after the epoch; return the last news."""
    heard: list[News] = []

    async def main() -> None:
        poller = JobPoller(
            scripted.api, recorder_at(state, start=EPOCH + after), heard.append
        )
        await poller.all(jobs)

    run_virtual(main())
    return heard[-1]


def test_another_keys_404_changes_nothing(state: Path) -> None:
    """With another project's key live jobs turn lost, and retry pays for them twice."""
    one = made(state, MINE)
    for after in (100.0, 1000.0, 10_000.0):
        news = asked(place(THEIRS), state, [one], after=after)
        assert news.fault is not None
        assert ExitCode.CONFIG == exit_code(news.fault)
        assert "made with another key of env:MY_KEY" in news.fault.message
        assert Status.QUEUED is news.job.status
        one = news.job
    heard = Heard()
    only, _, _ = follow(place(THEIRS), state, one=one, heard=heard)
    assert (Status.QUEUED, {}) == (only.job.status, heard.ends)
    assert only.fault is not None
    assert ExitCode.CONFIG == exit_code(only.fault)


def test_another_keys_404_of_many_jobs_changes_nothing(
    server: FakeServer, state: Path
) -> None:
    """Of jobs that are asked about by a list, which shows none of them, 404s say so.

    As of one: exit 4, and each stays what it was.
    """
    mine = files.key_digest(state, MINE)
    jobs = [
        job(n, base_url=server.base_url, extra={KEY_DIGEST: mine})
        for n in range(ENOUGH)
    ]
    heard: list[News] = []
    spoken = dialect(ops=LISTS, limits={"rate": 0})
    at = endpoint(server.base_url, spoken=spoken, key=THEIRS, key_is_kept=True)
    page = {"object": "list", "data": [fw.response_of("completed")], "has_more": False}
    server.script("list", fa.as_json(page))

    server.script("list", fa.as_json(page))
    followed: list[Tracker] = []

    async def main(api: Api) -> None:
        recorder = recorder_at(state)
        await JobPoller(api, recorder, heard.append, thrifty=True).all(jobs)
        shared = tools(api, recorder, Heard(), mode="poll")
        followed.extend(tracker(one, shared) for one in jobs)
        await Scheduler(16).run(followed)

    using(at, main)
    ended = {(one.job.status, one.fault and exit_code(one.fault)) for one in followed}
    assert {(Status.QUEUED, ExitCode.CONFIG)} == ended
    assert {j.key for j in jobs} == {news.job.key for news in heard}
    assert {ExitCode.CONFIG} == {exit_code(n.fault) for n in heard if n.fault}
    assert {Status.QUEUED} == {news.job.status for news in heard}
    assert 2 == len(server.asked("list"))
    assert 2 * ENOUGH == len(server.asked("get"))


def test_its_own_keys_404_is_believed(state: Path) -> None:
    """A job that is really gone is never lost, because its key is remembered."""
    only, _, _ = follow(place(MINE), state, one=made(state, MINE))
    assert Status.LOST is only.job.status


@pytest.mark.parametrize(
    ("key", "kept"),
    [(MINE, False), ("eyJhbGciOi.eyJzdWIi.c2ln", True), ("ya29.a0AfH6SMB", True)],
    ids=["command", "jwt", "google"],
)
def test_keys_that_change_are_not_compared(
    state: Path, key: str, *, kept: bool
) -> None:
    """A token of an hour ago counts as another key, and no 404 is ever believed."""
    one = made(state, key, kept=kept)
    assert KEY_DIGEST not in one.extra
    only, _, _ = follow(place(f"{key}-anew", kept=kept), state, one=one)
    assert Status.LOST is only.job.status


def test_the_key_itself_is_nowhere(state: Path) -> None:
    """The state folder holds a key, a digest that can be tried, or tells it in JSON."""
    one = made(state, MINE)
    digest = str(one.extra[KEY_DIGEST])
    assert 8 == len(digest)
    assert int(digest, 16) >= 0
    assert digest not in str(one.to_record())
    salt = state / "salt"
    assert (0o600, 32) == (stat.S_IMODE(salt.stat().st_mode), salt.stat().st_size)
    for folder, _, names in os.walk(state):
        assert not any(MINE.encode() in Path(folder, n).read_bytes() for n in names)
    assert digest == made(state, MINE).extra[KEY_DIGEST]
    assert digest != made(state, THEIRS).extra[KEY_DIGEST]
    other = state.with_name("other")
    assert digest != made(other, MINE).extra[KEY_DIGEST]


def followed(
    get: Callable[[str], Signal], state: Path, count: int
) -> tuple[Heard, float]:
    """Follow so many old jobs together."""
    heard, scripted = Heard(), Scripted(get=get)
    jobs = [job(n, submitted_at=EPOCH - 1000) for n in range(1, count + 1)]

    async def main() -> float:
        shared = tools(scripted.api, recorder_at(state), heard, mode="poll")
        await Scheduler(16).run([tracker(one, shared) for one in jobs])
        return asyncio.get_running_loop().time()

    return heard, run_virtual(main())


def test_several_jobs_that_are_gone_together_are_doubted_longer(state: Path) -> None:
    """Every job of a gateway that was deployed anew is lost within a minute."""
    heard, took = followed(lambda _: GONE, state, 3)
    assert 600 <= took < 700
    assert ["lost"] == [words[-1] for words in heard.statuses.values()][:1]
    assert 3 == len(heard.statuses)
    (said,) = [note for note in heard.notes if "not found at" in note]
    assert "another key, project or base URL?" in said


def test_jobs_of_a_gateway_that_comes_back_are_not_lost(state: Path) -> None:
    """Five minutes of 404 for all jobs cost one of them."""

    def get(_: str) -> Signal:
        return GONE if asyncio.get_running_loop().time() < 300 else ANSWER

    heard, took = followed(get, state, 3)
    assert [[fw.FOX]] * 3 == list(heard.ends.values())
    assert took < 330


def test_a_dead_replica_loses_nothing(state: Path) -> None:
    """A 404 every second time, for an hour, adds up to a lost job."""
    turns: list[Answer] = [GONE, RUNNING] * 400
    only, heard, _ = follow(
        Scripted(get=[*turns, ANSWER]),
        state,
        one=job(submitted_at=EPOCH - 1000),
        mode="poll",
    )
    assert (Status.COMPLETED, [fw.FOX]) == (only.job.status, ended(heard))


def test_retry_failed_leaves_lost_ones_alone(state: Path) -> None:
    """`retry --failed` pays again for a job that may still answer."""
    recorder = recorder_at(state)
    jobs = [job(1, status=Status.LOST), job(2, status=Status.FAILED)]
    for one in jobs:
        recorder.ledger.record(one)
    assert jobs[1:] == to_retry(recorder, jobs, lost=False)
    assert jobs == to_retry(recorder, jobs, lost=True)
