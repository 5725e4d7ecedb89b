"""Rows of a batch's manifest: read from JSON or CSV, checked, dealt to shards; pure.

Every refusal is a UsageError that begins with the name of the field.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.core.errors import UsageError
from bgresp.core.request import holes_in
from bgresp.core.text import parse_json

MAX_ID: Final = 512
PROMPTS: Final = ("text", "file", "input", "body")
_OURS: Final = frozenset({"id", *PROMPTS, "model", "name", "labels", "metadata"})
# https://platform.openai.com/docs/api-reference/batch/request-input
_OPENAI: Final = frozenset({"custom_id", "method", "url", "body"})
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


def from_json(line: bytes) -> Row:
    """Read a row of a JSON Lines manifest, ours or OpenAI's Batch."""
    try:
        table = parse_json(line)
    except ValueError as error:
        raise UsageError(f"not JSON ({str(error)[:80]})") from None
    if not isinstance(table, dict):
        raise UsageError("not a JSON object")
    return _from_openai(table) if "custom_id" in table else _from_ours(table)


def from_record(columns: Sequence[str], cells: Sequence[str], prompt: str) -> Row:
    """Read a row of a CSV: `id` names it, the columns fill the prompt's template."""
    if len(cells) != len(columns):
        raise UsageError(f"{len(cells)} fields under {len(columns)} columns")
    record = dict(zip(columns, cells, strict=True))
    return Row(_id("id", record["id"]), text=prompt, variables=record)


def check_columns(columns: Sequence[str], prompt: str, others: Sequence[str]) -> None:
    """Refuse a CSV without ids, and a template with a hole that nothing fills.

    `others` are the names of --var.
    """
    twice = next((name for name in columns if columns.count(name) > 1), None)
    if twice is not None:
        raise UsageError(f"two columns are named {twice!r}")
    for name in ("id", *_HOLE.findall(prompt)):
        if name not in {*columns, *others}:
            raise UsageError(
                f"no column {name!r}", hint="there are: " + ", ".join(columns)[:200]
            )
        if name not in holes_in(f"{{{{{name}}}}}"):
            raise UsageError(
                f"column {name!r}: a hole takes letters, digits, _ . and -"
            )


def _from_openai(table: Mapping[str, Any]) -> Row:
    _check_fields(table, _OPENAI)
    id_ = _id("custom_id", table["custom_id"])
    if table.get("method", "POST") != "POST":
        raise UsageError("method: must be POST")
    url = table.get("url", "/v1/responses")
    if not isinstance(url, str) or not url.endswith("/responses"):
        raise UsageError(
            f"url: {str(url)[:80]!r} is no background response",
            hint="rows for /v1/responses can be sent",
        )
    if "body" not in table:
        raise UsageError("body: missing")
    return Row(id_, body=_object("body", table["body"]))


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
            raise UsageError(
                f"{name[:80]}: no such field", hint="known: " + ", ".join(sorted(known))
            )


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
