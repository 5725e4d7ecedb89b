"""Submits that came to nothing, made without our own submitter."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bgresp.api.client import Api
from bgresp.api.transport import Sent
from bgresp.core.dialect import Dialect, Op
from bgresp.core.model import Job, Status
from bgresp.engine.recorder import Recorder
from tests.endpoint import dialect
from tests.fakeserver import FakeServer

LIST = Op("GET", "/responses?order=desc&limit={limit}&after={after}")


def speaking(*, listing: bool = False, idempotency: str = "none") -> Dialect:
    """Return OpenAI's dialect of an endpoint that can do more, or less."""
    return dialect(
        ops={"list": LIST} if listing else {}, limits={"idempotency": idempotency}
    )


def died(recorder: Recorder, server: FakeServer, **changes: Any) -> Job:
    """Write the intent of a submit whose process died; its lock is free."""
    draft = Job(
        key="",
        profile="test",
        base_url=server.base_url,
        dialect="openai",
        submitted_at=recorder.now(),
        **changes,
    )
    with recorder.ledger.submitting(draft) as job:
        recorder.answers.save_request(job.key, body(job))
    return job


def body(job: Job) -> bytes:
    """Return the request as it was stored and sent."""
    asked = {"model": "m", "input": "hi", "background": True, "store": True}
    return json.dumps({**asked, "metadata": {"bgresp_key": job.key}}).encode()


async def posted(api: Api, job: Job, *, key: bool = True) -> None:
    """Send what the dead process sent before it died."""
    how: Mapping[str, str] = {"key": job.key if key else "another"}
    async for _ in api.create(body(job), stream=False, sent=Sent(), **how):
        pass


def found(state: Path, job: Job) -> tuple[Status, str | None]:
    """Return what a fresh process reads of a job."""
    now = Recorder.at(state).ledger.by_key(job.key)
    assert now is not None
    return now.status, now.id
