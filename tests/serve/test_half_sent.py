"""Requests that never come to their end, and uploads that are cut."""

import pytest

from tests.serve.endpoints import Serve, Served, connected, create, poll, wait_until

HEAD = b"POST /v1/responses HTTP/1.1\r\nHost: localhost\r\n"


@pytest.mark.parametrize("begun", [b"", b"POST", HEAD])
def test_headers_must_come_to_their_end(serve: Serve, begun: bytes) -> None:
    """A connection whose request's headers stop half-way, or never begin, is closed."""
    served = serve(headers_timeout=0.5)
    with connected(served) as client:
        client.sendall(begun)
        assert b"" == client.recv(1000)
    assert "completed" == poll(served.sdk(), create(served.sdk(), "x").id).status


def test_a_second_request_must_come_to_its_end(serve: Serve) -> None:
    """On a kept connection the time runs from the first byte of the next request."""
    served = serve(headers_timeout=0.5)
    with connected(served) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET")
        said = b""
        while piece := client.recv(1000):
            said += piece
    assert said.startswith(b"HTTP/1.1 200 OK\r\n")
    assert 1 == said.count(b"HTTP/1.1")


def test_a_body_must_make_progress(serve: Serve) -> None:
    """An upload that stalls is 408 and closed; a slow one that goes on is taken."""
    served = serve(body_timeout=0.5)
    with connected(served) as client:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
        said = b""
        while piece := client.recv(1000):
            said += piece
    assert said.startswith(b"HTTP/1.1 408 ")
    assert b"no progress for 0.5 seconds" in said
    assert [] == served.http.get("/responses").json()["data"]


def test_a_cut_upload_is_one_line(
    served: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    """Whoever hangs up in mid-upload leaves one line and no job."""
    with connected(served) as client:
        client.sendall(HEAD + b"Content-Length: 100\r\n\r\n{")
    said = wait_until(lambda: capfd.readouterr().err)
    assert "an upload was cut: POST /v1/responses; nothing was accepted\n" == said
    assert [] == served.http.get("/responses").json()["data"]
