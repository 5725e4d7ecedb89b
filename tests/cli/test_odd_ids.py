"""Ids that are no plain word: kept, shown by our key, and reached through it."""

import json
import shlex
from pathlib import Path

import pytest

from tests.cli.ledger import key, last, seed
from tests.command import Run
from tests.fakeanswers import Forever, as_json
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of

ODD = (
    *("--all", "-", "-q", "@last", "@1", "@", "a b", " ", "a\tb", "a\nb", "\x1b[2J"),
    *("a\x00b", "\u202eb", "a\u2028b", "a\u200bb", "\u3000", "a\u00a0b", "\x9b1m"),
)


@pytest.mark.parametrize("id_", ODD)
def test_an_odd_id_is_kept_and_shown_by_our_key(
    bgresp: Run, server: FakeServer, state: Path, id_: str
) -> None:
    """A paid job is lost for its id, or its id is taken for an option."""
    server.script("create", as_json(response_of("queued", response_id=id_)))
    done = as_json(response_of("completed", FOX, response_id=id_))
    server.script("get", Forever(done), job=id_)
    ran = bgresp("submit", "-t", "x", "-m", "m")
    ours = str(last(state)["key"])
    assert (0, f"{ours}\n", id_) == (ran.code, ran.out, last(state)["id"])
    assert f"{ours}\n" == bgresp("list", "-q").out
    assert bgresp("list").out.startswith(f"{ours}\t")
    assert id_ == json.loads(bgresp("list", "--json").out)[0]["id"]
    for verb in ("status", "watch", "wait", "get", "cancel"):
        ran = bgresp(verb, ours)
        assert 0 == ran.code, ran
        assert id_ not in ran.err or id_ in {"-", " ", "@"}
    assert (0, FOX + "\n") == ((ran := bgresp("get", ours)).code, ran.out)
    assert 0 == bgresp("forget", ours).code
    assert {id_} == {str(seen.job) for seen in server.requests if seen.job}


def test_a_script_that_trusts_an_id_cancels_one_job(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """`bgresp cancel "$id"` cancels every job, where an endpoint said `--all`."""
    seed(state, {}, {}, server=server)
    server.script("create", as_json(response_of("queued", response_id="--all")))
    printed = bgresp("submit", "-t", "x", "-m", "m").out.strip()
    over = as_json(response_of("cancelled", response_id="--all"))
    server.script("cancel", over)
    server.script("get", Forever(over), job="--all")
    assert 0 == bgresp("cancel", printed).code
    assert ["--all"] == [seen.job for seen in server.asked("cancel")]


@pytest.mark.parametrize(
    "id_", ["a;reboot", "$(reboot)", "`x`", "a'b", "a|b", "~", "*"]
)
def test_what_is_to_be_pasted_holds_no_id_that_a_shell_reads(
    bgresp: Run, server: FakeServer, state: Path, id_: str
) -> None:
    """A hint is a command of the endpoint's."""
    seed(state, {"id": id_, "status": "failed", "text": ""}, server=server)
    for verb in ("get", "wait", "retry", "watch", "status", "cancel"):
        ran = bgresp(verb, key(1))
        hints = [part for part in ran.err.split("bgresp ")[1:] if id_ in part]
        pasted = [p for p in hints if p.split(" ")[0] in {"get", "retry", "watch"}]
        assert [] == pasted, ran
    assert f"{id_}\n" == bgresp("list", "-q").out  # quoted by who uses it: "$id"
    assert shlex.quote(id_) != id_


def test_an_id_is_not_another_job_s_key(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """An endpoint that answers with the key of another job gets that one's orders."""
    mine = key(1)
    seed(state, {}, {"id": mine}, server=server)
    ran = bgresp("cancel", mine)
    assert (3, ()) == (ran.code, server.requests), ran
    assert f"ambiguous: a key here, and the id of {key(2)}" in ran.err
