"""A job's record survives the ledger, and a lower rank never replaces a higher one."""

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgresp.core.errors import ExitCode
from bgresp.core.model import (
    LEDGER_VERSION,
    RECORD_FIELDS,
    Job,
    ResponseError,
    Status,
    Usage,
    may_be_key,
)
from bgresp.core.update import merge
from tests.anyjob import BUILD_JOB, JOBS, NAMES, TIMES, WORDS

# Retyped from CONTRACT.md, Machine output.
RECORD = [
    *("schema", "key", "id", "name", "group", "labels", "profile", "base_url", "model"),
    *("status", "raw_status", "created_at", "submitted_at", "finished_at"),
    *("checked_at", "expires_at", "cursor", "usage", "error", "incomplete_reason"),
    *("retry_of", "previous_id", "output_path", "request_sha256", "submit_key", "row"),
    *("last_error", "exit_code", "ended_with", "refusal", "model_asked", "took_exact"),
]
RANKS = [
    {Status.SUBMITTING},
    {Status.UNKNOWN},
    {Status.REJECTED},
    {Status.QUEUED, Status.IN_PROGRESS, Status.LOST},
    {Status.CANCELLED},
    {Status.INCOMPLETE, Status.FAILED},
    {Status.COMPLETED},
]

# What merging looks at; the rest of a record only comes along.
NEWS = st.builds(
    BUILD_JOB,
    key=st.just("k"),
    status=st.sampled_from(Status),
    id=WORDS,
    raw_status=WORDS,
    checked_at=TIMES,
    cancel_requested_at=TIMES,
)


def _close(one: Job, other: Job) -> bool:
    """Compare two jobs, times to the millisecond that the ledger keeps."""
    for name in NAMES:
        left, right = getattr(one, name), getattr(other, name)
        if name.endswith("_at") and left is not None and right is not None:
            if not math.isclose(left, right, rel_tol=0, abs_tol=2e-3):
                return False
        elif left != right:
            return False
    return True


@given(JOBS)
def test_a_job_survives_the_ledger(job: Job) -> None:
    """Reading what was written gives the same job, keys of newer versions too."""
    line = json.loads(json.dumps(job.to_line()))
    assert LEDGER_VERSION == line["v"]
    read = Job.from_line(line)
    assert _close(job, read)
    assert line == read.to_line()


def test_a_line_holds_what_is_known_alone() -> None:
    """A field that nobody knows takes no room in the ledger."""
    line = Job("k1", Status.QUEUED, cursor=0, streamable=False).to_line()
    expected = {"key": "k1", "status": "queued", "cursor": 0, "streamable": False}
    assert {"v": 1, **expected} == line


def test_a_hand_written_line_is_read_leniently() -> None:
    """Odd values of a field cost that field, not the job."""
    line = {"key": 7, "status": "failed", "usage": [], "error": "x", "labels": None}
    job = Job.from_line({**line, "vars": {"n": 5}, "created_at": "soon"})
    assert Job("7", Status.FAILED, vars={"n": "5"}) == job


@pytest.mark.parametrize(
    "line", [{}, {"key": "k"}, {"status": "queued"}, {"key": "k", "status": "asleep"}]
)
def test_a_line_without_key_or_status_is_none(line: dict[str, Any]) -> None:
    """Without a key and a known status there is no job to speak of."""
    with pytest.raises((KeyError, ValueError)):
        Job.from_line(line)


@settings(max_examples=30)
@given(JOBS)
def test_the_record_is_the_contracts(job: Job) -> None:
    """A script finds every field of the contract, in its order, as JSON."""
    record = job.to_record()
    assert RECORD == list(record) == list(RECORD_FIELDS)
    assert record == json.loads(json.dumps(record))
    assert "bgresp.job/1" == record["schema"]
    assert int(job.exit_code) == record["exit_code"]


def test_what_a_person_types_is_the_id() -> None:
    """A job is named by its id as soon as it has one, by its key before."""
    assert "k1" == Job("k1").ref
    assert "resp_1" == Job("k1", id="resp_1").ref


def test_ranks_are_the_contracts() -> None:
    """The statuses are ranked as the contract says, and every status has a rank."""
    found = [
        {status for status in Status if status.rank == rank}
        for rank in sorted({status.rank for status in Status})
    ]
    assert RANKS == found


def test_open_and_terminal_exclude_each_other() -> None:
    """The six words of the wire are open or terminal; ours are neither."""
    assert {Status.QUEUED, Status.IN_PROGRESS} == {s for s in Status if s.is_open}
    terminal = {"completed", "incomplete", "cancelled", "failed"}
    assert terminal == {str(s) for s in Status if s.is_terminal}


def test_each_status_exits_as_the_contract_says() -> None:
    """Waiting for a job exits with the code of what became of it."""
    expected = {
        Status.COMPLETED: 0,
        Status.REJECTED: 5,
        Status.UNKNOWN: 7,
        Status.SUBMITTING: 8,
        Status.QUEUED: 8,
        Status.IN_PROGRESS: 8,
        Status.INCOMPLETE: 10,
        Status.CANCELLED: 11,
        Status.FAILED: 12,
        Status.LOST: 13,
    }
    assert expected == {status: status.exit_code for status in Status}
    assert all(isinstance(status.exit_code, ExitCode) for status in Status)


@given(st.lists(NEWS, min_size=1, max_size=5))
def test_a_lower_rank_never_replaces_a_higher_one(jobs: list[Job]) -> None:
    """However records arrive, the highest rank among them is what holds."""
    held = jobs[0]
    for job in jobs[1:]:
        before, held = held, merge(held, job)
        assert held.status.rank == max(before.status.rank, job.status.rank)
        doubt = (before.status is Status.LOST) is not (job.status is Status.LOST)
        if doubt and job.status.rank == before.status.rank:
            later = (job.checked_at or 0.0) >= (before.checked_at or 0.0)
            assert held.status is (job if later else before).status
        elif job.status.rank >= before.status.rank:
            assert job.status is held.status
            assert job.raw_status == held.raw_status
        else:
            assert before == held._replace(checked_at=before.checked_at)


@given(NEWS)
def test_recording_twice_changes_nothing(job: Job) -> None:
    """The same record over itself is itself."""
    assert job == merge(job, job)


@given(NEWS, NEWS)
def test_what_was_known_is_not_forgotten(old: Job, new: Job) -> None:
    """A newer record loses neither the id nor a request to cancel."""
    held = merge(old, new)
    assert held.id or not (old.id or (new.id and new.status.rank >= old.status.rank))
    assert held.cancel_requested_at or not old.cancel_requested_at


@given(NEWS, NEWS, st.integers(), st.none() | st.integers())
def test_a_recorded_cursor_never_falls(
    old: Job, new: Job, before: int, after: int | None
) -> None:
    """Recording another watcher's cursor never takes one back."""
    held = merge(old._replace(cursor=before), new._replace(cursor=after))
    assert isinstance(held.cursor, int)
    assert held.cursor >= before


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, None),
        ([], None),
        ({}, None),
        ({"input_tokens": True, "output_tokens": "5"}, None),
        ({"input_tokens": 5, "total_tokens": 7}, Usage(5, None, 7)),
        ({"input_tokens": -1, "output_tokens": 0}, Usage(None, 0, None)),
        ({"input_tokens": -1, "output_tokens": 2**53, "total_tokens": 10**400}, None),
    ],
)
def test_usage_is_read_as_far_as_it_is_told(raw: object, expected: Usage) -> None:
    """Counts that are no integers are unknown, and no counts are no usage."""
    assert expected == Usage.read(raw)


def test_an_error_keeps_the_endpoints_words() -> None:
    """An error's code and message survive the ledger; missing ones are empty."""
    error = ResponseError("server_error", "It broke.")
    assert error == ResponseError.read(error.to_dict())
    assert ResponseError("", "") == ResponseError.read({})
    assert ResponseError.read("it broke") is None


FACTS = {
    Status.SUBMITTING: "is_unsettled",
    Status.UNKNOWN: "is_unsettled",
    Status.REJECTED: "",
    Status.QUEUED: "is_open",
    Status.IN_PROGRESS: "is_open",
    Status.COMPLETED: "is_terminal has_answer",
    Status.INCOMPLETE: "is_terminal has_answer did_not_complete",
    Status.CANCELLED: "is_terminal did_not_complete",
    Status.FAILED: "is_terminal did_not_complete",
    Status.LOST: "did_not_complete",
}


@pytest.mark.parametrize("status", Status)
def test_each_status_has_its_facts(status: Status) -> None:
    """What a command asks of a status is said once, for each of the ten words."""
    names = ("is_open", "is_unsettled", "is_terminal", "has_answer", "did_not_complete")
    assert set(FACTS[status].split()) == {n for n in names if getattr(status, n)}


@pytest.mark.parametrize(
    "value", ["", "a/b", "..", "a.b", "ключ", "a\n", "x" * 65, None, 5, "a b"]
)
def test_a_key_may_stand_in_the_name_of_a_file(value: object) -> None:
    """Nothing that would leave its folder, or is no text, is the key of a job."""
    assert not may_be_key(value)
    assert all(map(may_be_key, ("01HZ", "a-b_C9")))
