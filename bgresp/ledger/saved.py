"""What is saved beside the journal, a file each.

Responses and requests, byte for byte, named by our key; how far a job was read and
shown; what a probe saw of an endpoint; which webhooks were delivered. Several watchers
may note how far they came at once: each writes lines of its own, and the furthest one
counts.
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.core.text import parse_bounded
from bgresp.ledger import files, journal

if TYPE_CHECKING:
    from bgresp.core.dialect import Dialect
    from bgresp.core.output import Answer
    from bgresp.core.signals import Cursor

KEPT: Final = 72 * 3600.0  # an endpoint may deliver again for so long
MOST: Final = 100_000  # deliveries that are remembered; the oldest go first
_SLACK: Final = 1_000


class Answers:
    """The folders of one state folder."""

    __slots__ = ("state",)

    def __init__(self, state: Path) -> None:
        """Name them; nothing is read or created yet."""
        self.state = state

    def response_path(self, key: str) -> Path:
        """Return where a job's final response lies."""
        return self.state / "responses" / f"{key}.json"

    def request_path(self, key: str) -> Path:
        """Return where a job's request lies."""
        return self.state / "requests" / f"{key}.json"

    def save_response(self, key: str, raw: bytes) -> None:
        """Save the raw response durably, replacing what was there."""
        files.replace(self.response_path(key), raw)

    def begin_response(self, key: str, raw: bytes) -> files.Unsynced:
        """Write a response that is not there before it is synced, with others."""
        return files.write_unsynced(self.response_path(key), raw, is_new=False)

    def response(self, key: str) -> bytes | None:
        """Return the saved response; None while there is none."""
        return files.read(self.response_path(key))

    def save_streamed_text(self, key: str, text: str) -> None:
        """Save a text that only events told, where the response carries none."""
        raw = text.encode("utf-8", "surrogatepass")
        files.replace(self.state / "responses" / f"{key}.txt", raw)

    def streamed_text(self, key: str) -> str | None:
        """Return the text that only events told."""
        raw = files.read(self.state / "responses" / f"{key}.txt")
        return None if raw is None else raw.decode("utf-8", "surrogatepass")

    def text(self, key: str, dialect: "Dialect") -> str | None:
        """Return the text of a saved answer; None while nothing is saved."""
        found = self.answer(key, dialect)
        return None if found is None else found.text

    def answer(self, key: str, dialect: "Dialect") -> "Answer | None":
        """Return what a saved answer consists of; None while nothing is saved.

        A text that only events told is its text.
        """
        from bgresp.core.output import Answer, read_parts

        raw = self.response(key)
        if raw is None:
            return None
        payload = payload_of(raw)
        found = Answer() if payload is None else read_parts(dialect, payload)
        return found if found.text else found.with_text(self.streamed_text(key) or "")

    def owes(self, job: Job) -> bool:
        """Say whether a job gave an answer that is not here: nobody fetched it yet."""
        return job.status.has_answer and not self.response_path(job.key).exists()

    def save_request(self, key: str, raw: bytes) -> None:
        """Save the request body durably."""
        files.replace(self.request_path(key), raw)

    def begin_request(self, key: str, raw: bytes) -> files.Unsynced:
        """Write the request of a job without a record; it is synced with others."""
        return files.write_unsynced(self.request_path(key), raw, is_new=True)

    def request(self, key: str) -> bytes | None:
        """Return the saved request; None where it was not kept."""
        return files.read(self.request_path(key))

    def notices(self, key: str, outcome: str) -> bool:
        """Mark that somebody is told how a job ended; say whether none was before.

        Of several processes one is the first. A mark without an outcome is of bgresp
        0.1, and counts for each.
        """
        folder = self.state / "notices"
        path = folder / f"{key}.{outcome}"
        files.make_private(folder)
        with files.blamed(path, "write"):
            if (folder / key).exists():
                return False
            try:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                os.close(os.open(path, flags, files.PRIVATE_FILE))
            except FileExistsError:
                return False
            files.sync_folder(path.parent)
        return True

    def forget(self, key: str) -> None:
        """Drop everything of a job but its line in the journal."""
        names = ("responses/{}.json", "responses/{}.txt", "requests/{}.json")
        marks = [f"notices/{{}}.{status}" for status in Status]
        for name in (*names, "progress/{}.jsonl", "notices/{}", *marks):
            path = self.state / name.format(key)
            with files.blamed(path, "remove"):
                path.unlink(missing_ok=True)


def payload_of(raw: bytes) -> dict[str, Any] | None:
    """Return the object of a saved response; None where it is none, or too large."""
    try:
        payload: Any = parse_bounded(raw)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None


class Shown(NamedTuple):
    """What reached stdout, and the cursor of the last event behind it.

    `ended`: the true end was written too, with its newline. `item` is the item of the
    answer that the text ends with. `is_plain`: an older version began it, which joined
    the texts of items by nothing, and it goes on so. `refusal` is what stderr told of.
    """

    text: str = ""
    cursor: "Cursor | None" = None
    ended: bool = False
    item: int | None = None
    is_plain: bool = False
    refusal: str = ""


class Progress:
    """One watcher's notes of one job.

    `is_kept` says before the first one whether the job is in the ledger at all.
    """

    def __init__(self, path: Path, is_kept: Callable[[], bool] = lambda: True) -> None:
        """Have noted nothing yet, under a name that no other watcher has."""
        self.path = path
        self.is_kept = is_kept
        self.writer = os.urandom(4).hex()
        self.is_plain = False
        self._written = False

    def note(
        self,
        added: str,
        cursor: "Cursor | None",
        *,
        item: int | None = None,
        refused: str = "",
        sync: bool = False,
    ) -> None:
        """Note text that was written to stdout since the last note, and whose it is.

        And what of a refusal was told on stderr.

        Raises LedgerError.
        """
        line: dict[str, Any] = {"w": self.writer, "add": added, "cursor": cursor}
        if not self.is_plain:
            line["item"] = item
        if refused:
            line["refused"] = refused
        self._append(line, sync=sync)

    def begin(self, shown: Shown) -> None:
        """Note where this watcher starts: after what an earlier one had shown."""
        self.is_plain = shown.is_plain
        if shown.text or shown.refusal or shown.cursor is not None:
            said = shown.refusal
            self.note(shown.text, shown.cursor, item=shown.item, refused=said)

    def end(self, length: int) -> None:
        """Note that the true end was written."""
        self._append({"w": self.writer, "ended": length}, sync=True)

    def _append(self, line: Mapping[str, Any], *, sync: bool) -> None:
        if not (self.path.exists() if self._written else self.is_kept()):
            return  # the job was forgotten meanwhile
        data = json.dumps(line, separators=(",", ":")).encode("ascii") + b"\n"
        fd = files.open_append(self.path)
        try:
            with files.blamed(self.path, "append to"):
                size = os.fstat(fd).st_size if not self._written else 0
                torn = size > 0 and os.pread(fd, 1, size - 1) != b"\n"
                files.write_all(fd, b"\n" + data if torn else data)
                self._written = True
                if sync:
                    files.sync_data(fd)
        finally:
            os.close(fd)


def load_progress(path: Path) -> Shown:
    """Return how far the furthest watcher came; nothing where none wrote."""
    raw = files.read(path)
    if not raw:
        return Shown()
    writers: dict[str, Shown] = {}
    for line in raw.split(b"\n")[:-1]:
        _fold(writers, line)
    return max(writers.values(), key=_how_far, default=Shown())


def _how_far(shown: Shown) -> tuple[bool, int, int]:
    return shown.ended, len(shown.text), len(shown.refusal)


def _fold(writers: dict[str, Shown], line: bytes) -> None:
    try:
        note = json.loads(line)
        writer = str(note["w"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return
    old = writers.get(writer, Shown())
    if "ended" in note:
        writers[writer] = old._replace(ended=True)
    elif isinstance(note.get("add"), str):
        item, refused = note.get("item"), note.get("refused")
        writers[writer] = Shown(
            old.text + note["add"],
            note.get("cursor"),
            item=item if type(item) is int else None,
            is_plain=bool(old.text or note["add"]) and "item" not in note,
            refusal=old.refusal + (refused if isinstance(refused, str) else ""),
        )


def probed_path(state: Path, base_url: str, dialect: str) -> Path:
    """Return a card's file; no text of a user or server is part of its name."""
    import hashlib  # few ask for a card

    named = json.dumps([base_url.rstrip("/"), dialect])
    return state / "probes" / f"{hashlib.sha256(named.encode()).hexdigest()[:40]}.json"


def save_probed(
    state: Path, base_url: str, dialect: str, card: Mapping[str, Any]
) -> Path:
    """Keep a card, an object of JSON, in place of an older one.

    Raises LedgerError.
    """
    path = probed_path(state, base_url, dialect)
    files.make_private(path.parent)
    text = json.dumps(card, ensure_ascii=True, indent=1)
    files.replace(path, text.encode("ascii") + b"\n")
    return path


def load_probed(state: Path, base_url: str, dialect: str) -> Any:
    """Return the card of an endpoint; None where there is none that can be read."""
    try:
        raw = files.read(probed_path(state, base_url, dialect))
        return None if raw is None else json.loads(raw)
    except (LedgerError, ValueError, RecursionError):
        return None


class Delivery(NamedTuple):
    """What a delivery says: its own id, the kind of event, and the job's id.

    `job_id` is None where it is about no job. `at` is when it came, in Unix seconds.
    """

    id: str
    type: str
    job_id: str | None
    at: float


class Deliveries:
    """What was delivered in the last days, and whether it was dealt with.

    `STATE/webhooks.jsonl` has a line for each delivery that came and one for each that
    was dealt with. One process at a time writes it; the caller holds its lock.
    """

    def __init__(self, state: Path, now: Callable[[], float]) -> None:
        """Name the file; `load` reads it."""
        self.path = state / "webhooks.jsonl"
        self._now = now
        self._seen: dict[str, Delivery | None] = {}  # None: it was dealt with
        self._times: dict[str, float] = {}
        self._lines = 0
        self._lines_kept = 0

    def load(self) -> list[Delivery]:
        """Read the file; return what was not dealt with. Raises LedgerError."""
        for line in journal.read(self.path):
            self._lines += 1
            self._fold(line.raw)
        self._compact()
        return [one for one in self._seen.values() if one is not None]

    def __contains__(self, id_: str) -> bool:
        """Say whether a delivery is on disk already."""
        return id_ in self._seen

    def append(self, came: Iterable[Delivery], done: Iterable[str] = ()) -> None:
        """Write down, synced, what came and what was dealt with. Raises LedgerError.

        Any thread may, one at a time.
        """
        lines = [_line(one) for one in came]
        lines += [json.dumps({"id": id_, "done": self._now()}) for id_ in done]
        if not lines:
            return
        journal.append(self.path, "".join(f"{line}\n" for line in lines).encode())
        for line in lines:
            self._fold(line.encode())
        self._lines += len(lines)
        if self._lines > 2 * self._lines_kept + _SLACK:
            self._compact()

    def _fold(self, raw: bytes) -> None:
        """Take a line; one that is none, as a torn one, costs itself alone."""
        try:
            found = json.loads(raw)
            id_, done = str(found["id"]), found.get("done")
            if done is not None:
                self._times[id_] = self._times.get(id_, float(done))
                self._seen[id_] = None
                return
            at = float(found["at"])
            delivery = Delivery(id_, str(found["type"]), str(found["job"]), at)
        except (LookupError, ValueError, TypeError, AttributeError):
            return
        except (OverflowError, RecursionError):  # a number, a depth beyond all measure
            return
        self._seen.setdefault(id_, delivery)
        self._times.setdefault(id_, at)

    def _compact(self) -> None:
        """Write the file anew without what is too old to come again."""
        oldest = self._now() - KEPT
        recent = [id_ for id_ in self._seen if self._times[id_] >= oldest][-MOST:]
        self._seen = {id_: self._seen[id_] for id_ in recent}
        self._times = {id_: self._times[id_] for id_ in recent}
        self._lines_kept = len(recent)
        if self._lines <= len(recent):
            return
        lines = [
            _line(one)
            if one is not None
            else json.dumps({"id": id_, "done": self._times[id_]})
            for id_, one in self._seen.items()
        ]
        try:
            files.replace(self.path, "".join(f"{line}\n" for line in lines).encode())
        except LedgerError:  # a full disk: the longer file says the same
            self._lines_kept = self._lines
            return
        self._lines = self._lines_kept = len(lines)


def _line(one: Delivery) -> str:
    said: dict[str, Any] = {"id": one.id, "type": one.type, "job": one.job_id}
    return json.dumps({**said, "at": one.at})
