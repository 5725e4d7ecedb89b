"""Hypothesis strategies for what a client may receive of a job, as pure data.

`event_lists` makes whole histories, `cuts` says where connections are lost, and
`history` tells what arrives over the reconnects under one behaviour of the server.
"""

from collections.abc import Callable, Iterator, Sequence
from enum import Enum, auto
from random import Random

from hypothesis import strategies as st

from tests.fakewire import Events, Json, Resume, events_of, resumed

Cuts = tuple[int, ...]

# What breaks decoders and terminals, beside ordinary text of every script.
_AWKWARD = st.sampled_from(
    ["\n", "\r\n", "\u2028", "\u0085", "\x1b]52;c;", "\x00", "é", "\U0001f98a", "data:"]
)
_PLAIN = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


def parts() -> st.SearchStrategy[list[list[str]]]:
    """Make the deltas of one to three output parts."""
    deltas = st.lists(_PLAIN | _AWKWARD, max_size=6)
    return st.lists(deltas, min_size=1, max_size=3)


def event_lists() -> st.SearchStrategy[Events]:
    """Make whole histories, numbered from 0, ending in their final response."""
    return parts().map(lambda deltas: events_of(parts=deltas))


def cuts(count: int) -> st.SearchStrategy[Cuts]:
    """Make increasing positions, below count, after which a connection is lost."""
    positions = st.sets(st.integers(0, max(count - 1, 0)), max_size=8)
    return positions.map(lambda chosen: tuple(sorted(chosen)))


class Behaviour(Enum):
    """How a server resumes, and what it does to the events it sends."""

    EXCLUSIVE = auto()  # as the specification says
    INCLUSIVE = auto()  # off by one: the last seen event comes again
    REPLAY = auto()  # starting_after is ignored
    DUPLICATES = auto()
    REORDER = auto()  # some neighbours change places
    GAP = auto()  # some events are never sent; the last always is


def history(
    events: Sequence[Json],
    cuts: Sequence[int],
    *,
    behaviour: Behaviour,
    rng: Random,
    cursor: Callable[[], int | None],
) -> Iterator[Events]:
    """Yield what each connection brings: one a cut, then one to the very end.

    A connection ends with the event at its cut. The cursor is asked at each connect,
    so the client must have taken one connection's events before it asks for the next.
    """
    resume = {"INCLUSIVE": Resume.INCLUSIVE, "REPLAY": Resume.REPLAY}
    for cut in (*cuts, len(events) - 1):
        how = resume.get(behaviour.name, Resume.EXCLUSIVE)
        sent = resumed(events[: cut + 1], cursor(), how)
        yield _disturbed(sent, behaviour, rng, last=events[-1])


def _disturbed(
    sent: Events, behaviour: Behaviour, rng: Random, *, last: Json
) -> Events:
    if behaviour is Behaviour.DUPLICATES:
        return [event for event in sent for _ in range(rng.randint(1, 3))]
    if behaviour is Behaviour.GAP:
        return [event for event in sent if event is last or rng.random() < 0.7]
    if behaviour is Behaviour.REORDER:
        for n in range(len(sent) - 2):  # the terminal event stays the last
            if rng.random() < 0.3:
                sent[n], sent[n + 1] = sent[n + 1], sent[n]
    return sent
