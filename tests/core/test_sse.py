"""Server-sent events, decoded from bytes that are cut anywhere."""

from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.reading import ServerEvent, SseDecoder, SseError

TEXT = st.text(
    st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=6
)
BLOCK = st.fixed_dictionaries(
    {"data": st.lists(TEXT, min_size=1, max_size=3)},
    optional={
        "event": st.text("abc.", min_size=1, max_size=4),
        "id": st.text("0123ä", max_size=3),
        "retry": st.integers(0, 10**9),
        "comment": TEXT,
    },
)


def decoded(raw: bytes, cuts: list[int] | None = None) -> list[ServerEvent]:
    decoder = SseDecoder()
    bounds = sorted({0, len(raw), *(cut % (len(raw) + 1) for cut in cuts or [])})
    return [
        event
        for start, end in pairwise(bounds)
        for event in decoder.feed(raw[start:end])
    ]


def encoded(blocks: list[dict[str, object]], ends: list[str]) -> bytes:
    lines: list[str] = []
    for block in blocks:
        for name, value in block.items():
            if name == "comment":
                lines.append(f":{value}")
            elif isinstance(value, list):
                lines += [f"data: {piece}" for piece in value]
            else:
                lines.append(f"{name}: {value}")
        lines.append("")
    ending = iter(ends * (len(lines) + 1))
    return "".join(line + next(ending) for line in lines).encode()


def expected(blocks: list[dict[str, object]]) -> Iterator[ServerEvent]:
    last = ""
    for block in blocks:
        last = str(block.get("id", last))
        data, retry = block["data"], block.get("retry")
        assert isinstance(data, list)
        assert retry is None or isinstance(retry, int)
        yield ServerEvent(
            "\n".join(data), str(block.get("event", "message")), last, retry
        )


@given(
    st.lists(BLOCK, max_size=4),
    # CR then an empty line's LF would read as one CRLF: a stream keeps to one of them.
    st.sampled_from([["\n"], ["\r\n"], ["\r"], ["\r\n", "\n"]]),
    st.booleans(),
    st.lists(st.integers(0, 1000), max_size=20),
)
def test_however_it_is_cut_the_events_are_the_same(
    blocks: list[dict[str, object]], ends: list[str], bom: bool, cuts: list[int]
) -> None:
    """Events come out as they went in, whatever ends a line and wherever a chunk ends."""
    raw = (b"\xef\xbb\xbf" if bom else b"") + encoded(blocks, ends)
    assert list(expected(blocks)) == decoded(raw, cuts)
    assert list(expected(blocks)) == decoded(raw, list(range(len(raw))))


@given(st.binary(max_size=60), st.lists(st.integers(0, 60), max_size=8))
def test_any_bytes_are_taken(raw: bytes, cuts: list[int]) -> None:
    """Nothing that a server sends raises, and cuts change nothing."""
    assert decoded(raw) == decoded(raw, cuts)


@given(
    st.lists(st.sampled_from([b"data: a", b"\r", b"\n", b":", b"id: 1"]), max_size=12)
)
def test_bytes_one_by_one(pieces: list[bytes]) -> None:
    """A stream that comes byte by byte gives what it gives at once."""
    raw = b"".join(pieces)
    assert decoded(raw) == decoded(raw, list(range(len(raw))))


@pytest.mark.parametrize(
    ("raw", "events"),
    [
        (b"data: YHOO\ndata: +2\ndata: 10\n\n", [ServerEvent("YHOO\n+2\n10")]),
        (
            b": test\n\ndata: first\nid: 1\n\ndata:second\nid\n\ndata:  third\n\n",
            [
                ServerEvent("first", id="1"),
                ServerEvent("second"),
                ServerEvent(" third"),
            ],
        ),
        (b"data\n\ndata\ndata\n\ndata:", [ServerEvent(""), ServerEvent("\n")]),
        (b"data:test\n\ndata: test\n\n", [ServerEvent("test")] * 2),
        (b"event: x\n\ndata: y\n\n", [ServerEvent("y")]),
        (b"id: a\0b\ndata: x\n\n", [ServerEvent("x")]),
        (b"retry: 1x\ndata: x\n\n", [ServerEvent("x")]),
        (
            b"retry: 10\ndata: x\n\ndata: y\n\n",
            [ServerEvent("x", retry=10), ServerEvent("y")],
        ),
        (b"Data: x\nfoo: y\n\n", []),
        (b"id: 7\n\n: ping\n\ndata: x\n\n", [ServerEvent("x", id="7")]),
        (b"\xef\xbb\xbfdata: x\n\n", [ServerEvent("x")]),
        (b"\xef\xbb\xbf\xef\xbb\xbfdata: x\n\n", []),
        ("data: a\u2028b\x85\x0b\n\n".encode(), [ServerEvent("a\u2028b\x85\x0b")]),
        (b"data: \xff\n\n", [ServerEvent("\ufffd")]),
        (b"data: x\n", []),
    ],
)
def test_as_the_standard_says(raw: bytes, events: list[ServerEvent]) -> None:
    """The standard's own examples, and what clients get wrong."""
    assert events == decoded(raw) == decoded(raw, list(range(len(raw))))


@pytest.mark.parametrize(
    "line", [b"data: " + b"x" * 30, b"y" * 30, b"data: 1234567\n" * 3]
)
def test_an_event_without_end_is_refused(line: bytes) -> None:
    """An event above the limit is an error, in one line or in many; others are not."""
    decoder = SseDecoder(most=20)
    for _ in range(100):
        assert [ServerEvent("x")] == decoder.feed(b": ping\ndata: x\n\n")
    pieces = [line[start : start + 1] for start in range(len(line))]
    with pytest.raises(SseError, match="above 20 bytes"):
        list(map(decoder.feed, pieces))


def test_comments_without_end_cost_nothing() -> None:
    """Keep-alives between the lines of an event do not count towards its size."""
    decoder = SseDecoder(most=20)
    decoder.feed(b"data: x\n")
    for _ in range(100):
        decoder.feed(b": keep-alive\n")
    assert [ServerEvent("x")] == decoder.feed(b"\n")
