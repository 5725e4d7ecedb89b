"""A submit through a proxy: only a byte of the POST itself leaves a doubt."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpcore
import pytest

from bgresp.api.client import Api
from bgresp.core.errors import BgrespError, ConfigError, UnreachableError
from bgresp.core.model import Job, Status
from bgresp.engine.draft import Draft
from bgresp.engine.outcome import Submitted, error_of
from bgresp.engine.submit import Submitter
from tests import fakeanswers as fa
from tests import hastyclock
from tests.endpoint import dialect, endpoint
from tests.fakeserver import FakeServer
from tests.scripted import EPOCH, books_at
from tests.tunnelproxy import BASE_URL, Connect, TunnelProxy

BODY = {"model": "m", "input": "hi", "background": True, "store": True}


def submit(
    base_url: str, state: Path, environ: Mapping[str, str], *, idle: float = 600.0
) -> Submitted:
    """Submit once, on a fast clock; `idle` is for how long a reply may be silent."""
    place = endpoint(base_url, spoken=dialect(streaming={"idle_bytes": idle}))
    job = Job("", submitted_at=EPOCH, dialect="openai", base_url=base_url)

    async def go() -> Submitted:
        api, books = Api(place, environ), books_at(state)
        sender = Submitter(api, books, lambda _: None, jitter=lambda: 0.0)
        return await sender.submit(Draft(job, BODY))

    with asyncio.Runner(loop_factory=hastyclock.loop) as runner:
        return runner.run(go())


def recorded(state: Path) -> Job:
    (found,) = books_at(state).ledger.newest()
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
@pytest.mark.parametrize("is_by_proxy", [False, True])
def test_a_step_of_another_name_costs_no_second_post(
    old: str | None,
    new: str,
    is_by_proxy: bool,
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
    if is_by_proxy:
        with TunnelProxy(server.address, Connect.NO_REPLY) as proxy:
            submitted = through(proxy, state, monkeypatch)
    else:
        server.script("create", fa.Performed(fa.RESET))
        submitted = submit(server.base_url, state, {})
    assert (Status.UNKNOWN, 1) == (submitted.job.status, len(server.creates))
