"""A watcher's notes: the cursor that is kept stands for exactly the text beside it."""

from pathlib import Path

from bgresp.core.signals import Event
from bgresp.engine.shown_text import ShownText
from tests.scripted import job, recorder_at

KEY = job().key


def delta(text: str, index: int = 0) -> Event:
    return Event("response.output_text.delta", delta=text, part=(index, 0))


def begins(index: int) -> Event:
    return Event("response.content_part.added", part=(index, 0))


def test_a_cursor_is_kept_only_for_level_text(state: Path) -> None:
    """Who resumes goes on behind text that was never shown."""
    recorder = recorder_at(state)
    shown = ShownText(recorder.progress(KEY))
    told = [(delta("a"), "a", 0), (begins(1), "a", 0), (delta("b"), "ab", None)]
    told += [(delta("later", 1), "ab", None)]
    for sequence, (event, text, cursor) in enumerate(told):
        shown.wrote(shown.take([event], sequence))
        shown.flush(sync=True)
        kept = recorder.shown(KEY)
        assert (text, cursor) == (kept.text, kept.cursor)
    assert ShownText(recorder.progress(KEY), kept).start_cursor is None


def test_a_cursor_is_kept_again_once_all_is_shown(state: Path) -> None:
    """A watch that caught up is replayed from the start for ever."""
    recorder = recorder_at(state)
    shown = ShownText(recorder.progress(KEY))
    done = Event("response.content_part.done", part=(0, 0))
    for sequence, event in enumerate([begins(0), begins(1), delta("a"), done]):
        shown.wrote(shown.take([event], sequence))
    shown.wrote(shown.take([delta("b", 1)], 4))
    shown.flush(sync=True)
    assert ("a\n\nb", 4) == (recorder.shown(KEY).text, recorder.shown(KEY).cursor)


def test_a_text_that_nobody_told_takes_no_room() -> None:
    """Each of a hundred thousand jobs that are polled has a transcript of its own."""
    shown = ShownText()
    assert "" == shown.streamed
    assert "the answer" == shown.settle("the answer")
    assert not shown.differs
    assert shown._transcript is None
    assert shown._refusal is None
