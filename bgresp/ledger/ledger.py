"""The ledger: every job this machine submitted, and what is known of it.

Writers append under a lock; readers take none. The last line for a key holds, by rank.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.core.selection import Selector
from bgresp.ledger import files, index, journal
from bgresp.ledger.index import bad_places, undoubted
from bgresp.ledger.line import encode, new_key
from bgresp.ledger.view import (
    OPEN,
    UNSETTLED,
    View,
    bearers,
    by_prefix,
    holding,
    select,
    shortened,
    tombstone,
)
from bgresp.ledger.words import Words

if TYPE_CHECKING:
    from bgresp.ledger.upkeep import SetAside


MOST_TAKEN: Final = 10_000  # keys in a row that are tried before a submit fails


class Ledger:
    """One state folder. Reading starts when first asked; nothing is created by it.

    `run_bytes` and `seal_bytes` say when the tail is indexed and the file sealed.
    """

    def __init__(
        self,
        state: Path,
        now: Callable[[], float] = time.time,
        run_bytes: int = 64 * 1024,
        seal_bytes: int = journal.SEAL_BYTES,
    ) -> None:
        """Look nowhere yet."""
        self.state = state
        self.now = now
        self.run_bytes = run_bytes
        self.seal_bytes = seal_bytes
        self.path = state / "ledger.jsonl"
        self.bad_path = state / "ledger.bad.jsonl"  # where lines lie, set aside
        # The mark of a ledger that was seen to be older than its folder.
        self.older_path = state / "ledger.older"
        self._lock = state / "ledger.lock"
        self._view = View(state, 2 * run_bytes, now)
        self._appender = journal.Appender(self.path)
        self.words = Words(self._view.index)
        self._is_prepared = False
        self._is_dated = False
        self._is_newest = False

    def newest(self) -> Iterator[Job]:
        """Yield jobs, newest first, reading only as far as is asked."""
        return self._refreshed().newest()

    def open_jobs(self) -> Iterator[Job]:
        """Yield the jobs that the endpoint may still change, newest first."""
        return iter(self._refreshed().open_jobs(OPEN))

    def unsettled(self) -> Iterator[Job]:
        """Yield submissions without a known outcome, newest first."""
        return iter(self._refreshed().open_jobs(UNSETTLED))

    def lost(self) -> Iterator[Job]:
        """Yield jobs that the endpoint said it does not have, newest first.

        Those that an older version recorded may be missing.
        """
        return iter(self._refreshed().open_jobs(frozenset({Status.LOST})))

    def select(self, selector: Selector) -> Iterator[Job]:
        """Yield the jobs a selector means, newest first."""
        return select(self._refreshed(), selector)

    def by_key(self, key: str) -> Job | None:
        """Return the job with our key."""
        job = self._refreshed().by_key(key)
        return job if job is not None and not job.is_forgotten else None

    def newer_files(self) -> list[Path]:
        """Return files of jobs that are newer than the ledger, and unknown to it.

        Raises LedgerError.
        """
        from bgresp.ledger import upkeep

        found = list(upkeep.strays(self.state, frozenset[str]()))
        view = self._refreshed()  # only now: what was listed had its record before
        marked = {*(files.read(self.older_path) or b"").splitlines()}
        return [
            stray.path
            for stray in found
            if (upkeep.is_ahead(stray, view.last) or stray.name in marked)
            and view.by_key(stray.key) is None
        ]

    def accept_older(self) -> list[Path]:
        """Take the ledger as it is; move what is newer to `strays/`, and return it.

        Raises LedgerError.
        """
        folder, moved = self.state / "strays", []
        with self._writing():
            for path in self.newer_files():
                files.make_private(folder)
                target = folder / f"{path.parent.name}-{path.name}"
                with files.blamed(path, "move"):
                    path.rename(target)
                moved.append(target)
            with files.blamed(self.older_path, "remove"):
                self.older_path.unlink(missing_ok=True)
        return moved

    def is_forgotten(self, key: str) -> bool:
        """Say whether a job was dropped: then nothing is to be kept of it any more."""
        return self._refreshed().is_forgotten(key)

    def by_id(self, id_: str) -> Job | None:
        """Return the job with the endpoint's id: of several the one that holds."""
        found = bearers(self._refreshed(), index.id_term(id_), id=id_)
        return holding(job for job in found if not job.is_forgotten)

    def by_name(self, name: str) -> Job | None:
        """Return the newest bearer of a name."""
        found = bearers(self._refreshed(), index.term("n", name), name=name)
        return next((job for job in found if not job.is_forgotten), None)

    def by_prefix(self, prefix: str, *, limit: int) -> list[Job]:
        """Return jobs whose id begins so, with or without `resp_`; at most `limit`."""
        return by_prefix(self._refreshed(), prefix, limit=limit)

    def shortened(self, jobs: Iterable[Job]) -> dict[str, str]:
        """Return by key the shortest beginning of each id that means its job alone."""
        return shortened(self._refreshed(), jobs)

    def by_submit_key(self, submit_key: str) -> Job | None:
        """Return the submission under a `--key` that holds, forgotten ones included.

        Before one more is sent `check_whole` says whether another may be hidden.
        """
        term = index.term("s", submit_key)
        found = bearers(self._refreshed(), term, submit_key=submit_key)
        return holding(found)

    def by_row(self, group: str, row: str) -> Job | None:
        """Return the submission of a batch's row that holds; see `by_submit_key`."""
        return holding(self.of_row(group, row))

    def of_row(self, group: str, row: str) -> Iterator[Job]:
        """Yield every submission of a batch's row, newest first, as `by_row` looks."""
        term = index.row_term(group, row)
        return bearers(self._refreshed(), term, group=group, row=row)

    def may_have(self, group: str) -> bool:
        """Say whether any submission may be of a group, forgotten ones included."""
        found = self._refreshed().matching(index.term("g", group), lambda _: True)
        return next(found, None) is not None

    def check_whole(self) -> None:
        """Refuse to believe that something was never submitted, where it may be hidden.

        Every POST that depends on an absence comes after this. Raises LedgerError.
        """
        self._note_age()
        if self.older_path.exists():
            raise LedgerError(
                f"{self.path} is older than its folder, as if a backup was put back: "
                "it may lack an earlier submit of it; nothing was sent",
                hint="bgresp doctor --fix shows what is newer, and accepts the ledger",
            )
        view = self._refreshed()
        missing = journal.missing(self.state, view.segments)
        if missing is not None:
            import shlex  # nobody else here quotes

            raise LedgerError(
                f"{missing} is missing, and may hold an earlier submit of it: "
                "nothing was sent",
                hint=f"put it back; else touch {shlex.quote(str(missing))} gives it up",
            )
        doubts = view.doubts
        if doubts:
            [place] = bad_places(doubts[:1])
            more = f" (and {len(doubts) - 1} more lines)" if doubts[1:] else ""
            raise LedgerError(
                f"{place}{more} cannot be read, and may be an earlier submit of it: "
                "nothing was sent",
                hint="bgresp doctor --fix shows it and sets it aside",
            )

    def is_dead(self, job: Job) -> bool:
        """Say whether a submission died: its record stands, its lock is free.

        The record is looked at again after the lock: it may be free because the
        submission ended well just now.
        """
        if job.status is not Status.SUBMITTING:
            return False
        if files.is_held(self._inflight(job)):
            return False
        now = self.by_key(job.key)
        return now is not None and now.status is Status.SUBMITTING

    def is_ahead(self, key: str) -> bool:
        """Say whether a key lies ahead of time: no clock gave it."""
        return key > self._refreshed().horizon

    def ahead(self) -> Iterator[Job]:
        """Yield the jobs whose keys lie ahead of time: no clock gave them."""
        view = self._refreshed()
        return takewhile(lambda job: job.key > view.horizon, view.newest())

    @property
    def is_indexed(self) -> bool:
        """Say whether what was looked up last had an index; else all was read."""
        return self._view.is_indexed

    @property
    def bad(self) -> list[tuple[str, str]]:
        """Return the lines that cannot be read, as `file:line`, and why."""
        found = self._view.bad
        return list(zip(bad_places(found), (line.why for line in found), strict=True))

    def first_bad(self, most: int) -> tuple[int, list[tuple[str, str]]]:
        """Return how many lines cannot be read, and the first of them as `bad` does."""
        found = self._view.bad
        few = found[:most]
        whys = (line.why for line in few)
        return len(found), list(zip(bad_places(few), whys, strict=True))

    @contextmanager
    def claim(self, name: str) -> Iterator[None]:
        """Hold the right to submit under a name; look it up once it is held.

        The names are `key:KEY` and `unique:REQUEST`. Raises NotFinishedError when
        another process holds it.
        """
        if not self._is_prepared:
            self.prepare()
        with files.inflight(files.claim_path(self.state / "inflight", name), wait=0.0):
            yield

    @contextmanager
    def submitting(
        self,
        draft: Job,
        before: Callable[[Job], None] = lambda _: None,
        *,
        later: journal.Later | None = None,
    ) -> Iterator[Job]:
        """Write the intent of a submit; hold its in-flight lock until the outcome.

        Under a `--key` that lock is the claim, which the caller holds. Yields the job
        with its new key, after `before` was done with it. Raises LedgerError; then
        nothing may be sent; nor before what is synced `later` was.
        """
        self.prepare()
        with ExitStack() as until_outcome:
            with self._writing():
                job = draft._replace(key=self._next_key())
                if draft.submit_key is None:
                    lock = files.inflight(self._inflight(job), wait=0.0)
                    until_outcome.enter_context(lock)
                before(job)
                self._append(job, later=later)
            yield job

    def adopt(self, draft: Job) -> Job:
        """Take in a job that this ledger did not submit; return it with its new key.

        An id that is known already keeps its record. Raises LedgerError.
        """
        with self._writing():
            known = self.by_id(draft.id) if draft.id else None
            if known is not None:
                return known
            job = draft._replace(key=self._next_key())
            self._append(job)
        self.tend()
        return job

    def record(
        self, job: Job, *, later: journal.Later | None = None, again: bool = False
    ) -> Job:
        """Write what became of a job; return what holds now, by rank.

        Nothing is written that holds already, unless `again`: a line may be there whose
        sync failed. Raises LedgerError when it could not be made durable, unless that
        is for `later` to do.
        """
        from bgresp.core.update import merge  # whoever asked an endpoint has it

        with self._writing():
            old = self._view.by_key(job.key)
            if old is not None and old.is_forgotten:
                return job  # forgotten meanwhile: news does not bring it back
            merged = job if old is None else merge(old, job)
            if again or merged != old:
                self._append(merged, old, later=later)
        self.tend()
        return merged

    def sweep(self) -> int:
        """Remove the files that belong to no record, or were not finished; count them.

        Those of a job that is newer than the ledger stay, and those of a line that was
        set aside. Raises LedgerError.
        """
        from bgresp.ledger import upkeep

        count = upkeep.remove_half_written(self.state, self.now())
        known = {job.key for job in self.newest()}
        if self._view.bad or self.older_path.exists():
            return count
        if not any(upkeep.strays(self.state, known)):
            return count
        aside_ = files.read(self.bad_path) or b""
        with self._writing():
            for stray in upkeep.strays(self.state, known):
                job = self._view.by_key(stray.key)
                is_ahead = upkeep.is_ahead(stray, self._view.last)
                if (job is None and is_ahead) or stray.key.encode() in aside_:
                    continue
                if job is None or job.is_forgotten:
                    with files.blamed(stray.path, "remove"):
                        stray.path.unlink(missing_ok=True)
                    count += 1
        return count

    def forget(self, job: Job) -> None:
        """Drop a job from view for good; its submit key keeps its id.

        Raises LedgerError.
        """
        with self._writing():
            self._append(tombstone(job), job)
        self.tend()

    def compact(self) -> int:
        """Rewrite the files without what no longer holds; return the bytes saved.

        Raises LedgerError; then every file is the old one or the new one, whole.
        """
        from bgresp.ledger import upkeep

        with self._writing():
            saved = upkeep.compact(self._view)
            self._view.close()
            self.words.rebuild(self._refreshed())
        return saved

    def set_aside(self) -> "list[SetAside]":
        """Move what cannot be read to `ledger.bad.jsonl`; return what was moved.

        Raises LedgerError.
        """
        from bgresp.ledger import upkeep

        with self._writing():
            moved = upkeep.set_bad_lines_aside(self._view, self.bad_path)
            if moved:
                self._view.close()
                self.words.rebuild(self._refreshed())
        return moved

    def tend(self) -> None:
        """Index a tail that has grown, seal a file that is large; never in a hurry."""
        if self._refreshed().tail_bytes < self.run_bytes:
            return
        if self._view.is_indexed:  # else each try reads everything again, in vain
            self._view.index_tail()
        if self._refreshed().active.size >= self.seal_bytes:
            with self._writing():
                if self._view.active.size >= self.seal_bytes:
                    journal.seal(self.state)

    def tend_words(self) -> None:
        """Make what shells complete anew where it is missing, torn or stale."""
        self.words.tend(self._refreshed(), self._lock)

    def prepare(self) -> None:
        """Create the state folder and its folders, private."""
        files.prepare(self.state)
        self._is_prepared = True

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Hold the lock with the view up to date; refuse what a newer bgresp wrote."""
        if not self._is_prepared:
            self.prepare()
        with files.held(self._lock):
            if self._refreshed().newer:
                raise LedgerError(
                    f"{self.path} was written by a newer bgresp: read-only here",
                    hint="pip install --upgrade bgresp",
                )
            yield

    def _inflight(self, job: Job) -> Path:
        folder = self.state / "inflight"
        return files.inflight_path(folder, key=job.key, submit_key=job.submit_key)

    def _note_age(self) -> None:
        """Mark the ledger where its folder knows newer jobs: it was put back.

        Once a process, and before a new key hides it.
        """
        if self._is_dated:
            return
        self._is_dated = True
        view = self._refreshed()
        self._is_newest = journal.is_whole(view.index, view.segments)
        if self._is_newest or self.older_path.exists():
            return
        newer = self.newer_files()
        if newer:
            from bgresp.ledger.upkeep import name_of  # most folders are no older

            names = (b"%b\n" % name_of(path) for path in newer)
            files.replace(self.older_path, b"".join(names))
        else:
            self._is_newest = True
            journal.note_whole(view.index, view.active)

    def _append(
        self, job: Job, old: Job | None = None, later: journal.Later | None = None
    ) -> None:
        if old is None:
            self._note_age()
        with self.words.following(self._view, old, job):
            pin = self._view.active.pin
            known = None if pin is None else pin.identity
            self._appender.append(encode(undoubted(job)), later, known=known)
            self._view.refresh()
        if old is None and self._is_newest:
            journal.note_whole(self._view.index, self._view.active)

    def _next_key(self) -> str:
        """Return a key that nothing has: greater than every one that time gave.

        Those right behind the last one are taken where they were ahead of time once,
        and the clock has been put back since. Raises LedgerError; then nothing may be
        sent.
        """
        key = self._view.last
        for _ in range(MOST_TAKEN):
            key = new_key(self.now(), int.from_bytes(os.urandom(10)), after=key)
            if self._view.by_key(key) is None:
                return key
            if key > self._view.horizon:
                break
        said = f"the next key, {key}, is taken by a record ahead of time"
        raise LedgerError(said, hint="bgresp doctor")

    def _refreshed(self) -> View:
        self._view.refresh()
        return self._view
