"""Files of a state folder that belong to no record of the ledger.

Some were saved for a job that was forgotten meanwhile: they may go. Others are of jobs
that were submitted after everything the ledger knows: then a backup of it was put back,
and what it lacks was paid for.
"""

import json
import os
import re
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bgresp.core.errors import LedgerError
from bgresp.ledger import files, keys
from bgresp.ledger.segments import Segment

WHOLE: Final = "whole"

# A folder, how its names end behind a job's key, and whether the record comes first: a
# request is saved before the intent, so that a kill leaves it ahead of the ledger.
_FOLDERS: Final = (
    ("responses", re.compile(r"([A-Za-z0-9_-]{1,64})\.(json|txt)", re.ASCII), True),
    ("progress", re.compile(r"([A-Za-z0-9_-]{1,64})\.jsonl", re.ASCII), True),
    ("notices", re.compile(r"([A-Za-z0-9_-]{1,64})", re.ASCII), True),
    ("requests", re.compile(r"([A-Za-z0-9_-]{1,64})\.json", re.ASCII), False),
)


@dataclass(frozen=True, slots=True)
class Stray:
    """A file and the key of the job it is of; `follows`: a record came before it."""

    path: Path
    key: str
    follows: bool

    @property
    def name(self) -> bytes:
        """Return its name with that of its folder."""
        return name_of(self.path)


def found(state: Path, known: Container[str]) -> Iterator[Stray]:
    """Yield the files of jobs whose keys are not known; foreign names are left alone.

    Raises LedgerError.
    """
    for name, form, follows in _FOLDERS:
        folder = state / name
        with files.blamed(folder, "read"):
            paths = list(folder.iterdir()) if folder.is_dir() else []
        for path in paths:
            match = form.fullmatch(path.name)
            if match is not None and match[1] not in known:
                yield Stray(path, match[1], follows)


def name_of(path: Path) -> bytes:
    """Return the name of a file with that of its folder."""
    return os.fsencode(Path(path.parent.name, path.name))


def is_whole(index: Path, segments: Sequence[Segment]) -> bool:
    """Say whether the journal is what `note_whole` saw, grown or sealed since."""
    try:
        noted = json.loads((index / WHOLE).read_bytes())
        segment = next(s for s in segments if s.number == noted["number"])
        same = segment.pin is not None and [*segment.pin.identity] == noted["file"]
        grown = same and segment.size >= noted["size"]
        return grown and segment.fingerprint(noted["size"]) == noted["print"]
    except (OSError, ValueError, KeyError, TypeError, StopIteration, LedgerError):
        return False


def note_whole(index: Path, active: Segment) -> None:
    """Note a journal beside which nothing is newer; failing to is no failure.

    Folders of a million files are not to be listed for each submit.
    """
    if active.pin is None or not active.size:
        return
    noted = {
        "number": active.number,
        "file": active.pin.identity,
        "size": active.size,
        "print": active.fingerprint(active.size),
    }
    with suppress(OSError, LedgerError):
        files.make_private(index)
        # In place: a torn note is none, and then the folders are listed.
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(index / WHOLE, flags, files.PRIVATE_FILE)
        try:
            files.write_all(fd, json.dumps(noted).encode("ascii"))
        finally:
            os.close(fd)


def is_ahead(stray: Stray, last: str | None) -> bool:
    """Say whether a file tells of a job that is newer than the whole ledger."""
    return stray.follows and keys.is_key(stray.key) and stray.key > (last or "")
