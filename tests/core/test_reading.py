"""Whatever an endpoint sends is data, never an error."""

from collections.abc import Mapping
from functools import cache
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.config import files
from bgresp.core.dialect import Dialect
from bgresp.core.dialect_schema import build
from bgresp.core.model import EndedWith, ResponseError, Status, Usage
from bgresp.core.output import Answer
from bgresp.core.reading import (
    ASSEMBLED,
    MOST_PASSED,
    WHOLE_ITEM,
    PassedItems,
    event_reader,
    is_id,
    read_error,
    read_event,
    read_id,
    read_refusal,
    read_response,
)
from bgresp.core.signals import Event, Reading
from tests import fakewire as fw

# Keys that mean something appear often, with values that do not fit them.
_KEYS = st.sampled_from(
    [
        *("id", "status", "output", "output_text", "type", "content", "text", "usage"),
        *("error", "message", "code", "detail", "msg", "incomplete_details", "reason"),
        *("created_at", "completed_at", "metadata", "bgresp_key", "background"),
        *("sequence_number", "delta", "response", "output_index", "content_index"),
    ]
)
_WORDS = st.sampled_from(
    [
        *("completed", "queued", "message", "output_text", "error", "response"),
        *("response.output_text.delta", "response.output_text.done", "response.error"),
        *("response.completed", "2026-11-21T08:00:00Z"),
    ]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _WORDS | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_KEYS, inner),
    max_leaves=12,
)
OBJECTS = st.dictionaries(_KEYS | st.text(max_size=4), JSON)


def _event(dialect: Dialect, payload: Mapping[str, Any], name: str = "") -> Event:
    return read_event(dialect, payload, name=name, raw="raw")


@cache
def _dialects() -> tuple[Dialect, ...]:
    tables = files.built_in()
    return tuple(build(name, tables) for name in ("openai", "gemini", "sail"))


_NEARLY_DELTAS = st.builds(
    lambda delta, changes: delta | changes,
    st.fixed_dictionaries(
        {
            "type": st.just("response.output_text.delta"),
            "sequence_number": st.integers(),
            "output_index": st.integers(0, 2),
            "content_index": st.integers(0, 2),
            "delta": st.text(),
        }
    ),
    st.dictionaries(st.sampled_from(["item", "step", "x"]) | _KEYS, JSON, max_size=2),
)


@given(_NEARLY_DELTAS | OBJECTS, st.sampled_from(["", "response.output_text.delta"]))
def test_a_delta_is_read_straight_as_it_is_by_the_dialect(
    payload: dict[str, Any], name: str
) -> None:
    """What is looked at straight is another event than the dialect's paths find."""
    for dialect in _dialects():
        told = event_reader(dialect)(payload, name, "raw", "7")
        assert told == read_event(dialect, payload, name=name, raw="raw", id_="7")


@given(st.sampled_from([*sorted(fw.TERMINAL), "queued"]), st.text())
def test_a_response_is_read(openai: Dialect, status: str, text: str) -> None:
    """Id, status, text, model, usage, error and reason are read from a Response."""
    reading = read_response(openai, fw.response_of(status, text))
    assert reading is not None
    assert (Status(status), status, True) == (
        *(reading.status, reading.raw_status, reading.known),
    )
    assert (fw.FIRST_ID, "fake-model") == (reading.id, reading.model)
    assert (text or None) == reading.text
    assert fw.CREATED_AT == reading.created_at
    assert (reading.finished_at is not None) is (status == "completed")
    assert (reading.error is not None) is (status == "failed")
    reason = "max_output_tokens" if status == "incomplete" else None
    assert reason == reading.incomplete_reason
    assert (reading.usage is not None) is (status in {"completed", "incomplete"})
    assert reading.background is True


def test_several_messages_are_one_text(openai: Dialect) -> None:
    """The text of a response is that of all its messages, in their order."""
    reading = read_response(openai, fw.response_of("completed", ["a ", "b"]))
    assert reading is not None
    assert "a \n\nb" == reading.text
    assert Usage(5, 2, 7) == reading.usage


def test_usage_is_added_up_and_detailed(tables: dict[str, Any]) -> None:
    """A total that is not told is the sum; reasoning, cache and cost are kept."""
    details = {
        "input_tokens": 5,
        "output_tokens": 7,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens_details": {"reasoning_tokens": 2},
        "cost": 0.25,
    }
    found = read_response(
        build("openai", tables), {"status": "completed", "usage": details}
    )
    assert found is not None
    assert found.usage is not None
    assert (
        Usage(5, 7, 12, 2, 3, 0.25) == found.usage == Usage.read(found.usage.to_dict())
    )
    half = {"status": "completed", "usage": {"input_tokens": 5}}
    found = read_response(build("openai", tables), half)
    assert found is not None
    assert Usage(5, None, None) == found.usage
    bare = {"total_input_tokens": 5, "total_output_tokens": 7, "total_tokens": 20}
    gemini = read_response(
        build("gemini", tables), {"status": "completed", "usage": bare}
    )
    assert gemini is not None
    assert Usage(5, 7, 20) == gemini.usage
    assert {"input_tokens": 5, "output_tokens": 7, "total_tokens": 20} == (
        gemini.usage.to_dict()
    )


@pytest.mark.parametrize("word", ["paused", "COMPLETED", "completed "])
def test_an_unknown_word_counts_as_open(openai: Dialect, word: str) -> None:
    """A status that nobody knows keeps the job open and the server's own word."""
    reading = read_response(openai, {"status": word})
    assert Reading(Status.IN_PROGRESS, word, known=False) == reading


@pytest.mark.parametrize("payload", [{}, {"status": None}, {"status": ""}])
def test_without_a_status_there_is_no_reading(
    openai: Dialect, payload: dict[str, Any]
) -> None:
    """What has no status says nothing of the job."""
    assert read_response(openai, payload) is None
    assert read_response(openai, {**payload, "status": 5}) is None


def test_other_spellings_are_read(tables: dict[str, Any]) -> None:
    """A dialect's own paths and words lead to the same reading."""
    mine = {
        "response": {"id": "job.id", "status": "job.state", "text": "answers[*].t"},
        "states": {"completed": ["DONE"]},
    }
    dialect = build("mine", {**tables, "mine": mine})
    payload = {"job": {"id": "7", "state": "DONE"}, "answers": [{"t": "a"}, {"t": "b"}]}
    reading = read_response(dialect, payload)
    answer = Answer("ab", ended_with=EndedWith.TEXT, plain="ab")
    assert Reading(Status.COMPLETED, "DONE", "7", "ab", answer=answer) == reading


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        *((None, None), ("", None), ({}, None)),
        ("it broke", ResponseError("error", "it broke")),
        ({"code": "c", "message": "m"}, ResponseError("c", "m")),
        ({"type": "t", "message": "m"}, ResponseError("t", "m")),
        ({"code": 500}, ResponseError("500", "500")),
        ({"message": "m"}, ResponseError("error", "m")),
        ({"why": 1}, ResponseError("error", "{'why': 1}")),
        (["a"], ResponseError("error", "['a']")),
    ],
)
def test_errors_are_read_however_spelled(
    raw: object, expected: ResponseError | None
) -> None:
    """Code and message of an error are found in any of the shapes seen."""
    assert expected == read_error(raw)


@pytest.mark.parametrize(
    ("payload", "body", "expected"),
    [
        ({"error": {"message": "m", "code": "c"}}, "", ResponseError("c", "m")),
        ({"error": {"message": "m", "type": "t"}}, "", ResponseError("t", "m")),
        ({"message": "m", "code": 0}, "", ResponseError("0", "m")),
        ({"detail": "d"}, "", ResponseError("", "d")),
        ({"detail": [{"msg": "a"}, {"msg": "b"}]}, "", ResponseError("", "a; b")),
        ({"error": "e"}, "", ResponseError("", "e")),
        ({"odd": 1}, "the\n  body", ResponseError("", "the body")),
        (None, "Bad Gateway", ResponseError("", "Bad Gateway")),
        (None, "", ResponseError("", "")),
        ([], "x" * 9000, ResponseError("", "x" * 500)),
    ],
)
def test_refusals_are_read_however_spelled(
    payload: object, body: str, expected: ResponseError
) -> None:
    """The body of an HTTP error gives a short message in any of the shapes seen."""
    assert expected == read_refusal(payload, body)


def test_a_history_is_read_event_by_event(openai: Dialect) -> None:
    """Deltas, their whole text, cursors and the end are read from OpenAI's events."""
    told = [_event(openai, e) for e in fw.events_of(fw.FOX)]
    assert list(range(len(told))) == [event.sequence for event in told]
    assert fw.FOX == "".join(event.delta or "" for event in told)
    assert [fw.FOX] == [event.full for event in told if event.full is not None]
    assert [told[-1]] == [event for event in told if event.terminal]
    last = told[-1].reading
    assert last is not None
    assert (Status.COMPLETED, fw.FOX) == (last.status, last.text)
    words = [e.reading.raw_status for e in told if e.reading is not None]
    assert ["queued", "queued", "in_progress", "completed"] == words
    assert told[-1].response == fw.response_of("completed", fw.FOX)
    assert "raw" == told[0].raw


def test_a_part_is_where_the_text_belongs(openai: Dialect) -> None:
    """A delta belongs to its output and content index; missing ones are 0."""
    at = {"output_index": 2, "content_index": 1}
    kind = {"type": "response.output_text.delta", "delta": "x"}
    assert (2, 1) == _event(openai, {**kind, **at}).part
    assert (0, 0) == _event(openai, {**kind, "output_index": True}).part


@pytest.mark.parametrize(
    ("payload", "name", "expected"),
    [
        ({"type": "a"}, "b", "a"),
        ({}, "b", "b"),
        ({"type": 5}, "", ""),
        ({"type": "completely.new"}, "", "completely.new"),
    ],
)
def test_an_event_is_named_by_itself_or_by_sse(
    openai: Dialect, payload: dict[str, Any], name: str, expected: str
) -> None:
    """The JSON's own type wins over the SSE name; unknown types pass through."""
    assert expected == _event(openai, payload, name).type


@pytest.mark.parametrize(
    "payload",
    [
        {"type": "error", "code": "c", "message": "m"},
        {"type": "error", "error": {"code": "c", "message": "m"}},
        {"type": "response.error", "error": {"type": "c", "message": "m"}},
    ],
)
def test_an_error_event_is_an_end_without_a_status(
    openai: Dialect, payload: dict[str, Any]
) -> None:
    """An error event ends the stream and keeps its words, flat or nested."""
    event = _event(openai, payload)
    assert event.terminal
    assert event.reading is None
    assert event.error is not None
    assert "m" == event.error.message


def test_the_status_beats_the_events_name(openai: Dialect) -> None:
    """A terminal response ends a stream under any event name, and only then."""
    done = {"type": "response.odd", "response": fw.response_of("failed")}
    assert _event(openai, done).terminal
    still = {"type": "response.odd", "response": fw.response_of("in_progress")}
    assert not _event(openai, still).terminal
    assert _event(openai, {"type": "response.done", "response": {}}).terminal


@pytest.mark.parametrize(
    ("value", "cursor"),
    [(0, 0), ("e1", "e1"), (True, None), (1.5, None), ([1], None), (None, None)],
)
def test_a_cursor_is_a_number_or_a_text(
    openai: Dialect, value: object, cursor: object
) -> None:
    """What cannot be sent back as a cursor is none; 0 is one."""
    found = _event(openai, {"sequence_number": value}).sequence
    assert (cursor, type(cursor)) == (found, type(found))


def test_a_cursor_is_one_that_a_request_can_say(openai: Dialect) -> None:
    """A text that a query or header cannot hold is no cursor: it would end a watch."""
    headed = openai.streaming._replace(resume="header:Last-Event-ID")
    by_header = openai._replace(streaming=headed)
    for text, dialects in (
        ("e 1", (openai, by_header)),
        *((text, (openai,)) for text in ("\u0436", "a\r\nX-Evil: 1", "a\0", "a ")),
        *((text, ()) for text in ("", "\ud800", "x" * 4097)),
    ):
        for spoken in (openai, by_header):
            known = text if spoken in dialects else None
            assert known == _event(spoken, {"sequence_number": text}).sequence


@given(OBJECTS, st.text(max_size=5))
def test_hostile_json_is_data(openai: Dialect, payload: Any, name: str) -> None:
    """No JSON object breaks the reading of an event, a response or a refusal."""
    event = _event(openai, payload, name)
    assert isinstance(event.type, str)
    assert event.delta is None or isinstance(event.delta, str)
    reading = read_response(openai, payload)
    assert reading is None or reading.raw_status == payload["status"]
    assert event.reading is None or event.response is not None


@given(JSON, st.text())
def test_hostile_refusals_are_data(openai: Dialect, payload: Any, body: str) -> None:
    """No body of an HTTP error breaks its reading, nor is the message ever long."""
    refusal = read_refusal(payload, body)
    assert len(refusal.message) <= 500
    assert read_error(payload) is None or isinstance(refusal.code, str)
    assert read_id(openai, payload) is None or isinstance(payload, dict)


def test_an_id_has_a_length() -> None:
    """An id of 4,096 characters is none, or one of more is one."""
    assert is_id("x" * 4096)
    assert not is_id("x" * 4097)
    assert not is_id("")


def test_the_word_incomplete_is_no_reason(openai: Dialect) -> None:
    """A response that is incomplete and says no more gives its status as a reason."""
    told = {"status": "incomplete"}
    found = read_response(openai, told)
    assert found is not None
    assert (Status.INCOMPLETE, None) == (found.status, found.incomplete_reason)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("It is too large.", "It is too large. (param input)"),
        ("input is too large.", "input is too large."),
    ],
)
def test_what_an_error_is_about_is_said_once(message: str, said: str) -> None:
    """The parameter that an endpoint refuses is left out, or said twice."""
    error = {"message": message, "param": "input", "code": "too_large"}
    assert ResponseError("too_large", said) == read_refusal({"error": error}, "")


def joined(openai: Dialect, *told: Event) -> Event:
    """Return the event that ends an answer without items, after those that had them."""
    passed = PassedItems()
    for one in told:
        passed.add(openai.streaming, one)
    response = {"id": "resp_1", "status": "completed", "output": []}
    end = {"type": "response.completed", "response": response}
    return passed.joined(openai, read_event(openai, end, name="", raw=""), "")


def message_of(id_: str) -> dict[str, Any]:
    part = {"type": "output_text", "text": id_}
    return {"type": "message", "id": id_, "content": [part]}


def test_items_that_nobody_numbers_are_all_kept(openai: Dialect) -> None:
    """An item takes the place of another where events tell no place."""
    items = [message_of("a"), message_of("b"), message_of("c")]
    end = joined(openai, *(Event(WHOLE_ITEM, item=item) for item in items))
    assert end.response is not None
    assert items == end.response["output"]
    assert end.reading is not None
    assert "a\n\nb\n\nc" == end.reading.text
    again = Event(WHOLE_ITEM, item=items[0])
    once = joined(openai, again, again).response
    assert once is not None
    assert items[:1] == once["output"]


def test_items_beyond_what_is_held_are_asked_for(openai: Dialect) -> None:
    """The items that were held are taken for all of a huge answer."""
    first = Event(WHOLE_ITEM, item=message_of("a"))
    huge = Event(WHOLE_ITEM, raw="x" * MOST_PASSED, part=(1, 0), item=message_of("b"))
    end = joined(openai, first, huge._replace(raw=huge.raw + "x"))
    assert end.response is not None
    assert [message_of("a")] == end.response["output"]
    assert str(end.response[ASSEMBLED]).endswith(", not all")
    assert end.reading is not None
    assert end.reading.text is None
    whole = joined(openai, first, huge).response
    assert whole is not None
    assert [message_of("a"), message_of("b")] == whole["output"]
