"""Ids that the ledger does not know: asked of the endpoint, and kept."""

from typing import TYPE_CHECKING

from bgresp.cli.context import Context
from bgresp.core.errors import (
    ConfigError,
    NoSuchJobError,
)
from bgresp.core.faults import error_of
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind, Snapshot
from bgresp.core.text import did_you_mean
from bgresp.ledger.keys import is_key

if TYPE_CHECKING:
    from bgresp.api.client import Api


def _meant(context: Context, ref: str) -> str:
    """Say which id or name was probably meant; nothing where none is near."""
    return did_you_mean(ref, context.recorder.ledger.words.near("in"))


async def adopted(context: Context, id_: str) -> Job:
    """Ask the endpoint for an id that the ledger does not know, and keep it.

    Raises NoSuchJobError, RefusedError, UnreachableError.
    """
    try:
        settings = context.settings()
    except ConfigError:
        if context.common.profile or context.common.base_url:
            raise
        raise NoSuchJobError(
            f"no job {id_!r} in the ledger",
            hint=f"{_meant(context, id_)}bgresp list; "
            "an endpoint is asked with -p PROFILE",
        ) from None
    draft = Job(
        key="",
        status=Status.IN_PROGRESS,
        id=id_,
        profile=settings.profile,
        base_url=settings.base_url,
        dialect=settings.dialect.name,
        vars=settings.vars,
        extra=settings.kept,
    )
    async with context.api(settings) as api:
        job = await _asked(context, api, draft)
    context.note_endpoint(settings)
    return job


async def _asked(context: Context, api: "Api", draft: Job) -> Job:
    answer = await api.retrieve(str(draft.id))
    if not isinstance(answer, Fault):
        settled = _settled(context, api, str(draft.id), answer)
        if settled is not None:
            return settled
        job = context.recorder.ledger.adopt(draft)
        return context.recorder.heard(job, answer, api.endpoint.dialect)
    said = f"{draft.id}: {answer.message}"
    if answer.kind is FaultKind.GONE:
        raise NoSuchJobError(
            f"no job {draft.id!r}, neither in the ledger nor at {api.endpoint.host}",
            hint=f"{_meant(context, str(draft.id))}bgresp list",
            request_id=answer.request_id,
        )
    raise error_of(answer, said, job=draft)


def _settled(context: Context, api: "Api", id_: str, news: Snapshot) -> Job | None:
    """Record a response as what a lost submit of ours made; None where none did.

    Raises NotFinishedError when that submit is still at work.
    """
    from bgresp.engine.settle import Settling, holding

    key, recorder = news.reading.key, context.recorder
    lost = recorder.ledger.by_key(key) if key is not None and is_key(key) else None
    if lost is None or not lost.status.is_unsettled:
        return None
    with holding(recorder, lost) as job:
        if not job.status.is_unsettled:
            return None
        return Settling(api, recorder, context.say).accepted(job, id_, news)
