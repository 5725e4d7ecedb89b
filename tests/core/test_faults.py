"""A fault becomes the same error everywhere: its kind, its code, what to type next."""

import pytest

from bgresp.core.errors import ConfigError, RefusedError, UnreachableError
from bgresp.core.model import Job
from bgresp.core.signals import Fault, FaultKind, error_of, exit_code

KEPT = Job("k", profile="work", extra={"key_source": "$WORK_KEY"})
SHOW = "bgresp config show -p work"
AGAIN = "the same command again; is it there at all? bgresp models -p work"
LATER = "the same command again, later; what is open: bgresp list --open"


@pytest.mark.parametrize(
    ("fault", "kind", "hint"),
    [
        (Fault(FaultKind.REFUSED, "no", 400), RefusedError, ""),
        (Fault(FaultKind.UNREADABLE, "no", 200), RefusedError, ""),
        (Fault(FaultKind.NOT_STREAMABLE, "no"), RefusedError, ""),
        (Fault(FaultKind.RATE_LIMITED, "no", 429), UnreachableError, LATER),
        (Fault(FaultKind.UNREACHABLE, "no"), UnreachableError, AGAIN),
        (Fault(FaultKind.UNREACHABLE, "no", 503), UnreachableError, AGAIN),
        (Fault(FaultKind.REFUSED, "no", 302), ConfigError, SHOW),
        (Fault(FaultKind.REFUSED, "no", 399), ConfigError, SHOW),
        (
            Fault(FaultKind.REFUSED, "no", 401),
            ConfigError,
            f"the key of profile work, from $WORK_KEY: {SHOW}",
        ),
        (
            Fault(FaultKind.REFUSED, "no", 407),
            ConfigError,
            "set the proxy's user and password in its variable: bgresp doctor",
        ),
        (Fault(FaultKind.UNREACHABLE, "no", setup="see"), ConfigError, "see"),
    ],
)
def test_a_fault_is_one_error(fault: Fault, kind: type, hint: str) -> None:
    """What a person can set right exits 4, and says where; 5 is a refusal, 6 silence."""
    error = error_of(fault, job=KEPT)
    assert (kind, "no", hint) == (type(error), error.message, error.hint)
    assert exit_code(fault) is error.code
    assert (kind is UnreachableError) is error.retryable


def test_the_line_may_be_another() -> None:
    """Who knows more than the fault says it, and the request id stays."""
    error = error_of(Fault(FaultKind.REFUSED, "no", 401, request_id="r"), "all of it")
    assert ("all of it", "r") == (error.message, error.request_id)
    assert "bgresp config show" == error.hint


def test_a_profile_without_a_key_is_named() -> None:
    """A refused key that is none is told as such."""
    refused = Fault(FaultKind.REFUSED, "no", 403)
    keyless = Job("k", profile="work", extra={"key_source": "none"})
    assert f"profile work has no key: {SHOW}" == error_of(refused, job=keyless).hint
    assert "bgresp config show" == error_of(refused, job=Job("k")).hint
