"""Both ways to a command, with Typer and without, say the same."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from hypothesis import given, settings
from hypothesis import strategies as st

from bgresp.cli import app, main
from bgresp.cli.options import Option
from bgresp.core.errors import UsageError
from tests.cli.ledger import ident, key, seed
from tests.command import empty_config, environment
from tests.fakewire import FOX

# What no plain command says, and what says nothing: Typer's way.
AROUND = "--color=auto"
OUTPUTS = ("", "--json", "--jsonl", "-q", "--fields id,status,took", "--json --jsonl")
FORMS = (
    *("list", "list --limit 2", "list --all", "list --open", "list --group night"),
    *("list --sort took --reverse", "list --wide", "list nobody", "list --limit -1"),
    *("list --status completed,failed", "list --since 1d", "list --group nobody"),
    *("status --local", "status @2 --local", "status @9 --local", "get", "get @9"),
    *(f"status {ident(1)} --local", f"status {ident(1)[:12]} --local --exit-status"),
    *(f"get {ident(1)}", f"get {ident(1)} {ident(2)}", "get --part nothing"),
    *("get --group night", f"get {ident(1)} --part usage", f"get {ident(2)} -o nope/x"),
    *(f"wait {ident(1)}", f"wait {ident(1)} {ident(2)}", "wait --group night"),
    *(f"wait {ident(3)}", f"wait {ident(4)} --timeout 0", "wait", "wait --timeout x"),
)


@pytest.fixture
def seeded(tmp_path: Path, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave jobs that ended in several ways, and this process in their folder."""
    usage = {"input_tokens": 3, "output_tokens": 5, "total_tokens": 8}
    seed(
        state,
        {"status": "completed", "text": FOX, "usage": usage, "group": "night"},
        {"status": "failed", "text": "", "group": "night", "name": "second"},
        {"status": "completed", "text": "", "finished_at": "2026-01-02T03:05:05.000Z"},
        {"status": "rejected", "id": None, "key": key(4), "labels": {"a": "b"}},
        {"status": "incomplete", "text": "Half\n", "usage": usage},
    )
    config = empty_config(tmp_path / "config.toml")
    env = environment({"BGRESP_STATE_DIR": str(state), "BGRESP_CONFIG": config})
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("seeded")
@pytest.mark.parametrize("form", FORMS)
def test_both_ways_say_the_same(form: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Bytes on stdout and stderr and the exit code are those of Typer's way."""
    plain = 0
    for output in OUTPUTS:
        argv = [*form.split(), *output.split()]
        plain += main.read(main.load(argv[0]), argv[1:]) is not None
        said = [
            (main.run(words), *capfd.readouterr()) for words in (argv, [*argv, AROUND])
        ]
        assert said[1] == said[0], argv
    assert plain == (0 if "-1" in form else len(OUTPUTS))


@pytest.mark.parametrize("name", sorted(main.PLAIN))
def test_a_quick_verb_is_the_one_that_is_listed(name: str) -> None:
    """What runs without Typer is the function that the list of commands has."""
    [place] = [verb.place for verb in app.VERBS if verb.name == name]
    run = main.load(name)
    assert f"{run.__module__}:{run.__name__}" == f"bgresp.cli.{place}"


def words_of(run: Callable[..., int]) -> st.SearchStrategy[list[str]]:
    """Return command lines of a verb: its options, their values, and what is neither."""
    names = [
        name
        for kind in list(run.__annotations__.values())[:-1]
        for annotated in kind.__annotations__.values()
        for said in getattr(annotated, "__metadata__", ())
        if isinstance(said, Option)
        for name in said.names
    ]
    odd = ["-", "--", "-x", "--json=1", "-qv", "--lim", "", "-1", "--stream"]
    some = st.sampled_from([*names, "7", "a", "b c", "@last", "0", "é", *odd])
    return st.lists(some, max_size=6)


@pytest.mark.parametrize("name", sorted(main.PLAIN))
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_is_read_is_what_typer_reads(name: str, data: st.DataObject) -> None:
    """A verb's options are filled as Typer fills them, wherever they are read at all."""
    run = main.load(name)
    words = data.draw(words_of(run))
    groups = main.read(run, words)
    if groups is None:
        return
    seen: list[Any] = []

    def recorded(*filled: Any) -> int:
        seen.extend(filled)
        return 0

    recorded.__annotations__ = run.__annotations__
    alone = typer.Typer(add_completion=False)
    alone.command(name)(app.command(recorded))
    try:
        typer.main.get_command(alone)(words, standalone_mode=False)
    except UsageError:
        raise AssertionError(words) from None
    assert seen == [group(**values) for group, values in groups.items()]


@pytest.mark.parametrize("waits", [False, True])
def test_who_leaves_does_what_was_left_for_the_end(waits: bool) -> None:
    """Handlers run, streams are flushed and a thread is waited for, with our exit code."""
    script = (
        "import atexit, sys, threading; from bgresp.cli.main import leave;"
        "atexit.register(print, 'registered'); print('written', end=' ');"
        "last = lambda: (threading.main_thread().join(), print('waited for', end=' '));"
        f"threading.Thread(target=last, daemon={not waits}).start(); leave(3)"
    )
    argv = [sys.executable, "-c", script]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    said = "waited for " * waits
    assert (3, f"written {said}registered\n", "") == (
        done.returncode,
        done.stdout,
        done.stderr,
    )
