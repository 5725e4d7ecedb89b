"""Exit codes and errors say what CONTRACT.md says."""

import itertools
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core import errors
from bgresp.core.errors import BgrespError, ExitCode, worst

# Retyped from CONTRACT.md, so that no code changes by accident.
GRAVITY = [1, 7, 13, 12, 11, 10, 9, 8, 6, 5, 4, 3, 0]
CODES = {
    "BgrespError": 1,
    "LedgerError": 1,
    "OutputError": 1,
    "UsageError": 2,
    "NoSuchJobError": 3,
    "ConfigError": 4,
    "FileEncodingError": 2,
    "RefusedError": 5,
    "UnreachableError": 6,
    "UnknownOutcomeError": 7,
    "NotFinishedError": 8,
}


def _tree(root: type[BgrespError]) -> Iterator[type[BgrespError]]:
    yield root
    for child in root.__subclasses__():
        yield from _tree(child)


def _of_core() -> list[type[BgrespError]]:
    return [e for e in _tree(BgrespError) if e.__module__ == errors.__name__]


def test_the_numbers_are_the_contracts() -> None:
    """The process says exactly the exit codes of the contract, each with a meaning."""
    assert [*range(15), 129, 130, 141, 143] == sorted(ExitCode)
    assert set(ExitCode) == set(errors.MEANINGS)
    assert all(errors.MEANINGS.values())


def test_each_error_has_its_code() -> None:
    """Every class of the tree exits with the code that the contract gives it."""
    assert {e.__name__: int(e.code) for e in _of_core()} == CODES


def test_each_error_has_its_own_kind() -> None:
    """A script can tell any two errors apart by `kind`."""
    kinds = [e.kind for e in _of_core()]
    assert len(set(kinds)) == len(kinds)


def test_an_error_carries_what_to_do_next() -> None:
    """Message, hint, request id and whether to retry reach whoever prints them."""
    error = errors.RefusedError("no", hint="ask", request_id="req_1", retryable=True)
    told = (str(error), error.message, error.hint, error.request_id, error.retryable)
    assert ("no", "no", "ask", "req_1", True) == told
    plain = errors.ConfigError("no")
    assert ("", None, False) == (plain.hint, plain.request_id, plain.retryable)


@pytest.mark.parametrize(("worse", "better"), [*itertools.pairwise(GRAVITY)])
def test_the_worse_code_wins(worse: int, better: int) -> None:
    """Of two neighbours in the contract's order the first stands for both."""
    assert worst([better, worse]) is ExitCode(worse)
    assert worst(iter([worse, better])) is ExitCode(worse)


@given(st.lists(st.sampled_from(GRAVITY)))
def test_several_jobs_exit_as_the_worst(codes: list[int]) -> None:
    """The exit code of several jobs is the first of the order that occurs; none: 0."""
    expected = min(codes, key=GRAVITY.index, default=0)
    assert expected == worst(codes)
