"""Jobs over time and over restarts, with a clock that the test moves."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bgresp.serve.engines import Demo, Outcome
from bgresp.serve.jobs import Caller, JobQueue, Limits
from bgresp.serve.refusal import RefusalError
from bgresp.serve.store import Entry, Store
from bgresp.serve.worker import Workers

JOB = {"input": "x", "background": True, "stream": True}


class Clock:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def crash(queue: JobQueue) -> None:
    """Let nothing of the queue reach the disk any more."""
    queue._workers._count = 0
    for job in queue._jobs.values():
        if job.log is not None:
            job.log._file.close()


class Endless:
    """An engine that says one word and never another."""

    async def run(self, request: Mapping[str, Any]) -> AsyncIterator[str | Outcome]:
        yield "word"
        await asyncio.Event().wait()


def queue_at(folder: Path, clock: Clock, engine: Any = None) -> JobQueue:
    workers = Workers(engine or Demo(pace=0), count=1, limit=10)
    limits = Limits(retention=100, max_run=50)
    queue = JobQueue(Store(folder), workers, clock=clock, limits=limits)
    queue.open()
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
        entry = queue.create(JOB, Caller(idempotency_key="k"))
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
        assert entry.id != queue.create(JOB, Caller(idempotency_key="k")).id
        await queue.close()

    asyncio.run(scene())


def test_a_job_may_not_run_for_ever(tmp_path: Path) -> None:
    """After the maximum run time a job has failed, keeps its text, frees its place."""
    clock = Clock()

    async def scene() -> None:
        queue = queue_at(tmp_path, clock, Endless())
        first, second = queue.create(JOB, Caller()), queue.create(JOB, Caller())
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


@pytest.mark.parametrize(
    "torn", [b"", b'{"type": "response.out', b"[]\n", b'{"a":1}\n']
)
def test_what_a_crash_left_open_has_failed(tmp_path: Path, torn: bytes) -> None:
    """After a crash, finished jobs answer; queued and running ones are failed."""
    clock = Clock()

    async def before() -> list[Entry]:
        queue = queue_at(tmp_path, clock)
        done = queue.create(JOB, Caller())
        await queue.settled(done)
        queue = queue_at(tmp_path, clock, Endless())
        clock.now += 1
        begun = queue.create(JOB, Caller())
        clock.now += 1
        waiting = queue.create(JOB, Caller())
        await running(queue, begun)
        crash(queue)
        return [done, begun, waiting]

    async def after(done: Entry, begun: Entry, waiting: Entry) -> None:
        with (tmp_path / f"{begun.id}.events.jsonl").open("ab") as file:
            file.write(torn)
        (tmp_path / f"{waiting.id}.json.tmp").write_text("torn")
        (tmp_path / f"resp_{'0' * 32}.json").write_text("no record")
        queue = queue_at(tmp_path, clock)
        statuses = [queue.response(e)["status"] for e in queue.entries("")]
        assert ["completed", "failed", "failed"] == statuses
        assert "completed" == (await kinds(queue, done))[-1]
        start = ["created", "queued"]
        word = ["output_item.added", "content_part.added", "output_text.delta"]
        assert [*start, "failed"] == await kinds(queue, waiting)
        assert [*start, "in_progress", *word, "failed"] == await kinds(queue, begun)
        assert "server_restarted" == queue.response(begun)["error"]["code"]
        assert "word" == queue.response(begun)["output"][0]["content"][0]["text"]
        assert queue.idle

    entries = asyncio.run(before())
    asyncio.run(after(*entries))


def test_an_orderly_stop_ends_open_streams(tmp_path: Path) -> None:
    """When the server stops, readers get the failed response, creates a 503."""

    async def scene() -> None:
        queue = queue_at(tmp_path, Clock(), Endless())
        entry = queue.create(JOB, Caller())
        await running(queue, entry)
        reader = asyncio.ensure_future(kinds(queue, entry))
        await queue.close()
        assert "failed" == (await reader)[-1]
        assert "server_restarted" == queue.response(entry)["error"]["code"]
        with pytest.raises(RefusalError) as caught:
            queue.create(JOB, Caller())
        assert 503 == caught.value.refusal.status
        assert "true" == caught.value.refusal.headers["x-should-retry"]

    asyncio.run(scene())


def test_a_cancelled_job_never_changes_again(tmp_path: Path) -> None:
    """A job cancelled while it waits is never run, and one that runs stops at once."""

    async def scene() -> None:
        queue = queue_at(tmp_path, Clock(), Endless())
        first, second = queue.create(JOB, Caller()), queue.create(JOB, Caller())
        await running(queue, first)
        queue.cancel(second)
        queue.cancel(first)
        assert ["created", "queued", "cancelled"] == await kinds(queue, second)
        third = queue.create(JOB, Caller())
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
        await queue.settled(queue.create(JOB, Caller()))
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
