"""What a real connection does to a reply or a stream, and what becomes of it."""

import asyncio
import gzip
import json
import zlib
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.api import proxied, replies, transport
from bgresp.api.client import Api
from bgresp.api.transport import Inflater, Response
from bgresp.core.errors import ConfigError
from bgresp.core.signals import Event, Fault, FaultKind, Signal, Snapshot
from bgresp.core.text import TooLargeError
from tests import fakeanswers as fa
from tests import fakewire as fw
from tests.endpoint import (
    KEY,
    dialect,
    endpoint,
    listed,
    listening,
    patient_unless_hanging,
    using,
)
from tests.fakeanswers import End, Framing, Reply, Stream
from tests.fakeserver import FakeServer

ID = fw.FIRST_ID
SSE = {"Content-Type": "text/event-stream"}
EVENTS = fw.events_of(fw.FOX)


def retrieved(server: FakeServer, answer: fa.Answer) -> Snapshot | Fault:
    server.script("get", answer)
    place = endpoint(server.base_url, spoken=patient_unless_hanging(answer))
    return using(place, lambda api: api.retrieve(ID))


def streamed(server: FakeServer, answer: fa.Answer) -> list[Signal]:
    server.script("stream", answer)
    place = endpoint(server.base_url, spoken=patient_unless_hanging(answer))
    return using(place, lambda api: listed(api.stream(ID, None)))


def told(server: FakeServer, events: str | bytes, **headers: str) -> list[Signal]:
    body = events if isinstance(events, bytes) else events.encode()
    return streamed(server, Reply(200, body, {**SSE, **headers}))


def create(server: FakeServer) -> None:
    """Make the one job that a FakeServer's usual answers are about."""
    body = {"model": "m", "input": "hi", "background": True, "stream": False}
    httpx.post(f"{server.base_url}/responses", json=body, trust_env=False)


def kinds(signals: list[Signal]) -> list[str]:
    return [s.type if isinstance(s, Event) else type(s).__name__ for s in signals]


def final(signals: list[Signal]) -> FaultKind:
    assert isinstance(signals[-1], Fault)
    return signals[-1].kind


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (fa.RESET, FaultKind.CLOSED),
        (fa.CLOSE, FaultKind.CLOSED),
        (fa.HANG, FaultKind.IDLE),
        (fa.html(502), FaultKind.UNREACHABLE),
        (fa.html(200), FaultKind.UNREADABLE),
        (fa.halved(fa.as_json(fw.response_of("completed"))), FaultKind.CLOSED),
        (Reply(200, b'{"id": "x", "sta'), FaultKind.UNREADABLE),
        (Reply(200, b"{}", sent=1, end=End.RST), FaultKind.CLOSED),
        (Reply(200, b"{}", sent=1, end=End.HANG), FaultKind.IDLE),
        (Reply(200, b"no gzip", {"Content-Encoding": "gzip"}), FaultKind.UNREADABLE),
        (fa.gzipped(fa.refusal(404)), FaultKind.GONE),
        (fa.refusal(429, retry_after="7"), FaultKind.RATE_LIMITED),
        (fa.refusal(404), FaultKind.GONE),
        (fa.refusal(401), FaultKind.REFUSED),
    ],
)
def test_a_retrieve_becomes_a_fault(
    server: FakeServer, answer: fa.Answer, kind: FaultKind
) -> None:
    """Whatever breaks a retrieve is a value, and says nothing of the job."""
    found = retrieved(server, answer)
    assert isinstance(found, Fault)
    assert kind is found.kind
    assert found.message


def test_a_refused_connection_is_unreachable(server: FakeServer) -> None:
    """Where nobody listens, a retrieve and a stream are unreachable."""
    server.refuse()
    place = endpoint(server.base_url)
    found = using(place, lambda api: api.retrieve(ID))
    assert isinstance(found, Fault)
    assert (FaultKind.UNREACHABLE, None) == (found.kind, found.http_status)
    assert [found] == using(place, lambda api: listed(api.stream(ID, None)))


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_never_followed(server: FakeServer, status: int) -> None:
    """The host that a redirect names sees no request, of any operation."""
    with FakeServer() as other:
        away = fa.redirect(status, f"{other.base_url}/responses/{ID}")
        found = retrieved(server, away)
        assert isinstance(found, Fault)
        assert (FaultKind.REFUSED, status) == (found.kind, found.http_status)
        assert FaultKind.REFUSED is final(streamed(server, away))
        assert other.base_url in found.message
        assert () == other.requests


def packed(raw: bytes, coding: str, *, members: int = 1) -> bytes:
    """Compress bytes as a gateway does, in so many members."""
    if coding == "gzip":
        size = max(1, -(-len(raw) // members))
        pieces = [raw[at : at + size] for at in range(0, len(raw), size)] or [b""]
        return b"".join(map(gzip.compress, pieces))
    packer = zlib.compressobj(wbits=-15 if coding == "raw" else 15)
    return packer.compress(raw) + packer.flush()


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_a_file_has_a_limit(coding: str) -> None:
    """A file without end fills the disk, or one that is small as it comes does."""
    raw, taken = bytes(5 << 20), 0
    body = packed(raw, coding) if coding else raw
    headers = {"Content-Encoding": coding}
    pieces = iter([body[at : at + 4096] for at in range(0, len(body), 4096)])

    async def take(most: int) -> None:
        nonlocal taken
        async for piece in transport.pieces(unread(headers, pieces), most=most):
            taken += len(piece)

    with pytest.raises(TooLargeError, match="larger than 4 MiB"):
        asyncio.run(take(4 << 20))
    assert taken <= 4 << 20
    pieces, taken = iter([body]), 0
    asyncio.run(take(5 << 20))
    assert len(raw) == taken


def unread(headers: dict[str, str], pieces: Iterator[bytes]) -> Response:
    """Return a reply whose body is still to come."""

    async def body() -> AsyncIterator[bytes]:
        for piece in pieces:
            yield piece

    raw = [(name.encode(), value.encode()) for name, value in headers.items()]
    return Response(200, raw, body())


@pytest.mark.parametrize(
    ("coding", "members"), [("gzip", 1), ("gzip", 3), ("deflate", 1), ("raw", 1)]
)
@pytest.mark.parametrize("piece", [1, 7, 1 << 20])
def test_a_compressed_reply_is_read(
    server: FakeServer, coding: str, members: int, piece: int
) -> None:
    """A gateway that compresses in spite of `identity` makes every answer unreadable."""
    name = {"Content-Encoding": coding.replace("raw", "deflate")}
    whole = json.dumps(fw.response_of("completed", fw.FOX)).encode()
    raw = packed(whole, coding, members=members)
    server.script("get", Reply(200, raw, name))
    found = using(endpoint(server.base_url), lambda api: api.retrieve(ID))
    assert isinstance(found, Snapshot)
    assert (fw.FOX, whole) == (found.reading.text, found.raw)
    events = packed(b"".join(fa.sse(fw.events_of(fw.FOX))), coding, members=members)
    inflater = Inflater(name["Content-Encoding"])
    chunks = [events[at : at + piece] for at in range(0, len(events), piece)]
    read = b"".join(p for chunk in chunks for p in inflater.feed(chunk))
    assert (b"".join(fa.sse(fw.events_of(fw.FOX))), True) == (read, inflater.is_whole)
    server.script("stream", Reply(200, events, {**SSE, **name}))
    signals = using(endpoint(server.base_url), lambda api: listed(api.stream(ID, None)))
    assert fw.FOX == "".join(s.delta or "" for s in signals if isinstance(s, Event))


@given(st.binary(max_size=500), st.lists(st.integers(1, 40)), st.integers(1, 4))
def test_a_body_cut_anywhere_inflates_to_itself(
    raw: bytes, sizes: list[int], members: int
) -> None:
    """Where the bytes of a compressed body are cut changes what it says."""
    data, inflater, read = packed(raw, "gzip", members=members), Inflater("gzip"), b""
    for size in sizes:
        read += b"".join(inflater.feed(data[:size]))
        data = data[size:]
    read += b"".join(inflater.feed(data))
    assert raw == read
    assert inflater.is_whole


@pytest.mark.parametrize(
    ("coding", "bits"), [("raw", -15), ("deflate", 15), ("gzip", 31)]
)
def test_a_full_piece_holds_nothing_back(coding: str, bits: int) -> None:
    """What zlib took in, and did not tell as the piece was full, waits for more."""
    size = (1 << 20) + 1
    data = packed(bytes(size), coding)
    while len(zlib.decompressobj(bits).decompress(data[:-1])) == size:
        data = data[:-1]  # until nothing is left that could tell no more
    told = Inflater(coding.replace("raw", "deflate")).feed(data)
    assert size == sum(map(len, told))


@pytest.mark.parametrize("coding", ["br", "gzip"])
def test_an_error_that_cannot_be_read_says_nothing(coding: str) -> None:
    """Bytes of an encoding that nobody reads stand in an error's message."""
    raw, headers = b"\x1f\x8b no text at all", {"Content-Encoding": coding}
    refused = unread(headers, iter([raw]))
    refused.status_code = 400
    reply = asyncio.run(transport.whole(refused))
    assert (400, b"") == (reply.status, reply.body)


@pytest.mark.parametrize("padding", [b"\0", bytes(600), b"\r\n"])
@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_padding_after_a_compressed_body_is_nothing(
    coding: str, padding: bytes
) -> None:
    """What follows the last member spoils it, or is taken for a part of the body.

    In whatever pieces it comes.
    """
    whole = packed(b"whole", coding)
    for chunks in (
        [whole + padding, padding],
        [whole, padding],
        [whole[:-1], whole[-1:] + padding],
    ):
        inflater = Inflater(coding)
        read = b"".join(piece for chunk in chunks for piece in inflater.feed(chunk))
        assert (b"whole", True) == (read, inflater.is_whole)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_a_compressed_body_without_its_end_is_not_whole(coding: str) -> None:
    """A file that was cut is taken for the whole of it."""
    cut, came = packed(b"whole", coding)[:-4], bytearray()

    async def take() -> None:
        body = unread({"Content-Encoding": coding}, iter([cut]))
        async for piece in transport.pieces(body, most=1 << 20):
            came.extend(piece)

    with pytest.raises(transport.EncodingError, match="ends too early"):
        asyncio.run(take())
    assert b"whole" == came


def test_a_bomb_is_inflated_in_pieces() -> None:
    """A small body swells to all of memory before anybody may count it."""
    pieces = Inflater("gzip").feed(gzip.compress(bytes(64 << 20)))
    assert {1 << 20} == {len(next(pieces)) for _ in range(32)}


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, br", "X-\x1b[2J"])
def test_an_unknown_encoding_is_refused(server: FakeServer, coding: str) -> None:
    """A reply in an encoding that nobody knows is taken for an answer."""
    bomb = Reply(200, b"\x1f\x8bnot gzip at all", {"Content-Encoding": coding})
    found = retrieved(server, bomb)
    assert isinstance(found, Fault)
    assert FaultKind.REFUSED is found.kind
    assert found.message.isprintable()
    headers = {**SSE, "Content-Encoding": coding}
    assert FaultKind.REFUSED is final(streamed(server, replace(bomb, headers=headers)))


def test_identity_is_asked_for_and_taken(server: FakeServer) -> None:
    """Requests ask for no compression, and its absence may be spelled out."""
    plain = fa.as_json(fw.response_of("queued"))
    named = {**plain.headers, "Content-Encoding": "Identity"}
    assert isinstance(retrieved(server, replace(plain, headers=named)), Snapshot)
    told(server, "data: [DONE]\n\n")
    asked = [seen.headers["accept-encoding"] for seen in server.requests]
    assert ["identity", "identity"] == asked


def test_a_body_beyond_the_limit_is_refused(server: FakeServer) -> None:
    """A body is read up to 64 MiB, and left there."""
    found = retrieved(server, Reply(200, b" " * (replies.SAVED + 1)))
    assert isinstance(found, Fault)
    assert FaultKind.UNREADABLE is found.kind
    assert "64 MiB" in found.message


def test_a_whole_stream_arrives(server: FakeServer) -> None:
    """Every event comes in order, and even a clean end is no success."""
    create(server)
    signals = streamed(server, Stream())
    assert [event["type"] for event in EVENTS] == kinds(signals)[:-1]
    assert FaultKind.CLOSED is final(signals)
    seen = server.asked("stream")[0]
    assert {"stream": "true"} == seen.query
    wanted = ("text/event-stream", "no-store")
    assert wanted == (seen.headers["accept"], seen.headers["cache-control"])


@pytest.mark.parametrize(
    "framing",
    [
        Framing(head=fa.BOM),
        Framing(newline="\r\n", piece=1),
        Framing(newline="\r", piece=1),
        Framing(newline="\r\n", piece=7, head=fa.BOM, tail=fa.DONE),
        Framing(trim=1),
        Framing(trim=2),
        Framing(newline="\r\n", trim=2),
        Framing(newline="\r\n", trim=3),
        Framing(newline="\r", trim=2),
        Framing(names=False),
        Framing(ids=True, between=b": keep-alive\n\n"),
        Framing(tail=b"data:[DONE]\n\n"),
        Framing(tail=b"data: {\n\ndata: []\n\nevent: ping\n\n"),
        Framing(content_type="text/event-stream; charset=iso-8859-1", piece=3),
        Framing(content_type="Text/Event-Stream;charset=UTF-16", chunked=False),
    ],
)
def test_framing_changes_nothing(framing: Framing) -> None:
    """Line ends, chunks, a BOM, `[DONE]` or a wrong charset cost no event."""
    text = "Ça va? \u2028 \u0085 \U0001f98a نمبر"
    with FakeServer(tell=text) as server:
        create(server)
        signals = streamed(server, Stream(framing=framing))
    events = [signal for signal in signals if isinstance(signal, Event)]
    assert text == "".join(event.delta or "" for event in events)
    numbers = [event["sequence_number"] for event in fw.events_of(text)]
    assert numbers == [event.sequence for event in events]
    assert FaultKind.CLOSED is final(signals)


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        (End.RST, FaultKind.CLOSED),
        (End.FIN, FaultKind.CLOSED),
        (End.EOF, FaultKind.CLOSED),
        (End.HANG, FaultKind.IDLE),
    ],
)
def test_a_cut_loses_nothing_that_came(
    server: FakeServer, end: End, kind: FaultKind
) -> None:
    """However a stream is cut after event 4, events 0 to 4 arrive before the fault."""
    create(server)
    signals = streamed(server, Stream(until=4, end=end))
    numbers = [s.sequence for s in signals if isinstance(s, Event)]
    # A reset may overtake what the kernel has not delivered yet.
    assert list(range(5))[: len(numbers)] == numbers
    assert end is End.RST or len(numbers) == 5
    assert kind is final(signals)


def test_comments_alone_keep_a_stream_alive(server: FakeServer) -> None:
    """Keep-alive bytes are no silence, and no events either."""
    create(server)
    server.script("stream", Stream(until=0, end=fa.COMMENTS))
    place = endpoint(server.base_url, spoken=dialect(streaming={"idle_bytes": 5.0}))

    async def ask(api: Api) -> list[Signal]:
        found, begun = list[Signal](), asyncio.Event()

        async def read() -> None:
            async for signal in api.stream(ID, None):
                found.append(signal)
                begun.set()
            found.append(Fault(FaultKind.CLOSED, "ended by itself"))

        reading = asyncio.create_task(read())
        await begun.wait()
        await asyncio.wait([reading], timeout=0.3)
        reading.cancel()
        return found

    assert ["response.created"] == kinds(using(place, ask))


def test_keepalives_and_unnumbered_events_pass(server: FakeServer) -> None:
    """Events of unknown type or without a number are data, not errors."""
    create(server)
    server.script("stream", Stream(change=fw.kept_alive))
    place = endpoint(server.base_url)
    signals = using(place, lambda api: listed(api.stream(ID, None)))
    assert len(EVENTS) - 1 == kinds(signals).count("keepalive")
    bare = streamed(server, Stream(change=fw.unnumbered))
    assert {None} == {s.sequence for s in bare if isinstance(s, Event)}


def test_an_event_of_five_mebibytes_arrives(server: FakeServer) -> None:
    """A long delta is taken whole."""
    delta = {"type": "response.output_text.delta", "delta": "x" * (5 << 20)}
    signals = told(server, f"data: {json.dumps(delta)}\n\n")
    assert isinstance(signals[0], Event)
    assert delta["delta"] == signals[0].delta


def test_an_endless_line_ends_the_stream(server: FakeServer) -> None:
    """A line that never ends is left at the limit and reported as unreadable."""
    create(server)
    signals = streamed(server, Stream(until=0, end=fa.ENDLESS_LINE))
    assert ["response.created", "Fault"] == kinds(signals)
    assert FaultKind.UNREADABLE is final(signals)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (fa.TOO_OLD, FaultKind.NOT_STREAMABLE),
        (fa.NOT_STREAMABLE, FaultKind.NOT_STREAMABLE),
        (fa.refusal(404), FaultKind.NOT_STREAMABLE),
        (fa.refusal(405), FaultKind.NOT_STREAMABLE),
        (fa.refusal(501), FaultKind.NOT_STREAMABLE),
        (fa.refusal(429), FaultKind.RATE_LIMITED),
        (fa.html(503), FaultKind.UNREACHABLE),
        (fa.html(200), FaultKind.UNREADABLE),
        (Reply(500, b"data: {}\n\n", SSE), FaultKind.UNREACHABLE),
        (fa.RESET, FaultKind.CLOSED),
        (fa.HANG, FaultKind.IDLE),
    ],
)
def test_a_stream_that_is_none(
    server: FakeServer, answer: fa.Answer, kind: FaultKind
) -> None:
    """What comes instead of events is one fault of its kind."""
    signals = streamed(server, answer)
    assert (["Fault"], kind) == (kinds(signals), final(signals))


def test_json_instead_of_events_is_believed(server: FakeServer) -> None:
    """A response object in place of a stream is a snapshot."""
    create(server)
    signals = streamed(server, fa.Snapshot("in_progress"))
    assert ["Snapshot"] == kinds(signals)


@pytest.mark.parametrize("value", ["socks5://127.0.0.1:1", "nonsense://x"])
def test_a_wrong_proxy_is_a_setting_not_a_crash(
    monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    """A proxy that cannot be used is named as a mistake of the configuration."""
    monkeypatch.setenv("HTTPS_PROXY", value)
    place = endpoint("https://llm.invalid/v1")
    with pytest.raises(ConfigError) as caught:
        using(place, lambda api: api.retrieve(ID))
    assert "HTTPS_PROXY" in caught.value.hint


def test_a_wrong_certificate_file_is_a_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A certificate file that is none is named as a mistake of the configuration."""
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    monkeypatch.setenv("SSL_CERT_FILE", str(junk))
    with pytest.raises(ConfigError, match="cannot set up"):
        using(endpoint("https://llm.invalid/v1"), lambda api: api.retrieve(ID))


def test_this_machine_is_never_reached_through_a_proxy(
    server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment does not come between bgresp and loopback."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    create(server)
    assert isinstance(retrieved(server, fa.Snapshot("queued")), Snapshot)


async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer whatever comes in plain HTTP."""
    await reader.read(1)
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")


def test_a_failing_tls_handshake_is_unreachable() -> None:
    """A server that speaks no TLS is not reached."""

    async def main() -> Snapshot | Fault:
        async with listening(plain) as address:
            api = Api(endpoint(f"https://{address}/v1"))
            found = await api.retrieve(ID)
            await api.aclose()
            return found

    found = asyncio.run(main())
    assert isinstance(found, Fault)
    assert (FaultKind.UNREACHABLE, None) == (found.kind, found.http_status)
    assert found.message.isprintable()


@pytest.mark.parametrize("bad", [f"{KEY}\nX: y", f"{KEY}é", f"{KEY}\x00"])
def test_a_request_that_cannot_be_formed_shows_no_secret(
    server: FakeServer, bad: str
) -> None:
    """A header that HTTP cannot carry fails without being quoted or sent."""
    place = endpoint(server.base_url, key=bad)
    found = using(place, lambda api: api.retrieve(ID))
    assert isinstance(found, Fault)
    assert "sk-test" not in found.message
    assert () == server.requests


def test_reasons_are_the_innermost_ones() -> None:
    """A failure's message is what the system said, not the names of wrappers."""
    outer = httpx.ConnectError("All connection attempts failed")
    outer.__cause__ = ConnectionRefusedError(111, "Connect call failed ('1.2.3.4', 5)")
    assert "Connection refused" == proxied.reason(outer)
    assert "connecting took too long" == proxied.reason(httpx.ConnectTimeout("x"))
    assert "ReadError" == proxied.reason(httpx.ReadError(""))
