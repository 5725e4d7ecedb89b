"""Locks die with their process, and nobody waits for ever."""

import multiprocessing
from dataclasses import replace
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from bgresp.core.errors import LedgerError, NotFinishedError
from bgresp.core.model import Job, Status
from bgresp.ledger import locks
from bgresp.ledger.ledger import Ledger

FORK = multiprocessing.get_context("fork")


def _hold(path: Path, ready: Event, leave: Event) -> None:
    with locks.held(path):
        ready.set()
        leave.wait(60)


def test_a_held_lock_is_waited_for_and_named(tmp_path: Path) -> None:
    """A lock that another process holds is taken, or waited for without end (49)."""
    path = tmp_path / "ledger.lock"
    ready, leave = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=_hold, args=(path, ready, leave))
    holder.start()
    try:
        assert ready.wait(60)
        with (
            pytest.raises(LedgerError, match=r"busy.*ledger\.lock"),
            locks.held(path, wait=0.05),
        ):
            pytest.fail("two held it")
    finally:
        leave.set()
        holder.join()
    with locks.held(path, wait=0.05):
        pass


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    """A process that was killed keeps its lock (case 50)."""
    path = tmp_path / "ledger.lock"
    ready, leave = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=_hold, args=(path, ready, leave))
    holder.start()
    assert ready.wait(60)
    holder.kill()
    holder.join()
    with locks.held(path, wait=0.0):
        pass


def test_an_inflight_lock_tells_who_lives(tmp_path: Path) -> None:
    """A submission under way seems dead, or a dead one alive."""
    path = locks.inflight_path(tmp_path, key="K")
    assert not locks.is_held(path)
    with locks.inflight(path, wait=0.0):
        assert locks.is_held(path)
        with (
            pytest.raises(NotFinishedError, match="same key"),
            locks.inflight(path, wait=0.0),
        ):
            pytest.fail("two held it")
    assert not locks.is_held(path)
    assert not path.exists()


def test_a_lock_is_never_named_by_a_users_text(tmp_path: Path) -> None:
    """A submit key becomes part of a file's name."""
    path = locks.inflight_path(tmp_path, key="K", submit_key="../../etc/x\udc80")
    assert tmp_path == path.parent
    assert "etc" not in path.name


def test_a_submission_that_ended_meanwhile_is_not_dead(tmp_path: Path) -> None:
    """A record read before the lock was found free calls an accepted job dead."""
    writer, reader = Ledger(tmp_path), Ledger(tmp_path)
    with writer.submitting(Job(key="")) as job:
        seen = next(reader.unsettled())
        assert not reader.is_dead(seen)
        writer.record(replace(job, status=Status.QUEUED, id="resp_1"))
    assert Status.SUBMITTING is seen.status
    assert not reader.is_dead(seen)
    with writer.submitting(Job(key="")):
        seen = next(reader.unsettled())
    assert reader.is_dead(seen)
    writer.forget(seen)
    assert not reader.is_dead(seen)
