"""RELIABILITY.md section 8 A: what the reply to a submit, or its absence, comes to.

Whatever may have been accepted is never sent again, and a person is told what to do.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ledger import ident, last, records
from tests.command import Ran, Run
from tests.fakeanswers import (
    HANG,
    RESET,
    End,
    NoReply,
    Performed,
    Reply,
    Snapshot,
    Stream,
    as_json,
    halved,
    html,
    redirect,
    refusal,
)
from tests.fakeserver import FakeServer
from tests.fakewire import response_of


def statuses(state: Path) -> list[str]:
    """Return every status that was recorded, oldest first."""
    return [line["status"] for line in records(state)]


def assert_unknown(ran: Ran, server: FakeServer, state: Path) -> None:
    """Check for one POST, exit 7, `unknown`, and a line that says what to do."""
    assert (7, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran
    assert (1, 1) == (len(server.creates), len(server.requests))
    assert ["submitting", "unknown"] == statuses(state)
    record = last(state)
    assert (None, None) == (record.get("id"), record.get("error"))
    key = record["key"]
    assert key == server.creates[0].headers["idempotency-key"]
    assert f"bgresp: {key}: " in ran.err
    assert "it may have been accepted" in ran.err
    assert ran.err.endswith(f": bgresp resolve {key})\n")


@pytest.mark.parametrize("answer", [RESET, NoReply(End.FIN), Performed(RESET)])
def test_case_05_reset(
    bgresp: Run, server: FakeServer, state: Path, answer: NoReply | Performed
) -> None:
    """A connection lost after the request: one POST, exit 7, and how to settle it."""
    server.script("create", answer)
    assert_unknown(bgresp("submit", "-t", "hi"), server, state)


@pytest.mark.parametrize("answer", [HANG, Performed(HANG)])
def test_case_06_no_answer(
    bgresp: Run,
    server: FakeServer,
    state: Path,
    tmp_path: Path,
    answer: NoReply | Performed,
) -> None:
    """An endpoint that never answers is left when its time is up: exit 7, one POST."""
    path = tmp_path / "config" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        '[dialects.brisk]\nextends = "openai"\n'
        "[dialects.brisk.stream]\nidle_bytes = 0.3\n"
        '[profiles.brisk]\ndialect = "brisk"\n'
    )
    server.script("create", answer)
    ran = bgresp("submit", "-t", "hi", "-p", "brisk")
    assert_unknown(ran, server, state)
    assert "no reply came" in ran.err


def test_case_14_body_cut(bgresp: Run, server: FakeServer, state: Path) -> None:
    """A success whose body is cut at half is not sent again: exit 7."""
    server.script("create", Snapshot(change=halved))
    assert_unknown(bgresp("submit", "-t", "hi"), server, state)
    assert [ident(1)] == list(server.jobs)


def test_case_14_request_id(bgresp: Run, server: FakeServer, state: Path) -> None:
    """Of a success that was cut x-request-id is shown and kept: all support can ask."""
    server.script("create", Snapshot(change=halved))
    ran = bgresp("submit", "-t", "hi")
    assert "req_1" == last(state).get("request_id")
    assert "[request req_1]" in ran.err


@pytest.mark.parametrize(
    "body",
    [{}, {"id": 7}, [], "resp_1"]
    + [response_of("queued") | {"id": bad} for bad in (7, "", "x" * 5000)],
)
def test_case_15_no_readable_id(
    bgresp: Run, server: FakeServer, state: Path, body: Any
) -> None:
    """A success without an id that can be used is not sent again: exit 7."""
    server.script("create", as_json(body))
    ran = bgresp("submit", "-t", "hi")
    assert_unknown(ran, server, state)
    assert "accepted (HTTP 200), but no readable id" in ran.err
    assert "[request req_1]" in ran.err


@pytest.mark.parametrize(("odd", "sent"), [("../x", "..%2Fx"), ("..", "%2E%2E")])
def test_case_15_an_id_of_dots(
    bgresp: Run, server: FakeServer, state: Path, odd: str, sent: str
) -> None:
    """The id `../x` is the endpoint's own: printed, kept, and one segment of a URL."""
    server.script("create", as_json(response_of("queued", response_id=odd)))
    ran = bgresp("submit", "-t", "hi")
    assert (0, f"{odd}\n", odd) == (ran.code, ran.out, last(state)["id"])
    ended = response_of("completed", "Four.", response_id=odd)
    server.script("get", as_json(ended))
    ran = bgresp("get", "@last")
    assert (0, "Four.\n") == (ran.code, ran.out)
    assert f"/v1/responses/{sent}" == server.requests[-1].path
    assert 1 == len(server.creates)


def test_case_16_captive_portal(bgresp: Run, server: FakeServer, state: Path) -> None:
    """An HTML page with status 200 is said to be no JSON; exit 7, one POST."""
    server.script("create", html(200))
    ran = bgresp("submit", "-t", "hi")
    assert_unknown(ran, server, state)
    assert "not JSON" in ran.err
    assert "<html>" not in ran.err


def test_case_17_refused(bgresp: Run, server: FakeServer, state: Path) -> None:
    """A 400 is shown in the endpoint's words, made safe and short, with its code."""
    said = "Bad \x1b]52;c;AAAA\x07 input.\n" + "x" * 3000
    server.script("create", refusal(400, said, code="context_length_exceeded"))
    ran = bgresp("submit", "-t", "hi")
    assert (5, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert "refused: Bad \\u{1b}]52;c;AAAA\\u{7} input. xxx" in ran.err
    assert ("\x1b" not in ran.err, ran.err.count("x") < 500) == (True, True)
    assert "(context_length_exceeded) [request req_1]" in ran.err
    assert 1 == len(server.requests)
    assert ["submitting", "rejected"] == statuses(state)
    assert "context_length_exceeded" == last(state)["error"]["code"]


@pytest.mark.parametrize("status", [401, 403])
def test_case_18_key_refused(
    bgresp: Run, server: FakeServer, state: Path, status: int
) -> None:
    """A refused key: exit 4 names where it came from and the profile, not the key."""
    server.script("create", refusal(status, "Bad key."), refusal(status, "Bad key."))
    env = {"BGRESP_API_KEY": "sentinel-1234"}
    ran = bgresp("submit", "-t", "hi", env=env)
    assert (4, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert "refused: Bad key." in ran.err
    hint = "the key of profile openai, from env:BGRESP_API_KEY"
    assert ran.err.endswith(f" ({hint}: bgresp config show -p openai)\n")
    assert ["submitting", "rejected"] == statuses(state)
    assert 1 == len(server.requests)
    error = json.loads(bgresp("submit", "-t", "hi", "--json", env=env).err)
    assert (4, "config", False) == (error["code"], error["kind"], error["retryable"])
    assert "env:BGRESP_API_KEY" in error["hint"]
    for path in state.rglob("*"):
        assert not path.is_file() or b"sentinel" not in path.read_bytes()
    assert "sentinel" not in ran.err


BROKEN = [refusal(status, "Broken.") for status in (500, 502, 504, 408)]


@pytest.mark.parametrize("answer", [*BROKEN, html(502), html(520)])
def test_case_22_server_errors(
    bgresp: Run, server: FakeServer, state: Path, answer: Reply
) -> None:
    """500, 502, 504, 52x and 408 may come after the job was made: one POST, exit 7."""
    server.script("create", answer)
    ran = bgresp("submit", "-t", "hi")
    assert_unknown(ran, server, state)
    assert "[request req_1]" in ran.err
    assert "req_1" == last(state)["request_id"]


@pytest.mark.parametrize("headers", [{}, {"retry_after": "0"}])
def test_case_23_unavailable(
    bgresp: Run, server: FakeServer, state: Path, headers: dict[str, str]
) -> None:
    """A plain 503 may come from a gateway, after the job was made: one POST, exit 7."""
    server.script("create", refusal(503, "Later.", **headers))
    assert_unknown(bgresp("submit", "-t", "hi"), server, state)


def test_case_23_surely_unavailable(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A 503 with `x-should-retry: true` was not processed: sent again, one job."""
    server.script("create", refusal(503, "Later.", x_should_retry="true"))
    ran = bgresp("submit", "-t", "hi")
    assert (0, f"{ident(1)}\n") == (ran.code, ran.out)
    assert (2, [ident(1)]) == (len(server.creates), list(server.jobs))
    assert ["submitting", "queued"] == statuses(state)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_case_25_redirected(
    bgresp: Run, server: FakeServer, state: Path, status: int
) -> None:
    """A redirect is not followed: the other host sees nothing, and exit 4."""
    with FakeServer() as other:
        server.script("create", redirect(status, f"{other.base_url}/responses"))
        ran = bgresp("submit", "-t", "hi")
        assert ((), 1) == (other.requests, len(server.requests))
        assert f"redirected to {other.base_url}/responses" in ran.err
    assert (4, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert ["submitting", "rejected"] == statuses(state)


def test_case_26_see_other(bgresp: Run, server: FakeServer, state: Path) -> None:
    """A 303 answers a POST that was processed: not followed, not repeated, exit 7."""
    server.script("create", redirect(303, f"{server.base_url}/responses/{ident(1)}"))
    assert_unknown(bgresp("submit", "-t", "hi"), server, state)


@pytest.mark.parametrize("end", [End.EOF, End.FIN, End.RST])
def test_case_32_stream_cut(
    bgresp: Run, server: FakeServer, state: Path, end: End
) -> None:
    """A creating stream that is cut before its first event is not opened again."""
    server.script("create", Stream(events=[], end=end))
    assert_unknown(bgresp("submit", "-t", "hi", "--stream"), server, state)
    assert [ident(1)] == list(server.jobs)
