"""One limiter an endpoint: never more than its rate, and nobody while it says wait."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.engine.endpoints import BURST, RateLimiter
from tests.virtualclock import run_virtual


def passing(limiter: RateLimiter, arrivals: list[float]) -> list[float]:
    """Return when each of those who arrive at these times passes."""
    passed: list[float] = []

    async def one(at: float) -> None:
        await asyncio.sleep(at)
        await limiter.turn()
        passed.append(asyncio.get_running_loop().time())

    async def main() -> None:
        await asyncio.gather(*map(one, arrivals))

    run_virtual(main())
    return passed


@given(
    rate=st.sampled_from([0.1, 1.0, 5.0, 7.3]),
    arrivals=st.lists(st.floats(0, 100), max_size=60),
)
def test_never_more_than_the_rate(rate: float, arrivals: list[float]) -> None:
    """In any stretch of time at most rate x time + burst requests pass."""
    passed = passing(RateLimiter(rate), arrivals)
    assert len(arrivals) == len(passed)
    for n, start in enumerate(passed):
        for m in range(n, len(passed)):
            assert m - n + 1 <= rate * (passed[m] - start) + BURST + 1e-6


def test_a_burst_passes_at_once_and_the_rest_at_the_rate() -> None:
    """Ten pass without waiting, then one every 1/rate seconds."""
    passed = passing(RateLimiter(5.0), [0.0] * 15)
    expected = [0.0] * BURST + [0.2, 0.4, 0.6, 0.8, 1.0]
    assert pytest.approx(expected) == passed


def test_no_rate_lets_everything_through() -> None:
    """A rate of 0 makes nobody wait."""
    assert [0.0] * 1000 == passing(RateLimiter(0.0), [0.0] * 1000)


@pytest.mark.parametrize("rate", [0.0, 5.0])
def test_a_hold_holds_everybody(rate: float) -> None:
    """While the endpoint asks to wait nobody passes, those in the queue included."""
    limiter = RateLimiter(rate)

    async def main() -> list[float]:
        loop = asyncio.get_running_loop()
        passed: list[float] = []

        async def one() -> None:
            await limiter.turn()
            passed.append(loop.time())

        await asyncio.gather(*(one() for _ in range(BURST)))
        queued = [asyncio.create_task(one()) for _ in range(5)] if rate else []
        await asyncio.sleep(0.1)
        limiter.hold(100.0)
        late = [asyncio.create_task(one()) for _ in range(5)]
        await asyncio.gather(*queued, *late)
        return passed[BURST:]

    passed = run_virtual(main())
    assert (10 if rate else 5) == len(passed)
    assert min(passed) >= 100.1 - 1e-9
    assert max(passed) <= 103


def test_after_a_hold_there_is_no_burst_beyond_the_rate() -> None:
    """Those who waited for a hold's end leave at the rate, not all at once."""
    limiter = RateLimiter(5.0)

    async def main() -> list[float]:
        loop, passed = asyncio.get_running_loop(), list[float]()

        async def one() -> None:
            await limiter.turn()
            passed.append(loop.time())

        limiter.hold(10.0)
        await asyncio.gather(*(one() for _ in range(30)))
        return passed

    passed = run_virtual(main())
    for n, at in enumerate(passed):
        assert n + 1 <= 5.0 * (at - passed[0]) + BURST + 1e-6


def test_a_shorter_hold_does_not_shorten() -> None:
    """Of two holds the longer one counts."""
    limiter = RateLimiter(0.0)

    async def main() -> float:
        limiter.hold(10.0)
        limiter.hold(1.0)
        await limiter.turn()
        return asyncio.get_running_loop().time()

    assert 10.0 == run_virtual(main())
