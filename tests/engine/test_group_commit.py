"""Submits that are synced together are as safe as one by one, and cost fewer syncs."""

import asyncio
import errno
import os
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from bgresp.api.client import Sent
from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.core.request import Draft
from bgresp.core.signals import Signal
from bgresp.engine.submit import GroupCommit, Submitted, Submitter
from tests.scripted import EPOCH, Scripted, recorder_at, snapshot

BODY = {"model": "m", "input": "hi", "background": True, "store": True}
MANY = 16
DONE = (Status.REJECTED, "not_sent")


@dataclass(slots=True)
class Disk:
    """What was synced: bytes of the journal, and files; `before` each sync of it."""

    journal: Path
    held: int = 0
    files: set[Path] = field(default_factory=set)
    syncs: int = 0
    before: Callable[[int], None] = lambda _: None

    @property
    def lines(self) -> int:
        """Count the journal's lines, on disk or not."""
        return self.journal.read_bytes().count(b"\n")

    def holds(self, word: str | None) -> bool:
        """Say whether the journal's synced part has a word."""
        return str(word).encode() in self.journal.read_bytes()[: self.held]


def _path(fd: int) -> Path:
    return Path(f"/proc/self/fd/{fd}").readlink()


@pytest.fixture
def disk(state: Path, monkeypatch: pytest.MonkeyPatch) -> Disk:
    """Watch syncs; what is written meanwhile counts for the next."""
    found = Disk(state / "ledger.jsonl")
    fdatasync, fsync = os.fdatasync, os.fsync

    def sync_data(fd: int) -> None:
        size = os.fstat(fd).st_size
        if _path(fd) != found.journal:
            fdatasync(fd)
            return
        found.syncs += 1
        found.before(found.syncs)
        fdatasync(fd)
        found.held = max(found.held, size)

    def sync(fd: int) -> None:
        path = _path(fd)
        fsync(fd)
        found.files.add(path)

    monkeypatch.setattr(os, "fdatasync", sync_data)
    monkeypatch.setattr(os, "fsync", sync)
    return found


@dataclass(slots=True)
class Checked(Scripted):
    """Notes for each create what was on disk of it when it left."""

    disk: Disk | None = None
    left: dict[str, tuple[bool, bool, bool]] = field(default_factory=dict)

    async def create(
        self, body: bytes, *, key: str, stream: bool, sent: Sent
    ) -> AsyncGenerator[Signal, None]:
        """Answer a create."""
        assert self.disk is not None
        folder = self.disk.journal.parent / "requests"
        saved, synced = folder / f"{key}.json", self.disk.files
        self.left[key] = (self.disk.holds(key), saved in synced, folder in synced)
        sent.leave()
        yield snapshot("queued", id=f"resp_{key}")


def sender(scripted: Checked, state: Path) -> Submitter:
    recorder = recorder_at(state)
    made = Submitter(scripted.api, recorder, lambda _: None)
    made.group = GroupCommit(recorder.ledger.path)
    return made


def draft() -> Draft:
    return Draft(Job("", submitted_at=EPOCH, dialect="openai"), dict(BODY))


def test_all_is_on_disk_in_time(state: Path, disk: Disk) -> None:
    """A request leaves before its intent is on disk, or an id is told before it is."""
    scripted = Checked(disk=disk)

    async def one(made: Submitter) -> Submitted:
        submitted = await made.submit(draft())
        assert disk.holds(f"resp_{submitted.job.key}")
        return submitted

    written = threading.Event()

    def wait(number: int) -> None:
        assert written.wait(60 if number == 1 else 0)

    async def main() -> list[Submitted]:
        made = sender(scripted, state)
        some = [asyncio.create_task(one(made)) for _ in range(MANY)]
        while not disk.journal.exists() or disk.lines < MANY:  # noqa: ASYNC110  told by none
            await asyncio.sleep(0)
        written.set()
        return await asyncio.gather(*some)

    disk.before = wait
    submitted = asyncio.run(main())
    assert {(True, True, True)} == set(scripted.left.values())
    assert MANY == len(scripted.left) == len({one.job.id for one in submitted})
    assert disk.syncs <= MANY // 2, "one by one they are twice as many as the jobs"


def failing(at: int, reason: int = errno.EIO) -> Callable[[int], None]:
    def before(number: int) -> None:
        if number == at:
            raise OSError(reason, os.strerror(reason))

    return before


def test_an_intent_that_is_not_on_disk_is_not_sent(state: Path, disk: Disk) -> None:
    """Where the sync of several intents fails some of them leave."""
    scripted = Checked(disk=disk)
    disk.before = failing(1)

    async def main() -> list[Any]:
        made = sender(scripted, state)
        some = (made.submit(draft()) for _ in range(MANY))
        return await asyncio.gather(*some, return_exceptions=True)

    results = asyncio.run(main())
    sent = {one.job.key for one in results if isinstance(one, Submitted)}
    failed = [one for one in results if isinstance(one, LedgerError)]
    assert failed
    assert MANY == len(failed) + len(sent)
    assert sent == set(scripted.left)


def test_an_accepted_job_that_is_not_on_disk_is_kept_elsewhere(
    state: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An id whose line could not be synced is told as if it were safe."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(state.parent))
    scripted = Checked(disk=disk)
    disk.before = failing(2)
    submitted = asyncio.run(sender(scripted, state).submit(draft()))
    assert submitted.rescued is not None
    assert "kept in" in submitted.rescued
    assert submitted.job.id == f"resp_{submitted.job.key}"


def test_room_is_made_for_accepted_jobs(state: Path, disk: Disk) -> None:
    """A full disk that a sync tells of takes the id away, though there is a ballast."""
    scripted = Checked(disk=disk)
    disk.before = failing(2, errno.ENOSPC)
    submitted = asyncio.run(sender(scripted, state).submit(draft()))
    assert submitted.rescued is None
    assert 0 == (state / "ballast").stat().st_size
    assert disk.holds(submitted.job.id)


@pytest.mark.parametrize("during", [1, 2])
def test_who_leaves_during_a_sync_loses_nothing(
    state: Path, disk: Disk, during: int
) -> None:
    """Ctrl-C while an intent is synced sends it, or while an id is, loses the id."""
    scripted = Checked(disk=disk)
    syncing, go_on = threading.Event(), threading.Event()

    def wait(number: int) -> None:
        if number == during:
            syncing.set()
            assert go_on.wait(60)

    disk.before = wait

    async def main() -> Submitted:
        task = asyncio.create_task(sender(scripted, state).submit(draft()))
        await asyncio.to_thread(syncing.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go_on.set()
        return await task

    submitted = asyncio.run(main())
    assert submitted.interrupted
    (found,) = recorder_at(state).ledger.newest()
    assert found.status is submitted.job.status
    if during == 1:
        assert {} == scripted.left
        assert found.error is not None
        assert DONE == (found.status, found.error.code)
    else:
        assert disk.holds(submitted.job.id)
        assert (Status.QUEUED, f"resp_{found.key}") == (found.status, found.id)


def test_what_holds_is_written_again_only_where_asked(state: Path) -> None:
    """A line whose sync failed is taken for safe because it can be read."""
    ledger, job = recorder_at(state).ledger, Job("01K" + "0" * 23, Status.QUEUED)
    journal = ledger.path
    for again, lines in ((False, 1), (False, 1), (True, 2)):
        assert job == ledger.record(job, again=again)
        assert lines == journal.read_bytes().count(b"\n")
