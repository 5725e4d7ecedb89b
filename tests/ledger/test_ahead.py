"""Keys ahead of time: kept and named, and never what a new key is made from."""

import json
import os
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.line import key_horizon, new_key

DAY = 86_400.0
END = "7" + "Z" * 25


def test_a_key_at_the_end_of_time_is_nobodys_last(tmp_path: Path) -> None:
    """After a record with the greatest key of all a new job takes its place."""
    poison = Job(key=END, status=Status.QUEUED, id="resp_foreign")
    Ledger(tmp_path).record(poison)
    keys_: set[str] = set()
    for run_bytes in (256 * 1024, 1, 1):  # with and without an index over it
        ledger = Ledger(tmp_path, run_bytes=run_bytes)
        with ledger.submitting(Job(key="", name="mine")) as job:
            ledger.record(job._replace(status=Status.QUEUED, id=f"resp_{len(keys_)}"))
        keys_.add(job.key)
    assert 3 == len(keys_)
    assert max(keys_) < END
    ledger = Ledger(tmp_path)
    assert [END] == [job.key for job in ledger.ahead()]
    assert "resp_foreign" == (ledger.by_key(END) or poison).id
    assert keys_ == {job.key for job in ledger.newest()} - {END}


def test_a_checkpoint_that_counts_a_key_ahead_is_made_anew(tmp_path: Path) -> None:
    """What an older bgresp noted as the last key brings the poison back."""
    ledger = Ledger(tmp_path, run_bytes=1)
    with ledger.submitting(Job(key="")) as job:
        ledger.record(job._replace(status=Status.QUEUED, id="resp_1"))
    index = tmp_path / "index" / "open"
    noted = json.loads(index.read_bytes())
    assert noted["last"] == job.key
    index.write_text(json.dumps({**noted, "last": END}))
    again = Ledger(tmp_path)
    with again.submitting(Job(key="")) as newer:
        assert job.key < newer.key < END


@pytest.mark.parametrize("reopens", [False, True])
def test_a_clock_that_is_put_back_stops_no_submit(
    tmp_path: Path, *, reopens: bool
) -> None:
    """Keys that a clock gave before it was put back are taken for the last ones."""
    clock = [4_000_000_000.0]
    ledger = Ledger(tmp_path, now=lambda: clock[0], run_bytes=1)
    for days in (0, -10, 0, 0):
        clock[0] += days * DAY
        with ledger.submitting(Job(key="")) as job:
            ledger.record(job._replace(status=Status.QUEUED, id=f"resp_{job.key}"))
        os.utime(ledger.path, (1.0, 1.0))
        ledger = Ledger(tmp_path, now=ledger.now, run_bytes=1) if reopens else ledger
    given = [job.key for job in ledger.newest()]
    assert len(given) == 4
    assert key_horizon(clock[0]) < given[0]


@pytest.mark.parametrize("reopens", [False, True])
def test_a_key_that_time_has_reached_counts_again(
    tmp_path: Path, *, reopens: bool
) -> None:
    """A key that was ahead is not the last one, though the clock is near it now."""
    clock = [4_000_000_000.0]
    ledger = Ledger(tmp_path, now=lambda: clock[0], run_bytes=1)
    last = ""
    for days in (5, -5, 4.5):
        clock[0] += days * DAY
        with ledger.submitting(Job(key="")) as job:
            ledger.record(job._replace(status=Status.QUEUED, id=f"resp_{job.key}"))
        os.utime(ledger.path, (1.0, 1.0))
        ledger = Ledger(tmp_path, now=ledger.now, run_bytes=1) if reopens else ledger
        last = job.key
    assert last == next(ledger.newest()).key


def test_a_key_that_is_taken_is_not_given_again(tmp_path: Path) -> None:
    """Where the clock stands still, a record just ahead of time lends its key."""
    now = 1_790_000_000.0
    last = key_horizon(now)
    ahead = new_key(0.0, 0, after=last)
    ledger = Ledger(tmp_path, now=partial(float, now))
    for key in (last, ahead):
        ledger.record(Job(key=key, status=Status.QUEUED, id=f"resp_{key}"))
    os.utime(ledger.path, (now, now))
    ledger = Ledger(tmp_path, now=partial(float, now))
    with pytest.raises(LedgerError, match="is taken"), ledger.submitting(Job(key="")):
        pytest.fail("a key was given twice")
    assert {last, ahead} == {job.key for job in ledger.newest()}


@given(st.floats(-1e6, 4e11))
def test_the_horizon_is_the_greatest_key_of_its_moment(moment: float) -> None:
    """What is put together for each look differs from what a key of then would be."""
    day = 86_400.0
    assert key_horizon(moment) == new_key(moment + day, (1 << 80) - 1, after=None)
