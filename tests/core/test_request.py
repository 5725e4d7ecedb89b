"""A request is rendered as its user means it, or refused before anything is sent."""

from typing import Any, Final

import pytest

from bgresp.core.dialect import Dialect
from bgresp.core.errors import UsageError
from bgresp.core.request import OURS, Request, assign, digest, render

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
    """Fifteen pairs, or sixteen of which one is the local key, are fine."""
    fifteen = {f"{n:064}": "x" * 512 for n in range(15)}
    for metadata in (fifteen, {**fifteen, OURS: "k"}):
        body = render(Request(text="hi", metadata=metadata), openai, {})
        assert metadata == body["metadata"]


def test_the_digest_is_of_what_is_asked() -> None:
    """The same request has the same digest, whatever its order and local key."""
    one = {"input": "é\ud800", "metadata": {"a": "b", OURS: "k1"}}
    other = {"metadata": {OURS: "k2", "a": "b"}, "input": "é\ud800"}
    assert digest(one) == digest(other)
    assert digest(one) == digest({**one, "metadata": {"a": "b"}})
    assert digest(one) != digest({**one, "input": "e"})
    assert 64 == len(digest({}))
