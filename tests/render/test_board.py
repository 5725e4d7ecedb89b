"""Many jobs on a terminal: a window of them, at a cost that their number does not set."""

import sys
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.model import Job, ResponseError, Status, Usage
from bgresp.core.observer import AGAIN, TRYING
from bgresp.core.stats import BAD, JobCounts
from bgresp.render.board import LiveMany, Notes
from tests.golden import Golden
from tests.render.screens import NOW, Hand, Shown, made, view

WIDTHS = (40, 80, 200)
NAMES = ("nightly report", "日本語の仕事", None, "a name that goes on and on and on")


def crowd(count: int, running: int = 12) -> list[Job]:
    """Return jobs of every kind: some done, some failed, some run, most wait."""
    jobs = []
    for number in range(1, count + 1):
        status = Status.QUEUED
        fields: dict[str, object] = {"name": NAMES[number % 4]}
        if number <= running:
            status = Status.IN_PROGRESS
        elif number % 5 == 0:
            status = Status.COMPLETED
        elif number % 17 == 0:
            status = Status.FAILED
            fields["error"] = ResponseError("server_error", "It broke\t\x1b[2J.")
        jobs.append(made(number, status, **fields))
    return jobs


def boarded(shown: Shown, jobs: list[Job], **changes: object) -> tuple[LiveMany, Hand]:
    hand = Hand()
    many = LiveMany(shown.streams(**changes), clock=hand, now=hand.wall)
    many.start(jobs)
    return many, hand


def finished(job: Job) -> Job:
    number = int(job.key)
    return made(number, Status.COMPLETED, name=job.name)


@pytest.mark.parametrize("unicode", [True, False], ids=["unicode", "ascii"])
def test_the_board(golden: Golden, unicode: bool) -> None:
    """A few jobs, many, on the way and at the end: as looked at."""
    pages = []
    for columns in WIDTHS:
        for count in (5, 1000):
            shown = Shown(columns, 16)
            jobs = crowd(count, running=3)
            many, hand = boarded(shown, jobs, unicode=unicode)
            pages += [f"== {columns} columns, {count} jobs", *shown.lines]
            hand.moment += 10.0
            many.ended(finished(jobs[0]), "")
            many.note(jobs[1], "rate limited: slow down")
            many.note(jobs[2], "rate limited: slow down")
            many.tick()
            pages += ["-- after 10 s", *shown.lines]
            for job in jobs:
                if job.status.is_open:
                    many.ended(finished(job), "")
            many.tick()
            many.stop()
            pages += ["-- ended", *shown.lines]
    golden(f"live/board-{'unicode' if unicode else 'ascii'}", "\n".join(pages) + "\n")


def test_colours_are_an_addition(golden: Golden) -> None:
    """With colours the same text is shown; without, no sequence colours anything."""
    plain, coloured = Shown(80, 12), Shown(80, 12)
    boarded(plain, crowd(9), err_colour=False)
    boarded(coloured, crowd(9), err_colour=True)
    assert plain.lines == coloured.lines
    assert (False, True) == (b"m" in _sgr(plain), b"m" in _sgr(coloured))
    styled = [
        f"{cell.fg} {'bold ' * cell.bold}{row}"
        for row in range(12)
        if (cell := coloured.screen.buffer[row][0]).data.strip()
    ]
    golden("live/board-colours", "\n".join(styled) + "\n")


def _sgr(shown: Shown) -> bytes:
    return b"".join(part[:6] for part in bytes(shown.raw).split(b"\x1b[")[1:])


LONG = ResponseError("server_error", "The model " + "was overloaded " * 20)


@pytest.mark.parametrize(
    ("columns", "has_id"), [(200, True), (120, True), (100, False), (80, False)]
)
def test_why_stands_beside_the_id(columns: int, has_id: bool) -> None:
    """A reason that is too long is cut, never left out; the id stays where it can."""
    shown = Shown(columns, 16)
    over = [
        made(1, Status.FAILED, name="night", error=LONG),
        made(
            2,
            Status.INCOMPLETE,
            name="day",
            incomplete_reason="max_output_tokens",
            usage=Usage(1, 2, 3),
        ),
    ]
    many, _ = boarded(shown, over)
    many.stop()
    for job, why in zip(over, ("server_error", "max_output"), strict=True):
        (row,) = (line for line in shown.lines if f" {job.name} " in line)
        assert (True, has_id) == (why in row, str(job.id) in row)
        assert len(row) < columns


@pytest.mark.parametrize(("rows", "jobs"), [(3, 0), (4, 1), (5, 2), (6, 2), (24, 8)])
def test_a_low_terminal_shows_jobs(rows: int, jobs: int) -> None:
    """On few rows those that are free show jobs."""
    shown = Shown(40, rows)
    boarded(shown, crowd(8))
    assert jobs == sum("1m12s" in line for line in shown.lines)
    assert len(shown.lines) <= rows


def test_resizes() -> None:
    """At any size the board fits: no line wraps, nothing of an old one stays."""
    shown = Shown(80, 24)
    many, hand = boarded(shown, crowd(100))
    for columns, rows in ((40, 10), (200, 50), (20, 5), (80, 24), (10, 3)):
        shown.resize(columns, rows)
        hand.moment += 1.0
        many.tick()
        assert len(shown.lines) <= rows
        assert all(len(line) < columns for line in shown.lines)
        assert 1 == sum(line[:1] in "━─" for line in shown.lines)
    many.stop()
    assert not any("ETA" in line for line in shown.lines)
    assert not shown.screen.cursor.hidden


def calls(act: Callable[[], object]) -> int:
    """Return how many functions, ours and C's, are called meanwhile."""
    counted = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal counted
        counted += event in {"call", "c_call"}

    sys.setprofile(count)
    try:
        act()
    finally:
        sys.setprofile(None)
    return counted


@pytest.mark.parametrize("what", ["tick", "change"])
def test_a_frame_costs_its_window(what: str) -> None:
    """With 10 000 jobs a frame and a change call as many functions as with 100."""
    counted = {}
    for count in (100, 10_000):
        jobs = crowd(count)
        shown = Shown(80, 24)
        many, hand = boarded(shown, jobs)
        many.tick()
        hand.moment += 1.0
        job = finished(jobs[0])
        act = (
            many.tick if what == "tick" else lambda m=many, j=job: m.changed(j, view())
        )
        shown.raw.clear()
        counted[count] = calls(act)
    assert counted[10_000] <= 1.1 * counted[100] + 20


def test_only_changed_rows_are_written() -> None:
    """One job that ends in a still board rewrites a few rows, not the whole."""
    shown = Shown(80, 50)
    many, _ = boarded(shown, [made(n, Status.QUEUED) for n in range(1, 41)])
    whole = len(shown.raw)
    shown.raw.clear()
    many.tick()
    assert b"" == shown.raw
    many.changed(made(1), view())
    many.tick()
    assert 0 < len(shown.raw) < whole / 4


def test_a_detached_board_leaves_counts() -> None:
    """A board that is left early leaves what failed and the counts, nothing else."""
    shown = Shown(80, 24)
    many, _ = boarded(shown, crowd(30))
    many.stop()
    (failed, counts) = shown.lines
    assert failed.startswith("✗ ")
    assert counts.endswith("4 completed  1 failed")


STATUSES = st.sampled_from(list(Status))
CHANGES = st.lists(st.tuples(st.integers(1, 12), STATUSES), max_size=60)


@given(CHANGES, st.integers(0, 15))
def test_a_crowd_is_its_jobs(changes: list[tuple[int, Status]], rows: int) -> None:
    """After any changes counts and window are those of the jobs as they are."""
    jobs = {n: made(n, Status.QUEUED) for n in range(1, 9)}
    counted = JobCounts(jobs.values())
    for number, status in changes:
        jobs[number] = made(number, status)
        counted.take(jobs[number])
    statuses = [job.status for job in jobs.values()]
    assert {s: statuses.count(s) for s in Status if s in statuses} == counted.counts()
    assert (len(jobs), sum(s.is_open for s in statuses)) == (
        counted.total,
        counted.open,
    )
    assert counted.ended + counted.open == counted.total
    assert counted.bad == sum(s in BAD for s in statuses)
    window = counted.window(rows)
    assert min(rows, len(jobs)) == len(window) == len({job.key for job in window})
    assert all(jobs[int(job.key)] is job for job in window)
    shown = {job.status for job in window}
    if Status.COMPLETED in shown:
        assert counted.counts().get(Status.IN_PROGRESS, 0) == sum(
            job.status is Status.IN_PROGRESS for job in window
        )


@given(CHANGES, st.integers(1, 4))
def test_a_crowd_that_keeps_few_counts_all(
    changes: list[tuple[int, Status]], keeps: int
) -> None:
    """Jobs that ended long ago are held no more, and counted as ever."""
    whole, small = JobCounts(()), JobCounts((), keeps=keeps)
    for number, status in changes:
        for counted in (whole, small):
            counted.take(made(number, status))
    assert whole.counts() == small.counts()
    for name in ("total", "open", "ended", "bad"):
        assert getattr(whole, name) == getattr(small, name)
    ended = [job.status for job in small.window(100) if not job.status.is_open]
    assert all(ended.count(status) <= keeps for status in ended)


def test_rows_to_come_are_of_the_whole() -> None:
    """The bar, the counts and the estimate go by the rows that are planned, too."""
    shown = Shown(80, 12)
    hand = Hand()
    many = LiveMany(shown.streams(), 10, clock=hand, now=hand.wall)
    many.start()
    assert ["10 to come", "0%", "0 of 10"] == [
        shown.lines[0],
        *shown.lines[1].split("  ")[1:],
    ]
    many.changed(made(1, name="short"), view())
    many.changed(made(2, name="a much longer name"), view())
    many.ended(finished(made(1)), "")
    hand.moment += 10.0
    many.tick()
    assert "1 in_progress  1 completed  8 to come" == shown.lines[-2]
    assert shown.lines[-1].endswith("10%  1 of 10  ETA ~8m55s")
    assert any("a much longer name" in line for line in shown.lines)


def test_what_was_over_before_is_no_pace() -> None:
    """Jobs that ended before anybody looked make the rest seem to come at once."""
    ago = {"submitted_at": NOW - 500, "finished_at": NOW - 490.0}
    jobs = [made(n, Status.COMPLETED, noticed=True, **ago) for n in range(1, 51)]
    jobs += [made(n, Status.QUEUED, submitted_at=NOW) for n in range(51, 61)]
    counted = JobCounts(jobs, now=NOW)
    assert counted.remaining(NOW + 1) is None
    counted.take(made(51, Status.COMPLETED, noticed=True, **ago), NOW + 1)
    assert counted.remaining(NOW + 1) is None
    running = made(52, Status.IN_PROGRESS, submitted_at=NOW, started_at=NOW)
    counted.take(running, NOW + 2)
    counted.take(
        running._replace(status=Status.COMPLETED, finished_at=NOW + 8), NOW + 8
    )
    assert counted.remaining(NOW + 8) == pytest.approx(8 * 8.0)
    assert counted.remaining(NOW + 8, coming=2) == pytest.approx(10 * 8.0)


def test_the_durations_of_others_tell_first() -> None:
    """Nothing is said until a job ended, though the ledger has the model's."""
    jobs = [made(n, Status.IN_PROGRESS, started_at=NOW) for n in range(1, 4)]
    counted = JobCounts(jobs, now=NOW, durations=[30.0, 20.0, 40.0])
    assert counted.remaining(NOW + 10) == pytest.approx(20.0)


def test_the_taskbar_shows_the_part() -> None:
    """The taskbar has percent, turns to failing, and is cleared at the end."""
    shown = Shown()
    many, hand = boarded(shown, [made(n) for n in range(1, 5)], taskbar=True)
    many.ended(finished(made(1)), "")
    hand.moment += 1
    many.tick()
    many.ended(made(2, Status.FAILED), "")
    hand.moment += 1
    many.tick()
    many.stop()
    seen = [part.split(b"\x1b")[0] for part in bytes(shown.raw).split(b"\x1b]9;4;")[1:]]
    assert [b"1;0", b"1;25", b"2;50", b"0;0"] == seen


def test_the_time_of_a_job_is_its_own() -> None:
    """A row shows how long a job is open, and of one that is over how long it took."""
    shown = Shown(80, 10)
    boarded(shown, [made(1), made(2, Status.COMPLETED, submitted_at=NOW - 12.0)])
    assert "1m12s" in shown.lines[0]
    assert shown.lines[1].endswith(" 10s")


def test_each_outage_is_told_on_the_board() -> None:
    """The same words are said once of many jobs, and again of the next outage."""
    notes = Notes()
    lost, back = f"unreachable: refused{TRYING}", f"{AGAIN} after 9.0s"
    assert [True, False, True, True, True] == [
        notes.take(each) for each in (lost, lost, back, lost, back)
    ]
    assert 20 == sum(notes.take(f"note {number}") for number in range(30))
    assert not notes.take("one too many")


@pytest.mark.parametrize("count", [5, 2500])
def test_ids_on_show_are_short_however_many(count: int) -> None:
    """Of many jobs the ids of all are looked up, or those on show are long."""
    asked: list[int] = []

    def titled(jobs: list[Job]) -> dict[str, dict[str, str]]:
        asked.append(len(jobs))
        return {job.key: {"id": f"short{job.key}"} for job in jobs}

    shown, hand = Shown(80, 16), Hand()
    jobs = [made(number, Status.QUEUED) for number in range(1, count + 1)]
    many = LiveMany(shown.streams(), titled=titled, clock=hand, now=hand.wall)
    many.start(jobs)
    rows = [line for line in shown.lines if "short" in line]
    assert min(count, 11) == len(rows)
    assert not any(jobs[0].ref[:8] in line for line in shown.lines)
    assert sum(asked) <= max(count if count < 2000 else 0, 16)
    hand.moment += 10.0
    many.tick()
    assert sum(asked) <= max(count if count < 2000 else 0, 16)


def test_what_is_known_is_not_said_again_after_an_outage() -> None:
    """The end of an outage lets all else be told once more."""
    notes, outage = Notes(), f"no route{TRYING}"
    said = [notes.take(each) for each in ("odd", outage, outage, AGAIN, "odd", outage)]
    assert [True, True, False, True, False, True] == said
