"""Templates: what stands in `{{name}}` is filled once, and nothing else is touched."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.errors import UsageError
from bgresp.core.request import fill_holes, holes_in

NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,6}", fullmatch=True)
TEXTS = st.text(st.sampled_from("{} ab\n") | st.characters(), max_size=20)
PLAIN = TEXTS.filter(lambda text: "{" not in text and "}" not in text)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=8,
)


@given(st.lists(st.tuples(PLAIN, NAMES)), PLAIN, st.dictionaries(NAMES, TEXTS))
def test_holes_are_filled_and_nothing_else(
    pieces: list[tuple[str, str]], end: str, more: dict[str, str]
) -> None:
    """Text between holes stays as it is; a value is put in as it is, holes and all."""
    values = {name: f"<{{{{{name}}}}}>" for _, name in pieces} | more
    asked = "".join(f"{text}{{{{{name}}}}}" for text, name in pieces) + end
    expected = "".join(text + values[name] for text, name in pieces) + end
    assert expected == fill_holes(asked, values)
    assert {name for _, name in pieces} == holes_in(asked)


@given(JSON, st.dictionaries(NAMES, TEXTS))
def test_whatever_has_no_hole_is_the_same(
    value: object, values: dict[str, str]
) -> None:
    """A JSON value without holes is never changed, its keys never are."""
    if not holes_in(value):
        assert value == fill_holes(value, values)
    if isinstance(value, dict):
        assert [*value] == [*fill_holes(value, dict.fromkeys(holes_in(value), ""))]


@given(JSON)
def test_a_name_that_is_not_given_is_refused_by_name(value: object) -> None:
    """Every hole needs a value: the refusal says which one has none."""
    for name in holes_in(value):
        given_ = dict.fromkeys(holes_in(value) - {name}, "")
        with pytest.raises(UsageError) as refusal:
            fill_holes(value, given_)
        assert f"{{{{{name}}}}}" in refusal.value.message


def test_what_is_a_hole() -> None:
    """Spaces may stand around a name; braces around anything else are text."""
    assert {"a", "b.c", "d-1"} == holes_in("{{a}} {{ b.c }} {{\td-1\n}}")
    for text in ("{a}", "{{}}", "{{1}}", "{{a b}}", "{{ 'x' }}", "{ {a} }", "{{é}}"):
        assert text == fill_holes(text, {"a": "x"})
    nested = {"{{a}}": ["{{a}}", 1, None, {"k": "{{a}}{{a}}"}]}
    assert {"{{a}}": ["x", 1, None, {"k": "xx"}]} == fill_holes(nested, {"a": "x"})
