"""A dialect: how one kind of endpoint is spoken to, as values.

core.dialect_schema builds a dialect from TOML. What a dialect reads it finds in JSON by
paths such as `a.b`, `[*]`, `output[type=message].id`: no expressions, no conditions.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from bgresp.core.model import Status

_STEP = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(\*)\]|\[([^=\[\]]+)=([^\[\]]*)\]")

PathStep = tuple[str, str, str]
BASE: Final = "openai"
HOLE: Final = re.compile(r"\{([A-Za-z0-9_.-]+)\}")
_HALF: Final = r"\{[A-Za-z0-9_.-]+(?![A-Za-z0-9_.}-])"
VAR: Final = "var."
ATTACH: Final = ("if_streamed", "any", "never")
IDEMPOTENCY: Final = ("none", "replay", "reject")
HTTP_STATUS: Final = "http:status"
EVENT_NAME: Final = "sse:event"
EVENT_ID: Final = "sse:id"
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


class Auth(NamedTuple):
    """Where the key goes and where it comes from; `value` is a template of {key}."""

    header: str
    value: str
    env: str
    command: tuple[str, ...] = ()
    optional: bool = False


class Op(NamedTuple):
    """One operation: an HTTP method and a path template with its query."""

    method: str
    path: str


class Reads(NamedTuple):
    """Paths into a response object; the first that is not empty wins.

    Of `status` it is the first whose word the dialect's states know.
    """

    id: tuple[str, ...]
    status: tuple[str, ...]
    error: tuple[str, ...]
    reason: tuple[str, ...]
    model: tuple[str, ...]
    created: tuple[str, ...]
    finished: tuple[str, ...]
    key: tuple[str, ...]
    input_tokens: tuple[str, ...]
    output_tokens: tuple[str, ...]
    total_tokens: tuple[str, ...]
    reasoning_tokens: tuple[str, ...]
    cached_tokens: tuple[str, ...]
    cost: tuple[str, ...]


class Items(NamedTuple):
    """Where the parts of an answer stand, in a response object.

    `items` leads to them from its root (the first path that reaches one wins), `inner`
    from an item to those inside of it, and `type` to an item's type. `messages`,
    `reasoning`, `approvals` and `trailing` are types; `calls` those that the caller
    runs, each with a path and the values it must have there. `phase`, `text`,
    `refusal`, `thoughts`, `call_id`, `name`, `arguments` and `answers` are paths into
    an item; `citations`, `images` and `files` into the list of all, and `sources` and
    `elsewhere` (a text beside the items) into the object. `waits`: words of a status.
    """

    items: tuple[str, ...]
    inner: tuple[str, ...]
    type: tuple[str, ...]
    messages: tuple[str, ...]
    phase: tuple[str, ...]
    text: tuple[str, ...]
    refusal: tuple[str, ...]
    citations: tuple[str, ...]
    sources: tuple[str, ...]
    reasoning: tuple[str, ...]
    thoughts: tuple[str, ...]
    calls: tuple[tuple[str, str, tuple[str, ...]], ...]
    approvals: tuple[str, ...]
    call_id: tuple[str, ...]
    name: tuple[str, ...]
    arguments: tuple[str, ...]
    answers: tuple[str, ...]
    images: tuple[str, ...]
    files: tuple[str, ...]
    data: tuple[str, ...]
    format: tuple[str, ...]
    trailing: tuple[str, ...]
    waits: tuple[str, ...]
    usage: tuple[str, ...]
    elsewhere: tuple[str, ...]


class TextEvents(NamedTuple):
    """Which events tell text, and where in them it is."""

    events: tuple[str, ...]
    text: tuple[str, ...]


class Streaming(NamedTuple):
    """How events are named, numbered, resumed and ended; idle limits in seconds.

    `resume` is query:NAME or header:NAME, `start` what it says where nothing was seen.
    `delta` extends the text of a `part`, `full` replaces it; `refusal` and `refused` do
    so with a refusal. `response` is where an event carries the whole response object,
    `item` an item of its answer: `begun` are events that tell its beginning, `grown`
    those that tell more of it, piece by piece.
    """

    event: tuple[str, ...]
    cursor: tuple[str, ...]
    resume: str
    start: str
    delta: TextEvents
    full: TextEvents
    refusal: TextEvents
    refused: TextEvents
    part: tuple[str, ...]
    response: tuple[str, ...]
    item: tuple[str, ...]
    begun: tuple[str, ...]
    grown: tuple[str, ...]
    end: tuple[str, ...]
    attach: str
    idle_bytes: float
    idle_events: float


class Include(NamedTuple):
    """How what a request asked to be included is asked for again, with its answer.

    `query` is the parameter, "" where there is none; `never` are values that are
    refused there.
    """

    query: str
    never: tuple[str, ...]

    def again(self, asked: Iterable[str]) -> dict[str, list[str]]:
        """Return the query that asks again for what a request asked for."""
        values = [value for value in asked if value not in self.never]
        return {self.query: values} if self.query and values else {}


class Limits(NamedTuple):
    """Pace, retention and maximum run in seconds (0: unknown), rate in requests/s.

    `tiers` are pairs: up to this age of a job, that many seconds between polls; older
    ones are asked every poll[1]. `poll` bounds them all.
    """

    poll: tuple[float, float]
    tiers: tuple[tuple[float, float], ...]
    rate: float
    connections: int
    streams: int
    retention_stored: float
    retention_unstored: float
    max_run: float
    advisory_cancel: bool
    idempotency: str


class Dialect(NamedTuple):
    """Everything that differs between endpoints."""

    name: str
    base_url: str
    auth: Auth
    headers: Mapping[str, str]
    query: Mapping[str, str]
    require: tuple[str, ...]
    ops: Mapping[str, Op]
    body: Mapping[str, Any]
    stream_body: Mapping[str, Any]
    reads: Reads
    items: Items
    answers: Mapping[str, Any]
    include: Include
    webhook: Mapping[str, str]
    states: Mapping[str, Status]
    streaming: Streaming
    limits: Limits

    @property
    def takes_webhook(self) -> bool:
        """Say whether a request may name a URL that is told of its job's end."""
        return bool(self.webhook["url"])

    @property
    def carries(self) -> frozenset[str]:
        """Return which PARTS of a request its body has a place for."""
        found = holes(self.body)
        return frozenset(part for part, hole in PARTS.items() if hole in found)

    @property
    def attach(self) -> str:
        """Return which jobs can be streamed after their creation: one of ATTACH."""
        return self.streaming.attach if "stream" in self.ops else "never"

    @property
    def needs(self) -> tuple[str, ...]:
        """Return the variables without which no request is whole, whatever its URL."""
        in_paths = variables([op.path.partition("?")[0] for op in self.ops.values()])
        return tuple(dict.fromkeys([*self.require, *in_paths]))


def variables(tree: Any) -> list[str]:
    """Return the NAME of each {var.NAME} in the texts of a tree, sorted."""
    found = sorted(holes(tree))
    return [name.removeprefix(VAR) for name in found if name.startswith(VAR)]


def holes(tree: Any) -> set[str]:
    """Return the names of all `{name}` in the texts of a tree."""
    return {hole for text in _texts(tree) for hole in HOLE.findall(text)}


def unclosed(tree: Any) -> str | None:
    """Return the first `{name` in the texts of a tree that no brace closes."""
    found = (re.search(_HALF, text) for text in _texts(tree))
    return next((half[0] for half in found if half), None)


def _texts(tree: Any) -> Iterator[str]:
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, Mapping | list):
        for branch in tree.values() if isinstance(tree, Mapping) else tree:
            yield from _texts(branch)


def fill(template: Any, values: Mapping[str, Any]) -> Any:
    """Fill `{name}` holes in a tree.

    An entry with an unset hole is left out, and a table or list of which nothing is
    left; an item of a list with an unset hole goes whole: a message without its content
    says nothing. A text that is one hole and nothing else keeps the JSON type of its
    value.
    """
    if isinstance(template, Mapping):
        filled = {key: fill(value, values) for key, value in template.items()}
        return {k: v for k, v in filled.items() if _says(v, template[k])}
    if isinstance(template, list):
        return [fill(item, values) for item in template if _is_set(item, values)]
    if not isinstance(template, str):
        return template
    whole = HOLE.fullmatch(template)
    if whole:
        return values.get(whole[1])
    if any(values.get(name) is None for name in HOLE.findall(template)):
        return None
    return HOLE.sub(lambda hole: str(values[hole[1]]), template)


def _says(filled: Any, template: Any) -> bool:
    """Say whether something is left of an entry; what was empty may stay so."""
    if filled is None or filled == "":
        return False
    emptied = isinstance(template, Mapping | list) and template and not filled
    return not emptied


def _is_set(item: Any, values: Mapping[str, Any]) -> bool:
    """Say whether an item of a list has a value in each of its holes."""
    if isinstance(item, Mapping):
        return all(_is_set(value, values) for value in item.values())
    filled = fill(item, values)
    return filled == "" or _says(filled, item)


def target(op: Op, values: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    """Return the path and query of an operation; every value is percent-encoded.

    Dots are encoded too where they alone make up a value: `..` must stay an id.
    """
    path, _, query = op.path.partition("?")
    encoded = {name: encode(str(v)) for name, v in values.items() if v is not None}
    pairs = (pair.partition("=") for pair in query.split("&") if pair)
    wanted = {name: fill(value, values) for name, _, value in pairs}
    filled = HOLE.sub(lambda hole: encoded.get(hole[1], ""), path)
    return filled, {name: str(v) for name, v in wanted.items() if v is not None}


def encode(value: str) -> str:
    """Percent-encode one path segment, dot segments too."""
    quoted = quote(value, safe="", errors="surrogatepass")
    return quoted.replace(".", "%2E") if set(value) <= {"."} else quoted


@lru_cache(maxsize=512)
def path_steps(path: str) -> tuple[PathStep, ...]:
    """Split a path into steps; ValueError when it is not one."""
    found: list[PathStep] = []
    at = 0
    while at < len(path):
        match = _STEP.match(path, at)
        if not match:
            raise ValueError(f"not a path: {path!r}")
        name, every, key, value = match.groups()
        if name is not None:
            found.append(("name", name, ""))
        else:
            found.append(("all", "", "") if every else ("where", key, value))
        at = match.end()
    return tuple(found)


def is_name(path: str) -> bool:
    """Say whether a path is a single key."""
    return re.fullmatch(r"[^.:\[\]]+", path) is not None


def values_at(document: Any, path: str) -> Iterator[Any]:
    """Yield each value that the path reaches."""
    yield from _reader(path)(document)


@lru_cache(maxsize=512)
def _reader(path: str) -> Callable[[Any], Iterable[Any]]:
    """Return what reads a path; one of names alone, as most are, looks straight."""
    found = path_steps(path)
    if any(kind != "name" for kind, _, _ in found):
        return lambda document: _walked(document, found)
    names = tuple(name for _, name, _ in found)

    def read(document: Any) -> Iterable[Any]:
        reached = document
        for name in names:
            is_table = type(reached) is dict or isinstance(reached, Mapping)
            if not is_table or name not in reached:
                return ()
            reached = reached[name]
        return (reached,)

    return read


def _walked(document: Any, found: tuple[PathStep, ...]) -> Iterable[Any]:
    reached: Iterable[Any] = (document,)
    for kind, name, value in found:
        reached = _advance(tuple(reached), kind, (name, value))
    return reached


def first_at(document: Any, paths: Iterable[str]) -> Any:
    """Return the first value that is neither missing nor null nor empty text."""
    for path in paths:
        for value in _reader(path)(document):
            if value is not None and value != "":
                return value
    return None


def text_at(document: Any, paths: Iterable[str]) -> str | None:
    """Join the strings of the first path that reaches any; None when none does."""
    for path in paths:
        strings = [
            value for value in values_at(document, path) if isinstance(value, str)
        ]
        if strings and any(strings):
            return "".join(strings)
    return None


def _advance(values: tuple[Any, ...], kind: str, arg: tuple[str, str]) -> Iterator[Any]:
    for value in values:
        if kind == "name":
            if isinstance(value, Mapping) and arg[0] in value:
                yield value[arg[0]]
        elif isinstance(value, list):
            for item in value:
                if kind == "all" or _matches(item, arg):
                    yield item


def _matches(item: Any, arg: tuple[str, str]) -> bool:
    return isinstance(item, Mapping) and str(item.get(arg[0])) == arg[1]
