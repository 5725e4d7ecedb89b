"""Small recordings of answers of every shape: each part, the exit code and the note.

They were written for this project, after the counts of items that real endpoints sent.
Beside each stand the right values; each shape has neighbours that must not alarm.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.config import files
from bgresp.core import update
from bgresp.core.dialect import Dialect
from bgresp.core.dialect_schema import build
from bgresp.core.model import EndedWith, Job, Status
from bgresp.core.output import read_answer
from bgresp.core.reading import read_event, read_response
from bgresp.core.signals import Event, Reading
from bgresp.engine.shown_text import Transcript
from bgresp.render.columns import told_of

FOLDER: Final = Path(__file__).parent / "data" / "answers"
NAMES: Final = sorted(path.stem for path in FOLDER.glob("*.json"))
TABLES: Final = files.built_in()
OPENAI: Final = build("openai", TABLES)
Json = dict[str, Any]


def recording(name: str) -> Json:
    """Return a recording with what is to be read in it."""
    found: Json = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return found


def dialect_of(found: Json) -> Dialect:
    """Return the dialect that an endpoint spoke."""
    return build(found["dialect"], TABLES)


def reading_of(found: Json) -> Reading:
    """Read the object of a recording."""
    reading = read_response(dialect_of(found), found["response"], 200)
    assert reading is not None
    return reading


def events_of(response: Mapping[str, Any], size: int = 4) -> Iterator[Json]:
    """Yield the events that tell an answer, its texts in pieces of `size`."""
    number = iter(range(1_000_000))

    def event(kind: str, **fields: Any) -> Json:
        return {"type": kind, "sequence_number": next(number), **fields}

    begun = {**response, "status": "in_progress", "output": []}
    yield event("response.created", response=begun)
    for at, item in enumerate(response.get("output", [])):
        is_message = isinstance(item, dict) and item["type"] == "message"
        empty = {**item, "content": []} if is_message else item
        yield event("response.output_item.added", output_index=at, item=empty)
        content = item.get("content", []) if is_message else []
        for index, part in enumerate(content):
            where = {"output_index": at, "content_index": index}
            yield event("response.content_part.added", **where, part={})
            said = part if isinstance(part, dict) else {}
            for field, told in (("text", "output_text"), ("refusal", "refusal")):
                text = said.get(field)
                if not isinstance(text, str):
                    continue
                for start in range(0, len(text), size):
                    piece = text[start : start + size]
                    yield event(f"response.{told}.delta", **where, delta=piece)
                yield event(f"response.{told}.done", **where, **{field: text})
            yield event("response.content_part.done", **where, part=part)
        yield event("response.output_item.done", output_index=at, item=item)
    yield event(f"response.{response['status']}", response=response)


def read_events(payloads: list[Json], dialect: Dialect = OPENAI) -> list[Event]:
    """Read events as the client does."""
    return [read_event(dialect, one, name="", raw=json.dumps(one)) for one in payloads]


def ended(reading: Reading) -> Job:
    """Return the record of a job that ended so."""
    job = Job("k", Status.IN_PROGRESS, id="resp_1")
    return update.heard(job, reading, now=1.0, limits=OPENAI.limits)


def test_there_are_enough() -> None:
    """Forty answers or more are recorded, and every ending is among them."""
    assert len(NAMES) >= 40
    endings = {recording(name)["expect"]["ended_with"] for name in NAMES}
    assert set(EndedWith) == endings


@pytest.mark.parametrize("name", NAMES)
def test_each_part_is_read(name: str) -> None:
    """Every part, the exit code and the note of an answer are the recorded ones."""
    found = recording(name)
    reading, expect = reading_of(found), found["expect"]
    answer, job = reading.answer, ended(reading)
    told = {
        "text": answer.text,
        "refusal": answer.refusal,
        "calls": [call.to_dict() for call in answer.calls],
        "approvals": [call.to_dict() for call in answer.approvals],
        "images": len(answer.images),
        "files": [media.id for media in answer.files],
        "citations": len(answer.citations),
        "reasoning": answer.reasoning,
        "commentary": answer.commentary,
        "ended_with": str(job.ended_with),
        "exit_code": int(job.exit_code),
        "note": job.told or "",
    }
    assert expect == told
    assert (answer.text or None) == reading.text
    record = job.to_record()
    assert (expect["ended_with"], expect["refusal"] or None) == (
        record["ended_with"],
        record["refusal"],
    )
    if job.status is Status.COMPLETED:
        assert bool(expect["note"]) == bool(told_of(job))


STREAMED: Final = [
    name
    for name in NAMES
    if recording(name)["dialect"] in {"openai", "mka1"}
    and name not in {"text-beside", "phase-commentary-beside"}
]


@pytest.mark.parametrize("name", STREAMED)
def test_the_stream_tells_the_same_text(name: str) -> None:
    """What is shown while it comes is the text of the object, and nothing besides."""
    found = recording(name)
    text, transcript = found["expect"]["text"], Transcript()
    for event in read_events(list(events_of(found["response"]))):
        transcript.add(event)
        assert text.startswith(transcript.shown)
    assert text == transcript.text == transcript.shown
    assert transcript.is_level


@pytest.mark.parametrize("name", STREAMED)
def test_resumed_at_each_event_the_text_is_the_same(name: str) -> None:
    """Left at any event and resumed at the noted cursor, nothing is lost or twice."""
    found = recording(name)
    text = found["expect"]["text"]
    events = read_events(list(events_of(found["response"])))
    for cut in range(len(events)):
        first, shown = Transcript(), ""
        after: int | None = None
        item: int | None = None
        for number, event in enumerate(events[:cut]):
            fresh = first.add(event)
            shown += fresh
            if first.is_level:
                after, item = number, first.item
            elif fresh:
                after = None  # as a watcher notes it: replay all of it
        second = Transcript(shown, item=item)
        second.restart(*((shown, item) if after is not None else ()))
        for event in events[0 if after is None else after + 1 :]:
            shown += second.add(event)
        rest = second.settle(text)
        assert rest is not None, (cut, shown)
        assert text == shown + rest


TEXT: Final = st.text("ab \n", max_size=4)
PHASES: Final = st.sampled_from(
    [{}, {"phase": "final_answer"}, {"phase": "commentary"}]
)
CONTENT: Final = st.lists(
    TEXT.map(lambda text: {"type": "output_text", "text": text})
    | TEXT.map(lambda text: {"type": "refusal", "refusal": text}),
    max_size=3,
)
MESSAGES: Final = st.builds(
    lambda content, phase: {"type": "message", "content": content, **phase},
    CONTENT,
    PHASES,
)
CALL_IDS: Final = st.sampled_from(["call_1", "call_2"])
OTHERS: Final = st.builds(
    lambda kind, id_: {"type": kind, "call_id": id_, "id": id_, "name": "f"},
    st.sampled_from(
        [
            *("function_call", "custom_tool_call", "shell_call", "tool_search_call"),
            *("function_call_output", "mcp_approval_request", "mcp_call", "reasoning"),
            *("web_search_call", "compaction", "program", "dance_call", ""),
        ]
    ),
    CALL_IDS,
)
IMAGES: Final = st.just({"type": "image_generation_call", "result": "AAAA"})
OUTPUTS: Final = st.lists(MESSAGES | OTHERS | IMAGES, max_size=6)


@given(OUTPUTS)
def test_an_answer_of_any_items_is_told(output: list[Json]) -> None:
    """Stream and object tell one text, and what ends without one is never silent."""
    response = {"id": "resp_1", "status": "completed", "output": output}
    reading = read_response(OPENAI, response)
    assert reading is not None
    answer, job, transcript = reading.answer, ended(reading), Transcript()
    for event in read_events(list(events_of(response, size=1))):
        transcript.add(event)
    assert answer.text == transcript.text == transcript.shown
    assert job.ended_with in set(EndedWith)
    if not answer.text:
        assert job.told
        assert 14 == job.exit_code or answer.images
    if answer.calls or answer.approvals:
        assert 14 == job.exit_code
    if 14 == job.exit_code:
        assert told_of(job)


JUNK: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    *("output", "type", "content", "text", "call_id", "name", "phase"),
                    *("arguments", "annotations", "result", "environment", "summary"),
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@given(JUNK, st.sampled_from(sorted(TABLES)))
def test_reading_an_answer_is_total(payload: Any, name: str) -> None:
    """Whatever an endpoint sends, an answer is read from it and an ending told."""
    answer = read_answer(build(name, TABLES).items, payload)
    assert answer.ended_with in set(EndedWith)
    assert isinstance(answer.told, str)
