"""Submits that have an earlier one: at most one for a key or row; and a retry.

However many ask for one key or row: look, take the claim, look again. A retry is a new
draft from a job's stored request.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager
from typing import Any, Final

from bgresp.core.errors import (
    BgrespError,
    NoSuchJobError,
    NotFinishedError,
    UnknownOutcomeError,
)
from bgresp.core.model import Job, Status
from bgresp.core.request import OURS, Draft
from bgresp.core.signals import Fault, FaultKind
from bgresp.engine.recorder import Recorder, check_whole
from bgresp.engine.settle import Settling
from bgresp.engine.submit import Submitted, Submitter
from bgresp.ledger.index import is_in_doubt
from bgresp.ledger.view import holding

WAIT: Final = 120.0  # seconds for another submit under the same key
PACE: Final = 0.02  # seconds between two looks
# What a new record takes over from `extra`: where the key is found, what is stored.
_TAKEN: Final = ("key_source", "profile_url", "dialects", "store", "include")


class Keyed:
    """Submits drafts under a `--key`, as a batch's row, or `--unique`.

    Dead ones are settled first. `again` says whether an earlier job, which was
    accepted, leaves room for a draft.
    """

    __slots__ = ("again", "settling", "submitter", "unique")

    def __init__(
        self,
        submitter: Submitter,
        settling: Settling,
        *,
        unique: bool = False,
        again: Callable[[Job, Job], bool] = lambda _, __: False,
    ) -> None:
        """Send by a submitter, after what an earlier one left is settled."""
        self.submitter = submitter
        self.settling = settling
        self.unique = unique
        self.again = again

    async def submit(
        self, draft: Draft, replied: Callable[[], None] = lambda: None
    ) -> Submitted:
        """Send a draft unless it was accepted before; then return that job.

        `replied` is called when no connection is needed any more, if one was.
        Raises NotFinishedError when another process submits under the key for too
        long, LedgerError.
        """
        claims = [f"key:{draft.job.submit_key}"] if draft.job.submit_key else []
        if draft.job.row is not None:
            claims.append(f"row:{draft.job.row}\x1f{draft.job.group}")
        if self.unique:
            claims.append(f"unique:{_what(draft.job)}")
        if not claims:
            return await self.submitter.submit(draft, replied)
        async with self._claimed(claims):
            earlier = self._earlier(draft.job)
            if earlier is not None and earlier.status.is_unsettled:
                earlier = await self._settled(earlier, draft.job)
            if earlier is None or earlier.status is Status.REJECTED:
                check_whole(self.submitter.recorder)
                return await self.submitter.submit(draft, replied)
            if not earlier.status.is_unsettled and self.again(earlier, draft.job):
                unsure = self._unsure(draft.job)
                if unsure is None:
                    check_whole(self.submitter.recorder)
                    return await self.submitter.submit(draft, replied)
                earlier = unsure
        if earlier.status.is_unsettled:
            said = "an earlier submit of it has no known outcome"
            return Submitted(earlier, fault=Fault(FaultKind.AMBIGUOUS, said))
        return Submitted(earlier, posted=False)

    async def _settled(self, earlier: Job, draft: Job) -> Job:
        """Settle what an earlier process left; under the same key the lock is ours.

        Only its own endpoint can tell; at another one nobody is asked.
        """
        settling = self.settling
        if (earlier.base_url, earlier.vars) != (draft.base_url, draft.vars):
            settling = Settling(None, self.submitter.recorder, self.submitter.say)
        ours = draft.submit_key is not None and earlier.submit_key == draft.submit_key
        settle = settling.settle_held if ours else settling.settle
        return next(iter(await settle([earlier])), earlier)

    def _earlier(self, draft: Job) -> Job | None:
        ledger, found = self.submitter.recorder.ledger, list[Job | None]()
        if draft.submit_key is not None:
            found.append(ledger.by_submit_key(draft.submit_key))
        if draft.row is not None:
            found.append(ledger.by_row(str(draft.group), draft.row))
        if self.unique:
            for jobs in (ledger.open_jobs(), ledger.unsettled()):
                found.append(next((job for job in jobs if _is_same(job, draft)), None))
        return holding(job for job in found if job is not None)

    def _unsure(self, draft: Job) -> Job | None:
        """Return what a row that may be sent again was sent as already, it may be."""
        if draft.row is None:
            return None
        rows = self.submitter.recorder.ledger.of_row(str(draft.group), draft.row)
        newest = next(rows, None)
        return newest if newest is not None and newest.status.is_unsettled else None

    @asynccontextmanager
    async def _claimed(self, names: list[str]) -> AsyncIterator[None]:
        """Hold claims, waiting in the loop so that a signal is heard."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + WAIT
        with ExitStack() as held:
            for name in names:
                while True:
                    claim = self.submitter.recorder.ledger.claim(name)
                    try:
                        held.enter_context(claim)
                        break
                    except NotFinishedError:
                        if loop.time() >= deadline:
                            raise
                    await asyncio.sleep(PACE)
            yield


def _is_same(job: Job, draft: Job) -> bool:
    """Say whether a job is of the same request, or may be: nobody can read of which."""
    return _what(job) == _what(draft) or (
        is_in_doubt(job) and job.request_sha256 is None
    )


def _what(job: Job) -> str:
    """Return what makes two requests the same: body, endpoint, tenant."""
    return repr((job.request_sha256, job.base_url, sorted(job.vars.items())))


def retry_refusal(recorder: Recorder, job: Job) -> BgrespError | None:
    """Return why a job must not be asked for a second time; None where it may."""
    if job.status is Status.UNKNOWN or recorder.ledger.is_dead(job):
        return UnknownOutcomeError(
            f"{job.ref} may have been accepted", hint=f"bgresp resolve {job.key}"
        )
    if job.status.is_open or job.status is Status.SUBMITTING:
        return NotFinishedError(
            f"{job.ref} is {job.status.value}: it may still answer",
            hint=f"bgresp cancel {job.quoted}, or bgresp watch {job.quoted}",
        )
    return None


def retry_draft(recorder: Recorder, job: Job) -> Draft:
    """Return the draft of a new job from a job's stored request.

    It takes over what the job is known by. Raises NoSuchJobError when no request was
    kept.
    """
    body = _body(recorder, job)
    metadata = {
        k: v for k, v in (body.pop("metadata", None) or {}).items() if k != OURS
    }
    if metadata:
        body["metadata"] = metadata
    again = Job(
        key="",
        name=job.name,
        group=job.group,
        labels=job.labels,
        row=job.row,
        profile=job.profile,
        base_url=job.base_url,
        dialect=job.dialect,
        vars=job.vars,
        model=job.wanted_model,
        model_asked=job.wanted_model,
        submitted_at=recorder.now(),
        streamable=job.streamable,
        previous_id=job.previous_id,
        expect=job.expect,
        request_sha256=job.request_sha256,
        retry_of=job.key,
    )
    extra = {name: job.extra[name] for name in _TAKEN if name in job.extra}
    return Draft(again._replace(extra=extra), body, stream=bool(job.streamable))


def to_retry(recorder: Recorder, jobs: Iterable[Job], *, lost: bool) -> list[Job]:
    """Return, oldest first, the jobs that did not complete and were not retried.

    A lost one may still answer: it is among them only where that is asked for. A retry
    that was rejected counts for nothing: nobody works on it.
    """
    wanted = sorted(
        (
            job
            for job in jobs
            if job.status.did_not_complete and (lost or job.status is not Status.LOST)
        ),
        key=lambda job: job.key,
    )
    if not wanted:
        return []
    retried: set[str] = set()
    for job in recorder.ledger.newest():
        if job.key <= wanted[0].key:
            break  # a retry is always newer than what it retries
        if job.retry_of is not None and job.status is not Status.REJECTED:
            retried.add(job.retry_of)
    return [job for job in wanted if job.key not in retried]


def _body(recorder: Recorder, job: Job) -> dict[str, Any]:
    raw = recorder.answers.request(job.key)
    if raw is None:
        raise NoSuchJobError(
            f"the request of {job.ref} was not kept",
            hint="bgresp submit it anew; --no-keep-prompt leaves no copy",
        )
    try:
        body: Any = json.loads(raw)
    except (ValueError, RecursionError):
        body = None
    if not isinstance(body, dict):
        path = recorder.answers.request_path(job.key)
        said = f"the stored request {path} cannot be read"
        raise NoSuchJobError(said, hint="bgresp submit it anew")
    return body
