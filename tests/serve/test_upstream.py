"""Jobs by way of another server, of Responses or of chat, that does well or badly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from bgresp.serve.upstream import Upstream
from tests.serve.chatserver import (
    JSON,
    USAGE,
    ChatServer,
    Reply,
    chat_server,
    chunk,
    json_reply,
    sse,
)
from tests.serve.endpoints import (
    Serve,
    Served,
    create,
    event_schema,
    openai,
    poll,
    stream,
    wait_until,
)

CHAT = "chat/completions"
HELLO = [chunk(role="assistant", content=""), chunk(content="Hel"), chunk(content="lo")]


@pytest.fixture
def upstream() -> Iterator[ChatServer]:
    with chat_server() as server:
        yield server


class Waits:
    """Takes down how long was waited for, and does not wait."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def via_chat(serve: Serve, upstream: ChatServer, waits: Waits) -> Served:
    engine = Upstream(upstream.base_url, key="up", api="chat", silence=5, sleep=waits)
    return serve(engine=engine)


@pytest.fixture
def via_responses(serve: Serve, upstream: ChatServer) -> Served:
    return serve(engine=Upstream(upstream.base_url, api="responses", silence=5))


def failed(served: Served, prompt: str = "x") -> tuple[str, str, str]:
    """Return the code, the message and the text of a job that fails."""
    done = poll(served.sdk(), create(served.sdk(), prompt).id)
    assert "failed" == done.status
    assert done.error is not None
    return str(done.error.code), done.error.message, done.output_text


def told(served: Served, **fields: Any) -> list[Any]:
    """Return the events of a streamed job, each taken by the SDK's models."""
    with served.sdk().responses.create(
        model="m", input="x", background=True, stream=True, **fields
    ) as opened:
        events = list(opened)
    assert list(range(len(events))) == [event.sequence_number for event in events]
    for event in events:
        event_schema().validate_python(event.to_dict())
    return events


@pytest.mark.parametrize(
    "reply",
    [
        sse(*HELLO, chunk("stop"), USAGE),
        sse(*HELLO, chunk("stop"), USAGE, done=False),
        sse(*HELLO, USAGE),  # the end is said by [DONE] alone
        sse(*HELLO, chunk("stop"), USAGE, end="\r\n"),
        sse(*HELLO, chunk("stop"), USAGE, end="\r"),
        Reply(
            [
                b"\xef\xbb\xbf: ping\n\n",
                *sse(*HELLO, chunk("stop"), USAGE).pieces,
                b":\n",
            ]
        ),
        Reply([bytes([b]) for b in b"".join(sse(*HELLO, chunk("stop"), USAGE).pieces)]),
        json_reply(
            {
                "object": "chat.completion",
                "choices": [{"message": {"content": "Hello"}, "finish_reason": "stop"}],
                "usage": USAGE["usage"],
            }
        ),
    ],
    ids=["usual", "no-done", "done-alone", "crlf", "cr", "bom", "bytes", "whole"],
)
def test_a_chat_answers(via_chat: Served, upstream: ChatServer, reply: Reply) -> None:
    """However a chat server frames its answer, the job completes with text and usage."""
    upstream.says(CHAT, reply)
    sdk = via_chat.sdk()
    done = poll(sdk, create(sdk, "Hi", instructions="Be brief.", temperature=0.5).id)
    assert ("completed", "Hello") == (done.status, done.output_text)
    assert done.usage is not None
    assert (3, 2, 5) == (
        done.usage.input_tokens,
        done.usage.output_tokens,
        done.usage.total_tokens,
    )
    ((_, headers, body),) = upstream.requests
    assert "Bearer up" == headers["authorization"]
    assert {
        "model": "demo",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
        ],
        "temperature": 0.5,
        "stream": True,
        "stream_options": {"include_usage": True},
    } == body


def test_no_usage_is_null(via_chat: Served, upstream: ChatServer) -> None:
    """A server that tells no usage is not made to: it stays unknown."""
    upstream.says(CHAT, sse(*HELLO, chunk("stop")))
    done = poll(via_chat.sdk(), create(via_chat.sdk(), "x").id)
    assert ("completed", None) == (done.status, done.usage)


def test_reasoning_text_and_calls_are_items(
    via_chat: Served, upstream: ChatServer
) -> None:
    """Reasoning, text and parallel calls come as items, in the events of OpenAI."""
    upstream.says(
        CHAT,
        sse(
            chunk(reasoning_content="Let me "),
            chunk(reasoning_content="see."),
            chunk(content="I ask."),
            chunk(
                tool_calls=[
                    {"index": 0, "id": "c1", "function": {"name": "f", "arguments": ""}}
                ]
            ),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
            chunk(
                tool_calls=[
                    {
                        "index": 1,
                        "id": "c2",
                        "function": {"name": "g", "arguments": "{}"},
                    }
                ]
            ),
            chunk(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
            chunk("tool_calls"),
        ),
    )
    events = told(via_chat)
    final = events[-1].response
    assert "completed" == final.status
    kinds = ["reasoning", "message", "function_call", "function_call"]
    assert kinds == [item.type for item in final.output]
    assert "Let me see." == final.output[0].content[0].text
    calls = [(c.call_id, c.name, c.arguments) for c in final.output[2:]]
    assert [("c1", "f", '{"a":1}'), ("c2", "g", "{}")] == calls
    done = [e.item for e in events if e.type == "response.output_item.done"]
    assert final.output == done


def test_a_conversation_with_a_tool(via_chat: Served, upstream: ChatServer) -> None:
    """A call is answered by the next request; the server is told the whole of it."""
    call = {"index": 0, "id": "c1", "function": {"name": "f", "arguments": "{}"}}
    upstream.says(
        CHAT,
        sse(chunk(reasoning="hm"), chunk(tool_calls=[call]), chunk("tool_calls")),
        sse(chunk(content="42"), chunk("stop")),
    )
    sdk = via_chat.sdk()
    tool: Any = {"type": "function", "name": "f", "parameters": {}, "strict": False}
    first = poll(sdk, create(sdk, "What?", tools=[tool], tool_choice="auto").id)
    second = sdk.responses.create(
        model="m",
        background=True,
        previous_response_id=first.id,
        tools=[tool],
        input=[{"type": "function_call_output", "call_id": "c1", "output": "6*7"}],
    )
    assert "42" == poll(sdk, second.id).output_text
    *_, (_, _, body) = upstream.requests
    assert [
        {"role": "user", "content": "What?"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "c1",
                    "type": "function",
                    "function": {"name": "f", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "c1", "content": "6*7"},
    ] == body["messages"]
    assert [{"type": "function", "function": {"name": "f", "parameters": {}}}] == body[
        "tools"
    ]


@pytest.mark.parametrize(
    ("finish", "reason"),
    [("length", "max_output_tokens"), ("content_filter", "content_filter")],
)
def test_an_answer_cut_short_is_incomplete(
    via_chat: Served, upstream: ChatServer, finish: str, reason: str
) -> None:
    """A finish reason that means `not all of it` ends the job as incomplete."""
    upstream.says(CHAT, sse(*HELLO, chunk(finish)))
    done = poll(via_chat.sdk(), create(via_chat.sdk(), "x", max_output_tokens=5).id)
    assert ("incomplete", "Hello") == (done.status, done.output_text)
    assert done.incomplete_details is not None
    assert reason == done.incomplete_details.reason
    assert 5 == upstream.requests[0][2]["max_tokens"]


@pytest.mark.parametrize(
    "reply",
    [
        sse(*HELLO, done=False),
        Reply(sse(*HELLO, done=False).pieces, end="cut"),
        Reply(sse(*HELLO, done=False).pieces, end="reset"),
        Reply([*sse(*HELLO, done=False).pieces, b"data: {\n\n"]),
        Reply([*sse(*HELLO, done=False).pieces, b"data: " + b"[" * 100_000 + b"\n\n"]),
    ],
    ids=["eof", "cut", "reset", "no-json", "deep"],
)
def test_an_answer_that_breaks_off_is_failed(
    via_chat: Served, upstream: ChatServer, reply: Reply
) -> None:
    """A stream without its end is never completed; what came is kept."""
    upstream.says(CHAT, reply)
    code, message, text = failed(via_chat)
    assert ("upstream_cut", "Hello") == (code, text)
    assert message.startswith("the upstream broke off its answer")
    assert [CHAT] == upstream.asked


def test_an_error_in_mid_stream_is_told(via_chat: Served, upstream: ChatServer) -> None:
    """What an upstream says of its failure is what the job says."""
    error = {"error": {"code": 500, "message": "the GPU\x1b[31m left"}}
    upstream.says(CHAT, sse(*HELLO, error))
    assert ("500", "the GPU\\u{1b}[31m left", "Hello") == failed(via_chat)


def test_silence_has_an_end(serve: Serve, upstream: ChatServer) -> None:
    """An upstream that says nothing more is given up, with what came."""
    served = serve(engine=Upstream(upstream.base_url, api="chat", silence=0.2))
    upstream.says(CHAT, Reply(sse(*HELLO, done=False).pieces, end="hang"))
    assert ("upstream_cut", "the upstream was silent for 0.2 seconds", "Hello") == (
        failed(served)
    )


def test_an_upstream_that_is_not_there(serve: Serve) -> None:
    """A refused connection is told in one line."""
    served = serve(engine=Upstream("http://127.0.0.1:9/v1", api="chat"))
    code, message, _ = failed(served)
    assert ("upstream_unreachable", True) == (code, "not reached" in message)


@pytest.mark.parametrize(
    ("refusals", "waited"),
    [
        ([{"retry_after": "7"}], [7]),
        ([{"retry_after_ms": "250"}], [0.25]),
        ([{}, {}, {}], [1, 2, 4]),
        ([{"retry_after": "999999"}], [300]),
        ([{"retry_after": "nan"}], [1]),
    ],
    ids=str,
)
def test_a_rate_limit_is_waited_out(
    via_chat: Served,
    upstream: ChatServer,
    waits: Waits,
    refusals: list[dict[str, str]],
    waited: list[float],
) -> None:
    """Before the first token a 429 is waited out as it says; the job completes."""
    busy = [
        json_reply({"error": {"message": "busy"}}, status=429, **r) for r in refusals
    ]
    upstream.says(CHAT, *busy, sse(*HELLO, chunk("stop")))
    assert "Hello" == poll(via_chat.sdk(), create(via_chat.sdk(), "x").id).output_text
    assert waited == waits.seconds


@pytest.mark.parametrize(
    ("status", "error", "told_"),
    [
        (400, {"code": "bad", "message": "no such"}, ("bad", "answered 400: no such")),
        (401, {"type": "auth", "message": "key"}, ("auth", "answered 401: key")),
        (429, {"code": "insufficient_quota"}, ("insufficient_quota", "answered 429")),
        (500, "broken", ("upstream_error", "answered 500: broken")),
        (503, {}, ("upstream_error", "answered 503")),
        (302, {}, ("upstream_error", "answered 302")),
    ],
)
def test_a_refusal_is_told_and_not_repeated(
    via_chat: Served,
    upstream: ChatServer,
    status: int,
    error: Any,
    told_: tuple[str, str],
) -> None:
    """What an upstream refuses is failed with its own words, after one request."""
    upstream.says(CHAT, json_reply({"error": error}, status=status, location="/v1/x"))
    code, message, _ = failed(via_chat)
    assert (told_[0], True) == (code, told_[1] in message)
    assert [CHAT] == upstream.asked


def test_a_server_without_stream_options(
    via_chat: Served, upstream: ChatServer
) -> None:
    """A server that refuses to be asked for usage is asked without."""
    no = json_reply({"error": {"message": "stream_options: extra field"}}, status=422)
    upstream.says(CHAT, no, sse(*HELLO, chunk("stop")))
    assert "Hello" == poll(via_chat.sdk(), create(via_chat.sdk(), "x").id).output_text
    assert "stream_options" not in upstream.requests[1][2]


def test_what_a_chat_cannot_do_is_refused(
    via_chat: Served, upstream: ChatServer
) -> None:
    """A tool that only Responses have fails the job by its field; nothing is sent."""
    sdk = via_chat.sdk()
    done = poll(sdk, create(sdk, "x", tools=[{"type": "web_search"}]).id)
    assert done.error is not None
    assert ("unsupported", True) == (done.error.code, "tools[0]" in done.error.message)
    assert [] == upstream.asked


def test_a_cancel_reaches_the_upstream(via_chat: Served, upstream: ChatServer) -> None:
    """A cancelled job keeps its text and lets its worker go, whatever the server does."""
    upstream.says(CHAT, Reply(sse(*HELLO, done=False).pieces, end="hang"))
    sdk = via_chat.sdk()
    with stream(sdk, "x") as opened:
        for event in opened:
            if event.type == "response.output_text.delta" and event.delta == "lo":
                cancelled = sdk.responses.cancel(event_id(opened, sdk))
                assert ("cancelled", "Hello") == (
                    cancelled.status,
                    cancelled.output_text,
                )
    upstream.says(CHAT, sse(*HELLO, chunk("stop")))
    for _ in range(3):
        assert "completed" == poll(sdk, create(sdk, "x").id).status


def event_id(_: Any, sdk: openai.OpenAI) -> str:
    listed: Any = sdk.get("/responses", cast_to=object)
    return str(listed["data"][0]["id"])


MESSAGE = {
    "id": "msg_up",
    "type": "message",
    "role": "assistant",
    "status": "completed",
    "content": [
        {"type": "output_text", "text": "Hello", "annotations": [], "logprobs": []}
    ],
}
IMAGE = {
    "id": "ig_up",
    "type": "image_generation_call",
    "status": "completed",
    "result": "aGk=",
}
PLACE = {"item_id": "msg_up", "output_index": 0, "content_index": 0}
ANNOTATION = {
    "type": "url_citation",
    "url": "https://x",
    "title": "x",
    "start_index": 0,
    "end_index": 5,
}


def answered(*events: dict[str, Any], **last: Any) -> Reply:
    """Return a stream of Responses: created, some events, and a terminal one."""
    begun = {"id": "resp_up", "object": "response", "status": "in_progress"}
    opening = [
        {"type": f"response.{k}", "response": begun} for k in ("created", "in_progress")
    ]
    status = last.get("status", "completed")
    ending = {
        "type": f"response.{status}",
        "response": {**begun, "status": status, **last},
    }
    told_ = [*opening, *events, *([ending] if last else [])]
    return sse(
        *({**e, "sequence_number": 100 + n} for n, e in enumerate(told_)), done=False
    )


ITEMS: list[dict[str, Any]] = [
    {
        "type": "response.output_item.added",
        "output_index": 0,
        "item": {**MESSAGE, "content": []},
    },
    {
        "type": "response.content_part.added",
        **PLACE,
        "part": {"type": "output_text", "text": "", "annotations": []},
    },
    {"type": "response.output_text.delta", **PLACE, "delta": "Hel", "logprobs": []},
    {"type": "response.output_text.delta", **PLACE, "delta": "lo", "logprobs": []},
    {
        "type": "response.output_text.annotation.added",
        **PLACE,
        "annotation_index": 0,
        "annotation": ANNOTATION,
    },
]
ITEMS_DONE: list[dict[str, Any]] = [
    {"type": "response.output_text.done", **PLACE, "text": "Hello", "logprobs": []},
    {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
    {"type": "response.output_item.added", "output_index": 1, "item": IMAGE},
    {"type": "response.output_item.done", "output_index": 1, "item": IMAGE},
]


def test_a_responses_server_is_passed_on(
    via_responses: Served, upstream: ChatServer
) -> None:
    """Items of every kind, annotations and usage come through under our own numbers."""
    usage = {
        "input_tokens": 1,
        "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 3,
    }
    upstream.says(
        "responses",
        answered(
            *ITEMS, *ITEMS_DONE, output=[MESSAGE, IMAGE], usage=usage, model="real"
        ),
    )
    events = told(via_responses, include=["reasoning.encrypted_content"])
    kinds = [event.type for event in events]
    assert ["response.created", "response.queued", "response.in_progress"] == kinds[:3]
    assert [e["type"] for e in (*ITEMS, *ITEMS_DONE)] == kinds[3:-1]
    final = events[-1].response.to_dict()
    assert ([MESSAGE, IMAGE], usage, "real") == (
        final["output"],
        final["usage"],
        final["model"],
    )
    assert final["id"] == events[0].response.id != "resp_up"
    ((_, _, body),) = upstream.requests
    assert (True, False, ["reasoning.encrypted_content"]) == (
        body["stream"],
        body["store"],
        body["include"],
    )
    assert "background" not in body


def test_a_responses_server_that_breaks_off(
    via_responses: Served, upstream: ChatServer
) -> None:
    """Without its terminal event a stream of Responses is failed, text kept."""
    upstream.says("responses", Reply(answered(*ITEMS).pieces, end="cut"))
    assert ("upstream_cut", "Hello") == failed(via_responses)[::2]
    done = via_responses.http.get("/responses").json()["data"][0]
    (item,) = done["output"]
    assert "incomplete" == item["status"]
    assert [ANNOTATION] == item["content"][0]["annotations"]


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        (
            answered(
                *ITEMS, status="failed", error={"code": "server_error", "message": "no"}
            ),
            ("server_error", "no", "Hello"),
        ),
        (
            answered({"type": "error", "code": "e", "message": "why"}),
            ("e", "why", ""),
        ),
    ],
)
def test_a_responses_server_that_fails(
    via_responses: Served, upstream: ChatServer, reply: Reply, expected: tuple[str, ...]
) -> None:
    """The upstream's own error is the job's."""
    upstream.says("responses", reply)
    assert expected == failed(via_responses)


def test_a_responses_server_that_does_not_stream(
    via_responses: Served, upstream: ChatServer
) -> None:
    """One JSON instead of a stream is an answer, with the events of its items."""
    whole = {
        "object": "response",
        "status": "incomplete",
        "incomplete_details": {"reason": "max_output_tokens"},
        "output": [MESSAGE],
    }
    upstream.says("responses", json_reply(whole))
    final = told(via_responses)[-1].response
    assert ("incomplete", "Hello") == (final.status, final.output_text)


def test_what_came_before_is_sent_without_our_names(
    via_responses: Served, upstream: ChatServer
) -> None:
    """A conversation goes on with its items; ids that the upstream never kept do not."""
    upstream.says("responses", answered(*ITEMS, *ITEMS_DONE, output=[MESSAGE]))
    sdk = via_responses.sdk()
    first = poll(sdk, create(sdk, "one").id)
    poll(sdk, create(sdk, "two", previous_response_id=first.id).id)
    _, _, body = upstream.requests[1]
    assert ["user", "assistant", "user"] == [item["role"] for item in body["input"]]
    assert not any("id" in item for item in body["input"])
    assert "previous_response_id" not in body


@pytest.mark.parametrize(
    ("there", "asked"),
    [
        ({"responses": answered(*ITEMS, output=[MESSAGE])}, ["responses"] * 2),
        ({CHAT: sse(*HELLO, chunk("stop"))}, ["responses", CHAT, CHAT]),
        (
            {
                "responses": Reply([b'{"error":"Unexpected endpoint"}'], 200, JSON),
                CHAT: sse(*HELLO, chunk("stop")),
            },
            ["responses", CHAT, CHAT],
        ),
    ],
    ids=["responses", "chat", "lm-studio"],
)
def test_which_api_it_is_is_found_out(
    serve: Serve, upstream: ChatServer, there: dict[str, Reply], asked: list[str]
) -> None:
    """Without being told, the first job finds out what the server speaks, once."""
    served = serve(engine=Upstream(upstream.base_url))
    for path, reply in there.items():
        upstream.says(path, reply)
    for _ in range(2):
        done = poll(served.sdk(), create(served.sdk(), "x").id)
        assert ("completed", "Hello") == (done.status, done.output_text)
    assert asked == upstream.asked


def test_a_server_that_has_neither(serve: Serve, upstream: ChatServer) -> None:
    """Where neither API is, the job says what the server said."""
    served = serve(engine=Upstream(upstream.base_url))
    assert ("upstream_error", "the upstream answered 404: no such path", "") == (
        failed(served)
    )


def test_the_models_are_the_upstreams(via_chat: Served, upstream: ChatServer) -> None:
    """GET /v1/models lists what the upstream lists; without a list it says so."""
    with pytest.raises(openai.InternalServerError) as caught:
        via_chat.sdk().models.list()
    assert 502 == caught.value.status_code
    upstream.says("models", json_reply({"data": [{"id": "a"}, {"id": "b/c"}]}))
    assert ["a", "b/c"] == [model.id for model in via_chat.sdk().models.list()]
    assert "b/c" == via_chat.sdk().models.retrieve("b/c").id
    with pytest.raises(openai.NotFoundError):
        via_chat.sdk().models.retrieve("d")


def test_the_same_conversation_gives_the_same_items(
    serve: Serve, upstream: ChatServer, tmp_path: Any
) -> None:
    """A chat and a Responses server that say the same are the same behind serve."""
    shapes = []
    usage = {"input_tokens": 3, "output_tokens": 2, "total_tokens": 5}
    upstream.says(CHAT, sse(*HELLO, chunk("stop"), USAGE))
    upstream.says(
        "responses",
        answered(*ITEMS[:4], *ITEMS_DONE[:2], output=[MESSAGE], usage=usage),
    )
    for api in ("chat", "responses"):
        with_ = Upstream(upstream.base_url, api=api)
        events = told(serve(engine=with_))
        final = events[-1].response
        deltas = [e.delta for e in events if e.type == "response.output_text.delta"]
        items = [
            {k: v for k, v in item.to_dict().items() if k != "id"}
            for item in final.output
        ]
        used = (final.usage.input_tokens, final.usage.output_tokens)
        shapes.append(("".join(deltas), items, final.status, used))
    assert shapes[0] == shapes[1]
    assert wait_until(lambda: len(upstream.asked) == 2)
