"""Rows are read exactly, refused by the name of the field, and dealt out for good."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.errors import UsageError
from bgresp.core.manifest import Row, RowReading, Shard, hash_of, shard
from bgresp.core.request import fill_holes

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
FIELDS = st.sampled_from(
    ["id", "custom_id", "text", "file", "input", "body", "model", "name", "labels"]
)


def read(**table: Any) -> Row:
    return RowReading().from_json(json.dumps(table).encode())


def refusal(**table: Any) -> str:
    with pytest.raises(UsageError) as raised:
        read(**table)
    return raised.value.message


def chat(**body: Any) -> dict[str, Any]:
    """Return a Batch row of /v1/chat/completions."""
    return {"custom_id": "a", "method": "POST", "url": CHAT, "body": body}


CHAT = "/v1/chat/completions"
HI = [{"role": "user", "content": "hi"}]


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
    assert "embeddings" in refusal(**{**whole, "url": "/v1/embeddings"})
    assert "method" in refusal(**{**whole, "method": "GET"})
    assert "body: missing" == refusal(custom_id="a")
    assert "model: no such field" == refusal(**whole, model="m")


def test_a_row_of_chat_completions_is_converted() -> None:
    """A Batch row written for chat is sent as it is, where nothing understands it."""
    asked = {"model": "m", "messages": HI, "max_tokens": 9, "reasoning_effort": "low"}
    meant = {
        "model": "m",
        "input": HI,
        "max_output_tokens": 9,
        "reasoning": {"effort": "low"},
    }
    assert Row("a", body=meant) == read(**chat(**asked))
    assert Row("a", body=meant) == read(custom_id="a", body=asked)
    assert Row("a", body=meant) == read(**{**chat(**asked), "url": f"https://x{CHAT}"})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"messages": HI, "stop": ["x"]}, "body.stop: "),
        ({"messages": HI, "n": 2}, "body.n: "),
        ({"messages": HI, "logit_bias": {"1": 2}}, "body.logit_bias: "),
        ({"messages": [{"role": "x"}]}, "body.messages[0].role: "),
        ({"input": "hi"}, "body.input: "),
        ({"model": "m"}, "body.messages: "),
    ],
)
def test_what_chat_alone_can_say_is_refused_by_its_field(body: Any, said: str) -> None:
    """A field without a counterpart is dropped in silence, or refused without its name."""
    assert refusal(**chat(**body)).startswith(said)


def test_an_output_of_openai_s_batch_is_named() -> None:
    """A file of answers is "no such field", and nobody learns that it is the wrong one."""
    answer = {"id": "batch_req_1", "custom_id": "a", "response": {"status_code": 200}}
    assert "output of OpenAI's Batch" in refusal(**answer, error=None)


def test_a_row_is_named_by_a_field_of_its_own() -> None:
    """--id takes no field of the user's, or leaves it in what is sent."""
    row = json.dumps({"text": "hi", "doc": 7, "id": "x"}).encode()
    assert Row("7", text="hi") == RowReading("doc").from_json(row)
    numbered = RowReading("row")
    assert Row("3", text="hi") == numbered.from_json(b'{"text": "hi"}', 3)
    body = {"model": "m", "input": "hi"}
    batch = json.dumps({"custom_id": "a", "body": body}).encode()
    assert Row("3", body=body) == numbered.from_json(batch, 3)
    with pytest.raises(UsageError, match="doc: missing"):
        RowReading("doc").from_json(b'{"id": "a", "text": "hi"}')


def test_a_prompt_of_the_fields_of_any_json_rows() -> None:
    """--prompt cannot be filled from JSON Lines, or a number loses its digits."""
    reading = RowReading(template="{{q}} {{n}} {{tags}} {{day}}", others=["day"])
    line = b'{"id": "a", "q": "Why?", "n": 1.5, "tags": ["x"], "none": null}'
    row = reading.from_json(line)
    values = {"id": "a", "q": "Why?", "n": "1.5", "tags": '["x"]', "none": ""}
    assert Row("a", text=reading.template, variables=values) == row
    with pytest.raises(UsageError, match="no field 'n'") as raised:
        reading.from_json(b'{"id": "b", "question": "?"}')
    assert "question" in raised.value.hint


def test_a_json_array_is_named_with_its_remedy() -> None:
    """An array of rows is "not JSON", though it is."""
    for line in (b'[{"id": "a"}]', b"[\n"):
        with pytest.raises(UsageError, match="array") as raised:
            RowReading().from_json(line)
        assert "jq -c" in raised.value.hint
        with pytest.raises(UsageError) as raised:
            RowReading().from_json(line, 2)  # it is this row that is wrong
        assert "array" not in raised.value.message


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
        RowReading().from_json(line)


@given(st.dictionaries(FIELDS, JSON) | JSON | st.binary())
def test_any_line_is_read_or_refused(value: Any) -> None:
    """No line makes reading fail in another way; what is read has one prompt."""
    line = value if isinstance(value, bytes) else json.dumps(value).encode()
    try:
        row = RowReading().from_json(line)
    except UsageError:
        return
    assert 1 == sum(part is not None for part in (row.text, row.file, row.body))
    assert row.id.isprintable()


def test_a_csv_s_columns_fill_the_prompt() -> None:
    """Each record is a row of the same template, with its columns as variables."""
    reading = RowReading(template="Hi {{ name }}, {{id}}")
    reading.check_columns(["id", "name"])
    row = reading.from_record(["id", "name"], ["7", "{{id}}"])
    variables = {"id": "7", "name": "{{id}}"}
    assert Row("7", text=reading.template, variables=variables) == row
    RowReading(template="{{id}} {{day}}", others=["day"]).check_columns(["id"])
    reading.check_columns(["id", "name", "", ""])  # as spreadsheets leave them
    with pytest.raises(UsageError, match="2 fields under 1 columns"):
        reading.from_record(["id"], ["1", "2"])


def test_a_csv_without_a_column_id() -> None:
    """A record goes by the column that --id names, or by its number."""
    named = RowReading("mail", "{{name}}")
    named.check_columns(["mail", "name"])
    assert "a@b" == named.from_record(["mail", "name"], ["a@b", "Ada"]).id
    numbered = RowReading("row", "{{name}}")
    numbered.check_columns(["name"])
    assert "4" == numbered.from_record(["name"], ["Ada"], 4).id
    assert "r9" == numbered.from_record(["row", "name"], ["r9", "Ada"], 4).id


@pytest.mark.parametrize(
    ("columns", "prompt", "said"),
    [
        *((["name"], "x", "no column 'id'"), ([], "x", "no column 'id'")),
        *((["id"], "{{nme}}", "no column 'nme'"), (["id", "id"], "x", "two columns")),
        (["id", "First Name"], "{{Last Name}}", "no column 'Last Name'"),
        (["id", "name"], None, "a CSV needs --prompt"),
    ],
)
def test_a_template_that_cannot_be_filled(
    columns: list[str], prompt: str | None, said: str
) -> None:
    """A hole without a column is refused, not sent as it stands."""
    with pytest.raises(UsageError, match=said):
        RowReading(template=prompt).check_columns(columns)


ODD = st.text(st.sampled_from("ab _-.é 1") | st.characters(), min_size=1, max_size=9)
COLUMN = ODD.map(str.strip).filter(
    lambda t: t not in {"", "row"} and not {*"{}"} & {*t}
)


@given(st.dictionaries(COLUMN, st.text(), min_size=1), st.text("x _|", max_size=5))
def test_any_column_fills_a_hole(values: dict[str, str], text: str) -> None:
    """A column whose name has a space or an umlaut is refused, or fills another hole."""
    template = text + "|".join(f"{{{{ {name} }}}}" for name in values)
    row = RowReading("row", template).from_record([*values], [*values.values()])
    assert text + "|".join(values.values()) == fill_holes(row.text, row.variables)
    table = json.dumps(values).encode()
    assert row == RowReading("row", template).from_json(table)


def test_a_chat_without_messages_asks_nothing() -> None:
    """A row of a Batch that would be refused by the endpoint is sent all the same."""
    chat = {"custom_id": "a", "url": "/v1/chat/completions"}
    for empty in ("[]", "null"):
        body = json.loads(f'{{"model": "m", "messages": {empty}}}')
        assert refusal(**chat, body=body).startswith("body.messages: ")


def test_a_hole_that_no_field_fills() -> None:
    """A mistyped name with a space in it is sent as it stands."""
    for template in ("{{Full Nme}}", "{{nme}}", "{{ 'x' }}"):
        with pytest.raises(UsageError, match="no field"):
            RowReading("row", template).from_json(b'{"Full Name": "Ada"}')


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
