"""What went wrong as people and scripts read it: one line on stderr, no traceback."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.core.errors import BgrespError
from bgresp.core.model import Job
from bgresp.core.text import one_line
from bgresp.ledger.ledger import Ledger
from bgresp.render.streams import Streams
from bgresp.render.streams import as_json as encode

SCHEMA: Final = "bgresp.error/1"
SPELLED: Final = 3  # lines and submits that are named; more are counted


def show(streams: Streams, error: BgrespError) -> None:
    """Write an error to stderr: what happened, and the next command to type."""
    if streams.err_is_json:
        streams.say(encode(record(error)))
        return
    rid = f" [request {error.request_id}]" if error.request_id else ""
    streams.say(
        "bgresp: " + one_line(f"{error.message}{rid} ({error.advice})", limit=2000)
    )


def tell_of(streams: Streams, jobs: Sequence[Job], error: BgrespError) -> int:
    """Write an error that concerns some jobs of many; return its exit code."""
    more = f" and {len(jobs) - 1} more" if len(jobs) > 1 else ""
    error.message = f"{jobs[0].ref}{more}: {error.message}"
    show(streams, error)
    return int(error.code)


@dataclass(frozen=True, slots=True)
class Troubles:
    """What kept some of several jobs from being worked on: a line for each reason."""

    streams: Streams
    _found: dict[str, tuple[BgrespError, list[Job]]] = field(default_factory=dict)

    def add(self, jobs: Iterable[Job], error: BgrespError) -> None:
        """Take an error that concerns some jobs."""
        self._found.setdefault(error.message, (error, []))[1].extend(jobs)

    def tell(self) -> list[int]:
        """Write the errors; return an exit code for each."""
        return [tell_of(self.streams, *found[::-1]) for found in self._found.values()]


def record(error: BgrespError) -> dict[str, Any]:
    """Return the error's JSON form: CONTRACT.md, Machine output."""
    return {
        "schema": SCHEMA,
        "code": int(error.code),
        "kind": error.kind,
        "message": one_line(error.message, limit=2000),
        "hint": error.advice,
        "request_id": error.request_id,
        "retryable": error.retryable,
    }


def report_bad(ledger: Ledger, say: Callable[[str], None]) -> bool:
    """Name the first lines that cannot be read; say whether there are any."""
    count, bad = ledger.first_bad(SPELLED)
    if not bad:
        return False
    places = ", ".join(place for place, _ in bad)
    more = f" and {count - SPELLED} more" if count > SPELLED else ""
    kept = "kept as it is, the other lines are fine"
    say(f"{places}{more}: cannot be read ({bad[0][1]}); {kept}")
    return True


def report_dead(ledger: Ledger, say: Callable[[str], None]) -> None:
    """Name submissions that died before their outcome was known."""
    dead = [job.key for job in ledger.unsettled() if ledger.is_dead(job)]
    if not dead:
        return
    names = ", ".join(dead[:SPELLED])
    more = f" and {len(dead) - SPELLED} more" if len(dead) > SPELLED else ""
    are = "submit has" if len(dead) == 1 else "submits have"
    how = f"(bgresp resolve {dead[0]})"
    say(f"{len(dead)} {are} no known outcome: {names}{more} {how}")
