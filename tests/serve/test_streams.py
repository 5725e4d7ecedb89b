"""Streams by way of the official SDK: at creation, later, resumed, cut, cancelled."""

from __future__ import annotations

from typing import Any

import pytest

from tests.serve.endpoints import (
    Served,
    connected,
    create,
    event_schema,
    openai,
    poll,
    stream,
    wait_until,
)

OPENING = ["response.created", "response.queued", "response.in_progress"]
BEGUN = ["response.output_item.added", "response.content_part.added"]
DONE = [
    "response.output_text.done",
    "response.content_part.done",
    "response.output_item.done",
]


def later(sdk: openai.OpenAI, response_id: str, **query: Any) -> list[Any]:
    """Return all events of a stream opened by GET."""
    with sdk.responses.retrieve(response_id, stream=True, **query) as opened:
        return list(opened)


def test_a_stream_tells_the_whole_story(sdk: openai.OpenAI) -> None:
    """Events come in OpenAI's order, numbered from 0, and pass the SDK's models."""
    with stream(sdk, "hello you") as opened:
        events = list(opened)
    assert list(range(len(events))) == [e.sequence_number for e in events]
    deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
    middle = ["response.output_text.delta"] * len(deltas)
    ending = [*DONE, "response.completed"]
    assert [*OPENING, *BEGUN, *middle, *ending] == [e.type for e in events]
    assert ["queued", "queued", "in_progress"] == [
        e.response.status for e in events[:3]
    ]
    final = events[-1].response
    assert "".join(deltas) == final.output_text == events[-4].text
    schema = event_schema()
    for event in events:
        schema.validate_python(event.to_dict())
    assert events == later(sdk, final.id)


@pytest.mark.parametrize("after", [0, 1, 7, 10_000])
def test_a_stream_resumes_after_any_event(sdk: openai.OpenAI, after: int) -> None:
    """`starting_after` is exclusive, on a finished job too, and past the end empty."""
    job = stream(sdk, "hello you")
    whole = list(job)
    rest = later(sdk, whole[0].response.id, starting_after=after)
    assert whole[after + 1 :] == rest


def test_a_dropped_stream_does_not_stop_the_job(
    served: Served, sdk: openai.OpenAI
) -> None:
    """After a disconnect the job runs on, and a later stream follows it live."""
    with stream(sdk, "hold") as opened:
        seen = [next(opened) for _ in range(6)]
    job_id = seen[0].response.id
    assert "response.output_text.delta" == seen[-1].type
    assert "in_progress" == sdk.responses.retrieve(job_id).status
    with sdk.responses.retrieve(job_id, stream=True, starting_after=4) as more:
        assert seen[-1] == next(more)
        served.engine.released.set()
        rest: list[Any] = list(more)
    assert list(range(6, 11)) == [e.sequence_number for e in rest]
    assert "first second" == rest[-1].response.output_text


def test_a_failed_stream_ends_failed(sdk: openai.OpenAI) -> None:
    """A failing engine's stream ends with response.failed and the partial text."""
    events: list[Any] = list(stream(sdk, "fail"))
    assert "response.failed" == events[-1].type
    assert "half " == events[-1].response.output_text
    assert "as asked" == events[-1].response.error.message


def test_a_cancelled_stream_ends_cancelled(served: Served, sdk: openai.OpenAI) -> None:
    """A cancel ends the open stream with the cancelled response."""
    with stream(sdk, "hold") as opened:
        job_id = next(opened).response.id
        poll(sdk, job_id, "in_progress")
        sdk.responses.cancel(job_id)
        last = list(opened)[-1]
    assert ("response.cancelled", "cancelled") == (last.type, last.response["status"])
    served.engine.released.set()
    assert last == later(sdk, job_id)[-1]


def test_a_job_without_stream_cannot_be_streamed(sdk: openai.OpenAI) -> None:
    """Streams are refused unless the job was created with stream and background."""
    silent = create(sdk, "x").id
    sync: Any = next(iter(sdk.responses.create(model="m", input="x", stream=True)))
    for job_id, word in ((silent, "stream"), (sync.response.id, "background")):
        with pytest.raises(openai.BadRequestError) as caught:
            later(sdk, job_id)
        assert "stream" == caught.value.param
        assert f"not created with {word}=true" in caught.value.message


@pytest.mark.parametrize("query", ["starting_after=1", "stream=true&starting_after=x"])
def test_a_bad_cursor_is_refused(
    served: Served, sdk: openai.OpenAI, query: str
) -> None:
    """A cursor without a stream, or one that is no integer, is 400."""
    job = next(stream(sdk, "x"))
    reply = served.http.get(f"/responses/{job.response.id}?{query}")
    assert 400 == reply.status_code
    assert "starting_after" == reply.json()["error"]["param"]


def test_a_synchronous_stream_has_no_queue(sdk: openai.OpenAI) -> None:
    """Without background a stream begins in progress and ends completed."""
    events: list[Any] = list(sdk.responses.create(model="m", input="x", stream=True))
    assert ["created", "in_progress", "output_item.added"] == [
        event.type.removeprefix("response.") for event in events[:3]
    ]
    assert "in_progress" == events[0].response.status
    assert "completed" == events[-1].response.status


def test_leaving_a_synchronous_stream_cancels_it(sdk: openai.OpenAI) -> None:
    """A synchronous response lives only as long as its connection."""
    with sdk.responses.create(model="m", input="hold", stream=True) as opened:
        first: Any = next(iter(opened))
        job_id = first.response.id
    assert "cancelled" == poll(sdk, job_id).status


def test_leaving_a_synchronous_call_cancels_it(
    served: Served,
) -> None:
    """A synchronous call whose caller hangs up is cancelled."""

    def listed(status: str) -> list[Any]:
        found: list[Any] = served.http.get("/responses").json()["data"]
        return [item for item in found if item["status"] == status]

    with connected(served) as caller:
        caller.sendall(
            b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\nContent-Length: 29\r\n\r\n"
            b'{"model":"m","input":"hold" }'
        )
        assert 1 == len(wait_until(lambda: listed("in_progress")))
    assert 1 == len(wait_until(lambda: listed("cancelled")))
