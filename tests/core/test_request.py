"""A request is rendered as its user means it, or refused before anything is sent."""

from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.dialect import Dialect
from bgresp.core.errors import RefusedError, UsageError
from bgresp.core.model import Job
from bgresp.core.request import (
    MAX_PROMPT,
    OURS,
    Request,
    assign,
    check_clashes,
    digest,
    drafted,
    message_of,
    render,
    unused,
    url_part,
)

BASE: Final = {"background": True, "store": True}


def test_a_prompt_becomes_the_dialects_body(openai: Dialect) -> None:
    """Only what was given is sent; background and store always are."""
    request = Request(text="hi", model="gpt", instructions="be brief")
    sent = {"model": "gpt", "input": "hi", "instructions": "be brief"}
    assert {**BASE, **sent} == render(request, openai, {"end_user": "u"})
    assert BASE == render(Request(), openai, {})
    more = Request(text="hi", previous_id="resp_1", metadata={"a": "b"})
    body = render(more, openai, {})
    assert ("resp_1", {"a": "b"}) == (body["previous_response_id"], body["metadata"])


def test_a_body_and_changes_have_the_last_word(openai: Dialect) -> None:
    """`--body` wins over the dialect, and `--set` over both, at any depth."""
    body = {"store": False, "reasoning": {"effort": "low"}}
    changes: tuple[tuple[str, Any], ...]
    changes = (("reasoning.effort", "high"), ("tools", []), ("a.b.c", 1))
    found = render(Request(text="hi", body=body, changes=changes), openai, {})
    assert (False, {"effort": "high"}, [], {"b": {"c": 1}}) == (
        *(found["store"], found["reasoning"], found["tools"], found["a"]),
    )


def test_rendering_changes_nothing_that_it_was_given(openai: Dialect) -> None:
    """Several requests may share a body: what one sets never reaches another."""
    shared = {"reasoning": {"effort": "low"}}
    render(Request(body=shared, changes=(("reasoning.effort", 1),)), openai, {})
    assert {"reasoning": {"effort": "low"}} == shared
    assert "reasoning" not in render(Request(text="hi"), openai, {})


@pytest.mark.parametrize("path", ["", ".", "a.", ".a", "a..b", "text.deeper", "n.x"])
def test_a_path_that_leads_nowhere_is_refused(path: str) -> None:
    """`--set` names its path when it cannot be set."""
    body: dict[str, Any] = {"text": "hi", "n": None}
    with pytest.raises(UsageError, match="--set"):
        assign(body, path, 1)


@pytest.mark.parametrize(
    "metadata",
    [
        {str(n): "x" for n in range(16)},
        {"a": 5},
        {"a": "x" * 513},
        {"a" * 65: "x"},
        {"": "x"},
        ["a"],
    ],
)
def test_metadata_that_would_be_refused_is_never_sent(
    openai: Dialect, metadata: Any
) -> None:
    """What OpenAI's limits forbid is a usage error: the local key needs its place."""
    with pytest.raises(UsageError, match="metadata"):
        render(Request(text="hi", body={"metadata": metadata}), openai, {})


def test_metadata_within_the_limits_is_sent(openai: Dialect) -> None:
    """Fifteen pairs are fine: the local key is the sixteenth, and only ours to set."""
    fifteen = {f"{n:064}": "x" * 512 for n in range(15)}
    body = render(Request(text="hi", metadata=fifteen), openai, {})
    assert fifteen == body["metadata"]
    with pytest.raises(UsageError, match="the name is bgresp's own"):
        render(Request(text="hi", metadata={**fifteen, OURS: "k"}), openai, {})


def test_the_digest_is_of_what_is_asked() -> None:
    """The same request has the same digest, whatever its order and local key."""
    one = {"input": "é\ud800", "metadata": {"a": "b", OURS: "k1"}}
    other = {"metadata": {OURS: "k2", "a": "b"}, "input": "é\ud800"}
    assert digest(one) == digest(other)
    assert digest(one) == digest({**one, "metadata": {"a": "b"}})
    assert digest(one) != digest({**one, "input": "e"})
    assert 64 == len(digest({}))


FORMAT: Final = {"type": "json_schema", "name": "a", "schema": {}, "strict": True}
FILE: Final = url_part("https://x.org/a.pdf", "application/pdf")
PLACES: Final[list[tuple[str, Request, str]]] = [
    ("the prompt", Request(text="hi"), "input"),
    ("--attach", Request(attachments=(FILE,)), "input"),
    ("--model", Request(model="m"), "model"),
    ("--system", Request(instructions="s"), "instructions"),
    ("--previous", Request(previous_id="r"), "previous_response_id"),
    ("--metadata", Request(metadata={"a": "b"}), "metadata"),
    ("--tool", Request(tools=({"type": "t"},)), "tools"),
    ("--schema", Request(schema=FORMAT), "text.format"),
    ("--max-output-tokens", Request(max_output_tokens=5), "max_output_tokens"),
]


def within(path: str, value: object) -> dict[str, Any]:
    """Return the object in which a path leads to a value."""
    body: dict[str, Any] = {}
    assign(body, path, value)
    return body


@pytest.mark.parametrize(("option", "asked", "place"), PLACES)
def test_each_option_has_its_place(
    openai: Dialect, option: str, asked: Request, place: str
) -> None:
    """What is asked for stands in the body; said twice, it is refused by name."""
    body = render(asked, openai, {})
    for name in place.split("."):
        body = body[name]
    assert body
    check_clashes(asked, openai)
    check_clashes(asked._replace(body={"a": 1}, changes=(("b.c", 1),)), openai)
    check_clashes(asked._replace(changes=((f"{place}.deeper", 1),)), openai)
    above = place.partition(".")[0]
    for raw in (within(place, None), within(place, {"x": 1}), {above: "x"}):
        with pytest.raises(UsageError, match=f"^{option} and --body both give"):
            check_clashes(asked._replace(body=raw), openai)
    for path in (place, above):
        with pytest.raises(UsageError, match=f"^{option} and --set both give"):
            check_clashes(asked._replace(changes=((path, 1),)), openai)


@pytest.mark.parametrize(("option", "asked", "place"), PLACES)
def test_what_a_dialect_has_no_place_for_is_refused(
    openai: Dialect, option: str, asked: Request, place: str
) -> None:
    """Nothing that was asked for is left out in silence, but a default model."""
    bare = openai._replace(name="bare", body={"prompt": "{text}"})
    if option in {"the prompt", "--model"}:
        assert render(asked, bare, {}) == ({"prompt": "hi"} if asked.text else {})
        return
    with pytest.raises(RefusedError, match=f"^bare cannot carry {option}$"):
        render(asked, bare, {})


def test_a_prompt_with_attachments_is_a_message(openai: Dialect) -> None:
    """A prompt about a file becomes one message with both."""
    body = render(Request(text="hi", attachments=(FILE,)), openai, {})
    assert {**BASE, "input": message_of("hi", (FILE,))} == body


def test_a_body_is_merged_as_deep_as_the_template_goes(openai: Dialect) -> None:
    """A body may say more beside an option; below an option's place it is whole."""
    text = {"verbosity": "low"}
    asked = Request(schema=FORMAT, body={"text": text})
    assert {**text, "format": FORMAT} == render(asked, openai, {})["text"]
    other = Request(schema=FORMAT, body={"text": {"format": {"type": "text"}}})
    assert {"format": {"type": "text"}} == render(other, openai, {})["text"]
    strict = Request(schema=FORMAT, changes=(("text.format.strict", False),))
    assert False is render(strict, openai, {})["text"]["format"]["strict"]
    assert FORMAT["strict"] is True


def test_variables_fill_every_text(openai: Dialect) -> None:
    """Prompt, instructions and body are templates where there are variables at all."""
    asked = Request(text="{{a}}", instructions="{{ a }}", body={"x": ["{{b}}"]})
    assert "{{a}}" == render(asked, openai, {})["input"]
    filled = render(asked._replace(variables={"a": "1", "b": "2"}), openai, {})
    assert ("1", "1", ["2"]) == (filled["input"], filled["instructions"], filled["x"])
    with pytest.raises(UsageError, match=r"b.* is not set"):
        render(asked._replace(variables={"a": "1"}), openai, {})
    long = {"a": "x" * (MAX_PROMPT + 1), "b": ""}
    with pytest.raises(UsageError, match="longer than"):
        render(asked._replace(variables=long), openai, {})


def test_a_variable_must_be_of_use() -> None:
    """Used by one of several requests is used; by none, it is named."""
    variables = {"c": "", "a": "", "b": ""}
    asked = [Request(text=text, variables=variables) for text in ("{{a}}", "b", None)]
    assert ["c", "b"] == unused(asked)
    assert [] == unused([Request(text="{{a}}")])


STEPS = st.text("ab", min_size=1, max_size=2)
VALUES = st.integers() | st.text() | st.dictionaries(STEPS, st.integers())


@given(st.lists(STEPS, min_size=1, max_size=4), VALUES, st.dictionaries(STEPS, VALUES))
def test_set_puts_a_value_at_its_path(
    steps: list[str], value: object, body: dict[str, Any]
) -> None:
    """What was set is found there, and nothing beside the path has changed."""
    before = {key: item for key, item in body.items() if key != steps[0]}
    try:
        assign(body, ".".join(steps), value)
    except UsageError:
        return
    assert before == {key: item for key, item in body.items() if key != steps[0]}
    place: Any = body
    for step in steps:
        place = place[step]
    assert value == place


@pytest.mark.parametrize("value", [False, None, "true", 0])
def test_what_makes_no_background_job_is_refused(openai: Dialect, value: Any) -> None:
    """A request that leaves nothing to ask for is sent, and paid for."""
    for request in (
        Request(text="hi", changes=(("background", value),)),
        Request(text="hi", body={"background": value}),
    ):
        with pytest.raises(UsageError, match="makes no background job"):
            drafted(Job(""), request, openai)


def test_what_is_to_be_included_is_kept_with_the_job(openai: Dialect) -> None:
    """`include` goes with --no-keep-prompt, and is not asked for with the answer."""
    asked = ["web_search_call.action.sources", "reasoning.encrypted_content"]
    draft = drafted(Job(""), Request(text="hi", body={"include": asked}), openai)
    again = Job.from_line(draft.job.to_line())
    assert asked == again.include
    assert {"include[]": asked[:1]} == openai.include.again(again.include)
    for odd in ("x", [1], None):
        draft = drafted(Job(""), Request(text="hi", body={"include": odd}), openai)
        assert [] == draft.job.include
    assert [] == Job("k", extra={"include": [1, "x"]}).include
