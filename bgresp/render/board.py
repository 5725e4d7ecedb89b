"""Many jobs on a terminal: a window of them, counts and a bar for all; or one line.

A frame costs what it shows: a window of rows, however many jobs there are. Who follows
or sends calls `tick` a few times a second.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final, Protocol

from bgresp.core.model import Job, Status
from bgresp.core.observer import AGAIN, TRYING, JobProgress, Observer
from bgresp.core.selection import longest
from bgresp.core.stats import BAD, JobCounts
from bgresp.core.times import brief
from bgresp.render.columns import at_most, reason
from bgresp.render.screen import Screen
from bgresp.render.streams import Streams
from bgresp.render.table import (
    BOLD,
    CYAN,
    DIM,
    GREEN,
    LONGEST_NAME,
    RED,
    STATUS_STYLES,
    YELLOW,
    Painter,
    Piece,
    fitting,
    number,
    width_of,
)

STATUS, TIME = 11, 7  # cells of the columns
FIXED: Final = 2 + 2 + STATUS + 2 + TIME  # the mark and its blank, and the gaps
NARROWEST: Final = FIXED + 8  # what is narrower is cut
KEPT: Final = 1000  # jobs whose rows are held
WIDE: Final = 100  # columns from which an id stands beside a name
SHORT: Final = 16  # characters of one that stands there on any terminal
BARS: Final = {True: ("━", "─"), False: ("#", "-")}
LONGEST_BAR: Final = 40
TOKENS: Final = 12  # cells of that column
LEAST: Final = 12  # cells in which a part of a reason is worth it
GAP: Final = 2
Titles = Mapping[str, Mapping[str, str]]
MANY: Final = 2000  # jobs whose ids are looked up before they are shown
MOST: Final = 20  # different notes that are shown; more would be a flood


@dataclass(slots=True)
class Notes:
    """What was said; to many alike it is said once."""

    _said: set[str] = field(default_factory=set)

    def take(self, message: str) -> bool:
        """Say whether a note is worth a line; the next outage is told again."""
        if message.startswith(AGAIN):
            self._said = {each for each in self._said if not each.endswith(TRYING)}
            return True
        if message in self._said or len(self._said) >= MOST:
            return False
        self._said.add(message)
        return True


@dataclass(slots=True)
class LiveMany(Observer):
    """The board; what became of the jobs stays on the screen when it ends.

    `planned`: so many jobs there will be; of those that ended some thousand are kept.
    `durations` are the seconds that jobs like them took; `titled` returns, by key, the
    short "id" of jobs and what stands for their "name": of many, of those on show.
    """

    streams: Streams
    planned: int = 0
    durations: tuple[float, ...] = ()
    titled: Callable[[list[Job]], Titles] = lambda _: {}
    clock: Callable[[], float] = time.monotonic
    now: Callable[[], float] = time.time
    period: ClassVar[float | None] = 1 / 4
    is_drawn: ClassVar[bool] = True
    _screen: Screen = field(init=False)
    _painter: Painter = field(init=False)
    _counted: JobCounts | None = None
    _names: int = 0  # cells of the longest
    _idents: int = 0  # of those that stand where others have a name
    _titles: dict[str, Mapping[str, str]] = field(default_factory=dict)
    _titled: set[str] = field(default_factory=set)  # by what they are called without
    _kept: dict[str, tuple[Job, int, str, str]] = field(default_factory=dict)
    _notes: Notes = field(default_factory=Notes)

    def __post_init__(self) -> None:
        """Prepare a screen that shows nothing yet."""
        self._screen = Screen(self.streams)
        self._painter = Painter.of_talk(self.streams)

    def start(self, jobs: Iterable[Job] = ()) -> None:
        """Show the board."""
        known = sorted(jobs, key=lambda job: job.key)
        if len(known) <= MANY:
            self._title(known)
        for job in known:
            self._measure(job)
        self._counted = JobCounts(
            known, now=self.now(), durations=self.durations, keeps=KEPT
        )
        self.tick()

    def stop(self) -> None:
        """Take the board away, and leave what is worth to stay."""
        counted, self._counted = self._counted, None
        self._screen.end()
        if counted is not None:
            for line in self._left(counted):
                self._screen.show(line)

    def pause(self) -> None:
        """Leave the terminal to others until the next tick."""
        self._screen.close()

    def tick(self) -> None:
        """Draw the board anew."""
        if self._counted is None:
            return
        moment = self.clock()
        self._screen.pin(self.frame(self._counted, moment))
        part = self._counted.ended / max(1, self._total(self._counted))
        self._screen.taskbar.show(moment, part, failing=bool(self._counted.bad))

    def changed(self, job: Job, progress: JobProgress) -> None:
        """Show a job's new status; it may be one that was not there before."""
        if self._counted is not None:
            if self._measure(job):
                self._kept.clear()
            self._counted.take(job, self.now())

    def line(self, text: str) -> None:
        """Write a line to stdout, above the board."""
        self._screen.queue(text)

    def note(self, job: Job, message: str) -> None:
        """Say something about a job above the board; to many alike it is said once."""
        if self._notes.take(message):
            self._screen.say(f"{job.ref}: {message}")

    def ended(self, job: Job, text: str) -> None:
        """Show how a job ended."""
        if self._counted is not None:
            self._counted.take(job, self.now())

    def frame(self, counted: JobCounts, moment: float) -> list[str]:
        """Return the board's lines for the size that the terminal has now."""
        columns, rows = self.streams.size()
        width, room = columns - 1, max(1, min(3, rows - 2), rows - 4)
        jobs = counted.window(room)
        if counted.total > len(jobs):
            jobs = jobs[: room - 1]
        self._title(jobs)
        lines = [self._row(job, moment, width) for job in jobs]
        if counted.total > len(jobs):
            more = self._more(counted.total - len(jobs))
            lines.append(self._painter.line([(more, DIM)], width))
        counts = self._counts(counted, width, moment)
        return [*lines, counts, self._bar(counted, width)]

    def _left(self, counted: JobCounts) -> list[str]:
        """Return what stays: every row of a board that fits, else what went wrong."""
        columns, rows = self.streams.size()
        width = columns - 1
        jobs = counted.window(min(counted.total, max(1, rows - 4)))
        if counted.open or counted.total > len(jobs):
            jobs = [job for job in jobs if job.status in BAD]
        self._title(jobs)
        lines = [self._row(job, 0.0, width) for job in jobs]
        if 0 < len(jobs) < counted.bad:
            which = ",".join(status for status in BAD if status in counted.counts())
            more = self._more(counted.bad - len(jobs))
            how = f"{more}: bgresp list --status {which}"
            lines.append(self._painter.line([(how, DIM)], width))
        return [*lines, self._counts(counted, width, 0.0)]

    def _total(self, counted: JobCounts) -> int:
        return max(self.planned, counted.total)

    def _more(self, count: int) -> str:
        return f"{'…' if self._painter.unicode else '...'} {number(count)} more"

    def _row(self, job: Job, moment: float, width: int) -> str:
        """Return a job's row; what is the same in each frame is kept."""
        painter = self._painter
        mark, time_ = painter.mark(job.status, moment), self._time(job).rjust(TIME)
        if width < NARROWEST:
            return painter.line([mark, *self._before(job, width), (time_, "")], width)
        kept = self._kept.get(job.key)
        if kept is None or kept[0] is not job or kept[1] != width:
            before, after = self._before(job, width), self._after(job, width)
            parts = painter.line(before, width), painter.line(after, width)
            kept = job, width, *parts
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[job.key] = kept
        return painter.line([mark], 1) + kept[2] + time_ + kept[3]

    def _before(self, job: Job, width: int) -> list[Piece]:
        painter, name = self._painter, self._name_width(width)
        return [
            (" " + painter.cell(self._label(job), name), BOLD * job.status.is_open),
            (
                "  " + painter.cell(job.status.value, STATUS) + "  ",
                STATUS_STYLES[job.status],
            ),
        ]

    def _after(self, job: Job, width: int) -> list[Piece]:
        """Return what stands behind the time: why before the id, both before tokens."""
        room = width - self._name_width(width) - FIXED
        ident = self._ident(job)
        is_named = self._label(job) != ident and (width >= WIDE or len(ident) <= SHORT)
        return behind(job, self._painter, room, named=ident if is_named else "")

    def _ident(self, job: Job) -> str:
        return self._titles.get(job.key, {}).get("id", job.ref)

    def _label(self, job: Job) -> str:
        """Return what a job is known by: its name, its first words, or its id."""
        label = self._painter.label(job)
        if label != job.ref:
            return label
        words = self._titles.get(job.key, {}).get("name", "")
        can = words and (self._painter.unicode or words.isascii())
        return words if can else self._ident(job)

    def _title(self, jobs: list[Job]) -> None:
        """Look up what jobs are called that are shown for the first time."""
        new = [job for job in jobs if job.ref not in self._titled]
        if not new:
            return
        self._titled.update(job.ref for job in new)
        self._titles.update(self.titled(new))
        before = self._names, self._idents
        for job in new:
            self._measure(job)
        if before != (self._names, self._idents):
            self._kept.clear()

    def _measure(self, job: Job) -> bool:
        """Make room for what a job is known by; say whether it needs more."""
        label, before = self._label(job), (self._names, self._idents)
        if label == job.ref and job.ref not in self._titled:
            return False  # it may have a shorter one
        if label == self._ident(job):
            self._idents = max(self._idents, width_of(label))
        else:
            self._names = max(self._names, width_of(label))
        return before != (self._names, self._idents)

    def _name_width(self, width: int) -> int:
        """Return the cells of the names, which leave room; ids stay whole."""
        names = min(self._names, max(LONGEST_NAME, width // 3))
        return min(max(names, self._idents), max(8, width - FIXED))

    def _time(self, job: Job) -> str:
        seconds = longest(job)
        if seconds is None and job.status.is_open and job.submitted_at is not None:
            seconds = self.now() - job.submitted_at
        if seconds is None:
            return ""
        return at_most(seconds) if job.took_exact is False else brief(seconds)

    def _counts(self, counted: JobCounts, width: int, moment: float) -> str:
        """Return how many are what: in words, or where these do not fit by signs."""
        counts = counted.counts().items()
        words = [f"{number(count)} {status}" for status, count in counts]
        if sum(map(len, words)) + 2 * len(words) > width + 2:
            words = [
                f"{self._painter.mark(status, moment)[0]} {number(count)}"
                for status, count in counts
            ]
        styles = [STATUS_STYLES[status] for status, _ in counts]
        if coming := self._total(counted) - counted.total:
            words.append(f"{number(coming)} to come")
            styles.append(DIM)
        fields = [[piece] for piece in zip(words, styles, strict=True)]
        return self._painter.line(fitting(fields, width), width)

    def _bar(self, counted: JobCounts, width: int) -> str:
        total = self._total(counted)
        part = counted.ended / max(1, total)
        left = counted.remaining(self.now(), coming=total - counted.total)
        size = max(8, min(LONGEST_BAR, width - 34))
        full, empty = BARS[self._painter.unicode]
        filled = int(size * part)
        style = YELLOW if counted.bad else GREEN if part >= 1.0 else CYAN
        bar = [(full * filled, style), (empty * (size - filled), DIM)]
        done = f"{number(counted.ended)} of {number(total)}"
        fields = [bar, [(f"{part:.0%}", BOLD)], [(done, "")]]
        fields.append([(f"ETA ~{brief(left)}", "")] if left else [])
        return self._painter.line(fitting(fields, width), width)


def behind(job: Job, painter: Painter, room: int, *, named: str) -> list[Piece]:
    """Return tokens, why it ended so, and the id of a job that is `named` otherwise.

    Where there is no room for all, the reason is cut, then the tokens go, then the id.
    """
    tokens = job.usage.total_tokens if job.usage else None
    spent = [(f"{number(tokens)} tokens".rjust(TOKENS), DIM)] if tokens else []
    ident, why = painter.safe(named), painter.safe(reason(job))
    beside = [(ident, DIM)] if ident else []
    if not why:
        return fitting([[("", "")], spent, beside], room)
    left = room - GAP - (width_of(ident) + GAP) * bool(ident)
    if left < min(LEAST, width_of(why)):
        beside, left = [], room - GAP
    if width_of(why) > left:
        why = painter.cell(why, left) if left >= LEAST else ""
    if width_of(why) + GAP + TOKENS > left:
        spent = []
    told = [(why, STATUS_STYLES[job.status])] if why else []
    return fitting([[("", "")], spent, told, beside], room)


class SentCounts(Protocol):
    """How many rows got their job, had it, or got none."""

    @property
    def accepted(self) -> int:
        """Return how many got their job now."""

    @property
    def kept(self) -> int:
        """Return how many had it."""

    @property
    def failures(self) -> int:
        """Return how many got none."""


@dataclass(slots=True)
class LiveSent(Observer):
    """The line; `counts` is asked at each tick, `total` is 0 where nobody knows it."""

    streams: Streams
    counts: Callable[[], SentCounts]
    total: int = 0
    clock: Callable[[], float] = time.monotonic
    period: ClassVar[float | None] = 1 / 8
    is_drawn: ClassVar[bool] = True
    _screen: Screen = field(init=False)
    _painter: Painter = field(init=False)
    _began: float | None = None

    def __post_init__(self) -> None:
        """Prepare a screen that shows nothing yet."""
        self._screen = Screen(self.streams)
        self._painter = Painter.of_talk(self.streams)

    def start(self, jobs: Iterable[Job] = ()) -> None:
        """Show the line."""
        self._began = self.clock()
        self.tick()

    def stop(self) -> None:
        """Take the line away."""
        self._began = None
        self._screen.end()

    def pause(self) -> None:
        """Leave the terminal to others until the next tick."""
        self._screen.close()

    def line(self, text: str) -> None:
        """Write a line to stdout, above this one."""
        self._screen.queue(text)

    def tick(self) -> None:
        """Draw the line anew."""
        if self._began is None:
            return
        moment = self.clock()
        counts = self.counts()
        done = counts.accepted + counts.kept + counts.failures
        self._screen.pin([self._drawn(counts, done, moment)])
        part = done / self.total if self.total else None
        failing = bool(counts.failures)
        self._screen.taskbar.show(moment, part, failing=failing)

    def _drawn(self, counts: SentCounts, done: int, moment: float) -> str:
        passed = moment - (self._began or moment)
        rate = counts.accepted / passed if passed >= 1.0 else 0.0
        left = (self.total - done) / rate if rate and self.total > done else 0.0
        of = f" of {number(self.total)}" if self.total else ""
        fields = [
            [
                self._painter.mark(Status.IN_PROGRESS, moment),
                (" sending ", ""),
                (f"{number(done)}{of}", BOLD),
            ],
            [(f"{number(counts.failures)} failed", RED)] if counts.failures else [],
            [(f"{_speed(rate)}", "")] if rate else [],
            [(f"ETA ~{brief(left)}", "")] if left else [],
            [(f"{number(counts.kept)} submitted before", DIM)] if counts.kept else [],
        ]
        width = self.streams.size()[0] - 1
        return self._painter.line(fitting(fields, width), width)


def _speed(rate: float) -> str:
    """Write so many a second, or a minute where that is few."""
    return f"{rate:,.1f}/s" if rate >= 1.0 else f"{60 * rate:,.1f}/m"
