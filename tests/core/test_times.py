"""Times and durations survive the way to text and back."""

import math
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgresp.core.errors import UsageError
from bgresp.core.times import brief, duration, point, rfc3339, unix

YEAR_9999 = 253_402_300_799.0
NOW = 1_795_000_000.0
MOMENTS = st.integers(0, int(YEAR_9999 * 1000)).map(lambda ms: ms / 1000)


@given(MOMENTS)
def test_a_time_survives_the_round_trip(seconds: float) -> None:
    """A time of milliseconds reads back as it was, up to the year 9999."""
    text = rfc3339(seconds)
    assert text is not None
    found = unix(text)
    assert found is not None
    assert math.isclose(seconds, found, rel_tol=0, abs_tol=1e-4)
    assert text == rfc3339(found)


@given(st.floats(allow_nan=False))
def test_any_number_can_be_written(seconds: float) -> None:
    """A time before 1970 or after 9999 is written as the nearest that there is."""
    text = rfc3339(seconds)
    assert text is not None
    assert "1970-01-01T00:00:00.000Z" <= text <= "9999-12-31T23:59:59.000Z"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, None),
        (0, 0.0),
        (1_700_000_000, 1_700_000_000.0),
        (1.5, 1.5),
        (-1, None),
        (math.nan, None),
        (math.inf, None),
        (10**400, None),
        (1_700_000_000_000, None),  # milliseconds are no Unix time
        ("1970-01-01T00:00:10Z", 10.0),
        ("1970-01-01T01:00:10+01:00", 10.0),
        ("1970-01-01T00:00:10", 10.0),
        ("1970-01-01T00:00:10.250Z", 10.25),
        ("soon", None),
        ("", None),
        ([1], None),
        ({}, None),
    ],
)
def test_servers_write_times_in_many_ways(
    value: object, expected: float | None
) -> None:
    """Numbers and RFC 3339 are read, without an offset as UTC; nonsense is None."""
    assert expected == unix(value)


def test_unknown_stays_unknown() -> None:
    """A time that nobody knows is no time."""
    assert rfc3339(None) is None


@given(st.text() | st.binary() | st.floats() | st.integers())
def test_no_value_breaks_the_reader(value: object) -> None:
    """Whatever a server writes where a time belongs, reading it never raises."""
    found = unix(value)
    assert found is None or math.isfinite(found)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        *(("90", 90.0), ("0.5", 0.5), ("90s", 90.0), ("10m", 600.0)),
        *(("2h", 7200.0), ("1d", 86400.0), ("0", 0.0), (" 5s ", 5.0)),
    ],
)
def test_durations_are_the_contracts(text: str, seconds: float) -> None:
    """Each form of a duration that the contract names is read as seconds."""
    assert seconds == duration(text)


@pytest.mark.parametrize(
    "text", ["", "-5", "5 m", "1h30m", "1e3", ".5", "5.", "inf", "nan", "٣", "5ms"]
)
def test_other_durations_are_refused(text: str) -> None:
    """What is no duration is a usage error that shows how to write one."""
    with pytest.raises(UsageError, match="not a duration") as caught:
        duration(text)
    assert "10m" in caught.value.hint


@given(st.text(st.sampled_from("0123456789.smhd "), max_size=400))
@example("9" * 400)
def test_a_duration_is_finite(text: str) -> None:
    """No number of digits makes a wait without end."""
    try:
        seconds = duration(text)
    except UsageError:
        return
    assert 0 <= seconds < math.inf


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2h", NOW - 7200),
        ("90", NOW - 90),
        ("2026-11-21T08:00:00Z", datetime(2026, 11, 21, 8, tzinfo=UTC).timestamp()),
        ("2026-11-21T08:00", datetime(2026, 11, 21, 8, tzinfo=UTC).timestamp()),
    ],
)
def test_points_in_time_are_the_contracts(text: str, expected: float) -> None:
    """RFC 3339 and a duration ago name a point in time."""
    assert expected == point(text, now=NOW)


@pytest.fixture
def zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Move this process to another time zone."""

    def move(name: str) -> None:
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield move
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("name", "text", "midnight"),
    [
        ("UTC0", "2026-11-21", "2026-11-21T00:00:00Z"),
        ("PKT-5", "2026-11-21", "2026-11-21T00:00:00+05:00"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-07-01", "2026-07-01T00:00:00+02:00"),
        ("CET-1CEST,M3.5.0,M10.5.0/3", "2026-10-25", "2026-10-25T00:00:00+02:00"),
        ("PST8PDT,M3.2.0,M11.1.0", "2026-12-01", "2026-12-01T00:00:00-08:00"),
    ],
)
def test_a_date_is_its_midnight_here(
    zone: Callable[[str], None], name: str, text: str, midnight: str
) -> None:
    """`--since "$(date +%F)"` begins on another day, or in the morning."""
    zone(name)
    assert datetime.fromisoformat(midnight).timestamp() == point(text, now=NOW)


@given(st.dates())
@example(date.min)
@example(date.max)
def test_every_date_is_a_point(day: date) -> None:
    """A date of the first or the last year ends in a bug."""
    utc = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    assert abs(utc - point(day.isoformat(), now=NOW)) <= 86400


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "-2h"])
def test_other_points_in_time_are_refused(text: str) -> None:
    """What is no point in time is a usage error that shows how to write one."""
    with pytest.raises(UsageError, match="not a point in time") as caught:
        point(text, now=NOW)
    assert "2h" in caught.value.hint


@given(MOMENTS)
def test_a_printed_time_can_be_typed(seconds: float) -> None:
    """What a table shows as a time is accepted by --since."""
    found = point(str(rfc3339(seconds)), now=NOW)
    assert math.isclose(seconds, found, rel_tol=0, abs_tol=1e-3)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-3, "0.0s"), (0.42, "0.4s"), (12, "12s"), (59.9, "59s"), (60, "1m00s")),
        *((185, "3m05s"), (7800, "2h10m"), (86400, "1d"), (4 * 86400, "4d")),
        (90000, "1d01h"),
    ],
)
def test_spans_are_written_for_people(seconds: float, text: str) -> None:
    """A span is written in its two largest units."""
    assert text == brief(seconds)
