"""Any job at all, as hypothesis makes them."""

from functools import partial
from typing import Any

from hypothesis import strategies as st

from bgresp.core.model import EndedWith, Job, ResponseError, Status, Usage

# Of a named tuple itself hypothesis makes up the fields that are left out.
BUILD_JOB, BUILD_USAGE = partial(Job), partial(Usage)
WORDS = st.none() | st.text(max_size=6)
_COUNTS = st.none() | st.integers(0, 2**53 - 1)
TIMES = st.none() | st.integers(0, 10**12).map(lambda ms: ms / 1000)
_USAGE = st.builds(BUILD_USAGE, _COUNTS, _COUNTS, _COUNTS).filter(
    lambda u: u != Usage()
)
_MAPPINGS = st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3)
NAMES = {*Job._fields}
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
_UNKNOWN_KEYS = st.text(min_size=1, max_size=6).filter(
    lambda name: name not in {*NAMES, "v"}
)
_SPECIAL: dict[str, st.SearchStrategy[Any]] = {
    "key": st.text(max_size=6),
    "status": st.sampled_from(Status),
    "labels": _MAPPINGS,
    "vars": _MAPPINGS,
    "usage": st.none() | _USAGE,
    "error": st.none() | st.builds(ResponseError, st.text(), st.text()),
    "cursor": st.none() | st.integers() | st.text(max_size=5),
    "ended_with": st.none() | st.sampled_from(EndedWith),
    "streamable": st.none() | st.booleans(),
    "noticed": st.none() | st.booleans(),
    "expect": st.none() | st.floats(0, 1e6),
    "misses": st.none() | st.integers(0, 9),
    "extra": st.dictionaries(_UNKNOWN_KEYS, _JSON, max_size=3),
}
JOBS = st.builds(
    Job,
    **{
        name: _SPECIAL.get(name, TIMES if name.endswith("_at") else WORDS)
        for name in sorted(NAMES)  # a set has another order in each process
    },
)
