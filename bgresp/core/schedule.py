"""How long to wait: polling pace, backoff, and what an endpoint's headers ask for.

Pure arithmetic: `jitter` is a number in [0, 1) that the caller drew.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Final

from bgresp.core.times import unix

Tiers = Sequence[tuple[float, float]]

# Age of the job up to which the pace holds, and the pace, in seconds: DESIGN.md, Many
# jobs. A dialect may have its own.
TIERS: Final = ((1.0, 1.0), (30.0, 2.0), (300.0, 5.0), (3600.0, 30.0))
SPREAD = 0.25  # the share of a wait that jitter adds at most
BACKOFF_FIRST = 0.5  # seconds
BACKOFF_CAP = 30.0  # seconds
RETRY_AFTER_CAP = 3600.0  # seconds that an endpoint may ask us to wait
YOUNG: Final = 60.0  # seconds for which an endpoint may not know a job yet
# OpenAI writes `x-ratelimit-reset-requests: 6m0s`; others seconds, or a point in time
# in seconds or milliseconds since 1970 (GitHub; OpenRouter).
_REMAINING: Final = "x-ratelimit-remaining"
_RESET: Final = "x-ratelimit-reset"
_SPAN: Final = r"(?a)(?:\d+(?:\.\d*)?(?:ms|us|µs|ns|d|h|m|s))+"
_PART: Final = r"(?a)(\d+(?:\.\d*)?)(ms|us|µs|ns|d|h|m|s)"
_UNITS: Final = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3}
_A_DATE: Final = 1e9
_A_DATE_IN_MS: Final = 1e11


def pace(
    age: float,
    *,
    bounds: tuple[float, float],
    expect: float | None,
    tiers: Tiers = TIERS,
) -> float:
    """Return the seconds between two polls of a job of this age, without jitter.

    A job with an expected length is asked at the pace of that length from the start,
    one beyond the last tier at the upper bound.
    """
    scale = max(age, expect or 0.0)
    low, high = bounds
    tier = next((wait for upto, wait in tiers if scale < upto), high)
    return min(max(tier, low), high)


def upward(seconds: float, jitter: float, *, share: float = SPREAD) -> float:
    """Spread a wait upward only: never earlier than asked."""
    return seconds * (1.0 + share * jitter)


def backoff(attempt: int, jitter: float) -> float:
    """Return full jitter over an exponential: attempt 0 waits up to half a second."""
    ceiling = min(BACKOFF_CAP, BACKOFF_FIRST * 2.0 ** min(max(attempt, 0), 16))
    return ceiling * (0.1 + 0.9 * jitter)


def spread(seconds: float, jitter: float) -> float:
    """Spread a wait that the endpoint asked for over [R, 2R], half a minute at most."""
    return seconds + jitter * min(seconds, BACKOFF_CAP)


def retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Read how long an endpoint asks us to wait, in seconds; None when it does not.

    `retry-after-ms` first, then seconds, then an HTTP date measured against the
    reply's own `Date`. Nonsense (negative, nan, inf, past) is no answer.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is None:
        milliseconds = _number(headers.get("openai-poll-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000.0
    value = headers.get("retry-after")
    if value is None:
        return None
    seconds = _number(value)
    if seconds is not None:
        return seconds
    moment, base = _date(value), _date(headers.get("date"))
    if moment is None:
        return None
    wait = moment - (now if base is None else base)
    return wait if wait > 0 else None


def spent(headers: Mapping[str, str], *, now: float) -> float | None:
    """Read for how long nothing is left of a rate limit, in seconds.

    None while something is left, or where nothing is said. Of several limits (requests,
    tokens) that are spent the one that is reset last counts.
    """
    names = [
        name.replace(_REMAINING, _RESET, 1)
        for name, value in headers.items()
        if name.startswith(_REMAINING) and _number(value) == 0
    ]
    if not names:
        return None
    base = _date(headers.get("date"))
    waits = [_until(headers.get(name), base or now) for name in names]
    return max((wait for wait in waits if wait is not None), default=None)


def requested_wait(headers: Mapping[str, str], *, now: float) -> float | None:
    """Read how long a refusal asks us to wait by any of its headers: the longest."""
    waits = (retry_after(headers, now=now), spent(headers, now=now))
    return max((wait for wait in waits if wait is not None), default=None)


def _until(text: str | None, now: float) -> float | None:
    """Read a span, or a point in time, as seconds from now; the past is no answer."""
    if text is None:
        return None
    number = _number(text)
    if number is None and re.fullmatch(_SPAN, text.strip()):
        parts = re.findall(_PART, text)
        return sum(float(count) * _UNITS.get(unit, 0.0) for count, unit in parts)
    if number is not None and number < _A_DATE:
        return number
    if number is not None:
        moment = number / 1000.0 if number >= _A_DATE_IN_MS else number
    else:
        moment = unix(text.strip()) or _date(text) or now
    return moment - now if moment > now else None


def _number(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    if value is None or not math.isfinite(value) or value < 0:
        return None
    return value


def _date(text: str | None) -> float | None:
    if not text:
        return None
    from datetime import UTC
    from email.utils import parsedate_to_datetime  # most replies name no date to us

    try:
        moment = parsedate_to_datetime(text)
        # Without an offset it is UTC (RFC 9110 5.6.7), not this machine's zone.
        zoned = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return zoned.timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
