"""The scripted endpoint does what its scripts say, over real sockets."""

import codecs
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from httpx_sse import connect_sse

from tests import fakeanswers as fa
from tests import fakewire as fw
from tests.fakeanswers import End, Forever, Framing, Performed, Snapshot, Stream
from tests.fakejobs import says
from tests.fakeserver import FakeServer

BODY = {"model": "m", "input": "hi", "background": True, "metadata": {"k": "v"}}
LAST = len(fw.events_of(fw.FOX)) - 1


@pytest.fixture(name="http", scope="module")
def _http() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, verify=False, timeout=10) as client:  # noqa: S501 - no TLS here, and no certificates to load
        yield client


def create(http: httpx.Client, server: FakeServer, **extra: Any) -> httpx.Response:
    return http.post(f"{server.base_url}/responses", json=BODY | extra)


def create_with(http: httpx.Client, server: FakeServer, answer: fa.Answer) -> int:
    server.script("create", answer)
    return create(http, server).status_code


def job_url(server: FakeServer, query: str = "") -> str:
    return f"{server.base_url}/responses/{fw.FIRST_ID}{query}"


def numbers(http: httpx.Client, url: str, **post: Any) -> list[int]:
    got: list[int] = []
    broken = contextlib.suppress(httpx.ReadError, httpx.RemoteProtocolError)
    with broken, connect_sse(http, "POST" if post else "GET", url, **post) as source:
        got.extend(json.loads(e.data)["sequence_number"] for e in source.iter_sse())
    return got


def test_a_job_goes_through_its_polls_to_its_text(http: httpx.Client) -> None:
    """A created job is queued, then shows each poll's status, then its answer."""
    with FakeServer(polls=("queued", "in_progress")) as server:
        queued = create(http, server).json()
        *polled, final = [http.get(job_url(server)).json() for _ in range(3)]
        assert (queued["status"], queued["metadata"]) == ("queued", {"k": "v"})
        assert ["queued", "in_progress"] == [each["status"] for each in polled]
        assert fw.FOX == fw.text_of(final)
        assert "completed" == final["status"]
        assert server.jobs == {fw.FIRST_ID: "completed"}
        assert [BODY] == [seen.json for seen in server.creates]
        assert 3 == server.count("GET", f"/v1/responses/{fw.FIRST_ID}")


def test_a_stream_resumes_after_the_number_it_is_given(http: httpx.Client) -> None:
    """A creating stream lost after event 4 goes on with event 5 to the terminal."""
    with FakeServer() as server:
        server.script("create", Stream(until=4, end=End.RST))
        url, body = f"{server.base_url}/responses", BODY | {"stream": True}
        assert list(range(5)) == numbers(http, url, json=body)
        query = "?stream=true&starting_after="
        assert list(range(5, LAST + 1)) == numbers(http, job_url(server, query + "4"))
        assert [] == numbers(http, job_url(server, f"{query}{LAST}"))
        assert {"stream": "true", "starting_after": "4"} == server.requests[1].query


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Stream(resume=fw.Resume.INCLUSIVE), list(range(3, LAST + 1))),
        (Stream(resume=fw.Resume.REPLAY), list(range(LAST + 1))),
        (Stream(until=5, change=fw.doubled), [4, 4, 5, 5]),
        (Stream(until=6, change=fw.left_out(5)), [4, 6]),
        (Stream(until=6, change=fw.swapped(4)), [5, 4, 6]),
        (Stream(events=()), []),
    ],
)
def test_a_stream_can_be_resumed_wrongly(
    http: httpx.Client, answer: Stream, expected: list[int]
) -> None:
    """A scripted stream after number 3 brings exactly the wrong events it names."""
    with FakeServer() as server:
        create(http, server)
        server.script("stream", answer)
        query = "?stream=true&starting_after=3"
        assert expected == numbers(http, job_url(server, query))


def test_framing_reaches_the_client_byte_by_byte(http: httpx.Client) -> None:
    """A stream with BOM, CR ends, ids and one byte a chunk arrives as written."""
    framing = Framing("\r", ids=True, head=fa.BOM, tail=fa.DONE, piece=1)
    told = fw.events_of("naïve \u2028 🦊")
    with FakeServer() as server:
        create(http, server)
        server.script("stream", Stream(events=told, framing=framing))
        with http.stream("GET", job_url(server, "?stream=true")) as reply:
            pieces = list(reply.iter_raw())
    body = b"".join(pieces)
    assert {1} == {len(piece) for piece in pieces}
    assert body.startswith(codecs.BOM_UTF8 + b"event: response.created\rid: 0\rdata: {")
    assert body.endswith(b"\r\rdata: [DONE]\n\n")
    assert "🦊".encode() in body


def test_scripted_replies_come_first_and_once(http: httpx.Client) -> None:
    """Answers are consumed in order, those for one job first, then all is as usual."""
    with FakeServer() as server:
        server.script("create", fa.refusal(429, retry_after="2"))
        assert "2" == create(http, server).headers["retry-after"]
        assert 202 == create_with(http, server, Snapshot(http=202))
        server.script("get", fa.refusal(404), Snapshot("paused"))
        server.script("get", fa.html(502), job=fw.FIRST_ID)
        replies = [http.get(job_url(server)) for _ in range(4)]
        assert [502, 404, 200, 200] == [reply.status_code for reply in replies]
        assert ["paused", "completed"] == [r.json()["status"] for r in replies[2:]]


def test_cancelled_may_flip_to_completed(http: httpx.Client) -> None:
    """A job that cancel confirmed can turn up completed with its text."""
    with FakeServer() as server:
        create(http, server)
        assert "cancelled" == http.post(job_url(server) + "/cancel").json()["status"]
        assert "cancelled" == http.get(job_url(server)).json()["status"]
        server.script("get", Snapshot("completed"))
        assert fw.FOX == fw.text_of(http.get(job_url(server)).json())
        assert 1 == server.cancels(fw.FIRST_ID)
        assert http.delete(job_url(server)).json()["deleted"]
        assert 404 == http.get(job_url(server)).status_code


def test_a_create_can_be_lost_after_it_was_done(http: httpx.Client) -> None:
    """A reset create made its job or not, as scripted; the list shows which."""
    with FakeServer(listing=True, idempotent=True) as server:
        for answer in (fa.RESET, Performed(fa.RESET)):
            with pytest.raises(httpx.ReadError):
                create_with(http, server, answer)
        with pytest.raises(httpx.RemoteProtocolError):
            create_with(http, server, fa.CLOSE)
        with pytest.raises(httpx.RemoteProtocolError):
            create_with(http, server, Snapshot(change=fa.halved))
        listed = http.get(f"{server.base_url}/responses").json()["data"]
        assert 2 == len(listed)
        assert {"k": "v"} == listed[0]["metadata"]
        headers = {"Idempotency-Key": "once"}
        for _ in range(2):
            http.post(f"{server.base_url}/responses", json=BODY, headers=headers)
        assert 3 == len(server.jobs)


def test_a_refusing_server_comes_back_at_the_same_port(http: httpx.Client) -> None:
    """A refusing server is not reached and counts nothing until it accepts again."""
    with FakeServer() as server:
        server.refuse()
        with pytest.raises(httpx.ConnectError):
            create(http, server)
        assert () == server.requests
        server.accept()
        assert 200 == create(http, server).status_code


def test_the_exit_leaves_no_connection_open() -> None:
    """Hanging and endless connections are closed when the server's block is left."""
    post = b"POST /v1/responses HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}"
    with FakeServer() as server:
        server.script("create", fa.HANG, Stream(until=1, end=fa.COMMENTS))
        clients = [socket.create_connection(server.address) for _ in range(2)]
        for client in clients:
            client.sendall(post)
        server.wait_for("create", 2)
    for client in clients:
        with client, contextlib.suppress(ConnectionResetError):
            while client.recv(65536):
                pass


@pytest.mark.parametrize(
    ("end", "chunked", "error"),
    [
        (End.EOF, True, None),
        (End.FIN, True, httpx.RemoteProtocolError),
        (End.RST, True, httpx.ReadError),
        (End.HANG, True, httpx.ReadTimeout),
        (fa.COMMENTS, False, StopIteration),
        (fa.ENDLESS_LINE, True, StopIteration),
    ],
)
def test_a_stream_ends_as_scripted(
    http: httpx.Client,
    end: End | fa.Repeat,
    chunked: bool,
    error: type[Exception] | None,
) -> None:
    """After its events a stream ends, breaks, falls silent or never stops."""
    framing = Framing(chunked=chunked, trim=1)
    told = fw.events_of("x")[:1]
    with FakeServer() as server:
        create(http, server)
        server.script("stream", Stream(events=told, framing=framing, end=end))
        patience = 0.2 if end is End.HANG else 30
        raised, got = received(http, job_url(server, "?stream=true"), patience)
        assert error is raised
        assert got.startswith(b"".join(fa.sse(told, framing)))


def received(
    http: httpx.Client, url: str, patience: float
) -> tuple[type[Exception] | None, bytes]:
    got = b""
    try:
        with http.stream("GET", url, timeout=patience) as reply:
            for piece in reply.iter_raw():
                got += piece
                if len(got) > 5_000_000 or got.count(b": keep-alive") > 1:
                    return StopIteration, got  # beyond any end: it does not stop
    except httpx.TransportError as error:
        return type(error), got
    return None, got


def test_an_unused_reply_fails_the_test(http: httpx.Client) -> None:
    """Leaving a scripted answer unasked is an error at the end of the test."""
    with (
        pytest.raises(AssertionError, match="never asked for:\ncancel"),
        FakeServer() as server,
    ):
        server.script("cancel", fa.CLOSE)
    with FakeServer() as server:
        create(http, server)
        server.script("get", Forever(fa.refusal(404)))
        assert [404] * 3 == [http.get(job_url(server)).status_code for _ in range(3)]


def test_kept_connections_serve_many_requests(http: httpx.Client) -> None:
    """With keep_alive one connection carries several requests, compressed or not."""
    with FakeServer(tell=says("hi"), keep_alive=True) as server:
        assert "connection" not in create(http, server).headers
        server.script("get", Snapshot(change=fa.gzipped))
        reply = http.get(job_url(server), headers={"Accept-Encoding": "identity"})
        assert "gzip" == reply.headers["content-encoding"]
        assert "hi" == fw.text_of(http.get(job_url(server)).json())
