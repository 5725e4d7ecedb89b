"""Histories of events are what they claim to be, whole, changed or cut."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests import fakewire as fw
from tests.strategies import Behaviour, cuts, event_lists, history


def test_events_come_in_openais_order_numbered_from_zero() -> None:
    """A history is numbered from 0 and opens and closes as OpenAI's does."""
    told = fw.events_of("a b", parts=None)
    assert list(range(len(told))) == [event["sequence_number"] for event in told]
    assert [
        "response.created",
        "response.queued",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ] == [event["type"] for event in told]


@pytest.mark.parametrize(
    ("change", "kind", "status"),
    [
        (fw.ended("response.failed", "cancelled"), "response.failed", "cancelled"),
        (fw.ended("response.completed", "incomplete"), "response.completed", None),
        (fw.errored(6), "error", None),
        (fw.errored(6, nested=True), "error", None),
        (fw.unended, "response.output_item.done", None),
        (fw.kept_alive, "response.completed", "completed"),
        (fw.restarted(7), "response.completed", "completed"),
    ],
)
def test_a_history_can_end_in_other_ways(
    change: fw.Change, kind: str, status: str | None
) -> None:
    """A changed history keeps its numbering and ends in the event it names."""
    told = change(fw.events_of(fw.FOX))
    assert list(range(len(told))) == [event["sequence_number"] for event in told]
    assert kind == told[-1]["type"]
    assert status in (None, told[-1].get("response", {}).get("status"))


@given(event_lists())
def test_a_history_ends_in_its_own_deltas(told: fw.Events) -> None:
    """The text of the final response is the deltas in their order."""
    deltas = [event["delta"] for event in told if "delta" in event]
    assert "".join(deltas) == fw.text_of(fw.final_of(told))


@given(st.data(), event_lists(), st.sampled_from(Behaviour), st.randoms())
def test_a_deduplicating_client_gets_the_whole_history(
    data: st.DataObject, told: fw.Events, behaviour: Behaviour, rng: random.Random
) -> None:
    """Dropping numbers at or below the cursor restores the history, gaps aside."""
    got: list[int] = []
    cut = data.draw(cuts(len(told)))
    for arrived in history(
        told, cut, behaviour=behaviour, rng=rng, cursor=lambda: max(got, default=None)
    ):
        for event in arrived:
            if event["sequence_number"] > max(got, default=-1):
                got.append(event["sequence_number"])
    lossy = behaviour in (Behaviour.GAP, Behaviour.REORDER)
    assert got[-1] == len(told) - 1
    assert lossy or got == list(range(len(told)))
