"""Each status, header and body of a reply means exactly one thing."""

import json
from typing import Any

import pytest

from bgresp.api import replies
from bgresp.api.replies import Reply
from bgresp.core.model import ResponseError, Status
from bgresp.core.reading import event_reader
from bgresp.core.signals import Event, Fault, FaultKind, Snapshot
from tests.endpoint import dialect
from tests.fakewire import FIRST_ID, FOX, response_of

OPENAI = dialect()
GOOD = json.dumps(response_of("queued")).encode()
HTML = b"<html><body><h1>502</h1><script>alert(1)</script></body></html>"
DATED = {
    "date": "Sun, 06 Nov 1994 08:49:37 GMT",
    "retry-after": "Sun, 06 Nov 1994 08:49:47 GMT",
}


def reply(status: int, body: bytes | Any = b"", **headers: str) -> Reply:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): text for name, text in headers.items()}
    return Reply(status, named, raw, now=1000.0)


def refused(status: int, code: str | None = None, **headers: str) -> Reply:
    return reply(status, {"error": {"message": "No.", "code": code}}, **headers)


def fault(signal: Snapshot | Fault) -> Fault:
    assert isinstance(signal, Fault)
    return signal


@pytest.mark.parametrize("status", [200, 201, 202, 299])
@pytest.mark.parametrize("word", ["queued", "in_progress", "completed", "pending"])
def test_a_2xx_with_an_id_is_accepted(status: int, word: str) -> None:
    """Any 2xx whose body has an id and a status accepts, whatever the status is."""
    body = response_of("queued") | {"status": word}
    answer = replies.created(OPENAI, reply(status, body))
    assert isinstance(answer, Snapshot)
    assert (FIRST_ID, word) == (answer.reading.id, answer.reading.raw_status)
    assert json.dumps(body).encode() == answer.raw


def test_an_id_without_a_status_is_accepted() -> None:
    """A reply with an id is never lost because it has no status."""
    answer = replies.created(OPENAI, reply(202, {"id": "job-1", "object": "x"}))
    assert isinstance(answer, Snapshot)
    assert ("job-1", Status.IN_PROGRESS) == (answer.reading.id, answer.reading.status)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"OK",
        HTML,
        GOOD[: len(GOOD) // 2],
        [response_of("queued")],
        {},
        {"error": {"message": "No."}},
        {"status": "queued"},
        response_of("queued") | {"id": None},
        response_of("queued") | {"id": 7},
        response_of("queued") | {"id": ""},
        response_of("queued") | {"id": "resp_\ud800"},
        response_of("queued") | {"id": "x" * 4097},
        b'{"id": "resp_1", "status": "queued", "n": NaN}',
        b"[" * 100_000,
        pytest.param(b'{"id": "a", "n": ' + b"9" * 5000 + b"}", id="digits"),
    ],
)
def test_a_2xx_without_a_readable_id_is_ambiguous(body: Any) -> None:
    """The endpoint took a job that nobody can name: never sent again, never lost."""
    found = fault(replies.created(OPENAI, reply(200, body, x_request_id="req_1")))
    assert FaultKind.AMBIGUOUS is found.kind
    assert ("req_1", 200) == (found.request_id, found.http_status)
    assert "accepted (HTTP 200)" in found.message


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, FaultKind.REFUSED) for status in (300, 301, 302, 304, 305, 307)),
        *((status, FaultKind.REFUSED) for status in (308, 400, 401, 402, 403, 404)),
        *((status, FaultKind.REFUSED) for status in (405, 409, 410, 413, 415, 422)),
        *((status, FaultKind.AMBIGUOUS) for status in (303, 408, 500, 501, 502)),
        *((status, FaultKind.AMBIGUOUS) for status in (503, 504, 520, 524, 599)),
        *((status, FaultKind.RATE_LIMITED) for status in (425, 429)),
    ],
)
@pytest.mark.parametrize("body", [{"error": {"message": "No."}}, GOOD, HTML, b""])
def test_a_create_is_only_repeated_where_nothing_was_processed(
    status: int, kind: FaultKind, body: Any
) -> None:
    """Of a create, RELIABILITY.md 1.5 says for each status what became of it."""
    found = fault(replies.created(OPENAI, reply(status, body)))
    assert (kind, status) == (found.kind, found.http_status)
    assert found.message
    unsure = found.kind is FaultKind.AMBIGUOUS
    assert not unsure or found.message.startswith(f"HTTP {status}")


@pytest.mark.parametrize("status", [409, 422])
@pytest.mark.parametrize(
    ("body", "is_of_key"),
    [
        ({"error": {"message": "No.", "code": "idempotency_key_in_use"}}, True),
        ({"error": {"message": "No.", "code": "x", "type": "idempotency_error"}}, True),
        ({"error": {"message": "The Idempotency-Key was used already"}}, True),
        ({"error": {"message": "No.", "param": "Idempotency-Key"}}, True),
        ({"title": "Idempotency-Key is already used", "detail": "See."}, True),
        ({"detail": "a request with this idempotent key is at work"}, True),
        ({"message": "duplicate Idempotency key"}, True),
        (b"Idempotency-Key conflict", True),
        (b"<html>Idempotency-Key conflict</html>", True),
        ({"error": {"message": "No such model", "code": "model"}}, False),
        # What a validator quotes is ours, and says nothing of a key.
        (
            {"detail": [{"msg": "too long", "input": "what is an idempotent map?"}]},
            False,
        ),
        (b"conflict", False),
        (b"", False),
    ],
)
def test_a_refusal_of_our_own_key_leaves_a_doubt(
    status: int, body: Any, is_of_key: bool
) -> None:
    """409 and 422 about our Idempotency-Key may mean that the job runs already."""
    kind = FaultKind.AMBIGUOUS if is_of_key else FaultKind.REFUSED
    found = fault(replies.created(OPENAI, reply(status, body)))
    assert (kind, status) == (found.kind, found.http_status)


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"x_should_retry": "true"}, FaultKind.RATE_LIMITED),
        ({"x_should_retry": "false"}, FaultKind.AMBIGUOUS),
        ({"retry_after": "2"}, FaultKind.AMBIGUOUS),
        ({}, FaultKind.AMBIGUOUS),
    ],
)
def test_only_a_header_makes_a_503_safe(headers: dict[str, str], kind: str) -> None:
    """A create is repeated after a 503 only where x-should-retry says true."""
    assert kind == fault(replies.created(OPENAI, refused(503, **headers))).kind
    others = fault(replies.created(OPENAI, refused(502, x_should_retry="true")))
    assert FaultKind.AMBIGUOUS is others.kind


@pytest.mark.parametrize("code", ["insufficient_quota", "billing_hard_limit_reached"])
def test_a_429_about_money_is_final(code: str) -> None:
    """A quota that is used up is not waited for."""
    found = fault(replies.created(OPENAI, refused(429, code, retry_after="1")))
    assert FaultKind.REFUSED is found.kind
    assert ResponseError(code, "No.") == found.error


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "2"}, 2.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        (DATED, 10.0),
        ({"openai-poll-after-ms": "250"}, 0.25),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "soon"}, None),
        ({}, None),
    ],
)
def test_retry_after_is_read_in_each_form(
    headers: dict[str, str], seconds: float | None
) -> None:
    """A 429 says how long to wait in milliseconds, seconds or as a date."""
    answer = Reply(429, headers, b"{}", now=1000.0)
    assert seconds == fault(replies.created(OPENAI, answer)).retry_after
    assert seconds == fault(replies.retrieved(OPENAI, answer)).retry_after


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        *((status, FaultKind.GONE) for status in (404, 410)),
        *((status, FaultKind.UNREACHABLE) for status in (408, 409, 425, 500, 502)),
        *((status, FaultKind.UNREACHABLE) for status in (503, 504, 524, 599)),
        *((status, FaultKind.REFUSED) for status in (301, 302, 303, 307, 308, 400)),
        *((status, FaultKind.REFUSED) for status in (401, 403, 405, 422)),
        (429, FaultKind.RATE_LIMITED),
    ],
)
@pytest.mark.parametrize("body", [{"error": {"message": "No."}}, GOOD, HTML, b""])
def test_a_retrieve_says_nothing_of_the_job_but_with_2xx(
    status: int, kind: FaultKind, body: Any
) -> None:
    """Another status than 2xx is a fault of its kind, even around a good body."""
    found = fault(replies.retrieved(OPENAI, reply(status, body, content_type="x/html")))
    assert (kind, status) == (found.kind, found.http_status)
    assert "<" not in found.message


@pytest.mark.parametrize(
    "body",
    [
        HTML,
        b"",
        GOOD[:-2],
        [],
        {},
        {"status": None},
        {"status": 3},
        b"\xff\xfe",
        b"nul",
    ],
)
def test_a_retrieve_without_a_response_is_unreadable(body: Any) -> None:
    """A 200 that holds no response object says nothing of the job."""
    answer = replies.retrieved(OPENAI, reply(200, body))
    assert FaultKind.UNREADABLE is fault(answer).kind


def test_a_snapshot_keeps_every_byte() -> None:
    """What is saved of an answer is the body as it came, not as we would write it."""
    odd = b'\xef\xbb\xbf {"status" :"completed", "id":"x","output":[], "new": 1.0e0 }\n'
    answer = replies.retrieved(OPENAI, Reply(200, {"x-request-id": "req_9"}, odd))
    assert isinstance(answer, Snapshot)
    assert (odd, "req_9") == (answer.raw, answer.request_id)
    assert Status.COMPLETED is answer.reading.status


@pytest.mark.parametrize("status", [400, 404, 405, 406, 409, 410, 415, 422, 501])
def test_a_stream_may_be_refused_without_harm(status: int) -> None:
    """What refuses a stream says that it cannot be streamed, not that it is gone."""
    found = fault(replies.instead_of_stream(OPENAI, refused(status)))
    assert (FaultKind.NOT_STREAMABLE, "No.") == (found.kind, found.message)


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refused(401), FaultKind.REFUSED),
        (refused(429, retry_after="3"), FaultKind.RATE_LIMITED),
        (refused(502), FaultKind.UNREACHABLE),
        (reply(307, location="https://evil.example/"), FaultKind.REFUSED),
        (reply(200, HTML), FaultKind.UNREADABLE),
    ],
)
def test_a_stream_fails_as_a_retrieve_does(answer: Reply, kind: FaultKind) -> None:
    """Other refusals mean for a stream what they mean for a retrieve."""
    assert kind is fault(replies.instead_of_stream(OPENAI, answer)).kind


def test_json_instead_of_a_stream_is_a_snapshot() -> None:
    """A response object where events were asked for is believed."""
    answer = replies.instead_of_stream(OPENAI, reply(200, response_of("in_progress")))
    assert isinstance(answer, Snapshot)


@pytest.mark.parametrize("kind", ["text/html", "Text/HTML; charset=utf-8", ""])
def test_markup_is_not_quoted(kind: str) -> None:
    """The message of a gateway's error page is its status, not its markup."""
    for read in (replies.created, replies.retrieved, replies.instead_of_stream):
        found = fault(read(OPENAI, reply(502, b"\n" + HTML, content_type=kind)))
        assert "HTTP 502 with an HTML page" == found.message


def test_a_redirect_names_where_it_leads() -> None:
    """A redirect is reported with its target and with the fact that it stays there."""
    elsewhere = reply(307, location="https://evil.example/\x1b[2J?a=1")
    for read in (replies.created, replies.retrieved):
        message = fault(read(OPENAI, elsewhere)).message
        assert "https://evil.example/" in message
        assert "never followed" in message
        assert "\x1b" not in message


def test_what_a_server_says_is_safe_to_print() -> None:
    """No control character, line end or endless text gets into a message."""
    text = "a\x1b]52;c;Zm9v\x07b\r\n\u202ec\ud800" + "x" * 100_000
    for payload in ({"error": {"message": text}}, {"detail": text}, text):
        body = json.dumps(payload).encode()
        found = fault(replies.retrieved(OPENAI, reply(400, body, x_request_id=text)))
        for said in (found.message, str(found.request_id)):
            assert said.isprintable()
            assert len(said) <= 500


@pytest.mark.parametrize(
    "body", [b"\xff" * 9, b"[" * 100_000, b"0" * 5000, b"NaN", b"{}", b"null", b'"x"']
)
@pytest.mark.parametrize("status", [200, 201, 303, 400, 404, 429, 500, 503])
def test_no_body_raises(status: int, body: bytes) -> None:
    """Whatever the body is, a reply becomes a value."""
    for read in (replies.created, replies.retrieved, replies.instead_of_stream):
        assert isinstance(read(OPENAI, reply(status, body)), Fault)


@pytest.mark.parametrize(
    "data", ["[DONE]", "", " ", "[]", "7", "null", "{", "[" * 9999]
)
def test_what_is_no_json_object_is_no_event(data: str) -> None:
    """`[DONE]` and other data without an object pass unnoticed."""
    assert replies.event(event_reader(OPENAI), "message", data) is None


def test_an_event_is_read_with_its_text() -> None:
    """An event keeps the JSON text that it came in; its type may be the SSE name."""
    data = '{"delta":"\\ud800x", "sequence_number" : 4,"output_index":1}'
    found = replies.event(event_reader(OPENAI), "response.output_text.delta", data)
    assert isinstance(found, Event)
    assert (data, 4, "\ud800x") == (found.raw, found.sequence, found.delta)
    assert (1, 0) == found.part


def test_an_event_may_carry_the_response() -> None:
    """A terminal event brings the reading of its response, and the object itself."""
    final = response_of("completed", FOX)
    data = json.dumps({"type": "response.completed", "response": final})
    found = replies.event(event_reader(OPENAI), "", data)
    assert found is not None
    assert found.reading is not None
    assert (True, FOX) == (found.terminal, found.reading.text)
    assert final == found.response
