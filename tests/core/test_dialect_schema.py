"""A dialect is built from tables that say only what differs, or refused by name."""

from collections.abc import Mapping
from typing import Any

import pytest

from bgresp.core.dialect import PARTS, Dialect, Op, TextEvents, fill
from bgresp.core.dialect_schema import build
from bgresp.core.endpoint import Endpoint, is_loopback
from bgresp.core.errors import ConfigError
from bgresp.core.model import Status

Tables = dict[str, Any]


def _mine(tables: Tables, **mine: Any) -> Dialect:
    return build("mine", {**tables, "mine": mine})


def test_openai_is_the_identity(openai: Dialect) -> None:
    """The wire's own words are the base: nothing is renamed for OpenAI."""
    words = {word: str(status) for word, status in openai.states.items()}
    assert {"canceled": "cancelled"} == {w: s for w, s in words.items() if w != s}
    wire = {status for status in Status if status.is_open or status.is_terminal}
    assert wire == {*openai.states.values()}
    assert ("id",) == openai.reads.id
    assert ("status",) == openai.reads.status
    assert ("usage.input_tokens",) == openai.reads.input_tokens
    assert ("model",) == openai.reads.model
    assert Op("POST", "/responses") == openai.ops["create"]
    assert Op("POST", "/responses/{id}/cancel") == openai.ops["cancel"]
    assert "query:starting_after" == openai.streaming.resume
    holes = ["model", "input", "instructions", "metadata"]
    filled = fill(openai.body, {name: name for name in holes})
    assert dict(zip(holes, holes, strict=True)) == {n: filled[n] for n in holes}


def test_store_and_background_are_always_explicit(tables: Tables) -> None:
    """Rule 3 of the contract: every built-in create asks for what its API has."""
    asked = {"background": True, "store": True}
    freddy = {"background": True}
    others = {"mka1": {**asked, "stream_events": True}, "freddy": freddy}
    others |= {"freddy-key": freddy, "xai-deferred": {"deferred": True}}
    for name in tables:
        assert others.get(name, asked) == fill(build(name, tables).body, {})


def test_every_built_in_dialect_builds(tables: Tables) -> None:
    """Each table that is shipped is a dialect with the operations to follow a job."""
    for name in tables:
        dialect = build(name, tables)
        assert name == dialect.name
        assert {"create", "get"} <= set(dialect.ops)
        assert 0 < dialect.limits.poll[0] <= dialect.limits.poll[1]


def test_a_dialect_says_only_what_differs(tables: Tables, openai: Dialect) -> None:
    """What a dialect does not name is as in the one that it extends."""
    mine = _mine(tables, base_url="https://llm.example.com/v9")
    assert "https://llm.example.com/v9" == mine.base_url
    assert (openai.reads, openai.streaming, openai.limits) == (
        *(mine.reads, mine.streaming, mine.limits),
    )


def test_the_contracts_example_builds(tables: Tables) -> None:
    """The dialect that CONTRACT.md shows works as it is written there."""
    auth = {"header": "X-API-Key", "value": "{key}", "env": "MINE_KEY"}
    states = {"queued": ["pending"], "in_progress": ["running"]}
    mine = _mine(tables, extends="openai", auth=auth, states=states)
    assert ("X-API-Key", "{key}") == (mine.auth.header, mine.auth.value)
    assert Status.QUEUED is mine.states["pending"]
    assert Status.IN_PROGRESS is mine.states["running"]
    assert Status.COMPLETED is mine.states["completed"]
    assert "queued" not in mine.states


def test_extending_goes_through_generations(tables: Tables, openai: Dialect) -> None:
    """A dialect inherits from one that inherits, the nearest word first."""
    family: Tables = {
        "old": {"limits": {"rate": 1, "streams": 2}},
        "mid": {"extends": "old", "limits": {"rate": 3}},
        "new": {"extends": "mid", "ops": {"cancel": ""}},
    }
    new = build("new", {**tables, **family})
    assert (3, 2) == (new.limits.rate, new.limits.streams)
    assert new.limits.connections == openai.limits.connections
    assert "cancel" not in new.ops
    assert "cancel" in build("mid", {**tables, **family}).ops


def test_a_list_of_one_may_be_a_text(tables: Tables) -> None:
    """`id = "job.id"` is `id = ["job.id"]`."""
    mine = _mine(
        tables,
        response={"id": "job.id"},
        states={"queued": "pending"},
        stream={"delta": {"events": "chunk"}},
    )
    assert ("job.id",) == mine.reads.id
    assert Status.QUEUED is mine.states["pending"]
    assert TextEvents(("chunk",), ("delta",)) == mine.streaming.delta


def test_headers_and_query_are_replaced_whole(tables: Tables, openai: Dialect) -> None:
    """Naming headers drops the inherited ones: they belong to another endpoint."""
    mine = _mine(tables, headers={"X-Team": "{var.team}"}, query={"v": "1"})
    assert {"X-Team": "{var.team}"} == mine.headers
    assert {"v": "1"} == mine.query
    assert openai.headers == _mine(tables, base_url="https://x").headers


def test_a_body_is_merged_or_replaced(tables: Tables, openai: Dialect) -> None:
    """A body adds to the inherited one unless it says `replace`."""
    added = _mine(tables, request={"body": {"input": "", "text": "{input}"}})
    assert {**openai.body, "input": "", "text": "{input}"} == added.body
    replaced = _mine(tables, request={"replace": True, "body": {"q": "{input}"}})
    assert {"q": "{input}"} == replaced.body


def test_a_dialect_carries_what_its_body_has_a_hole_for(tables: Tables) -> None:
    """A part that a body has no place for cannot be sent; OpenAI's takes them all."""
    assert frozenset(PARTS) == build("openai", tables).carries
    body = {"messages": [{"role": "system", "content": "{instructions}"}]}
    for mine in ({"text": "{text}"}, {"text": "{model} {var.input}"}):
        request = {"replace": True, "body": {**body, **mine}}
        assert {"system"} == _mine(tables, request=request).carries
    without = _mine(tables, request={"body": {"tools": "", "previous_response_id": ""}})
    assert frozenset(PARTS) - {"tools", "previous"} == without.carries


def test_a_body_is_free_at_any_depth(tables: Tables) -> None:
    """Below `request.body` any key is the endpoint's, however deep and inherited."""
    parent = {"request": {"body": {"options": {"a": 1}}}}
    child = {"extends": "parent", "request": {"body": {"options": {"b": [2]}}}}
    built = build("child", {**tables, "parent": parent, "child": child})
    assert {"a": 1, "b": [2]} == built.body["options"]


@pytest.mark.parametrize(
    ("mine", "key"),
    [
        ({"speed": 1}, "speed"),
        ({"stream": {"speed": 1}}, "stream.speed"),
        ({"states": {"paused": ["p"]}}, "states.paused"),
        ({"response": {"output": ["o"]}}, "response.output"),
        ({"ops": {"pause": "POST /x"}}, "ops.pause"),
        ({"auth": {"key": "secret"}}, "auth.key"),
        ({"limits": {"polls": [1, 2]}}, "limits.polls"),
        ({"base_url": 5}, "base_url"),
        ({"auth": "none"}, "auth"),
        ({"auth": {"optional": 1}}, "auth.optional"),
        ({"auth": {"command": "pass work"}}, "auth.command"),
        ({"auth": {"command": ["pass", 5]}}, "auth.command"),
        ({"headers": {"X-Team": 5}}, "headers.X-Team"),
        ({"headers": {"X-Team": ["a"]}}, "headers.X-Team"),
        ({"query": {"v": {"a": "b"}}}, "query.v"),
        ({"response": {"id": 5}}, "response.id"),
        ({"response": {"id": [5]}}, "response.id"),
        ({"response": {"id": {"a": 1}}}, "response.id"),
        ({"states": {"queued": [5]}}, "states.queued"),
        ({"stream": {"idle_bytes": "60"}}, "stream.idle_bytes"),
        ({"stream": {"resume": ["query:x"]}}, "stream.resume"),
        ({"limits": {"rate": True}}, "limits.rate"),
        ({"limits": {"rate": "fast"}}, "limits.rate"),
        ({"limits": {"poll": "12"}}, "limits.poll"),
        ({"limits": {"poll": ["1", "2"]}}, "limits.poll"),
        ({"limits": {"poll": [1]}}, "limits.poll"),
        ({"limits": {"poll": [0, 5]}}, "limits.poll"),
        ({"limits": {"poll": [5, 1]}}, "limits.poll"),
        ({"limits": {"idempotency": "maybe"}}, "limits.idempotency"),
        ({"stream": {"attach": "always"}}, "stream.attach"),
        ({"stream": {"resume": "starting_after"}}, "stream.resume"),
        ({"stream": {"resume": "cookie:x"}}, "stream.resume"),
        ({"stream": {"resume": "query:"}}, "stream.resume"),
        ({"ops": {"get": "FETCH /x"}}, "ops.get"),
        ({"ops": {"get": "GET x"}}, "ops.get"),
        ({"ops": {"get": "/x"}}, "ops.get"),
        ({"ops": {"get": ["GET /x"]}}, "ops.get"),
        ({"response": {"text": ["output[", "x"]}}, "response.text"),
        ({"response": {"id": "a..b"}}, "response.id"),
        ({"stream": {"cursor": ["a["]}}, "stream.cursor"),
        ({"stream": {"object": "a]"}}, "stream.object"),
        ({"stream": {"event": [""" .."""]}}, "stream.event"),
        ({"extends": ["openai"]}, "extends"),
        ({"extends": "mine"}, "extends"),
    ],
)
def test_a_mistake_is_named(tables: Tables, mine: Tables, key: str) -> None:
    """A mistake in a table is a ConfigError with the dialect and the key."""
    with pytest.raises(ConfigError) as caught:
        _mine(tables, **mine)
    assert "'mine'" in caught.value.message
    assert f"'{key}'" in caught.value.message


@pytest.mark.parametrize("table", ["openai", 5, None, ["a"]])
def test_a_dialect_is_a_table(tables: Tables, table: object) -> None:
    """Where no table stands, there is no dialect."""
    with pytest.raises(ConfigError, match=r"'mine'.*table"):
        build("mine", {**tables, "mine": table})  # type: ignore[dict-item]


def test_a_circle_is_refused(tables: Tables) -> None:
    """Dialects that extend each other are refused, by name, without recursion."""
    circle = {"a": {"extends": "b"}, "b": {"extends": "c"}, "c": {"extends": "a"}}
    with pytest.raises(ConfigError, match="dialect 'a': 'extends'"):
        build("a", {**tables, **circle})


@pytest.mark.parametrize("mine", [{}, {"extends": "nobody"}])
def test_an_unknown_dialect_is_refused_with_the_known(
    tables: Tables, mine: Mapping[str, str]
) -> None:
    """A name that is none is answered with the names that are."""
    name = "mine" if mine else "nobody"
    with pytest.raises(ConfigError, match="no dialect 'nobody'") as caught:
        build(name, {**tables, **({"mine": mine} if mine else {})})
    assert "local, " in caught.value.hint
    assert "openai" in caught.value.hint


def test_an_unknown_key_is_answered_with_the_known(tables: Tables) -> None:
    """A mistyped key is answered with the keys that exist there."""
    with pytest.raises(ConfigError) as caught:
        _mine(tables, stream={"curser": "id"})
    assert "cursor" in caught.value.hint


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        *(("http://127.0.0.1:80/v1", True), ("http://127.9.9.9", True)),
        *(("http://localhost", True), ("http://[::1]:8/v1", True)),
        *(("http://127.0.0.1.evil.com", False), ("http://localhost.evil.com", False)),
        *(("http://128.0.0.1", False), ("http://evil.com/127.0.0.1", False)),
        *(("http://127.0.0.x", False), ("local:", False), ("", False)),
        ("http://127.0.0.1@evil.com", False),
    ],
)
def test_only_this_machine_is_loopback(url: str, expected: bool) -> None:
    """A host is this machine's only where it is written literally so."""
    assert expected is is_loopback(url)


def test_an_endpoint_never_shows_its_secrets(openai: Dialect) -> None:
    """Printing an endpoint prints neither its key nor its headers."""
    secret = {"X-Key": "s3cret-too"}
    end = Endpoint("p", "http://127.0.0.1:9/v1", openai, key="s3cret", headers=secret)
    assert "s3cret" not in repr(end)
    assert "127.0.0.1:9" == end.host
    assert end.is_loopback
