"""A folder of jobs in which not everything is as we wrote it."""

import asyncio
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.serve.jobs import Caller, JobQueue
from bgresp.serve.store import Entry, Store
from tests.serve.test_job_queue import JOB, Clock, queue_at

ID = f"resp_{'0' * 32}"
ENTRY: dict[str, Any] = {
    "id": ID,
    "tenant": "",
    "created": 1.0,
    "background": True,
    "streamable": True,
}
RESPONSE = {"id": ID, "status": "queued"}


def statuses(queue: JobQueue) -> list[str]:
    return [str(queue.response(entry)["status"]) for entry in queue.entries("")]


async def done(folder: Path, clock: Clock) -> Entry:
    queue = queue_at(folder, clock)
    entry = await queue.create(JOB, Caller())
    await queue.settled(entry)
    await queue.close()
    return entry


@pytest.mark.parametrize(
    "suffix", [".json", ".request.json", ".events.jsonl", ".json.tmp"]
)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["fifo", "folder"])
def test_what_is_no_file_costs_its_job_alone(
    tmp_path: Path, suffix: str, make: Any
) -> None:
    """A pipe or a folder in a file's place is never waited for; the others answer."""

    async def scene() -> None:
        clock = Clock()
        entry = await done(tmp_path, clock)
        record = json.dumps({"entry": ENTRY, "response": RESPONSE})
        (tmp_path / f"{ID}.json").write_text(record)
        (tmp_path / f"{ID}{suffix}").unlink(missing_ok=True)
        make(tmp_path / f"{ID}{suffix}")
        queue = queue_at(tmp_path, clock)
        assert "completed" == queue.response(entry)["status"]
        assert "completed" == statuses(queue)[-1]
        assert set(statuses(queue)) <= {"completed", "failed"}
        await queue.close()

    asyncio.run(scene())


@pytest.mark.parametrize(
    "changed",
    [
        {"created": "yesterday"},
        {"created": None},
        {"created": [1]},
        {"created": 1e300},
        {"created": -1},
        {"created": True},
        {"tenant": {}},
        {"ended": "x"},
        {"idempotency_key": ["a"]},
        {"background": 1},
        {"id": f"resp_{'1' * 32}"},
    ],
    ids=str,
)
def test_a_record_of_odd_types_costs_itself_alone(
    tmp_path: Path, changed: dict[str, Any]
) -> None:
    """An entry with a field of another type is no record; every other job answers."""

    async def scene() -> None:
        clock = Clock()
        await done(tmp_path, clock)
        record = {"entry": ENTRY | changed, "response": RESPONSE}
        (tmp_path / f"{ID}.json").write_text(json.dumps(record))
        queue = queue_at(tmp_path, clock)
        assert ["completed"] == statuses(queue)
        queue.sweep()
        await queue.close()

    asyncio.run(scene())


@pytest.mark.parametrize("response", [None, [], "x", {}, {"status": 1}, {"status": []}])
def test_a_record_without_its_response_has_failed(
    tmp_path: Path, response: Any
) -> None:
    """Where the entry can be read and the response not, the job says so."""
    record = {"entry": ENTRY | {"ended": 2.0}, "response": response}
    (tmp_path / f"{ID}.json").write_text(json.dumps(record))

    async def scene() -> None:
        clock = Clock()
        clock.now = 3.0
        queue = queue_at(tmp_path, clock)
        (entry,) = queue.entries("")
        said = queue.response(entry)
        assert ("failed", "record_damaged") == (said["status"], said["error"]["code"])
        await queue.close()

    asyncio.run(scene())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


@given(
    st.dictionaries(st.sampled_from([*ENTRY, "ended", "idempotency_key", "new"]), JSON)
)
def test_an_entry_is_read_or_left_out(
    tmp_path_factory: pytest.TempPathFactory, changed: dict[str, Any]
) -> None:
    """Whatever stands in a record, loading it raises nothing and can be sorted."""
    folder = tmp_path_factory.mktemp("jobs")
    (folder / f"{ID}.json").write_text(json.dumps({"entry": ENTRY | changed}))
    other = {"entry": ENTRY | {"id": f"resp_{'2' * 32}"}}
    (folder / f"resp_{'2' * 32}.json").write_text(json.dumps(other))
    store = Store(folder)
    store.load()
    assert f"resp_{'2' * 32}" in [entry.id for entry in store]
