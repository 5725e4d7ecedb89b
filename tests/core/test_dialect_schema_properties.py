"""Any table that TOML can hold becomes a dialect, or a ConfigError that names a key."""

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.dialect import Dialect, fill, target
from bgresp.core.dialect_schema import build
from bgresp.core.errors import ConfigError
from bgresp.core.reading import read_event, read_response

Tables = dict[str, Any]

_SCALARS = (
    st.booleans()
    | st.integers(-5, 10**6)
    | st.floats()
    | st.sampled_from(
        [
            *("", "openai", "{id}", "{var.x}", "{input}", "{", "GET /x/{id}", "a.b"),
            *("output[", "any", "query:x", "header:X-Y", "none", "completed", "\n"),
        ]
    )
    | st.text(max_size=6)
)
_VALUES = st.recursive(
    _SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def _leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> list[Any]:
    found: list[Any] = []
    for key, value in table.items():
        found.append((*path, key))
        if isinstance(value, Mapping):
            found += _leaves(value, (*path, key))
    return found


@st.composite
def _tables(draw: st.DrawFn, base: Tables) -> Tables:
    """Put values where the base has keys, and a few where it has none."""
    table: Tables = {}
    for path in draw(st.lists(st.sampled_from(_leaves(base)), max_size=4)):
        place = table
        for name in path[:-1]:
            inner = place.setdefault(name, {})
            if not isinstance(inner, dict):
                break
            place = inner
        else:
            place[path[-1]] = draw(_VALUES)
    return table | draw(st.dictionaries(st.text(max_size=5), _VALUES, max_size=1))


def _built(tables: Tables, mine: Tables) -> Dialect | None:
    try:
        return build("mine", {**tables, "mine": mine})
    except ConfigError as error:
        said = error.message
    assert "'mine'" in said
    assert said.isprintable()
    return None


@given(st.data())
def test_a_table_is_a_dialect_or_a_named_mistake(
    tables: Tables, data: st.DataObject
) -> None:
    """No table leads to another exception, neither when it is built nor when used."""
    base = tables[data.draw(st.sampled_from(sorted(tables)))]
    spoken = _built(tables, data.draw(_tables(base)))
    if spoken is None:
        return
    values = {"id": "x", "input": "hi", "text": "hi", "var.x": "v"}
    for op in spoken.ops.values():
        path, _ = target(op, values)
        assert path.startswith("/")
    assert isinstance(fill(spoken.body, values), Mapping)
    assert isinstance(fill(spoken.headers, values), Mapping)
    read_response(spoken, {"id": "x", "status": "completed"}, 200)
    read_event(spoken, {"type": "error"}, name="", raw="{}")


@given(st.data())
def test_what_a_dialect_says_is_what_it_gets(
    tables: Tables, data: st.DataObject
) -> None:
    """Repeating any part of what is inherited changes nothing."""
    name = data.draw(st.sampled_from(sorted(tables)))
    if name == "openai":
        return
    keys = data.draw(st.sets(st.sampled_from(sorted(tables[name]))))
    mine = {"extends": name} | {k: tables[name][k] for k in keys if k != "extends"}
    built = build("mine", {**tables, "mine": mine})
    inherited = build(name, tables)
    assert (inherited.ops, inherited.reads, inherited.states, inherited.limits) == (
        *(built.ops, built.reads, built.states, built.limits),
    )
    assert (inherited.body, inherited.streaming) == (built.body, built.streaming)


@pytest.mark.parametrize(
    ("mine", "said"),
    [
        ({"strem": {}}, "did you mean 'stream'?"),
        ({"limits": {"retention": 5}}, "did you mean 'retention_stored'?"),
        ({"ops": {"cancle": "POST /x/{id}"}}, "did you mean 'cancel'?"),
        ({"states": {"complete": []}}, "did you mean 'completed'?"),
        ({"extends": "openia"}, "did you mean 'openai'?"),
        ({"ops": {"get": "GET /x/{ID}"}}, "(did you mean {id}?), expected {id}"),
        ({"request": {"body": {"q": "{inptu}"}}}, "(did you mean {input}?)"),
        ({"headers": {"X-A": "{end_user}"}}, "expected {var.NAME}"),
        ({"auth": {"value": "Bearer"}}, "must have {key} in it"),
        ({"auth": {"value": "Bearer {token}"}}, "expected {key}, {var.NAME}"),
        ({"auth": {"header": "X Key"}}, "not the name of an HTTP header"),
        ({"auth": {"header": "Host"}}, "'Host' is the connection's own"),
        ({"headers": {"host": "{var.x}"}}, "'host' is the connection's own"),
        ({"stream": {"resume": "header:HOST"}}, "'HOST' is the connection's own"),
        ({"ops": {"get": "GET /../x/{id}"}}, "must not leave the base URL"),
        ({"ops": {"get": "GET /x/{id}/%2e%2E?a=b"}}, "must not leave the base URL"),
        ({"ops": {"get": ""}}, "must not be empty"),
        ({"ops": {"cancel": "POST /x"}}, "must have {id} in its path"),
        ({"ops": {"file": "GET /x/{file}"}}, "must have {container} in its path"),
        ({"ops": {"file": "GET /{id}/{file}"}}, "ops.file"),
        ({"ops": {"get": "GET /a b/{id}"}}, "METHOD /path"),
        ({"states": {"queued": ["completed"]}}, "stands for"),
        ({"limits": {"tiers": [[5, 1], [3, 1]]}}, "ages rising"),
        ({"limits": {"tiers": [[5]]}}, "must be pairs"),
        ({"limits": {"tiers": [5]}}, "must be a list"),
        ({"limits": {"max_run": -1}}, "0 or more"),
        ({"limits": {"connections": 1.5}}, "a whole number"),
        ({"limits": {"rate": float("nan")}}, "0 or more"),
        ({"stream": {"idle_bytes": 0}}, "more than 0 seconds"),
        ({"stream": {"delta": ["x"]}}, "must be a table, not a list"),
        ({"stream": {"delta": {"text": ["a["]}}}, "not a path"),
        ({"stream": {"part": ["a", "b", "c"]}}, "two paths"),
        ({"require": ["a b"]}, "not the name of a variable"),
    ],
)
def test_a_mistake_is_answered_with_what_was_expected(
    tables: Tables, mine: Tables, said: str
) -> None:
    """The message or its hint says which word or value would have been right."""
    with pytest.raises(ConfigError) as caught:
        build("mine", {**tables, "mine": mine})
    assert said in f"{caught.value.message} {caught.value.hint}"
    assert "'mine'" in caught.value.message
