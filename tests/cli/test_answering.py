"""What a job waits for is answered in the dialect's form, or refused by name."""

import json
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from tests import fakeanswers as fa
from tests.cli.ledger import ident, key, seed
from tests.command import Run
from tests.fakeserver import FakeServer
from tests.test_answers import events_of as told_of

CALLS: list[dict[str, Any]] = [
    {
        "type": "function_call",
        "id": "fc_1",
        "call_id": "call_1",
        "name": "get_weather",
        "arguments": '{"city":"Porto"}',
    },
    {
        "type": "custom_tool_call",
        "id": "ct_1",
        "call_id": "call_2",
        "name": "grep",
        "input": "TODO",
    },
]
APPROVAL: dict[str, Any] = {
    "type": "mcp_approval_request",
    "id": "mcpr_1",
    "name": "delete_file",
    "server_label": "disk",
    "arguments": '{"path":"a"}',
}


def _ended(state: Path, server: FakeServer, *items: dict[str, Any]) -> None:
    """Seed a job that completed with these items."""
    seed(state, {"status": "completed", "text": "x"}, server=server)
    answer = {"id": ident(1), "status": "completed", "output": list(items)}
    (state / "responses" / f"{key(1)}.json").write_text(json.dumps(answer))


def _sent(server: FakeServer) -> dict[str, Any]:
    body: dict[str, Any] = json.loads(server.requests[-1].body)
    return body


def test_a_call_is_answered(bgresp: Run, server: FakeServer, state: Path) -> None:
    """The one call that waits needs no id; the new job is linked to the old one."""
    _ended(state, server, CALLS[0])
    tools = bgresp("get", "--part", "tools")
    line = json.loads(tools.out)
    assert 0 == tools.code
    assert {
        "type": "function_call",
        "call_id": "call_1",
        "name": "get_weather",
        "arguments": '{"city":"Porto"}',
    } == line
    ran = bgresp("submit", "--previous", "@1", "--tool-output", "22=C", "--json")
    assert 0 == ran.code, ran.err
    assert ident(1) == json.loads(ran.out)["previous_id"]
    sent = _sent(server)
    assert ident(1) == sent["previous_response_id"]
    assert [
        {"type": "function_call_output", "call_id": "call_1", "output": "22=C"}
    ] == sent["input"]


def test_several_calls_are_answered_by_id(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Each output goes to its call, from a file too, in the order of the calls."""
    _ended(state, server, *CALLS)
    (tmp_path / "found").write_text("a.py:1\n")
    outputs = ("--tool-output", "call_2=@found", "--tool-output", "call_1=")
    ran = bgresp("submit", "--previous", "@1", *outputs, "-t", "Go on")
    assert 0 == ran.code, ran.err
    first, second, message = _sent(server)["input"]
    assert {**first, "output": ""} == first
    assert ("call_1", "function_call_output") == (first["call_id"], first["type"])
    told = {
        "type": "custom_tool_call_output",
        "call_id": "call_2",
        "output": "a.py:1\n",
    }
    assert told == second
    assert "Go on" == message["content"][0]["text"]


@pytest.mark.parametrize(
    ("given", "approve"),
    [
        (["--approve"], True),
        (["--approve", "mcpr_1"], True),
        (["--deny"], False),
        (["--deny=mcpr_1"], False),
    ],
)
def test_an_approval_is_given(
    bgresp: Run, server: FakeServer, state: Path, given: list[str], approve: bool
) -> None:
    """--approve and --deny say yes and no, to the one that waits or by its id."""
    _ended(state, server, APPROVAL)
    ran = bgresp("submit", "--previous", "@1", *given)
    assert 0 == ran.code, ran.err
    assert [
        {
            "type": "mcp_approval_response",
            "approval_request_id": "mcpr_1",
            "approve": approve,
        }
    ] == _sent(server)["input"]


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        (["--tool-output", "x"], 2, "which of call_1 (get_weather), call_2 (grep)?"),
        (["--tool-output", "call_1=x"], 2, "call_2 (grep) has no output"),
        (["--tool-output", "call_1=x"] * 2, 2, "call_1 is answered twice"),
        (["--approve"], 2, "waits for no approval"),
        (["--tool-output", "call_1=@gone", "--tool-output", "call_2="], 2, "gone"),
    ],
)
def test_what_was_not_asked_for_is_refused(
    bgresp: Run,
    server: FakeServer,
    state: Path,
    given: list[str],
    code: int,
    said: str,
) -> None:
    """An answer that fits nothing, or leaves a call open, is refused unsent."""
    _ended(state, server, *CALLS)
    ran = bgresp("submit", "--previous", "@1", *given)
    assert (code, True) == (ran.code, said in ran.err), ran.err
    assert not server.requests


def test_a_call_and_an_approval_together(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """An unknown id is named with those that wait; nothing goes with half an answer."""
    _ended(state, server, CALLS[0], APPROVAL)
    wrong = bgresp("submit", "-m", "m", "--previous", "@1", "--approve", "mcpr_9")
    said = "has no approval mcpr_9; it waits for mcpr_1 (delete_file)"
    assert (2, True) == (wrong.code, said in wrong.err), wrong.err
    half = bgresp("submit", "-m", "m", "--previous", "@1", "--approve")
    assert (2, True) == (half.code, "call_1 (get_weather) has no output" in half.err)
    assert not server.requests
    both = ("--approve", "--tool-output", "22")
    ran = bgresp("submit", "-m", "m", "--previous", "@1", *both)
    assert 0 == ran.code, ran.err
    kinds = [item["type"] for item in _sent(server)["input"]]
    assert ["function_call_output", "mcp_approval_response"] == kinds


def test_an_output_goes_to_no_other_endpoint(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """What answers a job of another endpoint is refused: its text is not theirs."""
    _ended(state, server, CALLS[0])
    other = {"BGRESP_BASE_URL": "http://127.0.0.1:9/v1"}
    argv = ("submit", "-m", "m", "--previous", "@1", "--tool-output", "secret")
    ran = bgresp(*argv, env=other)
    assert 2 == ran.code, ran.err
    assert f"it is at {server.base_url}, not http://127.0.0.1:9/v1" in ran.err
    assert not server.requests
    assert 0 == bgresp(*argv).code


def test_one_output_answers_an_id_that_came_twice(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Two calls under one id have one output; a call without an id can have none."""
    again = {**CALLS[0], "arguments": '{"city":"Faro"}'}
    _ended(state, server, CALLS[0], again, CALLS[0])
    assert 2 == bgresp("get", "--part", "tools").out.count("call_1")
    ran = bgresp("submit", "-m", "m", "--previous", "@1", "--tool-output", "22")
    assert 0 == ran.code, ran.err
    assert ["call_1"] == [item["call_id"] for item in _sent(server)["input"]]
    asked = len(server.requests)
    _ended(state, server, {**CALLS[0], "call_id": None, "id": None})
    ran = bgresp("submit", "-m", "m", "--previous", key(1), "--tool-output", "22")
    assert (5, asked) == (ran.code, len(server.requests)), ran.err
    assert "get_weather has no id to answer to" in ran.err


def test_a_dialect_that_cannot_says_so(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Where a dialect has no words for an answer it is refused by name, unsent."""
    _ended(state, server, {**CALLS[0], "type": "computer_call"})
    assert 2 == bgresp("submit", "--previous", "@1", "--tool-output", "no").code
    for profile, home in (("sail", "SAIL_API_KEY"), ("freddy", "FREDDY_API_KEY")):
        ran = bgresp(
            *("submit", "-p", profile, "--previous", "@1", "--tool-output", "{}"),
            env={home: "k-12345678", "BGRESP_BASE_URL": None, "BGRESP_API_KEY": None},
        )
        assert 5 == ran.code, ran.err
        assert f"{profile} cannot carry --tool-output" in ran.err
    assert 2 == bgresp("submit", "--tool-output", "x").code
    assert not server.requests


@pytest.mark.parametrize("items", [[CALLS[0]], [APPROVAL]])
def test_every_verb_says_what_waits(
    bgresp: Run,
    server: FakeServer,
    state: Path,
    tmp_path: Path,
    items: list[dict[str, Any]],
) -> None:
    """get, wait, watch and status exit 14 for it, of records of older versions too."""
    _ended(state, server, *items)
    file = bgresp("get", "@1", "-o", "answer")
    assert (14, "") == (file.code, file.out)
    assert "completed without text: " in file.err
    assert f"(bgresp get {ident(1)} --part tools)" in file.err
    assert not (tmp_path / "answer").exists()
    for verb in ("wait", "watch"):
        ran = bgresp(verb, "@1")
        assert (14, "") == (ran.code, ran.out), verb
    record = json.loads(bgresp("get", "@1", "--json").out)
    assert 14 == record["exit_code"]
    assert record["ended_with"] in {"calls", "approval"}
    assert 14 == bgresp("get", "@1", "--part", "refusal").code
    assert 0 == bgresp("get", "@1", "--part", "raw").code
    assert "--part tools" in bgresp("show", "@1").out
    assert not server.requests


@pytest.mark.parametrize(
    "item",
    [
        {"type": "message", "content": [{"type": "refusal", "refusal": "No: KEY"}]},
        {**CALLS[0], "arguments": '{"key": "KEY"}'},
        {**CALLS[0], "arguments": {"key": ["KEY"]}, "name": "KEY"},
        {"type": "KEY_call"},
    ],
)
def test_a_key_that_comes_back_is_not_recorded(
    bgresp: Run, server: FakeServer, state: Path, item: dict[str, Any]
) -> None:
    """An endpoint that says our key in a call or a refusal gets it into the ledger."""
    echoed = json.loads(json.dumps(item).replace("KEY", "sk-sesame-12345"))
    response = {"id": "resp_1", "status": "completed", "output": [echoed]}
    server.script("create", fa.as_json(response))
    env = {"BGRESP_API_KEY": "sk-sesame-12345"}
    ran = bgresp("submit", "-t", "x", "-m", "m", "--wait", env=env)
    assert 14 == ran.code, ran.err
    assert "[secret]" in ran.err
    assert "sesame" not in ran.err
    assert not _in_ledger(state)


ECHO: dict[str, Any] = {**CALLS[0], "arguments": '{"key": "sk-sesame-12345"}'}


def test_a_key_that_passed_by_is_not_recorded(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Nor where the call stood only in an event, and the last object left it out."""
    told = {"id": "resp_1", "model": "sk-sesame-12345"}
    whole = {**told, "status": "completed", "output": [ECHO]}
    *events, last = told_of(whole)
    last["response"] = {**whole, "output": []}
    server.script("create", fa.Stream(events=[*events, last]))
    env = {"BGRESP_API_KEY": "sk-sesame-12345"}
    ran = bgresp("submit", "-t", "x", "-m", "m", "--watch", env=env)
    assert 14 == ran.code, ran.err
    assert "[secret]" in ran.err
    assert "sesame" not in ran.err
    assert not _in_ledger(state)
    assert "sesame" in bgresp("get", "@1", "--part", "tools").out


def test_a_key_in_a_saved_answer_is_not_recorded(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Nor where a shorter answer leaves an older one saved, which had the key in it."""
    seed(state, {"status": "in_progress"}, server=server)
    saved = {"id": ident(1), "status": "completed", "output": [ECHO, CALLS[1]]}
    (state / "responses" / f"{key(1)}.json").write_text(json.dumps(saved))
    server.script("get", fa.as_json({**saved, "output": [CALLS[1]]}))
    env = {"BGRESP_API_KEY": "sk-sesame-12345"}
    assert 0 == bgresp("status", "@1", env=env).code
    record = json.loads(bgresp("list", "--json").out)[0]
    assert ("completed", "calls") == (record["status"], record["ended_with"])
    assert not _in_ledger(state)


def _in_ledger(state: Path) -> bool:
    """Say whether the key is in a file of the ledger."""
    kept = chain(state.glob("*.jsonl"), state.glob("index/*"))
    return any(b"sesame" in path.read_bytes() for path in kept if path.is_file())
