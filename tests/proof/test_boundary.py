"""T-boundary: 10 000 arbitrary records against one machine's keys and paid jobs."""

from collections import Counter

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests import boundary
from tests.boundary import Foreign
from tests.proof.conftest import Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

BATCH, MANY, FULL = 100, 100, 1_000


def test_the_boundary(figure: Figure, *, full: bool) -> None:
    """One of many records leads a key elsewhere, hides a paid job, or is executed."""
    seen: Counter[str] = Counter()

    @settings(
        max_examples=FULL if full else MANY,
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.lists(boundary.foreign(), min_size=BATCH, max_size=BATCH), st.booleans())
    def check(records: list[Foreign], is_indexed: bool) -> None:
        for one in records:
            seen["lines" if one.is_line else "imports"] += 1
            seen["damaged"] += one.damage is not None
        boundary.holds(records, run_bytes=1 if is_indexed else 256 * 1024)

    check()
    total = seen["lines"] + seen["imports"]
    assert total >= MANY * BATCH
    figure(f"trust boundary: {total} records, {dict(seen)}, 0 crossed it")
