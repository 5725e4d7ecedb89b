"""What can go wrong, and which exit code says so.

BgrespError (1)
├── LedgerError (1)
├── OutputError (1)
├── UsageError (2)
├── NoSuchJobError (3)
├── ConfigError (4)
│   └── FileEncodingError (2)
├── RefusedError (5)
├── UnreachableError (6)
├── UnknownOutcomeError (7)
└── NotFinishedError (8)
"""

from collections.abc import Iterable
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process says to a script; the numbers are CONTRACT.md's."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    NO_SUCH_JOB = 3
    CONFIG = 4
    REFUSED = 5
    UNREACHABLE = 6
    UNKNOWN_OUTCOME = 7
    NOT_FINISHED = 8
    STOPPED_EARLY = 9
    INCOMPLETE = 10
    CANCELLED = 11
    FAILED = 12
    LOST = 13
    NO_ANSWER = 14
    SIGHUP = 129
    SIGINT = 130
    BROKEN_PIPE = 141
    SIGTERM = 143


MEANINGS: dict[ExitCode, str] = {
    ExitCode.OK: "done as asked; of jobs: all completed with an answer",
    ExitCode.INTERNAL: "bgresp itself failed: a bug, the disk, the ledger, the output",
    ExitCode.USAGE: "usage",
    ExitCode.NO_SUCH_JOB: "no such job, ambiguous, empty selection",
    ExitCode.CONFIG: "API key or configuration missing, refused or unsafe",
    ExitCode.REFUSED: (
        "the endpoint refused, cannot do this, or does not speak the protocol"
    ),
    ExitCode.UNREACHABLE: (
        "the endpoint was not reached, or told us to wait longer than we may: "
        "nothing was accepted"
    ),
    ExitCode.UNKNOWN_OUTCOME: (
        "outcome of a submit unknown: it may have been accepted; do not repeat "
        "it blindly"
    ),
    ExitCode.NOT_FINISHED: "not finished: open, or --timeout passed",
    ExitCode.STOPPED_EARLY: "stopped early (--max-failures, --fail-fast)",
    ExitCode.INCOMPLETE: "the job ended incomplete",
    ExitCode.CANCELLED: "the job was cancelled",
    ExitCode.FAILED: "the job failed",
    ExitCode.LOST: "the endpoint no longer has the job",
    ExitCode.NO_ANSWER: (
        "completed, but not with an answer: it waits for tool outputs or an approval, "
        "the model refused, or there is nothing"
    ),
    ExitCode.SIGHUP: "SIGHUP: detached, the job goes on",
    ExitCode.SIGINT: "SIGINT: detached, the job goes on",
    ExitCode.BROKEN_PIPE: "the reader of stdout went away",
    ExitCode.SIGTERM: "SIGTERM: detached, the job goes on",
}

# Several jobs: the first of this order that occurs (CONTRACT.md, Exit codes).
GRAVITY = (1, 7, 13, 12, 11, 10, 14, 9, 8, 6, 5, 4, 3, 0)


def worst(codes: Iterable[int]) -> ExitCode:
    """Return the exit code that stands for several jobs; OK for none."""
    seen = set(codes)
    return ExitCode(next((code for code in GRAVITY if code in seen), 0))


class BgrespError(Exception):
    """Something a person can act on: a message of one line and what to type next."""

    code: ClassVar[ExitCode] = ExitCode.INTERNAL
    kind: ClassVar[str] = "internal"
    usual: ClassVar[str] = "bgresp doctor"

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        request_id: str | None = None,
        retryable: bool = False,
    ) -> None:
        """Keep the message, the next command, and the endpoint's request id."""
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.request_id = request_id
        self.retryable = retryable

    @property
    def advice(self) -> str:
        """Return what to type next: the hint, or what is usual for its kind."""
        return self.hint or self.usual


class LedgerError(BgrespError):
    """The ledger or its folder cannot be read or written."""

    kind = "ledger"


class OutputError(BgrespError):
    """The answer could not be written where it was asked for."""

    kind = "output"
    usual = "no job is lost by it: bgresp list"


class UsageError(BgrespError):
    """The command line asks for something that makes no sense."""

    code = ExitCode.USAGE
    kind = "usage"
    usual = "bgresp help"


class NoSuchJobError(BgrespError):
    """A REF names no job, or several, or a selection is empty."""

    code = ExitCode.NO_SUCH_JOB
    kind = "no_such_job"
    usual = "bgresp list"


class ConfigError(BgrespError):
    """A key or setting is missing, malformed or unsafe."""

    code = ExitCode.CONFIG
    kind = "config"
    usual = "bgresp config show"


class FileEncodingError(ConfigError):
    """A file of keys or settings is UTF-16: it can be converted, and is not read."""

    code = ExitCode.USAGE
    kind = "encoding"


class RefusedError(BgrespError):
    """The endpoint refused, cannot do this, or does not speak the protocol."""

    code = ExitCode.REFUSED
    kind = "refused"
    usual = "bgresp list --wide tells why; bgresp config show, where it went"


class UnreachableError(BgrespError):
    """The endpoint was not reached; nothing was accepted."""

    code = ExitCode.UNREACHABLE
    kind = "unreachable"
    usual = "the same command again; is it there at all? bgresp models"


class UnknownOutcomeError(BgrespError):
    """A submit may or may not have been accepted."""

    code = ExitCode.UNKNOWN_OUTCOME
    kind = "unknown_outcome"
    usual = "bgresp list --status submitting,unknown"


class NotFinishedError(BgrespError):
    """The job is open, or waiting for it took longer than allowed."""

    code = ExitCode.NOT_FINISHED
    kind = "not_finished"
    usual = "bgresp list --open"
