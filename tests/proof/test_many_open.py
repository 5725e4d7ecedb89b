"""10 000 open jobs in one process of the real command: its memory, and who is asked."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.cli.ledger import ident, seed
from tests.fakeanswers import Forever, as_json, refusal
from tests.fakeserver import FakeServer
from tests.proof.conftest import Figure
from tests.proof.weighed import Weighed, weigh

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

COUNT: Final = 10_000
MOST: Final = 90 << 20  # some 35 MiB are the program's, not the jobs'
MOST_OF_A_PASS: Final = 130 << 20
CONFIG: Final = """\
default_profile = "many"
[profiles.many]
dialect = "lists"
base_url = "{url}"
rate = 0
[dialects.lists]
extends = "openai"
ops = {{ list = "GET /responses?order=desc&limit={{limit}}&after={{after}}" }}
"""
Weigh = Callable[..., Weighed]


def running(number: int) -> dict[str, object]:
    return {"id": ident(number), "object": "response", "status": "in_progress"}


@pytest.fixture
def weighed(server: FakeServer, state: Path, tmp_path: Path) -> Weigh:
    """Run commands beside 10 000 open jobs of one group."""
    (tmp_path / "config.toml").write_text(CONFIG.format(url=server.base_url))
    ours = {"group": "g", "profile": "many", "dialect": "lists", "streamable": True}
    seed(state, *[{**ours, "name": f"n{n}"} for n in range(COUNT)], server=server)
    env = {
        "BGRESP_STATE_DIR": str(state),
        "BGRESP_CONFIG": str(tmp_path / "config.toml"),
        "BGRESP_API_KEY": "k",
    }

    def run(*args: str) -> Weighed:
        folder = tmp_path / args[0]
        folder.mkdir()
        return weigh(args, env, folder, 600)

    return run


@pytest.mark.parametrize("verb", ["wait", "watch"])
def test_what_following_them_takes(
    server: FakeServer, weighed: Weigh, figure: Figure, verb: str
) -> None:
    """Following 10 000 jobs takes more than 90 MiB, or none of them is asked about."""
    server.script("get", Forever(as_json(running(0))))
    if verb == "watch":
        server.script("stream", Forever(as_json(running(0))))
    # Whether a second round begins within the time is the machine's.
    server.script("list", Forever(refusal(404, "no list here"), used=True))
    took = weighed(verb, "--group", "g", "--timeout", "15s")
    assert 8 == took.ran.code, took.told
    asked = len(server.requests)
    assert asked > 100, took.told
    figure(f"{verb}, 10 000 open jobs: {took.peak >> 20} MiB, {asked} requests in 15 s")
    assert took.peak < MOST, took.told


def test_what_one_pass_takes(
    server: FakeServer, weighed: Weigh, figure: Figure
) -> None:
    """`sync` of 10 000 jobs takes more than 130 MiB, or asks one by one."""
    page = {"data": [running(n) for n in range(COUNT, 0, -1)], "has_more": False}
    server.script("list", Forever(as_json(page)))
    took = weighed("sync", "--json")
    assert 0 == took.ran.code, took.told
    assert {"list"} == {seen.operation for seen in server.requests}
    assert COUNT == len(json.loads(took.ran.out))
    figure(f"sync, 10 000 open jobs: {took.peak >> 20} MiB")
    assert took.peak < MOST_OF_A_PASS, took.told
