"""A request as its user means it, rendered as a dialect writes it; pure.

Files are parts of a message, in the words of the Responses API; `{{name}}` in a text
is a hole that --var fills.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any, Final, NamedTuple

from bgresp.core.dialect import HOLE, PARTS, Dialect, fill, holes
from bgresp.core.errors import RefusedError, UsageError
from bgresp.core.model import INCLUDE, NOTHING, Job, check_names
from bgresp.core.output import Answer, Call
from bgresp.core.text import MAX_DEPTH, one_line, parse_json

MAX_PROMPT: Final = 10_485_760  # characters: the Open Responses schema's cap
MAX_PAIRS: Final = 16
MAX_NAME: Final = 64
MAX_VALUE: Final = 512
OURS: Final = "bgresp_key"
MAX_BYTES: Final = 50_000_000  # of all files of a request: OpenAI's guide "File inputs"
_DRAWN: Final = frozenset({"image/svg+xml"})  # is text: no model takes it as an image
_VARIABLE: Final = re.compile(r"\{\{\s*([A-Za-z_][A-Za-z0-9_.-]*)\s*\}\}")

Part = Mapping[str, Any]
# What a part of a request is asked for with, by the hole that takes it.
ASKED_BY: Final[Mapping[str, str]] = {
    "model": "--model",
    "input": "the prompt",
    "text": "the prompt",
    "instructions": "--system",
    "previous": "--previous",
    "metadata": "--metadata",
    "tools": "--tool",
    "schema": "--schema",
    "max_output_tokens": "--max-output-tokens",
}


class Request(NamedTuple):
    """What is asked: a prompt, or a raw body that is sent as it is.

    `schema` is a whole `text.format`; `answers` are the items that answer calls and
    approvals of the job before; `variables` fill `{{name}}` in the prompt, the
    instructions and the texts of the body, and without any these are taken as they are.
    """

    text: str | None = None
    model: str | None = None
    instructions: str | None = None
    previous_id: str | None = None
    metadata: Mapping[str, str] = NOTHING
    attachments: tuple[Part, ...] = ()
    tools: tuple[Mapping[str, Any], ...] = ()
    schema: Mapping[str, Any] | None = None
    max_output_tokens: int | None = None
    body: Mapping[str, Any] | None = None
    changes: tuple[tuple[str, Any], ...] = ()
    answers: tuple[Mapping[str, Any], ...] = ()
    variables: Mapping[str, str] = NOTHING


def checked_prompt(text: str, shown: str) -> str:
    """Return a prompt; refuse one that is empty, too long, or no text.

    `shown` says where it is from. Raises UsageError.
    """
    if not text.strip():
        raise UsageError(f"{shown}: the prompt is empty")
    if len(text) > MAX_PROMPT:
        raise UsageError(f"{shown}: the prompt is longer than {MAX_PROMPT} characters")
    if "\x00" in text:
        raise UsageError(f"{shown}: the prompt has NUL bytes: not a text file")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise UsageError(f"{shown}: the prompt is not UTF-8") from None
    return text


def render(request: Request, dialect: Dialect, vars_: Mapping[str, str]) -> Any:
    """Return the body to send, without the local key.

    A raw body wins over what the dialect writes, `changes` over both. `background` and
    `store` are always explicit where the dialect has them. Raises UsageError when the
    request cannot be written so, RefusedError that names what the dialect cannot carry.
    """
    asked = _filled(request)
    values = _values(asked)
    _check_carried(request, values, dialect)
    variables = {f"var.{name}": value for name, value in vars_.items()}
    body = fill(dialect.body, {**variables, **values}) or {}
    raw = deepcopy(dict(asked.body or {}))  # requests may share one
    body = _over(dialect.body, body, raw)
    for path, value in asked.changes:
        assign(body, path, value)
    _check_metadata(body.get("metadata"))
    return body


def check_clashes(request: Request, dialect: Dialect) -> None:
    """Refuse a request that says one thing twice: by an option, and raw.

    A `--set` deeper than an option's place only refines it. Raises UsageError.
    """
    if not (request.body or request.changes):
        return
    values = _values(request)
    for name, place in _places(dialect.body, ()):
        if values.get(name) is None:
            continue
        option = ASKED_BY[name]
        if name in {"input", "text"} and (request.attachments or request.answers):
            option = "--tool-output" if request.answers else "--attach"
        if _has(request.body or {}, place):
            raise UsageError(f"{option} and --body both give {'.'.join(place)!r}")
        if any(_holds(path, place) for path, _ in request.changes):
            raise UsageError(f"{option} and --set both give {'.'.join(place)!r}")


def unused(requests: Iterable[Request]) -> list[str]:
    """Return the variables that no text of any of the requests has a hole for."""
    given: dict[str, None] = {}
    used: set[str] = set()
    for request in requests:
        given |= dict.fromkeys(request.variables)
        used |= holes_in([request.text, request.instructions, request.body])
    return [name for name in given if name not in used]


def assign(body: dict[str, Any], path: str, value: Any) -> None:
    """Set a value deep in a body: `reasoning.effort`.

    Raises UsageError when the path crosses something that is no object.
    """
    *parents, last = path.split(".")
    if not all([*parents, last]) or len(parents) > MAX_DEPTH:
        raise UsageError(f"--set takes PATH=VALUE, not {path[:80]!r}")
    place = body
    for name in parents:
        place = place.setdefault(name, {})
        if not isinstance(place, dict):
            raise UsageError(f"--set {path}: {name!r} is not an object")
    place[last] = value


def digest(body: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a body, without the local key, however it is ordered."""
    metadata = body.get("metadata")
    plain = dict(body)
    if isinstance(metadata, Mapping) and OURS in metadata:
        plain["metadata"] = {k: v for k, v in metadata.items() if k != OURS}
    text = json.dumps(plain, ensure_ascii=True, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()


def _filled(request: Request) -> Request:
    """Fill the templates; without variables there are none."""
    if not request.variables:
        return request
    text, instructions, body = fill_holes(
        [request.text, request.instructions, request.body], request.variables
    )
    if text is not None and not text.strip():
        raise UsageError("the filled prompt is empty")
    if text is not None and len(text) > MAX_PROMPT:
        raise UsageError(f"the filled prompt is longer than {MAX_PROMPT} characters")
    return request._replace(text=text, instructions=instructions, body=body)


def _values(request: Request) -> dict[str, Any]:
    """Return what fills the holes of a body, by their names."""
    message: Any = message_of(request.text, request.attachments)
    text: Any = request.text
    if request.answers:
        said = [] if text is None else [{"type": "text", "text": text}]
        spoken = message if message[0]["content"] else []
        message, text = [*request.answers, *spoken], [*request.answers, *said]
    is_list = request.attachments or request.answers
    return {
        "model": request.model,
        "input": message if is_list else request.text,
        "text": text,
        "instructions": request.instructions,
        "previous": request.previous_id,
        "metadata": dict(request.metadata) or None,
        "tools": [dict(tool) for tool in request.tools] or None,
        "schema": deepcopy(request.schema),  # --set may refine it
        "max_output_tokens": request.max_output_tokens,
    }


def _check_carried(
    request: Request, values: Mapping[str, Any], dialect: Dialect
) -> None:
    """Refuse what would be left out in silence."""
    for part, hole in PARTS.items():
        asked = request.attachments if part == "attach" else values[hole]
        if asked and part not in dialect.carries:
            option = "--attach" if part == "attach" else ASKED_BY[hole]
            raise RefusedError(
                f"{dialect.name} cannot carry {option}",
                hint="--set and --body take the endpoint's own words",
            )


def _places(tree: Any, at: tuple[str, ...]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the holes of a body's template, each with its path to the nearest list."""
    if isinstance(tree, Mapping):
        for name, below in tree.items():
            yield from _places(below, (*at, name))
    elif isinstance(tree, list):
        yield from ((hole, at) for item in tree for hole, _ in _places(item, ()))
    elif isinstance(tree, str):
        yield from ((hole, at) for hole in HOLE.findall(tree))


def _over(shape: Any, filled: dict[str, Any], raw: dict[str, Any]) -> dict[str, Any]:
    """Merge a raw body over a filled one, as deep as the dialect's template goes."""
    for name, value in raw.items():
        below = shape.get(name)
        old = filled.get(name)
        if all(isinstance(item, Mapping) for item in (below, old, value)):
            filled[name] = _over(below, dict(filled[name]), value)
        else:
            filled[name] = value
    return filled


def _has(body: Any, place: tuple[str, ...]) -> bool:
    """Say whether a raw body has its own word on what stands at a place."""
    for name in place:
        if not isinstance(body, Mapping):
            return True
        if name not in body:
            return False
        body = body[name]
    return True


def _holds(path: str, place: tuple[str, ...]) -> bool:
    """Say whether a --set of a path replaces what stands at a place."""
    steps = tuple(path.split("."))
    return place[: len(steps)] == steps


def keyed(body: Mapping[str, Any], dialect: Dialect, key: str) -> bytes:
    """Return a body as it is sent: with our key where the dialect has metadata."""
    sent = dict(body)
    if dialect.body.get("metadata") == "{metadata}":
        sent["metadata"] = {**(sent.get("metadata") or {}), OURS: key}
    return json.dumps(sent, ensure_ascii=True, separators=(",", ":")).encode()


def _check_metadata(metadata: Any) -> None:
    """Refuse what OpenAI's API refuses (WIRE.md 1.12), before anything is sent."""
    if metadata is None:
        return
    if not isinstance(metadata, Mapping):
        raise UsageError("metadata must be an object of texts")
    if OURS in metadata:
        raise UsageError(f"metadata {OURS!r}: the name is bgresp's own")
    if len(metadata) + 1 > MAX_PAIRS:
        raise UsageError(
            f"metadata takes {MAX_PAIRS} pairs, and one of them is {OURS}",
            hint=f"give {MAX_PAIRS - 1} at most",
        )
    for name, value in metadata.items():
        if not isinstance(value, str) or len(value) > MAX_VALUE:
            said = f"must be text of {MAX_VALUE} characters at most"
            raise UsageError(f"metadata {name!r} {said}")
        if not 0 < len(name) <= MAX_NAME:
            raise UsageError(f"metadata {name[:80]!r}: {MAX_NAME} characters at most")


def file_part(name: str, kind: str, data: bytes) -> Part:
    """Return the part that carries a file of a media type as a data URL."""
    url = f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
    if _is_image(kind):
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    shown = name.encode("utf-8", "replace").decode("utf-8")
    return {"type": "input_file", "filename": shown, "file_data": url}


def url_part(url: str, kind: str) -> Part:
    """Return the part that names a URL, which the endpoint fetches itself."""
    if _is_image(kind):
        return {"type": "input_image", "image_url": url, "detail": "auto"}
    return {"type": "input_file", "file_url": url}


class CallReply(NamedTuple):
    """What a user answers to a call (`text`) or to an approval (`approve`).

    Without `call_id` it is for the one that waits.
    """

    call_id: str | None
    text: str = ""
    approve: bool | None = None

    @property
    def option(self) -> str:
        """Return what was typed."""
        if self.approve is None:
            return "--tool-output"
        return "--approve" if self.approve else "--deny"


def named_call(given: str, answer: Answer) -> tuple[str | None, str]:
    """Split `CALL_ID=TEXT` where the left is a call that waits; else all is text."""
    id_, mark, text = given.partition("=")
    if mark and any(call.call_id == id_ for call in answer.calls):
        return id_, text
    return None, given


def answers_to(
    ref: str, answer: Answer, replies: Sequence[CallReply], dialect: Dialect
) -> tuple[Mapping[str, Any], ...]:
    """Return the items that answer what the job `ref` ended with, in its order.

    Every call needs its output. Raises UsageError where a reply fits nothing that
    waits, RefusedError where the dialect has no words for it.
    """
    found: dict[tuple[str, str], CallReply] = {}
    for reply in replies:
        call = _meant(ref, answer, reply)
        if found.setdefault((call.type, call.call_id), reply) is not reply:
            raise UsageError(f"{reply.option}: {call.call_id} is answered twice")
    for call in answer.calls:
        if (call.type, call.call_id) not in found:
            raise UsageError(
                f"{ref} waits for {len(answer.calls)} calls, and {call.call_id} "
                f"({call.name}) has no output",
                hint=f"--tool-output {call.call_id}=TEXT",
            )
    waiting = {(c.type, c.call_id): c for c in (*answer.calls, *answer.approvals)}
    return tuple(
        _item(call, found[key], dialect)
        for key, call in waiting.items()
        if key in found
    )


def _meant(ref: str, answer: Answer, reply: CallReply) -> Call:
    """Return the call or approval that a reply is for."""
    is_output = reply.approve is None
    waiting = answer.calls if is_output else answer.approvals
    what = "call" if is_output else "approval"
    if not waiting:
        raise UsageError(
            f"{reply.option}: {ref} waits for no {what}",
            hint=f"bgresp get {ref} --part tools",
        )
    fitting = [call for call in waiting if reply.call_id in {None, call.call_id}]
    if len({(call.type, call.call_id) for call in fitting}) == 1:
        return fitting[0]  # an endpoint that gives an id twice takes one answer to it
    there = ", ".join(f"{call.call_id} ({call.name})" for call in waiting)
    if fitting:
        raise UsageError(f"{reply.option}: which of {there}? name its id")
    raise UsageError(
        f"{reply.option}: {ref} has no {what} {reply.call_id}; it waits for {there}"
    )


def _item(call: Call, reply: CallReply, dialect: Dialect) -> Mapping[str, Any]:
    if not call.call_id:
        raise RefusedError(
            f"{reply.option}: {call.name} has no id to answer to",
            hint="--body takes the endpoint's own words",
        )
    template = dialect.answers.get(call.type)
    if template is None:
        raise RefusedError(
            f"{dialect.name} cannot carry {reply.option} for {call.type}",
            hint="--body takes the endpoint's own words",
        )
    values = {
        "call_id": call.call_id,
        "name": call.name,
        "output": reply.text,
        "approve": reply.approve,
    }
    if "json" in holes(template):
        try:
            values["json"] = parse_json(reply.text)
        except ValueError as error:
            said = f"--tool-output for {call.type}: not JSON ({str(error)[:80]})"
            raise UsageError(said) from None
    item: Mapping[str, Any] = _written(template, values)
    return item


def _written(template: Any, values: Mapping[str, Any]) -> Any:
    """Fill the holes of a tree; an empty text stays, it may be what a tool said."""
    if isinstance(template, Mapping):
        return {name: _written(value, values) for name, value in template.items()}
    if isinstance(template, list):
        return [_written(value, values) for value in template]
    hole = HOLE.fullmatch(template) if isinstance(template, str) else None
    return values[hole[1]] if hole else template


def message_of(text: str | None, parts: Sequence[Part]) -> list[dict[str, Any]]:
    """Return an input of one message: the attachments, then what is asked of them."""
    content = [dict(part) for part in parts]
    if text is not None:
        content.append({"type": "input_text", "text": text})
    return [{"type": "message", "role": "user", "content": content}]


def _is_image(kind: str) -> bool:
    return kind.startswith("image/") and kind not in _DRAWN


def holes_in(value: Any) -> frozenset[str]:
    """Return the names of the holes in a text, or in the texts of a JSON value."""
    if isinstance(value, str):
        return frozenset(_VARIABLE.findall(value))
    if isinstance(value, Mapping):
        value = list(value.values())
    if isinstance(value, list | tuple):
        return frozenset().union(*map(holes_in, value))
    return frozenset()


def fill_holes(value: Any, variables: Mapping[str, str]) -> Any:
    """Fill the holes of a text, or of the texts of a JSON value; keys stay.

    Values are not filled again: `--var x='{{y}}'` gives `{{y}}`.

    Raises UsageError that names the first hole nobody gave a value for.
    """
    if isinstance(value, str):
        return _VARIABLE.sub(lambda hole: _given(hole[1], variables), value)
    if isinstance(value, Mapping):
        return {key: fill_holes(item, variables) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [fill_holes(item, variables) for item in value]
    return value


def _given(name: str, variables: Mapping[str, str]) -> str:
    if name not in variables:
        raise UsageError(
            f"{{{{{name}}}}} is not set", hint=f"--var {name}=VALUE; or give no --var"
        )
    return variables[name]


class Draft(NamedTuple):
    """A request ready to be sent: the record it starts as, and its body."""

    job: Job
    body: dict[str, Any]
    stream: bool = False
    keep: bool = True


def drafted(
    job: Job, request: Request, dialect: Dialect, *, stream: bool = False
) -> Draft:
    """Return the draft of a request; `job` says where it goes and what it is called.

    Raises UsageError, RefusedError: nothing may be sent then, as where the request
    would become no background job.
    """
    check_names(job)
    body: dict[str, Any] = render(request, dialect, job.vars)
    _check_background(body, dialect)
    _check_no_secret(body, dialect)
    stream = stream and "stream" in dialect.ops
    if stream:
        body |= dialect.stream_body
    elif body.get("stream") is True:
        raise UsageError("a body with stream: true needs --stream or --watch")
    model = body.get("model")
    kept: dict[str, Any] = {"store": False} if body.get("store") is False else {}
    if included := _included(body):
        kept[INCLUDE] = included
    asked = model if isinstance(model, str) else request.model
    record = job._replace(
        model=asked,
        model_asked=asked,
        previous_id=request.previous_id,
        streamable=stream,
        request_sha256=digest(body),
        extra={**job.extra, **kept},
    )
    return Draft(record, body, stream=stream)


def _check_background(body: Mapping[str, Any], dialect: Dialect) -> None:
    """Refuse a request that would be paid for, and leave nothing to ask for."""
    if dialect.body.get("background") is True and body.get("background") is not True:
        said = json.dumps(body.get("background"))
        raise UsageError(
            f"background: {said} makes no background job: nothing could be asked for",
            hint="leave `background` out; it is always true here",
        )


def _check_no_secret(body: Mapping[str, Any], dialect: Dialect) -> None:
    """Refuse a secret in a request: what was asked is kept, and may be in argv."""
    name = dialect.webhook["secret"]
    if name and name in body:
        raise UsageError(
            f"{name}: a request is kept, and a secret must not be",
            hint="--webhook-url URL --webhook-secret-env NAME, or both in a profile",
        )


def _included(body: Mapping[str, Any]) -> list[str]:
    """Return what a request asks to be included with its answer."""
    asked = body.get(INCLUDE)
    if not isinstance(asked, list):
        return []
    return [value for value in asked if isinstance(value, str)]


# What a request has that is told under a name of its own, or by the job.
_TOLD: Final = frozenset(
    {
        *("input", "instructions", "model", "background", "store", "stream"),
        *("metadata", "previous_response_id"),
    }
)


class StoredRequest(NamedTuple):
    """What a stored request says: its prompt, instructions, attachments, the rest."""

    prompt: str | None = None
    instructions: str | None = None
    attachments: tuple[str, ...] = ()
    options: str = ""


def read_request(body: dict[str, Any]) -> StoredRequest:
    """Return what a request asks, whatever the endpoint calls it."""
    texts, attachments = list[str](), list[str]()
    given = body.get("input", body.get("prompt", body.get("messages")))
    for text, is_text in _parts_of(given):
        (texts if is_text else attachments).append(text)
    rest = {name: value for name, value in body.items() if name not in _TOLD}
    instructions = body.get("instructions")
    return StoredRequest(
        "\n\n".join(texts) or None,
        instructions if isinstance(instructions, str) else None,
        tuple(attachments),
        ", ".join(f"{name}={_brief(value)}" for name, value in rest.items()),
    )


def _parts_of(given: Any) -> Iterator[tuple[str, bool]]:
    """Yield the texts of an input, and what is attached to it by its name."""
    if isinstance(given, str):
        yield given, True
    elif isinstance(given, list):
        for item in given:
            yield from _parts_of(item)
    elif isinstance(given, dict):
        if "content" in given:
            yield from _parts_of(given["content"])
        elif isinstance(given.get("text"), str):
            yield given["text"], True
        else:
            name = given.get("filename") or given.get("file_url")
            name = name or given.get("image_url") or given.get("file_id") or ""
            said = str(name) if not str(name).startswith("data:") else "inline"
            yield f"{given.get('type', 'item')} {one_line(said, limit=80)}", False


def _brief(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return one_line(text, limit=80)
