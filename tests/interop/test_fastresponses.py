"""fastresponses: a stream at a path of its own, no event after a cancel."""

import json
import os
import signal
from pathlib import Path
from typing import Final

import pytest

from tests.cli.forked import ForkServer
from tests.command import Ran
from tests.interop import servers
from tests.interop.conftest import Bench, Theirs, need
from tests.interop.upstream import Upstream, said

SERVER: Final = "fastresponses"
# A slow machine takes a minute to start what the first test waits for.
pytestmark = [pytest.mark.proof, pytest.mark.timeout(400)]


def test_a_job_is_submitted_waited_for_and_kept(bench: Bench) -> None:
    """Submit, wait, get: the ledger has the job's whole truth, the disk its answer."""
    ref = bench.submit("-t", "words 4", "-l", "a=b")
    assert "resp_" == ref[:5]
    assert (0, "", "") == _outcome(bench("wait", ref))
    assert (0, said(4) + "\n", "") == _outcome(bench("get", ref))
    record = bench.record(ref)
    assert ("completed", "completed", "fake", {"a": "b"}, None) == (
        *(record["status"], record["raw_status"], record["model"]),
        *(record["labels"], record["error"]),
    )
    assert 6 == record["usage"]["total_tokens"]
    raw = json.loads(bench("get", ref, "--part", "raw").out)
    assert record["key"] == raw["metadata"]["bgresp_key"]
    assert (0, said(4) + "\n") == _outcome(bench("watch", ref))[:2]


def test_a_stream_is_shown_as_it_comes(bench: Bench) -> None:
    """What the model says appears while it still thinks, however the job was made."""
    for making in (["--stream"], ["--no-stream"]):
        bench.model.hold()
        ref = bench.submit("-t", "hold 4", *making)
        watch = bench.start("watch", ref, "--mode", "stream")
        watch.until(said(4).encode())
        assert "in_progress" == bench.record(ref)["status"]
        bench.model.release()
        assert (0, said(4) + "\n") == _outcome(watch.finish())[:2]
        assert ("completed", True) == (
            bench.record(ref)["status"],
            bench.record(ref)["cursor"] > 4,
        )
    ran = bench("submit", "-t", "words 3", "--watch")
    assert (0, said(3) + "\n") == _outcome(ran)[:2]


def test_a_watch_is_resumed_where_it_stopped(bench: Bench) -> None:
    """Two watches, one interrupted, print the whole text once, live and afterwards."""
    ref = bench.submit("-t", "hold 5", "--stream")
    first = bench.start("watch", ref)
    shown = first.until(said(5).encode())
    left = first.finish(signal.SIGINT)
    assert (130, shown.decode()) == (left.code, left.out)
    second = bench.start("watch", ref, "--resume")
    second.until(b"goes on after", "err")
    bench.model.release()
    ended = second.finish()
    assert (0, said(5) + "\n") == (ended.code, left.out + ended.out)
    again = bench("watch", ref, "--resume")
    assert (0, "") == (again.code, again.out)


def test_a_cancel_is_believed_when_it_is_true(bench: Bench) -> None:
    """A cancelled job ends its watcher too, though the stream ends without an event."""
    ref = bench.submit("-t", "hold 4", "--stream")
    watch = bench.start("watch", ref)
    watch.until(said(4).encode())
    ran = bench("cancel", ref, "--json")
    assert (0, "cancelled") == (ran.code, json.loads(ran.out)["status"])
    seen = watch.finish()
    assert (11, said(4).strip()) == (seen.code, seen.out.strip())
    again = bench("cancel", ref)
    assert (0, True) == (again.code, "is cancelled already" in again.err)
    assert "cancelled" == bench.record(ref)["status"]
    done = bench.submit("-t", "words 2")
    assert 0 == bench("wait", done).code
    late = bench("cancel", done)
    assert (0, True) == (late.code, "is completed already" in late.err)
    assert (0, said(2) + "\n") == _outcome(bench("get", done))[:2]


@pytest.mark.parametrize(
    ("prompt", "code", "status", "text"),
    [("fail", 12, "failed", ""), ("length 4", 10, "incomplete", said(4))],
)
def test_what_does_not_complete_says_so(
    bench: Bench, prompt: str, code: int, status: str, text: str
) -> None:
    """Failed and incomplete are told apart, with the reason; streamed and polled."""
    watched = bench("submit", "-t", prompt, "--watch")
    assert (code, text.strip()) == (watched.code, watched.out.strip())
    ref = bench.submit("-t", prompt)
    assert code == bench("wait", ref).code
    record = bench.record(ref)
    assert (status, code) == (record["status"], record["exit_code"])
    why = record["error"]["message"] if code == 12 else record["incomplete_reason"]
    assert ("made to fail" if code == 12 else "max_output_tokens") in why
    got = bench("get", ref)
    assert (code, text.strip(), True) == (got.code, got.out.strip(), status in got.err)


def test_an_id_that_is_not_there(bench: Bench) -> None:
    """Every verb says so with exit 3, and the ledger stays empty."""
    for verb in ("status", "watch", "wait", "get", "cancel", "import"):
        ran = bench(verb, "resp_doesnotexist")
        assert (3, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran
    assert "[]\n" == bench("list", "--json", "--all").out


def test_a_refusal_is_no_job(bench: Bench) -> None:
    """What the endpoint refuses is rejected with its own words, and costs nothing."""
    ran = bench("submit", "-t", "words 2", "--set", "store=false")
    assert (5, "", True) == (ran.code, ran.out, "'store'" in ran.err)
    wrong = bench("submit", "-t", "words 2", key="sk-wrong")
    assert (4, "", True) == (wrong.code, wrong.out, "API key" in wrong.err)
    listed = json.loads(bench("list", "--json", "--all").out)
    assert ["rejected", "rejected"] == [job["status"] for job in listed]


def test_a_request_arrives_as_it_was_meant(bench: Bench) -> None:
    """Image, tool, schema and limits reach the model through the server."""
    (bench.folder / "i.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    function = {"type": "function", "name": "f", "parameters": {"type": "object"}}
    more = ("--tool", json.dumps(function), "--set", "temperature=0.5")
    ref = bench.submit("-t", "words 2", "-s", "Be brief.", "--attach", "i.png", *more)
    assert 0 == bench("wait", ref).code
    asked = bench.model.asked[-1]
    assert "data:image/png;base64,iVBORw0KGgo=" in json.dumps(asked["messages"])
    assert ("Be brief.", 0.5, "f") == (
        *(asked["messages"][0]["content"], asked["temperature"]),
        asked["tools"][0]["function"]["name"],
    )
    follow_up = bench.submit("-t", "words 1", "--previous", ref)
    assert 0 == bench("wait", follow_up).code
    said_before = [m for m in bench.model.asked[-1]["messages"] if m["role"] != "user"]
    assert said(2) in json.dumps(said_before)


def test_a_job_whose_server_died_is_not_waited_for_in_vain(
    tmp_path: Path, fork_server: ForkServer, upstream: Upstream
) -> None:
    """Started again after a kill -9 it says in_progress for ever, and cancels nothing.

    A cancel that is not confirmed exits 8; nobody waits longer than was said.
    """
    need("fastresponses")
    upstream.hold()
    port = servers.free_port()
    with servers.fastresponses(tmp_path, upstream.base_url, port) as (url, process):
        bench = Bench(Theirs(SERVER, url, upstream), tmp_path, fork_server)
        ref = bench.submit("-t", "hold 2")
        assert "in_progress" == json.loads(bench("status", ref, "--json").out)["status"]
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        down = bench("status", ref, "--json")
        assert (6, "in_progress") == (down.code, bench.record(ref)["status"])
    upstream.release()
    with servers.fastresponses(tmp_path, upstream.base_url, port):
        ran = bench("cancel", ref)
        assert (8, "in_progress") == (ran.code, bench.record(ref)["status"]), ran
        assert 8 == bench("wait", ref, "--timeout", "1").code
        assert 8 == bench("get", ref).code


def _outcome(ran: Ran) -> tuple[int, str, str]:
    return ran.code, ran.out, ran.err
