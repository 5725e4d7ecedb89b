"""A ledger line is data, never authority: the property, with few examples."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import boundary
from tests.boundary import Foreign


@pytest.mark.parametrize("run_bytes", [256 * 1024, 1])
@settings(max_examples=20)
@given(records=st.lists(boundary.foreign(), min_size=1, max_size=8))
def test_a_record_from_elsewhere_is_data(
    records: list[Foreign], *, run_bytes: int
) -> None:
    """A record leads a key elsewhere, hides a paid job, runs a program, or piles up."""
    boundary.holds(records, run_bytes=run_bytes)
