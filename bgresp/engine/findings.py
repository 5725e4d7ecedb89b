"""What a probe found so far: verdicts, and what a refusal is worth as one."""

from dataclasses import dataclass, field
from typing import Final

from bgresp.core.capabilities import Ability, Finding, Verdict
from bgresp.core.model import Job, Status
from bgresp.core.signals import Fault, FaultKind, Snapshot
from bgresp.core.text import one_line

YES: Final = Verdict.YES
NO: Final = Verdict.NO
UNKNOWN: Final = Verdict.UNKNOWN
JSON: Final = "answered with JSON, not events"
# What an endpoint answers that has no such route, or cannot do what was asked.
_NO_ROUTE: Final = frozenset({400, 404, 405, 406, 410, 415, 422, 501})


@dataclass(slots=True)
class Findings:
    """The findings of one probe; `dialect` is the name of what is spoken."""

    dialect: str
    table: dict[Ability, Finding] = field(default_factory=dict)

    def note(self, ability: Ability, verdict: Verdict, detail: str) -> None:
        """Keep a verdict; a later one holds."""
        self.table[ability] = Finding(verdict, one_line(detail, limit=300))

    def absent(self, ability: Ability) -> None:
        """Note that the dialect has no way to ask for it."""
        self.note(ability, NO, f"the dialect {self.dialect} has none")

    def refused(self, ability: Ability, answer: Snapshot | Fault) -> None:
        """Note what came instead; what is no word of the endpoint proves nothing."""
        if isinstance(answer, Snapshot):
            self.note(ability, NO, JSON)
            return
        http = answer.http_status
        is_word = http in _NO_ROUTE or answer.kind is FaultKind.NOT_STREAMABLE
        code = f"HTTP {http}: " if http else ""
        self.note(ability, NO if is_word else UNKNOWN, f"{code}{answer.message}")

    def cut(self, job: Job, *, most: int, whole: bool) -> None:
        """Judge what is said of an answer that may have no more than `most` tokens.

        `whole`: it went to its end all the same.
        """
        used = (job.usage.output_tokens if job.usage else None) or 0
        if job.status is Status.INCOMPLETE:
            found = YES, f"a cut answer is incomplete ({job.incomplete_reason})"
        elif job.status is not Status.COMPLETED:
            found = UNKNOWN, f"the job is {job.status}"
        elif whole:
            found = UNKNOWN, f"max_output_tokens = {most} was not minded"
        elif used >= most:
            found = NO, "a cut answer is called completed"
        else:
            found = UNKNOWN, "the answer was a short one"
        self.note(Ability.TRUNCATION, *found)

    def has(self, ability: Ability) -> bool:
        """Say whether the endpoint was seen to have an ability."""
        found = self.table.get(ability)
        return found is not None and found.verdict is YES


def is_refusal(fault: Fault) -> bool:
    """Say whether an endpoint says that it cannot do what was asked."""
    return fault.http_status in _NO_ROUTE
