"""Every command in every output mode, as it is printed: tests/golden/commands."""

import fcntl
import os
import pty
import re
import struct
import termios
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

import pytest

from tests.cli.forked import ForkServer
from tests.cli.ledger import key, seed
from tests.cli.processes import endpoint
from tests.cli.test_help import paths
from tests.command import Ran, empty_config, environment
from tests.fakeanswers import Forever, as_json
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of
from tests.golden import FOLDER, Golden

NOW: Final = datetime.fromisoformat("2026-01-02T04:00:00Z").timestamp()
WIDTH: Final = 80
FOREIGN: Final = f"resp_{'f' * 32}"
TOML: Final = (
    '[profiles.work]\nbase_url = "https://llm.example.com/v1"\nmodel = "large"\n'
)


def moment(clock: str) -> str:
    return f"2026-01-02T{clock}.000Z"


def seeded(state: Path, server: FakeServer) -> None:
    """Write five jobs: completed, failed, running, unknown, and one without a name."""
    seed(
        state,
        {
            "name": "done",
            "group": "night",
            "labels": {"env": "prod"},
            "status": "completed",
            "model": "gpt-5",
            "text": FOX,
            "started_at": moment("03:04:35"),
            "finished_at": moment("03:14:35"),
            "expires_at": "2026-02-01T03:14:35.000Z",
            "usage": {"input_tokens": 5, "output_tokens": 70, "total_tokens": 75},
        },
        {
            "name": "broken",
            "group": "night",
            "status": "failed",
            "model": "gpt-5-mini",
            "text": "",
            "finished_at": moment("03:05:05"),
            "error": {"code": "server_error", "message": "It broke."},
        },
        {"name": "lost reply", "status": "unknown", "id": None, "model": "gpt-5"},
        {"name": "running", "status": "in_progress", "started_at": moment("03:30:00")},
        {"model": "o3-deep-research"},
        server=server,
    )
    for number in (2, 3):
        body = '{"model": "gpt-5", "input": "Why?", "background": true, "store": true}'
        (state / "requests" / f"{key(number)}.json").write_text(body)
    for path in state.rglob("*"):
        path.chmod(0o700 if path.is_dir() else 0o600)


@dataclass(frozen=True, slots=True)
class Case:
    """A command, and what the endpoint says of each job that is asked about."""

    words: str
    says: str = ""


CASES: Final[dict[str, Case]] = {
    "batch": Case("batch rows.jsonl"),
    "batch-nothing": Case("batch none.jsonl"),
    "cancel": Case("cancel done"),
    "cancel-nothing": Case("cancel @9"),
    "completions-unknown": Case("completions tcsh"),
    "config-add": Case("config add home --base-url https://llm.example.com/v1"),
    "config-edit": Case("config edit"),
    "config-init": Case("config init"),
    "config-remove": Case("config remove work"),
    "config-trust": Case("config trust https://llm.example.com/v9"),
    "config-list": Case("config list"),
    "config-path": Case("config path"),
    "config-show": Case("config show -p work"),
    "config-use": Case("config use work"),
    "doctor": Case("doctor"),
    "forget": Case("forget done"),
    "forget-refused": Case("forget running"),
    "get": Case("get done"),
    "get-failed": Case("get broken"),
    "get-unknown": Case(f"get {key(3)}"),
    "get-usage": Case("get done --part usage"),
    "help-times": Case("help times"),
    "import": Case(f"import {FOREIGN} -n mine", says="completed"),
    "list": Case("list"),
    "list-empty": Case("list --group none"),
    "list-local": Case("list --time relative --sort name --reverse --limit 2"),
    "list-selected": Case("list --status ended --fields id,age,tokens"),
    "list-timeline": Case("list --timeline"),
    "list-wide": Case("list --wide --group night"),
    "listen": Case("listen --secret-env NOT_SET"),
    "models": Case("models"),
    "prune": Case("prune --older 30m --group night"),
    "resolve": Case(f"resolve {key(3)} --abandon"),
    "retry": Case("retry broken"),
    "retry-refused": Case("retry running"),
    "serve-stop": Case("serve --stop"),
    "show": Case("show broken"),
    "show-answer": Case("show done"),
    "stats": Case("stats"),
    "stats-day": Case("stats --by day --time utc"),
    "status": Case("status running", says="in_progress"),
    "status-failed": Case("status running --exit-status", says="failed"),
    "status-local": Case("status --local done broken"),
    "submit": Case("submit -t hello -m gpt-5 -n greeting"),
    "submit-dry-run": Case("submit -t hello -m gpt-5 --dry-run"),
    "submit-nothing": Case("submit nothing.txt"),
    "sync": Case("sync", says="completed"),
    "wait": Case("wait done broken"),
    "watch": Case("watch done"),
    "watch-failed": Case("watch running", says="failed"),
}
MODES: Final = {
    "pipe": (),
    "--json": ("--json",),
    "--jsonl": ("--jsonl",),
    "-q": ("-q",),
    "terminal": (),
}


@pytest.fixture(scope="module")
def frozen() -> Iterator[ForkServer]:
    """Keep a process to fork commands from, whose clock stands still."""
    running = ForkServer(NOW)
    yield running
    running.close()


class Mode(Protocol):
    """What the fixture `mode` is."""

    def __call__(
        self, words: tuple[str, ...], how: str, *, says: str = "", width: int = WIDTH
    ) -> str:
        """Run `bgresp WORDS` in an output mode; the endpoint says so of any job."""


@pytest.fixture
def mode(frozen: ForkServer, tmp_path: Path) -> Mode:
    """Run a command in a new sandbox of its own, in one output mode."""

    def go(
        words: tuple[str, ...], how: str, *, says: str = "", width: int = WIDTH
    ) -> str:
        place = tmp_path / f"{how.strip('-')}-{width}"
        place.mkdir()
        (place / "config.toml").write_text(TOML)
        (place / "rows.jsonl").write_text('{"id": "a", "text": "Why?"}\n')
        with FakeServer(polls=()) as server:
            seeded(place / "state", server)
            if says:
                answer = response_of(says, FOX, response_id=FOREIGN)
                server.script("get", Forever(as_json(answer)))
            env = environment(
                {
                    **endpoint(server),
                    "BGRESP_STATE_DIR": str(place / "state"),
                    "BGRESP_CONFIG": empty_config(place / "config.toml"),
                    "EDITOR": "true",
                    "TERM": "xterm",
                    "CI": "1",
                    "NO_COLOR": "1",
                }
            )
            args = (*words, *MODES[how])
            if how == "terminal":
                ran = on_terminal(frozen, args, env, place, width=width)
            else:
                ran = frozen.run(args, env, b"", place)
            return settled(told(words, how, ran), place, server)

    return go


def on_terminal(
    fork_server: ForkServer,
    args: tuple[str, ...],
    env: dict[str, str],
    cwd: Path,
    *,
    width: int,
) -> Ran:
    """Run a command on a terminal of its own; its screen is stdout."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    seen = bytearray()

    def read() -> None:
        try:
            while piece := os.read(master, 65536):
                seen.extend(piece)
        except OSError:  # Linux's way to say that nobody has it open any more
            return

    reader = threading.Thread(target=read)
    reader.start()
    code = fork_server.run_on([slave] * 3, args, env, cwd)
    os.close(slave)
    reader.join()
    os.close(master)
    return Ran(code, bytes(seen).replace(b"\r\n", b"\n"), b"")


def told(words: tuple[str, ...], how: str, ran: Ran) -> str:
    """Write a run down: the command line, stdout, stderr, the exit code."""
    option = "  # on a terminal" if how == "terminal" else " " + " ".join(MODES[how])
    said = "".join(f"2> {line}\n" for line in ran.err.splitlines())
    line = f"$ bgresp {' '.join(words)}{option}".rstrip()
    return f"{line}\n{ran.out}{said}exit {ran.code}\n"


def settled(text: str, place: Path, server: FakeServer) -> str:
    """Take out what differs from run to run: folders, ports, keys, other clocks."""
    text = text.replace(str(place), "SANDBOX").replace(server.base_url, "ENDPOINT")
    text = text.replace("{}:{}".format(*server.address), "HOST")
    known = {key(number) for number in range(1, 6)}
    text = re.sub(
        r"\b01[0-9A-Z]{24}\b", lambda k: k[0] if k[0] in known else "KEY", text
    )
    text = re.sub(r"\b(?!2026-01-02|2026-02-01)\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", text)
    text = re.sub(r'(file system(?:\t|  |", [^}]*"detail": "))[\w.]+', r"\1ANY", text)
    text = re.sub(r"(certificates of )(certifi|the system \([^)]*\))", r"\1ANY", text)
    return re.sub(r'("request_sha256": )"[0-9a-f]{64}"', r'\1"SHA256"', text)


@pytest.mark.parametrize("name", CASES)
def test_a_command_in_every_output_mode(mode: Mode, golden: Golden, name: str) -> None:
    """In a pipe, as JSON, as JSON Lines, as ids and on a terminal: as it was read."""
    case = CASES[name]
    words = tuple(case.words.split())
    runs = [mode(words, how, says=case.says) for how in MODES]
    golden(f"commands/{name}", "\n".join(runs))


VIEWS: Final = {
    "list": "list",
    "list-timeline": "list --timeline",
    "show": "show done",
    "show-failed": "show broken",
    "stats": "stats",
    "config-list": "config list",
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_view_at_every_width(mode: Mode, golden: Golden, name: str) -> None:
    """On 40, 80 and 200 columns a view is as it was looked at, and never wider."""
    pages = []
    # How a path is wrapped at 200 columns is the machine's.
    for width in (40, 80) if name == "config-list" else (40, 80, 200):
        page = mode(tuple(VIEWS[name].split()), "terminal", width=width)
        pages.append(f"== {width} columns\n{page}")
    golden(f"views/{name}", "\n".join(pages))
    names = {path.stem for path in (FOLDER / "views").iterdir()}
    assert set(VIEWS) == names


def test_every_command_has_its_golden_texts() -> None:
    """No command is without a golden text, and no golden text without its case."""
    told = {words for case in CASES.values() for words in heads(case.words)}
    assert {" ".join(words) for words in paths()} - {"config"} <= told
    assert set(CASES) == {path.stem for path in (FOLDER / "commands").iterdir()}


def heads(words: str) -> set[str]:
    """Return the first word of a command line, and the first two."""
    first = words.split()
    return {first[0], " ".join(first[:2])}
