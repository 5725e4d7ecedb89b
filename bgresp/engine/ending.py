"""The end of a job's following: show the rest, say how it ended."""

from bgresp.core.model import Job, Status
from bgresp.core.observer import Observer
from bgresp.engine.pen import Pen


def conclude(job: Job, text: str, pen: Pen, observer: Observer) -> None:
    """Show what is left of the final text, and tell the observer that this was all.

    Where what was shown is no beginning of it, nothing more is shown: the saved answer
    is right, and a note says how to get it.
    """
    rest = pen.settle(text)
    if rest is None:
        message = "what was shown is not how the answer begins"
        observer.note(job, f"{message}: bgresp get {job.ref}")
    elif rest:
        observer.text(job, rest)
        pen.wrote(rest)
    if pen.shown.ended:
        return
    if job.status is Status.COMPLETED and not text and job.usage is None:
        # A gateway that lost its upstream says so: BerriAI/litellm#36275.
        observer.note(job, "completed, but empty and without usage: it may be lost")
    if rest is not None and text and not text.endswith("\n"):
        observer.end_line(job)
    observer.ended(job, text)
    pen.end()
