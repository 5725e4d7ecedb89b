"""What runs a job: an engine turns a request into events, and says how it ended."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from bgresp.serve.output import OutputWriter
from bgresp.serve.wire import Json, items_text, usage

PACE: Final = 0.06  # seconds a word: about three seconds an answer
_QUOTED: Final = 8


@dataclass(frozen=True, slots=True)
class Work:
    """What an engine is asked for.

    `items` is the whole input: what came before in the conversation, then the request's
    own, from `new` on.
    """

    id: str
    request: Mapping[str, Any]
    items: Sequence[Json]
    new: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an engine ended: what it used, and why it stopped short if it did.

    `fields` are others of the response that the engine knows better; so is `output`,
    the items as they are in the end, where it is given.
    """

    usage: Json | None = None
    incomplete_reason: str | None = None
    fields: Json = field(default_factory=dict)
    output: list[Json] | None = None


class EngineError(Exception):
    """The engine could not answer; the response ends as failed with this code."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the error code of the failed response beside the message."""
        super().__init__(message)
        self.code = code


EngineNews = Sequence[Json] | Outcome


class Engine(Protocol):
    """Anything that can answer a request."""

    @property
    def name(self) -> str:
        """Return what a response's model is called where its request names none."""
        ...

    def run(self, work: Work) -> AsyncIterator[EngineNews]:
        """Yield events of output items, some at a time, and an `Outcome` at the end.

        Whoever stops early closes the iterator. Raises EngineError.
        """
        ...

    async def models(self) -> list[str]:
        """Return the names of the models; EngineError where they cannot be had."""
        ...


@dataclass(frozen=True, slots=True)
class Demo:
    """A deterministic engine that says that it is a demo, a word at a time."""

    pace: float = PACE
    name: str = "demo"

    async def run(self, work: Work) -> AsyncIterator[EngineNews]:
        """Stream the demo's answer; a token is a word."""
        asked = items_text(work.items).split()
        words = answer(asked)
        limit = work.request.get("max_output_tokens") or len(words)
        writer = OutputWriter(work.id)
        for number, word in enumerate(words[:limit]):
            await asyncio.sleep(self.pace)
            yield writer.text(word if number == 0 else f" {word}")
        cut = "max_output_tokens" if limit < len(words) else None
        yield writer.finish("incomplete" if cut else "completed")
        yield Outcome(usage(len(asked), min(limit, len(words))), cut)

    async def models(self) -> list[str]:
        """Return the one name; any other is taken, too."""
        return [self.name]


def answer(asked: list[str]) -> list[str]:
    """Return the words of the demo's answer to the words asked."""
    counted = "1 word" if len(asked) == 1 else f"{len(asked)} words"
    opening = " ".join(asked[:_QUOTED])
    if len(asked) > _QUOTED:
        opening += " ..."
    said = f'Your prompt has {counted} and begins with "{opening}".'
    text = (
        "This is bgresp's built-in demo engine, not a model. "
        f"{said if asked else 'Your prompt has no words.'} "
        "A real endpoint would answer it here; this one only shows how a "
        "background job is queued, runs, streams its text word by word, and stays "
        "to be fetched until its retention ends."
    )
    return text.split()
