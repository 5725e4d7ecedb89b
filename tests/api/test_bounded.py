"""Bytes of a stranger are parsed within limits, however they are chunked."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bgresp.api import transport
from bgresp.api.transport import Response
from bgresp.core.text import PARSED, STRUCTURE, TooLargeError, parse_bounded
from tests.endpoint import listed

Pairs = list[tuple[str, str]]
MIB = 1024 * 1024


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        "9" * 5000,
        "-" + "9" * 5000,
        '{"n": NaN}',
        '{"n": Infinity}',
        "[-Infinity]",
        "",
        "{",
        "{}{}",
        "'a'",
    ],
    ids=lambda text: text[:8],
)
def test_what_is_no_json_is_a_value_error(text: str) -> None:
    """Nesting, digits, NaN and junk raise ValueError and nothing else."""
    for form in (text, text.encode()):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text varies
            parse_bounded(form)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('"\\ud800"', "\ud800"),
        ("\ufeff{}", {}),
        ('{"a": 1, "a": 2}', {"a": 2}),
        ("9" * 4000, int("9" * 4000)),
        ("[" * 200 + "]" * 200, None),
    ],
    ids=["surrogate", "bom", "twice", "digits", "nested"],
)
def test_what_is_odd_but_json_is_read(text: str, value: Any) -> None:
    """Lone surrogates, a BOM, repeated names and long numbers are still JSON."""
    for form in (text, text.encode()):
        assert value is None or value == parse_bounded(form)
        parse_bounded(form)


@pytest.mark.parametrize("text", ["1e999", "-1e999", "1E+400", "0.5", "-0.0", "1e-999"])
def test_numbers_can_be_written_back(text: str) -> None:
    """A number beyond a float's range is still JSON after it was read."""
    found = parse_bounded(f"[{text}]")
    assert found == parse_bounded(json.dumps(found, allow_nan=False))


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    """A broken character costs itself, not the answer around it."""
    assert ["a\ufffdb"] == parse_bounded(b'["a\xffb"]')


@pytest.mark.parametrize("mark", ["{", "[", ",", ":"])
def test_half_a_million_values_are_the_limit(mark: str) -> None:
    """Structure is counted before it is parsed, also within strings."""
    body = json.dumps(mark * STRUCTURE)
    assert mark * STRUCTURE == parse_bounded(body)
    with pytest.raises(TooLargeError, match="500000 values"):
        parse_bounded(json.dumps(mark * (STRUCTURE + 1)))


def test_sixteen_mebibytes_are_the_limit() -> None:
    """A text of just the limit is parsed, one byte more is not."""
    fits = json.dumps("x" * (PARSED - 2)).encode()
    assert PARSED - 2 == len(parse_bounded(fits))
    with pytest.raises(TooLargeError, match="16 MiB"):
        parse_bounded(fits + b" ")


async def _chunks(pieces: Sequence[bytes]) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


def _read(pieces: Sequence[bytes]) -> Pairs:
    headers = [(b"content-type", b"text/event-stream")]
    response = Response(200, headers, _chunks(pieces))
    found = asyncio.run(listed(transport.events(response)))
    return [(sse.event, sse.data) for sse in found]


def _split(body: bytes, cuts: Sequence[int]) -> list[bytes]:
    places = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    return [body[a:b] for a, b in pairwise(places)]


def _reference(body: bytes) -> Pairs:
    """Read a whole stream at once, as the specification of event streams says."""
    text = body.decode("utf-8", "replace").removeprefix("\ufeff") + "\n\n"
    found: Pairs = []
    event, data = "", list[str]()
    for line in text.replace("\r\n", "\n").replace("\r", "\n").split("\n"):
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if not line:
            found.append((event or "message", "\n".join(data)))
            event, data = "", []
        elif name == "event":
            event = value
        elif name == "data":
            data.append(value)
    return [pair for pair in found if pair[1]]


_LINES = st.sampled_from(
    [
        *(b"data: {}", b"data:x", b"data", b"event: response.created", b"event:"),
        *(b": comment", b"id: 7", b"retry: 3", b"", b"junk", b"\xef\xbb\xbfdata: b"),
        *("data: \u00e9\u2028\u0085\U0001f98a".encode(), b"data: \xff\xc3", b"data: a"),
    ]
)
_ENDS = st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"])
_BODIES = st.builds(
    lambda bom, parts, tail: bom + b"".join(map(b"".join, parts)) + tail,
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xef"]),
    st.lists(st.tuples(_LINES, _ENDS), max_size=8),
    _LINES,
)


@given(body=_BODIES, cuts=st.lists(st.integers(0, 400), max_size=12))
@example(body=b"\xef\xbb\xbfdata: a\r\n\r\ndata: b", cuts=[1, 2, 3, 10, 11, 12, 13])
@example(body=b"data: a\r\n\r\n", cuts=list(range(11)))
@example(body=b"\xef\xbb", cuts=[1])
@example(body=b"", cuts=[])
def test_chunks_change_nothing(body: bytes, cuts: list[int]) -> None:
    """However the bytes of a stream are chunked, its events are the same."""
    assert _reference(body) == _read(_split(body, cuts))


@given(body=_BODIES)
def test_byte_by_byte_changes_nothing(body: bytes) -> None:
    """A stream that drips one byte at a time has the same events."""
    assert _reference(body) == _read(_split(body, range(len(body))))


def test_an_event_of_five_mebibytes_passes() -> None:
    """A long event is no error, and the limit counts anew after each."""
    data = b"x" * (5 * MIB)
    events = [
        b"data: " + data + end for end in (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\n")
    ]
    body = b"".join(events)
    found = _read([body[n : n + 65536] for n in range(0, len(body), 65536)])
    assert [len(data)] * 4 == [len(each) for _, each in found]


@pytest.mark.parametrize("end", [b"\n\n", b"\r\r", b"\r\n\r\n"])
def test_the_limit_is_one_event_s_over_any_border(end: bytes) -> None:
    """A blank line that two chunks share ends no event, or a border ends one."""
    half = PARSED // 2
    whole = b"data: " + b"x" * half
    for cut in range(1, len(end)):
        pieces = [whole + end[:cut], end[cut:], whole + end[:cut], end[cut:]]
        assert [half] * 2 == [len(each) for _, each in _read(pieces)]
    with pytest.raises(TooLargeError, match="16 MiB"):
        _read([whole, end[:1], b"data: ", b"x" * half, end])


@pytest.mark.parametrize(
    ("first", "again"),
    [(b"data: ", b"x" * 65536), (b"", b"data: a\n" * 8192), (b"", b": no\n" * 8192)],
)
def test_an_endless_event_stops_at_the_limit(first: bytes, again: bytes) -> None:
    """A line or an event that never ends is read up to the limit, then refused."""
    taken = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal taken
        yield first
        while True:
            taken += len(again)
            yield again

    async def main() -> None:
        async for _ in transport.events(Response(200, [], endless())):
            pass

    with pytest.raises(TooLargeError, match="16 MiB"):
        asyncio.run(main())
    assert PARSED <= taken <= PARSED + len(again)
