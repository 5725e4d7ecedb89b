"""How a job ended that did not complete, on stderr: why, and the next command."""

from collections.abc import Iterable

from bgresp.cli.context import Context
from bgresp.core.model import Job, Status
from bgresp.engine.unsettled import UNSETTLED
from bgresp.render.lines import summary


def say_why_over(context: Context, jobs: Iterable[Job]) -> None:
    """Say why jobs that are over did not complete."""
    for job in jobs:
        if not job.status.is_open:
            say_why(context, job)


def say_why(context: Context, job: Job) -> None:
    """Say how a job stands that did not complete: its text alone would not tell."""
    if job.status.is_open:
        context.say(f"{job.ref} is {job.status.value}: bgresp watch {job.ref}")
    elif job.status in UNSETTLED:
        context.say(f"{job.ref} is {standing(job)}")
    elif job.status is not Status.COMPLETED:
        context.say(f"{job.ref} {summary(job)} (bgresp retry {job.ref})")


def standing(job: Job) -> str:
    """Return how a job stands that has no text; of an unknown outcome, what to do."""
    if job.status not in UNSETTLED:
        return summary(job)
    said = "no answer, its submit has no known outcome"
    return f"{job.status.value}: {said} (bgresp resolve {job.ref})"
