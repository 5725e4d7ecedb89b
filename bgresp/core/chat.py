"""Chat completions and Responses: a request translated both ways, an answer read.

https://platform.openai.com/docs/api-reference/chat and .../responses. What has no
counterpart is refused by its field, never dropped in silence.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

Json = dict[str, Any]

# The same word and meaning on both sides.
SAME: Final = frozenset(
    {
        *(
            "model",
            "temperature",
            "top_p",
            "top_k",
            "min_p",
            "seed",
            "presence_penalty",
        ),
        *(
            "frequency_penalty",
            "repetition_penalty",
            "top_logprobs",
            "user",
            "metadata",
        ),
        *("store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "parallel_tool_calls"),
    }
)
# Of these a chat server without OpenAI's storage knows nothing, and some refuse them.
_OPENAI_ALONE: Final = frozenset(
    {
        *("metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        "prompt_cache_retention",
    }
)
# Of these a response knows nothing: they are passed on to a chat server as they are.
_CHAT_ALONE: Final = frozenset({"stop", "logit_bias"})
# How a chat answer is delivered is no part of a background request.
_DELIVERY: Final = frozenset({"stream", "stream_options"})
_READ: Final = frozenset(
    {
        *("messages", "max_tokens", "max_completion_tokens", "response_format", "n"),
        *("tools", "tool_choice", "reasoning_effort", "verbosity", "logprobs"),
    }
)
LOGPROBS: Final = "message.output_text.logprobs"


class ChatError(ValueError):
    """Something that the other side cannot say; `field` is where it stands."""

    def __init__(self, field: str, reason: str) -> None:
        """Name the field first: a reader looks for it."""
        super().__init__(f"{field}: {reason}")
        self.field = field


def to_responses(chat: Mapping[str, Any]) -> Json:
    """Return the Responses request that means what a chat-completions request does.

    Raises ChatError.
    """
    said = {name: value for name, value in chat.items() if value is not None}
    for name in said:
        if name not in SAME | _READ | _DELIVERY:
            raise ChatError(name, "has no counterpart in a response")
    if said.get("n", 1) != 1:
        raise ChatError("n", "a response has one answer")
    request: Json = {name: said[name] for name in chat if name in SAME and name in said}
    request["input"] = list(_items_of(_list(said.get("messages"), "messages")))
    request |= _limit_of(said)
    text: Json = {}
    if "response_format" in said:
        text["format"] = _format_of(_object(said["response_format"], "response_format"))
    if "verbosity" in said:
        text["verbosity"] = said["verbosity"]
    tools = _list(said.get("tools", []), "tools")
    told: Json = {
        "text": text,
        "tools": [_tool_of(tool, f"tools[{n}]") for n, tool in enumerate(tools)],
        "include": [LOGPROBS] if said.get("logprobs") is True else [],
    }
    if "tool_choice" in said:
        told["tool_choice"] = _choice_of(said["tool_choice"])
    if "reasoning_effort" in said:
        told["reasoning"] = {"effort": said["reasoning_effort"]}
    return request | {name: value for name, value in told.items() if value}


def _limit_of(said: Json) -> Json:
    limits = [said[n] for n in ("max_tokens", "max_completion_tokens") if n in said]
    if len(limits) > 1 and limits[0] != limits[1]:
        raise ChatError("max_tokens", "differs from max_completion_tokens")
    return {"max_output_tokens": limits[0]} if limits else {}


def from_responses(request: Mapping[str, Any], items: Iterable[Json]) -> Json:
    """Return the chat-completions request of a Responses request with these items.

    What only OpenAI's own storage understands is left out. Raises ChatError.
    """
    known = SAME - _OPENAI_ALONE | _CHAT_ALONE
    chat: Json = {
        name: value
        for name, value in request.items()
        if name in known and value is not None
    }
    messages: list[Json] = []
    if request.get("instructions"):
        messages.append({"role": "system", "content": request["instructions"]})
    for place, item in enumerate(items):
        _add_item(messages, item, f"input[{place}]")
    chat["messages"] = messages
    if request.get("max_output_tokens") is not None:
        chat["max_tokens"] = request["max_output_tokens"]
    text = _object(request.get("text") or {}, "text")
    if (wanted := text.get("format")) and wanted.get("type") != "text":
        chat["response_format"] = _format_from(_object(wanted, "text.format"))
    if text.get("verbosity"):
        chat["verbosity"] = text["verbosity"]
    tools = _list(request.get("tools") or [], "tools")
    if tools:
        chat["tools"] = [_tool_from(t, f"tools[{n}]") for n, t in enumerate(tools)]
        if request.get("tool_choice") is not None:
            chat["tool_choice"] = _choice_from(request["tool_choice"])
    else:
        chat.pop("parallel_tool_calls", None)  # servers refuse it without tools
    reasoning = _object(request.get("reasoning") or {}, "reasoning")
    if reasoning.get("effort"):
        chat["reasoning_effort"] = reasoning["effort"]
    if LOGPROBS in (request.get("include") or ()):
        chat["logprobs"] = True
    else:
        chat.pop("top_logprobs", None)
    return chat


# --- requests, from chat ---------------------------------------------------------


def _items_of(messages: Sequence[Any]) -> Iterator[Json]:
    for number, found in enumerate(messages):
        where = f"messages[{number}]"
        message = _object(found, where)
        for name in ("name", "function_call", "audio"):
            if message.get(name) is not None:
                raise ChatError(f"{where}.{name}", "has no counterpart in a response")
        role = message.get("role")
        content = message.get("content")
        if role == "tool":
            call_id = _text(message.get("tool_call_id"), f"{where}.tool_call_id")
            output = _parts_of(content, "user", f"{where}.content")
            yield {"type": "function_call_output", "call_id": call_id, "output": output}
        # Here and below a tuple: a peer's word may be a list, which no set looks up.
        elif role in ("user", "system", "developer"):
            yield {
                "role": role,
                "content": _parts_of(content, role, f"{where}.content"),
            }
        elif role == "assistant":
            yield from _assistant_items(message, where)
        else:
            raise ChatError(f"{where}.role", f"{str(role)[:40]!r} is not known")


def _assistant_items(message: Json, where: str) -> Iterator[Json]:
    content: Any = message.get("content")
    if message.get("refusal"):
        said = [] if content is None else _parts_of(content, "assistant", where)
        parts = said if isinstance(said, list) else [_text_part(said, "assistant")]
        content = [*parts, {"type": "refusal", "refusal": message["refusal"]}]
        yield {"role": "assistant", "content": content}
    elif content is not None:
        told = _parts_of(content, "assistant", f"{where}.content")
        yield {"role": "assistant", "content": told}
    calls = _list(message.get("tool_calls") or [], f"{where}.tool_calls")
    for number, found in enumerate(calls):
        place = f"{where}.tool_calls[{number}]"
        call = _object(found, place)
        call_id = _text(call.get("id"), f"{place}.id")
        if call.get("type", "function") == "function":
            function = _object(call.get("function"), f"{place}.function")
            name = _text(function.get("name"), f"{place}.function.name")
            arguments = function.get("arguments", "")
            called = {"name": name, "arguments": arguments}
            yield {"type": "function_call", "call_id": call_id, **called}
        elif call["type"] == "custom":
            custom = _object(call.get("custom"), f"{place}.custom")
            name = _text(custom.get("name"), f"{place}.custom.name")
            called = {"name": name, "input": custom.get("input", "")}
            yield {"type": "custom_tool_call", "call_id": call_id, **called}
        else:
            raise ChatError(f"{place}.type", "has no counterpart in a response")


def _parts_of(content: Any, role: str, where: str) -> str | list[Json]:
    if isinstance(content, str):
        return content
    parts = _list(content, where)
    return [_part_of(part, role, f"{where}[{n}]") for n, part in enumerate(parts)]


def _text_part(text: Any, role: str) -> Json:
    kind = "output_text" if role == "assistant" else "input_text"
    return {"type": kind, "text": text}


def _part_of(found: Any, role: str, where: str) -> Json:
    part = _object(found, where)
    kind = part.get("type")
    if kind == "text":
        return _text_part(_text(part.get("text"), f"{where}.text"), role)
    if kind == "refusal" and role == "assistant":
        return {"type": "refusal", "refusal": part.get("refusal", "")}
    if role != "assistant":
        if kind == "image_url":
            image = _object(part.get("image_url"), f"{where}.image_url")
            url = _text(image.get("url"), f"{where}.image_url.url")
            detail = {"detail": image["detail"]} if image.get("detail") else {}
            return {"type": "input_image", "image_url": url, **detail}
        if kind == "input_audio":
            return {"type": "input_audio", "input_audio": part.get("input_audio")}
        if kind == "file":
            file = _object(part.get("file"), f"{where}.file")
            return {"type": "input_file", **file}
    raise ChatError(f"{where}.type", f"{str(kind)[:40]!r} has no counterpart here")


def _format_of(found: Json) -> Json:
    if found.get("type") == "json_schema":
        where = "response_format.json_schema"
        return {"type": "json_schema", **_object(found.get("json_schema"), where)}
    if found.get("type") in ("text", "json_object"):
        return {"type": found["type"]}
    raise ChatError(
        "response_format.type", f"{str(found.get('type'))[:40]!r} is not known"
    )


def _tool_of(found: Any, where: str) -> Json:
    tool = _object(found, where)
    if tool.get("type") == "function":
        function = _object(tool.get("function"), f"{where}.function")
        # A response is strict where nothing is said, a chat is not.
        return {"type": "function", **function, "strict": bool(function.get("strict"))}
    if tool.get("type") == "custom":
        custom = dict(_object(tool.get("custom"), f"{where}.custom"))
        wanted = custom.get("format")
        if isinstance(wanted, dict) and isinstance(wanted.get("grammar"), dict):
            custom["format"] = {"type": "grammar", **wanted["grammar"]}
        return {"type": "custom", **custom}
    raise ChatError(f"{where}.type", f"{str(tool.get('type'))[:40]!r} is not known")


def _choice_of(found: Any) -> Any:
    if isinstance(found, str):
        return found
    choice = _object(found, "tool_choice")
    kind = choice.get("type")
    if kind in ("function", "custom"):
        return {"type": kind, **_object(choice.get(kind), f"tool_choice.{kind}")}
    if kind == "allowed_tools":
        allowed = _object(choice.get(kind), "tool_choice.allowed_tools")
        tools = _list(allowed.get("tools"), "tool_choice.allowed_tools.tools")
        return {"type": kind, **allowed, "tools": [_choice_of(tool) for tool in tools]}
    raise ChatError("tool_choice.type", f"{str(kind)[:40]!r} is not known")


# --- requests, to chat -----------------------------------------------------------


def _add_item(messages: list[Json], item: Json, where: str) -> None:
    kind = item.get("type", "message")
    if kind == "message":
        role = item.get("role", "user")
        content = _parts_from(item.get("content"), f"{where}.content")
        messages.append({"role": role, "content": content})
    elif kind in ("function_call", "custom_tool_call"):
        _add_call(messages, item, custom=kind == "custom_tool_call")
    elif kind in ("function_call_output", "custom_tool_call_output"):
        output = item.get("output", "")
        if isinstance(output, list):
            output = _parts_from(output, f"{where}.output")
        call_id = item.get("call_id", "")
        told = {"role": "tool", "tool_call_id": call_id, "content": output}
        messages.append(told)
    elif kind != "reasoning":  # a chat server thinks anew
        raise ChatError(f"{where}.type", f"a chat server knows no {str(kind)[:40]!r}")


def _add_call(messages: list[Json], item: Json, *, custom: bool) -> None:
    """Add a call to the assistant's message before it, or as one of its own."""
    name = item.get("name", "")
    call: Json = {"id": item.get("call_id", ""), "type": "function"}
    if custom:
        call["type"] = "custom"
        call["custom"] = {"name": name, "input": item.get("input", "")}
    else:
        arguments = item.get("arguments", "")
        call["function"] = {"name": name, "arguments": arguments}
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _parts_from(content: Any, where: str) -> str | list[Json]:
    """Return content for a chat; text alone is a string, which every server takes."""
    if isinstance(content, str) or content is None:
        return content or ""
    parts = _list(content, where)
    told = [_part_from(part, f"{where}[{n}]") for n, part in enumerate(parts)]
    if all(part["type"] == "text" for part in told):
        return "".join(part["text"] for part in told)
    return told


def _part_from(found: Any, where: str) -> Json:
    part = _object(found, where)
    kind = part.get("type")
    if kind in ("input_text", "output_text", "text"):
        return {"type": "text", "text": str(part.get("text", ""))}
    if kind == "refusal":
        return {"type": "text", "text": str(part.get("refusal", ""))}
    if kind == "input_image" and isinstance(part.get("image_url"), str):
        detail = {"detail": part["detail"]} if part.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": part["image_url"], **detail}}
    if kind == "input_audio":
        return {"type": "input_audio", "input_audio": part.get("input_audio")}
    if kind == "input_file" and not part.get("file_url"):
        file = {k: v for k, v in part.items() if k != "type" and v is not None}
        return {"type": "file", "file": file}
    raise ChatError(f"{where}.type", f"a chat server knows no such {str(kind)[:40]!r}")


def _format_from(found: Json) -> Json:
    if found.get("type") == "json_schema":
        schema = {name: value for name, value in found.items() if name != "type"}
        return {"type": "json_schema", "json_schema": schema}
    return {"type": found.get("type")}


def _tool_from(found: Any, where: str) -> Json:
    tool = _object(found, where)
    kind = tool.get("type")
    told = {n: v for n, v in tool.items() if n != "type" and v is not None}
    if kind == "function":
        if told.get("strict") is False:
            del told["strict"]
        return {"type": kind, kind: told}
    if kind == "custom":
        wanted = told.get("format")
        if isinstance(wanted, dict) and wanted.get("type") == "grammar":
            grammar = {name: value for name, value in wanted.items() if name != "type"}
            told["format"] = {"type": "grammar", "grammar": grammar}
        return {"type": kind, kind: told}
    raise ChatError(f"{where}.type", f"a chat server runs no {str(kind)[:40]!r}")


def _choice_from(found: Any) -> Any:
    if isinstance(found, str):
        return found
    choice = _object(found, "tool_choice")
    kind = choice.get("type")
    told = {name: value for name, value in choice.items() if name != "type"}
    if kind in ("function", "custom"):
        return {"type": kind, kind: told}
    if kind == "allowed_tools":
        tools = _list(told.get("tools"), "tool_choice.tools")
        told["tools"] = [_choice_from(tool) for tool in tools]
        return {"type": kind, kind: told}
    raise ChatError("tool_choice.type", f"a chat server knows no {str(kind)[:40]!r}")


def _object(value: Any, where: str) -> Json:
    if not isinstance(value, dict):
        raise ChatError(where, "must be an object")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ChatError(where, "must be an array")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise ChatError(where, "must be text")
    return value


# --- answers ---------------------------------------------------------------------

_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


@dataclass(frozen=True, slots=True)
class Piece:
    """A piece of an answer: of its `text`, `reasoning`, `refusal`, or of a `call`.

    A call has its number among the calls of the answer, its id and its name; the text
    is a piece of its arguments.
    """

    kind: str
    text: str
    number: int = 0
    call_id: str = ""
    name: str = ""


class ChatReader:
    """Reads the chunks of a streamed answer, or a whole one, as they are sent."""

    def __init__(self, stem: str) -> None:
        """Begin; `stem` is for the ids of calls that a server does not name."""
        self._stem = stem
        self._calls: list[tuple[str, str]] = []
        self._numbers: dict[int, int] = {}
        self.usage: Json | None = None
        self.finish_reason: str | None = None
        self.error: Json | None = None
        self.model: str | None = None

    @property
    def incomplete_reason(self) -> str | None:
        """Return why a response of this answer is incomplete; None if it is not."""
        return _INCOMPLETE.get(self.finish_reason or "")

    def read(self, chunk: Any) -> list[Piece]:
        """Take a chunk and return what it adds; what makes no sense adds nothing."""
        if not isinstance(chunk, dict):
            return []
        if chunk.get("error"):
            found = chunk["error"]
            self.error = found if isinstance(found, dict) else {"message": str(found)}
        if isinstance(chunk.get("model"), str) and chunk["model"]:
            self.model = chunk["model"]
        groq = chunk.get("x_groq")
        for place in (chunk, groq if isinstance(groq, dict) else {}):
            self.usage = usage(place.get("usage")) or self.usage
        choices = chunk.get("choices")
        pieces: list[Piece] = []
        for choice in choices if isinstance(choices, list) else []:
            if isinstance(choice, dict) and choice.get("index", 0) in (0, None):
                pieces += self._choice(choice)
        return pieces

    def _choice(self, choice: Json) -> Iterator[Piece]:
        if isinstance(choice.get("finish_reason"), str):
            self.finish_reason = choice["finish_reason"]
        told = choice.get("delta") or choice.get("message")
        if not isinstance(told, dict):
            return
        for name in ("reasoning_content", "reasoning"):
            if isinstance(told.get(name), str) and told[name]:
                yield Piece("reasoning", told[name])
                break  # some servers say it twice
        yield from _content(told.get("content"))
        if isinstance(told.get("refusal"), str) and told["refusal"]:
            yield Piece("refusal", told["refusal"])
        calls = told.get("tool_calls")
        for call in calls if isinstance(calls, list) else []:
            if isinstance(call, dict):
                yield from self._call(call)

    def _call(self, call: Json) -> Iterator[Piece]:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        call_id = call["id"] if isinstance(call.get("id"), str) else ""
        name = function["name"] if isinstance(function.get("name"), str) else ""
        arguments = function.get("arguments")
        if isinstance(arguments, dict):  # as Ollama has them
            arguments = json.dumps(arguments)
        number = self._number(call.get("index"), call_id, name)
        if number is None:
            return
        known_id, known_name = self._calls[number]
        text = arguments if isinstance(arguments, str) else ""
        yield Piece("call", text, number, known_id, known_name)

    def _number(self, index: Any, call_id: str, name: str) -> int | None:
        """Return which call a fragment belongs to; a new one has a name."""
        last = len(self._calls) - 1 if self._calls else None
        known = self._numbers.get(index) if type(index) is int else last
        # One index for several calls, and none at all, tell them apart by the id.
        if known is not None and (not call_id or self._calls[known][0] == call_id):
            return known
        if not name:
            return known
        self._calls.append((call_id or f"call_{self._stem}_{len(self._calls)}", name))
        if type(index) is int:
            self._numbers[index] = len(self._calls) - 1
        return len(self._calls) - 1


def _content(content: Any) -> Iterator[Piece]:
    if isinstance(content, str):
        if content:
            yield Piece("text", content)
        return
    for part in content if isinstance(content, list) else []:
        if not isinstance(part, dict):
            continue
        if isinstance(part.get("text"), str) and part["text"]:
            yield Piece("text", part["text"])
        thinking = part.get("thinking")  # as Mistral has it
        for thought in thinking if isinstance(thinking, list) else []:
            if isinstance(thought, dict) and isinstance(thought.get("text"), str):
                yield Piece("reasoning", thought["text"])


def usage(found: Any) -> Json | None:
    """Return a chat's usage as a response's; None where it tells nothing."""
    if not isinstance(found, dict):
        return None
    asked, told = _count(found, "prompt_tokens"), _count(found, "completion_tokens")
    if asked is None and told is None:
        return None
    details = found.get("prompt_tokens_details"), found.get("completion_tokens_details")
    cached = _count(details[0], "cached_tokens") or 0
    thought = _count(details[1], "reasoning_tokens") or 0
    return {
        "input_tokens": asked or 0,
        "input_tokens_details": {"cached_tokens": cached},
        "output_tokens": told or 0,
        "output_tokens_details": {"reasoning_tokens": thought},
        "total_tokens": (asked or 0) + (told or 0),
    }


def _count(found: Any, name: str) -> int | None:
    value = found.get(name) if isinstance(found, dict) else None
    return value if type(value) is int and value >= 0 else None
