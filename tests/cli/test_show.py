"""`bgresp show`: a job in one view, on a terminal of any width, in a pipe, as JSON."""

import json
from pathlib import Path
from typing import Any

import pytest

from bgresp.core.request import read_request
from tests.cli.ledger import ident, key, picture, seed
from tests.cli.terminal import Terminals
from tests.command import Run
from tests.golden import Golden

UTC = {"TZ": "UTC"}
PROMPT = "\n".join(f"Line {number} of what is asked." for number in range(1, 21))
REQUEST = {
    "model": "gpt-5",
    "instructions": "Be brief.",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": PROMPT},
                {"type": "input_image", "image_url": "https://example.com/cat.png"},
                {"type": "input_file", "filename": "notes.pdf", "file_data": "data:x"},
            ],
        },
    ],
    "reasoning": {"effort": "high"},
    "background": True,
    "store": True,
}


@pytest.fixture(name="jobs")
def _jobs(state: Path) -> None:
    """Seed a job that completed, one that failed and was tried again, one that runs."""
    seed(
        state,
        {
            "status": "completed",
            "text": "\n".join(f"Answer {n}." for n in range(1, 31)),
            "name": "nightly",
            "group": "night",
            "row": "a1",
            "labels": {"team": "search"},
            "model": "gpt-5-2025-08-07",
            "model_asked": "gpt-5",
            "started_at": "2026-01-02T03:04:15Z",
            "finished_at": "2026-01-02T03:14:35Z",
            "usage": {"input_tokens": 5, "output_tokens": 70, "total_tokens": 75},
        },
        {
            "status": "failed",
            "model": "gpt-5",
            "error": {"code": "server_error", "message": "It broke \x1b[2J."},
            "finished_at": "2026-01-02T03:05:05Z",
            "noticed": True,
        },
        {"status": "in_progress", "model": "gpt-5", "retry_of": key(2)},
    )
    for number in (1, 2):
        path = state / "requests" / f"{key(number)}.json"
        path.write_text(json.dumps(REQUEST))


@pytest.mark.usefixtures("jobs")
def test_on_a_terminal(terminal: Terminals, golden: Golden) -> None:
    """At 40, 80 and 200 columns the view is the one that was looked at."""
    pages = []
    for width in (40, 80, 200):
        for ref in ("nightly", "@2", "@1"):
            shown = terminal("show", ref, env=UTC, size=(width, 50))
            assert 0 == shown.finish()
            text = "\n".join(line.rstrip() for line in shown.screen.display).rstrip()
            pages.append(f"== {ref} at {width} columns\n{text}\n")
    golden("rows/show", "\n".join(pages))


@pytest.mark.usefixtures("jobs")
def test_in_a_pipe(bgresp: Run, golden: Golden, state: Path) -> None:
    """A pipe gets all of the prompt and the answer; nobody is asked, nothing written."""
    before = picture(state)
    ran = bgresp("show", "nightly", "@2", env=UTC)
    assert (0, "") == (ran.code, ran.err)
    golden("rows/show-pipe", ran.out)
    assert before == picture(state)


@pytest.mark.usefixtures("jobs")
def test_as_json(bgresp: Run) -> None:
    """The record has the prompt and the text; null where they are not kept."""
    one = json.loads(bgresp("show", "nightly", "--json").out)
    assert (PROMPT, ident(1)) == (one["prompt"], one["id"])
    assert one["text"].startswith("Answer 1.\n")
    two = json.loads(bgresp("show", "@1", "@2", "--json", "--fields", "id,prompt").out)
    assert [{"id": ident(3), "prompt": None}, {"id": ident(2), "prompt": PROMPT}] == two
    assert 3 == bgresp("show", "nobody").code


@pytest.mark.parametrize(
    ("body", "prompt", "attached"),
    [
        ({"input": "hi"}, "hi", ()),
        ({"prompt": "hi"}, "hi", ()),
        ({"input": [{"role": "user", "content": "a"}, {"content": "b"}]}, "a\n\nb", ()),
        ({"input": [{"type": "item_reference"}]}, None, ("item_reference ",)),
        (
            {"input": [{"image_url": "data:image/png;base64,AAAA"}]},
            None,
            ("item inline",),
        ),
        ({"input": 5, "x": [1]}, None, ()),
        ({}, None, ()),
    ],
)
def test_what_was_asked(body: Any, prompt: str | None, attached: Any) -> None:
    """A request of another shape stops the view, or shows bytes of an attachment."""
    asked = read_request(body)
    assert (prompt, attached) == (asked.prompt, asked.attachments)
