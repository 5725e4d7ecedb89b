"""The README's pictures are what the command draws."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bgresp.core.times import rfc3339
from tests.cli.ledger import ident, seed
from tests.cli.terminal import Terminal
from tests.command import ROOT, Run, command
from tests.fakeanswers import Forever, as_json
from tests.fakeserver import FakeServer
from tests.fakewire import Json, response_of
from tests.pictures import FOLDER, taken, texts, timeless

SIZE = (80, 24)
WIDER = (87, 24)  # where no word of the demo's answer is broken
Condition = Callable[[Terminal], bool]


@pytest.fixture(name="taking")
def _taking(chosen: dict[str, str], tmp_path: Path) -> Iterator[Callable[..., bytes]]:
    running: list[Terminal] = []

    def take(
        *args: str, when: Condition, size: tuple[int, int] = SIZE, **env: str
    ) -> bytes:
        """Run a command on a terminal; return what it had written when it was so."""
        variables = {**chosen, "TERM": "xterm-256color", **env}
        it = Terminal(command(*args), variables, tmp_path, size=size)
        running.append(it)
        found: list[bytes] = []
        it.until(lambda it: when(it) and not found.append(bytes(it.raw)))  # type: ignore[func-returns-value]
        return found[0]

    yield take
    for terminal in running:
        terminal.close()


def pictured(request: pytest.FixtureRequest, name: str, svg: str) -> list[str]:
    """Return the lines of the picture that is kept; --golden keeps this one."""
    path = FOLDER / f"{name}.svg"
    if request.config.getoption("--golden"):
        path.write_text(svg, "utf-8")
    return texts(path.read_text("utf-8"))


@pytest.mark.proof
def test_a_watch(
    request: pytest.FixtureRequest, taking: Callable[..., bytes], run: Run, state: Path
) -> None:
    """The picture of a watch shows another screen than a run on the local endpoint."""
    said = "Why is the sky blue?"
    argv = ("submit", "-t", said, "-p", "local", "--watch")
    nobody = {"BGRESP_BASE_URL": None, "BGRESP_API_KEY": None}
    try:
        assert (
            0 == run("submit", "-t", "warm", "-p", "local", "--wait", env=nobody).code
        )
        raw = taking(
            *argv,
            size=WIDER,
            when=lambda it: it.shows("and stays to") and it.shows(" ago"),
            BGRESP_BASE_URL="",
            BGRESP_API_KEY="",
        )
    finally:
        assert 0 == run("serve", "--stop", env=nobody).code
    shown = f"bgresp submit -t '{said}' -p local --watch"
    svg = taken(raw, WIDER, shown)
    kept, found = (
        timeless(lines) for lines in (pictured(request, "watch", svg), texts(svg))
    )
    assert kept[:4] == found[:4]  # what comes after that may be a word further
    assert [
        line.split(" queued ")[0].split("resp_")[0] for line in (kept[-1], found[-1])
    ] == ["* in_progress 0 0 chars 0/s ~0 tok/s stream event 0 ago"] * 2


NAMES = (
    *("introduction", "background", "methods", "data", "results", "tables"),
    *("discussion", "related work", "limits", "conclusion", "appendix", "index"),
)


def _job(number: int, now: float) -> Json:
    """Return the nth job of a night: some done, two gone wrong, the rest to come."""
    began = now - 95.0 + number
    job: Json = {"name": NAMES[number - 1], "group": "night", "model": "gpt-5"}
    job |= {"submitted_at": rfc3339(began), "status": "queued"}
    if number <= 8:
        job |= {"status": "in_progress", "started_at": rfc3339(began + 2.0)}
    if number <= 4:
        usage = {"input_tokens": 1800, "output_tokens": 90 * number * number}
        usage["total_tokens"] = sum(usage.values())
        ended = rfc3339(began + 20.0 * number)
        job |= {
            "status": "completed",
            "finished_at": ended,
            "usage": usage,
            "text": "x",
        }
    if number == 3:
        job |= {"status": "incomplete", "incomplete_reason": "max_output_tokens"}
    if number == 2:
        error = {"code": "server_error", "message": "The model failed."}
        job |= {"status": "failed", "error": error, "usage": None}
    return job


def test_a_board(
    request: pytest.FixtureRequest,
    taking: Callable[..., bytes],
    server: FakeServer,
    state: Path,
) -> None:
    """The picture of a board shows another screen than a run on the fake server."""
    now = time.time()
    seed(state, *(_job(n, now) for n in range(1, 13)), server=server)
    for number in range(5, 13):
        status = "in_progress" if number <= 8 else "queued"
        told = response_of(status, response_id=ident(number))
        if number == 5:
            told = response_of("completed", "x " * 600, response_id=ident(number))
            told["completed_at"] = now
        server.script("get", Forever(as_json(told)), job=ident(number))
    raw = taking(
        *("watch", "--group", "night"),
        when=lambda it: it.shows("ETA") and it.shows("✓ results"),
    )
    svg = taken(raw, SIZE, "bgresp watch --group night")
    kept = pictured(request, "board", svg)
    assert timeless(kept) == timeless(texts(svg))


@pytest.mark.parametrize("name", ["watch", "board"])
def test_the_readme_shows_it(name: str) -> None:
    """A picture is not in the README, or has lost its colours."""
    assert f"(tests/golden/{name}.svg)" in (ROOT / "README.md").read_text("utf-8")
    svg = (FOLDER / f"{name}.svg").read_text("utf-8")
    assert 3 <= svg.count("{ fill: #")
