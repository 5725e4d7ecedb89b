"""A request as its user means it, rendered as a dialect writes it; pure.

May import core.dialect, core.errors and core.wire.
"""

import hashlib
import json
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.core.dialect import Dialect
from bgresp.core.errors import UsageError
from bgresp.core.wire import fill

MAX_PROMPT: Final = 10_485_760  # characters: the Open Responses schema's cap
MAX_PAIRS: Final = 16
MAX_NAME: Final = 64
MAX_VALUE: Final = 512
OURS: Final = "bgresp_key"


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked: a prompt, or a raw body that is sent as it is."""

    text: str | None = None
    model: str | None = None
    instructions: str | None = None
    previous_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    max_output_tokens: int | None = None
    body: Mapping[str, Any] | None = None
    changes: tuple[tuple[str, Any], ...] = ()


def render(request: Request, dialect: Dialect, vars_: Mapping[str, str]) -> Any:
    """Return the body to send, without the local key.

    `background` and `store` are always explicit where the dialect has them. Raises
    UsageError when the request cannot be written so.
    """
    values: dict[str, Any] = {f"var.{name}": value for name, value in vars_.items()}
    values |= {
        "model": request.model,
        "input": request.text,
        "text": request.text,
        "instructions": request.instructions,
        "previous": request.previous_id,
        "metadata": dict(request.metadata) or None,
        "max_output_tokens": request.max_output_tokens,
    }
    body: dict[str, Any] = fill(dialect.body, values)
    body |= deepcopy(dict(request.body or {}))  # requests may share one
    for path, value in request.changes:
        assign(body, path, value)
    _check_metadata(body.get("metadata"))
    return body


def assign(body: dict[str, Any], path: str, value: Any) -> None:
    """Set a value deep in a body: `reasoning.effort`.

    Raises UsageError when the path crosses something that is no object.
    """
    *parents, last = path.split(".")
    if not all([*parents, last]):
        raise UsageError(f"--set takes PATH=VALUE, not {path!r}")
    place = body
    for name in parents:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise UsageError(f"--set {path}: {name!r} is no object")
    place[last] = value


def digest(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a body, without the local key, however it is ordered."""
    metadata = body.get("metadata")
    plain = dict(body)
    if isinstance(metadata, Mapping) and OURS in metadata:
        plain["metadata"] = {k: v for k, v in metadata.items() if k != OURS}
    text = json.dumps(plain, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _check_metadata(metadata: Any) -> None:
    """Refuse what OpenAI's API refuses (WIRE.md 1.12), before anything is sent."""
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        raise UsageError("metadata must be an object of texts")
    if len({*metadata, OURS}) > MAX_PAIRS:
        raise UsageError(
            f"metadata takes {MAX_PAIRS} pairs, and one of them is {OURS}",
            hint=f"give {MAX_PAIRS - 1} at most",
        )
    for name, value in metadata.items():
        if not isinstance(value, str) or len(value) > MAX_VALUE:
            raise UsageError(f"metadata {name!r}: a text of {MAX_VALUE} at most")
        if not 0 < len(name) <= MAX_NAME:
            raise UsageError(f"metadata {name[:80]!r}: a name of {MAX_NAME} at most")
