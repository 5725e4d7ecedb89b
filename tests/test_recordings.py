"""What servers of others once said, said again: the real Api and engine read it right.

Recorded from fastresponses 0.1.0, LiteLLM 1.106.2 and llama.cpp (xllamacpp).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.config import files
from bgresp.core.dialect import Dialect
from bgresp.core.dialect_schema import build
from bgresp.core.machine import Policy
from bgresp.core.model import Job, Status
from bgresp.core.signals import Event, Signal, Snapshot
from bgresp.engine.endpoints import RateLimiter
from bgresp.engine.recorder import Recorder
from bgresp.engine.scheduler import Scheduler
from bgresp.engine.shown_text import ShownText
from bgresp.engine.tracker import Tools, Tracker
from tests.endpoint import endpoint, listed, listening
from tests.scripted import Heard

FOLDER = Path(__file__).parent / "data" / "recordings"
LITELLM = build("litellm", files.built_in())
FASTRESPONSES = build("fastresponses", files.built_in())
W30 = "".join(f"w{n} " for n in range(30))


def recorded(name: str) -> bytes:
    """Return a recorded body as it was sent, with its content type before it."""
    raw = (FOLDER / name).read_bytes()
    if name.endswith(".http"):
        raw = raw.partition(b"\n\n" if b"\r\n\r\n" not in raw else b"\r\n\r\n")[2]
    kind = b"application/json" if raw.startswith(b"{") else b"text/event-stream"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n"
    return head % (kind, len(raw)) + b"Connection: close\r\n\r\n" + raw


@dataclass(slots=True)
class Tape:
    """Says recordings in their order; `asked` are the requests that it heard."""

    names: list[str]
    asked: list[str] = field(default_factory=list)

    async def converse(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer one request."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        method, target, _ = head.split("\r\n")[0].split(" ")
        self.asked.append(f"{method} {target.removeprefix('/v1/responses')}")
        writer.write(recorded(self.names.pop(0)))
        await writer.drain()


def followed(tape: Tape, spoken: Dialect, state: Path) -> tuple[Job, str, str]:
    """Follow one job along a tape; return it, what was shown and what is saved."""
    job = Job("01K1", Status.QUEUED, id="resp_1", dialect="openai", streamable=True)
    heard, recorder = Heard(), Recorder.at(state)

    async def main() -> Job:
        async with listening(tape.converse) as place:
            api = Api(endpoint(f"http://{place}/v1", spoken=spoken))
            policy = Policy(poll=(0.01, 0.01))
            tools = Tools(api, recorder, heard, RateLimiter(0), policy, lambda: 0)
            tracker = Tracker(job, tools, ShownText())
            await Scheduler(1).run([tracker])
            await api.aclose()
            return tracker.job

    ended = asyncio.run(main())
    shown = heard.shown.get(job.key, "")
    return ended, shown, recorder.answers.text(job.key, spoken) or ""


FAST: Mapping[str, tuple[list[str], str, str]] = {
    "whole": (["full.sse"], "completed", "w0 w1 w2 w3 "),
    "its limit": (["incomplete.sse"], "incomplete", "w0 w1 w2 w3 "),
    # The second connection says two events again, and comes from another run.
    "cut": (["dropped.sse", "running.json", "resumed.http"], "completed", W30),
    "an error, then failed": (["failed.sse", "failed.json"], "failed", ""),
    # [DONE] and no terminal event.
    "cancelled": (
        ["cancelled.http", "cancelled.json"],
        "cancelled",
        W30[: W30.index("w11")],
    ),
}


@pytest.mark.parametrize("name", FAST)
def test_fastresponses(name: str, state: Path) -> None:
    """A recorded stream of fastresponses replays to another text or another end."""
    tapes, status, text = FAST[name]
    tape = Tape([f"fastresponses-{tape}" for tape in tapes])
    job, shown, saved = followed(tape, FASTRESPONSES, state)
    assert (status, text, text) == (job.status, shown, saved)
    assert "GET /resp_1/events" == tape.asked[0]
    if name == "cut":
        assert "GET /resp_1/events?starting_after=7" == tape.asked[2]
    if name == "an error, then failed":
        assert job.error is not None
        assert "fake failure 400" in job.error.message


def test_litellm(state: Path) -> None:
    """LiteLLM's JSON where events were asked for is taken for the end, or for none."""
    tape = Tape(["litellm-queued.json", "litellm-completed.json"])
    job, shown, saved = followed(tape, LITELLM, state)
    assert ("completed", "w0 w1 w2 w3 ") == (job.status, saved)
    assert saved == shown
    assert ["GET /resp_1?stream=true", "GET /resp_1"] == tape.asked


def created(name: str, *, stream: bool) -> list[Signal]:
    """Create a response along a tape of one reply."""

    async def main() -> list[Signal]:
        async with listening(Tape([name]).converse) as place:
            api = Api(endpoint(f"http://{place}/v1"))
            return await listed(api.create(b"{}", key="k", stream=stream, sent=Sent()))

    return asyncio.run(main())


def test_llamacpp_answers_at_once() -> None:
    """A llama.cpp that ignored `background` is not believed to be done."""
    (answer,) = created("llamacpp-ignored.http", stream=False)
    assert isinstance(answer, Snapshot)
    assert Status.COMPLETED is answer.reading.status
    said = "I'm here to help with your creative projects. What brings you here today?"
    assert said == answer.reading.text


def test_llamacpp_streams_without_numbers(state: Path) -> None:
    """Events without numbers lose their text or their end."""
    *events, _ = created("llamacpp-stream.http", stream=True)
    told = [event for event in events if isinstance(event, Event)]
    assert len(events) == len(told)
    assert {None} == {event.sequence for event in told}
    text = "".join(event.delta or "" for event in told)
    last = told[-1]
    assert last.reading is not None
    assert ("*I'm here to help", True) == (text, last.terminal)
    assert text == last.reading.text
