"""What a stream tells beside the text is read, and nothing else breaks on it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.model import EndedWith
from bgresp.core.output import LARGEST, Answer, Aside, aside, first_code_block

ITEM = "response.output_item."
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=8,
)
KINDS = st.sampled_from(
    [
        *("response.output_item.added", "response.output_item.done"),
        *("response.reasoning_summary_text.done", "response.reasoning_text.done"),
    ]
)


def told(kind: str, **fields: object) -> Aside | None:
    return aside(json.dumps({"sequence_number": 3, "type": kind, **fields}))


@pytest.mark.parametrize(
    ("kind", "fields", "expected"),
    [
        (
            "response.reasoning_summary_text.done",
            {"text": "Hm."},
            Aside("reasoning", "reasoning", "Hm."),
        ),
        (
            "response.reasoning_text.done",
            {"text": "Hm."},
            Aside("reasoning", "reasoning", "Hm."),
        ),
        ("response.reasoning_text.done", {"text": " "}, None),
        ("response.reasoning_summary_text.delta", {"delta": "H"}, None),
        ("response.output_text.done", {"text": "a response.output_item.done"}, None),
        (
            ITEM + "added",
            {"item": {"type": "reasoning"}},
            Aside("reasoning", "reasoning"),
        ),
        (ITEM + "done", {"item": {"type": "reasoning", "summary": []}}, None),
        (
            ITEM + "added",
            {"item": {"type": "web_search_call"}},
            Aside("tools", "web_search"),
        ),
        (
            ITEM + "done",
            {
                "item": {
                    "type": "web_search_call",
                    "action": {"type": "search", "query": "tides"},
                }
            },
            Aside("tools", "web_search", "web_search(tides)"),
        ),
        (
            ITEM + "done",
            {"item": {"type": "file_search_call", "queries": ["a", "b"]}},
            Aside("tools", "file_search", "file_search(a, b)"),
        ),
        (
            ITEM + "done",
            {"item": {"type": "function_call", "name": "f", "arguments": "{}"}},
            Aside("tools", "f", "f({})"),
        ),
        (
            ITEM + "done",
            {"item": {"type": "image_generation_call", "result": "x"}},
            Aside("tools", "image_generation", "image_generation()"),
        ),
        (
            "response.refusal.done",
            {"refusal": "No."},
            None,  # a refusal is told of as it comes, whether it is asked for or not
        ),
        (
            ITEM + "done",
            {
                "item": {
                    "type": "message",
                    "phase": "commentary",
                    "content": [{"type": "output_text", "text": "Hm."}],
                }
            },
            Aside("commentary", "commentary", "Hm."),
        ),
        (
            ITEM + "done",
            {
                "item": {
                    "type": "apply_patch_call",
                    "operation": {"type": "update_file", "path": "a.py", "diff": "@"},
                }
            },
            Aside("tools", "apply_patch", "apply_patch(update_file a.py)"),
        ),
        (
            ITEM + "done",
            {
                "item": {
                    "type": "mcp_approval_request",
                    "name": "rm",
                    "arguments": "{}",
                }
            },
            Aside("tools", "rm", "wants approval: rm({})"),
        ),
        (
            ITEM + "done",
            {"item": {"type": "mcp_list_tools", "tools": [{"name": "rm"}]}},
            Aside("tools", "mcp_list_tools", "mcp_list_tools(rm)"),
        ),
        (
            ITEM + "done",
            {"item": {"type": "program_output", "result": "2"}},
            Aside("tools", "program_output", "program_output(2)"),
        ),
        (
            ITEM + "done",
            {"item": {"type": "tool_search_call", "arguments": {"goal": "x"}}},
            Aside("tools", "tool_search", 'tool_search({"goal":"x"})'),
        ),
        (
            "step.start",
            {"step": {"type": "function_call", "name": "f", "arguments": {"a": 1}}},
            Aside("tools", "f", 'f({"a":1})'),
        ),
        (
            "step.delta",
            {"delta": {"type": "thought_summary", "content": {"text": "Hm."}}},
            Aside("reasoning", "reasoning", "Hm."),
        ),
        ("step.delta", {"delta": {"type": "text", "text": "Hm."}}, None),
        (ITEM + "done", {"item": {"type": "message"}}, None),
        (ITEM + "done", {"item": "odd"}, None),
    ],
)
def test_asides(kind: str, fields: dict[str, object], expected: Aside | None) -> None:
    """Summaries and tool calls are told; how they begin too, without a text."""
    assert expected == told(kind, **fields)


@given(
    KINDS,
    st.dictionaries(st.sampled_from(["text", "item", "type"]), VALUES),
    st.dictionaries(
        st.sampled_from(["type", "name", "action", "query", "queries"]), VALUES
    ),
)
def test_an_odd_event_is_no_error(
    kind: str, fields: dict[str, object], item: dict[str, object]
) -> None:
    """Whatever stands in an event, reading it raises nothing."""
    for event in ({"type": kind, **fields}, {**fields, "item": item, "type": kind}):
        found = aside(json.dumps(event))
        assert found is None or isinstance(found.text, str)
    assert aside(f'"{kind}"') is None
    assert aside(f'{{"type": "{kind}", "text": "broken') is None


def test_a_huge_event_is_left_alone() -> None:
    """An event too large to be worth it is not parsed again."""
    text = "x" * LARGEST
    assert told("response.reasoning_text.done", text=text) is None


@pytest.mark.parametrize(
    ("text", "block"),
    [
        (
            "Do:\n```python\nx = 1\n\ny = `2`\n```\n```\nother\n```\n",
            "x = 1\n\ny = `2`\n",
        ),
        ("~~~\n```\n~~\n~~~~\nrest", "```\n~~\n"),
        ("````md\n```\nin\n```\n````", "```\nin\n```\n"),
        ("1. so\n\n   ```sh\n   a\n     b\n c\n   ```\n", "a\n  b\nc\n"),
        ("```\nnever closed", "never closed"),
        ("``` not `a` fence\nx", None),
        ("`` ` ``", None),
        ("", None),
    ],
)
def test_the_first_code_block(text: str, block: str | None) -> None:
    """What a fence holds is the block, without the fence's own indent."""
    assert block == first_code_block(text)


@given(st.text(), st.text(alphabet=st.characters(exclude_characters="`~\r")))
def test_any_code_comes_back(before: str, code: str) -> None:
    """What was put between two fences is what is found; any text raises nothing."""
    first_code_block(before)
    assert f"{code}\n" == first_code_block(f"So:\n```\n{code}\n```\n{before}")


@pytest.mark.parametrize(
    ("ended", "expected"),
    [
        *((EndedWith.NOTHING, EndedWith.TEXT), (EndedWith.MEDIA, EndedWith.TEXT)),
        *((EndedWith.CALLS, EndedWith.CALLS), (EndedWith.REFUSAL, EndedWith.REFUSAL)),
    ],
)
def test_a_text_that_was_streamed_is_the_answer(
    ended: EndedWith, expected: EndedWith
) -> None:
    """A text that stands elsewhere does not beat pictures, or beats calls."""
    found = Answer(ended_with=ended).with_text("Hi.")
    assert (expected, "Hi.", "Hi.") == (found.ended_with, found.text, found.plain)
    assert found is found.with_text("longer")
