"""Chat completions and Responses: requests both ways, and answers as they are sent."""

from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.chat import (
    ChatError,
    ChatReader,
    Piece,
    from_responses,
    to_responses,
    usage,
)

TEXT = st.text(max_size=5)
PARTS = st.one_of(
    st.builds(lambda text: {"type": "text", "text": text}, TEXT),
    st.builds(
        lambda url: {"type": "image_url", "image_url": {"url": url, "detail": "low"}},
        TEXT,
    ),
    st.builds(
        lambda data: {"type": "input_audio", "input_audio": {"data": data}}, TEXT
    ),
    st.builds(lambda data: {"type": "file", "file": {"file_data": data}}, TEXT),
)
# Of several texts and nothing else a string is made: what is compared is neither.
CONTENT = TEXT | st.lists(PARTS, min_size=1, max_size=3).filter(
    lambda parts: any(part["type"] != "text" for part in parts)
)
CALL = st.builds(
    lambda id_, name, text: {
        "id": id_,
        "type": "function",
        "function": {"name": name, "arguments": text},
    },
    *(TEXT, TEXT, TEXT),
)
ASKED = st.builds(
    lambda role, content: [{"role": role, "content": content}],
    st.sampled_from(["user", "system", "developer"]),
    CONTENT,
)
ANSWERED = st.builds(
    lambda text, calls, output: [
        {"role": "assistant", "content": text, "tool_calls": calls},
        *(
            {"role": "tool", "tool_call_id": call["id"], "content": output}
            for call in calls
        ),
    ],
    *(st.none() | TEXT, st.lists(CALL, min_size=1, max_size=3), TEXT),
)
SAID = st.builds(
    lambda text: [
        {"role": "assistant", "content": text},
        {"role": "user", "content": "x"},
    ],
    TEXT,
)
SCHEMA = {"name": "s", "schema": {"type": "object"}, "strict": True}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object"}, "description": "d"},
}
CUSTOM = {
    "type": "custom",
    "custom": {
        "name": "c",
        "format": {"type": "grammar", "grammar": {"syntax": "lark", "definition": "x"}},
    },
}
CHATS = st.builds(
    lambda turns, fields: {**fields, "messages": [m for turn in turns for m in turn]},
    st.lists(ASKED | ANSWERED | SAID, max_size=4),
    st.fixed_dictionaries(
        {"tools": st.just([TOOL, CUSTOM])},
        optional={
            "model": TEXT,
            "temperature": st.floats(0, 2),
            "top_p": st.floats(0, 1),
            "seed": st.integers(),
            "frequency_penalty": st.floats(-2, 2),
            "max_tokens": st.integers(1, 99),
            "parallel_tool_calls": st.booleans(),
            "reasoning_effort": st.sampled_from(["low", "high"]),
            "verbosity": st.just("low"),
            "tool_choice": st.sampled_from(
                [
                    "auto",
                    {"type": "function", "function": {"name": "f"}},
                    {
                        "type": "allowed_tools",
                        "allowed_tools": {
                            "mode": "auto",
                            "tools": [{"type": "function", "function": {"name": "f"}}],
                        },
                    },
                ]
            ),
            "response_format": st.sampled_from(
                [
                    {"type": "json_object"},
                    {"type": "json_schema", "json_schema": SCHEMA},
                ]
            ),
        },
    ),
)


@given(CHATS)
def test_there_and_back_is_the_same(chat: dict[str, Any]) -> None:
    """A chat request turned into a response's and back says what it said."""
    request = to_responses(chat)
    assert chat == from_responses(request, request["input"])


def test_a_request_in_full() -> None:
    """Each field of a chat has its place in a response."""
    chat = {
        "model": "m",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it?"},
                    {"type": "image_url", "image_url": {"url": "https://x/y.png"}},
                ],
            },
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "42"},
            {"role": "assistant", "content": "A", "refusal": "no"},
        ],
        "max_completion_tokens": 7,
        "response_format": {"type": "json_schema", "json_schema": SCHEMA},
        "tools": [TOOL],
        "tool_choice": {"type": "function", "function": {"name": "f"}},
        "reasoning_effort": "low",
        "temperature": 0.5,
        "logprobs": True,
        "top_logprobs": 2,
        "n": 1,
        "stream": True,
        "user": None,
    }
    assert to_responses(chat) == {
        "model": "m",
        "input": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "What is it?"},
                    {"type": "input_image", "image_url": "https://x/y.png"},
                ],
            },
            {
                "type": "function_call",
                "call_id": "call_1",
                "name": "f",
                "arguments": "{}",
            },
            {"type": "function_call_output", "call_id": "call_1", "output": "42"},
            {
                "role": "assistant",
                "content": [
                    {"type": "output_text", "text": "A"},
                    {"type": "refusal", "refusal": "no"},
                ],
            },
        ],
        "max_output_tokens": 7,
        "text": {"format": {"type": "json_schema", **SCHEMA}},
        "tools": [
            {
                "type": "function",
                "name": "f",
                "parameters": {"type": "object"},
                "description": "d",
                "strict": False,
            }
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "reasoning": {"effort": "low"},
        "temperature": 0.5,
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
    }


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"n": 2}, "n"),
        ({"stop": ["x"]}, "stop"),
        ({"logit_bias": {}}, "logit_bias"),
        ({"made_up": 1}, "made_up"),
        ({"functions": []}, "functions"),
        ({"messages": None}, "messages"),
        ({"messages": ["x"]}, "messages[0]"),
        ({"messages": [{"role": "bard", "content": ""}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 1}]}, "messages[0].content"),
        (
            {"messages": [{"role": "user", "content": "", "name": "A"}]},
            "messages[0].name",
        ),
        (
            {"messages": [{"role": "user", "content": [{"type": "video"}]}]},
            "messages[0].content[0].type",
        ),
        (
            {"messages": [{"role": "assistant", "tool_calls": [{"id": "x"}]}]},
            "messages[0].tool_calls[0].function",
        ),
        ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].tool_call_id"),
        ({"max_tokens": 1, "max_completion_tokens": 2}, "max_tokens"),
        ({"response_format": {"type": "xml"}}, "response_format.type"),
        ({"tools": [{"type": "browser"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "any"}}, "tool_choice.type"),
    ],
    ids=str,
)
def test_what_has_no_counterpart_is_refused_by_its_field(
    changed: dict[str, Any], field: str
) -> None:
    """Nothing that a chat says is dropped in silence."""
    with pytest.raises(ChatError) as caught:
        to_responses({"messages": [], **changed})
    assert field == caught.value.field
    assert str(caught.value).startswith(f"{field}: ")


@pytest.mark.parametrize(
    ("request_", "item", "field"),
    [
        ({"tools": [{"type": "web_search"}]}, {}, "tools[0].type"),
        ({}, {"type": "computer_call"}, "input[0].type"),
        (
            {},
            {"content": [{"type": "input_image", "file_id": "f"}]},
            "input[0].content[0].type",
        ),
        (
            {
                "tools": [TOOL["function"] | {"type": "function"}],
                "tool_choice": {"type": "mcp"},
            },
            {},
            "tool_choice.type",
        ),
    ],
)
def test_what_a_chat_server_cannot_do_is_refused(
    request_: dict[str, Any], item: dict[str, Any], field: str
) -> None:
    """A tool, an item or a part that a chat lacks is named, not left out."""
    with pytest.raises(ChatError) as caught:
        from_responses(request_, [item])
    assert field == caught.value.field


def test_instructions_come_first() -> None:
    """Instructions are the system's message; what only OpenAI stores is left out."""
    request = {
        "instructions": "Be brief.",
        "metadata": {"a": "b"},
        "store": True,
        "truncation": "auto",
        "stop": ["."],
        "text": {"format": {"type": "text"}},
        "top_logprobs": 0,
        "parallel_tool_calls": True,
    }
    items: list[dict[str, Any]] = [
        {"type": "reasoning", "summary": []},
        {"role": "user", "content": "x"},
    ]
    assert from_responses(request, items) == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "x"},
        ],
        "stop": ["."],
    }


def delta(**fields: Any) -> dict[str, Any]:
    return {"choices": [{"index": 0, "delta": fields}]}


def call(**fields: Any) -> dict[str, Any]:
    function = {n: fields.pop(n) for n in ("name", "arguments") if n in fields}
    return delta(tool_calls=[{**fields, "function": function}])


def read(*chunks: Any) -> list[tuple[Any, ...]]:
    reader = ChatReader("r")
    pieces = [piece for chunk in chunks for piece in reader.read(chunk)]
    return [(p.kind, p.text, p.number, p.call_id, p.name) for p in pieces]


@pytest.mark.parametrize("name", ["reasoning", "reasoning_content"])
def test_reasoning_of_the_usual_servers(name: str) -> None:
    """Reasoning comes under either name, once where a server says it twice."""
    assert [Piece("reasoning", "a")] == ChatReader("r").read(delta(**{name: "a"}))
    twice = delta(reasoning="a", reasoning_content="a", content="b")
    assert [Piece("reasoning", "a"), Piece("text", "b")] == ChatReader("r").read(twice)


@pytest.mark.parametrize(
    "chunks",
    [
        [
            call(index=0, id="1", name="f", arguments=""),
            call(index=0, arguments="{"),
            call(index=1, id="2", name="g", arguments="["),
            call(index=0, arguments="}"),
            call(index=1, arguments="]"),
        ],
        # a server that repeats name and id with each fragment
        [
            call(index=0, id="1", name="f", arguments="{"),
            call(index=0, id="1", name="f", arguments="}"),
            call(index=1, id="2", name="g", arguments="[]"),
        ],
        # one index for all, and none
        [
            call(index=0, id="1", name="f", arguments="{}"),
            call(index=0, id="2", name="g", arguments="[]"),
        ],
        [
            call(id="1", name="f", arguments="{"),
            call(arguments="}"),
            call(id="2", name="g", arguments="[]"),
        ],
    ],
)
def test_calls_come_in_fragments(chunks: list[dict[str, Any]]) -> None:
    """However a server cuts its calls, each has its id, its name and its arguments."""
    pieces = read(*chunks)
    for number, told in enumerate([("1", "f", "{}"), ("2", "g", "[]")]):
        own = [piece for piece in pieces if piece[2] == number]
        assert {told[:2]} == {piece[3:] for piece in own}
        assert told[2] == "".join(piece[1] for piece in own)


def test_a_call_without_an_id_gets_one() -> None:
    """Calls that a server does not name are told apart all the same."""
    pieces = read(call(name="f", arguments={"a": 1}), call(index=5, name="g"))
    assert [
        ("call", '{"a": 1}', 0, "call_r_0", "f"),
        ("call", "", 1, "call_r_1", "g"),
    ] == pieces


def test_a_whole_answer_is_read_like_a_stream() -> None:
    """A server that does not stream sends a message, usage and the reason of the end."""
    reader = ChatReader("r")
    pieces = reader.read(
        {
            "choices": [
                {"index": 0, "message": {"content": "a"}, "finish_reason": "length"},
                {"index": 1, "message": {"content": "b"}},
            ],
            "usage": {
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "prompt_tokens_details": {"cached_tokens": 1},
                "completion_tokens_details": {"reasoning_tokens": 1},
            },
        }
    )
    assert [Piece("text", "a")] == pieces
    assert ("length", "max_output_tokens") == (
        reader.finish_reason,
        reader.incomplete_reason,
    )
    assert reader.usage == {
        "input_tokens": 3,
        "input_tokens_details": {"cached_tokens": 1},
        "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 5,
    }


@pytest.mark.parametrize(
    "found",
    [
        None,
        {},
        {"prompt_tokens": None},
        {"prompt_tokens": -1},
        [],
        {"prompt_tokens": "3"},
    ],
)
def test_impossible_usage_is_none(found: Any) -> None:
    """What is no count is not shown as one."""
    assert usage(found) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-1, 2) | st.text("ab", max_size=2),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "choices",
                    "delta",
                    "message",
                    "content",
                    "tool_calls",
                    "index",
                    "id",
                    "function",
                    "name",
                    "arguments",
                    "usage",
                    "error",
                    "text",
                    "type",
                    "messages",
                    "tools",
                    "role",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@given(st.lists(JSON, max_size=5))
def test_nonsense_harms_nothing(chunks: list[Any]) -> None:
    """Whatever a server sends, reading it raises nothing."""
    for kind, text, number, *_ in read(*chunks):
        assert kind in {"text", "reasoning", "refusal", "call"}
        assert isinstance(text, str)
        assert number >= 0


@given(JSON, JSON)
def test_a_bad_request_is_a_chat_error(chat: Any, item: Any) -> None:
    """Requests of any shape are translated, or refused by field."""
    with suppress(ChatError):
        to_responses(chat if isinstance(chat, dict) else {"messages": chat})
    with suppress(ChatError):
        items = [item] if isinstance(item, dict) else []
        from_responses(chat if isinstance(chat, dict) else {}, items)
