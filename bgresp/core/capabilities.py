"""What an endpoint was seen to do: a verdict on each ability, and what follows."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any, Final, Self

from bgresp.core.dialect import Dialect
from bgresp.core.times import rfc3339, unix

SCHEMA: Final = "bgresp.probe/1"


class Ability(StrEnum):
    """What WIRE.md 4 says must be detected and never assumed."""

    BACKGROUND = "background"
    RETRIEVE = "retrieve"
    STREAM_CREATE = "stream_create"
    STREAM_LATER = "stream_later"
    RESUME = "resume"
    CANCEL = "cancel"
    CANCEL_TWICE = "cancel_twice"
    DELETE = "delete"
    LIST = "list"
    TRUNCATION = "truncation"


class Verdict(StrEnum):
    """Whether an endpoint has an ability."""

    YES = "yes"
    NO = "no"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict and what was seen."""

    verdict: Verdict
    detail: str


UNTRIED: Final = Finding(Verdict.UNKNOWN, "not tried")


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a probe found out about one base URL spoken to in one dialect."""

    base_url: str
    dialect: str
    model: str | None = None
    probed_at: float | None = None
    jobs: tuple[str, ...] = ()
    findings: Mapping[Ability, Finding] = field(default_factory=dict)

    def of(self, ability: Ability) -> Finding:
        """Return what was found about an ability."""
        return self.findings.get(ability, UNTRIED)

    def lacks(self, ability: Ability) -> bool:
        """Say whether the endpoint was seen not to have an ability."""
        return self.of(ability).verdict is Verdict.NO

    def to_dict(self) -> dict[str, Any]:
        """Return the form that is kept, and that scripts read."""
        return {
            "schema": SCHEMA,
            "base_url": self.base_url,
            "dialect": self.dialect,
            "model": self.model,
            "probed_at": rfc3339(self.probed_at),
            "jobs": list(self.jobs),
            "abilities": {str(name): asdict(self.of(name)) for name in Ability},
        }

    @classmethod
    def read(cls, raw: Any) -> Self | None:
        """Read a card that was kept; None where it is none, or of another version."""
        if not isinstance(raw, Mapping) or raw.get("schema") != SCHEMA:
            return None
        told = raw.get("abilities")
        table = told if isinstance(told, Mapping) else {}
        findings = {name: _finding(table.get(name)) for name in Ability}
        return cls(
            base_url=str(raw.get("base_url")),
            dialect=str(raw.get("dialect")),
            probed_at=unix(raw.get("probed_at")),
            findings={name: found for name, found in findings.items() if found},
        )


def _finding(raw: Any) -> Finding | None:
    if not isinstance(raw, Mapping) or raw.get("verdict") not in set(Verdict):
        return None
    return Finding(Verdict(raw["verdict"]), str(raw.get("detail", "")))


def applied(dialect: Dialect, card: Capabilities) -> Dialect:
    """Return a dialect without what its endpoint was seen not to do.

    No card gives an endpoint more than its dialect says. Where no cursor is minded, a
    stream is read from its start: what was seen before is dropped by its number.
    """
    gone = {"cancel"} if card.lacks(Ability.CANCEL) else set()
    streaming = dialect.streaming
    if card.lacks(Ability.STREAM_LATER):
        streaming = replace(streaming, attach="never")
        if card.lacks(Ability.STREAM_CREATE):
            gone.add("stream")
    if card.lacks(Ability.RESUME):
        streaming = replace(streaming, resume="")
    ops = {name: op for name, op in dialect.ops.items() if name not in gone}
    return replace(dialect, ops=ops, streaming=streaming)
