"""T5: every state that a power cut may leave the journal in, enumerated."""

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest

from bgresp.core.model import Job, Status
from bgresp.ledger.ledger import Ledger
from tests.proof.conftest import Figure
from tests.proof.crashmodel import Disk
from tests.proof.osface import Call, watched

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

# The journal, and what is derived from it; locks are empty and the ballast is random. A
# torn index/whole is none: tests/ledger/test_damage.py.
IGNORED = ("ballast", "README", "ledger.lock", "inflight", "index/whole")


@dataclass(frozen=True, slots=True)
class Crash:
    """What a crash leaves of each file, and what callers had been told is safe."""

    files: Mapping[str, bytes]
    jobs: Mapping[str, Job]
    forgotten: frozenset[str]


@dataclass(slots=True)
class History:
    """A ledger at work on a recorded disk; every step may be its last."""

    state: Path
    jobs: dict[str, Job] = field(default_factory=dict)
    forgotten: frozenset[str] = frozenset()
    crashes: dict[int, Crash] = field(default_factory=dict)
    disk: Disk = field(init=False)

    def __post_init__(self) -> None:
        """Start with an empty disk."""
        self.disk = Disk(self.state)

    def listen(self, call: Call) -> object:
        """Make a call; note what a crash after it may leave."""
        name = str(call.path.relative_to(self.state))
        if name.startswith(IGNORED) or call.name in {"stat", "fstat", "pread"}:
            return call.make()
        if call.path.is_dir() and call.name != "fsync":
            return call.make()
        result = self.disk.take(call)
        if call.name in {"write", "fsync", "fdatasync", "rename", "replace"}:
            self._crash()
        return result

    def _crash(self) -> None:
        for files in self.disk.states():
            told = (len(self.jobs), len(self.forgotten))
            key = hash((tuple(sorted(files.items())), told))
            if key not in self.crashes:
                self.crashes[key] = Crash(files, dict(self.jobs), self.forgotten)

    def run(self, jobs: int) -> None:
        """Submit, hear news, forget, seal and compact."""
        ledger = Ledger(self.state, run_bytes=700, seal_bytes=2000)
        ledger.prepare()
        with watched(self.state, self.listen):
            for number in range(jobs):
                draft = Job(key="", submit_key=f"key {number}", submitted_at=1.0)
                with ledger.submitting(draft) as job:
                    self.jobs[job.key] = job
                taken = job._replace(id=f"resp_{number:06}", status=Status.QUEUED)
                self.jobs[job.key] = ledger.record(taken)
                if number % 3 == 0:
                    done = taken._replace(status=Status.COMPLETED)
                    self.jobs[job.key] = ledger.record(done)
                if number % 5 == 4:
                    del self.jobs[job.key]
                    ledger.forget(taken)
                    self.forgotten |= {job.key}
                if number % 6 == 5:
                    ledger.compact()


def problems(folder: Path, crash: Crash) -> list[str]:
    """Return what a crash state has lost."""
    state = folder / f"crashed-{os.getpid()}"
    _materialize(state, crash.files)
    found = [*_missing(Ledger(state, run_bytes=700), crash)]
    with Ledger(state, run_bytes=700).submitting(Job(key="", name="after")) as job:
        pass
    again = Ledger(state, run_bytes=700)
    if again.by_name("after") != job:
        found.append("the next append cannot be read")
    return [
        f"{sorted(crash.files)}: {why}" for why in (*found, *_missing(again, crash))
    ]


def _materialize(state: Path, files: Mapping[str, bytes]) -> None:
    shutil.rmtree(state, ignore_errors=True)
    for folder in ("responses", "requests", "progress", "inflight", "sealed", "index"):
        (state / folder).mkdir(parents=True, mode=0o700)
    for name, content in files.items():
        (state / name).write_bytes(content)
        (state / name).chmod(0o600)
    (state / "ballast").touch()
    os.truncate(state / "ballast", 65536)
    (state / "README").touch()


def _missing(ledger: Ledger, crash: Crash) -> Iterator[str]:
    listed = {job.key: job for job in ledger.newest()}
    for key, job in crash.jobs.items():
        found = listed.get(key)
        rank = -1 if found is None else found.status.rank
        if found is None or rank < job.status.rank or job.id not in {None, found.id}:
            yield f"{key}, {job.status}, is {found}"
    for job in list(crash.jobs.values())[-3:]:
        by_key = ledger.by_submit_key(str(job.submit_key))
        if by_key is None or by_key.key != job.key:
            yield f"{job.submit_key} leads to {by_key}"
    for key in crash.forgotten & set(listed):
        yield f"{key} came back"


def test_every_crash_state(tmp_path: Path, figure: Figure, full: bool) -> None:
    """A power cut at some moment loses an acknowledged record, or ends the ledger."""
    history = History(tmp_path / "state")
    history.run(40 if full else 6)
    crashes = list(history.crashes.values())
    memory = Path("/dev/shm")  # noqa: S108  where a check's own syncs cost nothing
    scratch = memory if os.access(memory, os.W_OK) else tmp_path
    with (
        tempfile.TemporaryDirectory(dir=scratch) as folder,
        get_context("fork").Pool(os.cpu_count()) as pool,
    ):
        check = partial(problems, Path(folder))
        lost = [why for all_ in pool.imap_unordered(check, crashes, 64) for why in all_]
    figure(
        f"T5: {len(crashes)} crash states of the journal: {len(lost)} records lost or "
        "unreadable; every one loads and takes the next append"
    )
    assert [] == lost[:5]
    assert len(crashes) >= (10_000 if full else 5_000)
