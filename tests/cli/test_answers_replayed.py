"""Recorded answers through the command and a real socket, however they arrive.

Streamed by a server that ignores `background` and stores nothing, as JSON of such a
one, streamed later, polled, cut and resumed.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import fakeanswers as fa
from tests.cli.ledger import ident, seed
from tests.command import Ran, Run
from tests.fakeserver import FakeServer
from tests.fakewire import Json
from tests.test_answers import events_of, recording

# The engine plays all of them, tests/engine/test_answers_replayed.py; a process is dear.
NAMES = (
    *("approval-and-call", "call-preamble", "image", "phase-mixed"),
    *("refusal-after-text",),
)


def sse(bgresp: Run, server: FakeServer, state: Path, response: Json) -> Ran:
    """Stream it as a create's answer; afterwards nobody has heard of it."""
    server.script("create", fa.Stream(events=list(events_of(response))))
    return bgresp("submit", "-t", "x", "-m", "m", "--watch")


def as_json(bgresp: Run, server: FakeServer, state: Path, response: Json) -> Ran:
    """Answer the create with the whole object; afterwards nobody has heard of it."""
    server.script("create", fa.as_json(response))
    return bgresp("submit", "-t", "x", "-m", "m", "--wait", "-o", "-")


def late(bgresp: Run, server: FakeServer, state: Path, response: Json) -> Ran:
    """Stream it to a watch of a job that was submitted before."""
    seed(state, {"status": "in_progress", "streamable": True}, server=server)
    whole = {**response, "id": ident(1)}
    events = list(events_of(whole))
    server.script("stream", fa.Reply(200, sse_of(events), EVENTS))
    return bgresp("watch", "@1")


def poll(bgresp: Run, server: FakeServer, state: Path, response: Json) -> Ran:
    """Answer it to a question."""
    seed(state, {"status": "in_progress"}, server=server)
    whole = {**response, "id": ident(1)}
    server.script("get", fa.Forever(fa.as_json(whole)), job=ident(1))
    return bgresp("watch", "@1", "--mode", "poll")


def cut(bgresp: Run, server: FakeServer, state: Path, response: Json) -> Ran:
    """Break the stream in the middle, and go on from there."""
    seed(state, {"status": "in_progress", "streamable": True}, server=server)
    whole = {**response, "id": ident(1)}
    events = list(events_of(whole))
    half = len(events) // 2
    broken = fa.Reply(200, sse_of(events[:half]), EVENTS)
    server.script("stream", broken, fa.Reply(200, sse_of(events[half:]), EVENTS))
    running = {**whole, "status": "in_progress", "output": []}
    server.script("get", fa.as_json(running), job=ident(1))
    return bgresp("watch", "@1")


OTHERS = (
    *("gemini-call-and-text", "gemini-image", "gemini-search", "perplexity-call"),
    *("freddy-choices", "mka1-sleep", "sail-text", "xai-call", "xai-refusal"),
)


@pytest.mark.parametrize("name", OTHERS)
def test_an_answer_of_another_dialect(
    bgresp: Run, server: FakeServer, state: Path, name: str
) -> None:
    """Where an endpoint keeps the parts elsewhere, the command finds them there."""
    found = recording(name)
    expect: dict[str, Any] = found["expect"]
    told = {"dialect": found["dialect"], "vars": {"organization": "o"}}
    seed(state, {"status": "in_progress", **told}, server=server)
    route = "other" if name.startswith(("gemini", "xai")) else "get"
    server.script(route, fa.as_json(found["response"]))
    ran = bgresp("watch", "@1", "--mode", "poll", "--json")
    record = json.loads(ran.out)
    assert (expect["exit_code"], expect["ended_with"], expect["text"]) == (
        *(ran.code, record["ended_with"], record["text"]),
    )
    assert (expect["refusal"] or None) == record["refusal"]
    if waiting := [*expect["calls"], *expect["approvals"]]:
        tools = bgresp("get", "@1", "--part", "tools").out.splitlines()
        assert waiting == list(map(json.loads, tools))
    if expect["citations"]:
        cited = bgresp("get", "@1", "--part", "citations").out.splitlines()
        assert expect["citations"] == len(cited)


def test_what_came_of_an_answer_is_kept(
    hasty: Run, bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """A stream that broke off, and then 404: lost, but for the text that was shown.

    A file gets no half of an answer; `get` has it.
    """
    events = list(events_of(recording("text-two-messages")["response"]))
    server.script("create", fa.Stream(events=events[:6]))
    ran = hasty("submit", "-t", "x", "-m", "m", "--watch", "-o", "out")
    assert (13, "") == (ran.code, ran.out), ran.err
    assert " 4 characters of its answer came: bgresp get resp_1\n" in ran.err
    assert not (tmp_path / "out").exists()
    got = bgresp("get", "@1")
    assert (13, "One.\n") == (got.code, got.out), got.err
    assert "lost (" in got.err


EVENTS = {"Content-Type": "text/event-stream"}


def sse_of(events: list[Json]) -> bytes:
    """Return the body of a stream."""
    return b"".join(fa.sse(events))


Way = Callable[[Run, FakeServer, Path, Json], Ran]


@pytest.mark.parametrize("way", [sse, as_json, late, poll, cut])
@pytest.mark.parametrize("name", NAMES)
def test_an_answer_however_it_comes(
    bgresp: Run, server: FakeServer, state: Path, name: str, way: Way
) -> None:
    """Its text, its exit code, its note and each of its parts are the recorded ones."""
    found = recording(name)
    expect: dict[str, Any] = found["expect"]
    ran = way(bgresp, server, state, found["response"])
    text = expect["text"]
    shown = text if text.endswith("\n") or not text else f"{text}\n"
    assert (expect["exit_code"], shown) == (ran.code, ran.out), ran.err
    status = found["response"]["status"]
    if expect["note"]:
        assert f"{status} {expect['note']}" in ran.err
    else:
        assert " without text" not in ran.err
    record = json.loads(bgresp("get", "@1", "--json").out)
    assert (expect["ended_with"], status, text) == (
        *(record["ended_with"], record["status"], record["text"]),
    )
    assert (expect["refusal"] or None) == record["refusal"]
    if waiting := [*expect["calls"], *expect["approvals"]]:
        told = bgresp("get", "@1", "--part", "tools")
        lines = [json.loads(line) for line in told.out.splitlines()]
        assert (0, waiting) == (told.code, lines)
    if expect["images"]:
        images = bgresp("get", "@1", "--part", "images").out.splitlines()
        assert expect["images"] == len(images)
    assert len(server.creates) == (way in {sse, as_json})
