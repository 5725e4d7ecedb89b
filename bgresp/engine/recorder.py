"""Write down what was heard, in the order that loses nothing.

The raw response is on disk before the record says so, and both are before anybody is
told. What the ledger could not take lies in a rescue file until it is brought home.
"""

import asyncio
import errno
import json
import os
import shlex
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from bgresp.core import update
from bgresp.core.dialect import Dialect
from bgresp.core.endpoint import Endpoint
from bgresp.core.errors import LedgerError
from bgresp.core.model import KEY_DIGEST, Job
from bgresp.core.output import Answer
from bgresp.core.reading import ASSEMBLED, items_of
from bgresp.core.signals import Cursor, Event, Fault, FaultKind, Snapshot
from bgresp.ledger import files
from bgresp.ledger.files import blamed
from bgresp.ledger.journal import Identity, Later, Pin
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.saved import Answers, Progress, Shown, load_progress, payload_of

FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
MOST: Final = 1 << 20  # bytes of a rescue file
# Of the loop, before a sync: who was woken by the last one writes first, and shares it.
TURNS: Final = 8


class GroupCommit:
    """Syncs together what several coroutines wrote while the sync before it ran.

    Files are on disk, and have their names, before the journal's lines are, which speak
    of them. Each who wrote waits, by `ticket` or `synced`, before anything leaves, is
    told or is written that hangs on it.
    """

    __slots__ = ("_files", "_journals", "_next", "_task", "journal")

    def __init__(self, journal: Path) -> None:
        """Sync for a journal; nothing was written yet."""
        self.journal = journal
        self._files: list[files.Unsynced] = []
        self._journals: dict[Identity, Pin] = {}
        self._next: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None

    def add_file(self, file: files.Unsynced) -> None:
        """Take over a file that was written."""
        self._files.append(file)

    def add_line(self, file: Pin) -> None:
        """Take a file of the journal that a line was appended to."""
        self._journals[file.identity] = file

    def ticket(self) -> asyncio.Future[None]:
        """Return what ends when all that was added until now is on disk.

        It raises LedgerError. Many share it: shield it from being cancelled.
        """
        if self._next is None:
            self._next = asyncio.get_running_loop().create_future()
            # Who was to wait may have left: then nobody needs to hear of a failure.
            self._next.add_done_callback(lambda end: end.cancelled() or end.exception())
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        return self._next

    async def synced(self, ticket: asyncio.Future[None] | None = None) -> None:
        """Wait for a ticket, else a new one, though we are asked to leave.

        Who asked is heard at the next wait, when what hangs on this was told. Raises
        LedgerError.
        """
        ticket, is_to_leave = ticket or self.ticket(), False
        while not ticket.done():
            try:
                await asyncio.shield(ticket)
            except asyncio.CancelledError:
                is_to_leave = True
            except Exception:  # noqa: BLE001  raised below
                break
        task = asyncio.current_task()
        if is_to_leave and task is not None:
            task.uncancel()  # once more, not twice: a timeout counts
            task.cancel()
        ticket.result()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while self._next is not None:
            waiting = self._next
            try:
                for _ in range(TURNS):
                    await asyncio.sleep(0)
                self._next = None
                written, self._files = self._files, []
                journals, self._journals = [*self._journals.values()], {}
                await loop.run_in_executor(None, self._sync, written, journals)
            except asyncio.CancelledError:  # the loop ends: nobody waits for ever
                waiting.cancel()
                if self._next is not None:
                    self._next.cancel()
                raise
            except Exception as error:  # noqa: BLE001  raised by who waits
                waiting.set_exception(error)
            else:
                waiting.set_result(None)

    def _sync(self, written: list[files.Unsynced], journals: list[Pin]) -> None:
        """Sync files, which are closed, their folders, and then the journal."""
        left = [*reversed(written)]
        try:
            for file in written[1:]:
                file.begin_sync()
            while left:
                left.pop().place()
            for folder in {file.path.parent for file in written}:
                with blamed(folder, "sync"):
                    files.sync_folder(folder)
            for journal in journals:
                with blamed(self.journal, "sync"):
                    files.sync_data(journal.fileno())
        finally:
            for file in left:
                file.drop()


class Recorder:
    """The ledger and the folders beside it, with the clock that dates entries."""

    __slots__ = ("_digests", "answers", "ledger", "now")

    def __init__(
        self, ledger: Ledger, answers: Answers, now: Callable[[], float] = time.time
    ) -> None:
        """Record there; nothing is read or created yet."""
        self.ledger = ledger
        self.answers = answers
        self.now = now
        self._digests: dict[str, str] = {}

    @classmethod
    def at(cls, state: Path) -> "Recorder":
        """Record in a state folder; nothing is read or created yet."""
        return cls(Ledger(state), Answers(state))

    def heard(
        self,
        job: Job,
        news: Event | Snapshot,
        dialect: Dialect,
        *,
        text: str = "",
        group: GroupCommit | None = None,
    ) -> Job:
        """Record what the endpoint said; save the response when it is the last word.

        `text` is what the events told, for answers whose object carries none. A `group`
        syncs what is not the last word. Raises LedgerError.
        """
        if news.reading is not None and news.reading.status.is_terminal:
            group = None  # its answer is on disk before its record is written
        for found in self._recorded(job, news, dialect, text=text, group=group):
            job = found or job
        return job

    async def heard_with(
        self,
        group: GroupCommit,
        job: Job,
        news: Event | Snapshot,
        dialect: Dialect,
        *,
        text: str = "",
    ) -> Job:
        """Record as `heard` what a group syncs: all is on disk when this returns.

        Nothing of it is left undone where we are asked to leave.
        """
        for found in self._recorded(job, news, dialect, text=text, group=group):
            if found is None:
                await group.synced()
            job = found or job
        return job

    def _recorded(
        self,
        job: Job,
        news: Event | Snapshot,
        dialect: Dialect,
        *,
        text: str,
        group: GroupCommit | None = None,
    ) -> Iterator[Job | None]:
        """Record news; yield the record last.

        None before it, where what a group has is to be on disk to go on.
        """
        if news.reading is None:
            yield job
            return
        told = update.heard(
            job,
            news.reading,
            now=self.now(),
            limits=dialect.limits,
            told=isinstance(news, Event),
        )
        later = None if group is None else group.add_line
        if not told.status.is_terminal or told.status.rank < job.status.rank:
            recorded = self.ledger.record(told, later=later)
            yield None
            yield recorded
            return
        if self.ledger.is_forgotten(job.key):
            yield told
            return
        answer = self._save(told.key, news, dialect, streamed=text, group=group)
        yield None
        if isinstance(news, Snapshot) and news.unread is not None and not answer.text:
            told = told._replace(ended_with=None, told=None)  # nobody could read it
        else:
            told = update.ended_with(told, answer)
        recorded = self.ledger.record(told, later=later)
        yield None
        if self.ledger.is_forgotten(job.key):  # while the answer was saved
            self.answers.forget(job.key)
        yield recorded

    def keep_accepted(
        self, job: Job, later: Later | None = None
    ) -> tuple[Job, str | None]:
        """Record an accepted job, whatever the disk does: its id must not be lost.

        A full disk is given the ballast's room. After any other failure nothing is
        synced again, it could lie (RELIABILITY.md 2.2): a rescue file takes the job.
        The second value says where, or why not even that could be done. Where that is
        for `later`, who waits for it calls `rescue` when it fails.
        """
        try:
            return self.ledger.record(job, later=later), None
        except LedgerError as failure:
            return self.rescue(job, failure)

    def rescue(self, job: Job, failure: LedgerError) -> tuple[Job, str | None]:
        """Keep an accepted job that the ledger failed to take, as `keep_accepted`."""
        if getattr(failure.__cause__, "errno", None) in FULL:
            try:
                files.release_ballast(self.ledger.state)
                return self.ledger.record(job, again=True), None
            except LedgerError as again:
                failure = again
        try:
            path = files.write_rescue(job, os.environ, self.ledger.state)
        except LedgerError as last:
            return job, f"{failure.message}; {last.message}"
        return job, f"{failure.message}; kept in {path}"

    def unheard(self, job: Job, fault: Fault) -> Job:
        """Record why nothing was heard; the job's status stays what it was."""
        return self.ledger.record(update.unheard(job, fault, now=self.now()))

    def lost(self, job: Job, fault: Fault) -> Job:
        """Record that the endpoint no longer has the job."""
        return self.ledger.record(update.lost(job, fault, now=self.now()))

    def received(self, job: Job, text: str) -> bool:
        """Keep the text of a lost answer as far as it came; say whether that is new."""
        known = self.answers.streamed_text(job.key) or ""
        if len(text) <= len(known) or self.ledger.is_forgotten(job.key):
            return False
        self.ledger.prepare()
        self.answers.save_streamed_text(job.key, text)
        return True

    def missed(self, job: Job, fault: Fault) -> Job:
        """Record a pass in which the endpoint said that it has no such job."""
        return self.ledger.record(update.missed(job, fault, now=self.now()))

    def key_digest(self, endpoint: Endpoint) -> str | None:
        """Return what tells an endpoint's key from others; None of one that changes."""
        key = endpoint.key
        if key is None or not endpoint.has_lasting_key:
            return None
        if key not in self._digests:  # each row of a batch asks for it
            found = files.key_digest(self.ledger.state, key)
            if found is None:
                return None
            self._digests[key] = found
        return self._digests[key]

    def another_key(self, job: Job, endpoint: Endpoint, gone: Fault) -> Fault | None:
        """Return what a 404 means where a job was made with another key; else None."""
        made_with = job.extra.get(KEY_DIGEST)
        if made_with is None or update.is_expired(job, now=self.now()):
            return None
        digest = self.key_digest(endpoint)
        if digest is None or digest == made_with:
            return None
        source = job.extra.get("key_source", "its profile")
        profile = f" -p {shlex.quote(job.profile)}" if job.profile else ""
        return gone._replace(
            kind=FaultKind.REFUSED,
            message=f"made with another key of {source}: {gone.message}",
            setup=f"set the key that made it: bgresp config show{profile}",
        )

    def at_cursor(self, job: Job, cursor: Cursor | None) -> Job:
        """Record how far the stream was read."""
        return self.ledger.record(job._replace(cursor=cursor))

    def with_ending(self, job: Job, dialect: Dialect) -> Job:
        """Return a record that says how its answer ended, by the one that is saved.

        For records of versions that did not say so; nothing is written.
        """
        answer = self.answers.answer(job.key, dialect)
        raw = self.answers.response(job.key)
        if answer is None or (not answer.text and payload_of(raw or b"") is None):
            return job  # none is saved, or one that is too large to be read
        return update.ended_with(job, answer)

    def progress(self, key: str) -> Progress:
        """Return the notes of a new watcher of a job."""
        self.ledger.prepare()
        return Progress(
            self._progress_path(key), lambda: not self.ledger.is_forgotten(key)
        )

    def shown(self, key: str) -> Shown:
        """Return how far the furthest watcher came."""
        return load_progress(self._progress_path(key))

    def _progress_path(self, key: str) -> Path:
        return self.ledger.state / "progress" / f"{key}.jsonl"

    def _save(
        self,
        key: str,
        news: Event | Snapshot,
        dialect: Dialect,
        *,
        streamed: str,
        group: GroupCommit | None = None,
    ) -> Answer:
        """Save the answer unless a longer one is there; return what is saved.

        A first one is for the group to sync.
        """
        if isinstance(news, Snapshot):
            raw = news.raw
        else:
            raw = json.dumps(news.response, ensure_ascii=True).encode("ascii")
        answer = news.reading.answer if news.reading else Answer()
        answer = answer.with_text(streamed)
        saved = self.answers.answer(key, dialect)
        self.ledger.prepare()
        if saved is not None:
            longer = len(answer.text) - len(saved.text)
            if not self._is_more(key, raw, longer, dialect):
                return saved.hiding(news.reading.hide) if news.reading else saved
        if group is not None and saved is None:
            group.add_file(self.answers.begin_response(key, raw))
        else:
            self.answers.save_response(key, raw)
        if streamed and not (news.reading and news.reading.text):
            self.answers.save_streamed_text(key, streamed)
        return answer

    def _is_more(self, key: str, raw: bytes, longer: int, dialect: Dialect) -> bool:
        """Say whether an answer holds no less than the saved one: text, then items."""
        if longer:
            return longer > 0
        there = self.answers.response(key) or b""
        saved, new = payload_of(there), payload_of(raw)
        if saved is None or new is None:
            return len(raw) >= len(there)
        if ASSEMBLED in saved and items_of(dialect, new):
            return True  # the endpoint's own object is the better one
        return len(items_of(dialect, new)) >= len(items_of(dialect, saved))


def rescue_files(recorder: Recorder, environ: Mapping[str, str]) -> Iterator[Path]:
    """Yield rescue files of this ledger, wherever the process that wrote them looked.

    A cron job has no XDG_RUNTIME_DIR, and so wrote to the temporary folder. A file that
    cannot be read is ours until somebody has looked at it.
    """
    home = str(recorder.ledger.state)
    for path in dict.fromkeys((*files.rescue_files(environ), *files.rescue_files({}))):
        try:
            belongs = _line(path).get(files.STATE, home)
        except (LedgerError, OSError):
            belongs = home
        if belongs == home:
            yield path


def restore_rescued(recorder: Recorder, path: Path) -> Job:
    """Record what a rescue file says, then drop it; twice does no harm.

    Raises LedgerError; then the file stays.
    """
    with blamed(path, "read"):
        line = _line(path)
    line.pop(files.STATE, None)
    try:
        job = Job.from_line(line)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise LedgerError(f"{path} is no record of a job") from None
    recorded = recorder.ledger.record(job)
    with blamed(path, "remove"):
        path.unlink(missing_ok=True)
    return recorded


def check_whole(recorder: Recorder, environ: Mapping[str, str] = os.environ) -> None:
    """Check that the ledger hides no submit; rescued records are brought home first.

    Raises LedgerError.
    """
    try:
        recorder.ledger.check_whole()
    except LedgerError:
        paths = list(rescue_files(recorder, environ))
        if not paths:
            raise
        for path in paths:
            restore_rescued(recorder, path)
        recorder.ledger.check_whole()


def _line(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(_read(path))
    except (ValueError, RecursionError):
        raise LedgerError(f"{path} is no record of a job") from None
    if not isinstance(found, dict):
        raise LedgerError(f"{path} is no record of a job")
    return found


def _read(path: Path) -> bytes:
    """Read a file of ours only: the temporary folder is everybody's."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        found = os.fstat(file.fileno())
        ours = found.st_uid == os.getuid() and stat.S_ISREG(found.st_mode)
        if not ours or found.st_size > MOST:
            raise LedgerError(f"{path} is not a small file of ours")
        return file.read(MOST)
