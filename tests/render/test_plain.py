"""Following without a terminal: a dated line a change, and a heartbeat."""

from bgresp.core.model import Status
from bgresp.render.live import HEARTBEAT, Plain
from tests.golden import Golden
from tests.render.screens import Hand, Shown, made, view

DELTA = '{"type": "response.output_text.delta", "delta": "reasoning _call"}'
SUMMARY = '{"type": "response.reasoning_summary_text.done", "text": "First\\nthen."}'
CALL = (
    '{"type": "response.output_item.done", "item":'
    ' {"type": "function_call", "name": "look_up", "arguments": "{\\"id\\": 7}"}}'
)


def following(*jobs: object, shows: str = "") -> tuple[Plain, Hand, Shown]:
    shown, hand = Shown(200, 60, together=False), Hand()
    streams = shown.streams(animated=False, err_is_terminal=False)
    asides = frozenset(shows.split())
    plain = Plain(streams, len(jobs) == 1, asides, clock=hand, now=hand.wall)
    plain.start(jobs)  # type: ignore[arg-type]
    return plain, hand, shown


def test_one_job(golden: Golden) -> None:
    """Each change is a dated line with the whole id; the text is stdout's alone."""
    plain, hand, shown = following(made(status=Status.QUEUED), shows="reasoning tools")
    plain.changed(made(), view())
    for raw in (DELTA, SUMMARY, CALL):
        hand.moment += 1.5
        plain.event(made(), raw)
    plain.text(made(), "\x1b[31mSome text")
    hand.moment += 59.0
    plain.moved(made(), view(9000, last_event_at=hand.moment - 2))
    plain.tick()  # the last line is not a minute old
    hand.moment += 1.0
    plain.tick()
    plain.note(made(), "polling: the stream keeps breaking")
    plain.end_line(made())
    plain.ended(made(status=Status.COMPLETED), "")
    plain.stop()
    golden("live/plain-one", "\n".join(shown.lines) + "\n")
    assert b"\x1b[31mSome text\n" == bytes(shown.out)
    assert b"\x1b" not in shown.raw


def test_many_jobs(golden: Golden) -> None:
    """Of many jobs the heartbeat tells the counts and how long the rest may take."""
    jobs = [made(n, Status.QUEUED) for n in range(1, 5)]
    plain, hand, shown = following(*jobs)
    plain.changed(made(1), view(mode="poll"))
    hand.moment += 30.0
    plain.ended(made(1, Status.COMPLETED), "")
    plain.ended(made(2, Status.FAILED), "")
    for _ in range(130):
        hand.moment += 1.0
        plain.tick()
    plain.ended(made(3, Status.CANCELLED), "")
    golden("live/plain-many", "\n".join(shown.lines) + "\n")
    assert b"" == shown.out


def test_a_heartbeat_is_a_minute_of_silence() -> None:
    """It beats once a minute while a job is open and silent, and not after."""
    plain, hand, shown = following(made())
    plain.moved(made(), view())
    beats = []
    for second in range(1, 301):
        hand.moment += 1.0
        before = len(shown.raw)
        plain.tick()
        beats += [second] * (len(shown.raw) > before)
    assert [int(HEARTBEAT) * n for n in range(1, 6)] == beats
    plain.ended(made(status=Status.COMPLETED), "")
    size = len(shown.raw)
    hand.moment += 1000.0
    plain.tick()
    assert size == len(shown.raw)


def test_asides_are_told_where_asked() -> None:
    """Without --show nothing beside the text is told."""
    plain, _, shown = following(made())
    plain.event(made(), SUMMARY)
    assert b"" == shown.raw


def test_a_refusal_is_one_line() -> None:
    """A refusal stands on one line as it comes, whatever it says, and ends it."""
    plain, _, shown = following(made(), made(2))
    for piece in ("I can\x1b[2J", "not\n", "do that."):
        plain.refusal(made(), piece)
    said = "the model refused: I can\\u{1b}[2Jnot do that."
    assert shown.lines[0].endswith(f" {said}")
    assert not shown.raw.endswith(b"\n")
    plain.note(made(2), "polling")
    plain.refusal(made(), " No.")
    plain.stop()
    plain.stop()
    assert shown.lines[1].endswith(" polling")
    assert shown.lines[2].endswith(" the model refused:  No.")
    assert shown.raw.endswith(b"No.\n")
    assert b"" == shown.out


def test_a_line_begins_a_line() -> None:
    """On a terminal where nothing moves a line does not go on where the text stands."""
    shown = Shown(200, 10)
    plain = Plain(shown.streams(animated=False), clock=Hand(), now=Hand().wall)
    plain.start([made()])
    plain.text(made(), "half a line")
    plain.note(made(name="x"), "polling")
    plain.text(made(), "the rest\n")
    plain.note(made(), "again")
    assert ["half a line", "the rest"] == [shown.lines[0], shown.lines[2]]
    assert shown.lines[1].endswith(" polling")
    assert shown.lines[3].endswith(" again")
    assert b"half a linethe rest\n" == bytes(shown.out)
