"""Virtual time passes only where nothing real is going on."""

import asyncio

import httpx
import pytest

from tests.fakeserver import FakeServer
from tests.virtualclock import run_virtual


def test_virtual_time_jumps_over_waits() -> None:
    """An hour of sleeping takes no time, and threads still do their work."""

    async def wait() -> float:
        assert 7 == await asyncio.to_thread(lambda: 7)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1800)
        await asyncio.sleep(1800)
        return asyncio.get_running_loop().time()

    assert 3600 == run_virtual(wait())


def test_virtual_time_reports_a_deadlock() -> None:
    """Waiting for what can never come raises instead of hanging."""
    with pytest.raises(RuntimeError, match="deadlock"):
        run_virtual(asyncio.Event().wait())


def test_virtual_time_waits_for_real_sockets() -> None:
    """A real server's answer arrives before a long timer fires."""

    async def fetch(server: FakeServer) -> int:
        async with httpx.AsyncClient(trust_env=False, verify=False) as client:  # noqa: S501 - no TLS
            reply = await client.post(f"{server.base_url}/responses", json={})
            return reply.status_code

    with FakeServer() as server:
        assert 200 == run_virtual(fetch(server), patience=30)
