"""What is synced together is as safe as one by one, and costs fewer syncs."""

import asyncio
import errno
import json
import os
import threading
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from bgresp.api.transport import Sent
from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.core.request import Draft
from bgresp.core.signals import Signal, Snapshot
from bgresp.engine.recorder import GroupCommit
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.submit import Submitted, Submitter
from bgresp.engine.tracker import Tracker
from bgresp.ledger import files
from bgresp.ledger.journal import Pin
from bgresp.ledger.ledger import Ledger
from tests.scripted import (
    EPOCH,
    Heard,
    Script,
    Scripted,
    job,
    recorder_at,
    snapshot,
    tools,
    tracker,
)

BODY = {"model": "m", "input": "hi", "background": True, "store": True}
MANY = 16
DONE = (Status.REJECTED, "not_sent")


@dataclass(slots=True)
class Disk:
    """What was synced: bytes of the journal, files, names; `before` each sync of it."""

    journal: Path
    held: int = 0
    files: set[Path] = field(default_factory=set)
    inodes: set[int] = field(default_factory=set)
    names: set[Path] = field(default_factory=set)
    data: set[Path] = field(default_factory=set)
    syncs: int = 0
    before: Callable[[int], None] = lambda _: None
    before_file: Callable[[Path], None] = lambda _: None

    @property
    def lines(self) -> int:
        """Count the journal's lines, on disk or not."""
        return self.journal.read_bytes().count(b"\n")

    def has_answer(self, key: str) -> bool:
        """Say whether a job's answer is on disk, under its name."""
        path = self.journal.parent / "responses" / f"{key}.json"
        return path in self.names and path.stat().st_ino in self.inodes

    def ends(self) -> list[str]:
        """Return the keys of the lines, on disk or not, that say completed."""
        lines = map(json.loads, self.journal.read_bytes().splitlines())
        return [one["key"] for one in lines if one["status"] == "completed"]

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
            found.data.add(_path(fd))
            return
        found.syncs += 1
        found.before(found.syncs)
        fdatasync(fd)
        found.held = max(found.held, size)

    def sync(fd: int) -> None:
        path = _path(fd)
        found.before_file(path)
        names = set(path.iterdir()) if path.is_dir() else set()
        fsync(fd)
        found.files.add(path)
        found.inodes.add(os.fstat(fd).st_ino)
        found.names |= names

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


def test_a_connection_is_free_while_the_outcome_is_synced(
    state: Path, disk: Disk
) -> None:
    """A row keeps its connection from the others until its id is on disk."""
    scripted, replied = Checked(disk=disk), threading.Event()

    def wait(number: int) -> None:
        assert number < 2 or replied.wait(60)
        assert number > 1 or not replied.is_set()

    disk.before = wait
    submitted = asyncio.run(sender(scripted, state).submit(draft(), replied.set))
    assert disk.holds(submitted.job.id)


def failing(at: int, reason: int = errno.EIO) -> Callable[[int], None]:
    def before(number: int) -> None:
        if number == at:
            raise OSError(reason, os.strerror(reason))

    return before


def test_an_intent_that_is_not_on_disk_is_not_sent(state: Path, disk: Disk) -> None:
    """Where the sync of several intents fails some leave, or count as sent, perhaps."""
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
    assert 1 + 2 * len(sent) >= disk.syncs, "a sync that failed is never repeated"
    unsent = [one for one in recorder_at(state).ledger.newest() if one.id is None]
    assert [DONE] * len(failed) == [
        (j.status, j.error and j.error.code) for j in unsent
    ]


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
    made = sender(scripted, state)
    made.recorder.now = lambda: EPOCH  # the line that could not be synced is the same
    submitted = asyncio.run(made.submit(draft()))
    assert submitted.rescued is None
    assert 3 == disk.syncs
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


ANSWER = snapshot("completed", "the whole answer")


@dataclass(slots=True)
class Sure(Heard):
    """Notes for each end that it is told of whether all of it is on disk."""

    disk: Disk | None = None
    sure: dict[str, bool] = field(default_factory=dict)

    def ended(self, job: Job, text: str) -> None:
        """Look at the disk."""
        assert self.disk is not None
        held = self.disk.journal.read_bytes()[: self.disk.held].splitlines()
        lines = [one for one in map(json.loads, held) if one["key"] == job.key]
        is_over = bool(lines) and lines[-1]["status"] == "completed"
        self.sure[job.key] = is_over and self.disk.has_answer(job.key)


async def follow(
    state: Path,
    heard: Heard,
    count: int,
    scheduler: Scheduler | None = None,
    *,
    get: Script = (ANSWER,),
) -> None:
    """Follow jobs that are over when they are asked about."""
    recorder = recorder_at(state)
    scripted = Scripted(get=get)
    shared = tools(scripted.api, recorder, heard, mode="poll")
    shared = replace(shared, group=GroupCommit(recorder.ledger.path))
    shared.limiter.rate = 0.0
    many = [recorder.ledger.record(job(n)) for n in range(1, count + 1)]
    trackers: list[Tracker] = [tracker(one, shared) for one in many]
    await (scheduler or Scheduler(MANY)).run(trackers)


def held_up(disk: Disk, what: str) -> tuple[threading.Event, threading.Event]:
    """Hold up the syncs of ended jobs' answers, or of the first line of one.

    Returns what tells that one began, and what lets it go on.
    """
    syncing, go_on = threading.Event(), threading.Event()
    answers = disk.journal.parent / "responses"

    def wait() -> None:
        syncing.set()
        assert go_on.wait(60)

    if what == "line":
        disk.before = lambda number: wait() if number == MANY + 1 else None
    else:
        disk.before_file = lambda path: wait() if path.parent == answers else None
    return syncing, go_on


def test_an_end_is_told_when_all_of_it_is_on_disk(state: Path, disk: Disk) -> None:
    """An end is told, or written, before the answer is on disk; or costs its syncs."""
    heard = Sure(disk=disk)

    def check(_: object) -> None:
        assert all(map(disk.has_answer, disk.ends()))

    disk.before, disk.before_file = check, check
    asyncio.run(follow(state, heard, 4 * MANY))
    assert 4 * MANY == len(heard.sure)
    assert all(heard.sure.values())
    assert sorted(heard.sure) == sorted(disk.ends())
    assert disk.syncs <= (4 + 2) * MANY, "a sync a record, and half a sync an end"


def test_who_leaves_as_an_answer_comes_keeps_it(state: Path, disk: Disk) -> None:
    """Ctrl-C right behind an answer loses it: nobody saves what nobody looked at yet."""
    heard, following = Sure(disk=disk), list["asyncio.Task[None]"]()

    def answer(_: str) -> Snapshot:
        asyncio.get_running_loop().call_soon(following[0].cancel)
        return ANSWER

    async def main() -> None:
        following.append(asyncio.create_task(follow(state, heard, 1, get=answer)))
        with pytest.raises(asyncio.CancelledError):
            await following[0]

    asyncio.run(main())
    assert {job(1).key: True} == heard.sure
    assert [job(1).key] == disk.ends()


@pytest.mark.parametrize("what", ["answer", "line"])
def test_who_insists_on_leaving_leaves(state: Path, disk: Disk, what: str) -> None:
    """A second Ctrl-C while ends are synced waits for ever, as nobody syncs any more."""
    heard = Sure(disk=disk)
    syncing, go_on = held_up(disk, what)

    async def main() -> None:
        task = asyncio.create_task(follow(state, heard, MANY))
        await asyncio.to_thread(syncing.wait, 60)
        for _ in range(2):
            task.cancel()
            for _ in range(3):
                await asyncio.sleep(0)
        assert task.done()
        asyncio.get_running_loop().call_soon(go_on.set)

    asyncio.run(main())
    ended = [one for one in recorder_at(state).ledger.newest() if one.ended_with]
    answers = disk.journal.parent / "responses"
    assert all((answers / f"{one.key}.json").exists() for one in ended)


def test_nobody_waits_for_a_sync_that_will_not_be(state: Path, disk: Disk) -> None:
    """A loop that ends while a sync runs hangs, for who waits for the next one."""
    syncing, go_on = threading.Event(), threading.Event()

    def wait(_: int) -> None:
        syncing.set()
        assert go_on.wait(60)

    async def main() -> None:
        recorder = recorder_at(state)
        group, spoken = GroupCommit(recorder.ledger.path), Scripted().endpoint.dialect
        first = recorder.heard_with(group, job(1), snapshot("in_progress"), spoken)
        second = recorder.heard_with(group, job(2), snapshot("in_progress"), spoken)
        tasks = [asyncio.create_task(first)]
        await asyncio.to_thread(syncing.wait, 60)
        tasks.append(asyncio.create_task(second))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(go_on.set)

    disk.before = wait
    asyncio.run(main())
    assert {job(1).key, job(2).key} == {
        one.key for one in recorder_at(state).ledger.newest()
    }


def test_a_group_may_be_of_all_sorts(state: Path, disk: Disk) -> None:
    """Of files in two folders, or of lines in two journals, only some are synced."""
    recorder, sealed = recorder_at(state), [state / "sealed-1", state / "sealed-2"]
    recorder.ledger.prepare()
    answers = recorder.answers

    async def main() -> None:
        group = GroupCommit(recorder.ledger.path)
        group.add_file(answers.begin_request("k1", b"{}"))
        group.add_file(answers.begin_response("k2", b"{}"))
        for path in sealed:
            group.add_line(Pin(files.open_append(path)))
        await group.synced()

    asyncio.run(main())
    assert {answers.request_path("k1"), answers.response_path("k2")} <= disk.names
    assert {*sealed} == disk.data


def test_what_could_not_be_synced_leaves_nothing_behind(
    state: Path, disk: Disk
) -> None:
    """Where an answer cannot be synced the others of its group stay half-made."""
    recorder = recorder_at(state)
    recorder.ledger.prepare()
    folder = state / "responses"

    def fail(path: Path) -> None:
        if path.parent == folder:
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    async def main() -> None:
        group = GroupCommit(recorder.ledger.path)
        for number in range(3):
            group.add_file(recorder.answers.begin_response(f"k{number}", b"{}"))
        with pytest.raises(LedgerError):
            await group.synced()

    disk.before_file = fail
    asyncio.run(main())
    assert [] == [*folder.iterdir()]


def test_a_last_word_waits_for_no_group(state: Path, disk: Disk) -> None:
    """An answer that a group is to sync is in nobody's ledger when `heard` returns."""
    recorder = recorder_at(state)
    one = recorder.ledger.record(job(1))
    group = GroupCommit(recorder.ledger.path)
    recorder.heard(one, ANSWER, Scripted().endpoint.dialect, group=group)
    assert disk.has_answer(one.key)
    assert disk.holds("completed")


def test_a_job_that_is_forgotten_while_it_is_saved(state: Path, disk: Disk) -> None:
    """The answer of a job that was forgotten while it was synced stays for ever."""
    recorder = recorder_at(state)
    one = recorder.ledger.record(job(1))
    answer = recorder.answers.response_path(one.key)

    def forget(path: Path) -> None:
        if path.parent == answer.parent:
            Ledger(state).forget(one)

    async def main() -> None:
        group, spoken = GroupCommit(recorder.ledger.path), Scripted().endpoint.dialect
        await recorder.heard_with(group, one, ANSWER, spoken)

    disk.before_file = forget
    asyncio.run(main())
    assert answer in disk.names, "it was there for a moment"
    assert not answer.exists()
    assert recorder.ledger.is_forgotten(one.key)


def test_who_is_asked_to_leave_hears_of_it_when_the_end_was_told(
    state: Path, disk: Disk
) -> None:
    """A pass that is left while an end is synced does not tell of it, or goes on."""
    syncing, go_on, told = threading.Event(), threading.Event(), list[Status]()

    def wait(number: int) -> None:
        syncing.set()
        assert go_on.wait(60)

    async def one() -> None:
        recorder = recorder_at(state)
        group = GroupCommit(recorder.ledger.path)
        spoken = Scripted().endpoint.dialect
        heard = await recorder.heard_with(group, job(), ANSWER, spoken)
        told.append(heard.status)
        await asyncio.sleep(0)
        raise AssertionError("it went on")

    async def main() -> None:
        task = asyncio.create_task(one())
        await asyncio.to_thread(syncing.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    disk.before = wait
    asyncio.run(main())
    assert [Status.COMPLETED] == told
    assert [job().key] == disk.ends()


def test_no_end_is_told_that_is_not_on_disk(state: Path, disk: Disk) -> None:
    """Where the sync of several ends fails one of them is told."""
    heard = Sure(disk=disk)
    disk.before = lambda number: failing(number)(number) if number > MANY else None
    with pytest.raises(LedgerError, match="cannot sync"):
        asyncio.run(follow(state, heard, MANY))
    assert {} == heard.sure


@pytest.mark.parametrize("what", ["answer", "line"])
def test_who_leaves_while_ends_are_synced_has_them_told(
    state: Path, disk: Disk, what: str
) -> None:
    """Ctrl-C loses answers that were received, or leaves an end untold."""
    heard, over = Sure(disk=disk), list[str]()
    syncing, go_on = held_up(disk, what)

    def stop(one: Tracker) -> bool:
        over.append(one.job.key)
        return False

    async def main() -> None:
        task = asyncio.create_task(follow(state, heard, MANY, Scheduler(MANY, stop)))
        await asyncio.to_thread(syncing.wait, 60)
        task.cancel()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    found = [
        one.key for one in recorder_at(state).ledger.newest() if one.status.is_terminal
    ]
    assert found
    assert sorted(found) == sorted(heard.sure) == sorted(over)
    assert all(heard.sure.values())
