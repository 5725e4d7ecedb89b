"""Signals and states of a job, as the machine's tests feed them."""

from typing import Final

from bgresp.core.machine import Action, Follow, Policy, State, step
from bgresp.core.model import Job, ResponseError, Status
from bgresp.core.signals import Event, Fault, FaultKind, Reading, Signal, Snapshot

JOB: Final = Job("k", Status.QUEUED, id="resp_1", cursor=3)
STREAMING: Final = Follow(State.STREAMING, Status.QUEUED, cursor=3)
OPEN: Final = Snapshot(Reading(Status.IN_PROGRESS, "in_progress"))
QUEUED: Final = Snapshot(Reading(Status.QUEUED, "queued"))
FINAL: Final = Snapshot(Reading(Status.COMPLETED, "completed", text="x"))
DONE: Final = Event(
    "response.completed", sequence=9, reading=FINAL.reading, terminal=True
)
BARE: Final = Event("response.completed", sequence=9, terminal=True)
ERROR: Final = Event(
    "error", sequence=9, terminal=True, error=ResponseError("server_error", "It broke.")
)
DELTA: Final = Event("response.output_text.delta", sequence=4, delta="x")


def fault(kind: str, retry_after: float | None = None) -> Fault:
    return Fault(FaultKind(kind), "it broke", retry_after=retry_after)


def step_of(
    follow: Follow, signal: Signal, policy: Policy | None = None, now: float = 100.0
) -> tuple[Follow, Action | None]:
    return step(follow, signal, policy=policy or Policy(), jitter=0.5, now=now)
