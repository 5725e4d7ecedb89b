"""What leaves this machine for each operation, and what a create's reply means."""

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from bgresp.api.client import Api, Clients
from bgresp.api.transport import (
    ExchangeError,
    Failure,
    Request,
    Response,
    Route,
    Sent,
)
from bgresp.core.dialect import Op
from bgresp.core.endpoint import Endpoint
from bgresp.core.errors import RefusedError
from bgresp.core.signals import Event, Fault, FaultKind, Signal, Snapshot
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
from tests.fakeanswers import End, Reply, Stream
from tests.fakehttp import read_request, reply_wire
from tests.fakejobs import HttpRequest
from tests.fakeserver import FakeServer

BODY = {"model": "m", "input": "hi", "background": True, "store": True}
METADATA = {"metadata": {"bgresp_key": "01K"}}
ID = fw.FIRST_ID


def posted(
    place: Endpoint, *, stream: bool = False, body: Mapping[str, Any] = BODY
) -> tuple[list[Signal], Sent]:
    sent = Sent()
    raw = json.dumps({**body, "stream": stream}).encode()

    async def ask(api: Api) -> list[Signal]:
        return await listed(api.create(raw, key="01K", stream=stream, sent=sent))

    return using(place, ask), sent


def asked(server: FakeServer) -> HttpRequest:
    (seen,) = server.requests
    return seen


def test_a_create_is_one_post_with_its_key(server: FakeServer) -> None:
    """The body arrives byte for byte, with the local key in header and metadata."""
    body = {**BODY, **METADATA, "input": "é \ud83e\udd8a"}
    (answer,), sent = posted(endpoint(server.base_url), body=body)
    assert isinstance(answer, Snapshot)
    assert (ID, True) == (answer.reading.id, sent.started)
    seen = asked(server)
    assert ("POST", "/v1/responses") == (seen.method, seen.target)
    assert json.dumps({**body, "stream": False}).encode() == seen.body
    expected = {
        "accept": "application/json",
        "accept-encoding": "identity",
        "authorization": f"Bearer {KEY}",
        "content-type": "application/json",
        "idempotency-key": "01K",
    }
    assert expected == {name: seen.headers[name] for name in expected}
    assert seen.headers["user-agent"].startswith("bgresp/")
    assert "cookie" not in seen.headers
    assert "transfer-encoding" not in seen.headers


@pytest.mark.parametrize(
    ("answer", "kind", "started"),
    [
        (fa.RESET, FaultKind.AMBIGUOUS, True),
        (fa.CLOSE, FaultKind.AMBIGUOUS, True),
        (fa.HANG, FaultKind.AMBIGUOUS, True),
        (fa.Performed(fa.RESET), FaultKind.AMBIGUOUS, True),
        (fa.Performed(fa.html(502)), FaultKind.AMBIGUOUS, True),
        (fa.html(200), FaultKind.AMBIGUOUS, True),
        (fa.Snapshot(change=fa.halved), FaultKind.AMBIGUOUS, True),
        (Reply(200, b"\x1b!", {"Content-Encoding": "br"}), FaultKind.AMBIGUOUS, True),
        (Reply(200, b"{}", {"Content-Encoding": "gzip"}), FaultKind.AMBIGUOUS, True),
        (Reply(400, b"\x1b!", {"Content-Encoding": "br"}), FaultKind.REFUSED, True),
        (fa.gzipped(fa.refusal(400)), FaultKind.REFUSED, True),
        (Reply(200, b"{}", sent=0, end=End.HANG), FaultKind.AMBIGUOUS, True),
        (fa.refusal(500), FaultKind.AMBIGUOUS, True),
        (fa.refusal(503, retry_after="1"), FaultKind.AMBIGUOUS, True),
        (fa.refusal(408), FaultKind.AMBIGUOUS, True),
        (fa.refusal(503, x_should_retry="true"), FaultKind.RATE_LIMITED, True),
        (fa.refusal(429, retry_after="2"), FaultKind.RATE_LIMITED, True),
        (fa.refusal(400), FaultKind.REFUSED, True),
        (fa.refusal(401), FaultKind.REFUSED, True),
        (fa.refusal(409), FaultKind.REFUSED, True),
        *((fa.halved(fa.refusal(s)), FaultKind.REFUSED, True) for s in (301, 401, 413)),
        *(
            (fa.halved(fa.refusal(s)), FaultKind.AMBIGUOUS, True)
            for s in (303, 408, 409, 422, 425, 429, 500)
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["json", "sse"])
def test_a_create_that_fails_is_sent_once(
    server: FakeServer,
    answer: fa.Answer,
    kind: FaultKind,
    started: bool,
    stream: bool,
) -> None:
    """Each way to fail has its meaning, and the client itself never sends again."""
    server.script("create", answer)
    place = endpoint(server.base_url, spoken=patient_unless_hanging(answer))
    (found,), sent = posted(place, stream=stream)
    assert isinstance(found, Fault)
    assert (kind, started) == (found.kind, sent.started)
    assert 1 == len(server.requests)


def test_each_attempt_tells_of_itself_alone(server: FakeServer) -> None:
    """An attempt that reached nobody is free, though one before it was answered."""
    server.script("create", fa.refusal(429))
    sent = Sent()

    async def ask(api: Api) -> list[Signal]:
        first = await listed(api.create(b"{}", key="k", stream=False, sent=sent))
        await asyncio.to_thread(server.refuse)
        return first + await listed(api.create(b"{}", key="k", stream=False, sent=sent))

    first, second = using(endpoint(server.base_url), ask)
    assert isinstance(first, Fault)
    assert isinstance(second, Fault)
    assert (FaultKind.RATE_LIMITED, FaultKind.UNREACHABLE) == (first.kind, second.kind)
    assert (False, False) == (sent.started, sent.written)


class Closing:
    """A client whose connection cannot even be closed."""

    closed = 0

    @asynccontextmanager
    async def exchange(self, request: Request, sent: Sent) -> AsyncIterator[Response]:
        """Answer as a create is answered, and fail then."""
        del request

        async def body() -> AsyncIterator[bytes]:
            yield TAKEN

        sent.leave()
        yield Response(200, [], body())
        raise ExchangeError(Failure.BROKEN, "gone")

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1


def test_who_closes_all_closes_what_is_in_use() -> None:
    """A connection that somebody waits on outlives the loop."""
    place, client = endpoint("http://h.test/v1"), Closing()

    async def main() -> None:
        clients = Clients(place, Route(), keep_alive=False)
        clients._free.append(client)
        async with clients.one():
            await clients.aclose()
            assert 1 == client.closed

    asyncio.run(main())


def test_what_becomes_of_a_connection_says_nothing_of_a_job_that_was_read() -> None:
    """A create whose id is known, and then fails, is accepted, and nothing else."""
    place = endpoint("http://h.test/v1")

    async def ask() -> list[Signal]:
        api = Api(place, {})
        api._posting = Clients(place, api.way, keep_alive=False)
        api._posting._free.append(Closing())
        return await listed(api.create(b"{}", key="k", stream=False, sent=Sent()))

    (found,) = asyncio.run(ask())
    assert isinstance(found, Snapshot)
    assert ID == found.reading.id


def test_who_must_know_is_told_once() -> None:
    """An exchange that is begun again tells nobody twice that it leaves."""
    calls: list[None] = []
    sent = Sent(leaving=lambda: calls.append(None))
    assert not sent.started
    for _ in range(2):
        sent.leave()
        sent.started = False
    assert 1 == len(calls)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_any_2xx_accepts(server: FakeServer, status: int) -> None:
    """A create is accepted with 200, 201 and 202 alike."""
    server.script("create", fa.Snapshot(http=status))
    (found,), _ = posted(endpoint(server.base_url))
    assert isinstance(found, Snapshot)


TAKEN = json.dumps(fw.response_of("queued")).encode()


@pytest.mark.parametrize(
    "reply",
    [
        fa.gzipped(Reply(200, TAKEN)),
        Reply(200, gzip.compress(TAKEN)[:-8], {"Content-Encoding": "gzip"}),
        Reply(200, TAKEN, {"Content-Encoding": "br"}),
        Reply(200, TAKEN[:-1] + b',"x":"' + bytes(65 << 20)),
    ],
    ids=["gzip", "cut gzip", "only called br", "too large"],
)
def test_the_id_of_an_accepted_create_is_found(
    server: FakeServer, reply: Reply
) -> None:
    """A job that was made is paid for and not known, because of how that was told."""
    server.script("create", reply)
    (found,), _ = posted(endpoint(server.base_url))
    assert isinstance(found, Snapshot)
    assert fw.FIRST_ID == found.reading.id
    assert found.reading.status.is_open


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_create_is_never_redirected(server: FakeServer, status: int) -> None:
    """The host that a redirect names sees neither the prompt nor the key."""
    with FakeServer() as other:
        server.script("create", fa.redirect(status, f"{other.base_url}/responses"))
        (found,), _ = posted(endpoint(server.base_url))
        assert isinstance(found, Fault)
        kind = FaultKind.AMBIGUOUS if status == 303 else FaultKind.REFUSED
        assert kind is found.kind
        assert () == other.requests
    assert 1 == len(server.requests)


def test_a_refused_connection_sends_nothing(server: FakeServer) -> None:
    """Where nobody listens, a create provably did not leave."""
    server.refuse()
    (found,), sent = posted(endpoint(server.base_url))
    assert isinstance(found, Fault)
    assert (FaultKind.UNREACHABLE, False) == (found.kind, sent.started)


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        ("http://nobody.invalid/v1", FaultKind.UNREACHABLE),
        ("ftp://127.0.0.1/v1", FaultKind.REFUSED),
        ("http://\u2603\u0338.invalid/v1", FaultKind.REFUSED),
    ],
)
def test_an_address_that_is_none_sends_nothing(base_url: str, kind: FaultKind) -> None:
    """A name nobody has and a URL that is none are told apart, and never sent to."""
    (found,), sent = posted(endpoint(base_url))
    assert isinstance(found, Fault)
    assert (kind, False) == (found.kind, sent.started)


@pytest.mark.parametrize(
    "secret",
    [{"key": f"{KEY}\nX: y"}, {"key": f"{KEY}é"}, {"headers": {"X": "a\r\nsk-test"}}],
)
def test_a_create_that_cannot_be_formed_is_no_mystery(
    server: FakeServer, secret: dict[str, Any]
) -> None:
    """A header that HTTP cannot carry is refused here: nothing sent, nothing shown."""
    (found,), sent = posted(endpoint(server.base_url, **secret))
    assert isinstance(found, Fault)
    assert (FaultKind.REFUSED, False) == (found.kind, sent.started)
    assert "sk-test" not in found.message
    assert () == server.requests


def test_a_creating_stream_goes_on(server: FakeServer) -> None:
    """With a stream the first event has the id and the others follow."""
    signals, _ = posted(endpoint(server.base_url), stream=True)
    first = signals[0]
    assert isinstance(first, Event)
    assert first.reading is not None
    assert ID == first.reading.id
    assert len(fw.events_of(fw.FOX)) == len(signals) - 1
    assert isinstance(signals[-1], Fault)
    assert "text/event-stream" == asked(server).headers["accept"]


@pytest.mark.parametrize(
    ("answer", "stream", "kinds"),
    [
        (fa.Snapshot(), True, [Snapshot]),
        (Stream(until=0), False, [Event, Fault]),
        (Stream(events=[], end=End.RST), True, [Fault]),
        (Stream(until=1, end=End.FIN), True, [Event, Event, Fault]),
    ],
)
def test_the_reply_is_read_as_what_it_is(
    server: FakeServer, answer: fa.Answer, stream: bool, kinds: list[type]
) -> None:
    """JSON where events were asked for is a snapshot, and the other way round."""
    server.script("create", answer)
    signals, _ = posted(endpoint(server.base_url), stream=stream)
    assert kinds == [type(signal) for signal in signals]


@pytest.mark.parametrize(
    ("is_named", "kind"), [(True, FaultKind.CLOSED), (False, FaultKind.AMBIGUOUS)]
)
def test_a_creating_stream_that_is_cut_is_in_doubt_until_its_id(
    server: FakeServer, is_named: bool, kind: FaultKind
) -> None:
    """Once the id came a cut is a cut, as of any stream: "ambiguous" would alarm."""
    keepalive = {"type": "keepalive", "sequence_number": 0}
    events = fw.events_of(fw.FOX)[:3] if is_named else [keepalive]
    server.script("create", Stream(events=events, end=End.FIN))
    *_, last = posted(endpoint(server.base_url), stream=True)[0]
    assert isinstance(last, Fault)
    assert kind is last.kind


def test_each_create_has_a_connection_of_its_own() -> None:
    """A kept-alive connection is used again to ask, never to create."""
    conversations: list[list[str]] = []

    async def converse(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        conversations.append([])
        asked = conversations[-1]
        while seen := await read_request(reader):
            asked.append(seen.operation)
            queued = fa.as_json(fw.response_of("queued"))
            writer.writelines(reply_wire(queued, {}).pieces)

    async def main() -> None:
        async with listening(converse) as address:
            api = Api(endpoint(f"http://{address}/v1"))
            for _ in range(2):
                await listed(api.create(b"{}", key="k", stream=False, sent=Sent()))
                await api.retrieve(ID)
                await api.retrieve(ID)
            await api.aclose()

    asyncio.run(main())
    assert [["create"], ["get"] * 4, ["create"]] == conversations


@pytest.mark.parametrize(
    ("id_", "segment"),
    [
        ("../x", "..%2Fx"),
        ("..", "%2E%2E"),
        (".", "%2E"),
        ("a/b", "a%2Fb"),
        ("x?y=1", "x%3Fy%3D1"),
        ("x#f", "x%23f"),
        ("x%2Fy", "x%252Fy"),
        ("a b;c&d", "a%20b%3Bc%26d"),
        ("é", "%C3%A9"),
        ("\\..\\", "%5C..%5C"),
        ("resp_" + "a" * 300 + "==", "resp_" + "a" * 300 + "%3D%3D"),
    ],
)
def test_ids_are_one_segment_of_the_path(
    server: FakeServer, id_: str, segment: str
) -> None:
    """Whatever an id holds, it stays in its place in the path of every operation."""

    async def ask(api: Api) -> None:
        await api.retrieve(id_)
        await listed(api.stream(id_, 4))
        await api.cancel(id_)
        await api.delete(id_)

    using(endpoint(server.base_url), ask)
    path = f"/v1/responses/{segment}"
    targets = [path, f"{path}?stream=true&starting_after=4", f"{path}/cancel", path]
    assert targets == [seen.target for seen in server.requests]


def test_the_base_url_is_taken_as_it_is(server: FakeServer) -> None:
    """A path of the base URL is kept, with or without a slash at its end."""
    for suffix in ("", "/"):
        place = endpoint(f"{server.base_url}/router/v3{suffix}")
        using(place, lambda api: api.retrieve(ID))
    path = f"/v1/router/v3/responses/{ID}"
    assert [path, path] == [seen.target for seen in server.requests]


def test_a_cursor_travels_as_the_dialect_says(server: FakeServer) -> None:
    """The cursor is a query parameter or a header; None and 0 are not the same."""
    by_header = dialect(streaming={"resume": "header:Last-Event-ID"})
    never = dialect(streaming={"resume": ""})
    for spoken, after in (
        *((dialect(), None), (dialect(), 0), (dialect(), "a b&c")),
        *((by_header, 7), (by_header, None), (never, 7)),
    ):

        async def ask(api: Api, after: int | str | None = after) -> list[Signal]:
            return await listed(api.stream(ID, after))

        using(endpoint(server.base_url, spoken=spoken), ask)
    queries = [seen.query.get("starting_after") for seen in server.requests]
    assert [None, "0", "a b&c", None, None, None] == queries
    headers = [seen.headers.get("last-event-id") for seen in server.requests]
    assert [None, None, None, "7", None, None] == headers
    assert {"true"} == {seen.query["stream"] for seen in server.requests}


def test_variables_and_headers_travel(server: FakeServer) -> None:
    """The dialect's templates are filled from variables; own headers come last."""
    place = endpoint(
        server.base_url,
        vars={"organization": "org_1"},
        headers={"X-Team": "search", "Authorization": "Basic x"},
    )
    using(place, lambda api: api.retrieve(ID))
    headers = asked(server).headers
    assert "org_1" == headers["openai-organization"]
    assert "openai-project" not in headers
    assert ("search", "Basic x") == (headers["x-team"], headers["authorization"])


def test_without_a_key_no_authorization_is_sent(server: FakeServer) -> None:
    """An endpoint that needs no key gets no empty one."""
    using(endpoint(server.base_url, key=None), lambda api: api.retrieve(ID))
    assert "authorization" not in asked(server).headers


def test_no_netrc_is_read(
    server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Credentials that lie about in ~/.netrc are nobody's business."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login me password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    using(endpoint(server.base_url, key=None), lambda api: api.retrieve(ID))
    assert "authorization" not in asked(server).headers


@pytest.mark.parametrize("op", ["get", "cancel", "delete"])
def test_what_a_dialect_lacks_is_refused(op: str) -> None:
    """An operation that the endpoint does not have is an error of the caller."""
    spoken = dialect(ops={op: None})
    api = Api(endpoint(spoken=spoken))
    asks: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
        "get": lambda: api.retrieve("x"),
        "cancel": lambda: api.cancel("x"),
        "delete": lambda: api.delete("x"),
    }
    assert not api.can(op)
    with pytest.raises(RefusedError, match=f"cannot {op}"):
        asyncio.run(asks[op]())


def test_an_operation_is_what_the_dialect_says(server: FakeServer) -> None:
    """Methods and paths come from the dialect, their fixed query included."""
    spoken = dialect(ops={"cancel": Op("DELETE", "/jobs/{id}?hard=true")})
    using(endpoint(server.base_url, spoken=spoken), lambda api: api.cancel("a/b"))
    seen = asked(server)
    assert ("DELETE", "/v1/jobs/a%2Fb?hard=true") == (seen.method, seen.target)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (fa.as_json({"id": ID, "deleted": True}), None),
        (Reply(204), None),
        (fa.refusal(404), FaultKind.GONE),
        (fa.refusal(410), FaultKind.GONE),
        (fa.refusal(409), FaultKind.UNREACHABLE),
        (fa.refusal(500), FaultKind.UNREACHABLE),
        (fa.refusal(401), FaultKind.REFUSED),
        (fa.RESET, FaultKind.CLOSED),
    ],
)
def test_a_delete_ends_with_the_response_gone(
    server: FakeServer, answer: fa.Answer, told: FaultKind | None
) -> None:
    """A delete is done when the endpoint did it; that it has none is told apart.

    Whether that is believed depends on the key: who drops jobs decides.
    """
    server.script("delete", answer)
    found = using(endpoint(server.base_url), lambda api: api.delete(ID))
    assert told is (None if found is None else found.kind)


def test_closing_twice_is_no_harm(server: FakeServer) -> None:
    """An Api that was closed opens its connections again when asked."""

    async def ask(api: Api) -> bool:
        await api.retrieve(ID)
        await api.aclose()
        await api.aclose()
        return isinstance(await api.retrieve(ID), Fault)

    assert using(endpoint(server.base_url), ask)
    assert 2 == len(server.requests)


def test_a_key_is_never_shown() -> None:
    """The repr of an endpoint and of its Api holds neither key nor headers."""
    place = endpoint(headers={"X-Secret": "hunter2"})
    for shown in (repr(place), repr(Api(place)), str(place)):
        assert KEY not in shown
        assert "hunter2" not in shown


SOURCES = "web_search_call.action.sources"
ASKED = [SOURCES, "reasoning.encrypted_content"]
STREAM_OF_EVENTS = {"Content-Type": "text/event-stream"}
NO_INCLUDE = fa.refusal(400, "Unknown parameter: 'include'.")


def included(server: FakeServer) -> list[list[str]]:
    """Return what each request asked to be included."""
    queries = (parse_qs(urlsplit(seen.target).query) for seen in server.requests)
    return [query.get("include[]", []) for query in queries]


def test_what_was_asked_for_is_asked_for_again(server: FakeServer) -> None:
    """Sources, logprobs and tool outputs are never seen again after the create."""
    place = endpoint(server.base_url)
    using(place, lambda api: api.retrieve(ID, ASKED))
    using(place, lambda api: listed(api.stream(ID, 3, ASKED)))
    using(place, lambda api: api.retrieve(ID))
    assert [[SOURCES], [SOURCES], []] == included(server)


def test_a_dialect_without_it_is_not_asked(server: FakeServer) -> None:
    """An endpoint that has no such parameter is sent one."""
    place = endpoint(server.base_url, spoken=dialect("vllm"))
    using(place, lambda api: api.retrieve(ID, ASKED))
    assert [[]] == included(server)


def test_an_endpoint_that_refuses_it_is_asked_without(server: FakeServer) -> None:
    """A 400 of `include` costs the answer, is met each time, or is not told."""
    answer = fa.as_json(fw.response_of("completed", fw.FOX))
    events = Reply(200, b"".join(fa.sse(fw.events_of(fw.FOX))), STREAM_OF_EVENTS)
    server.script("get", NO_INCLUDE, answer, answer)
    server.script("stream", NO_INCLUDE, events)
    for op in ("get", "stream"):
        said: list[str] = []
        before = len(server.requests)

        async def main(op: str = op, said: list[str] = said) -> list[Any]:
            api = Api(endpoint(server.base_url), say=said.append)
            try:
                if op == "stream":
                    return await listed(api.stream(ID, None, ASKED))
                first = await api.retrieve(ID, ASKED)
                return [first, await api.retrieve(ID, ASKED)]
            finally:
                await api.aclose()

        answers = asyncio.run(main())
        assert not isinstance(answers[0], Fault)
        asked = included(server)[before:]
        assert [SOURCES] == asked[0]
        assert [[]] * (len(asked) - 1) == asked[1:]
        (line,) = said
        assert "includes nothing with an answer: Unknown parameter" in line
