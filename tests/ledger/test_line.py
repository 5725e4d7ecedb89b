"""One line of the journal says what was written, or that it cannot be read."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.model import Job, Status
from bgresp.ledger.line import (
    BadLineError,
    decode,
    encode,
    is_cut_short,
    is_of_open_job,
    key_of,
)
from tests.anyjob import BUILD_JOB

TEXT = st.text(max_size=20)
JOBS = st.builds(
    BUILD_JOB,
    key=st.from_regex(r"[A-Za-z0-9_-]{1,64}", fullmatch=True),
    status=st.sampled_from(Status),
    id=st.none() | TEXT,
    name=st.none() | TEXT,
    labels=st.dictionaries(TEXT, TEXT, max_size=3),
    submitted_at=st.none() | st.integers(0, 4_000_000_000).map(float),
    cursor=st.none() | st.integers(0, 10**6),
    extra=st.dictionaries(st.from_regex(r"x_[a-z]{1,5}", fullmatch=True), TEXT),
)


@given(JOBS)
def test_what_is_written_is_read(job: Job) -> None:
    """A record comes back changed, its unknown keys included (case 47)."""
    line = encode(job)
    assert line.endswith(b"\n")
    assert 1 == line.count(b"\n")
    assert line.isascii()
    assert job == decode(line[:-1]).job


@given(JOBS, st.data())
def test_a_changed_byte_is_seen(job: Job, data: st.DataObject) -> None:
    """A changed byte passes for another record."""
    line = bytearray(encode(job)[:-1])
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[at]))
    try:
        found = decode(bytes(line))
    except BadLineError:
        return
    # Only the name of the checksum's own field can change without a contradiction.
    assert found.job is None or found.job.key == job.key


@given(st.binary(max_size=200))
def test_any_bytes_are_a_line_or_a_bad_line(raw: bytes) -> None:
    """Some bytes raise something else than BadLineError."""
    with suppress(BadLineError):
        decode(raw)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([], "not an object"),
        ({"v": 1, "status": "queued"}, "no key"),
        ({"v": 1, "key": "a b", "status": "queued"}, "no key"),
        ({"v": 1, "key": "../x", "status": "queued"}, "no key"),
        ({"v": 1, "key": 7, "status": "queued"}, "no key"),
        ({"v": 1, "key": "K", "status": "paused"}, "no status"),
        ({"v": 1, "key": "K", "status": ["queued"]}, "no status"),
    ],
)
def test_what_is_no_record_is_said(table: Any, reason: str) -> None:
    """A line that is no record is taken for one, or the reason is not said."""
    with pytest.raises(BadLineError, match=reason):
        decode(json.dumps(table).encode())


def test_odd_shapes_are_no_job() -> None:
    """A record with fields of odd shapes ends in a traceback."""
    line = decode(
        b'{"v":1,"key":"K","status":"queued","labels":7,"usage":[],"error":3}'
    )
    assert line.job is None or line.job.key == "K"


def test_lines_by_hand_need_no_checksum() -> None:
    """A line that a person wrote is refused."""
    job = decode(b'{"key": "K", "status": "completed", "id": "resp_1"}').job
    assert job == Job(key="K", status=Status.COMPLETED, id="resp_1")


@given(JOBS)
def test_the_beginning_of_a_line_is_cut_short(job: Job) -> None:
    """A torn write is taken for a line that was damaged, NULs behind it or not."""
    whole = encode(job)[:-1]
    every = 1 if len(whole) < 200 else 7
    for cut in (*range(1, len(whole), every), *range(len(whole) - 20, len(whole))):
        assert is_cut_short(whole[:cut])
    assert is_cut_short(whole[: len(whole) // 2] + bytes(999))
    assert is_cut_short(bytes(4096))


@given(JOBS, st.data())
def test_a_damaged_line_is_not_cut_short(job: Job, data: st.DataObject) -> None:
    """A line that was written whole, and can be read no more, passes for a torn one."""
    line = bytearray(encode(job)[:-1])
    last = len(line) - 1
    at = data.draw(st.integers(0, last))
    line[at] = data.draw(st.integers(0, 255).filter(lambda byte: byte != line[at]))
    assert at == last or not is_cut_short(bytes(line))


def test_the_end_of_a_damaged_line_is_not_one_of_a_torn_one() -> None:
    """A changed byte in the checksum makes a whole line look torn."""
    line = encode(Job(key="K" * 26, submit_key="k", labels={"c": "x"}))[:-1]
    for at in range(len(line) - 30, len(line)):
        for byte in b'x0 \n\0"}{:,':
            changed = line[:at] + bytes([byte]) + line[at + 1 :]
            pieces = changed.split(b"\n")
            if changed == line or (at >= len(line) - 2 and byte in b"\n\0"):
                continue  # nothing is lost by an end that is not there
            with suppress(BadLineError):
                [decode(piece) for piece in pieces]
                continue
            assert not all(is_cut_short(piece) for piece in pieces), changed


@given(JOBS)
def test_a_whole_line_that_goes_on_is_not_cut_short(job: Job) -> None:
    """Two records whose newline was lost between them pass for a torn one."""
    line = encode(job)[:-1]
    for between in (b"", b"\0", b"x", b" "):
        assert not is_cut_short(line + between + line)
    assert not is_cut_short(line + b"x")


@given(JOBS)
def test_a_key_is_read_as_the_whole_line_is(job: Job) -> None:
    """The short way to a line's key finds another than the long one."""
    line = encode(job)[:-1]
    assert job.key == key_of(line) == decode(line).key
    assert key_of(line[:-1]) is None
    assert "K" == key_of(b'{"key": "K", "status": "queued"}')


@given(JOBS, st.data())
def test_an_open_job_is_told_from_others_unparsed(
    job: Job, data: st.DataObject
) -> None:
    """A line of another job, of one that is not open, or a damaged one is taken for it.

    Or the line of an open job is not.
    """
    line = bytearray(encode(job)[:-1])
    assert job.status.is_open is is_of_open_job(bytes(line), job.key)
    assert not is_of_open_job(bytes(line), f"{job.key}0")
    at = data.draw(st.integers(0, len(line) - 1))
    line[at] ^= data.draw(st.integers(1, 255))
    assert not is_of_open_job(bytes(line), job.key)
