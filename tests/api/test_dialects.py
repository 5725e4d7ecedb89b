"""Every built-in dialect on the wire: requests to the byte, documented answers read.

What is expected lies in tests/data/dialects, written by hand from documents.
"""

import asyncio
import json
import tomllib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import pytest

from bgresp.api import replies
from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.config import files
from bgresp.config.files import Config
from bgresp.config.settings import Flags, Settings, resolve
from bgresp.core.dialect import PARTS
from bgresp.core.dialect_schema import build
from bgresp.core.endpoint import Endpoint
from bgresp.core.errors import RefusedError
from bgresp.core.model import Status, Usage
from bgresp.core.reading import event_reader
from bgresp.core.request import Request, render
from bgresp.core.signals import Event, Fault, Snapshot
from tests.endpoint import listed, listening, using
from tests.fakehttp import read_request
from tests.fakejobs import HttpRequest

FOLDER: Final = Path(__file__).parent.parent / "data" / "dialects"
REQUESTS: Final = tomllib.loads((FOLDER / "requests.toml").read_text("utf-8"))
ANSWERS: Final = json.loads((FOLDER / "answers.json").read_text("utf-8"))
ID: Final = "resp_1/+="
KEY: Final = "K-123456"
OPERATIONS: Final = ("get", "cancel", "delete", "list", "stream")
# What HTTP itself asks for; the rest of a request's headers is the dialect's.
HTTP: Final = {
    *("host", "connection", "accept", "accept-encoding", "user-agent"),
    *("content-type", "content-length", "cache-control", "idempotency-key"),
}
FULL: Final = Request(
    text="Why?",
    model="m-1",
    instructions="Be brief.",
    previous_id="resp_0",
    metadata={"a": "b"},
    tools=({"type": "web_search"},),
    schema={"type": "json_object"},
    max_output_tokens=9,
)
FIELDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "max_output_tokens": {"max_output_tokens": None},
    "metadata": {"metadata": {}},
    "previous": {"previous_id": None},
    "schema": {"schema": None},
    "system": {"instructions": None},
    "tools": {"tools": ()},
}


def configured(name: str) -> Settings:
    """Return a dialect's settings as a profile of its name has them."""
    wanted = REQUESTS[name]
    profile = {"dialect": name, "vars": wanted["vars"]}
    config = Config(Path("config.toml"), profiles={name: profile})
    return resolve(Flags(profile=name), {wanted["env"]: KEY}, config)


def heard(name: str, ask: Callable[[Api], Awaitable[object]]) -> HttpRequest:
    """Return the one request that asking brings to a server at the dialect's path."""
    settings = configured(name)
    seen: list[HttpRequest] = []

    async def converse(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        found = await read_request(reader)
        if found is not None:
            seen.append(found)
            writer.write(b"HTTP/1.1 404 Gone\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()

    async def main() -> None:
        async with listening(converse) as place:
            is_local = settings.base_url == "local:"
            path = "/v1" if is_local else urlsplit(settings.base_url).path
            url = f"http://{place}{path}"
            spoken, known = settings.dialect, settings.vars
            api = Api(Endpoint(name, url, spoken, vars=known, key=KEY))
            await ask(api)
            await api.aclose()

    asyncio.run(main())
    (only,) = seen
    return only


def said(seen: HttpRequest) -> str:
    """Return a request's method and target as they went over the wire."""
    return f"{seen.method} {seen.target}"


def own_headers(seen: HttpRequest) -> dict[str, str]:
    """Return the headers that are not HTTP's own."""
    assert "identity" == seen.headers["accept-encoding"]
    return {k: v for k, v in seen.headers.items() if k not in HTTP}


def body_of(name: str) -> Mapping[str, Any]:
    """Return the body that is expected of a full request."""
    body = REQUESTS[name]["body"]
    found: Mapping[str, Any] = REQUESTS[body]["body"] if type(body) is str else body
    return found


def test_every_dialect_is_written_down() -> None:
    """A dialect was added, and nobody wrote down what it should say and hear."""
    assert set(files.built_in()) == set(REQUESTS)
    assert set(files.built_in()) == {row["dialect"] for row in ANSWERS}


@pytest.mark.parametrize("name", REQUESTS)
def test_the_url_and_the_key_are_the_documented_ones(name: str) -> None:
    """A profile of the dialect's name needs its variables and its key, no more."""
    settings = configured(name)
    assert REQUESTS[name]["url"] == settings.base_url
    if name != "local":
        assert f"env:{REQUESTS[name]['env']}" == str(settings.key_source)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("streamed", [False, True])
def test_a_create_is_sent_as_documented(name: str, streamed: bool) -> None:
    """Method, path, headers and body of a create, with all that the dialect carries."""
    wanted, spoken = REQUESTS[name], configured(name).dialect
    left_out = [FIELDS[part] for part in FIELDS if part not in spoken.carries]
    request = FULL._replace(**{k: v for one in left_out for k, v in one.items()})
    body = render(request, spoken, wanted["vars"])
    if streamed and "stream" in spoken.ops:
        body |= spoken.stream_body
    raw = json.dumps(body).encode()

    async def ask(api: Api) -> None:
        await listed(api.create(raw, key="01K", stream=streamed, sent=Sent()))

    seen = heard(name, ask)
    extra = wanted.get("streamed", {}) if streamed else {}
    assert wanted["create"] == said(seen)
    assert {**body_of(name), **extra} == seen.json
    assert wanted["headers"] == own_headers(seen)
    accept = "text/event-stream" if streamed else "application/json"
    assert ("01K", "application/json", accept) == (
        *(seen.headers["idempotency-key"], seen.headers["content-type"]),
        seen.headers["accept"],
    )


def asking(op: str, cursor: int | str | None) -> Callable[[Api], Awaitable[object]]:
    """Return how an operation is asked for."""

    async def ask(api: Api) -> object:
        if op in {"stream", "resume"}:
            return await listed(api.stream(ID, cursor if op == "resume" else None))
        if op == "list":
            return await api.list("resp_0")
        if op == "get":
            return await api.retrieve(ID)
        return await (api.cancel(ID) if op == "cancel" else api.delete(ID))

    return ask


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("op", [*OPERATIONS, "resume"])
def test_an_operation_is_sent_as_documented(name: str, op: str) -> None:
    """Each operation goes where the documents say, or is refused by name unsent."""
    wanted = REQUESTS[name]
    ask = asking(op, wanted.get("cursor", 7))
    if op in wanted:
        seen = heard(name, ask)
        assert (wanted[op], wanted["headers"]) == (said(seen), own_headers(seen))
        assert b"" == seen.body
        return
    nowhere = Endpoint(name, "http://127.0.0.1:9/v1", configured(name).dialect)
    named = op.replace("resume", "stream")
    with pytest.raises(RefusedError, match=f"a {name} endpoint cannot {named}"):
        using(nowhere, ask)


@pytest.mark.parametrize("name", REQUESTS)
@pytest.mark.parametrize("part", FIELDS)
def test_what_a_body_has_no_place_for_is_refused(name: str, part: str) -> None:
    """A part that a dialect cannot carry is named before anything is sent."""
    spoken = configured(name).dialect
    fields = {k: getattr(FULL, k) for k in FIELDS[part]}
    request = Request(text="Why?", model="m-1", **fields)
    expected = {part for part, hole in PARTS.items() if hole in str(spoken.body)}
    if part in expected:
        assert render(request, spoken, {})
        return
    with pytest.raises(RefusedError, match=name):
        render(request, spoken, {})


def as_row(signal: Snapshot | Fault | Event) -> dict[str, Any]:
    """Say what became of an answer in the words of answers.json."""
    if isinstance(signal, Fault):
        return {"fault": signal.kind.value, "message": signal.message}
    found: dict[str, Any] = {}
    if isinstance(signal, Event):
        part = list(signal.part)
        found = {"event": signal.type, "cursor": signal.sequence, "part": part}
        found |= {"delta": signal.delta, "full": signal.full}
        found |= {"terminal": signal.terminal}
        error = signal.error
        found |= {"message": error.message} if error else {}
    reading = signal.reading
    if reading is not None:
        usage = reading.usage or Usage()
        found |= {"status": reading.status.value, "word": reading.raw_status}
        found |= {"known": reading.known, "id": reading.id, "text": reading.text}
        found |= {"reason": reading.incomplete_reason, "model": reading.model}
        found |= {"created": reading.created_at, "finished": reading.finished_at}
        tokens = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
        found |= {"tokens": list(tokens), "key": reading.key}
        found |= {"message": reading.error.message} if reading.error else {}
    return found


@pytest.mark.parametrize(
    "row", ANSWERS, ids=lambda row: f"{row['dialect']}: {row['it']}"
)
def test_a_documented_answer_is_read(row: Mapping[str, Any]) -> None:
    """What the documents say an endpoint answers becomes the signal that it means."""
    spoken = build(row["dialect"], files.built_in())
    body = row.get("body", "")
    raw = body if isinstance(body, str) else json.dumps(body)
    signal: Snapshot | Fault | Event | None
    if row["op"] == "event":
        signal = replies.event(
            event_reader(spoken), row.get("name", ""), raw, row.get("id", "")
        )
    else:
        reply = replies.Reply(row["http"], row.get("headers", {}), raw.encode())
        read = replies.created if row["op"] == "create" else replies.retrieved
        signal = read(spoken, reply)
    assert signal is not None
    found = as_row(signal)
    assert row["means"] == {key: found.get(key) for key in row["means"]}


def test_every_word_of_a_status_is_known() -> None:
    """A dialect knows the words that WIRE-DIALECTS.md lists for its endpoint."""
    words = {
        "openai": "queued in_progress completed failed incomplete cancelled canceled",
        "freddy": "queued in_progress processing completed failed cancelled",
        "perplexity": "queued in_progress completed failed cancelled cancelling",
        "sail": "pending running failed completed cancelled",
        "gemini": "queued in_progress requires_action completed failed cancelled "
        "incomplete budget_exceeded requires_continuation",
        "xai-deferred": "202 200 length",
    }
    for name, known in words.items():
        states = build(name, files.built_in()).states
        assert set(known.split()) <= set(states)
        assert {*states.values()} <= set(Status)
