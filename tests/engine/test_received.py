"""What an endpoint said once is kept, whatever it says of the job afterwards."""

import json
from pathlib import Path
from typing import Any

import pytest

from bgresp.core.model import Status
from bgresp.core.reading import read_response
from bgresp.core.signals import Event, FaultKind, Signal, Snapshot
from bgresp.engine.submit import Submitted, let_go
from tests import fakewire as fw
from tests.endpoint import dialect, endpoint
from tests.engine.test_tracker import ended, follow, shown
from tests.scripted import (
    CLOSED,
    REFUSED,
    Answer,
    Late,
    Scripted,
    event,
    events,
    job,
    recorder_at,
    refusal,
    snapshot,
)
from tests.virtualclock import run_virtual

GONE = refusal(404, FaultKind.GONE, "Response not found.")
CALL = {
    "id": "fc_1",
    "type": "function_call",
    "status": "completed",
    "call_id": "call_1",
    "name": "get_weather",
    "arguments": '{"city":"Porto"}',
}
EVENTS = events(fw.events_of(fw.FOX))
LAST = len(EVENTS) - 1
UNDONE = [one for one in EVENTS[:-1] if not one.type.endswith(".done")]


def completed(output: list[Any], **fields: Any) -> Event:
    """Return the terminal event of a response with that output."""
    response = fw.response_of("completed") | {"output": output, **fields}
    last = {"type": "response.completed", "sequence_number": LAST + 1}
    return event({**last, "response": response})


def saved(state: Path, key: str) -> Any:
    """Return the answer that is on disk."""
    raw = recorder_at(state).answers.response(key)
    return None if raw is None else json.loads(raw)


@pytest.mark.parametrize(
    "later",
    [GONE, refusal(401, FaultKind.REFUSED), REFUSED, snapshot("in_progress"), CLOSED],
    ids=["404", "401", "unreachable", "still running", "closed"],
)
def test_a_terminal_event_in_hand_beats_what_comes_later(
    state: Path, later: Signal
) -> None:
    """An answer without text is given up because its endpoint stores nothing."""
    stream: list[Answer] = [*EVENTS[:3], completed([CALL]), CLOSED]
    scripted = Scripted(get=[later], streams=[stream])
    only, heard, took = follow(scripted, state)
    assert (Status.COMPLETED, [""]) == (only.job.status, ended(heard))
    assert [CALL] == saved(state, only.job.key)["output"]
    found = recorder_at(state).ledger.by_key(only.job.key)
    assert found is not None
    assert (Status.COMPLETED, only.job.usage) == (found.status, found.usage)
    assert took < 60
    # An endpoint that lags behind its own stream is no news, however often it is asked.
    assert 1 >= heard.statuses.get(only.job.key, []).count("completed")


def test_a_terminal_event_is_saved_before_anything_is_asked(state: Path) -> None:
    """The answer is on disk only after the endpoint was asked for it again."""
    before: list[Any] = []

    def get(id_: str) -> Signal:
        found = recorder_at(state).ledger.by_id(id_)
        assert found is not None
        before.append((found.status, saved(state, found.key)["output"]))
        return GONE

    scripted = Scripted(get=get, streams=[[*EVENTS[:3], completed([CALL]), CLOSED]])
    follow(scripted, state)
    assert [(Status.COMPLETED, [CALL])] == before


def test_text_just_printed_is_kept_where_nothing_is_stored(state: Path) -> None:
    """Text that only deltas told goes with the 404 of an endpoint without a store."""
    stream: list[Answer] = [*EVENTS[:-1], completed([]), CLOSED]
    only, heard, _ = follow(Scripted(get=[GONE], streams=[stream]), state)
    assert (fw.FOX, [fw.FOX]) == (shown(heard), ended(heard))
    assert Status.COMPLETED is only.job.status
    assert fw.FOX == recorder_at(state).answers.text(only.job.key, dialect())


def test_an_emptier_object_does_not_replace_the_one_in_hand(state: Path) -> None:
    """A stored response without items takes the call that the stream told."""
    stream: list[Answer] = [*EVENTS[:3], completed([CALL]), CLOSED]
    empty = snapshot("completed", output=[])
    only, _, _ = follow(Scripted(get=[empty], streams=[stream]), state)
    assert [CALL] == saved(state, only.job.key)["output"]


def item_done(place: int, item: Any, number: int) -> Event:
    """Return the event that tells an item whole."""
    told = {"type": "response.output_item.done", "output_index": place, "item": item}
    return event({**told, "sequence_number": number})


def message(text: str, *citations: Any) -> Any:
    """Return an item that is a message."""
    part = {"type": "output_text", "text": text, "annotations": list(citations)}
    return {"id": "msg_1", "type": "message", "role": "assistant", "content": [part]}


CITED = {"type": "url_citation", "url": "https://example.com", "title": "E"}
THOUGHT = {"id": "rs_1", "type": "reasoning", "summary": [{"text": "Hm."}]}


def test_items_that_only_passed_by_are_kept(state: Path) -> None:
    """All 32 answers of ChatGPT's back end lose their items, and a call is never seen."""
    items = [THOUGHT, message(fw.FOX, CITED)]
    told = [item_done(n, item, 3 + n) for n, item in enumerate(items)]
    stream: list[Answer] = [*EVENTS[:3], *told, completed([]), CLOSED]
    scripted = Scripted(get=[GONE], streams=[stream])
    only, heard, _ = follow(scripted, state)
    assert (Status.COMPLETED, [fw.FOX]) == (only.job.status, ended(heard))
    kept = saved(state, only.job.key)
    assert items == kept["output"]
    assert "from the events of its stream" == kept["bgresp_assembled"]
    answer = recorder_at(state).answers.answer(only.job.key, dialect())
    assert answer is not None
    assert ((CITED,), "Hm.", fw.FOX) == (
        answer.citations,
        answer.reasoning,
        answer.text,
    )
    assert 0 == scripted.count("get")


def test_a_call_that_only_passed_by_waits(state: Path) -> None:
    """A call that stands in no terminal object ends a job as if it were empty."""
    stream: list[Answer] = [*EVENTS[:3], item_done(0, CALL, 3), completed([]), CLOSED]
    empty = snapshot("completed", output=[])
    only, _, _ = follow(Scripted(get=[empty], streams=[stream]), state)
    assert (14, [CALL]) == (
        int(only.job.exit_code),
        saved(state, only.job.key)["output"],
    )


def test_an_item_that_is_done_beats_its_deltas(state: Path) -> None:
    """Where deltas and the item differ, what was shown is taken for the answer."""
    right = f"{fw.FOX} Twice."
    stream: list[Answer] = [
        *UNDONE,
        item_done(0, message(right), LAST),
        completed([]),
        CLOSED,
    ]
    only, heard, _ = follow(Scripted(get=[GONE], streams=[stream]), state)
    assert ([right], right) == (ended(heard), shown(heard))
    assert right == recorder_at(state).answers.text(only.job.key, dialect())


def test_text_beyond_the_items_is_kept(state: Path) -> None:
    """A message that never was done takes its text with it."""
    first = message("The quick")
    stream: list[Answer] = [
        *UNDONE,
        item_done(0, first, LAST),
        completed([]),
        CLOSED,
    ]
    only, heard, _ = follow(Scripted(get=[GONE], streams=[stream]), state)
    assert [fw.FOX] == ended(heard)
    assert fw.FOX == recorder_at(state).answers.text(only.job.key, dialect())


@pytest.mark.parametrize("item", [CALL, message("Only here.")], ids=["call", "text"])
def test_items_beside_a_hole_are_kept_where_nothing_better_comes(
    tmp_path: Path, item: Any
) -> None:
    """What passed by is thrown away because an item before it was not seen.

    Or it is taken for the whole answer, though the endpoint has that.
    """
    stream: list[Answer] = [*EVENTS[:3], item_done(1, item, 3), completed([]), CLOSED]
    for later in (GONE, snapshot("completed", output=[])):
        state = tmp_path / type(later).__name__
        only, heard, _ = follow(Scripted(get=[later], streams=[stream]), state)
        kept = saved(state, only.job.key)
        assert [item] == kept["output"]
        assert "from the events of its stream, not all" == kept["bgresp_assembled"]
        is_call = item is CALL
        assert (14 if is_call else 0) == int(only.job.exit_code)
        assert ("" if is_call else "Only here.") == shown(heard)
    whole = [THOUGHT, item, message("And this.")]
    state, better = tmp_path / "whole", snapshot("completed", output=whole)
    only, heard, _ = follow(Scripted(get=[better], streams=[stream]), state)
    assert whole == saved(state, only.job.key)["output"]
    assert shown(heard).endswith("And this.")


GEMINI = dialect("gemini")
CALLED = {"id": "61n", "type": "function_call", "name": "getWeather"}
SOURCE = {"type": "url_citation", "url": "https://example.org"}


def steps(*told: Any) -> list[Event]:
    """Return the events of Google's Interactions that tell steps piece by piece."""
    begun = {"id": "v1_x", "status": "in_progress", "object": "interaction"}
    payloads: list[Any] = [{"event_type": "interaction.created", "interaction": begun}]
    for place, (step, *pieces) in enumerate(told):
        at = {"index": place}
        payloads.append({**at, "event_type": "step.start", "step": step})
        payloads += [{**at, "event_type": "step.delta", "delta": p} for p in pieces]
        payloads.append({**at, "event_type": "step.stop"})
    return [event(payload, GEMINI) for payload in payloads]


def last_step(status: str) -> Event:
    """Return the event that ends an interaction: it has no steps."""
    response = {"id": "v1_x", "status": status, "usage": {"total_input_tokens": 3}}
    told = {"event_type": "interaction.completed", "interaction": response}
    return event(told, GEMINI)


THOUGHT_STEP = ({"type": "thought"}, {"type": "thought_signature", "signature": "x"})
CALL_STEP = (
    {**CALLED, "arguments": {}},
    {"type": "arguments_delta", "arguments": '{"location":'},
    {"type": "arguments_delta", "arguments": '"SF"}'},
)
TEXT_STEP = (
    {"type": "model_output"},
    {"type": "text", "text": "Tide "},
    {"type": "text", "text": "at nine."},
    {"type": "text_annotation_delta", "annotations": [SOURCE]},
)


def test_steps_that_were_told_in_pieces_are_kept(state: Path) -> None:
    """Google's last event has no steps: a call goes with the 404 of an interaction."""
    one, place = job(dialect="gemini"), endpoint()._replace(dialect=GEMINI)
    stream: list[Answer] = [
        *steps(THOUGHT_STEP, TEXT_STEP, CALL_STEP),
        last_step("requires_action"),
        CLOSED,
    ]
    scripted = Scripted(get=[GONE], streams=[stream], endpoint=place)
    only, heard, _ = follow(scripted, state, one=one)
    assert (14, "calls") == (int(only.job.exit_code), only.job.ended_with)
    answer = recorder_at(state).answers.answer(only.job.key, GEMINI)
    assert answer is not None
    assert ['getWeather({"location":"SF"})'] == list(map(str, answer.calls))
    assert ("Tide at nine.", (SOURCE,)) == (answer.text, answer.citations)
    assert "Tide at nine." == shown(heard)
    assert 1 <= scripted.count("get")


def test_the_endpoints_own_steps_are_better(state: Path) -> None:
    """What was put together of pieces stands in the way of the object itself."""
    one, place = job(dialect="gemini"), endpoint()._replace(dialect=GEMINI)
    stream: list[Answer] = [
        *steps(THOUGHT_STEP, CALL_STEP),
        last_step("requires_action"),
        CLOSED,
    ]
    body = {"id": "v1_x", "status": "requires_action", "steps": [CALLED]}
    reading = read_response(GEMINI, body)
    assert reading is not None
    whole = Snapshot(reading, json.dumps(body).encode())
    scripted = Scripted(get=[whole], streams=[stream], endpoint=place)
    only, _, _ = follow(scripted, state, one=one)
    assert body == saved(state, only.job.key)


FAULT = {"type": "error", "code": "server_error", "message": "It broke."}
BROKE = event({**FAULT, "sequence_number": 3})


def failed(error: Any) -> Event:
    """Return the terminal event of a response that failed, with its reason or none."""
    response = fw.response_of("failed") | {"error": error}
    last = {"type": "response.failed", "sequence_number": 4}
    return event({**last, "response": response})


@pytest.mark.parametrize(
    ("error", "code"),
    [
        ({"code": "slow_down", "message": "Slow down."}, "slow_down"),
        (None, "server_error"),
    ],
)
def test_an_error_is_not_the_end_of_a_stream(
    state: Path, error: Any, code: str
) -> None:
    """A job is asked about at once after an `error`, and `failed` is never read."""
    stream: list[Answer] = [*EVENTS[:3], BROKE, Late(4, failed(error)), CLOSED]
    only, heard, _ = follow(Scripted(get=[GONE], streams=[stream]), state)
    assert (Status.FAILED, 12) == (only.job.status, int(only.job.exit_code))
    assert only.job.error is not None
    assert code == only.job.error.code
    assert 5 == len(heard.raws)
    assert "failed" == saved(state, only.job.key)["status"]


def test_an_error_without_an_end_is_asked_about(state: Path) -> None:
    """A stream that stays open after an `error` is read as long as any other."""
    kept = [
        Late(1, event({"type": "keepalive", "sequence_number": n})) for n in range(9)
    ]
    stream: list[Answer] = [*EVENTS[:3], BROKE, *kept, Late(1000, CLOSED)]
    answer = snapshot("completed", fw.FOX)
    scripted = Scripted(get=[answer], streams=[stream])
    only, heard, took = follow(scripted, state)
    assert (Status.COMPLETED, [fw.FOX]) == (only.job.status, ended(heard))
    assert (5.0, None) == (took, only.job.error)


def test_what_an_error_said_is_told_of_a_lost_job(state: Path) -> None:
    """The only word that an endpoint without a store had for a job is gone."""
    scripted = Scripted(get=[GONE], streams=[[*EVENTS[:3], BROKE, CLOSED]])
    only, _, _ = follow(scripted, state)
    assert (Status.LOST, "It broke.") == (
        only.job.status,
        only.job.error and only.job.error.message,
    )


def test_a_long_wait_is_not_waited_for_an_answer_in_hand(state: Path) -> None:
    """An hour of a rate limit holds up an answer that is here already."""
    limited = refusal(429, FaultKind.RATE_LIMITED, retry_after=3600.0)
    stream: list[Answer] = [*EVENTS[:3], completed([CALL]), CLOSED]
    only, _, took = follow(Scripted(get=[limited], streams=[stream]), state)
    assert Status.COMPLETED is only.job.status
    assert took < 60


def test_a_job_that_ends_while_it_is_let_go_is_saved(state: Path) -> None:
    """A detached submit drops the answer that comes within its three seconds."""
    recorder, one = recorder_at(state), job()
    recorder.ledger.record(one)
    scripted = Scripted(streams=[[*EVENTS[:2], completed([CALL]), CLOSED]])

    async def main() -> None:
        signals = scripted.stream(str(one.id), None)
        submitted = Submitted(one, signals, dialect=dialect())
        await let_go(submitted, recorder)
        assert Status.COMPLETED is submitted.job.status
        assert submitted.signals is None

    run_virtual(main())
    assert [CALL] == saved(state, one.key)["output"]
