"""The command against the fake server: run to its end, started, or in a shell."""

import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests import hastyclock
from tests.cli.forked import ForkServer, is_read_at_start, runner
from tests.cli.processes import (
    Each,
    Opening,
    Shell,
    Start,
    Started,
    Unread,
    endpoint,
    in_shell,
    to_nobody,
)
from tests.cli.terminal import COLUMNS, ROWS, Terminal, Terminals, in_session
from tests.command import Changes, Ran, Run, command, empty_config
from tests.fakeserver import FakeServer


@pytest.fixture
def chosen(server: FakeServer, state: Path, tmp_path: Path) -> dict[str, str]:
    """Return the variables of every command: server, state folder, empty config."""
    return {
        **endpoint(server),
        "BGRESP_STATE_DIR": str(state),
        "BGRESP_CONFIG": empty_config(tmp_path / "config" / "config.toml"),
    }


@pytest.fixture(scope="session")
def fork_server() -> Iterator[ForkServer]:
    """Keep one process to fork commands from."""
    running = ForkServer()
    yield running
    running.close()


@pytest.fixture
def bgresp(fork_server: ForkServer, chosen: dict[str, str], tmp_path: Path) -> Run:
    """Run the command to its end against the fake server, in a forked process."""
    return runner(fork_server, chosen, tmp_path)


@pytest.fixture
def hasty(bgresp: Run) -> Run:
    """Run the command as `bgresp` does, on a clock that is SCALE times as fast."""

    def go(*args: str, env: Changes | None = None, **more: Any) -> Ran:
        clock = {hastyclock.VARIABLE: str(hastyclock.SCALE)}
        return bgresp(*args, env={**(env or {}), **clock}, **more)

    return go


@pytest.fixture
def bare(fork_server: ForkServer, state: Path, tmp_path: Path) -> Run:
    """Run the command to its end, forked too, where no endpoint is configured."""
    chosen = {
        "BGRESP_STATE_DIR": str(state),
        "BGRESP_CONFIG": empty_config(tmp_path / "config" / "config.toml"),
    }
    return runner(fork_server, chosen, tmp_path)


@pytest.fixture
def each(bgresp: Run) -> Each:
    """Run several commands one after the other."""

    def go(*commands: Sequence[Any], env: Changes | None = None) -> list[Ran]:
        done: list[Ran] = []
        for words in commands:
            own = words[0] if isinstance(words[0], dict) else {}
            args = [word for word in words if word is not own]
            done.append(bgresp(*args, env={**(env or {}), **own}))
        return done

    return go


@pytest.fixture
def start(
    fork_server: ForkServer, chosen: dict[str, str], tmp_path: Path
) -> Iterator[Start]:
    """Start the command against the fake server and leave nothing running."""
    running: list[Started] = []

    def go(*args: str, env: Changes | None = None, forked: bool = True) -> Started:
        changes = {**chosen, **(env or {})}
        forks = forked and not is_read_at_start(changes)
        opening = fork_server.open if forks else subprocess.Popen
        started = Started(command(*args), changes, tmp_path, opening=opening)
        running.append(started)
        return started

    yield go
    for started in running:
        started.close()


@pytest.fixture
def shell(chosen: dict[str, str], tmp_path: Path) -> Shell:
    """Run the command inside a shell's script against the fake server."""
    return lambda script, *args: in_shell(script, args, chosen, tmp_path)


@pytest.fixture
def unread(chosen: dict[str, str], tmp_path: Path) -> Unread:
    """Run the command when nobody reads its stdout any more."""
    return lambda *args: to_nobody(args, chosen, tmp_path)


@pytest.fixture
def terminal(
    fork_server: ForkServer, chosen: dict[str, str], tmp_path: Path
) -> Iterator[Terminals]:
    """Start the command on a terminal of its own and leave nothing running."""
    running: list[Terminal] = []

    def go(
        *args: str,
        env: Changes | None = None,
        piped: bool = False,
        size: tuple[int, int] = (COLUMNS, ROWS),
        before: str = "",
        forked: bool = True,
    ) -> Terminal:
        changes = {**chosen, "TERM": "xterm-256color", **(env or {})}
        argv = command(*args)
        if forked and not is_read_at_start(changes):
            opening: Opening = partial(fork_server.open, session=True, before=before)
        else:
            opening = in_session
            if before:
                argv = ["/bin/sh", "-c", f'{before}; exec "$@"', "sh", *argv]
        it = Terminal(argv, changes, tmp_path, piped=piped, size=size, opening=opening)
        running.append(it)
        return it

    yield go
    for it in running:
        it.close()
