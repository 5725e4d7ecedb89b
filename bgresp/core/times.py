"""Points in time and durations between text and seconds."""

import re
from datetime import UTC, date, datetime, timedelta

from bgresp.core.errors import UsageError

_UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
# Compiled when first needed: few commands are told a duration.
_DURATION = r"(?a)(\d{1,12}(?:\.\d+)?)([smhd]?)"
_COUNT = r"(?a)\d{1,9}(?:\.\d{1,6})?"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_YEAR_9999 = 253_402_300_799.0


def rfc3339(seconds: float | None) -> str | None:
    """Return Unix seconds as RFC 3339 in UTC with milliseconds; None stays None."""
    if seconds is None:
        return None
    clamped = min(max(seconds, 0.0), _YEAR_9999)
    moment = _EPOCH + timedelta(milliseconds=round(clamped * 1000))
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def local(seconds: float) -> str:
    """Return Unix seconds in the time zone of this process, with its offset."""
    clamped = min(max(seconds, 0.0), _YEAR_9999 - 86400)
    moment = (_EPOCH + timedelta(milliseconds=round(clamped * 1000))).astimezone()
    return moment.isoformat(timespec="milliseconds")


def unix(value: object) -> float | None:
    """Read a time as servers write it: int, float, RFC 3339 text; else None."""
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value) if 0 <= value <= _YEAR_9999 else None
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value)
        except ValueError:
            return None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH).total_seconds()
    return None


def duration(text: str) -> float:
    """Read `90`, `0.5`, `90s`, `10m`, `2h`, `1d` as seconds.

    Raises UsageError when the text is none of these.
    """
    found = re.fullmatch(_DURATION, text.strip())
    if not found:
        raise UsageError(
            f"not a duration: {text!r}", hint="write 90, 0.5, 90s, 10m, 2h or 1d"
        )
    return float(found[1]) * _UNITS[found[2]]


def every(text: str) -> float:
    """Read `30/m`, `2/s`, `100/h` or `1000/d` as the seconds between two.

    Raises UsageError when the text is none of these.
    """
    count, _, unit = text.strip().partition("/")
    if (
        unit not in _UNITS
        or not unit
        or not re.fullmatch(_COUNT, count)
        or not float(count)
    ):
        raise UsageError(
            f"not a rate: {text!r}", hint="write 30/m, 2/s, 100/h or 1000/d"
        )
    return _UNITS[unit] / float(count)


def point(text: str, *, now: float) -> float:
    """Read RFC 3339, a date (local midnight), or a duration ago as Unix seconds.

    Raises UsageError when the text is none of these.
    """
    try:
        day = date.fromisoformat(text)
    except ValueError:
        pass
    else:
        return _midnight(day)
    if re.fullmatch(_DURATION, text.strip()):
        return now - duration(text)
    moment = unix(text)
    if moment is None:
        raise UsageError(
            f"not a point in time: {text!r}",
            hint="write 2026-11-21, 2026-11-21T08:00:00Z, or a duration ago such as 2h",
        )
    return moment


def _midnight(day: date) -> float:
    """Return when a day begins here, as `date +%F` means it."""
    naive = datetime(day.year, day.month, day.day)  # noqa: DTZ001  the local zone
    try:
        return naive.timestamp()
    except (ValueError, OverflowError):  # the first and the last years there are
        return naive.replace(tzinfo=UTC).timestamp()


def brief(seconds: float) -> str:
    """Write a span for people: 0.4s, 12s, 3m05s, 2h10m, 4d."""
    whole = max(seconds, 0.0)
    if whole < 10:
        return f"{whole:.1f}s"
    minutes, rest = divmod(int(whole), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h" if hours else f"{days}d"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{rest}s"
