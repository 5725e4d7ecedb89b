"""Paths find what they name in any JSON, and nothing else."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.dialect import first_at, path_steps, text_at, values_at

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from("abc") | st.text(max_size=3), inner)
    ),
    max_leaves=10,
)
NAMES = st.text(st.characters(exclude_characters=".[]="), min_size=1, max_size=4)
STEPS = st.one_of(
    NAMES.map(lambda name: f".{name}"),
    st.just("[*]"),
    st.tuples(NAMES, NAMES).map(lambda pair: f"[{pair[0]}={pair[1]}]"),
)
PATHS = st.lists(STEPS, max_size=4).map(lambda found: "".join(found).removeprefix("."))

ANSWER = {
    "output": [
        {"type": "reasoning", "summary": []},
        {
            "type": "message",
            "content": [
                {"type": "output_text", "text": "Hel"},
                {"type": "refusal", "refusal": "no"},
                {"type": "output_text", "text": "lo"},
            ],
        },
    ],
    "usage": {"total_tokens": 0},
    "empty": "",
    "nothing": None,
}
TEXT = "output[type=message].content[type=output_text].text"


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("", [ANSWER]),
        ("usage.total_tokens", [0]),
        (TEXT, ["Hel", "lo"]),
        ("output[*].type", ["reasoning", "message"]),
        ("output[type=tool].id", []),
        ("output.type", []),
        ("usage[*]", []),
        ("output[*][*]", []),
        ("output[*].content[*].type", ["output_text", "refusal", "output_text"]),
        ("missing.deeper", []),
        ("nothing", [None]),
    ],
)
def test_a_path_reaches_what_it_names(path: str, found: list[Any]) -> None:
    """Each kind of step reaches what it names, in the order of the document."""
    assert found == list(values_at(ANSWER, path))


def test_the_first_value_that_says_something_wins() -> None:
    """Null, empty and missing values are passed over; zero is a value."""
    assert 0 == first_at(ANSWER, ["no", "nothing", "empty", "usage.total_tokens"])
    assert first_at(ANSWER, ["no", "nothing", "empty"]) is None
    assert first_at(ANSWER, []) is None


def test_texts_of_one_path_are_joined() -> None:
    """The first path that reaches any text gives the whole text."""
    assert "Hello" == text_at(ANSWER, ["empty", "usage.total_tokens", TEXT, "no"])
    assert text_at(ANSWER, ["empty", "output"]) is None


@pytest.mark.parametrize(
    "path", ["a.", "a..b", "[", "a[", "a[]", "a]", "[*]b", "a[=x]", "a[b]", "a[*"]
)
def test_what_is_no_path_is_refused(path: str) -> None:
    """A mistyped path is found when the dialect is built, not while streaming."""
    with pytest.raises(ValueError, match="not a path"):
        path_steps(path)


@given(JSON, st.lists(PATHS, max_size=3))
def test_no_document_breaks_a_path(document: Any, found: list[str]) -> None:
    """Any path over any JSON reaches something or nothing, and never raises."""
    first, text = first_at(document, found), text_at(document, found)
    assert first != ""
    assert text is None or text
    assert len(found) == len([list(values_at(document, path)) for path in found])


@given(st.text(st.sampled_from("ab.[]*="), max_size=8))
def test_a_path_is_split_or_refused(path: str) -> None:
    """Every text is a path or a ValueError, the same each time."""
    try:
        steps = path_steps(path)
    except ValueError:
        return
    assert steps == path_steps(path)
    assert bool(steps) is bool(path)
