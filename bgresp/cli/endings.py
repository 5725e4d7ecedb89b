"""How a job ended that did not complete, on stderr: why, and the next command."""

import shlex
from collections.abc import Iterable
from typing import Final

from bgresp.cli.context import Context
from bgresp.core.model import Job, Status
from bgresp.engine import retry
from bgresp.render.columns import summary

SPELLED: Final = 10  # open jobs that are named at the end; more are counted


def say_why_over(context: Context, jobs: Iterable[Job]) -> None:
    """Say why jobs that are over did not complete."""
    for job in jobs:
        if not job.status.is_open:
            say_why(context, job)


def say_open(context: Context, jobs: Iterable[Job]) -> None:
    """Say which jobs are open yet."""
    left = [job for job in jobs if job.status.is_open]
    if len(left) > SPELLED:
        context.say(f"{len(left)} jobs are still open: bgresp watch")
        return
    for job in left:
        again = f"bgresp watch {job.ref} --resume"
        context.say(f"{job.ref} is still {job.status.value}: {again}")


def say_failed(context: Context, jobs: Iterable[Job]) -> None:
    """Say what to type where jobs of one group did not complete."""
    failed = retry.failed(context.books, jobs)
    groups = {job.group for job in failed}
    if len(groups) == 1 and (group := groups.pop()):
        again = f"bgresp retry --failed --group {shlex.quote(group)}"
        context.say(f"{len(failed)} did not complete: {again}")


def say_why(context: Context, job: Job) -> None:
    """Say how a job stands that did not complete: its text alone would not tell."""
    if job.status.is_open:
        context.say(f"{job.ref} is {job.status.value}: bgresp watch {job.ref}")
    elif job.status.is_unsettled:
        context.say(f"{job.ref} is {standing(job)}")
    elif job.status is not Status.COMPLETED:
        context.say(f"{job.ref} {summary(job)} (bgresp retry {job.ref})")


def standing(job: Job) -> str:
    """Return how a job stands that has no text; of an unknown outcome, what to do."""
    if not job.status.is_unsettled:
        return summary(job)
    said = "no answer, its submit has no known outcome"
    return f"{job.status.value}: {said} (bgresp resolve {job.ref})"
