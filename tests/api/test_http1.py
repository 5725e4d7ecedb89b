"""Our own connection: what leaves and when, what comes in any pieces, and its ends."""

import asyncio
import json
import socket
import ssl
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from bgresp.api import http1, proxied, transport
from bgresp.api.client import Api
from bgresp.api.http1 import Client, address, target
from bgresp.api.transport import ExchangeError, Failure, Request, Route, Sent
from bgresp.core.signals import Fault, FaultKind, Snapshot
from tests import fakewire as fw
from tests.endpoint import endpoint, listening
from tests.virtualclock import VirtualLoop, run_virtual

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
HELLO: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
HINTS: Final = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nL: x\r\n\r\n"


def get(url: str, **headers: str) -> Request:
    return Request("GET", url, {}, headers)


async def head_of(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


async def asked(
    client: transport.Client, request: Request, sent: Sent | None = None
) -> bytes:
    """Exchange once; return the whole body."""
    async with client.exchange(request, sent or Sent()) as response:
        return b"".join([piece async for piece in response.body])


@asynccontextmanager
async def speaking(
    talk: Talk, *, keep_alive: bool = True, patience: float = 60.0
) -> AsyncIterator[tuple[Client, str]]:
    """Lend a client of a server that talks like this, and the server's URL."""
    async with listening(talk) as place:
        client = Client(f"http://{place}", None, patience, keep_alive=keep_alive)
        try:
            yield client, f"http://{place}/v1/x"
        finally:
            await client.aclose()


async def settled() -> None:
    """Let a loop do what the end of a connection brings with it, at both ends."""
    for _ in range(50):
        await asyncio.sleep(0)


def failure_of(talk: Talk, request: Callable[[str], Request] = get) -> ExchangeError:
    """Exchange once with a server, which has to fail."""

    async def main() -> ExchangeError:
        async with speaking(talk) as (client, url):
            with pytest.raises(ExchangeError) as caught:
                await asked(client, request(url))
            return caught.value

    return asyncio.run(main())


def certified(name: str, folder: Path) -> tuple[ssl.SSLContext, Path]:
    """Return what a server of that name shows, and the file that vouches for it."""
    authority, known = trustme.CA(), folder / "ca.pem"
    authority.cert_pem.write_to_path(known)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context, known


def answering(*replies: bytes) -> tuple[Talk, list[int]]:
    """Return a server that gives these, one a request, and how many each caller got."""
    left, counts = [*replies], list[int]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counts.append(0)
        mine = len(counts) - 1
        while left:
            try:
                await head_of(reader)
            except asyncio.IncompleteReadError:
                return
            counts[mine] += 1
            writer.write(left.pop(0))
            await writer.drain()

    return talk, counts


# ---- what leaves --------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://h.test/v1", ("h.test", 80, False, "h.test")),
        ("https://h.test:443/v1", ("h.test", 443, True, "h.test")),
        ("http://H.Test:8080", ("h.test", 8080, False, "h.test:8080")),
        ("https://[::1]:9/v1", ("::1", 9, True, "[::1]:9")),
        ("http://[fe80::1%25eth0]/v1", ("fe80::1%eth0", 80, False, "[fe80::1]")),
        ("http://[fe80::1%25E]:9", ("fe80::1%E", 9, False, "[fe80::1]:9")),
        ("http://h.test:0/v1", ("h.test", 0, False, "h.test:0")),
        ("http://b\u00fccher.test", ("xn--bcher-kva.test", 80, False, None)),
    ],
)
def test_a_base_url_leads_somewhere(url: str, place: tuple[Any, ...]) -> None:
    """Host, port and Host header are those of RFC 9110; names beyond ASCII are IDNA."""
    found = address(url)
    assert (*place[:3], place[3] or place[0]) == found


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://h/", "nonsense", "http://", "http://h:99999/", "http://[::1"),
        *("http:///x", "http://\u2603\u0338.test/", "http://h:x/"),
    ],
)
def test_what_is_no_url_is_not_connected_to(url: str) -> None:
    """A URL that is none is a mistake of the request, not of the network."""
    with pytest.raises(ExchangeError) as caught:
        address(url)
    assert Failure.UNFORMED is caught.value.failure
    assert str(caught.value).isprintable()


@given(st.text(max_size=60), st.dictionaries(st.text(max_size=8), st.text(max_size=8)))
def test_any_path_and_query_stay_one_line(path: str, params: dict[str, str]) -> None:
    """What a URL holds cannot end the request's first line, or begin a header."""
    line = target(Request("GET", f"http://h.test/{path}", params, {}))
    assert line.isascii()
    assert line.isprintable()
    assert " " not in line
    assert line.startswith("/")


@given(st.text(alphabet="ab%20/\u00e9 ?", max_size=30))
def test_a_quoted_path_is_quoted_once(path: str) -> None:
    """A path that is quoted already goes out as it is."""
    once = target(Request("GET", f"http://h.test/{path}", {}, {})).partition("?")[0]
    assert once == target(Request("GET", f"http://h.test{once}", {}, {}))


@pytest.mark.parametrize(
    ("path", "line"),
    [("/100%", "/100%25"), ("/a%2Fb", "/a%2Fb"), ("", "/"), ("/a b", "/a%20b")],
)
def test_what_is_quoted_stays_and_the_rest_is_quoted(path: str, line: str) -> None:
    """A path goes out as it is but for what no path may hold."""
    assert line == target(Request("GET", f"http://h.test{path}", {}, {}))


def test_a_request_says_whose_it_is() -> None:
    """Host, length and our headers go out once each; a Host of the user's own wins."""
    heads: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(3):
            heads.append(await head_of(reader))
            writer.write(HELLO)

    async def main() -> None:
        async with speaking(talk) as (client, url):
            await asked(client, Request("POST", url, {"a": ["1", "2 3"]}, {"x-y": "z"}))
            await asked(
                client,
                get(url, **{"host": "other.test", "transfer-encoding": "chunked"}),
            )
            await asked(client, get(url))

    asyncio.run(main())
    first, *lines = heads[0].decode().split("\r\n")
    assert "POST /v1/x?a=1&a=2+3 HTTP/1.1" == first
    assert {"content-length: 0", "x-y: z", "", lines[0]} == {*lines}
    assert lines[0].startswith("host: 127.0.0.1:")
    assert b"host: other.test\r\n" in heads[1]
    assert b"127.0.0.1" not in heads[1]
    assert b"content-length" not in heads[2]
    assert b"transfer-encoding" not in heads[1]


@pytest.mark.parametrize(
    "headers",
    [
        *({"x": "a\r\nb: c"}, {"x": "\u00e9"}, {"x y": "z"}, {"x": "\x00"}),
        {"content-length": "5"},
    ],
)
def test_what_http_cannot_carry_is_not_sent(headers: dict[str, str]) -> None:
    """A header that would break the request fails before a byte, and is not quoted."""
    seen: list[bytes] = []

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    sent = Sent()

    async def main() -> ExchangeError:
        async with speaking(talk) as (client, url):
            with pytest.raises(ExchangeError) as caught:
                await asked(client, get(url, **headers), sent)
            return caught.value

    error = asyncio.run(main())
    assert (Failure.UNFORMED, False) == (error.failure, sent.started)
    assert all(value not in str(error) for value in headers.values())
    assert not any(seen)


def test_who_must_know_is_told_before_the_first_byte() -> None:
    """`leaving` is called while nothing left; where it raises, nothing ever leaves."""
    seen: list[bytes] = []
    told = list[bool]()

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        seen.append(await reader.read())

    async def main() -> None:
        async with speaking(talk) as (client, url):

            def leaving() -> None:
                told.append(sent.written)
                raise KeyError("disk full")

            sent = Sent(leaving=leaving)
            with pytest.raises(KeyError):
                await asked(client, get(url), sent)

    asyncio.run(main())
    assert ([False], [b""]) == (told, seen)


@pytest.mark.parametrize("size", [0, 1, 300_000, 5 << 20])
def test_a_body_of_any_size_arrives(size: int) -> None:
    """A body comes as it was, though the socket takes no more of it at once."""
    body, found = b"x" * size, list[bytes]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        found.append(await reader.readexactly(size))
        writer.write(HELLO)

    async def main() -> bytes:
        async with speaking(talk) as (client, url):
            return await asked(client, Request("POST", url, {}, {}, body))

    assert b"hello" == asyncio.run(main())
    assert [body] == found


def test_a_refusal_in_mid_body_is_heard() -> None:
    """A server that refuses a large body before its end is heard, and left."""
    talk, counts = answering(b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n", HELLO)

    async def main() -> int:
        async with speaking(talk) as (client, url):
            big = Request("POST", url, {}, {}, bytes(64 << 20))
            async with client.exchange(big, Sent()) as response:
                status = response.status_code
                assert [] == [piece async for piece in response.body]
            assert b"hello" == await asked(client, get(url))
            return status

    assert 413 == asyncio.run(main())
    assert [1, 1] == counts


@pytest.mark.parametrize(
    "early", [HINTS, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"]
)
def test_a_word_in_mid_body_ends_no_body(early: bytes) -> None:
    """A hint, or a reply that is no refusal, lets a large body go on to its end."""
    size, found = 16 << 20, list[int]()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(early)
        await writer.drain()
        found.append(len(await reader.readexactly(size)))
        writer.write(HELLO if early is HINTS else b"hello")

    async def main() -> bytes:
        async with speaking(talk, patience=5.0) as (client, url):
            return await asked(client, Request("POST", url, {}, {}, bytes(size)))

    assert b"hello" == asyncio.run(main())
    assert [size] == found


def test_a_body_that_nobody_takes_is_given_up() -> None:
    """A server that stops reading holds a request up for half a minute, no longer."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del reader
        done.add_done_callback(lambda _: writer.transport.abort())
        await done

    sent = Sent()
    done: asyncio.Future[None]

    async def main() -> tuple[float, ExchangeError]:
        nonlocal done
        done = asyncio.get_running_loop().create_future()
        server = await asyncio.start_server(talk, "127.0.0.1", 0, limit=1)
        port = server.sockets[0].getsockname()[1]
        client = Client(f"http://127.0.0.1:{port}", None, 600.0, keep_alive=True)
        began = asyncio.get_running_loop().time()
        big = Request("POST", f"http://127.0.0.1:{port}/", {}, {}, bytes(64 << 20))
        with pytest.raises(ExchangeError) as caught:
            await asked(client, big, sent)
        took = asyncio.get_running_loop().time() - began
        done.set_result(None)
        await client.aclose()
        server.close()
        await asyncio.sleep(0)
        return took, caught.value

    took, error = run_virtual(main(), patience=0.2)
    assert (Failure.BROKEN, True) == (error.failure, sent.written)
    assert 30.0 <= took < 60.0


# ---- what comes ---------------------------------------------------------------


class Socket(asyncio.Transport):
    """A socket that takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.is_read = True

    def write(self, data: Any) -> None:
        pass

    def abort(self) -> None:
        pass

    def pause_reading(self) -> None:
        self.is_read = False

    def resume_reading(self) -> None:
        self.is_read = True


BODY: Final = b"data: one\n\ndata: two\n\n" * 5
CHUNKED: Final = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n" + (
    b"".join(b"%x\r\n%b\r\n" % (len(p), p) for p in (BODY[:7], BODY[7:8], BODY[8:]))
)
LONG: Final = b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: %d\r\n\r\n%b" % (
    *(len(BODY), BODY),
)
UNTIL_END: Final = b"HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\n" + BODY


async def received(pieces: list[bytes], *, slow: bool) -> bytes:
    """Feed bytes as a socket does; `slow`: more comes while one is taken."""
    loop = asyncio.get_running_loop()
    wire, socket = http1._Wire(loop), Socket()
    wire.connection_made(socket)
    request = http1._formed(get("http://h.test/"), address("http://h.test"))
    await wire.send(request, b"", Sent())
    left = [*pieces]

    def feed() -> None:
        if left:
            wire.data_received(left.pop(0))
            loop.call_soon(feed)
        else:
            wire.eof_received()

    loop.call_soon(feed)
    head = await wire.response(60.0)
    assert (200, b"1") == (head.status_code, dict(head.headers)[b"x-a"])
    found = b""
    async for piece in wire.body(60.0):
        found += piece
        if slow:
            for _ in range(3):
                await asyncio.sleep(0)
    return found


@given(
    st.sampled_from([CHUNKED + b"0\r\n\r\n", LONG, UNTIL_END]),
    st.booleans(),
    st.lists(st.integers(1, 90), max_size=40),
    st.booleans(),
)
def test_however_it_is_cut_a_reply_is_the_same(
    reply: bytes, hinted: bool, cuts: list[int], slow: bool
) -> None:
    """Pieces of any size say what the whole says, also while one is being taken."""
    data, pieces = (HINTS if hinted else b"") + reply, list[bytes]()
    for size in cuts:
        pieces.append(data[:size])
        data = data[size:]
    kept = [piece for piece in (*pieces, data) if piece]
    assert BODY == asyncio.run(received(kept, slow=slow))


@given(st.integers(0, len(CHUNKED) - 1))
def test_a_cut_tells_all_that_came(at: int) -> None:
    """A stream that breaks anywhere yields what came before it, and then fails."""

    async def main() -> bytes:
        loop = asyncio.get_running_loop()
        wire = http1._Wire(loop)
        wire.connection_made(Socket())
        request = http1._formed(get("http://h.test/"), address("http://h.test"))
        await wire.send(request, b"", Sent())
        if at:
            wire.data_received(CHUNKED[:at])
        wire.connection_lost(ConnectionResetError(104, "Connection reset by peer"))
        found = b""
        with pytest.raises(ExchangeError, match="reset"):  # noqa: PT012 - it yields first
            await wire.response(60.0)
            async for piece in wire.body(60.0):
                found += piece
        return found

    found = asyncio.run(main())
    assert BODY.startswith(found)
    head = CHUNKED.index(b"\r\n\r\n") + 4
    came = CHUNKED[head:at]
    assert len(found) >= len(came) - 20  # less the chunks' own lines


def test_what_nobody_takes_is_left_in_the_socket() -> None:
    """Of a stream that nobody reads a quarter of a MiB is held, and then no more."""

    async def main() -> None:
        wire, socket = http1._Wire(asyncio.get_running_loop()), Socket()
        wire.connection_made(socket)
        request = http1._formed(get("http://h.test/"), address("http://h.test"))
        await wire.send(request, b"", Sent())
        wire.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 900000\r\n\r\n")
        await wire.response(60.0)
        body = wire.body(60.0)
        for _ in range(4):
            assert socket.is_read
            wire.data_received(bytes(65_536))
        assert not socket.is_read
        assert 4 * 65_536 == len(await anext(body))
        wire.data_received(b"x")
        assert b"x" == await anext(body)
        assert socket.is_read

    asyncio.run(main())


def test_patience_begins_anew_with_every_piece() -> None:
    """A stream that says something every 8 s is none that is silent for 10 s."""

    async def main() -> tuple[list[bytes], float]:
        loop = asyncio.get_running_loop()
        wire = http1._Wire(loop)
        wire.connection_made(Socket())
        request = http1._formed(get("http://h.test/"), address("http://h.test"))
        await wire.send(request, b"", Sent())
        wire.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        await wire.response(10.0)
        for times in (1, 2, 3):
            loop.call_later(8.0 * times, wire.data_received, b"x")
        found: list[bytes] = []
        with pytest.raises(ExchangeError) as caught:  # noqa: PT012 - it yields first
            async for piece in wire.body(10.0):
                found.append(piece)  # noqa: PERF401 - kept over the failure
        assert Failure.SILENT is caught.value.failure
        return found, loop.time()

    assert ([b"x"] * 3, 34.0) == run_virtual(main())


def test_a_shorter_wait_ends_before_a_longer_one_would_have() -> None:
    """The timer of a wait that is over puts no other wait off."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        wire = http1._Wire(loop)
        wire.connection_made(Socket())
        request = http1._formed(get("http://h.test/"), address("http://h.test"))
        await wire.send(request, b"", Sent())
        reply = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
        loop.call_later(1.0, wire.data_received, reply)
        await wire.response(60.0)
        with pytest.raises(ExchangeError):
            assert [] == [piece async for piece in wire.body(10.0)]
        return loop.time()

    assert 11.0 == run_virtual(main())


@pytest.mark.parametrize("every", [1.0, 4.0, 10.0])
def test_hints_put_no_reply_off(every: float) -> None:
    """A server that hints for ever at a reply is left when it should have come."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        wire = http1._Wire(loop)
        wire.connection_made(Socket())
        request = http1._formed(get("http://h.test/"), address("http://h.test"))
        await wire.send(request, b"", Sent())
        for times in range(20):
            loop.call_later(every * times, wire.data_received, HINTS)
        with pytest.raises(ExchangeError) as caught:
            await wire.response(10.0)
        assert Failure.SILENT is caught.value.failure
        return loop.time()

    assert 10.0 == run_virtual(main())


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (b"", "Server disconnected without sending a response."),
        (b"HTTP/1.1 20", "Server disconnected without sending a response."),
        (b"nonsense\r\n\r\n", ""),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (101 << 10), ""),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "peer closed"),
        (CHUNKED, "incomplete chunked read"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", ""),
        (
            b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
            "",
        ),
    ],
)
def test_what_is_no_reply_breaks_the_exchange(reply: bytes, said: str) -> None:
    """Half a reply, a lie about its length, or no HTTP at all is a failure in words."""
    talk, _ = answering(reply)
    error = failure_of(talk)
    assert Failure.BROKEN is error.failure
    assert said in str(error)
    assert str(error).isprintable()
    assert str(error)


def test_a_change_of_protocol_ends_the_exchange() -> None:
    """Who lets a server change the protocol, by a header of their own, gets no reply."""
    switch = b"HTTP/1.1 101 Go\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
    talk, _ = answering(switch + b"anything")
    error = failure_of(talk, lambda url: get(url, upgrade="x", connection="upgrade"))
    said = (Failure.BROKEN, "it changed to another protocol")
    assert said == (error.failure, str(error))


@pytest.mark.parametrize(
    "reply",
    [
        *(b"%s\r\n\r\n", b"HTTP/1.1 200 OK\r\nX %s\r\n\r\n"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%s\r\n",
    ],
)
def test_what_is_no_reply_is_not_quoted(reply: bytes) -> None:
    """A server that sends our key back where no text may stand puts it in no message."""
    talk, _ = answering(reply.replace(b"%s", b"Bearer sk-0123456789"))
    said = str(failure_of(talk))
    assert said.startswith("illegal ")
    assert "sk-" not in said


# ---- one after the other ------------------------------------------------------


async def arrival() -> None:
    """Turn the loop so often that all arrives which was sent on it to itself."""
    for _ in range(20):
        await asyncio.sleep(0.005)


def counted(replies: list[bytes], pause: float = 0.0) -> list[int]:
    """Ask so many times with a pause between; return what each connection got."""
    talk, counts = answering(*replies)

    async def main() -> None:
        async with speaking(talk) as (client, url):
            for _ in replies:
                assert b"hello" == await asked(client, get(url))
                await asyncio.sleep(pause)

    run_virtual(main())
    return counts


@pytest.mark.parametrize(
    ("reply", "pause", "counts"),
    [
        (HELLO, 0.0, [3]),
        (HELLO, 4.0, [3]),
        (HELLO, 6.0, [1, 1, 1]),
        (HELLO.replace(b"OK", b"OK\r\nConnection: close"), 0.0, [1, 1, 1]),
        (HELLO.replace(b"1.1", b"1.0"), 0.0, [1, 1, 1]),
        (HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nbad", 0.0, [1, 1, 1]),
    ],
)
def test_a_connection_is_used_again_while_it_is_good(
    reply: bytes, pause: float, counts: list[int]
) -> None:
    """For five seconds, unless the server says no, or says more than it was asked."""
    assert counts == counted([reply] * 3, pause)


def test_what_nobody_asked_for_answers_nothing() -> None:
    """Bytes that come between two requests are no reply to the second one."""
    asks, came = list[int](), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        asks.append(1)
        writer.write(HELLO)
        if len(asks) == 1:
            await came.wait()
            writer.write(HELLO.replace(b"hello", b"other"))
            await reader.read()

    async def main() -> None:
        async with speaking(talk) as (client, url):
            assert b"hello" == await asked(client, get(url))
            came.set()
            await arrival()
            assert b"hello" == await asked(client, get(url))

    asyncio.run(main())


def test_a_connection_that_the_server_left_is_not_used() -> None:
    """A request is not written to who has gone: it would have to be asked again."""
    talk, counts = answering(HELLO)

    async def main() -> None:
        async with speaking(talk) as (client, url):
            assert b"hello" == await asked(client, get(url))
            await arrival()  # of its farewell
            with pytest.raises(ExchangeError, match=r"disconnected|reset"):
                await asked(client, get(url))

    asyncio.run(main())
    assert [1, 0] == counts


def test_what_a_socket_holds_is_seen() -> None:
    """One that is closed has something to say; one that is silent has nothing."""
    one, other = socket.socketpair()
    with one, other:
        assert not http1._is_readable(one.fileno())
        other.send(b"x")
        assert http1._is_readable(one.fileno())
    assert http1._is_readable(one.fileno())


def test_a_client_that_is_closed_holds_no_socket() -> None:
    """Whoever closes a client may close the loop next: no socket is left to it."""

    async def main() -> tuple[int, asyncio.TimerHandle | None]:
        async with speaking(answering(HELLO)[0]) as (client, url):
            assert b"hello" == await asked(client, get(url))
            wire = client._wire
            assert wire is not None
            held = wire._socket.get_extra_info("socket")
            await client.aclose()
            return held.fileno(), wire._timer

    assert (-1, None) == asyncio.run(main())


def accepted(listener: socket.socket) -> socket.socket:
    found, _ = listener.accept()
    return found


def cut(sock: socket.socket, *, reset: bool) -> None:
    """Close a socket, in good order or not; on loopback the other end has it at once."""
    if reset:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


@pytest.mark.parametrize("reset", [True, False])
def test_who_left_unseen_is_asked_nothing(reset: bool) -> None:
    """A server that leaves after each reply without a word is asked on a new one.

    Though the loop has had no turn in which to read that it left.
    """

    async def main(listener: socket.socket) -> None:
        port = listener.getsockname()[1]
        client = Client(f"http://127.0.0.1:{port}", None, 60.0, keep_alive=True)
        for _ in range(3):
            async with client.exchange(get(client.base_url), Sent()) as response:
                assert b"hello" == b"".join([piece async for piece in response.body])
            cut(served.pop(), reset=reset)
        await client.aclose()

    served: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            for _ in range(3):
                found = accepted(listener)
                found.recv(65_536)
                served.append(found)
                found.sendall(HELLO)

        thread = threading.Thread(target=serve)
        thread.start()
        asyncio.run(main(listener))
        thread.join()


async def stood(listener: socket.socket, first: bytes, *, reset: bool) -> None:
    """Connect to who says something and leaves before a byte was written."""
    loop = asyncio.get_running_loop()
    place = listener.getsockname()
    _, wire = await loop.create_connection(lambda: http1._Wire(loop), *place)
    served = accepted(listener)
    served.sendall(first)
    cut(served, reset=reset)
    try:
        await wire.stand()
    finally:
        wire.abort()
        await wire.gone


@pytest.mark.parametrize("reset", [True, False])
@pytest.mark.parametrize("first", [b"", b"HTTP/1.1 503 No\r\n\r\n", b"220 smtp\r\n"])
def test_a_connection_that_is_cut_at_once_took_nothing(
    first: bytes, reset: bool
) -> None:
    """Who is gone before the first byte was written has no job: it may be sent again."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        pytest.raises(ExchangeError) as caught,
    ):
        asyncio.run(stood(listener, first, reset=reset))
    said = "Connection reset by peer" if reset else "the connection was closed at once"
    assert (Failure.UNCONNECTED, said) == (caught.value.failure, str(caught.value))


def test_a_refusal_at_once_is_read_as_one() -> None:
    """A 429 that came before the request says more than that nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        asyncio.run(stood(listener, b"HTTP/1.1 429 No\r\n\r\n", reset=False))


async def sending(
    listener: socket.socket, before: Callable[[socket.socket], None]
) -> tuple[ExchangeError | int, bytes]:
    """Send a large body to who does something before its first byte leaves.

    Returns the status of the reply, or the failure, and what came of the request.
    A connection on which a body was left half-way takes no other request.
    """
    loop = asyncio.get_running_loop()
    place = listener.getsockname()
    _, wire = await loop.create_connection(lambda: http1._Wire(loop), *place)
    served = accepted(listener)
    big = Request("POST", "http://h.test/", {}, {}, bytes(5 << 20))
    head = http1._formed(big, address(big.url))
    with served:
        try:
            await wire.send(head, big.body, Sent(leaving=lambda: before(served)))
            found: ExchangeError | int = (await wire.response(60.0)).status_code
            assert [] == [piece async for piece in wire.body(60.0)]
            wire.settle()
            assert not wire.is_usable(loop.time())
            assert wire.idle_since is None
        except ExchangeError as error:
            found = error
        wire.abort()
        await wire.gone
        return found, b"" if served.fileno() < 0 else served.recv(1 << 20)


@pytest.mark.parametrize("status", [300, 401])
def test_a_refusal_that_is_there_is_read_before_more_is_written(status: int) -> None:
    """Else the write might fail, as the server is leaving, and the refusal be lost."""
    refusal = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
    with socket.create_server(("127.0.0.1", 0)) as listener:
        found, came = asyncio.run(sending(listener, lambda s: s.sendall(refusal)))
    assert status == found
    assert came.endswith(b"\r\n\r\n")  # the head, and nothing of the body


def test_nothing_is_written_to_who_is_gone(caplog: pytest.LogCaptureFixture) -> None:
    """Once a write failed no more of a body is written: asyncio would warn of each."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        error, _ = asyncio.run(sending(listener, lambda s: cut(s, reset=True)))
    assert isinstance(error, ExchangeError)
    assert Failure.BROKEN is error.failure
    assert [] == caplog.records


@pytest.mark.parametrize("reads", [True, False])
def test_who_leaves_early_leaves_no_connection(reads: bool) -> None:
    """A body that was not read to its end ends its connection, without a warning."""
    talk, counts = answering(LONG.replace(b": %d" % len(BODY), b": 1000"), HELLO)

    async def main() -> None:
        async with speaking(talk) as (client, url):
            async with client.exchange(get(url), Sent()) as response:
                if reads:
                    await anext(response.body)
            assert b"hello" == await asked(client, get(url))

    asyncio.run(main())
    assert [1, 1] == counts


def test_who_is_cancelled_leaves_no_connection() -> None:
    """A wait that is cancelled closes its connection at once."""
    heard, gone = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await head_of(reader)
        heard.set()
        if await reader.read() == b"":
            gone.set()

    async def main() -> None:
        async with speaking(talk) as (client, url):
            asking = asyncio.create_task(asked(client, get(url)))
            await heard.wait()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            await gone.wait()

    asyncio.run(main())


# ---- no connection ------------------------------------------------------------


def retrieved(base_url: str, environ: dict[str, str] | None = None) -> Fault:
    async def main() -> Any:
        api = Api(endpoint(base_url), environ or {})
        found = await api.retrieve("resp_1")
        await api.aclose()
        return found

    found = run_virtual(main(), patience=0.2)
    assert isinstance(found, Fault)
    return found


def test_of_several_addresses_one_reason_is_told() -> None:
    """Asyncio puts what each address said in one text, which nobody wants to read."""
    one, other = "[Errno 111] Connect call failed ('::1', 5)", "[Errno 101] no route"
    error = OSError(f"Multiple exceptions: {one}, {other}")
    assert "Connection refused" == http1._first(error)


@pytest.mark.parametrize("host", [".test", "a..test", "a" * 64 + ".test"])
def test_what_no_name_may_be_is_not_reached(host: str) -> None:
    """A host that cannot be looked up refused nothing: it was not reached."""
    found = retrieved(f"http://{host}/v1")
    told = (FaultKind.UNREACHABLE, "not the name of a host")
    assert told == (found.kind, found.message)


def test_a_name_with_two_addresses_is_refused_in_one_word(free_port: int) -> None:
    """Of several addresses that refuse, the first one's reason is told, no address."""
    found = retrieved(f"http://localhost:{free_port}/v1")
    told = (FaultKind.UNREACHABLE, "Connection refused")
    assert told == (found.kind, found.message)


@pytest.fixture(name="free_port")
def _free_port() -> int:
    """Return a port that nobody listens on."""

    async def main() -> int:
        async with listening(answering()[0]) as place:
            return int(place.rpartition(":")[2])

    return asyncio.run(main())


def test_a_handshake_without_end_is_given_up() -> None:
    """Who takes the connection and says nothing is left after ten seconds."""

    async def talk(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> tuple[float, ExchangeError, Sent]:
        loop, sent = asyncio.get_running_loop(), Sent()
        async with listening(talk) as place:
            url = f"https://{place}/"
            client = Client(url, ssl.create_default_context(), 60.0, keep_alive=True)
            began = loop.time()
            with pytest.raises(ExchangeError) as caught:
                await asked(client, get(url), sent)
            took = loop.time() - began
            await client.aclose()
        return took, caught.value, sent

    took, error, sent = run_virtual(main(), patience=0.2)
    said = (Failure.UNCONNECTED, "connecting took too long", False)
    assert said == (error.failure, str(error), sent.started)
    assert transport.CONNECT_TIMEOUT <= took < 2 * transport.CONNECT_TIMEOUT


@pytest.mark.parametrize(
    ("is_known", "name"),
    [(True, "127.0.0.1"), (False, "127.0.0.1"), (True, "h.test"), (True, "127.0.0.2")],
)
def test_a_certificate_is_checked(is_known: bool, name: str, tmp_path: Path) -> None:
    """Who is vouched for by nobody, or is another, gets no byte; the variable is named.

    A gateway that chooses its way by it is told which HTTP is spoken.
    """
    seen = list[str | None]()
    mine, known = certified(name, tmp_path)
    mine.set_alpn_protocols(["h2", "http/1.1"])
    if not is_known:
        trustme.CA().cert_pem.write_to_path(known)
    is_right = is_known and name == "127.0.0.1"

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        seen.append(writer.get_extra_info("ssl_object").selected_alpn_protocol())
        writer.write(b"HTTP/1.1 404 No\r\nContent-Length: 2\r\n\r\n{}")
        await reader.read()
        writer.transport.abort()

    async def main() -> Any:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=mine)
        port = server.sockets[0].getsockname()[1]
        place = endpoint(f"https://127.0.0.1:{port}/v1")
        api = Api(place, {"SSL_CERT_FILE": str(known)})
        found = await api.retrieve("resp_1")
        await api.aclose()
        server.close()
        await settled()
        return found

    found = asyncio.run(main())
    assert (["http/1.1"] * is_right, is_right) == (seen, found.kind is FaultKind.GONE)
    if not is_right:
        assert FaultKind.UNREACHABLE is found.kind
        assert "certificate verify failed" in found.message
        assert "SSL_CERT_FILE" in found.setup


def ended_by_tls(framing: bytes, *, says_farewell: bool, folder: Path) -> list[Any]:
    """Fetch a file, then ask for a job, over TLS that ends with a farewell or without.

    Returns what came of the file, why it failed, and whether the job's object was read.
    """
    mine, known = certified("127.0.0.1", folder)
    whole = json.dumps(fw.response_of("completed", fw.FOX)).encode()

    def serve() -> None:
        for _ in range(2):
            with mine.wrap_socket(accepted(listener), server_side=True) as served:
                served.recv(65_536)
                length = b"Content-Length: %d\r\n" % len(whole)
                head = b"HTTP/1.1 200 OK\r\n" + framing.replace(b"LENGTH", length)
                served.sendall(head + b"\r\n" + whole)
                if says_farewell:
                    with suppress(OSError):  # ours is no answer to it
                        served.unwrap()

    async def main(port: int) -> list[Any]:
        place = endpoint(f"https://127.0.0.1:{port}/v1")
        came = bytearray()
        for ask in ("file", "job"):
            api = Api(place, {"SSL_CERT_FILE": str(known)})
            if ask == "file":
                fault = await api.file("cntr_1", "cfile_1", came.extend)
            else:
                found = await api.retrieve("resp_1")
            await api.aclose()
        return [bytes(came) == whole, fault, isinstance(found, Snapshot)]

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve)
        thread.start()
        found = asyncio.run(main(listener.getsockname()[1]))
        thread.join()
    return found


@pytest.mark.parametrize("says_farewell", [True, False])
@pytest.mark.parametrize("framing", [b"", b"LENGTH"])
def test_a_file_that_tls_does_not_end_may_be_cut(
    framing: bytes, says_farewell: bool, tmp_path: Path
) -> None:
    """A file without a length is whole only if the server itself ended it.

    An answer says where it ends: many servers close without a farewell.
    """
    found = ended_by_tls(framing, says_farewell=says_farewell, folder=tmp_path)
    is_whole, fault, is_read = found
    assert (True, True) == (is_whole, is_read)
    if framing or says_farewell:
        assert fault is None
    else:
        assert (FaultKind.CLOSED, True) == (fault.kind, "may be cut" in fault.message)


def test_a_body_that_we_leave_is_not_whole() -> None:
    """A reply whose connection is closed on our side is not taken for its end."""

    async def main() -> bool:
        loop = asyncio.get_running_loop()
        wire = http1._Wire(loop)
        wire.connection_made(Socket())
        request = http1._formed(get("http://h.test/"), address("http://h.test"))
        await wire.send(request, b"", Sent())
        wire.data_received(UNTIL_END)
        await wire.response(60.0)
        wire.connection_lost(None)
        assert BODY == b"".join([piece async for piece in wire.body(60.0)])
        return wire.is_torn

    assert asyncio.run(main())


class TwoWays(VirtualLoop):
    """A loop in which a name has two addresses, and nobody answers at the first."""

    async def getaddrinfo(self, *args: Any, **how: Any) -> list[Any]:
        """Return two ports of one address."""
        port = args[1]
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, ("127.0.0.1", 1)), (*kind, ("127.0.0.1", port))]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """Connect, but not to the first."""
        if address[1] == 1:
            await asyncio.sleep(1e3)
        await super().sock_connect(sock, address)


def test_an_address_that_is_dead_holds_up_for_a_quarter_of_a_second() -> None:
    """A name whose IPv6 leads nowhere is reached by IPv4, and soon (RFC 8305)."""

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with listening(answering(HELLO)[0]) as place:
            port = place.rpartition(":")[2]
            client = Client(f"http://h.test:{port}", None, 60.0, keep_alive=False)
            async with client.exchange(get(client.base_url), Sent()):
                took = loop.time()
            await client.aclose()
        return took

    with asyncio.Runner(loop_factory=lambda: TwoWays(0.2)) as runner:
        took = runner.run(main())
    assert 0.25 <= took < transport.CONNECT_TIMEOUT


def test_what_tls_said_is_the_reason() -> None:
    """No further than TLS's own word is asked why it failed: below is nothing to do."""
    error = ExchangeError(Failure.UNCONNECTED, "no")
    error.__cause__ = ssl.SSLCertVerificationError("who is that?")
    error.__cause__.__context__ = ConnectionResetError()
    assert error.__cause__ is transport.root(error)


# ---- by a proxy ---------------------------------------------------------------


def test_tls_that_breaks_behind_a_proxy_is_a_failure_in_words(tmp_path: Path) -> None:
    """A record that is none, in mid-body, is no traceback, and leaves a doubt."""
    mine, known = certified("h.test", tmp_path)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()
        below = writer.transport
        await writer.start_tls(mine)
        await head_of(reader)
        writer.write(LONG[:-20])
        below.write(b"\x17\x03\x03\x00\x20" + bytes(32))
        await reader.read()

    async def main() -> tuple[ExchangeError, Sent]:
        sent = Sent()
        async with listening(talk) as place:
            way = Route(f"http://{place}", "HTTPS_PROXY", str(known), "SSL_CERT_FILE")
            client = proxied.client(way, patience=60.0, keep_alive=True)
            with pytest.raises(ExchangeError) as caught:
                async with client.exchange(get("https://h.test/x"), sent) as reply:
                    assert [] != [piece async for piece in reply.body]
            await client.aclose()
        return caught.value, sent

    error, sent = asyncio.run(main())
    assert (Failure.BROKEN, True, True) == (error.failure, sent.started, sent.written)
    assert "SSL" in str(error)


class SocksError(Exception):
    """What httpx passes on of a proxy that speaks no SOCKS."""

    __module__ = "socksio.exceptions"


class ByProxy(httpx.AsyncBaseTransport):
    """A way by a SOCKS proxy that ends in an error, or is silent, and then a reply."""

    def __init__(self, error: Exception | None, *, stands: bool) -> None:
        self.error, self.stands = error, stands

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        trace = request.extensions["trace"]
        await trace("socks.setup_socks5_connection.started", {})
        try:
            await self._negotiate()
        except BaseException:
            await trace("socks.setup_socks5_connection.failed", {})
            raise
        await trace("socks.setup_socks5_connection.complete", {})
        await trace("http11.send_request_headers.started", {"request": request})
        await asyncio.sleep(1e3)
        return httpx.Response(200, stream=httpx.ByteStream(b"late"))

    async def _negotiate(self) -> None:
        if self.error is not None:
            raise self.error
        if not self.stands:
            await asyncio.sleep(1e3)


@pytest.mark.parametrize(
    ("error", "stands", "failure", "took"),
    [
        (SocksError("Malformed reply"), False, Failure.PROXY, 0.0),
        (None, False, Failure.SILENT, 10.0),
        (None, True, None, 1e3),
    ],
)
def test_a_socks_proxy_that_makes_no_way_is_left(
    error: Exception | None, stands: bool, failure: Failure | None, took: float
) -> None:
    """One that speaks otherwise is no traceback, and one that is silent no wait.

    Once the way stands a reply may take as long as httpx lets it.
    """

    async def main() -> tuple[Failure | None, bool, float]:
        way, sent, found = ByProxy(error, stands=stands), Sent(), None
        http = httpx.AsyncClient(transport=way, timeout=10.0)
        client = proxied.Client(http)
        try:
            assert b"late" == await asked(client, get("http://h.test/"), sent)
        except ExchangeError as caught:
            found = caught.failure
        await client.aclose()
        return found, sent.started, asyncio.get_running_loop().time()

    assert (failure, stands, took) == run_virtual(main())


@pytest.mark.parametrize("error", [KeyError("ours"), TimeoutError("ours")])
def test_what_its_user_raises_is_passed_on(error: Exception) -> None:
    """An error of who reads a reply, or is told before it leaves, is no proxy's."""
    http = httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200))
    )

    async def main() -> None:
        client = proxied.Client(http)
        try:
            async with client.exchange(get("http://h.test/"), Sent()):
                raise error
        finally:
            await client.aclose()

    with pytest.raises(type(error), match="ours"):
        asyncio.run(main())


def test_no_cookie_is_kept() -> None:
    """What a server sets for one request goes out with no other."""
    heads: list[httpx.Headers] = []

    def answer(request: httpx.Request) -> httpx.Response:
        heads.append(request.headers)
        return httpx.Response(200, headers={"Set-Cookie": "a=b"})

    async def main() -> None:
        client = proxied.Client(
            httpx.AsyncClient(transport=httpx.MockTransport(answer))
        )
        for _ in range(2):
            async with client.exchange(get("http://h.test/"), Sent()):
                pass
        await client.aclose()

    asyncio.run(main())
    assert [False, False] == ["cookie" in head for head in heads]


def test_a_proxy_of_https_is_trusted_as_endpoints_are(tmp_path: Path) -> None:
    """The certificates that hold for an endpoint hold for its proxy."""
    mine, known = certified("127.0.0.1", tmp_path)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head_of(reader)
        writer.write(b"HTTP/1.1 403 Not by me\r\nContent-Length: 0\r\n\r\n")
        await reader.read()
        writer.transport.abort()

    async def main() -> ExchangeError:
        server = await asyncio.start_server(talk, "127.0.0.1", 0, ssl=mine)
        port = server.sockets[0].getsockname()[1]
        way = Route(f"https://127.0.0.1:{port}", "P", str(known), "SSL_CERT_FILE")
        client = proxied.client(way, patience=60.0, keep_alive=False)
        with pytest.raises(ExchangeError) as caught:
            await asked(client, get("https://h.test/"))
        await client.aclose()
        server.close()
        await settled()
        return caught.value

    error = asyncio.run(main())
    assert (Failure.PROXY, "403 Not by me") == (error.failure, str(error))
