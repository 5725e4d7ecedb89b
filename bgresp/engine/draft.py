"""A draft: a request ready to be sent, and the record it starts as."""

from dataclasses import dataclass, replace
from typing import Any

from bgresp.core.dialect import Dialect
from bgresp.core.errors import UsageError
from bgresp.core.model import Job, check_names
from bgresp.core.request import Request, digest, render


@dataclass(frozen=True, slots=True)
class Draft:
    """A request ready to be sent: the record it starts as, and its body."""

    job: Job
    body: dict[str, Any]
    stream: bool = False
    keep: bool = True


def drafted(
    job: Job, request: Request, dialect: Dialect, *, stream: bool = False
) -> Draft:
    """Return the draft of a request; `job` says where it goes and what it is called.

    Raises UsageError, RefusedError: nothing may be sent then.
    """
    check_names(job)
    body: dict[str, Any] = render(request, dialect, job.vars)
    stream = stream and "stream" in dialect.ops
    if stream:
        body |= dialect.stream_body
    elif body.get("stream") is True:
        raise UsageError("a body with stream: true needs --stream or --watch")
    model = body.get("model")
    unstored = {"store": False} if body.get("store") is False else {}
    record = replace(
        job,
        model=model if isinstance(model, str) else request.model,
        previous_id=request.previous_id,
        streamable=stream,
        request_sha256=digest(body),
        extra={**job.extra, **unstored},
    )
    return Draft(record, body, stream=stream)
