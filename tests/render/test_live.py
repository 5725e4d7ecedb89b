"""One job on a terminal: its text is never torn by the status line below it."""

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bgresp.core.model import Job, ResponseError, Status, Usage
from bgresp.render.live import LiveOne
from tests.golden import Golden
from tests.render.screens import NOW, Hand, Shown, made, view

WIDTHS = (40, 80, 200)
ANSWER = (
    "The sky is blue because air scatters short waves more than long ones.\n\n"
    "\tRayleigh: I ~ 1/λ⁴ — das heißt «viermal» 世界的天空是蓝色的 und so weiter, "
    "bis zum Rand des Fensters und darüber hinaus.\n"
)


ITEM = '{"type": "response.output_item.%s", "item": %s}'


def watching(shown: Shown, **options: object) -> tuple[LiveOne, Hand]:
    hand = Hand()
    changes = {
        name: options.pop(name) for name in ("unicode", "taskbar") if name in options
    }
    streams = shown.streams(**changes)
    one = LiveOne(streams, clock=hand, now=hand.wall, **options)  # type: ignore[arg-type]
    return one, hand


def wrapped(text: str, columns: int) -> list[str]:
    """Return the lines of a text alone on a terminal."""
    alone = Shown(columns, 200)
    alone.streams().answer(text)
    return alone.lines


@pytest.mark.parametrize("unicode", [True, False], ids=["unicode", "ascii"])
def test_the_views_of_one_job(golden: Golden, unicode: bool) -> None:
    """Queued, running, reasoning, streaming, silent, polling, ended: as looked at."""
    pages = []
    for columns in WIDTHS:
        shown = Shown(columns, 40)
        one, hand = watching(
            shown, unicode=unicode, shows=frozenset({"reasoning", "tools"})
        )
        pages.append(f"== {columns} columns")
        for name, act in STEPS.items():
            act(one, hand)
            pages += [f"-- {name}", *shown.lines]
    golden(f"live/one-{'unicode' if unicode else 'ascii'}", "\n".join(pages) + "\n")


def _queued(one: LiveOne, hand: Hand) -> None:
    one.start([made(status=Status.QUEUED)])


def _thinking(one: LiveOne, hand: Hand) -> None:
    one.changed(made(), view(last_event_at=hand.moment))
    one.event(made(), ITEM % ("added", '{"type": "reasoning"}'))
    hand.moment += 2.0
    one.tick()


def _asides(one: LiveOne, hand: Hand) -> None:
    told = '{"type": "response.reasoning_summary_text.done", "text": "**Scattering**\\n\\nShort \\u001b[2J waves."}'
    one.event(made(), told)
    query = (
        '{"type": "web_search_call", "action": {"type": "search", "query": "rayleigh"}}'
    )
    one.event(made(), ITEM % ("done", query))


def _streaming(one: LiveOne, hand: Hand) -> None:
    words = ANSWER.split(" ")
    for count, word in enumerate(words, 1):
        hand.moment += 0.1
        one.text(made(), word + " ")
        one.moved(made(), view(5 * count, last_event_at=hand.moment))
        if count % 3 == 0:
            one.tick()
    hand.moment += 0.5
    one.tick()


def _silent(one: LiveOne, hand: Hand) -> None:
    hand.moment += 61.0
    one.moved(made(), view(1234567, reconnects=2, last_event_at=hand.moment - 61))
    one.tick()


def _polling(one: LiveOne, hand: Hand) -> None:
    one.note(made(), "polling: the stream keeps breaking")
    one.moved(made(), view(1234567, mode="poll", last_event_at=hand.moment))
    one.tick()


def _ended(one: LiveOne, hand: Hand) -> None:
    one.ended(made(status=Status.COMPLETED, name="sky"), ANSWER)


STEPS = {
    "queued": _queued,
    "thinking": _thinking,
    "asides": _asides,
    "streaming": _streaming,
    "silent": _silent,
    "polling": _polling,
    "ended": _ended,
}


@pytest.mark.parametrize("together", [True, False])
def test_a_refusal_grows_above_the_status_line(together: bool) -> None:
    """A refusal stands whole above the status line, and no text begins on its line."""
    shown = Shown(60, 40, together=together)
    one, hand = watching(shown)
    for piece in ("I cannot\x1b[2J ", "help with ", "that:\n", "no."):
        hand.moment += 1.0
        one.refusal(made(), piece)
        one.tick()
    one.text(made(), "But this.\n")
    one.tick()
    one.stop()
    told = [line for line in shown.lines if line]
    text = ["But this."] if together else []
    words = ["I", "cannot\\u{1b}[2J", "help", "with", "that:", "no."]
    assert "the model refused:" == told[0]
    assert words == " ".join(told[1 : len(told) - len(text)]).split()
    assert text == told[len(told) - len(text) :]
    assert b"But this.\n" == bytes(shown.out)


PIECES = st.text("abc d\n", min_size=1, max_size=9)
WRITES = st.tuples(st.sampled_from(["refusal", "text", "note", "tick"]), PIECES)


@settings(max_examples=50)
@given(st.lists(WRITES, max_size=14), st.booleans(), st.sampled_from([20, 60]))
def test_a_refusal_among_anything(
    writes: list[tuple[str, str]], together: bool, columns: int
) -> None:
    """Whatever comes between its pieces, a refusal, the text and notes stand whole."""
    shown = Shown(columns, 200, together=together)
    one, hand = watching(shown)
    written = {"refusal": "", "text": ""}
    for kind, piece in writes:
        hand.moment += 0.3
        if kind == "note":
            one.note(made(), "NOTE")
        elif kind == "tick":
            one.tick()
        else:
            (one.refusal if kind == "refusal" else one.text)(made(), piece)
            written[kind] += piece
    one.stop()
    on_screen = "".join(shown.lines).replace(" ", "")
    for ours in ("themodelrefused:", f"{made().ref}:NOTE"):
        on_screen = on_screen.replace(ours, "")
    wanted = written["refusal"] + written["text"] * together
    assert sorted("".join(wanted.split())) == sorted(on_screen)
    assert written["text"].encode() == bytes(shown.out)


def test_how_it_ended(golden: Golden) -> None:
    """Each end says why, how long, how much, and where the answer is."""
    jobs = [
        made(status=Status.COMPLETED),
        made(status=Status.COMPLETED, usage=None, started_at=None),
        made(status=Status.INCOMPLETE, incomplete_reason="max_output_tokens"),
        made(
            status=Status.FAILED,
            error=ResponseError("server_error", "It broke.\x1b[2J"),
        ),
        made(status=Status.CANCELLED, usage=Usage(None, None, None)),
        made(status=Status.LOST, last_error="no such response", finished_at=NOW),
    ]
    shown = Shown(200)
    for job in jobs:
        one, _ = watching(shown)
        one.ended(job, "")
    one, _ = watching(shown, where="in answer.md", to_stdout=False)
    one.ended(jobs[0], "")
    golden("live/ends", "\n".join(shown.lines) + "\n")


@pytest.mark.parametrize(("columns", "lines"), [(200, 1), (80, 2)])
def test_the_next_command_is_not_torn(columns: int, lines: int) -> None:
    """Where the command has no room behind how it ended, it has a line of its own."""
    shown = Shown(columns)
    one, _ = watching(shown)
    job = made(status=Status.COMPLETED)
    one.ended(job, "")
    assert lines == len(shown.lines)
    assert shown.lines[-1].endswith(f"bgresp get {job.id}")


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("text", ["x" * 5000, "世" * 2000, ANSWER * 3])
def test_the_text_is_never_torn(text: str, columns: int) -> None:
    """A text in pieces, with the line drawn after each, stands as it does alone.

    Also where a piece ends at the very edge, between wide characters, or in a tab.
    """
    for seed in range(3):
        rng = random.Random(seed)
        shown = Shown(columns, 200)
        one, hand = watching(shown)
        one.start([made()])
        rest = text
        while rest:
            size = rng.choice([1, 2, 3, columns - 1, columns, columns + 1])
            one.text(made(), rest[:size])
            rest = rest[size:]
            hand.moment += 0.2
            one.tick()
        (*lines, _) = shown.lines
        expected = wrapped(text, columns)
        assert expected == lines[: len(expected)]
        assert not any(lines[len(expected) :])
        one.stop()
        assert expected == shown.lines
        assert not shown.screen.cursor.hidden


SENTENCES = {
    "mathematics": "Für x ≤ 3 € gilt ∑ ✓ in ∏, wie ™ es sagt, ≠ ∞ und so weiter. ",
    "arabic": "السلام عليكم ورحمة الله وبركاته هذا نص طويل، مُشَكَّلٌ قليلا. ",
    "hebrew": "שלום עולם זה טקסט ארוך מאוד ",
    "thai": "สวัสดีชาวโลกนี่คือข้อความยาวมาก",
    "hindi": "यह हिन्दी में एक लंबा वाक्य है जो चलता रहता है। ",
    "emoji": "A family 👩\u200d👩\u200d👧 and a heart ❤\ufe0f and 🇩🇪 go on for a while ✅. ",
}


@pytest.mark.parametrize("joins", [False, True])
@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("script", SENTENCES)
def test_the_line_stays_below_any_script(
    script: str, columns: int, joins: bool
) -> None:
    """The status line is there in most frames of a long paragraph, the text whole.

    Also on a terminal that takes fewer cells than we count. A newline of ours stands
    only behind a space.
    """
    text = SENTENCES[script] * 8
    shown = Shown(columns, 30)
    shown.screen.joins = joins
    one, hand = watching(shown)
    one.start([made()])
    frames = []
    for count, piece in enumerate(re.findall(r" ?[^ ]{1,7}", text)):
        one.text(made(), piece)
        hand.moment += 0.2
        one.tick()
        if count % 4 == 0:
            frames.append("in_progress" in shown.lines[-1])
    assert sum(frames) > 0.75 * len(frames)
    assert text.rstrip() == shown.out.decode().replace(" \n", " ")
    one.stop()
    alone = Shown(columns, 30)
    alone.screen.joins = joins
    alone.streams().answer(text)
    assert "".join("".join(alone.lines).split()) == "".join(
        "".join(shown.lines).split()
    )


def test_the_text_scrolls_and_the_line_stays() -> None:
    """On a low terminal the text moves up, and the last line is the status."""
    shown = Shown(40, 6)
    one, _ = watching(shown)
    one.start([made()])
    for number in range(30):
        one.text(made(), f"line {number}\nand ")
    assert [*(f"and line {n}" for n in range(26, 30)), "and"] == shown.lines[:5]
    assert "in_progress" in shown.lines[5]


def test_a_resize_leaves_one_line() -> None:
    """Whatever width the terminal takes, no second status line stands on it.

    At the edge, where terminals differ, it may wait for the next line.
    """
    shown = Shown(80, 24)
    one, hand = watching(shown)
    one.start([made()])
    for columns in (40, 120, 20, 80, 30):
        one.text(made(), "Some words of the text. ")
        shown.resize(columns, 24)
        hand.moment += 1.0
        one.tick()
        assert 1 >= sum("in_prog" in line for line in shown.lines)
        assert max(map(len, shown.lines)) <= columns
    one.text(made(), "\nthe end")
    assert "in_prog" in shown.lines[-1]
    one.stop()
    assert not any("in_prog" in line for line in shown.lines)


def test_an_unsure_width_hides_the_line() -> None:
    """Where terminals may differ at the edge, the line waits rather than overwrite."""
    shown = Shown(40, 24)
    one, _ = watching(shown)
    one.start([made()])
    one.text(made(), "x" * 35 + "👩\u200d🚀")
    assert not any("in_progress" in line for line in shown.lines)
    one.text(made(), " and so on\n")
    assert "in_progress" in shown.lines[-1]


def test_stdout_elsewhere_is_untouched() -> None:
    """A pipe gets the exact text; the terminal shows the line alone."""
    shown = Shown(200, 24, together=False)
    one, _ = watching(shown)
    one.start([made()])
    one.text(made(), "\x1b[31mred\r\n")
    assert (b"\x1b[31mred\r\n", 1) == (bytes(shown.out), len(shown.lines))
    one.ended(made(status=Status.COMPLETED), "")
    assert (1, "✓") == (len(shown.lines), shown.lines[0][:1])


def test_what_others_say_stays_above() -> None:
    """A line said meanwhile by anybody does not tear the text nor the status line."""
    shown = Shown(80, 24)
    one, _ = watching(shown)
    one.start([made()])
    one.text(made(), "half a line")
    one.streams.say("bgresp: started the local endpoint\x1b[2J")
    one.text(made(), " goes on")
    one.tick()
    told = ["half a line", "bgresp: started the local endpoint\\u{1b}[2J", " goes on"]
    assert told == shown.lines[:3]
    assert "in_progress" in shown.lines[3]


def test_a_key_pressed_on_the_way_does_not_stay() -> None:
    """What the terminal echoes, ^C or a key, is drawn over and gone at the end."""
    shown = Shown(80, 24)
    one, hand = watching(shown)
    one.start([made()])
    shown._draw(b"^C")
    hand.moment += 1
    one.tick()
    one.stop()
    assert [] == shown.lines


def test_the_taskbar_is_cleared() -> None:
    """Progress is shown, renewed after seconds, and cleared even on a failing end."""
    shown = Shown()
    one, hand = watching(shown, taskbar=True)
    one.start([made()])
    for _ in range(12):
        hand.moment += 1.0
        one.tick()
    assert 3 == shown.raw.count(b"\x1b]9;4;3;0\x1b\\")
    one.stop()
    assert shown.raw.endswith(b"\x1b]9;4;0;0\x1b\\")
    one.stop()
    assert 1 == shown.raw.count(b"\x1b]9;4;0;0\x1b\\")
    silent = Shown()
    two, _ = watching(silent)
    two.start([made()])
    two.stop()
    assert b"\x1b]9" not in silent.raw


def test_what_did_not_change_is_not_written() -> None:
    """A tick that shows the same writes nothing."""
    shown = Shown()
    one, _ = watching(shown)
    one.start([made()])
    before = bytes(shown.raw)
    one.tick()
    assert before == bytes(shown.raw)


def test_the_next_try_is_told() -> None:
    """While the endpoint is away the line counts down to the next try."""
    shown = Shown()
    one, hand = watching(shown)
    one.start([made()])
    one.moved(made(), view(retry_at=hand.moment + 12.0))
    hand.moment += 4.0
    one.tick()
    assert "trying again in 8.0s" in shown.lines[0]


def test_a_cancel_that_was_refused_is_no_status() -> None:
    """A job whose cancel was refused stands as cancelling, and it goes on."""
    shown = Shown()
    one, _ = watching(shown)
    asked: Job = made(cancel_requested_at=NOW)
    one.start([asked])
    assert shown.lines[0].split()[1] == "in_progress"


def test_a_job_that_ended_has_no_status_line() -> None:
    """A job that is over when following begins draws nothing that would have to go."""
    shown = Shown()
    one, _ = watching(shown)
    one.start([made(status=Status.COMPLETED)])
    one.tick()
    assert not shown.raw
