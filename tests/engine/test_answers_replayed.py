"""Each recorded answer, however it arrives: streamed, cut, polled, stored nowhere."""

import json
from pathlib import Path
from typing import Any

import pytest

from bgresp.core.signals import FaultKind, Snapshot
from tests.engine.test_tracker import follow, shown
from tests.fakewire import response_of
from tests.scripted import CLOSED, Answer, Scripted, recorder_at, refusal, snapshot
from tests.test_answers import (
    OPENAI,
    STREAMED,
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
    answer = recorder_at(state).answer(only.job.key, OPENAI)
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
    assert text == shown(heard) == recorder_at(state).text(only.job.key, OPENAI)
    assert ("text", 0) == (only.job.ended_with, int(only.job.exit_code))
