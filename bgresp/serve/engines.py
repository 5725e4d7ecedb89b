"""What runs a job: an engine turns a request into pieces of text and an outcome.

Imports `request` to read the prompt.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from bgresp.serve.request import prompt

PACE = 0.06  # seconds a word: about three seconds an answer
_QUOTED = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an engine ended: what it used, and why it stopped short if it did."""

    input_tokens: int
    output_tokens: int
    incomplete_reason: str | None = None


class EngineError(Exception):
    """The engine could not answer; the response ends as failed with this code."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the error code of the failed response beside the message."""
        super().__init__(message)
        self.code = code


class Engine(Protocol):
    """Anything that can answer a request."""

    def run(self, request: Mapping[str, Any]) -> AsyncIterator[str | Outcome]:
        """Yield pieces of text, and an `Outcome` as the last thing."""
        ...


@dataclass(frozen=True, slots=True)
class Demo:
    """A deterministic engine that says that it is a demo, a word at a time."""

    pace: float = PACE

    async def run(self, request: Mapping[str, Any]) -> AsyncIterator[str | Outcome]:
        """Stream the demo's answer; a token is a word."""
        asked = prompt(request).split()
        words = answer(asked)
        limit = request.get("max_output_tokens") or len(words)
        for number, word in enumerate(words[:limit]):
            await asyncio.sleep(self.pace)
            yield word if number == 0 else f" {word}"
        cut = "max_output_tokens" if limit < len(words) else None
        yield Outcome(len(asked), min(limit, len(words)), cut)


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
