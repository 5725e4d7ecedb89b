"""A dialect: how one kind of endpoint is spoken to, as values.

May import core.model. core.tables builds one from TOML.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from bgresp.core.model import Status

BASE: Final = "openai"
HOLE: Final = re.compile(r"\{([A-Za-z0-9_.-]+)\}")
ATTACH: Final = ("if_streamed", "any", "never")
IDEMPOTENCY: Final = ("none", "replay", "reject")
# A part of a request, and the hole of a body template that takes it.
PARTS: Final = {
    "attach": "input",
    "max_output_tokens": "max_output_tokens",
    "metadata": "metadata",
    "previous": "previous",
    "schema": "schema",
    "system": "instructions",
    "tools": "tools",
}


@dataclass(frozen=True, slots=True)
class Auth:
    """Where the key goes and where it comes from; `value` is a template of {key}."""

    header: str
    value: str
    env: str
    command: tuple[str, ...] = ()
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Op:
    """One operation: an HTTP method and a path template with its query."""

    method: str
    path: str


@dataclass(frozen=True, slots=True)
class Reads:
    """Paths into a response object; the first that is not empty wins."""

    id: tuple[str, ...]
    status: tuple[str, ...]
    text: tuple[str, ...]
    error: tuple[str, ...]
    reason: tuple[str, ...]
    usage: tuple[str, ...]
    model: tuple[str, ...]
    created: tuple[str, ...]
    finished: tuple[str, ...]
    key: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Streaming:
    """How events are named, numbered, resumed and ended; idle limits in seconds."""

    event: tuple[str, ...]
    cursor: tuple[str, ...]
    resume: str
    delta: tuple[str, ...]
    full: tuple[str, ...]
    object: tuple[str, ...]
    end: tuple[str, ...]
    attach: str
    idle_bytes: float
    idle_events: float


@dataclass(frozen=True, slots=True)
class Limits:
    """Pace, retention and maximum run in seconds (0: unknown), rate in requests/s."""

    poll: tuple[float, float]
    rate: float
    connections: int
    streams: int
    retention_stored: float
    retention_unstored: float
    max_run: float
    advisory_cancel: bool
    idempotency: str


@dataclass(frozen=True, slots=True)
class Dialect:
    """Everything that differs between endpoints."""

    name: str
    base_url: str
    auth: Auth
    headers: Mapping[str, str]
    query: Mapping[str, str]
    ops: Mapping[str, Op]
    body: Mapping[str, Any]
    stream_body: Mapping[str, Any]
    reads: Reads
    states: Mapping[str, Status]
    streaming: Streaming
    limits: Limits

    @property
    def carries(self) -> frozenset[str]:
        """Return which PARTS of a request its body has a place for."""
        holes = _holes(self.body)
        return frozenset(part for part, hole in PARTS.items() if hole in holes)


def _holes(tree: Any) -> set[str]:
    if isinstance(tree, Mapping):
        tree = list(tree.values())
    if isinstance(tree, list):
        return {hole for branch in tree for hole in _holes(branch)}
    return set(HOLE.findall(tree)) if isinstance(tree, str) else set()
