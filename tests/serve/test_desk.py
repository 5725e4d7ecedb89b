"""Jobs over time and over restarts, with a clock that the test moves."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from bgresp.serve.desk import Caller, Desk, Limits
from bgresp.serve.engines import Demo, Outcome
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


def crash(desk: Desk) -> None:
    """Let nothing of the desk reach the disk any more."""
    desk._workers._count = 0
    for job in desk._jobs.values():
        if job.log is not None:
            job.log._file.close()


class Endless:
    """An engine that says one word and never another."""

    async def run(self, request: Mapping[str, Any]) -> AsyncIterator[str | Outcome]:
        yield "word"
        await asyncio.Event().wait()


def desk_at(folder: Path, clock: Clock, engine: Any = None) -> Desk:
    workers = Workers(engine or Demo(pace=0), count=1, limit=10)
    limits = Limits(retention=100, max_run=50)
    desk = Desk(Store(folder), workers, clock=clock, limits=limits)
    desk.open()
    return desk


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


async def kinds(desk: Desk, entry: Entry) -> list[str]:
    events = [event async for event in desk.follow(entry, -1) if event is not None]
    numbers = [json.loads(event.data)["sequence_number"] for event in events]
    assert list(range(len(events))) == numbers
    return [event.type.removeprefix("response.") for event in events]


async def running(desk: Desk, entry: Entry) -> None:
    """Wait until the job's first word is there."""
    async for event in desk.follow(entry, -1):
        if event is not None and event.type == "response.output_text.delta":
            return


def test_a_result_goes_when_its_retention_ends(tmp_path: Path) -> None:
    """A finished job is kept for the retention, then gone from reply and disk."""
    clock = Clock()

    async def scene() -> None:
        desk = desk_at(tmp_path, clock)
        entry = desk.create(JOB, Caller(idempotency_key="k"))
        await desk.settled(entry)
        clock.now += 100
        desk.sweep()
        assert "completed" == desk.response(desk.find(entry.id, ""))["status"]
        clock.now += 1
        with pytest.raises(RefusalError):
            desk.find(entry.id, "")
        assert [] == desk.entries("")
        desk.sweep()
        assert set() == names(tmp_path)
        assert entry.id != desk.create(JOB, Caller(idempotency_key="k")).id
        await desk.close()

    asyncio.run(scene())


def test_a_job_may_not_run_for_ever(tmp_path: Path) -> None:
    """After the maximum run time a job has failed, keeps its text, frees its place."""
    clock = Clock()

    async def scene() -> None:
        desk = desk_at(tmp_path, clock, Endless())
        first, second = desk.create(JOB, Caller()), desk.create(JOB, Caller())
        await running(desk, first)
        clock.now += 50
        desk.sweep()
        assert "in_progress" == desk.response(first)["status"]
        clock.now += 1
        desk.sweep()
        await running(desk, second)
        response = desk.response(first)
        assert ("failed", "max_run_exceeded") == (
            response["status"],
            response["error"]["code"],
        )
        assert "word" == response["output"][0]["content"][0]["text"]
        assert "failed" == (await kinds(desk, first))[-1]
        await desk.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "torn", [b"", b'{"type": "response.out', b"[]\n", b'{"a":1}\n']
)
def test_what_a_crash_left_open_has_failed(tmp_path: Path, torn: bytes) -> None:
    """After a crash, finished jobs answer; queued and running ones are failed."""
    clock = Clock()

    async def before() -> list[Entry]:
        desk = desk_at(tmp_path, clock)
        done = desk.create(JOB, Caller())
        await desk.settled(done)
        desk = desk_at(tmp_path, clock, Endless())
        clock.now += 1
        begun = desk.create(JOB, Caller())
        clock.now += 1
        waiting = desk.create(JOB, Caller())
        await running(desk, begun)
        crash(desk)
        return [done, begun, waiting]

    async def after(done: Entry, begun: Entry, waiting: Entry) -> None:
        with (tmp_path / f"{begun.id}.events.jsonl").open("ab") as file:
            file.write(torn)
        (tmp_path / f"{waiting.id}.json.tmp").write_text("torn")
        (tmp_path / f"resp_{'0' * 32}.json").write_text("no record")
        desk = desk_at(tmp_path, clock)
        statuses = [desk.response(e)["status"] for e in desk.entries("")]
        assert ["completed", "failed", "failed"] == statuses
        assert "completed" == (await kinds(desk, done))[-1]
        start = ["created", "queued"]
        word = ["output_item.added", "content_part.added", "output_text.delta"]
        assert [*start, "failed"] == await kinds(desk, waiting)
        assert [*start, "in_progress", *word, "failed"] == await kinds(desk, begun)
        assert "server_restarted" == desk.response(begun)["error"]["code"]
        assert "word" == desk.response(begun)["output"][0]["content"][0]["text"]
        assert desk.idle

    entries = asyncio.run(before())
    asyncio.run(after(*entries))


def test_an_orderly_stop_ends_open_streams(tmp_path: Path) -> None:
    """When the server stops, readers get the failed response, creates a 503."""

    async def scene() -> None:
        desk = desk_at(tmp_path, Clock(), Endless())
        entry = desk.create(JOB, Caller())
        await running(desk, entry)
        reader = asyncio.ensure_future(kinds(desk, entry))
        await desk.close()
        assert "failed" == (await reader)[-1]
        assert "server_restarted" == desk.response(entry)["error"]["code"]
        with pytest.raises(RefusalError) as caught:
            desk.create(JOB, Caller())
        assert 503 == caught.value.refusal.status
        assert "true" == caught.value.refusal.headers["x-should-retry"]

    asyncio.run(scene())


def test_a_cancelled_job_never_changes_again(tmp_path: Path) -> None:
    """A job cancelled while it waits is never run, and one that runs stops at once."""

    async def scene() -> None:
        desk = desk_at(tmp_path, Clock(), Endless())
        first, second = desk.create(JOB, Caller()), desk.create(JOB, Caller())
        await running(desk, first)
        desk.cancel(second)
        desk.cancel(first)
        assert ["created", "queued", "cancelled"] == await kinds(desk, second)
        third = desk.create(JOB, Caller())
        await running(desk, third)
        for entry in (first, second):
            assert "cancelled" == desk.response(entry)["status"]
        desk.delete(third)
        desk.sweep()
        await desk.close()
        assert desk.idle

    asyncio.run(scene())


def test_files_are_private(tmp_path: Path) -> None:
    """Nobody else may read the folder of jobs or a file in it."""

    async def scene() -> None:
        desk = desk_at(tmp_path / "jobs", Clock())
        await desk.settled(desk.create(JOB, Caller()))
        await desk.close()

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
