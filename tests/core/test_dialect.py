"""Requests go out as the dialect says; whatever comes in is data, never an error."""

import json
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.dialect import Dialect, Op, fill, target
from bgresp.core.reading import read_id

SURROGATES = st.characters(categories=["Cs"])
VALUES = st.text(st.sampled_from("./?#%&={} \\") | st.characters() | SURROGATES)


def test_unset_holes_are_left_out() -> None:
    """An entry whose value nobody set is not sent, an item of a list goes whole."""
    template = {
        "model": "{model}",
        "input": "{input}",
        "text": {"note": "for {user}", "format": "{format}"},
        "list": ["{input}", "{missing}", "a {missing}", {"x": "{missing}", "y": 1}],
        "parts": [{"role": "user", "parts": [{"text": "{missing}"}]}],
        "deep": {"er": {"format": "{missing}"}},
        "drop": "",
        "keep": [False, 0, 1.5],
        "flag": False,
    }
    filled = fill(template, {"input": "hi", "user": None, "format": "json"})
    assert {
        "input": "hi",
        "text": {"format": "json"},
        "list": ["hi"],
        "keep": [False, 0, 1.5],
        "flag": False,
    } == filled


@given(st.booleans() | st.integers() | st.lists(st.text()) | st.text(min_size=1))
def test_a_lone_hole_keeps_its_type(value: Any) -> None:
    """A hole that is the whole text becomes the JSON value itself, unchanged."""
    filled = fill({"a": "{value}"}, {"value": value})
    assert value is filled["a"]


@given(st.text())
def test_a_value_is_never_filled_again(value: str) -> None:
    """What a user writes is not a template: holes in it stay as they are."""
    secrets = {"key": "s3cret", "input": value + "{key}"}
    assert f"<{value}{{key}}>" == fill("<{input}>", secrets)
    assert f"{value}{{key}}" == fill("{input}", secrets)


@given(
    st.recursive(
        st.booleans() | st.integers() | st.text("ab.$", min_size=1),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_a_template_without_holes_stays(template: Any) -> None:
    """Filling changes only entries that are empty or have holes."""
    assert template == fill(template, {"a": 1})


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("..", "/responses/%2E%2E/cancel"),
        (".", "/responses/%2E/cancel"),
        ("...", "/responses/%2E%2E%2E/cancel"),
        ("a/b", "/responses/a%2Fb/cancel"),
        ("../../v1/files", "/responses/..%2F..%2Fv1%2Ffiles/cancel"),
        ("x?y", "/responses/x%3Fy/cancel"),
        ("x#y", "/responses/x%23y/cancel"),
        ("a%2fb", "/responses/a%252fb/cancel"),
        ("é", "/responses/%C3%A9/cancel"),
        ("\ud800", "/responses/%ED%A0%80/cancel"),
        ("{id}", "/responses/%7Bid%7D/cancel"),
        ("a b\\c", "/responses/a%20b%5Cc/cancel"),
        ("resp_1.2", "/responses/resp_1.2/cancel"),
    ],
)
def test_an_id_cannot_leave_its_place(value: str, path: str) -> None:
    """An id is one path segment, whatever characters it has."""
    op = Op("POST", "/responses/{id}/cancel")
    assert (path, {}) == target(op, {"id": value})


@given(VALUES)
def test_any_id_survives_the_url(value: str) -> None:
    """The endpoint decodes exactly the id that it gave, from one ASCII segment."""
    path, _ = target(Op("GET", "/responses/{id}"), {"id": value})
    start, _, segment = path.rpartition("/")
    assert "/responses" == start
    assert path.isascii()
    assert path == urlsplit(f"http://host{path}").path
    assert segment not in {".", ".."}
    assert value == unquote(segment, errors="surrogatepass")


@pytest.mark.parametrize(
    ("value", "usable"),
    [
        *(("resp_1", True), ("é/..?#%", True), ("a" * 4096, True), (" ", True)),
        *(("", False), ("a" * 4097, False), ("a\nb", True), ("a\x00", True)),
        *(("\x7f", True), ("\x9b", True), ("\ud800", False), (7, False)),
        *((None, False), (["a"], False)),
    ],
)
def test_which_ids_can_be_used(openai: Dialect, value: object, usable: bool) -> None:
    """An id is any text of 1 to 4096 characters that can be sent."""
    assert (value if usable else None) == read_id(openai, {"id": value})


def test_a_query_is_filled_and_left_to_be_encoded() -> None:
    """Query values go out as they are; a parameter with an unset hole is dropped."""
    op = Op("GET", "/r/{id}?stream=true&after={after}&limit={limit}&x={a}-{b}")
    values = {"id": None, "after": "a&b=c", "limit": 100, "a": 1}
    expected = {"stream": "true", "after": "a&b=c", "limit": "100"}
    assert ("/r/", expected) == target(op, values)


@given(st.text(st.characters() | SURROGATES))
def test_a_filled_request_is_json(openai: Dialect, text: str) -> None:
    """The body of a create is JSON with exactly the text that was given."""
    body = fill(openai.body, {"model": "m", "input": text or "x"})
    sent = json.loads(json.dumps(body))
    assert (text or "x") == sent["input"]
    assert {"model", "input", "background", "store"} == set(sent)
