"""Jobs over time and over restarts, with a clock that the test moves."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bgresp.serve.engines import Demo, EngineNews, Work
from bgresp.serve.job import Workers
from bgresp.serve.jobs import Caller, JobQueue, Limits
from bgresp.serve.output import OutputWriter
from bgresp.serve.store import Entry, Store
from bgresp.serve.wire import RefusalError

JOB = {"input": "x", "background": True, "stream": True}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def crash(queue: JobQueue) -> None:
    """Let the queue do nothing more; its tasks end with the event loop."""
    queue._workers.pause()


class Endless:
    """An engine that says one word and never another."""

    name = "endless"

    async def run(self, work: Work) -> AsyncIterator[EngineNews]:
        yield OutputWriter(work.id).text("word")
        await asyncio.Event().wait()

    async def models(self) -> list[str]:
        return []


def queue_at(
    folder: Path, clock: Clock, engine: Any = None, *, rerun: bool = False
) -> JobQueue:
    queue = JobQueue(
        Store(folder),
        Workers(count=1, limit=10),
        engine=engine or Demo(pace=0),
        clock=clock,
        limits=Limits(retention=100, max_run=50, rerun=rerun),
    )
    queue.open()
    queue.start()
    return queue


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def kinds(queue: JobQueue, entry: Entry) -> list[str]:
    events = [event async for event in queue.follow(entry, -1) if event is not None]
    numbers = [json.loads(event.data)["sequence_number"] for event in events]
    assert list(range(len(events))) == numbers
    return [event.type.removeprefix("response.") for event in events]


async def running(queue: JobQueue, entry: Entry) -> None:
    """Wait until the job's first word is there."""
    async for event in queue.follow(entry, -1):
        if event is not None and event.type == "response.output_text.delta":
            return


def test_a_result_goes_when_its_retention_ends(tmp_path: Path) -> None:
    """A finished job is kept for the retention, then gone from reply and disk."""
    clock = Clock()

    async def scene() -> None:
        queue = queue_at(tmp_path, clock)
        entry = await queue.create(JOB, Caller(idempotency_key="k"))
        await queue.settled(entry)
        clock.now += 100
        queue.sweep()
        assert "completed" == queue.response(queue.find(entry.id, ""))["status"]
        clock.now += 1
        with pytest.raises(RefusalError):
            queue.find(entry.id, "")
        assert [] == queue.entries("")
        queue.sweep()
        assert set() == names(tmp_path)
        again = await queue.create(JOB, Caller(idempotency_key="k"))
        assert entry.id != again.id
        await queue.close()

    asyncio.run(scene())


def test_a_job_may_not_run_for_ever(tmp_path: Path) -> None:
    """After the maximum run time a job has failed, keeps its text, frees its place."""
    clock = Clock()

    async def scene() -> None:
        queue = queue_at(tmp_path, clock, Endless())
        first, second = (
            await queue.create(JOB, Caller()),
            await queue.create(JOB, Caller()),
        )
        await running(queue, first)
        clock.now += 50
        queue.sweep()
        assert "in_progress" == queue.response(first)["status"]
        clock.now += 1
        queue.sweep()
        await running(queue, second)
        response = queue.response(first)
        assert ("failed", "max_run_exceeded") == (
            response["status"],
            response["error"]["code"],
        )
        assert "word" == response["output"][0]["content"][0]["text"]
        assert "failed" == (await kinds(queue, first))[-1]
        await queue.close()

    asyncio.run(scene())


async def crashed(folder: Path, clock: Clock) -> list[Entry]:
    """Leave a job that is done, one that runs and one that waits."""
    queue = queue_at(folder, clock)
    done = await queue.create(JOB, Caller())
    await queue.settled(done)
    queue = queue_at(folder, clock, Endless())
    clock.now += 1
    begun = await queue.create(JOB, Caller())
    clock.now += 1
    waiting = await queue.create(JOB, Caller())
    await running(queue, begun)
    crash(queue)
    return [done, begun, waiting]


START = ["created", "queued"]
WORD = ["output_item.added", "content_part.added", "output_text.delta"]


@pytest.mark.parametrize(
    "torn", [b"", b'{"type": "response.out', b"[]\n", b'{"a":1}\n', b"\xff\n"]
)
def test_a_crash_fails_what_ran_and_keeps_what_waited(
    tmp_path: Path, torn: bytes
) -> None:
    """After a crash finished jobs answer, running ones are failed, queued ones run."""
    clock = Clock()

    async def after(done: Entry, begun: Entry, waiting: Entry) -> None:
        with (tmp_path / f"{begun.id}.events.jsonl").open("ab") as file:
            file.write(torn)
        if not torn:  # it died before it told of what waits
            (tmp_path / f"{waiting.id}.events.jsonl").write_bytes(b"")
        (tmp_path / f"{waiting.id}.json.tmp").write_text("torn")
        (tmp_path / f"resp_{'0' * 32}.json").write_text("no record")
        (tmp_path / f"resp_{'1' * 32}.request.json").write_text("accepted by half")
        queue = queue_at(tmp_path, clock)
        await queue.settled(waiting)
        statuses = [queue.response(e)["status"] for e in queue.entries("")]
        assert ["completed", "failed", "completed"] == statuses
        told = await kinds(queue, done)
        assert "completed" == told[-1]
        assert told == await kinds(queue, waiting)
        assert [*START, "in_progress", *WORD, "failed"] == await kinds(queue, begun)
        assert "server_restarted" == queue.response(begun)["error"]["code"]
        assert "word" == queue.response(begun)["output"][0]["content"][0]["text"]
        assert not (tmp_path / f"resp_{'1' * 32}.request.json").exists()
        await queue.close()

    entries = asyncio.run(crashed(tmp_path, clock))
    asyncio.run(after(*entries))


def test_with_rerun_what_ran_runs_again(tmp_path: Path) -> None:
    """With --rerun a job that a crash cut begins anew, and its events tell of one run."""
    clock = Clock()

    async def after(done: Entry, begun: Entry, waiting: Entry) -> None:
        queue = queue_at(tmp_path, clock, rerun=True)
        await queue.settled(begun)
        await queue.settled(waiting)
        whole = queue.response(waiting)["output"][0]["content"]
        again = queue.response(begun)
        assert ("completed", whole) == (again["status"], again["output"][0]["content"])
        assert (await kinds(queue, waiting)) == await kinds(queue, begun)
        await queue.close()

    entries = asyncio.run(crashed(tmp_path, clock))
    asyncio.run(after(*entries))


def test_a_log_without_its_end_gets_it_from_the_record(tmp_path: Path) -> None:
    """Whatever a crash took from the events of a finished job, its stream ends."""
    clock = Clock()

    async def scene() -> None:
        queue = queue_at(tmp_path, clock)
        entry = await queue.create(JOB, Caller())
        await queue.settled(entry)
        whole = await kinds(queue, entry)
        await queue.close()
        log = tmp_path / f"{entry.id}.events.jsonl"
        lines = log.read_bytes().splitlines(keepends=True)
        for kept in (0, 1, 5, len(lines) - 1):
            log.write_bytes(b"".join(lines[:kept]) + lines[kept][:-3])
            queue = queue_at(tmp_path, clock)
            assert [*whole[:kept], "completed"] == await kinds(queue, entry)
            await queue.close()

    asyncio.run(scene())


def test_what_waits_when_it_stops_runs_when_it_starts(tmp_path: Path) -> None:
    """An orderly stop keeps queued background jobs; their streams end without a lie."""
    clock = Clock()

    async def before() -> Entry:
        queue = queue_at(tmp_path, clock, Endless())
        await running(queue, await queue.create(JOB, Caller()))
        waiting = await queue.create(JOB, Caller())
        reader = asyncio.ensure_future(kinds(queue, waiting))
        await asyncio.sleep(0)
        await queue.close()
        assert START == await reader
        return waiting

    async def after(waiting: Entry) -> None:
        queue = queue_at(tmp_path, clock)
        await queue.settled(waiting)
        assert "completed" == queue.response(waiting)["status"]
        await queue.close()

    asyncio.run(after(asyncio.run(before())))


def test_a_conversation_goes_on(tmp_path: Path) -> None:
    """A previous response's input and output come before the new input, all the way."""
    asked: list[Work] = []

    class Noting:
        name = "noting"

        async def run(self, work: Work) -> AsyncIterator[EngineNews]:
            asked.append(work)
            async for piece in Demo(pace=0).run(work):
                yield piece

        async def models(self) -> list[str]:
            return []

    async def scene() -> None:
        queue = queue_at(tmp_path, Clock(), Noting())
        first = await queue.create(JOB, Caller())
        second = await queue.create(
            {**JOB, "input": "y", "previous_response_id": first.id}, Caller()
        )
        third = await queue.create(
            {**JOB, "input": "z", "previous_response_id": second.id}, Caller()
        )
        await queue.settled(third)
        roles = [item["role"] for item in asked[2].items]
        assert ["user", "assistant", "user", "assistant", "user"] == roles
        texts = [item["content"][0]["text"] for item in asked[2].items]
        assert ["x", "y", "z"] == texts[::2]
        answered = queue.response(first)["output"][0]["content"][0]["text"]
        assert (answered, 4) == (texts[1], asked[2].new)
        queue.delete(first)
        with pytest.raises(RefusalError) as caught:
            await queue.create({**JOB, "previous_response_id": third.id}, Caller())
        assert "previous_response_not_found" == caught.value.refusal.code
        with pytest.raises(RefusalError):
            await queue.create(
                {**JOB, "previous_response_id": third.id}, Caller(tenant="bob")
            )
        await queue.close()

    asyncio.run(scene())


def test_an_unstored_background_response_stays_ten_minutes(tmp_path: Path) -> None:
    """With store=false it can be polled for 600 s after its end, and is never listed."""
    clock = Clock()

    async def scene() -> None:
        queue = queue_at(tmp_path, clock)
        entry = await queue.create({**JOB, "store": False}, Caller())
        await queue.settled(entry)
        assert [] == queue.entries("")
        clock.now += 600
        queue.sweep()
        assert "completed" == queue.response(queue.find(entry.id, ""))["status"]
        clock.now += 1
        queue.sweep()
        with pytest.raises(RefusalError):
            queue.find(entry.id, "")
        assert set() == names(tmp_path)
        await queue.close()

    asyncio.run(scene())


def test_the_same_key_at_the_same_time_makes_one_job(tmp_path: Path) -> None:
    """Creates under one key that overlap get one job; another body is refused."""

    async def scene() -> None:
        queue = queue_at(tmp_path, Clock())
        caller = Caller(idempotency_key="k")
        entries = await asyncio.gather(*(queue.create(JOB, caller) for _ in range(5)))
        assert 1 == len({entry.id for entry in entries})
        with pytest.raises(RefusalError) as caught:
            await queue.create({**JOB, "input": "another"}, caller)
        assert 422 == caught.value.refusal.status
        await queue.close()

    asyncio.run(scene())


def test_beyond_its_room_new_jobs_are_refused(tmp_path: Path) -> None:
    """At the limit of the disk a create is 507, leaves nothing, and the others answer."""

    async def scene() -> None:
        queue = queue_at(tmp_path, Clock())
        entry = await queue.create(JOB, Caller())
        await queue.settled(entry)
        before = names(tmp_path)
        queue._limits = replace(queue._limits, disk=1)
        with pytest.raises(RefusalError) as caught:
            await queue.create(JOB, Caller())
        assert 507 == caught.value.refusal.status
        assert before == names(tmp_path)
        assert "completed" == queue.response(entry)["status"]
        await queue.close()

    asyncio.run(scene())


def test_an_orderly_stop_ends_open_streams(tmp_path: Path) -> None:
    """When the server stops, readers get the failed response, creates a 503."""

    async def scene() -> None:
        queue = queue_at(tmp_path, Clock(), Endless())
        entry = await queue.create(JOB, Caller())
        await running(queue, entry)
        reader = asyncio.ensure_future(kinds(queue, entry))
        await queue.close()
        assert "failed" == (await reader)[-1]
        assert "server_restarted" == queue.response(entry)["error"]["code"]
        with pytest.raises(RefusalError) as caught:
            await queue.create(JOB, Caller())
        assert 503 == caught.value.refusal.status
        assert "true" == caught.value.refusal.headers["x-should-retry"]

    asyncio.run(scene())


def test_a_cancelled_job_never_changes_again(tmp_path: Path) -> None:
    """A job cancelled while it waits is never run, and one that runs stops at once."""

    async def scene() -> None:
        queue = queue_at(tmp_path, Clock(), Endless())
        first, second = (
            await queue.create(JOB, Caller()),
            await queue.create(JOB, Caller()),
        )
        await running(queue, first)
        queue.cancel(second)
        queue.cancel(first)
        assert ["created", "queued", "cancelled"] == await kinds(queue, second)
        third = await queue.create(JOB, Caller())
        await running(queue, third)
        for entry in (first, second):
            assert "cancelled" == queue.response(entry)["status"]
        queue.delete(third)
        queue.sweep()
        await queue.close()
        assert queue.idle

    asyncio.run(scene())


def test_files_are_private(tmp_path: Path) -> None:
    """Nobody else may read the folder of jobs or a file in it."""

    async def scene() -> None:
        queue = queue_at(tmp_path / "jobs", Clock())
        await queue.settled(await queue.create(JOB, Caller()))
        await queue.close()

    asyncio.run(scene())
    folder = tmp_path / "jobs"
    assert 0o700 == folder.stat().st_mode & 0o777
    assert {0o600} == {path.stat().st_mode & 0o777 for path in folder.iterdir()}
    assert 3 == len(names(folder))


def test_no_foreign_name_becomes_a_path(tmp_path: Path) -> None:
    """The store makes no file name of an id that it did not make."""
    store = Store(tmp_path)
    for name in ("../x", "resp_x", f"resp_{'0' * 32}/../x", f"resp_{'0' * 32}\n"):
        with pytest.raises(ValueError, match=r"x|0"):
            store.response(name)
