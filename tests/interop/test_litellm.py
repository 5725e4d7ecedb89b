"""LiteLLM with Redis: nothing streams, and a cancelled job may complete after all."""

import json
from typing import Final

import pytest

from tests.cli.processes import eventually
from tests.command import Ran
from tests.interop.conftest import Bench
from tests.interop.upstream import said

SERVER: Final = "litellm"
# A slow machine takes a minute to start what the first test waits for.
pytestmark = [pytest.mark.proof, pytest.mark.timeout(400)]


def test_a_job_is_submitted_waited_for_and_kept(bench: Bench) -> None:
    """Submit, wait, get: the model's name is ours until the server knows it."""
    ref = bench.submit("-t", "words 4", "-n", "first")
    assert ("fake", None) == (bench.record(ref)["model"], bench.record(ref)["error"])
    assert (0, "") == _outcome(bench("wait", "first"))
    assert (0, said(4) + "\n") == _outcome(bench("get", ref))
    record = bench.record(ref)
    assert ("completed", 6, "litellm_poll_") == (
        *(record["status"], record["usage"]["total_tokens"], record["id"][:13]),
    )
    raw = json.loads(bench("get", ref, "--part", "raw").out)
    assert record["key"] == raw["metadata"]["bgresp_key"]


def test_what_cannot_be_streamed_is_polled(bench: Bench) -> None:
    """JSON where a stream was asked for is no failure: stderr says it, stdout is whole."""
    bench.model.release()
    ran = bench("submit", "-t", "words 3", "--watch")
    assert (0, said(3) + "\n") == _outcome(ran)
    ref = bench.submit("-t", "words 3", "--stream")
    assert 0 == bench("wait", ref).code
    for options in ([], ["--resume"], ["--resume"]):
        ran = bench("watch", ref, *options)
        assert (0, "" if options == ["--resume"] else said(3) + "\n") == _outcome(ran)


def test_an_interrupted_watch_is_resumed(bench: Bench) -> None:
    """A job that runs has no text to show yet; the later watch shows all of it."""
    ref = bench.submit("-t", "hold 5")
    ran = bench("watch", ref, "--timeout", "1")
    assert (8, "") == _outcome(ran)
    bench.model.release()
    assert (0, said(5) + "\n") == _outcome(bench("watch", ref, "--resume"))


def test_a_cancelled_job_that_completes_is_completed(bench: Bench) -> None:
    """The server says cancelled, runs on and completes: its answer is kept."""
    ref = bench.submit("-t", "hold 4")
    ran = bench("cancel", ref, "--json")
    assert (0, "cancelled") == (ran.code, json.loads(ran.out)["status"])
    cancelled = bench.record(ref)
    bench.model.release()
    eventually(
        lambda: "completed" == json.loads(bench("status", ref, "--json").out)["status"]
    )
    assert (0, said(4) + "\n") == _outcome(bench("get", ref))
    record = bench.record(ref)
    assert ("completed", True) == (
        record["status"],
        record["finished_at"] > cancelled["finished_at"],
    )
    late = bench("cancel", ref)
    assert (0, True) == (late.code, "is completed already" in late.err)


@pytest.mark.parametrize(
    ("prompt", "code", "status", "text"),
    [("fail", 12, "failed", ""), ("length 4", 10, "incomplete", said(4))],
)
def test_what_does_not_complete_says_so(
    bench: Bench, prompt: str, code: int, status: str, text: str
) -> None:
    """Failed and incomplete are told apart, each line of stderr by itself."""
    watched = bench("submit", "-t", prompt, "--watch")
    assert (code, text.strip()) == (watched.code, watched.out.strip())
    ref = bench("list", "-q", "--limit", "1").out.strip()
    assert all(ref in line for line in watched.err.splitlines()), watched.err
    record = bench.record(ref)
    assert (status, code) == (record["status"], record["exit_code"])
    why = record["error"]["message"] if code == 12 else record["incomplete_reason"]
    assert ("made to fail" if code == 12 else "max_output_tokens") in why


def test_an_id_that_is_not_there(bench: Bench) -> None:
    """One of its own ids is not found; any other it refuses in its own words."""
    for verb in ("status", "watch", "wait", "get", "cancel", "import"):
        ran = bench(verb, "litellm_poll_doesnotexist")
        assert (3, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran
    foreign = bench("status", "resp_doesnotexist")
    assert (5, "", 1) == (foreign.code, foreign.out, foreign.err.count("\n"))
    assert "[]\n" == bench("list", "--json", "--all").out


def test_what_the_server_forgot(bench: Bench) -> None:
    """A saved answer outlives its response; a young job is not lost at the first 404."""
    bench.model.release()
    saved = bench.submit("-t", "words 2")
    assert 0 == bench("wait", saved).code
    young = bench.submit("-t", "hold 2")
    bench.delete(saved)
    bench.delete(young)
    assert (0, said(2) + "\n") == _outcome(bench("get", saved))
    ran = bench("status", young, "--json")
    record = json.loads(ran.out)
    assert (True, young in record["last_error"]) == (
        record["status"] in {"queued", "in_progress"},
        True,
    ), ran


def test_a_request_arrives_as_it_was_meant(bench: Bench) -> None:
    """Image, tool, schema and limits reach the model through the server."""
    (bench.folder / "i.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    schema = {"title": "A", "type": "object", "properties": {}}
    (bench.folder / "s.json").write_text(json.dumps(schema))
    function = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    more = ("--tool", json.dumps(function), "--schema", "@s.json")
    ref = bench.submit("-t", "words 2", "-s", "Be brief.", "--attach", "i.png", *more)
    assert 0 == bench("wait", ref).code
    asked = bench.model.asked[-1]
    assert "data:image/png;base64,iVBORw0KGgo=" in json.dumps(asked["messages"])
    assert ("Be brief.", "f", schema) == (
        asked["messages"][0]["content"],
        asked["tools"][0]["function"]["name"],
        asked["response_format"]["json_schema"]["schema"],
    )
    data = bench("get", ref, "--part", "data")
    assert (5, "", True) == (data.code, data.out, "is not JSON" in data.err)


def _outcome(ran: Ran) -> tuple[int, str]:
    return ran.code, ran.out
