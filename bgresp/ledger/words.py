"""The words that shells complete: a flat file of ids, names, groups, labels; derived.

`index/words` begins with a line that says up to which place of the journal it holds,
and how long it is; the others are `TAB kind TAB word TAB what it is`, the newest last.
A word holds no tab, newline or control character, so that the file can be read line by
line by any tool.

Kinds: i id, n name, u key of a submit without a known outcome, g group, l label,
m model, p profile; a dash was a word once.
"""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from itertools import accumulate, islice
from pathlib import Path
from typing import Final

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job
from bgresp.core.text import is_plain, one_line
from bgresp.ledger import files
from bgresp.ledger.view import Place, View

KEEP: Final = 5000  # jobs, when the file is written anew
MOST: Final = 1 << 20  # bytes; then the older half goes
LONGEST: Final = 512  # characters of a word
OWN: Final = b"inu"  # kinds of which each job brings its own
_HEAD: Final = re.compile(rb"@ (\d{6,}) (\d{15}) (\d{12})\n")
_HEAD_SIZE: Final = 38
_NEAR: Final = 1 << 16
_PATIENCE: Final = 0.2  # seconds


class Words:
    """The file of one state folder; nothing that fails here fails a command."""

    def __init__(self, folder: Path) -> None:
        """Take the folder it lies in; nothing is read yet."""
        self.folder = folder
        self.path = folder / "words"  # where it lies
        self._said: set[bytes] = set()

    @contextmanager
    def following(self, view: View, old: Job | None, new: Job) -> Iterator[None]:
        """Follow the journal over one record, which the block appends.

        `old` is what held of the job, `new` what holds. The caller holds the journal's
        lock. Where the file does not hold up to where the record begins, it is left as
        it is: stale, and made anew by `tend`.
        """
        before = places(view)
        yield
        after = places(view)[0]
        was = () if old is None else _own(old)
        now = _own(new)
        shared = [line for line in _shared(new) if line not in self._said]
        if old is not None and shared:
            known = _shared(old)
            shared = [line for line in shared if line not in known]
        fresh = [*(line for line in now if line not in was), *shared]
        gone = {_head(line) for line in was if line not in now}
        self._said.update(shared)
        with suppress(OSError, LedgerError):
            if before == [(1, 0)] and not self.path.exists():
                self._save(before[0], [])
            if self._write(fresh, gone, before=before, after=after) > MOST:
                self._save(after, trimmed(self.path.read_bytes()))

    def tend(self, view: View, lock: Path) -> None:
        """Write the file anew unless it holds; not while another process writes.

        Where bgresp never wrote, reading leaves nothing behind.
        """
        if self._holds(view) or not lock.exists():
            return
        with suppress(LedgerError), files.held(lock, wait=_PATIENCE):
            view.refresh()
            if not view.newer:
                self.rebuild(view)

    def rebuild(self, view: View) -> None:
        """Write the file anew from the newest jobs; the caller holds the lock."""
        recent = list(islice(view.newest(), KEEP))
        found = [line for job in reversed(recent) for line in lines(job)]
        with suppress(OSError, LedgerError):
            self._save(places(view)[0], found)

    def near(self, kinds: str) -> Iterator[str]:
        """Yield the words of some kinds, the newest first; none where there is none."""
        with suppress(OSError):
            for line in reversed(self.path.read_bytes().splitlines()):
                if line[:1] == b"\t" and chr(line[1]) in kinds:
                    yield line.split(b"\t")[2].decode("utf-8", "replace")

    def _holds(self, view: View) -> bool:
        """Say whether the file holds up to the journal's end."""
        ends = places(view)
        with suppress(OSError), self.path.open("rb") as file:
            return _read_head(file.fileno()) in ends
        return ends == [(1, 0)]  # nothing was ever submitted

    def _write(
        self,
        fresh: list[bytes],
        gone: set[bytes],
        *,
        before: list[Place],
        after: Place,
    ) -> int:
        """Append, blank what is gone, move the place on; return the file's size.

        Nothing is written, and 0 returned, unless the file holds up to `before`.
        """
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        try:
            size = os.fstat(fd).st_size
            if _read_head(fd) not in before:
                return 0
            for start in gone:
                _blank(fd, size, start)
            added = b"".join(fresh)
            if added and os.pwrite(fd, added, size) < len(added):
                return 0  # torn, which the head's size tells
            size += len(added)
            os.pwrite(fd, _head_line(after, size), 0)
            return size
        finally:
            os.close(fd)

    def _save(self, place: Place, found: Iterable[bytes]) -> None:
        files.make_private(self.folder)
        data = b"".join(_tidied(found))
        head = _head_line(place, _HEAD_SIZE + len(data))
        files.replace(self.path, head + data, durable=False)


def lines(job: Job) -> list[bytes]:
    """Return the lines of a job: its words that a shell can offer.

    A rejected submission has none of its own; one without an outcome has its key.
    """
    return [*_own(job), *_shared(job)]


def _own(job: Job) -> list[bytes]:
    """Return the lines of the words that are a job's alone."""
    if job.is_forgotten:
        return []
    status = "open" if job.status.is_open else str(job.status)
    named = f"{status} {job.name or ''} {job.wanted_model or ''}"
    unsettled = job.key if job.status.is_unsettled else None
    name = job.name if job.id is not None else None
    ref = job.ref if job.id is not None else None
    return [
        _line(kind, word, one_line(about, limit=80))
        for kind, word, about in (
            ("u", unsettled, named),
            ("i", ref, named),
            ("n", name, status),
        )
        if word is not None and _offers(word)
    ]


def _shared(job: Job) -> list[bytes]:
    """Return the lines of the words that jobs have in common."""
    if job.is_forgotten:
        return []
    found = [("g", job.group), ("p", job.profile)]
    found += [("m", model) for model in {job.wanted_model: 0, job.model: 0}]
    found += [("l", f"{label}={value}") for label, value in job.labels.items()]
    lines = (_shared_line(*one) for one in found if one[1] is not None)
    return [line for line in lines if line]


@lru_cache(256)
def _shared_line(kind: str, word: str) -> bytes:
    """Return the line of a word; none of one that cannot be typed."""
    return _line(kind, word, "") if _offers(word) else b""


def save_profiles(folder: Path, names: Iterable[str]) -> None:
    """Keep the configuration's own profiles where shells find them.

    Only where there is an index already; failing to is no failure.
    """
    data = b"".join(_line("p", name, "") for name in names if _offers(name))
    path = folder / "profiles"
    with suppress(OSError, LedgerError):
        if folder.is_dir() and (files.read(path) or b"") != data:
            files.replace(path, data, durable=False)


def trimmed(data: bytes) -> list[bytes]:
    """Return the lines that stay of a file that has grown: the newest of both sorts."""
    found = _tidied(data.splitlines(keepends=True)[1:])
    own = [line for line in found if line[1] in OWN]
    shared = [line for line in found if line[1] not in OWN]
    return [*_newest(shared, MOST // 4), *_newest(own, MOST // 2)]


def places(view: View) -> list[Place]:
    """Return the journal's end: after a sealing it has two names."""
    ends = [(view.active.number, view.tail.stop)]
    if view.tail.stop == 0 and len(view.segments) > 1:
        last = view.segments[-2]
        ends.append((last.number, last.size))
    return ends


def _newest(found: list[bytes], most: int) -> list[bytes]:
    """Return the last lines that together have so many bytes."""
    ends = accumulate(map(len, reversed(found)))
    return found[len(found) - sum(1 for end in ends if end <= most) :]


def _blank(fd: int, size: int, start: bytes) -> None:
    """Make the last line that begins so no word any more: most are near the end."""
    for near in (max(size - _NEAR, 0), 0):
        at = os.pread(fd, size - near, near).rfind(start)
        if at >= 0:
            os.pwrite(fd, b"\t-", near + at)
            return


def _tidied(found: Iterable[bytes]) -> list[bytes]:
    """Return the lines that are words; of one that jobs share, its last line."""
    last: dict[bytes, bytes] = {}
    for number, line in enumerate(found):
        if line[1:2] == b"-" or not line.endswith(b"\n"):
            continue
        start = b"%d" % number if line[1] in OWN else _head(line)
        last.pop(start, None)
        last[start] = line
    return list(last.values())


def _head(line: bytes) -> bytes:
    """Return what a line begins with, to the end of its word."""
    return line[: line.index(b"\t", 3) + 1]


def _line(kind: str, word: str, about: str) -> bytes:
    return f"\t{kind}\t{word}\t{about}\n".encode()


def _offers(word: str) -> bool:
    """Say whether a word can stand on a line of its own and be typed."""
    return is_plain(word) and 0 < len(word) <= LONGEST and not word.startswith("-")


def _head_line(place: Place, size: int) -> bytes:
    return b"@ %06d %015d %012d\n" % (*place, size)


def _read_head(fd: int) -> Place | None:
    """Return up to which place the file holds; None where it is torn."""
    found = _HEAD.fullmatch(os.pread(fd, _HEAD_SIZE, 0))
    if found is None or int(found[3]) != os.fstat(fd).st_size:
        return None
    return int(found[1]), int(found[2])
