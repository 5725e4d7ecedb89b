"""What an answer consists of: text, refusal, calls, approvals, images, files.

An answer is a list of items, and its text is a view of them. Where they stand is the
dialect's data (core.dialect.Items); an item of a type that nobody knows is told by its
name, and waits for nobody. At the end of the module: what a stream tells beside the
text, for people.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeGuard

from bgresp.core.dialect import (
    HTTP_STATUS,
    Dialect,
    Items,
    first_at,
    text_at,
    values_at,
)
from bgresp.core.model import EndedWith
from bgresp.core.text import one_line

FINAL: Final = "final_answer"  # the phase of the messages that are the answer
JOINT: Final = "\n\n"  # between messages
MOST_TOLD: Final = 200  # code points of what is kept of an ending, for a line
MOST_REFUSED: Final = 4096
REASONING: Final = "reasoning"
TOOLS: Final = "tools"
COMMENTARY: Final = "commentary"
KINDS: Final = (REASONING, TOOLS, COMMENTARY)
LARGEST: Final = 1 << 20  # bytes of an event that is looked into
# Compiled when first needed: few look into events, or for code.
_TOLD: Final = (
    r'"(?:response\.(?:reasoning_(?:summary_)?text\.done|output_item\.(?:added|done)'
    r')|(?:step|content)\.(?:start|delta))"'
)
_FENCE: Final = r"( *)(`{3,}(?=[^`\n]*$)|~{3,})"
_LINE_ENDS: Final = r"(?<=\n)"
# Where items say what they are about, whatever it is called.
_ABOUT: Final = (
    *("arguments", "input", "code", "query", "queries", "command", "commands"),
    *("operation", "action", "path", "prompt", "revised_prompt", "tools", "output"),
    *("outputs", "results", "result", "stdout", "text", "name"),
)


class Call(NamedTuple):
    """A call that waits for its caller's output, or an approval that is asked for.

    `call_id` is what an answer to it names; `arguments` is text, or JSON as it came.
    """

    type: str
    call_id: str
    name: str
    arguments: Any = None

    def to_dict(self) -> dict[str, Any]:
        """Return the line of `--part tools`."""
        told = {"type": self.type, "call_id": self.call_id, "name": self.name}
        return {**told, "arguments": self.arguments}

    def hiding(self, hide: Callable[[str], str]) -> "Call":
        """Return it with its texts made safe; arguments that had to be are a text."""
        said = _compact(self.arguments)
        hidden = hide(said)
        return self._replace(
            call_id=hide(self.call_id),
            name=hide(self.name),
            arguments=self.arguments if hidden == said else hidden,
        )

    def __str__(self) -> str:
        """Return `name(arguments)` on one line."""
        return f"{self.name}({_compact(self.arguments)})"


class Media(NamedTuple):
    """An image, or a file: `data` is base64 where it came with the answer.

    Else `id` is the file's, in the `container` of a code interpreter; `format` is an
    end of names or a media type.
    """

    format: str = ""
    data: str | None = None
    id: str | None = None
    container: str | None = None
    name: str | None = None


class Answer(NamedTuple):
    """What an answer consists of.

    `calls` and `approvals` are those that wait. `last` is the number of the item whose
    text, `last_text`, is the end of `text`; `plain` is all text without joints, as it
    was once shown. `types` are the items' types, in their order.
    """

    text: str = ""
    refusal: str = ""
    calls: tuple[Call, ...] = ()
    approvals: tuple[Call, ...] = ()
    images: tuple[Media, ...] = ()
    files: tuple[Media, ...] = ()
    citations: tuple[Any, ...] = ()
    reasoning: str = ""
    commentary: str = ""
    ended_with: EndedWith = EndedWith.NOTHING
    last: int | None = None
    last_text: str = ""
    plain: str = ""
    types: tuple[str, ...] = ()

    def with_text(self, text: str) -> "Answer":
        """Return it with a text that stands elsewhere, where it has none."""
        if self.text or not text:
            return self
        weak = self.ended_with in {EndedWith.MEDIA, EndedWith.NOTHING}
        how = EndedWith.TEXT if weak else self.ended_with
        return self._replace(text=text, plain=text, ended_with=how)

    def hiding(self, hide: Callable[[str], str]) -> "Answer":
        """Return it with what a record takes of it made safe; its text is as it was."""
        if self.ended_with is EndedWith.TEXT and not self.refusal:
            return self  # nothing is told of it
        return self._replace(
            refusal=hide(self.refusal),
            calls=tuple(call.hiding(hide) for call in self.calls),
            approvals=tuple(call.hiding(hide) for call in self.approvals),
            types=tuple(map(hide, self.types)),
        )

    @property
    def told(self) -> str:
        """Return how it ended, where that is not its text alone: a short line.

        It goes on from a status: `completed without text: calls now({})`.
        """
        said = self._ending()
        if not said:
            return ""
        with_ = "with text, and" if self.text else "without text:"
        return one_line(f"{with_} {said}", limit=MOST_TOLD)

    def _ending(self) -> str:
        how = self.ended_with
        if how is EndedWith.REFUSAL:
            return f"the model refused: {self.refusal}"
        if how is EndedWith.APPROVAL:
            return f"wants approval: {_listed(self.approvals)}"
        if how is EndedWith.CALLS:
            return f"calls {_listed(self.calls) or 'something that cannot be read'}"
        if how is EndedWith.MEDIA:
            return " and ".join(_counted(self.images, "image", self.files, "file"))
        if how is EndedWith.TEXT:
            return ""
        types = ", ".join(dict.fromkeys(self.types))
        kinds = "commentary" if self.commentary else types
        return f"only {kinds}" if kinds else "it is empty"


def read_parts(dialect: Dialect, payload: Mapping[str, Any]) -> Answer:
    """Return what a response object's answer consists of, whatever its status."""
    word = status_word(dialect, payload, None)
    return read_answer(dialect.items, payload, word=word or "")


def status_word(
    dialect: Dialect, payload: Mapping[str, Any], http_status: int | None
) -> str | None:
    """Return the first word that the dialect knows, else the first there is."""
    words = []
    for path in dialect.reads.status:
        found: Any = http_status
        if path != HTTP_STATUS:
            found = first_at(payload, (path,))
        elif found is not None:
            found = str(found)
        if isinstance(found, str):
            words.append(found)
    known = (word for word in words if word in dialect.states)
    return next(known, words[0] if words else None)


def read_answer(items: Items, payload: Any, *, word: str = "") -> Answer:
    """Read a response object; `word` is the endpoint's for its status.

    Total: what cannot be read is left out.
    """
    found = list(_items(items, payload))
    kinds = [_kind(items, item) for item in found]
    messages = [
        _message(items, item, number)
        for number, item in enumerate(found)
        if kinds[number] in items.messages
    ]
    final = [m for m in messages if m.is_final and (m.text or m.refusal)]
    waiting = list(_waiting(items, found, kinds, final, forced=word in items.waits))
    calls = tuple(call for call in waiting if call.type not in items.approvals)
    approvals = tuple(call for call in waiting if call.type in items.approvals)
    texts = [message for message in final if message.text]
    answer = Answer(
        text=JOINT.join(message.text for message in texts),
        refusal=JOINT.join(m.refusal for m in messages if m.refusal),
        calls=calls,
        approvals=approvals,
        images=tuple(_media(items, found, items.images)),
        # A file may be cited more than once.
        files=tuple(dict.fromkeys(_media(items, found, items.files))),
        citations=tuple(_citations(items, found, payload)),
        reasoning=JOINT.join(_thoughts(items, found, kinds)),
        commentary=JOINT.join(m.text for m in messages if m.text and not m.is_final),
        last=texts[-1].number if texts else None,
        last_text=texts[-1].text if texts else "",
        plain="".join(message.text for message in messages),
        types=tuple(kind for kind in kinds if kind),
    )
    if not any(m.text or m.refusal or not m.is_final for m in messages):
        text = text_at(payload, items.elsewhere) or ""
        answer = answer._replace(text=text, plain=text)
    refused = bool(final and final[-1].refusal)
    called = bool(calls) or word in items.waits
    return answer._replace(ended_with=_ended_with(answer, refused, called))


def _ended_with(answer: Answer, refused: bool, called: bool) -> EndedWith:
    if refused:
        return EndedWith.REFUSAL
    if answer.approvals:
        return EndedWith.APPROVAL
    if called:
        return EndedWith.CALLS
    if answer.text:
        return EndedWith.TEXT
    has_media = answer.images or answer.files
    return EndedWith.MEDIA if has_media else EndedWith.NOTHING


def is_commentary(items: Items, item: Any) -> bool:
    """Say whether an item's text is none of the answer's."""
    is_message = _kind(items, item) in items.messages
    return is_message and not is_final(first_at(item, items.phase))


class _Message:
    __slots__ = ("is_final", "number", "refusal", "text")

    def __init__(self, number: int, text: str, refusal: str, *, is_final: bool) -> None:
        self.number = number
        self.text = text
        self.refusal = refusal
        self.is_final = is_final


def is_final(phase: Any) -> bool:
    """Say whether a message of a phase is the answer's: also one of no phase."""
    return phase == FINAL or not (isinstance(phase, str) and phase)


def _message(items: Items, item: Any, number: int) -> _Message:
    return _Message(
        number,
        text_at(item, items.text) or "",
        text_at(item, items.refusal) or "",
        is_final=is_final(first_at(item, items.phase)),
    )


def _items(items: Items, payload: Any) -> Iterator[Mapping[str, Any]]:
    """Yield the items, and those that stand inside of one after it."""
    for path in items.items:
        reached = values_at(payload, path)
        found = [item for item in reached if isinstance(item, Mapping)]
        for item in found:
            yield item
            inside = (inner for path in items.inner for inner in values_at(item, path))
            yield from (inner for inner in inside if isinstance(inner, Mapping))
        if found:
            return


def _kind(items: Items, item: Any) -> str:
    kind = first_at(item, items.type)
    return kind if isinstance(kind, str) else ""


def _waiting(
    items: Items,
    found: list[Mapping[str, Any]],
    kinds: list[str],
    final: list[_Message],
    *,
    forced: bool,
) -> Iterator[Call]:
    """Yield the calls and approvals that nobody answered, the same one once.

    Where the answer ends in a message, the endpoint ran its calls itself; what it wants
    approval for it cannot.
    """
    end = len(found)
    while end and kinds[end - 1] in (*items.trailing, *items.reasoning):
        end -= 1
    ran_itself = bool(final) and final[-1].number == end - 1 and not forced
    is_call = [_is_call(items, *pair) for pair in zip(found, kinds, strict=True)]
    answered = {
        value
        for item, waits in zip(found, is_call, strict=True)
        if not waits
        for path in items.answers
        for value in values_at(item, path)
        if isinstance(value, str)
    }
    told: list[Call] = []
    for item, kind, waits in zip(found, kinds, is_call, strict=True):
        if not waits or (ran_itself and kind not in items.approvals):
            continue
        call = _call(items, item, kind)
        if call.call_id not in answered and (call not in told or not call.call_id):
            told.append(call)
            yield call


def _is_call(items: Items, item: Mapping[str, Any], kind: str) -> bool:
    """Say whether the caller runs or approves an item of this type."""
    if kind in items.approvals:
        return True
    for wanted, path, values in items.calls:
        if wanted == kind:
            value = first_at(item, (path,)) if path else ""
            return not path or ("" if value is None else value) in values
    return False


def _call(items: Items, item: Mapping[str, Any], kind: str) -> Call:
    id_ = first_at(item, items.call_id)
    name = first_at(item, items.name)
    return Call(
        type=kind,
        call_id=id_ if isinstance(id_, str) else "",
        name=name if isinstance(name, str) else kind.removesuffix("_call"),
        arguments=first_at(item, items.arguments),
    )


def _media(
    items: Items, found: list[Mapping[str, Any]], where: Iterable[str]
) -> Iterator[Media]:
    for path in where:
        for value in values_at(found, path):
            data = first_at(value, items.data)
            id_ = first_at(value, ("file_id",))
            if not isinstance(data, str) and not isinstance(id_, str):
                continue
            container = first_at(value, ("container_id",))
            name = first_at(value, ("filename", "name"))
            kind = first_at(value, items.format)
            yield Media(
                format=kind if isinstance(kind, str) else "",
                data=data if isinstance(data, str) else None,
                id=id_ if isinstance(id_, str) else None,
                container=container if isinstance(container, str) else None,
                name=name if isinstance(name, str) else None,
            )


def _citations(
    items: Items, found: list[Mapping[str, Any]], payload: Any
) -> Iterator[Any]:
    for path in items.citations:
        yield from values_at(found, path)
    for path in items.sources:
        yield from values_at(payload, path)


def _thoughts(
    items: Items, found: list[Mapping[str, Any]], kinds: list[str]
) -> Iterator[str]:
    for item, kind in zip(found, kinds, strict=True):
        if kind in items.reasoning:
            values = (v for path in items.thoughts for v in values_at(item, path))
            yield from (v for v in values if isinstance(v, str) and v)


def _listed(calls: tuple[Call, ...]) -> str:
    return ", ".join(map(str, calls))


def _counted(*parts: Any) -> Iterator[str]:
    for found, noun in zip(parts[::2], parts[1::2], strict=True):
        if found:
            yield f"{len(found)} {noun}{'s' * (len(found) > 1)}"


def _compact(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)


class Aside(NamedTuple):
    """Something beside the text: `text` is empty where it only began.

    `name` is what runs: `reasoning`, or the tool.
    """

    kind: str
    name: str
    text: str = ""


def aside(raw: str) -> Aside | None:
    """Read an event's JSON; None where it tells nothing beside the text."""
    if len(raw) > LARGEST or not re.search(_TOLD, raw):
        return None
    try:
        event = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    kind = _event_kind(event)
    return (
        _aside_of(event, kind) if kind.startswith("response.") else _step(event, kind)
    )


def _aside_of(event: Mapping[str, Any], kind: str) -> Aside | None:
    text = event.get("text")
    if kind.startswith("response.reasoning") and kind.endswith("text.done"):
        return Aside(REASONING, REASONING, text) if _is_text(text) else None
    item = event.get("item")
    if kind.startswith("response.output_item.") and isinstance(item, Mapping):
        return _of_item(item, begun=kind.endswith("added"))
    return None


def _event_kind(event: Any) -> str:
    found = first_at(event, ("type", "event_type"))
    return found if isinstance(found, str) else ""


def _step(event: Any, kind: str) -> Aside | None:
    """Read an event of Google's Interactions: a step that begins, a thought."""
    step = first_at(event, ("step",))
    if kind.endswith(".start") and isinstance(step, Mapping):
        is_text = step.get("type") in {"model_output", "user_input", "text"}
        is_thought = step.get("type") == "thought"
        begun = Aside(REASONING, REASONING) if is_thought else None
        return begun if is_thought or is_text else _of_item(step, begun=False)
    thought = first_at(event, ("delta.content.text",))
    is_summary = first_at(event, ("delta.type",)) == "thought_summary"
    return Aside(REASONING, REASONING, thought) if is_summary and thought else None


def _of_item(item: Mapping[str, Any], *, begun: bool) -> Aside | None:
    kind = item.get("type")
    if not isinstance(kind, str):
        return None
    if kind == "reasoning":
        return Aside(REASONING, REASONING) if begun else None
    if kind == "message":
        return None if begun else _commentary(item)
    own = item.get("name")
    name = own if isinstance(own, str) and own else kind.removesuffix("_call")
    if begun:
        return Aside(TOOLS, name) if kind.endswith("_call") else None
    if kind == "image_generation_call":
        item = {key: item[key] for key in item if key != "result"}
    text = f"{name}({_about(item)})"
    if kind.endswith("approval_request"):
        text = f"wants approval: {text}"
    return Aside(TOOLS, name, text)


def _commentary(item: Mapping[str, Any]) -> Aside | None:
    """Return what a message says that is none of the answer's."""
    text = text_at(item, ("content[*].text",))
    if text is None or is_final(item.get("phase")):
        return None
    return Aside(COMMENTARY, COMMENTARY, text)


def _about(value: Any, depth: int = 3) -> str:
    """Return what an item, or a value in it, is about: texts, joined by commas."""
    if _is_text(value):
        return str(value)
    if isinstance(value, list):
        return ", ".join(filter(None, (_about(one, depth - 1) for one in value[:20])))
    if not isinstance(value, Mapping) or depth <= 0:
        return ""
    if depth < 3 and isinstance(value.get("path"), str):
        return " ".join(filter(_is_text, (value.get("type"), value["path"])))
    found = (_about(value.get(name), depth - 1) for name in _ABOUT if name in value)
    if depth == 3:  # an item: its own name stands before
        values = (value[n] for n in _ABOUT if n in value and n != "name")
        found = (_about(one, depth - 1) for one in values)
    text = next(filter(None, found), "")
    return text or (_compact(value) if depth < 3 and value else "")


def _is_text(value: object) -> TypeGuard[str]:
    return isinstance(value, str) and bool(value.strip())


def first_code_block(text: str) -> str | None:
    """Return what stands in the first fenced code block of Markdown; None without one.

    A block that is never closed goes to the end, as CommonMark has it. One that is
    indented, as in a list, is a block here however far it is.
    """
    lines = iter(re.split(_LINE_ENDS, text))
    opened = next(filter(None, (re.match(_FENCE, line) for line in lines)), None)
    if opened is None:
        return None
    indent, fence = len(opened[1]), opened[2]
    block = []
    for line in lines:
        closing = line.strip()
        if len(closing) >= len(fence) and not closing.strip(fence[0]):
            break
        blank = len(line) - len(line.lstrip(" "))
        block.append(line[min(indent, blank) :])
    return "".join(block)
