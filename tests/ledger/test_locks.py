"""Locks die with their process, and nobody waits for ever."""

import fcntl
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from bgresp.core.errors import LedgerError, NotFinishedError
from bgresp.core.model import Job, Status
from bgresp.ledger import files
from bgresp.ledger.ledger import Ledger

FORK = multiprocessing.get_context("fork")


def _hold(path: Path, ready: Event, leave: Event) -> None:
    with files.held(path):
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
            files.held(path, wait=0.05),
        ):
            pytest.fail("two held it")
    finally:
        leave.set()
        holder.join()
    with files.held(path, wait=0.05):
        pass


def test_the_file_of_a_claim_goes_before_its_lock(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who took the lock just now loses its file's name, and another submits as well."""
    path, lock, seen = tmp_path / "c.lock", fcntl.flock, list[bool]()

    def flock(fd: int, operation: int) -> None:
        if operation & fcntl.LOCK_UN:
            seen.append(path.exists())
        lock(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with files.inflight(path, wait=0.0):
        assert path.exists()
    assert [False] == seen


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    """A process that was killed keeps its lock (case 50)."""
    path = tmp_path / "ledger.lock"
    ready, leave = FORK.Event(), FORK.Event()
    holder = FORK.Process(target=_hold, args=(path, ready, leave))
    holder.start()
    assert ready.wait(60)
    holder.kill()
    holder.join()
    with files.held(path, wait=0.0):
        pass


def test_a_lock_is_given_back_though_a_fork_lives_on(tmp_path: Path) -> None:
    """What was forked while a lock was held keeps it from everybody."""
    path = tmp_path / "ledger.lock"
    leave = FORK.Event()
    child = FORK.Process(target=leave.wait, args=(60,))
    with files.held(path):
        child.start()
    try:
        with files.held(path, wait=0.0):
            pass
    finally:
        leave.set()
        child.join()


def test_an_inflight_lock_tells_who_lives(tmp_path: Path) -> None:
    """A submission under way seems dead, or a dead one alive."""
    path = files.inflight_path(tmp_path, key="K")
    assert not files.is_held(path)
    with files.inflight(path, wait=0.0):
        assert files.is_held(path)
        with (
            pytest.raises(NotFinishedError, match="same key"),
            files.inflight(path, wait=0.0),
        ):
            pytest.fail("two held it")
    assert not files.is_held(path)
    assert not path.exists()


def test_an_unreadable_lock_is_nobody_s(tmp_path: Path) -> None:
    """A submission that died seems alive for ever where its lock cannot be opened."""
    path = files.inflight_path(tmp_path, key="K")
    path.mkdir()
    assert not files.is_held(path)
    ledger = Ledger(tmp_path / "state")
    with ledger.submitting(Job(key="")) as job:
        pass
    files.inflight_path(ledger.state / "inflight", key=job.key).mkdir()
    assert ledger.is_dead(job)


def test_a_lock_is_never_named_by_a_users_text(tmp_path: Path) -> None:
    """A submit key becomes part of a file's name."""
    path = files.inflight_path(tmp_path, key="K", submit_key="../../etc/x\udc80")
    assert tmp_path == path.parent
    assert "etc" not in path.name


def test_a_submission_that_ended_meanwhile_is_not_dead(tmp_path: Path) -> None:
    """A record read before the lock was found free calls an accepted job dead."""
    writer, reader = Ledger(tmp_path), Ledger(tmp_path)
    with writer.submitting(Job(key="")) as job:
        seen = next(reader.unsettled())
        assert not reader.is_dead(seen)
        writer.record(job._replace(status=Status.QUEUED, id="resp_1"))
    assert Status.SUBMITTING is seen.status
    assert not reader.is_dead(seen)
    with writer.submitting(Job(key="")):
        seen = next(reader.unsettled())
    assert reader.is_dead(seen)
    writer.forget(seen)
    assert not reader.is_dead(seen)


def test_a_lock_holds_only_the_file_that_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who waited for a lock gets that of a file which its holder has removed."""
    path, real, removed = tmp_path / "K.lock", fcntl.flock, list[Path]()

    def flock(fd: int, operation: int) -> None:
        if not removed:  # the holder before ends just now
            path.unlink()
            removed.append(path)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    with files.inflight(path, wait=0.0):
        assert removed
        assert files.is_held(path)


@dataclass(frozen=True, slots=True)
class Silence:
    """A file system that answers for no lock until it is told to."""

    writer: int
    real: Callable[[int, int], None]

    def end(self) -> None:
        """Let it answer, those that wait and those that come."""
        os.write(self.writer, b"x" * 100)

    def is_free(self, path: Path) -> bool:
        """Say whether nobody has the lock."""
        with path.open("rb") as file:
            try:
                self.real(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            return True


@pytest.fixture
def silence(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silence]:
    """Have locks that wait as on NFS without its lock service.

    A read of an empty pipe is as deaf to signals as flock is there.
    """
    reader, writer = os.pipe()
    real = fcntl.flock

    def waits(fd: int, operation: int) -> None:
        os.read(reader, 1)
        real(fd, operation)

    monkeypatch.setattr(fcntl, "flock", waits)
    monkeypatch.setattr(files, "LOCK_ANSWER", 0.05)
    monkeypatch.setattr(files, "_ANSWERED", {})
    made = Silence(writer, real)
    threads = set(threading.enumerate())
    yield made
    made.end()
    for thread in set(threading.enumerate()) - threads:
        thread.join(60)
    for fd in (reader, writer):
        os.close(fd)


def test_a_lock_that_never_comes_is_named(tmp_path: Path, silence: Silence) -> None:
    """On NFS without its lock service a command hangs for ever, or waits each time."""
    path, before = tmp_path / "ledger.lock", set(threading.enumerate())
    with (
        pytest.raises(LedgerError, match=r"does not answer.*ledger\.lock") as caught,
        files.held(path, wait=0.0),
    ):
        pytest.fail("held")
    assert "BGRESP_STATE_DIR" in caught.value.hint
    waiting = threading.active_count()
    for again in (files.prove, files.is_held):
        with pytest.raises(LedgerError, match="does not answer"):
            again(path)
    assert waiting == threading.active_count()
    silence.end()
    for late in set(threading.enumerate()) - before:
        late.join()
    assert silence.is_free(path), "the lock that came too late was not given back"


def test_a_lock_that_answers_needs_no_thread(tmp_path: Path) -> None:
    """Each of a million appends starts a thread."""
    path = tmp_path / "ledger.lock"
    files.prove(path)  # there is none yet
    with files.held(path):
        before = threading.active_count()
    with files.held(path):
        assert before == threading.active_count()
        files.prove(path)
