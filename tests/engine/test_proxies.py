"""A submit through a proxy: only a byte of the POST itself leaves a doubt."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.api.client import Api
from bgresp.api.proxied import Steps
from bgresp.api.transport import Sent
from bgresp.core.errors import BgrespError, ConfigError, UnreachableError
from bgresp.core.model import Job, Status
from bgresp.core.request import Draft
from bgresp.engine.submit import Submitted, Submitter, error_of
from tests import hastyclock
from tests.endpoint import dialect, endpoint
from tests.fakeserver import FakeServer
from tests.scripted import EPOCH, recorder_at
from tests.tunnelproxy import BASE_URL, Connect, TunnelProxy

BODY = {"model": "m", "input": "hi", "background": True, "store": True}


def submit(
    base_url: str,
    state: Path,
    environ: Mapping[str, str],
    *,
    idle: float = 600.0,
    events: float = 600.0,
) -> Submitted:
    """Submit once, on a fast clock.

    `idle` is for how long a reply may be silent, `events` for how long no id may come.
    """
    patience = {"idle_bytes": idle, "idle_events": events}
    place = endpoint(base_url, spoken=dialect(streaming=patience))
    job = Job("", submitted_at=EPOCH, dialect="openai", base_url=base_url)

    async def go() -> Submitted:
        api, recorder = Api(place, environ), recorder_at(state)
        sender = Submitter(api, recorder, lambda _: None, jitter=lambda: 0.0)
        return await sender.submit(Draft(job, BODY))

    with asyncio.Runner(loop_factory=hastyclock.loop) as runner:
        return runner.run(go())


def recorded(state: Path) -> Job:
    (found,) = recorder_at(state).ledger.newest()
    return found


def through(
    proxy: TunnelProxy, state: Path, monkeypatch: pytest.MonkeyPatch, **how: float
) -> Submitted:
    """Submit through a proxy that the environment names."""
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)  # urllib reads the process's own
    return submit(BASE_URL, state, proxy.environ(state.parent), **how)


@pytest.mark.parametrize(
    ("how", "error", "said"),
    [
        (Connect.UNAUTHORIZED, ConfigError, "refused: 407"),
        (Connect.FORBIDDEN, UnreachableError, "refused: 403"),
        (Connect.BAD_GATEWAY, UnreachableError, "refused: 502"),
        (Connect.CLOSE, UnreachableError, "Server disconnected"),
        (Connect.RESET, UnreachableError, ""),
        (Connect.HALF, UnreachableError, "Server disconnected"),
        (Connect.SILENT, UnreachableError, "nothing came for too long"),
        (Connect.NO_TLS, UnreachableError, ""),
    ],
)
def test_before_the_tunnel_stands_nothing_was_sent(
    how: Connect,
    error: type[BgrespError],
    said: str,
    server: FakeServer,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a proxy does before its tunnel stands leaves no doubt, and is named."""
    idle = 4.0 if how is Connect.SILENT else 600.0
    with TunnelProxy(server.address, how) as proxy:
        submitted = through(proxy, state, monkeypatch, idle=idle)
    job = recorded(state)
    told = error_of(submitted)
    assert (Status.REJECTED, "not_sent") == (job.status, job.error and job.error.code)
    assert (error, ()) == (type(told), server.requests)
    assert said in told.message
    assert f"by the proxy {proxy.url[7:]} of HTTPS_PROXY" in told.message
    assert "llm.test" in told.message
    assert (1 if error is ConfigError else 4) == proxy.connects


def test_a_wait_for_an_id_that_nobody_was_asked_for_leaves_no_doubt(
    server: FakeServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the wait for an id ends before the tunnel stands nothing was sent."""
    with TunnelProxy(server.address, Connect.SILENT) as proxy:
        submitted = through(proxy, state, monkeypatch, events=4.0)
    job = recorded(state)
    assert (Status.REJECTED, "not_sent") == (job.status, job.error and job.error.code)
    assert "no connection stood for " in error_of(submitted).message
    assert () == server.requests


def test_a_tunnel_that_comes_late_carries_the_job(
    server: FakeServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that takes its time costs one CONNECT and one POST."""
    with TunnelProxy(server.address, Connect.LATE) as proxy:
        submitted = through(proxy, state, monkeypatch)
        assert 1 == proxy.connects
    assert (Status.QUEUED, 1) == (submitted.job.status, len(server.creates))


def test_a_tunnel_carries_the_job(
    server: FakeServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy that refuses once and then lets through costs one POST."""
    with TunnelProxy(server.address, Connect.BAD_GATEWAY, Connect.LET_THROUGH) as proxy:
        submitted = through(proxy, state, monkeypatch)
    assert (Status.QUEUED, 1) == (submitted.job.status, len(server.creates))


def test_a_reply_that_a_proxy_cuts_is_unknown(
    server: FakeServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind a tunnel that stands a lost reply leaves the outcome unknown."""
    with TunnelProxy(server.address, Connect.NO_REPLY) as proxy:
        submitted = through(proxy, state, monkeypatch)
    assert (Status.UNKNOWN, 1) == (submitted.job.status, len(server.creates))


def test_a_certificate_that_nobody_vouches_for_was_sent_nothing(
    server: FakeServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A CA that is missing is a setting: exit 4, one attempt, the variable named."""
    with TunnelProxy(server.address, Connect.LET_THROUGH) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        submitted = submit(BASE_URL, state, {"HTTPS_PROXY": proxy.url})
    told = error_of(submitted)
    assert (ConfigError, 1, ()) == (type(told), proxy.connects, server.requests)
    assert "certificate verify failed" in told.message
    assert "SSL_CERT_FILE" in told.hint


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("send_request_headers", "write_head"),
        ("connect_tcp", "dial"),
        ("receive_response_headers", "read_head"),
        ("", "x"),
        (None, ""),
    ],
)
def test_a_step_of_another_name_costs_no_second_post(
    old: str | None,
    new: str,
    server: FakeServer,
    state: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With httpcore's steps renamed, or untold, a lost reply is unknown: one POST."""
    trace = httpcore._trace.Trace.atrace

    async def renamed(self: Any, name: str, info: dict[str, Any]) -> None:
        if old is not None:
            await trace(self, name.replace(old, new) if old else new, info)

    monkeypatch.setattr(httpcore._trace.Trace, "atrace", renamed)
    with TunnelProxy(server.address, Connect.NO_REPLY) as proxy:
        submitted = through(proxy, state, monkeypatch)
    assert (Status.UNKNOWN, 1) == (submitted.job.status, len(server.creates))


def test_a_kind_of_error_says_nothing_once_bytes_were_written(
    server: FakeServer, state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error that means "no connection" frees a POST that had been written."""
    trace = httpcore._trace.Trace.atrace

    async def failing(self: Any, name: str, info: dict[str, Any]) -> None:
        await trace(self, name, info)
        is_post = getattr(info.get("request"), "method", b"") == b"POST"
        if is_post and name == "receive_response_headers.started":
            server.wait_for("create")  # whoever leaves now may reset what is on its way
            raise httpcore.ConnectError("as from another httpcore")

    monkeypatch.setattr(httpcore._trace.Trace, "atrace", failing)
    with TunnelProxy(server.address, Connect.NO_REPLY) as proxy:
        submitted = through(proxy, state, monkeypatch)
    assert (Status.UNKNOWN, 1) == (submitted.job.status, len(server.creates))


STEPS = [
    *("connection.connect_tcp", "connection.start_tls", "proxy.start_tls"),
    *("http11.send_request_headers", "http11.receive_response_headers"),
    *("http11.response_closed", "new.thing", "retry"),
]
EVENT = st.tuples(
    st.sampled_from(STEPS),
    st.sampled_from(["started", "complete", "failed", "new"]),
    st.sampled_from(["CONNECT", "POST", None]),
)


async def told(steps: Steps, events: list[tuple[str, str, str | None]]) -> None:
    for step, stage, method in events:
        info = {} if method is None else {"request": httpcore.Request(method, "x:")}
        await steps.trace(f"{step}.{stage}", info)


@given(st.lists(EVENT), st.lists(EVENT))
def test_what_left_stays_left(
    before: list[tuple[str, str, str | None]], after: list[tuple[str, str, str | None]]
) -> None:
    """Once a request's own headers were begun, no event whatever takes that back."""
    sent = Sent()
    steps = Steps(sent)
    assert sent.started
    asyncio.run(told(steps, before))
    asyncio.run(told(steps, [("http11.send_request_headers", "started", "POST")]))
    asyncio.run(told(steps, after))
    assert sent.started


@pytest.mark.parametrize(
    ("events", "started", "written"),
    [
        ([("connection.connect_tcp", "started", None)], False, False),
        ([("connection.connect_tcp", "failed", None)], False, False),
        ([("connection.connect_tcp", "complete", None)], True, False),
        ([("http11.send_request_headers", "started", "CONNECT")], False, False),
        ([("http11.send_request_headers", "started", "POST")], True, False),
        ([("http11.send_request_headers", "started", None)], True, False),
        ([("new.thing", "started", None)], True, True),
        (
            [
                ("http11.send_request_headers", "started", "CONNECT"),
                ("http11.receive_response_headers", "failed", None),
                ("http11.response_closed", "started", None),
            ],
            *(False, False),
        ),
        (
            [
                ("http11.send_request_headers", "started", "CONNECT"),
                ("http11.receive_response_headers", "complete", None),
                ("http11.response_closed", "started", None),
            ],
            *(True, False),
        ),
        (
            [
                ("http11.send_request_headers", "started", "POST"),
                ("http11.send_request_headers", "complete", None),
                ("http11.send_request_body", "started", "POST"),
            ],
            *(True, True),
        ),
    ],
)
def test_each_step_says_what_may_have_left(
    events: list[tuple[str, str, str | None]], started: bool, written: bool
) -> None:
    """What is not known to come before a request may be the request.

    Who is to know before it leaves is told then, once, and of nothing else.
    """
    calls: list[None] = []
    sent = Sent(leaving=lambda: calls.append(None))
    asyncio.run(told(Steps(sent), events))
    assert (started, written) == (sent.started, sent.written)
    own = {"http11.send_request_headers", "new.thing"}
    is_its_own = any(method != "CONNECT" and step in own for step, _, method in events)
    assert int(is_its_own) == len(calls)
