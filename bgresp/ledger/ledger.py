"""The ledger: every job this machine submitted, and what is known of it.

May import core and the other modules of this package. Writers append under a lock;
readers take none. The fold is: the last line for a key holds, by rank.
"""

import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from bgresp.core.board import Selector
from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status, merge
from bgresp.ledger import files, journal, keys, locks
from bgresp.ledger.line import BadLineError, decode, encode

README: Final = """\
This folder is the ledger of bgresp, a command-line tool for background jobs of model
endpoints. ledger.jsonl has one JSON record a line, the last one for a key holds;
responses/ has the answers, requests/ what was asked. It may hold private text.
"""
FORGOTTEN: Final = "forgotten"
CLAIM_WAIT: Final = 120.0
FOLDERS: Final = ("responses", "requests", "progress", "inflight")


@dataclass(slots=True)
class Ledger:
    """One state folder. Reading starts when first asked; nothing is created by it."""

    state: Path
    now: Callable[[], float] = time.time
    bad: list[tuple[int, str]] = field(default_factory=list)
    newer: bool = False
    _jobs: dict[str, Job] = field(default_factory=dict)
    _offset: int = 0
    _lines: int = 0
    _inode: int = 0

    @property
    def path(self) -> Path:
        """Return the journal's path."""
        return self.state / "ledger.jsonl"

    # ---- reading -----------------------------------------------------------

    def newest(self) -> Iterator[Job]:
        """Yield jobs, newest first."""
        self._refresh()
        for key in sorted(self._jobs, reverse=True):
            yield self._jobs[key]

    def open_jobs(self) -> Iterator[Job]:
        """Yield the jobs that the endpoint may still change, newest first."""
        return (job for job in self.newest() if job.status.is_open)

    def unsettled(self) -> Iterator[Job]:
        """Yield submissions without a known outcome, newest first."""
        wanted = {Status.SUBMITTING, Status.UNKNOWN}
        return (job for job in self.newest() if job.status in wanted)

    def select(self, selector: Selector) -> Iterator[Job]:
        """Yield the jobs a selector means, newest first."""
        jobs = self.open_jobs() if selector.only_open else self.newest()
        return (job for job in jobs if selector.matches(job))

    def by_key(self, key: str) -> Job | None:
        """Return the job with our key."""
        self._refresh()
        return self._jobs.get(key)

    def by_id(self, id_: str) -> Job | None:
        """Return the newest job with the endpoint's id."""
        return next((job for job in self.newest() if job.id == id_), None)

    def by_name(self, name: str) -> Job | None:
        """Return the newest bearer of a name."""
        return next((job for job in self.newest() if job.name == name), None)

    def by_prefix(self, prefix: str, *, limit: int) -> list[Job]:
        """Return jobs whose id begins so, with or without `resp_`; at most `limit`."""
        forms = (prefix, f"resp_{prefix}")
        found: list[Job] = []
        for job in self.newest():
            if job.id is not None and job.id.startswith(forms):
                found.append(job)
            if len(found) == limit:
                break
        return found

    def by_submit_key(self, submit_key: str) -> Job | None:
        """Return the newest submission under a `--key`."""
        return next((j for j in self.newest() if j.submit_key == submit_key), None)

    def by_row(self, group: str, row: str) -> Job | None:
        """Return the newest submission of a batch's row."""
        found = (j for j in self.newest() if j.group == group and j.row == row)
        return next(found, None)

    def is_dead(self, job: Job) -> bool:
        """Say whether a submission died: its record stands, its lock is free."""
        if job.status is not Status.SUBMITTING:
            return False
        folder = self.state / "inflight"
        path = locks.inflight_path(folder, key=job.key, submit_key=job.submit_key)
        return not locks.is_held(path)

    # ---- writing -----------------------------------------------------------

    @contextmanager
    def claim(self, submit_key: str, *, wait: float = CLAIM_WAIT) -> Iterator[None]:
        """Hold the right to submit under a key; look the key up once it is held.

        Raises NotFinishedError when another process still submits under it.
        """
        self.prepare()
        folder = self.state / "inflight"
        path = locks.inflight_path(folder, key="", submit_key=submit_key)
        with locks.inflight(path, wait=wait):
            yield

    @contextmanager
    def submitting(self, draft: Job) -> Iterator[Job]:
        """Write the intent of a submit; hold its in-flight lock until the outcome.

        Under a `--key` that lock is the claim, which the caller holds. Yields the job with its new key. Raises LedgerError; then nothing may be sent.
        """
        self.prepare()
        with ExitStack() as until_outcome:
            with locks.held(self.state / "ledger.lock"):
                self._refresh()
                self._refuse_newer()
                key = self._next_key()
                if draft.submit_key is None:
                    path = locks.inflight_path(self.state / "inflight", key=key)
                    until_outcome.enter_context(locks.inflight(path, wait=0.0))
                job = replace(draft, key=key)
                self._append(job)
            yield job

    def adopt(self, draft: Job) -> Job:
        """Take in a job that this ledger did not submit; return it with its new key.

        An id that is known already keeps its record. Raises LedgerError.
        """
        self.prepare()
        with locks.held(self.state / "ledger.lock"):
            self._refresh()
            self._refuse_newer()
            known = self.by_id(draft.id) if draft.id else None
            if known is not None:
                return known
            job = replace(draft, key=self._next_key())
            self._append(job)
        return job

    def record(self, job: Job) -> Job:
        """Write what became of a job; return what holds now, by rank.

        Raises LedgerError when it could not be made durable.
        """
        self.prepare()
        with locks.held(self.state / "ledger.lock"):
            self._refresh()
            self._refuse_newer()
            old = self._jobs.get(job.key)
            merged = job if old is None else merge(old, job)
            if old is None or merged != old:
                self._append(merged)
        return merged

    def forget(self, job: Job) -> None:
        """Drop a job from view for good; its submit key keeps its id.

        Raises LedgerError.
        """
        kept = Job(key=job.key, status=job.status, extra={FORGOTTEN: True})
        if job.submit_key is not None:
            kept = replace(kept, id=job.id, submit_key=job.submit_key)
        with locks.held(self.state / "ledger.lock"):
            self._refresh()
            self._refuse_newer()
            self._append(kept)

    def prepare(self) -> None:
        """Create the state folder and its folders, private."""
        if not (self.state / "inflight").is_dir():
            files.make_private(self.state)
            for name in FOLDERS:
                files.make_private(self.state / name)
        readme = self.state / "README"
        if not readme.exists():
            files.replace(readme, README.encode(), durable=False)

    def _next_key(self) -> str:
        last = max(self._jobs, default=None)
        return keys.make(self.now(), secrets.randbits(80), after=last)

    def _append(self, job: Job) -> None:
        journal.append(self.path, encode(job))
        self._refresh()

    def _refuse_newer(self) -> None:
        if self.newer:
            raise LedgerError(
                f"{self.path} was written by a newer bgresp: it is read-only here",
                hint="pip install --upgrade bgresp",
            )

    # ---- the fold ----------------------------------------------------------

    def _refresh(self) -> None:
        """Read what was appended since the last look."""
        inode = self._identity()
        if inode != self._inode:
            self._jobs, self._offset, self._lines = {}, 0, 0
            self.bad, self._inode = [], inode
        for line in journal.read(self.path, self._offset):
            self._lines += 1
            self._offset = line.end
            if line.raw:
                self._take(line.raw)

    def _identity(self) -> int:
        try:
            return self.path.stat().st_ino
        except OSError:
            return 0

    def _take(self, raw: bytes) -> None:
        try:
            line = decode(raw)
        except BadLineError as error:
            self.bad.append((self._lines, str(error)))
            return
        if line.newer:
            self.newer = True
        if line.job is not None:
            old = self._jobs.get(line.job.key)
            self._jobs[line.job.key] = merge(old, line.job) if old else line.job
