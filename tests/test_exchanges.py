"""Whole exchanges of servers that others wrote, read through their dialects.

LiteLLM 1.106.2, fastresponses 0.1.0 and llama.cpp (xllamacpp), as they were recorded:
the request, then the status line, the headers and the body.
"""

import asyncio
from pathlib import Path
from typing import Final

import pytest

from bgresp.api import replies
from bgresp.api.replies import Reply
from bgresp.config import files
from bgresp.core.dialect_schema import build
from bgresp.core.errors import ExitCode
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, Snapshot
from bgresp.engine.cancel import cancelled
from bgresp.engine.recorder import Recorder
from tests.endpoint import endpoint
from tests.scripted import Scripted

FOLDER: Final = Path(__file__).parent / "data" / "recordings" / "exchanges"
DIALECTS: Final = {"litellm": "litellm", "fast": "fastresponses", "llamacpp": "openai"}
W4: Final = "w0 w1 w2 w3 "

# What each recorded answer means: a status and a text, or a fault and its message.
MEANS: Final[dict[str, tuple[str, str | None]]] = {
    "litellm-02-bg-create": ("queued", None),
    "litellm-03-bg-poll": ("in_progress", None),
    "litellm-04-bg-poll": ("completed", W4),
    "litellm-06-bg-cancel-completed": ("cancelled", W4),
    "litellm-08-bg-get-stream-nonstreamed": ("cancelled", W4),
    "litellm-10-cancel-create": ("queued", None),
    "litellm-12-cancel-cancel": ("cancelled", "w0 w1 w2 w3 w4 w5 w6 w7 w8 "),
    "litellm-16-get-unknown": ("refused", "You passed in model=None"),
    "litellm-17-cancel-unknown": ("refused", "You passed in model=None"),
    "litellm-18-bad-json": ("refused", "Invalid JSON"),
    "litellm-27-bgstream-full": ("queued", None),
    "litellm-32-fail-poll": ("failed", None),
    "litellm-36-cut-poll": ("completed", W4),
    "litellm-40-length-poll": ("incomplete", W4),
    "litellm-46-get-deleted": ("gone", "not found or expired"),
    "litellm-90-redis-down-create": ("queued", None),
    "litellm-91-redis-down-get": ("gone", "not found or expired"),
    "litellm-93-noauth-get": ("unreachable", "Internal Server Error"),
    "fastresponses-02-bg-create": ("queued", None),
    "fastresponses-03-bg-poll": ("in_progress", None),
    "fastresponses-04-bg-poll": ("completed", W4),
    "fastresponses-06-bg-cancel-completed": ("completed", W4),
    "fastresponses-12-cancel-cancel": ("cancelled", None),
    "fastresponses-15-cancel-get-8s-later": ("cancelled", None),
    "fastresponses-16-get-unknown": ("gone", "not found"),
    "fastresponses-17-cancel-unknown": ("gone", "not found"),
    "fastresponses-23-sync-cancel": ("refused", "Only background responses"),
    "fastresponses-41-bgstream-cancel-get": ("cancelled", None),
    "fastresponses-44-fail-poll": ("failed", None),
    "fastresponses-48-cut-poll": ("completed", W4),
    "fastresponses-52-length-poll": ("incomplete", W4),
    "fastresponses-58-get-deleted": ("gone", "not found"),
    "llamacpp-01-bg-ignored": ("completed", "I'm here to help"),
    "llamacpp-03-get": ("gone", "File Not Found"),
    "llamacpp-04-cancel": ("gone", "File Not Found"),
}


def answered(name: str) -> Reply:
    """Return a recorded reply."""
    raw = (FOLDER / f"{name}.http").read_bytes().replace(b"\r\n", b"\n")
    _, _, told = raw.rpartition(b"\n--- ") if b"\n--- " in raw else (b"", b"", raw)
    told = told[told.index(b"HTTP") :]
    head, _, body = told.partition(b"\n\n")
    status, *lines = head.decode("latin-1").split("\n")
    pairs = (line.partition(":") for line in lines)
    headers = {key.strip().lower(): value.strip() for key, _, value in pairs}
    return Reply(int(status.split()[1]), headers, body)


def read(name: str) -> Snapshot | Fault:
    """Read a recorded reply through its server's dialect."""
    server = next(key for key in DIALECTS if name.startswith(key))
    spoken = build(DIALECTS[server], files.built_in())
    is_create = "create" in name or "ignored" in name or "full" in name
    reader = replies.created if is_create else replies.retrieved
    return reader(spoken, answered(name))


@pytest.mark.parametrize("name", MEANS)
def test_a_recorded_answer_is_read(name: str) -> None:
    """A server's real answer is taken for another status, text or fault."""
    word, said = MEANS[name]
    signal = read(name)
    if isinstance(signal, Fault):
        assert word == signal.kind
        assert (said or "").lower() in signal.message.lower()
        return
    assert word == signal.reading.status
    text = signal.reading.text
    assert text == said or (said and text and text.startswith(said))


@pytest.mark.parametrize("name", ["litellm-47-list", "fastresponses-59-list"])
def test_servers_without_a_list_have_none_in_their_dialect(name: str) -> None:
    """The recorded 404 or 405 of a list is why the dialect does not offer it."""
    server = next(key for key in DIALECTS if name.startswith(key))
    assert answered(name).status in {404, 405}
    assert "list" not in build(DIALECTS[server], files.built_in()).ops


@pytest.mark.parametrize("name", ["litellm-45-delete", "fastresponses-57-delete"])
def test_a_recorded_delete_is_one(name: str) -> None:
    """A server that deleted says so with a 200."""
    server = next(key for key in DIALECTS if name.startswith(key))
    assert (200, True) == (answered(name).status, answered(name).payload["deleted"])
    assert "delete" in build(DIALECTS[server], files.built_in()).ops


def test_litellms_cancelled_job_that_completed_keeps_its_output(state: Path) -> None:
    """Cancelled by its reply and a GET, then completed: the whole answer is kept."""
    spoken = build("litellm", files.built_in())
    reply, after = (
        read("litellm-12-cancel-cancel"),
        read("litellm-15-cancel-get-8s-later"),
    )
    right_after = read("litellm-13-cancel-get-right-after")
    assert isinstance(after, Snapshot)
    job = Job("01K1", Status.IN_PROGRESS, id="litellm_poll_591c", dialect="litellm")
    recorder = Recorder.at(state)
    scripted = Scripted(
        cancels=[reply], get=[right_after], endpoint=endpoint(spoken=spoken)
    )
    verdict = asyncio.run(cancelled(scripted.api, recorder, job))
    assert (ExitCode.OK, Status.CANCELLED) == (verdict.code, verdict.job.status)
    assert (
        "is cancelled, though a job of litellm may complete all the same"
        == verdict.message
    )
    assert W4 + "w4 w5 w6 w7 w8 " == recorder.answers.text(job.key, spoken)
    done = recorder.heard(verdict.job, after, spoken)
    assert Status.COMPLETED is done.status
    assert "".join(f"w{n} " for n in range(60)) == recorder.answers.text(
        job.key, spoken
    )
    late = recorder.heard(done, reply, spoken) if isinstance(reply, Snapshot) else done
    assert Status.COMPLETED is late.status
