"""Output items as events: what the writer writes, the fold reads, wherever it is cut."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.serve.output import Output, OutputWriter
from tests.serve.endpoints import event_schema

RESPONSE = "resp_0"
PIECES = st.lists(
    st.tuples(
        st.sampled_from(["text", "reasoning", "refusal", "0", "1", "2"]),
        st.text(max_size=4),
    ),
    max_size=12,
)


ADDED = {"type": "response.output_item.added", "output_index": 0}


def events_of(pieces: list[tuple[str, str]]) -> list[dict[str, Any]]:
    writer = OutputWriter(RESPONSE)
    write: dict[str, Callable[[str], list[dict[str, Any]]]] = {
        "text": writer.text,
        "reasoning": writer.reasoning,
        "refusal": writer.refusal,
    }
    events = []
    for kind, piece in pieces:
        if kind in write:
            events += write[kind](piece)
        else:
            number = int(kind)
            told = {"call_id": f"call_{kind}", "name": f"f{kind}", "piece": piece}
            events += writer.call(number, **told)
    return [*events, *writer.finish(empty=True)]


def wrote(pieces: list[tuple[str, str]], kind: str) -> str:
    return "".join(piece for known, piece in pieces if known == kind)


@given(PIECES)
def test_what_is_written_is_read(pieces: list[tuple[str, str]]) -> None:
    """Texts, reasoning, refusals and calls come back whole, in events the SDK takes."""
    events = events_of(pieces)
    for number, event in enumerate(events):
        event_schema().validate_python({**event, "sequence_number": number})
    items = Output(events).items()
    parts = [part for item in items for part in item.get("content", [])]
    for kind, part, field in (
        ("text", "output_text", "text"),
        ("reasoning", "reasoning_text", "text"),
        ("refusal", "refusal", "refusal"),
    ):
        found = "".join(p[field] for p in parts if p["type"] == part)
        assert wrote(pieces, kind) == found
    for item in items:
        assert item.get("status", "completed") == "completed"
        if item["type"] == "function_call":
            number = item["call_id"].removeprefix("call_")
            assert wrote(pieces, number) == item["arguments"]
    assert len(items) == len({item["id"] for item in items}) > 0


@given(PIECES, st.data())
def test_a_cut_keeps_what_was_said(
    pieces: list[tuple[str, str]], data: st.DataObject
) -> None:
    """A beginning of the events is a beginning of the text, and ends incomplete."""
    events = events_of(pieces)
    cut = data.draw(st.integers(0, len(events)))
    output = Output(events[:cut])
    deltas = [e for e in events[:cut] if e["type"] == "response.output_text.delta"]
    said = "".join(event["delta"] for event in deltas)
    assert said == output.text().replace("\n\n", "") or "\n" in said
    assert len(deltas) == output.deltas
    done = [e for e in events[:cut] if e["type"] == "response.output_item.done"]
    unfinished = [i for i in output.items() if i.get("status") == "incomplete"]
    reasoning = [i for i in output.items() if i["type"] == "reasoning"]
    assert len(done) + len(unfinished) + len(reasoning) >= len(output.items())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 3) | st.sampled_from(["x", "message"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["content", "text", "type", "summary"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
KINDS = [
    *("output_item.added", "output_item.done", "content_part.added", "in_progress"),
    *("content_part.done", "output_text.delta", "output_text.annotation.added"),
    *("reasoning_summary_text.delta", "function_call_arguments.delta", "made_up"),
]


@given(
    st.lists(
        st.builds(
            lambda kind, rest: {**rest, "type": f"response.{kind}"},
            st.sampled_from(KINDS),
            st.dictionaries(
                st.sampled_from(
                    [
                        "output_index",
                        "content_index",
                        "summary_index",
                        "item",
                        "part",
                        "delta",
                        "annotation",
                    ]
                ),
                JSON,
            ),
        ),
        max_size=12,
    )
)
def test_nonsense_harms_nothing(events: list[dict[str, Any]]) -> None:
    """Events of any shape are folded without an error, and the result is items."""
    output = Output(events)
    assert all(isinstance(item, dict) for item in output.items())
    assert isinstance(output.text(), str)


def test_deltas_without_their_beginning_are_kept() -> None:
    """An upstream that leaves out the part's beginning loses no text."""
    item = {"id": "msg", "type": "message", "role": "assistant", "content": []}
    place = {"item_id": "msg", "output_index": 0, "content_index": 0}
    delta = {"type": "response.output_text.delta", **place, "delta": "so"}
    added = {"type": "response.output_item.added", "output_index": 0, "item": item}
    output = Output([added, delta, delta])
    (part,) = output.items()[0]["content"]
    assert {"type": "output_text", "text": "soso"} == part


@pytest.mark.parametrize("index", [2, -1, True, "0", None, 10**9])
def test_what_has_no_place_in_its_item_changes_nothing(index: Any) -> None:
    """An upstream that leaves a part out ends the job, or puts nonsense into it."""
    part = {"type": "output_text", "text": "so", "annotations": [{"type": "x"}]}
    item = {"id": "msg", "type": "message", "content": [part]}
    output = Output([{**ADDED, "item": item}])
    before = json.dumps(output.items())
    at = {"output_index": 0, "content_index": index}
    kind = "response.output_text.annotation.added"
    for event in (
        {**at, "type": "response.content_part.added", "part": {"text": "no"}},
        {**at, "type": "response.output_text.delta", "delta": "no"},
        {**at, "type": kind, "annotation": {"type": "no"}},
        {**at, "content_index": 0, "type": kind, "annotation": "no"},
        {**at, "content_index": 0, "type": "response.output_text.delta", "delta": 5},
    ):
        output.apply(event)
    assert before == json.dumps(output.items())


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_an_answer_cut_short_says_so(status: str) -> None:
    """The last message has the status of the end."""
    writer = OutputWriter(RESPONSE)
    events = [*writer.text("a"), *writer.finish(status)]
    assert [status] == [item["status"] for item in Output(events).items()]


def test_only_an_answer_without_items_is_an_empty_message() -> None:
    """A call, or a thought, is followed by a message that nobody wrote."""
    for pieces in ([], [("text", "a")], [("0", "{}")], [("reasoning", "Hm.")]):
        types = [item["type"] for item in Output(events_of(pieces)).items()]
        kind = {"text": "message", "0": "function_call", "reasoning": "reasoning"}
        assert [kind[name] for name, _ in pieces or [("text", "")]] == types


def test_what_has_ended_ends_once() -> None:
    """A call is told to be done twice where an answer is ended twice."""
    writer = OutputWriter(RESPONSE)
    writer.call(0, call_id="call_0", name="f", piece="{}")
    assert writer.finish()
    assert [] == writer.finish()
