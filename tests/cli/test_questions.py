"""What cannot be undone is asked for on a terminal, and nowhere else."""

import json
from pathlib import Path

import pytest

from tests.cli.ledger import ident, key, records, seed
from tests.cli.terminal import Terminals
from tests.command import Run
from tests.fakeanswers import as_json
from tests.fakeserver import FakeServer
from tests.fakewire import response_of

DONE = {"status": "completed", "text": "Four.", "finished_at": "2026-01-02T03:05:00Z"}
TWO = (DONE, {**DONE, "group": "g"})
ASKED = [
    ("forget", "--all"),
    ("forget", "@last"),
    ("prune", "--older", "1d", "--force"),
]


def kept(state: Path) -> list[str]:
    """Return the keys of the answers that are on disk."""
    return sorted(path.stem for path in (state / "responses").iterdir())


@pytest.mark.parametrize("argv", ASKED)
@pytest.mark.parametrize("answer", [b"\n", b"n\n", b"\x04", b"yes please\n"])
def test_no_is_the_usual_answer(
    terminal: Terminals, state: Path, argv: tuple[str, ...], answer: bytes
) -> None:
    """Enter, the end of the input or a half-read question drop what was saved."""
    seed(state, *TWO)
    shown = terminal(*argv)
    shown.until(lambda it: it.shows("[y/N]"))
    shown.type(answer)
    assert 9 == shown.finish()
    assert shown.shows("nothing was done")
    assert [key(1), key(2)] == kept(state)


@pytest.mark.parametrize("argv", ASKED[:1])
def test_yes_does_it(terminal: Terminals, state: Path, argv: tuple[str, ...]) -> None:
    """The question says how many jobs and answers go; y lets them."""
    seed(state, *TWO)
    shown = terminal(*argv)
    shown.until(lambda it: it.shows("Forget 2 jobs with 2 saved answers? [y/N]"))
    shown.type(b"y\n")
    assert 0 == shown.finish()
    assert [] == kept(state)


@pytest.mark.parametrize("more", [("--yes",), ("--json",), ("-q",)])
def test_nobody_is_asked_who_said_so(
    terminal: Terminals, state: Path, more: tuple[str, ...]
) -> None:
    """A script on a terminal hangs in a question."""
    seed(state, *TWO)
    assert 0 == terminal("forget", "--all", *more).finish()
    assert [] == kept(state)


def test_a_dry_run_lists_and_does_nothing(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """--dry-run forgets, cancels or asks, or does not say which jobs it means."""
    seed(state, DONE, {"group": "g"}, {"group": "g"}, server=server)
    for argv, jobs in (
        (("cancel", "--all"), {2, 3}),
        (("forget", "--all", "--force"), {1, 2, 3}),
        (("prune", "--older", "1d", "--force"), {1, 2, 3}),
    ):
        ran = bgresp(*argv, "--dry-run", "--json")
        assert (0, {ident(n) for n in jobs}) == (
            ran.code,
            {job["id"] for job in json.loads(ran.out)},
        )
        said = bgresp(*argv, "--dry-run").err
        assert (
            f"nothing was done; would {argv[0] if argv[0] != 'prune' else 'drop'}"
            in said
        )
    assert (3, ()) == (len(records(state)), server.requests)


def test_what_ended_is_none_of_what_is_cancelled(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """`cancel --all` tells of each job that ended long ago, or asks about it."""
    seed(state, DONE, {}, DONE, server=server)
    server.script("cancel", as_json(response_of("cancelled")), job=ident(2))
    server.script("get", as_json(response_of("cancelled")), job=ident(2))
    ran = bgresp("cancel", "--all")
    assert (0, 1) == (ran.code, ran.out.count("\n")), ran.err
    assert ident(2) in ran.out
    assert "already" not in ran.err
    again = bgresp("cancel", "--all")
    assert (0, "") == (again.code, again.out)
    assert "nothing to cancel: 3 jobs ended already" in again.err
