"""Rows of a batch's manifest: JSON Lines, CSV or OpenAI's Batch, checked; pure.

Every refusal is a UsageError that begins with the name of the field.
"""

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.core.chat import ChatError, to_responses
from bgresp.core.errors import UsageError
from bgresp.core.request import holes_in
from bgresp.core.text import parse_json

MAX_ID: Final = 512
PROMPTS: Final = ("text", "file", "input", "body")
_OURS: Final = frozenset({"id", *PROMPTS, "model", "name", "labels", "metadata"})
# https://platform.openai.com/docs/api-reference/batch/request-input
_OPENAI: Final = frozenset({"custom_id", "method", "url", "body"})
_CHAT: Final = "/chat/completions"
# What a row of a Batch's answers has beside `custom_id`.
_OUTPUT: Final = frozenset({"response", "error"})
NUMBERED: Final = "row"  # as --id: a row is named by its number
_HOLE: Final = re.compile(r"\{\{\s*([^{}]+?)\s*\}\}")
_SHARD: Final = re.compile(r"(\d{1,9})/(\d{1,9})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Row:
    """One request of a manifest: exactly one of text, file and body is set.

    `variables` fill the holes of the texts, as --var does.
    """

    id: str
    text: str | None = None
    file: str | None = None
    body: Mapping[str, Any] | None = None
    model: str | None = None
    name: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    metadata: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of a manifest, counted from 1."""

    number: int = 1
    count: int = 1

    def has(self, id_: str) -> bool:
        """Say whether a row is in this shard: by a hash of its id alone."""
        return hash_of(id_) % self.count == self.number - 1


def shard(text: str) -> Shard:
    """Read I/N.

    Raises UsageError.
    """
    found = _SHARD.fullmatch(text)
    number, count = (int(found[1]), int(found[2])) if found else (0, 0)
    if not 1 <= number <= count:
        raise UsageError(f"--shard takes I/N with I from 1 to N, not {text!r}")
    return Shard(number, count)


def hash_of(id_: str) -> int:
    """Return 64 bits that are the same on every machine and in every version."""
    raw = id_.encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.sha256(raw).digest()[:8], "big")


@dataclass(frozen=True, slots=True)
class RowReading:
    """How rows are read: the field that names one, the template of their prompts.

    An `id_field` of `row` is the row's number where there is no such field. A
    `template` is filled with a row's fields; `others` are the names of --var.
    """

    id_field: str | None = None
    template: str | None = None
    others: Sequence[str] = ()

    def from_json(self, line: bytes, number: int = 1) -> Row:
        """Read a row of a JSON Lines manifest, ours or OpenAI's Batch.

        `number` counts the rows from 1. Raises UsageError.
        """
        try:
            table = parse_json(line)
        except ValueError as error:
            if line.lstrip()[:1] == b"[" and number == 1:
                raise _array() from None
            raise UsageError(f"not JSON ({str(error)[:80]})") from None
        if isinstance(table, list) and number == 1:
            raise _array()
        if not isinstance(table, dict):
            raise UsageError("not a JSON object")
        if "custom_id" in table and not _OUTPUT.isdisjoint(table):
            raise UsageError(
                "this is an output of OpenAI's Batch: its rows are answers",
                hint="bgresp batch takes the input that was uploaded for it",
            )
        if self.template is not None:
            values = {name: _cell(value) for name, value in table.items()}
            return self._filled(values, self._named(table, number), self.template)
        if self.id_field is not None:
            id_ = self._named(table, number)
            rest = {k: v for k, v in table.items() if k not in {self.id_field, "id"}}
            if "custom_id" not in rest:
                return _from_ours({"id": id_, **rest})
            table = {**rest, "custom_id": id_}
        return _from_openai(table) if "custom_id" in table else _from_ours(table)

    def from_record(
        self, columns: Sequence[str], cells: Sequence[str], number: int = 1
    ) -> Row:
        """Read a row of a CSV: its columns fill the template.

        Raises UsageError.
        """
        if len(cells) != len(columns):
            raise UsageError(f"{len(cells)} fields under {len(columns)} columns")
        record = dict(zip(columns, cells, strict=True))
        return self._filled(record, self._named(record, number), self.template or "")

    def check_columns(self, columns: Sequence[str]) -> None:
        """Refuse a CSV without ids or prompt, and a hole that nothing fills.

        Raises UsageError.
        """
        there = "there are: " + ", ".join(columns)[:200]
        # A column without a name is of no use, and no harm: spreadsheets leave some.
        twice = next((c for c in columns if c and columns.count(c) > 1), None)
        if twice is not None:
            raise UsageError(f"two columns are named {twice!r}")
        name = self.id_field or "id"
        if name not in columns and self.id_field != NUMBERED:
            raise UsageError(
                f"no column {name!r}", hint=f"--id COLUMN or --id row; {there}"
            )
        if self.template is None:
            raise UsageError(
                "a CSV needs --prompt",
                hint=f"--prompt 'Text with {{{{column}}}}'; {there}",
            )
        for name in _HOLE.findall(self.template):
            if name not in {*columns, *self.others}:
                raise UsageError(f"no column {name!r}", hint=there)

    def _named(self, table: Mapping[str, Any], number: int) -> str:
        """Return the id of a row."""
        name = self.id_field or ("custom_id" if "custom_id" in table else "id")
        if name == NUMBERED and name not in table:
            return str(number)
        return _id(name, table.get(name))

    def _filled(self, values: Mapping[str, str], id_: str, template: str) -> Row:
        """Return a row whose holes its values fill, whatever they are called."""
        asked = sorted(set(_HOLE.findall(template)))
        for name in asked:
            if name not in values and name not in self.others:
                there = "there are: " + ", ".join(values)[:200]
                raise UsageError(f"no field {name!r}", hint=there)
        # A hole of a request has a plain name; these are longer than any in use.
        longest = max(map(len, (*values, *self.others)), default=0)
        odd = [name for name in asked if name not in holes_in(f"{{{{{name}}}}}")]
        plain = {name: f"{'_' * (longest + 1)}{n}" for n, name in enumerate(odd)}
        if plain:
            template = _HOLE.sub(
                lambda hole: f"{{{{{plain.get(hole[1], hole[1])}}}}}", template
            )
            values = {**values, **{plain[name]: values[name] for name in odd}}
        return Row(id_, text=template, variables=values)


def _array() -> UsageError:
    return UsageError(
        "a JSON array, not JSON Lines: a row is a line",
        hint="jq -c '.[]' FILE | bgresp batch - --group G",
    )


def _cell(value: Any) -> str:
    """Return a field of a JSON row as a template has it."""
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value, ensure_ascii=False)


def _from_openai(table: Mapping[str, Any]) -> Row:
    _check_fields(table, _OPENAI)
    id_ = _id("custom_id", table["custom_id"])
    if table.get("method", "POST") != "POST":
        raise UsageError("method: must be POST")
    url = table.get("url", "/v1/responses")
    chat = isinstance(url, str) and url.endswith(_CHAT)
    if not isinstance(url, str) or not (chat or url.endswith("/responses")):
        raise UsageError(
            f"url: {str(url)[:80]!r} is not a background response",
            hint="rows for /v1/responses and /v1/chat/completions can be sent",
        )
    if "body" not in table:
        raise UsageError("body: missing")
    body = _object("body", table["body"])
    if chat or ("url" not in table and "messages" in body):
        body = _from_chat(body)
    return Row(id_, body=body)


def _from_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    try:
        found = to_responses(body)
    except ChatError as error:
        raise UsageError(f"body.{error}") from None
    if not found["input"]:
        raise UsageError("body.messages: is empty")
    return found


def _from_ours(table: Mapping[str, Any]) -> Row:
    _check_fields(table, _OURS)
    id_ = _id("id", table.get("id"))
    given = [name for name in PROMPTS if table.get(name) is not None]
    if len(given) != 1:
        said = " and ".join(given) if given else "none"
        raise UsageError(f"one of text, file, input, body is needed, not {said}")
    body = _object("body", table["body"]) if given == ["body"] else None
    if given == ["input"]:
        if not isinstance(table["input"], str | list) or not _says(table["input"]):
            raise UsageError("input: must be text or a list of items")
        body = {"input": table["input"]}
    return Row(
        id_,
        text=_text("text", table.get("text")),
        file=_text("file", table.get("file")),
        body=body,
        model=_text("model", table.get("model")),
        name=_printable("name", table.get("name")),
        labels=_texts("labels", table.get("labels")),
        metadata=_texts("metadata", table.get("metadata")),
    )


def _says(value: str | list[Any]) -> bool:
    return bool(value.strip() if isinstance(value, str) else value)


def _check_fields(table: Mapping[str, Any], known: frozenset[str]) -> None:
    for name in table:
        if name not in known:
            others = "; any others with --prompt" if known is _OURS else ""
            hint = f"known: {', '.join(sorted(known))}{others}"
            raise UsageError(f"{name[:80]}: no such field", hint=hint)


def _id(name: str, value: Any) -> str:
    """Read a row's id; a whole number is taken as its digits."""
    if value is None or value == "":
        raise UsageError(f"{name}: missing")
    if type(value) is int:
        value = str(value)
    if not isinstance(value, str) or not value.strip() or len(value) > MAX_ID:
        raise UsageError(f"{name}: must be text of {MAX_ID} characters at most")
    return str(_printable(name, value))


def _printable(name: str, value: Any) -> str | None:
    text = _text(name, value)
    if text is not None and not text.isprintable():
        raise UsageError(f"{name}: must be printable text")
    return text


def _text(name: str, value: Any) -> str | None:
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise UsageError(f"{name}: must be text that is not empty")
    return value


def _texts(name: str, value: Any) -> dict[str, str]:
    table = _object(name, value) if value is not None else {}
    for key, item in table.items():
        if not isinstance(item, str):
            raise UsageError(f"{name}: {key[:80]!r} must be text")
    return table


def _object(name: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise UsageError(f"{name}: must be a JSON object")
    return value
