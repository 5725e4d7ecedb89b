"""Each part of the answer is shown once, in order, and never what may be wrong."""

from collections.abc import Sequence
from functools import partial
from typing import Final

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgresp.core.model import Status
from bgresp.core.signals import Event, Reading
from bgresp.engine.shown_text import Transcript


def _delta(text: str, part: tuple[int, int] = (0, 0)) -> Event:
    return Event("response.output_text.delta", delta=text, part=part)


def _full(text: str, part: tuple[int, int] = (0, 0)) -> Event:
    return Event("response.output_text.done", full=text, part=part)


def _reset(text: str | None = None) -> Event:
    reading = Reading(Status.IN_PROGRESS, "in_progress", text=text)
    return Event("response.in_progress", reading=reading)


ITEM_DONE: Final = Event("response.output_item.done")
PART_DONE: Final = Event("response.content_part.done")


def _shown(events: Sequence[Event], transcript: Transcript | None = None) -> list[str]:
    transcript = transcript or Transcript()
    return [transcript.add(event) for event in events]


def test_text_is_shown_as_it_comes() -> None:
    """Each delta is shown at once, and what closes a part adds nothing."""
    transcript = Transcript()
    events = [_delta("a"), _delta("b"), _full("ab"), PART_DONE, ITEM_DONE]
    assert ["a", "b", "", "", ""] == _shown(events, transcript)
    assert ("ab", "ab", True) == (
        *(transcript.text, transcript.shown, transcript.is_level),
    )
    assert "c" == transcript.settle("abc")
    assert "abc" == transcript.shown


@pytest.mark.parametrize("end", [_full("ab"), PART_DONE, ITEM_DONE])
def test_a_later_part_waits_for_the_earlier(end: Event) -> None:
    """Parts that arrive interleaved are shown in the order of the final answer."""
    parts = [_delta("a"), _delta("c", (1, 0)), _delta("b"), end, _delta("d", (1, 0))]
    transcript = Transcript()
    assert ["a", "", "b", "\n\nc", "d"] == _shown(parts, transcript)
    assert transcript.is_level


def test_a_held_back_part_is_not_level() -> None:
    """While text is held back, a cursor must not be taken for a place to go on."""
    transcript = Transcript()
    _shown([_delta("a"), _delta("c", (0, 1)), _delta("b")], transcript)
    assert "ab" == transcript.shown
    assert "abc" == transcript.text
    assert not transcript.is_level
    begun = [Event("response.content_part.added", part=(n, 0)) for n in range(2)]
    two_open = Transcript()
    assert two_open.is_level
    _shown(begun, two_open)
    assert not two_open.is_level


def test_an_earlier_part_after_a_later_one_is_not_shown() -> None:
    """What would have to stand before the text already shown is never shown after."""
    transcript = Transcript()
    events = [_delta("b", (1, 0)), _delta("a"), _full("a"), _delta("c", (1, 0))]
    assert ["b", "", "", ""] == _shown(events, transcript)
    assert "a\n\nbc" == transcript.text
    assert transcript.settle("a\n\nbc") is None


def test_the_whole_text_of_a_part_fills_in() -> None:
    """Where deltas are missing, the part's whole text shows what they lacked."""
    assert ["a", "bc", ""] == _shown([_delta("a"), _full("abc"), PART_DONE])
    assert ["abc", "d"] == _shown([_full("abc"), _delta("d", (0, 1))])


def test_a_part_that_has_begun_comes_first() -> None:
    """A part that was announced holds back the later ones that speak before it."""
    begun = Event("response.content_part.added", part=(0, 0))
    events = [begun, _delta("b", (1, 0)), _delta("a"), _full("a")]
    assert ["", "", "a", "\n\nb"] == _shown(events)


def test_text_after_a_parts_end_still_counts() -> None:
    """A delta after its part was closed is shown where it continues the text."""
    assert ["a", "", "b"] == _shown([_delta("a"), _full("a"), _delta("b")])


def test_text_taken_back_is_not_shown_again() -> None:
    """A reset shows nothing until the text has caught up with what was shown."""
    events = [_delta("a"), _delta("b"), _reset(), _delta("a"), _delta("bc")]
    assert ["a", "b", "", "", "c"] == _shown(events)


def test_a_reset_may_bring_the_text_so_far() -> None:
    """A lifecycle event in mid-stream that carries text stands for the deltas."""
    events = [_delta("a"), _reset("abc"), _delta("d"), _full("abcd")]
    assert ["a", "bc", "d", ""] == _shown(events)


def test_a_lifecycle_event_before_any_text_resets_nothing() -> None:
    """The events that open a stream change nothing of what is known."""
    created = Event("response.created", reading=_reset().reading)
    assert ["", "", "a"] == _shown([created, _reset(), _delta("a")])
    bare = Event("response.in_progress")
    assert ["a", "", "b"] == _shown([_delta("a"), bare, _delta("b")])


def test_another_text_is_never_shown_after_the_first() -> None:
    """When the endpoint writes another text, only the final one can decide."""
    transcript = Transcript()
    events = [_delta("ab"), _reset(), _delta("x"), _delta("yz"), _delta("!")]
    assert ["ab", "", "", "", ""] == _shown(events, transcript)
    assert not transcript.is_level
    assert transcript.settle("xyz!") is None
    assert "c" == transcript.settle("abc")


def test_after_a_gap_only_the_final_text_is_shown() -> None:
    """With an event missing nothing more is shown, until the end tells the whole."""
    transcript = Transcript()
    _shown([_delta("a")], transcript)
    transcript.missed()
    events = [_delta("c"), _full("abc"), PART_DONE]
    assert ["", "", ""] == _shown(events, transcript)
    assert not transcript.is_level
    assert "bc" == transcript.settle("abc")


def test_a_new_stream_from_scratch_heals_a_gap() -> None:
    """A replay from the start shows again as soon as it has caught up."""
    transcript = Transcript()
    _shown([_delta("a")], transcript)
    transcript.missed()
    transcript.restart()
    events = [_delta("a"), _delta("b"), _full("ab")]
    assert ["", "b", ""] == _shown(events, transcript)
    assert transcript.is_level


def test_a_resumed_stream_builds_on_what_was_shown() -> None:
    """After a resume the whole text of a part includes what was shown before."""
    transcript = Transcript("ab")
    transcript.restart("ab")
    events = [_delta("c"), _full("abc"), PART_DONE, _delta("d", (1, 0))]
    assert ["c", "", "", "\n\nd"] == _shown(events, transcript)
    assert transcript.is_level


def test_a_resumed_part_that_does_not_fit_is_not_shown() -> None:
    """If a part's whole text contradicts what was shown, the final text decides."""
    transcript = Transcript("ab")
    transcript.restart("ab")
    events = [_delta("c"), _full("xbc"), _delta("d", (1, 0))]
    assert ["c", "", ""] == _shown(events, transcript)
    assert transcript.settle("xbcd") is None


@given(st.data(), st.lists(st.lists(st.text("ab", max_size=2)), max_size=3))
@example(None, [["a"], ["a"]])
def test_interleaved_parts_are_shown_in_order(
    data: st.DataObject | None, parts: list[list[str]]
) -> None:
    """However parts that began in order are mixed, the text comes out in order."""
    queues: list[list[Event]] = []
    for n, deltas in enumerate(parts):
        events = [_delta(text, (n, 0)) for text in ["", *deltas]]
        done = Event("response.content_part.done", part=(n, 0))
        queues.append([*events, _full("".join(deltas), (n, 0)), done])
    final = "\n\n".join(filter(None, ("".join(deltas) for deltas in parts)))
    transcript = Transcript()
    for queue in queues:  # each part begins in its turn
        transcript.add(queue.pop(0))
    order = [n for n, queue in enumerate(queues) for _ in queue]
    for n in data.draw(st.permutations(order)) if data else order:
        transcript.add(queues[n].pop(0))
        assert final.startswith(transcript.shown)
    assert final == transcript.shown == transcript.text


_TOLD = st.builds(
    partial(Event),
    st.sampled_from(
        [
            *("response.content_part.added", "response.content_part.done"),
            *("response.output_item.done", "response.output_text.delta"),
        ]
    ),
    part=st.tuples(st.integers(0, 1), st.integers(0, 1)),
    delta=st.none() | st.sampled_from(["", "a", "b"]),
    full=st.none() | st.sampled_from(["", "ab"]),
    item=st.none() | st.just({}),
    is_aside=st.booleans(),
)


@given(
    st.lists(_TOLD, max_size=6),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
    st.lists(st.sampled_from(["a", "bc", ""]), max_size=4),
    st.sampled_from(["", "a", "ab"]),
    st.none() | st.integers(0, 1),
)
def test_deltas_that_follow_each_other_are_one(
    earlier: list[Event],
    part: tuple[int, int],
    deltas: list[str],
    known: str,
    item: int | None,
) -> None:
    """Deltas that are taken together show another text than one by one."""
    told = []
    for together in (True, False):
        transcript = Transcript(known, item=item)
        transcript.restart(known, item)
        _shown(earlier, transcript)
        if together:
            fresh = transcript.extend(part, deltas)
        else:
            fresh = "".join(
                _shown([_delta(d, part) for d in deltas or [""]], transcript)
            )
        told.append((fresh, transcript.text, transcript.shown, transcript.is_level))
    assert told[0] == told[1]


def test_too_much_text_ends_where_it_ends_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of deltas that are together too much those that fit are lost."""
    monkeypatch.setattr("bgresp.engine.shown_text.MOST", 3)
    assert "ab" == Transcript().extend((0, 0), ["a", "b", "cd"])


def test_nothing_is_level_with_nothing() -> None:
    """A stream of a text that never began is level: its cursor may be kept."""
    transcript = Transcript()
    transcript.restart()
    assert transcript.is_level
