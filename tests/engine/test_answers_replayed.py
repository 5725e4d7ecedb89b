"""Each recorded answer, however it arrives: streamed, cut, polled, stored nowhere."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bgresp.core.signals import FaultKind, Snapshot
from bgresp.engine.shown_text import ShownText, Transcript
from tests.endpoint import endpoint
from tests.engine.test_tracker import follow, shown
from tests.fakewire import response_of
from tests.scripted import CLOSED, Answer, Scripted, job, recorder_at, refusal, snapshot
from tests.test_answers import (
    NAMES,
    OPENAI,
    STREAMED,
    dialect_of,
    events_of,
    read_events,
    reading_of,
    recording,
)

GONE = refusal(404, FaultKind.GONE, "Response not found.")
ENDED = [name for name in STREAMED if recording(name)["expect"]["exit_code"] in {0, 14}]

TEXTS = [name for name in ENDED if recording(name)["expect"]["ended_with"] == "text"]


def _object(found: dict[str, Any]) -> Snapshot:
    return Snapshot(reading_of(found), json.dumps(found["response"]).encode())


def _check(scripted: Scripted, state: Path, expect: dict[str, Any], **how: Any) -> None:
    """Follow the job; everything that is told and saved of it has to be right."""
    only, heard, _ = follow(scripted, state, **how)
    answer = recorder_at(state).answers.answer(only.job.key, OPENAI)
    assert answer is not None
    told = only.job.ended_with, int(only.job.exit_code), only.job.told or ""
    assert (expect["ended_with"], expect["exit_code"], expect["note"]) == told
    assert expect["text"] == shown(heard) == answer.text
    assert expect["calls"] == [call.to_dict() for call in answer.calls]
    assert expect["refusal"] == answer.refusal
    assert expect["images"] == len(answer.images)
    found = recorder_at(state).ledger.by_key(only.job.key)
    assert found is not None
    assert (only.job.ended_with, only.job.told) == (found.ended_with, found.told)


@pytest.mark.parametrize("name", ENDED)
def test_an_answer_that_is_stored_nowhere(state: Path, name: str) -> None:
    """Streamed, and then 404: what came with the stream is lost."""
    found = recording(name)
    stream: list[Answer] = [*read_events(list(events_of(found["response"]))), CLOSED]
    _check(Scripted(get=[GONE], streams=[stream]), state, found["expect"])


@pytest.mark.parametrize("name", ENDED)
def test_an_answer_that_is_polled(state: Path, name: str) -> None:
    """An answer that was polled is told otherwise than one that was streamed."""
    found = recording(name)
    scripted = Scripted(get=[snapshot("queued"), _object(found)])
    _check(scripted, state, found["expect"], mode="poll")


@pytest.mark.parametrize("name", ENDED)
def test_an_answer_that_is_cut_anywhere(tmp_path: Path, name: str) -> None:
    """Cut after any event and resumed there, an answer loses or repeats something."""
    found = recording(name)
    events = read_events(list(events_of(found["response"])))
    for cut in range(1, len(events), max(1, len(events) // 6)):
        first: list[Answer] = [*events[:cut], CLOSED]
        rest: list[Answer] = [*events[cut:], CLOSED]
        running = snapshot("in_progress")
        scripted = Scripted(get=[running, _object(found)], streams=[first, rest])
        _check(scripted, tmp_path / str(cut), found["expect"])


@pytest.mark.parametrize("name", TEXTS)
def test_an_answer_whose_last_object_is_bare(state: Path, name: str) -> None:
    """Text that only the stream told counts as none."""
    found = recording(name)
    text = found["expect"]["text"]
    bare = {**response_of("completed"), "output": []}
    events = [*events_of(found["response"])]
    events[-1] = {**events[-1], "response": bare}
    stream: list[Answer] = [*read_events(events), CLOSED]
    only, heard, _ = follow(Scripted(get=[GONE], streams=[stream]), state)
    assert text == shown(heard) == recorder_at(state).answers.text(only.job.key, OPENAI)
    assert ("text", 0) == (only.job.ended_with, int(only.job.exit_code))


GEMINI = [
    name
    for name in NAMES
    if name.startswith("gemini") and recording(name)["response"].get("steps")
]


def in_pieces(response: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the events of Google's Interactions that tell an answer."""
    begun = {"id": response["id"], "status": "in_progress", "object": "interaction"}
    yield {"event_type": "interaction.created", "interaction": begun}
    for place, step in enumerate(response["steps"]):
        told = {"event_type": "step.delta", "index": place}
        rest = {k: v for k, v in step.items() if k not in {"content", "arguments"}}
        yield {"event_type": "step.start", "index": place, "step": rest}
        said = json.dumps(step["arguments"]) if "arguments" in step else ""
        for piece in (said[at : at + 3] for at in range(0, len(said), 3)):
            yield {**told, "delta": {"type": "arguments_delta", "arguments": piece}}
        asked = step["type"] == "user_input"  # no stream says it again
        for part in [] if asked else step.get("content", []):
            if part["type"] != "text":
                yield {**told, "delta": part}
                continue
            text, kind = part["text"], "text_annotation_delta"
            for piece in (text[at : at + 4] for at in range(0, len(text), 4)):
                yield {**told, "delta": {"type": "text", "text": piece}}
            some = part.get("annotations", [])
            yield {**told, "delta": {"type": kind, "annotations": some}}
        yield {"event_type": "step.stop", "index": place}
    bare = {name: value for name, value in response.items() if name != "steps"}
    yield {"event_type": "interaction.completed", "interaction": bare}


@pytest.mark.parametrize("name", GEMINI)
def test_steps_in_pieces_are_the_answer(state: Path, name: str) -> None:
    """Of an interaction that is gone after its stream, a part is lost or another."""
    found = recording(name)
    expect, spoken = found["expect"], dialect_of(found)
    events = read_events(list(in_pieces(found["response"])), spoken)
    place = endpoint()._replace(dialect=spoken)
    scripted = Scripted(get=[GONE], streams=[[*events, CLOSED]], endpoint=place)
    only, heard, _ = follow(scripted, state, one=job(dialect="gemini"))
    answer = recorder_at(state).answers.answer(only.job.key, spoken)
    assert answer is not None
    assert expect["text"] == answer.text == shown(heard)
    assert expect["calls"] == [call.to_dict() for call in answer.calls]
    assert (expect["images"], expect["citations"]) == (
        *(len(answer.images), len(answer.citations)),
    )
    assert (expect["ended_with"], expect["exit_code"], expect["note"]) == (
        *(only.job.ended_with, int(only.job.exit_code), only.job.told or ""),
    )


REFUSED = [name for name in STREAMED if recording(name)["expect"]["refusal"]]


@pytest.mark.parametrize("is_numbered", [True, False], ids=["resumed", "replayed"])
@pytest.mark.parametrize("name", REFUSED)
def test_a_refusal_is_told_once(tmp_path: Path, name: str, is_numbered: bool) -> None:
    """A refusal streams delta by delta; cut and gone on with it is told once.

    In one process and in two, and where the endpoint says all of it again.
    """
    found = recording(name)
    refusal = found["expect"]["refusal"]
    payloads = list(events_of(found["response"]))
    if not is_numbered:
        payloads = [{**one, "sequence_number": None} for one in payloads]
    events = read_events(payloads)
    running, last = snapshot("in_progress"), _object(found)
    whole = Scripted(get=[last], streams=[[*events, CLOSED]])
    _, heard, _ = follow(whole, tmp_path / "whole")
    assert refusal == "".join(heard.refused)
    assert len(heard.refused) >= len(refusal) / 4
    for cut in range(1, len(events), 2):
        rest: list[Answer] = [*events[cut if is_numbered else 0 :], CLOSED]
        first: list[Answer] = [*events[:cut], CLOSED]
        at_once = Scripted(get=[running, last], streams=[first, rest])
        _, heard, _ = follow(at_once, tmp_path / f"one-{cut}")
        assert refusal == "".join(heard.refused), cut

        recorder, key = recorder_at(tmp_path / f"two-{cut}"), job().key
        before = ShownText(recorder.progress(key))
        told = ""
        for number, event in enumerate(events[:cut]):
            fresh = before.take_refusal(event)
            before.wrote(before.take([event], number if is_numbered else None), fresh)
            told += fresh
        before.flush(sync=True)
        earlier = recorder.shown(key)
        assert told == earlier.refusal
        after = earlier.cursor
        start = after + 1 if isinstance(after, int) else 0
        stream: list[Answer] = [*events[start:], CLOSED]
        scripted = Scripted(get=[last], streams=[stream])
        watcher = ShownText(recorder.progress(key), earlier)
        _, heard, _ = follow(scripted, tmp_path / f"two-{cut}", shown=watcher)
        assert refusal == told + "".join(heard.refused), cut


@pytest.mark.parametrize("cut", [*range(4, 18, 3)])
def test_what_an_older_version_began_is_ended_as_it_began(
    state: Path, cut: int
) -> None:
    """Text that was shown without a joint gets one in the middle of a job."""
    found = recording("phase-final")["response"]
    said = [item["content"][0]["text"] for item in found["output"]]
    events = read_events(list(events_of(found)))
    plain, after = Transcript(joint=""), 0
    for number, event in enumerate(events[:cut]):
        plain.add(event)
        after = number if plain.is_level else after
    if not plain.is_level:
        after = -1
    recorder, key = recorder_at(state), job().key
    path = state / "progress" / f"{key}.jsonl"
    path.parent.mkdir(parents=True)
    cursor = None if after < 0 else after
    path.write_text(json.dumps({"w": "a", "add": plain.shown, "cursor": cursor}) + "\n")
    earlier = recorder.shown(key)
    watcher = ShownText(recorder.progress(key), earlier)
    rest: list[Answer] = [*events[after + 1 :], CLOSED]
    scripted = Scripted(get=[_object(recording("phase-final"))], streams=[rest])
    _, heard, _ = follow(scripted, state, shown=watcher)
    assert "".join(said) == plain.shown + shown(heard)
    assert bool(plain.shown) == recorder.shown(key).is_plain
