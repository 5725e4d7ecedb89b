"""Several jobs at once: what is wrong with one costs the others nothing."""

import json
from pathlib import Path

import pytest

from tests.cli.ledger import ident, note, seed
from tests.command import Ran, Run
from tests.fakeanswers import Forever, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of

SAID = "no key: GONE_KEY is not set (export GONE_KEY=...)"


@pytest.fixture
def some(state: Path, server: FakeServer) -> None:
    """Leave three open jobs, whose first and last cannot be asked about any more."""
    gone = {"profile": "work", "key_source": "env:GONE_KEY"}
    elsewhere = {**gone, "base_url": server.base_url + "/x"}
    seed(state, gone, {}, elsewhere, server=server)
    places = (server.base_url, elsewhere["base_url"])
    note(state, *places, source="env:GONE_KEY", of="work")


@pytest.fixture
def mixed(some: None, server: FakeServer) -> None:
    """Let the one in between complete."""
    done = response_of("completed", FOX, response_id=ident(2))
    server.script("get", Forever(as_json(done)), job=ident(2))


def statuses(ran: Ran) -> list[str]:
    return [line.split("\t")[2] for line in ran.out.splitlines()]


def check(ran: Ran) -> None:
    """Demand that the two jobs were told of, in one line."""
    assert 4 == ran.code, ran
    told = [line for line in ran.err.splitlines() if SAID in line]
    names = [line.removeprefix("bgresp: ").partition(":")[0] for line in told]
    assert ["2 jobs of profile work"] == names


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize(
    "verb",
    ["status", "list --refresh", "get --part text", "wait", "watch", "sync"],
)
def test_the_others_are_asked_about(bgresp: Run, verb: str) -> None:
    """One job's missing key is told of beside the others' news: exit 4."""
    ran = bgresp(*verb.split(), ident(1), ident(2), ident(3))
    check(ran)
    if verb in {"status", "list --refresh"}:
        assert "completed" in statuses(ran)
    listed = json.loads(bgresp("list", "--json", "--fields", "id,status").out)
    assert {"id": ident(2), "status": "completed"} in listed


@pytest.mark.usefixtures("mixed")
def test_the_others_are_cancelled(bgresp: Run, server: FakeServer) -> None:
    """Cancel goes on to the next job, and prints what each is."""
    server.script("cancel", refusal(400, "Over."))
    ran = bgresp("cancel", ident(1), ident(2), ident(3))
    check(ran)
    assert ["queued", "completed", "queued"] == statuses(ran)
    assert 1 == server.cancels(ident(2))


@pytest.mark.usefixtures("some")
def test_a_single_one_is_an_error(bgresp: Run) -> None:
    """Of one job that was asked for nothing is printed: one line, exit 4."""
    for verb in ("status", "cancel", "wait", "watch", "get"):
        ran = bgresp(verb, ident(1), "--json")
        assert (4, "") == (ran.code, ran.out), ran
        assert "GONE_KEY is not set" in json.loads(ran.err)["message"]


@pytest.mark.usefixtures("mixed")
@pytest.mark.parametrize("verb", ["status", "get", "wait", "cancel"])
def test_an_id_that_nobody_knows(bgresp: Run, server: FakeServer, verb: str) -> None:
    """Among several it is told of, and the others are worked on: exit 3."""
    server.script("get", refusal(404, "No."), job="resp_nobody")
    if verb == "cancel":
        server.script("cancel", refusal(400, "Over."))
    ran = bgresp(verb, "resp_nobody", ident(2))
    assert 3 == ran.code, ran
    assert "bgresp: no job 'resp_nobody', neither in the ledger nor at" in ran.err
    assert 1 <= len(server.asked("get", ident(2)))
