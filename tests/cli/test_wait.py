"""`bgresp wait`: a silent gate whose exit code is the message."""

import json
import re
from pathlib import Path

from tests.cli.ledger import ident, seed
from tests.cli.processes import Each
from tests.command import Run
from tests.fakeanswers import Snapshot, as_json
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of

ENDS = {
    "completed": 0,
    "rejected": 5,
    "unknown": 7,
    "submitting": 8,
    "incomplete": 10,
    "cancelled": 11,
    "failed": 12,
    "lost": 13,
}


def test_every_end_has_its_exit_code(each: Each, state: Path) -> None:
    """What became of a job is the exit code, stdout stays empty, nobody is asked."""
    for status in ENDS:
        text = {"text": FOX} if status in {"completed", "incomplete"} else {}
        ended = {"text": ""} if status in {"cancelled", "failed"} else {}
        id_ = {} if text or ended or status == "lost" else {"id": None}
        seed(state, {"status": status, "name": status, **text, **ended, **id_})
    gravest = {
        **ENDS,
        "lost failed cancelled incomplete completed": 13,
        "failed cancelled incomplete rejected submitting": 12,
        "unknown lost failed completed": 7,
        "submitting rejected completed": 8,
    }
    done = each(*(["wait", *words.split()] for words in gravest))
    assert gravest == {
        words: ran.code for words, ran in zip(gravest, done, strict=True)
    }
    assert {""} == {ran.out for ran in done}


def test_it_waits_in_silence(bgresp: Run, server: FakeServer, state: Path) -> None:
    """Open jobs are polled, no stream is opened, and nothing at all is printed."""
    seed(state, {"streamable": True}, {}, server=server)
    running = as_json(response_of("in_progress", response_id=ident(1)))
    server.script("get", running, as_json(response_of("completed", FOX)), job=ident(1))
    server.script(
        "get", as_json(response_of("failed", response_id=ident(2))), job=ident(2)
    )
    ran = bgresp("wait", "--group", "none", "--allow-empty")
    assert (0, "", "") == (ran.code, ran.out, ran.err)
    ran = bgresp("wait", "@1", "@2", "--interval", "0.01")
    assert (12, "", "") == (ran.code, ran.out, ran.err)
    assert ({"get"}, 3) == (
        {seen.operation for seen in server.requests},
        len(server.requests),
    )
    ran = bgresp("wait", "@2", "--json")
    record = json.loads(ran.out)
    assert (0, FOX, "completed") == (ran.code, record["text"], record["status"])


def test_any_and_timeout(bgresp: Run, state: Path) -> None:
    """--any ends with the first that ended, now or before; --timeout exits 8."""
    with FakeServer(polls=["in_progress"] * 999) as server:
        env = {"BGRESP_BASE_URL": server.base_url}
        for name in ("half", "slow"):
            assert 0 == bgresp("submit", "-t", "x", "-n", name, env=env).code
        server.script("get", Snapshot("incomplete"), job=ident(1))
        ran = bgresp("wait", "slow", "half", "--any", "--interval", "0.01")
        assert (10, "", "") == (ran.code, ran.out, ran.err)
        asked = len(server.requests)
        ran = bgresp("wait", "slow", "half", "--any", "--timeout", "30")
        assert (10, "", "") == (ran.code, ran.out, ran.err)
        assert asked == len(server.requests)
        ran = bgresp("wait", "slow", "--timeout", "0.2")
        assert (8, "") == (ran.code, ran.out)
        assert re.search(rf"{ident(2)} is still \w+: bgresp watch ", ran.err)
        ran = bgresp("wait", "slow", "half", "--timeout", "0.2")
        assert (10, "") == (ran.code, ran.out)
