"""What was met before, for millions of things: on a temporary disk, not in memory.

SQLite keeps 16 bytes a thing and 2 MiB of cache; its file has no name, and goes with
the process.
"""

import hashlib
import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class DiskSet:
    """A set of texts with a number each, as a context manager."""

    _db: sqlite3.Connection = field(init=False, repr=False)

    def __enter__(self) -> Self:
        """Open it, empty; it may be used in another thread than it was made in."""
        self._db = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for setting in (
            "synchronous=OFF",
            "journal_mode=OFF",
            "locking_mode=EXCLUSIVE",
        ):
            self._db.execute(f"PRAGMA {setting}").close()
        columns = "digest BLOB PRIMARY KEY, number INTEGER"
        self._db.execute(f"CREATE TABLE seen ({columns}) WITHOUT ROWID").close()
        return self

    def __exit__(self, *_: object) -> None:
        """Drop it."""
        self._db.close()

    def add(self, number: int, *parts: str) -> int | None:
        """Add a thing; return the number that it was met with before, None if never."""
        key = _digest(parts)
        with closing(
            self._db.execute("INSERT OR IGNORE INTO seen VALUES (?, ?)", (key, number))
        ) as added:
            if added.rowcount:
                return None
        query = "SELECT number FROM seen WHERE digest = ?"
        with closing(self._db.execute(query, (key,))) as found:
            return int(found.fetchone()[0])


def _digest(parts: tuple[str, ...]) -> bytes:
    """Return 128 bits: two of a million texts share them once in 10^26 batches."""
    text = "\x00".join(parts).encode("utf-8", "surrogatepass")
    return hashlib.sha256(text).digest()[:16]
