"""JSON is what every other program takes as JSON, at a depth that can be handled."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.text import MAX_DEPTH, parse_json

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_a_value_is_read_as_it_was_written(value: object) -> None:
    """What is finite comes back the same; an infinity is refused, wherever it stands."""
    text = json.dumps(value)
    if "Infinity" in text and value != json.loads(text, parse_constant=str):
        with pytest.raises(ValueError, match="Infinity is not JSON"):
            parse_json(text)
    else:
        assert value == parse_json(text) == parse_json(text.encode())


@pytest.mark.parametrize("depth", [1, 199, 200, 201, 900, 100_000])
@pytest.mark.parametrize(("before", "after"), [("[", "]"), ('{"a":', "}")])
def test_a_depth_without_end_is_refused(depth: int, before: str, after: str) -> None:
    """Two hundred levels are read, more are refused before anything recurses."""
    text = before * depth + "1" + after * depth
    if depth <= MAX_DEPTH:
        assert parse_json(text)
        return
    with pytest.raises(ValueError, match="nested"):
        parse_json(text)


@pytest.mark.parametrize(
    "text", ["", "no", "NaN", "-Infinity", "[1e999]", "1 2", "'a'"]
)
def test_what_is_no_json_is_refused(text: str) -> None:
    """Python's own extensions of JSON are no JSON to others."""
    with pytest.raises(ValueError):  # noqa: PT011 # the message is the parser's
        parse_json(text)
