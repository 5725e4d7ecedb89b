"""`bgresp models`: what an endpoint lists, and a free check of key and network."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.command import Run

LIST = {"data": [{"id": "zeta", "owned_by": "x"}, {"id": "alpha\x1b[2J"}, {"no": 1}, 5]}


@pytest.fixture(name="endpoint")
def _endpoint() -> Iterator[Any]:
    """Serve an answer to every GET; `answer` is its status and body."""

    class Handler(BaseHTTPRequestHandler):
        answer: tuple[int, Any] = (200, LIST)
        asked: list[str] = []  # noqa: RUF012  a class a test

        def do_GET(self) -> None:
            """Answer."""
            status, body = Handler.answer
            raw = json.dumps(body).encode()
            Handler.asked.append(self.path)
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        Handler.base_url = f"http://127.0.0.1:{server.server_port}/v1"  # type: ignore[attr-defined]
        yield Handler
        server.shutdown()
        thread.join()


def test_the_models_are_listed(bgresp: Run, endpoint: Any) -> None:
    """A name a line in a pipe, the endpoint's objects as JSON; what is none is left."""
    at = {"BGRESP_BASE_URL": endpoint.base_url}
    ran = bgresp("models", env=at)
    assert (0, "alpha\\u{1b}[2J\nzeta\n", "") == (ran.code, ran.out, ran.err)
    assert ["/v1/models"] == endpoint.asked
    told = json.loads(bgresp("models", "--json", env=at).out)
    assert LIST["data"][:2] == told
    wanted = bgresp("models", "--fields", "owned_by,id", env=at).out
    assert "x\tzeta\n" in wanted


@pytest.mark.parametrize(
    ("status", "body", "code", "said"),
    [
        (404, {"error": {"message": "Not found"}}, 5, "does not list its models"),
        (401, {"error": {"message": "Bad key"}}, 4, "Bad key"),
        (200, [], 5, "the reply is not a list"),
        (503, {}, 6, ""),
    ],
)
def test_what_is_wrong_is_told_by_its_code(
    bgresp: Run, endpoint: Any, status: int, body: Any, code: int, said: str
) -> None:
    """A check that cannot tell a bad key from a dead network is none."""
    endpoint.answer = (status, body)
    ran = bgresp("models", env={"BGRESP_BASE_URL": endpoint.base_url})
    assert (code, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran.err
    assert said in ran.err
