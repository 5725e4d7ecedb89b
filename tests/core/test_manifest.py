"""Rows are read exactly, refused by the name of the field, and dealt out for good."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.errors import UsageError
from bgresp.core.manifest import (
    Row,
    Shard,
    check_columns,
    from_json,
    from_record,
    hash_of,
    shard,
)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["id", "custom_id", "text", "file", "input", "body", "model", "name", "labels"]
)


def read(**table: Any) -> Row:
    return from_json(json.dumps(table).encode())


def refusal(**table: Any) -> str:
    with pytest.raises(UsageError) as raised:
        read(**table)
    return raised.value.message


def test_a_row_of_ours() -> None:
    """A row's own fields arrive as they stand; a number is an id by its digits."""
    row = read(id=7, text="hi", model="m", name="n", labels={"a": "b"}, metadata={})
    assert Row("7", text="hi", model="m", name="n", labels={"a": "b"}) == row
    assert Row("a", file="x/y.txt") == read(id="a", file="x/y.txt")
    items = [{"role": "user", "content": "hi"}]
    assert Row("a", body={"input": items}) == read(id="a", input=items)
    assert Row("a", body={"input": "hi"}) == read(id="a", input="hi", text=None)
    assert Row("a", body={"x": [1]}) == read(id="a", body={"x": [1]})


def test_a_row_of_openai_s_batch() -> None:
    """A row written for OpenAI's Batch API is taken as it is."""
    body = {"model": "gpt-5", "input": "hi"}
    whole = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": body}
    assert Row("a", body=body) == read(**whole)
    assert Row("a", body=body) == read(custom_id="a", body=body)
    assert "chat/completions" in refusal(**{**whole, "url": "/v1/chat/completions"})
    assert "method" in refusal(**{**whole, "method": "GET"})
    assert "body: missing" == refusal(custom_id="a")
    assert "model: no such field" == refusal(**whole, model="m")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        *(({"text": "x"}, "id: missing"), ({"id": "", "text": "x"}, "id: missing")),
        *(({"id": " ", "text": "x"}, "id: "), ({"id": "a\nb", "text": "x"}, "id: ")),
        *(({"id": "x" * 513, "text": "x"}, "id: "), ({"id": 1.5, "text": "x"}, "id: ")),
        *(({"id": True, "text": "x"}, "id: "), ({"id": "\ud800", "text": "x"}, "id: ")),
        *(({"id": "a"}, "not none"), ({"id": "a", "text": None}, "not none")),
        ({"id": "a", "text": "x", "file": "y"}, "not text and file"),
        *(({"id": "a", "text": 5}, "text: "), ({"id": "a", "text": " "}, "text: ")),
        *(({"id": "a", "input": 5}, "input: "), ({"id": "a", "input": []}, "input: ")),
        ({"id": "a", "body": "x"}, "body: must be a JSON object"),
        ({"id": "a", "text": "x", "labels": {"a": 1}}, "labels: 'a' must be text"),
        ({"id": "a", "text": "x", "labels": []}, "labels: "),
        ({"id": "a", "text": "x", "name": "a\x1b"}, "name: "),
        ({"id": "a", "text": "x", "model": ""}, "model: "),
        ({"id": "a", "txt": "x"}, "txt: no such field"),
    ],
)
def test_a_bad_row_is_named_by_its_field(table: Any, said: str) -> None:
    """What is wrong with a row is said with the name of the field."""
    assert said in refusal(**table)


@pytest.mark.parametrize(
    "line", [b"", b"{", b"[]", b'"a"', b'{"id":NaN}', b"\xff", b"[" * 100_000]
)
def test_what_is_no_object_is_refused(line: bytes) -> None:
    """A line that is no JSON object is a usage error, never a crash."""
    with pytest.raises(UsageError, match="not"):
        from_json(line)


@given(st.dictionaries(FIELDS, JSON) | JSON | st.binary())
def test_any_line_is_read_or_refused(value: Any) -> None:
    """No line makes reading fail in another way; what is read has one prompt."""
    line = value if isinstance(value, bytes) else json.dumps(value).encode()
    try:
        row = from_json(line)
    except UsageError:
        return
    assert 1 == sum(part is not None for part in (row.text, row.file, row.body))
    assert row.id.isprintable()


def test_a_csv_s_columns_fill_the_prompt() -> None:
    """Each record is a row of the same template, with its columns as variables."""
    prompt = "Hi {{ name }}, {{id}}"
    check_columns(["id", "name"], prompt, [])
    row = from_record(["id", "name"], ["7", "{{id}}"], prompt)
    variables = {"id": "7", "name": "{{id}}"}
    assert Row("7", text=prompt, variables=variables) == row
    check_columns(["id"], "{{id}} {{day}}", ["day"])
    with pytest.raises(UsageError, match="2 fields under 1 columns"):
        from_record(["id"], ["1", "2"], "x")


@pytest.mark.parametrize(
    ("columns", "prompt", "said"),
    [
        *((["name"], "x", "no column 'id'"), ([], "x", "no column 'id'")),
        *((["id"], "{{nme}}", "no column 'nme'"), (["id", "id"], "x", "two columns")),
        (["id", "First Name"], "{{First Name}}", "a hole takes letters"),
    ],
)
def test_a_template_that_cannot_be_filled(
    columns: list[str], prompt: str, said: str
) -> None:
    """A hole without a column is refused, not sent as it stands."""
    with pytest.raises(UsageError, match=said):
        check_columns(columns, prompt, [])


@given(st.integers(1, 50), st.lists(st.text(), unique=True))
def test_shards_are_a_partition(count: int, ids: list[str]) -> None:
    """Every row is in exactly one of N shards, whatever its id."""
    for id_ in ids:
        dealt = [Shard(number, count).has(id_) for number in range(1, count + 1)]
        assert 1 == sum(dealt)


def test_shards_are_the_same_everywhere() -> None:
    """The hash is part of the contract: another version deals rows alike."""
    assert 14598278634844962250 == hash_of("a")  # sha256sum, first 16 digits
    assert [2, 2, 1, 0] == [hash_of(id_) % 4 for id_ in ("a", "b", "row-1", "ü")]


@pytest.mark.parametrize("text", ["0/3", "4/3", "1", "1/0", "a/b", "-1/3", "1/3/5", ""])
def test_what_is_no_shard(text: str) -> None:
    """I counts from 1 to N; anything else is a usage error."""
    with pytest.raises(UsageError):
        shard(text)
    assert Shard(3, 3) == shard("3/3")
