"""Waits are bounded, and what an endpoint asks for is never undercut."""

import math
import time
from collections.abc import Iterator
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.schedule import (
    BACKOFF_CAP,
    SPREAD,
    backoff,
    pace,
    requested_wait,
    retry_after,
    spent,
    spread,
    upward,
)

NOW = 1_795_000_000.0
JITTER = st.floats(0, 1, exclude_max=True)
DATE = formatdate(NOW, usegmt=True)
LATER = formatdate(NOW + 30, usegmt=True)
EARLIER = formatdate(NOW - 30, usegmt=True)


@pytest.fixture(name="tokyo")
def _tokyo(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("age", "seconds"),
    [
        *((-5, 1.0), (0, 1.0), (1, 2.0), (29, 2.0), (30, 5.0), (299, 5.0)),
        *((300, 30.0), (3599, 30.0), (3600, 60.0), (math.inf, 60.0)),
    ],
)
def test_the_pace_follows_the_age(age: float, seconds: float) -> None:
    """A job is asked as often as its age deserves: DESIGN.md, Many jobs."""
    assert seconds == pace(age, bounds=(0, 60), expect=None)


def test_an_expected_length_sets_the_pace_from_the_start() -> None:
    """A job that is expected to take an hour is not asked every second."""
    assert 60.0 == pace(0, bounds=(1, 60), expect=3600)
    assert 30.0 == pace(600, bounds=(1, 60), expect=10)


@given(st.floats(allow_nan=False), st.none() | st.floats(0, 1e9), JITTER)
def test_the_pace_keeps_to_the_dialects_range(
    age: float, expect: float | None, jitter: float
) -> None:
    """No age leads to a pace outside the endpoint's range, and jitter only adds."""
    wait = pace(age, bounds=(2.0, 20.0), expect=expect)
    assert 2.0 <= wait <= 20.0
    assert wait <= upward(wait, jitter) <= wait * (1 + SPREAD)


@given(st.integers(-5, 10**6), JITTER)
def test_backoff_lies_within_its_cap(attempt: int, jitter: float) -> None:
    """However often it failed, the next try is neither at once nor far away."""
    assert 0 < backoff(attempt, jitter) <= BACKOFF_CAP


@given(st.integers(0, 20), JITTER)
def test_backoff_grows(attempt: int, jitter: float) -> None:
    """A further failure never shortens the wait."""
    assert backoff(attempt, jitter) <= backoff(attempt + 1, jitter)


@given(st.floats(0, 1e6), JITTER)
def test_a_wait_that_was_asked_for_is_never_undercut(
    seconds: float, jitter: float
) -> None:
    """Jitter on a Retry-After is upward only: up to twice, half a minute at most."""
    assert seconds <= spread(seconds, jitter) <= seconds + min(seconds, BACKOFF_CAP)


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, None),
        ({"retry-after": "-5"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "-inf"}, None),
        ({"retry-after": "1e999"}, None),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "   "}, None),
        ({"retry-after": "1e9"}, 1e9),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": EARLIER}, None),
        ({"retry-after": DATE}, None),
        ({"retry-after": LATER}, 30.0),
        ({"retry-after": "Sun, 99 Nov 2026 99:99:99 GMT"}, None),
        # The endpoint's own clock counts, however wrong it is.
        ({"retry-after": LATER, "date": DATE}, 30.0),
        ({"retry-after": EARLIER, "date": formatdate(NOW - 90, usegmt=True)}, 60.0),
        ({"retry-after": LATER, "date": LATER}, None),
        ({"retry-after": LATER, "date": "today"}, 30.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "60"}, 1.5),
        ({"retry-after-ms": "-1", "retry-after": "60"}, 60.0),
        ({"retry-after-ms": "soon"}, None),
        ({"openai-poll-after-ms": "5000"}, 5.0),
        ({"retry-after-ms": "1", "openai-poll-after-ms": "5000"}, 0.001),
    ],
)
def test_retry_after_is_read_or_ignored(
    headers: dict[str, str], expected: float | None
) -> None:
    """RELIABILITY.md case 109: sense is read, nonsense is no answer."""
    assert expected == retry_after(headers, now=NOW)


@pytest.mark.usefixtures("tokyo")
@pytest.mark.parametrize(
    "form", ["%a, %d %b %Y %H:%M:%S -0000", "%a %b %d %H:%M:%S %Y", "%c"]
)
def test_a_date_without_an_offset_is_utc(form: str) -> None:
    """The time zone of the machine never changes how long an endpoint is left alone."""
    text = time.strftime(form, time.gmtime(NOW + 30))
    assert 30.0 == retry_after({"retry-after": text}, now=NOW)


@given(
    st.dictionaries(
        st.sampled_from(["retry-after", "retry-after-ms", "date"]),
        st.text() | st.from_regex(r"[A-Z][a-z]{2}, \d+ [A-Z][a-z]{2} \d+ [\d:]+.*"),
    )
)
def test_no_header_breaks_the_reader(headers: dict[str, str]) -> None:
    """Whatever stands in the headers, the answer is None or a finite wait."""
    seconds = retry_after(headers, now=NOW)
    assert seconds is None or 0 <= seconds < math.inf


RATE = "x-ratelimit-"


@pytest.mark.parametrize(
    ("reset", "seconds"),
    [
        *(("6m0s", 360.0), ("17ms", 0.017), ("1h2m3.5s", 3723.5), ("1s", 1.0)),
        *(("0", 0.0), ("2.5", 2.5), ("2d", 172800.0), ("100us", 0.0)),
        *((f"{NOW + 30:.0f}", 30.0), (f"{(NOW + 30) * 1000:.0f}", 30.0)),
        *((LATER, 30.0), ("2026-11-18T11:13:50Z", 430.0), (None, None)),
        *((EARLIER, None), ("soon", None), ("-3", None), ("6m0x", None), ("", None)),
    ],
)
def test_a_spent_rate_limit(reset: str | None, seconds: float | None) -> None:
    """However an endpoint writes when its limit is reset, nobody asks before."""
    headers = {f"{RATE}remaining-requests": "0", "date": formatdate(NOW, usegmt=True)}
    if reset is not None:
        headers[f"{RATE}reset-requests"] = reset
    found = spent(headers, now=5.0)
    assert (seconds is None) == (found is None)
    assert seconds is None or pytest.approx(seconds, abs=1e-3) == found


def test_a_limit_that_is_not_spent_asks_for_nothing() -> None:
    """What is left may be used; of two spent limits the later one holds."""
    left = {f"{RATE}remaining-requests": "3", f"{RATE}reset-requests": "9s"}
    assert spent(left, now=NOW) is None
    both = {f"{RATE}remaining-tokens": "0", f"{RATE}reset-tokens": "20s"}
    bare = {f"{RATE}remaining": "0.0", f"{RATE}reset": "30"}
    assert 20.0 == spent({**left, **both}, now=NOW)
    assert 30.0 == spent({**both, **bare}, now=NOW)
    assert spent({f"{RATE}remaining": "none", f"{RATE}reset": "9"}, now=NOW) is None


def test_a_refusal_asks_for_the_longest_of_its_waits() -> None:
    """Retry-After and a spent limit may disagree: neither is undercut."""
    limit = {f"{RATE}remaining-requests": "0", f"{RATE}reset-requests": "20s"}
    assert 20.0 == requested_wait({"retry-after": "5", **limit}, now=NOW)
    assert 50.0 == requested_wait({"retry-after": "50", **limit}, now=NOW)
    assert requested_wait({}, now=NOW) is None


@given(
    st.dictionaries(
        st.sampled_from([f"{RATE}remaining", f"{RATE}reset", "retry-after", "date"]),
        st.text()
        | st.from_regex(r"[0-9]{1,14}(\.[0-9]+)?(ms|s|m|h|d)?", fullmatch=True),
    )
)
def test_any_rate_limit_headers_are_read(headers: dict[str, str]) -> None:
    """No header makes reading fail, or a wait negative or endless."""
    found = requested_wait(headers, now=NOW)
    assert found is None or 0 <= found < math.inf
