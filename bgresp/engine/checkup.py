"""What may be wrong with a state folder: one finding a check, each with its cure.

Nothing is changed without `fix`.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Final

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.core.text import one_line
from bgresp.core.times import brief
from bgresp.engine.recorder import Recorder, rescue_files, restore_rescued
from bgresp.ledger import files, journal, upkeep
from bgresp.ledger.index import BadLine, bad_places, decoded
from bgresp.ledger.line import BadLineError

OK: Final = "ok"
WARN: Final = "warn"
BAD: Final = "bad"
NAMED: Final = 5  # lines, keys or files that a finding names; more are counted
SHOWN: Final = 20  # lines whose beginning is shown when they are moved
SKEW: Final = 60.0  # seconds that the clock may be behind


@dataclass(frozen=True, slots=True)
class Check:
    """One finding: what was looked at, `ok`, `warn` or `bad`, and what there was."""

    check: str
    level: str
    detail: str


Look = Callable[[Path], Iterator[Check]]


@dataclass(frozen=True, slots=True)
class Checkup:
    """The checks of one state folder; `uid` is whose it must be."""

    recorder: Recorder
    environ: Mapping[str, str]
    fix: bool = False
    uid: int = -1
    mountinfo: str = ""

    def all(self) -> Iterator[Check]:
        """Yield every finding; those that follow from a missing folder are left out."""
        state = self.recorder.ledger.state
        yield self._filesystem(state)
        if not state.is_dir():
            yield _missing(state)
            yield from self._rescues()
            return
        yield from self._guarded("modes", self._modes)
        yield from self._guarded("ledger", self._readable)
        yield from self._guarded("write", self._writable)
        yield from self._guarded("lock", self._lock)
        yield from self._guarded("unsettled", self._unsettled)
        yield from self._rescues()
        yield from self._guarded("age", self._age)
        yield from self._guarded("clock", self._clock)
        if self.fix:
            yield from self._guarded("files", self._swept)
        yield from self._guarded("keys", self._keys)

    def _guarded(self, name: str, look: Look) -> Iterator[Check]:
        """Tell what kept a check from being made."""
        try:
            yield from look(self.recorder.ledger.state)
        except LedgerError as error:
            yield Check(name, BAD, error.message)
        except OSError as error:
            yield Check(name, BAD, str(error))

    def _filesystem(self, state: Path) -> Check:
        mount = mount_of(os.path.realpath(state), self.mountinfo)
        if mount is not None and mount.is_network:
            said = f"{state} is on {mount.kind}: locks may not hold there"
            return Check("file system", WARN, f"{said} (BGRESP_STATE_DIR)")
        return Check("file system", OK, mount.kind if mount else "not known")

    def _modes(self, state: Path) -> Iterator[Check]:
        foreign, loose, count = [], [], 0
        for path, found in _walk(state):
            count += 1
            if found.st_uid != self.uid:
                foreign.append(path)
            elif stat.S_IMODE(found.st_mode) & 0o077:
                loose.append(path)
        if foreign:
            yield Check("modes", BAD, f"belong to another user: {_names(foreign)}")
            return
        if loose and not self.fix:
            said = f"others may read {_names(loose)} (bgresp doctor --fix)"
            yield Check("modes", WARN, said)
            return
        for path in loose:
            path.chmod(files.PRIVATE_DIR if path.is_dir() else files.PRIVATE_FILE)
        done = f", {len(loose)} made so now" if loose else ""
        yield Check("modes", OK, f"{count} files and folders are private{done}")

    def _readable(self, state: Path) -> Iterator[Check]:
        """Read every line there is: an index may hide what is wrong."""
        bad: list[BadLine] = []
        lines, newer = 0, False
        segments = journal.listed(state)
        missing = journal.missing(state, segments)
        if missing is not None:
            said = "a --key or row that stands in it alone would be sent again"
            yield Check("ledger", BAD, f"{missing} is missing: put it back; {said}")
        for segment in segments:
            for line in journal.read(segment.path):
                lines += 1
                with suppress(BadLineError):
                    newer |= bool(line.raw) and decoded(line).newer
            bad += upkeep.bad_lines(segment)
        if newer:
            yield Check("ledger", BAD, "written by a newer bgresp: read-only here")
        if bad and self.fix and not newer:
            yield from self._set_aside()
        elif bad:
            named = zip(bad_places(bad[:NAMED]), bad, strict=False)
            names = ", ".join(f"{place} ({line.why})" for place, line in named)
            more = f" and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
            said = f"cannot be read, and is kept: {names}{more} (bgresp doctor --fix)"
            yield Check("ledger", WARN, said)
        elif not newer:
            yield Check("ledger", OK, f"{lines} lines")

    def _set_aside(self) -> Iterator[Check]:
        """Show the lines that cannot be read, and move them out of the ledger's way."""
        moved = self.recorder.ledger.set_aside()
        for line in moved[:SHOWN]:
            begins = one_line(line.begins.decode("utf-8", "replace"), limit=160)
            yield Check("ledger", WARN, f"{line.place} ({line.why}): {begins}")
        count = "1 line" if len(moved) == 1 else f"{len(moved)} lines"
        place = self.recorder.ledger.bad_path
        alone = "a --key or row that stands in them alone would be sent again"
        yield Check("ledger", WARN, f"{count} moved to {place}: look there; {alone}")

    def _writable(self, state: Path) -> Iterator[Check]:
        probe = state / ".doctor"
        files.replace(probe, b"bgresp doctor\n")
        try:
            journal.append(probe, b"synced as a record is\n")
        finally:
            probe.unlink()
        if self.recorder.ledger.path.exists():
            os.close(files.open_append(self.recorder.ledger.path))
        yield Check("write", OK, str(state))

    def _lock(self, state: Path) -> Iterator[Check]:
        """Take the ledger's lock twice: the second time must fail."""
        path = state / "ledger.lock"
        with files.held(path):
            keeps_out = files.is_held(path)
        if keeps_out:
            yield Check("lock", OK, str(path))
            return
        said = "a lock on it does not keep others out (BGRESP_STATE_DIR)"
        yield Check("lock", BAD, f"{path}: {said}")

    def _unsettled(self, _: Path) -> Iterator[Check]:
        ledger = self.recorder.ledger
        found = [
            job.key
            for job in ledger.unsettled()
            if job.status is Status.UNKNOWN or ledger.is_dead(job)
        ]
        if not found:
            yield Check("unsettled", OK, "every submit has a known outcome")
            return
        more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
        said = f"no known outcome: {', '.join(found[:NAMED])}{more}"
        yield Check("unsettled", WARN, f"{said} (bgresp resolve {found[0]})")

    def _rescues(self) -> Iterator[Check]:
        found = list(rescue_files(self.recorder, self.environ))
        if not found:
            yield Check("rescue", OK, "no record lies outside the ledger")
        for path in found:
            if not self.fix:
                said = f"{path}: an accepted job is not in the ledger"
                yield Check("rescue", BAD, f"{said} (bgresp doctor --fix)")
                continue
            try:
                job = restore_rescued(self.recorder, path)
            except LedgerError as error:
                yield Check("rescue", BAD, error.message)
            else:
                yield Check("rescue", OK, f"{job.ref} is in the ledger now")

    def _keys(self, _: Path) -> Iterator[Check]:
        found = [job.key for job in islice(self.recorder.ledger.ahead(), NAMED + 1)]
        if not found:
            yield Check("keys", OK, "no job is dated in the future")
            return
        more = " and more" if len(found) > NAMED else ""
        said = f"dated more than a day in the future: {', '.join(found[:NAMED])}{more}"
        yield Check("keys", WARN, f"{said} (bgresp forget {found[0]})")

    def _age(self, _: Path) -> Iterator[Check]:
        """Look for what a ledger that was put back from a backup does not know."""
        ledger = self.recorder.ledger
        newer, marked = ledger.newer_files(), ledger.older_path.exists()
        if not newer and not marked:
            yield Check("age", OK, "the ledger is as new as its folder")
        elif not self.fix:
            said = "the ledger is older than its folder, as if a backup was put back"
            names = f": {_names(newer)}" if newer else ""
            yield Check("age", WARN, f"{said}{names} (bgresp doctor --fix)")
        else:
            moved = ledger.accept_older()
            names = f"; moved away: {_names(moved)}" if moved else ""
            yield Check("age", WARN, f"the ledger is taken as it is{names}")

    def _swept(self, _: Path) -> Iterator[Check]:
        if count := self.recorder.ledger.sweep():
            yield Check("files", OK, f"{count} removed that belonged to no record")

    def _clock(self, _: Path) -> Iterator[Check]:
        newest = islice(self.recorder.ledger.newest(), 100)
        last = max((moment for job in newest for moment in _moments(job)), default=0.0)
        behind = last - self.recorder.now()
        if behind > SKEW:
            said = f"is {brief(behind)} behind the newest record"
            yield Check("clock", WARN, said)
        else:
            yield Check("clock", OK, "is not behind the newest record")


def _missing(state: Path) -> Check:
    place = next(p for p in (state, *state.parents) if p.exists())
    if place.is_dir() and os.access(place, os.W_OK | os.X_OK):
        return Check("state", OK, f"{state} is made by the first submit")
    said = f"{state} cannot be made in {place} (BGRESP_STATE_DIR)"
    return Check("state", BAD, said)


def _walk(folder: Path) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield everything below and including a folder; links are left alone."""
    yield folder, folder.lstat()
    try:
        entries = sorted(folder.iterdir())
    except OSError:
        return
    for path in entries:
        try:
            found = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(found.st_mode):
            yield from _walk(path)
        elif not stat.S_ISLNK(found.st_mode):
            yield path, found


def _names(paths: list[Path]) -> str:
    more = f" and {len(paths) - NAMED} more" if len(paths) > NAMED else ""
    return ", ".join(map(str, paths[:NAMED])) + more


def _moments(job: Job) -> Iterator[float]:
    for moment in (job.submitted_at, job.checked_at, job.finished_at):
        if moment is not None:
            yield moment


# flock may silently do nothing on these (RELIABILITY.md 2.4).
NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "afs", "9p"})
FUSE: Final = "fuse."
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a file system is mounted, and its type."""

    point: str
    kind: str

    @property
    def is_network(self) -> bool:
        """Say whether other machines, or a program, may be behind it."""
        return self.kind in NETWORK or self.kind.startswith(FUSE)


def mount_of(path: str, mountinfo: str) -> Mount | None:
    """Return the mount that an absolute path lies on; None where nothing says it.

    The longest mount point wins, and of equal ones the last: it hides the others.
    """
    found: Mount | None = None
    for line in mountinfo.splitlines():
        mount = _mount(line)
        if mount is None or not _holds(mount.point, path):
            continue
        if found is None or len(mount.point) >= len(found.point):
            found = mount
    return found


def _mount(line: str) -> Mount | None:
    """Read `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw`."""
    fields, mark, rest = line.partition(" - ")
    columns, kinds = fields.split(" "), rest.split(" ")
    if not mark or len(columns) < 5 or not kinds[0]:
        return None
    point = _OCTAL.sub(lambda code: chr(int(code[1], 8)), columns[4])
    return Mount(point, kinds[0])


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
