"""Jobs as they are shown: of every kind, at a fixed moment."""

import io
from typing import Final

from bgresp.core.model import Job, ResponseError, Status, Usage
from bgresp.render.streams import Streams

NOW: Final = 1_767_326_400.0  # 2026-01-02T04:00:00Z
HOUR: Final = 3600.0


def key(number: int) -> str:
    return f"01KDX{number:021}"


JOBS: Final = (
    Job(
        key(5),
        Status.SUBMITTING,
        name="not sent yet",
        submitted_at=NOW - 0.5,
        profile="work",
    ),
    Job(
        key(4),
        Status.QUEUED,
        id=f"resp_{4:032x}",
        name="日本語の仕事",
        model="gpt-5",
        submitted_at=NOW - 65,
        group="night",
    ),
    Job(
        key(3),
        Status.IN_PROGRESS,
        id=f"resp_{3:032x}",
        model="o3-deep-research",
        submitted_at=NOW - 2 * HOUR,
        started_at=NOW - HOUR,
        cancel_requested_at=NOW - 5,
        labels={"env": "prod", "team": "search"},
    ),
    Job(
        key(2),
        Status.FAILED,
        id=f"resp_{2:032x}",
        name="a name that goes on and on and does not end",
        model="gpt-5-mini",
        submitted_at=NOW - 3 * HOUR,
        started_at=NOW - 3 * HOUR + 3,
        finished_at=NOW - 2.5 * HOUR,
        error=ResponseError("server_error", "It broke\t\x1b[2J."),
    ),
    Job(
        key(1),
        Status.COMPLETED,
        id=f"resp_{1:032x}",
        name="nightly",
        model="gpt-5",
        group="night",
        profile="openai",
        submitted_at=NOW - 4 * HOUR,
        started_at=NOW - 3.9 * HOUR,
        finished_at=NOW - 3.4 * HOUR,
        usage=Usage(100, 2000, 2100),
        expires_at=NOW + 30 * 24 * HOUR,
    ),
    Job(
        key(0),
        Status.INCOMPLETE,
        id=f"resp_{0:032x}",
        model="gpt-5",
        submitted_at=NOW - 4.5 * HOUR,
        finished_at=NOW - 4.5 * HOUR + 0.1,
        incomplete_reason="max_output_tokens",
        expires_at=NOW - 1,
    ),
)


def screen(width: int, *, terminal: bool = True) -> tuple[Streams, io.BytesIO]:
    """Return streams whose stdout is kept, of a terminal so wide or of a pipe."""
    out = io.BytesIO()
    return Streams(out, None, out_is_terminal=terminal, width=width), out
