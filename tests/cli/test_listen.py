"""`bgresp listen`: deliveries over a real socket, and what becomes of their jobs."""

import json
import re
import resource
import shlex
import signal
import socket
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from bgresp.cli.commands.listen import MOST_CONNECTIONS
from tests.cli.killed import ACCEPTED, killed
from tests.cli.ledger import ident, key, last, note, records, seed
from tests.cli.processes import Start, Started, eventually
from tests.command import Run
from tests.fakeanswers import HANG, RESET, Performed, Snapshot, as_json
from tests.fakeserver import FakeServer
from tests.fakewire import response_of
from tests.webhooks import OTHER, SECRET, deliver, event, post, signed

SECRETS = {"SECRET": SECRET, "OLD": OTHER}
APPEND = "import sys; open('told', 'a').write(sys.stdin.read())"
HOOK = shlex.join([sys.executable, "-c", APPEND])

Listen = Callable[..., tuple[Started, str]]


@pytest.fixture
def listen(start: Start) -> Listen:
    """Start `bgresp listen` with a secret; return it and its address."""

    def go(*args: str, secrets: tuple[str, ...] = ("SECRET",)) -> tuple[Started, str]:
        named = [word for name in secrets for word in ("--secret-env", name)]
        started = start("listen", *named, "--interval", "1h", *args, env=SECRETS)
        said = started.until(b"(Ctrl-C", "err").decode()
        found = re.search(r"listening on (\S+)", said)
        assert found is not None
        return started, found[1]

    return go


def submitted(bgresp: Run, server: FakeServer) -> str:
    """Submit a job that is open when it is asked about first."""
    ran = bgresp("submit", "-t", "hi", "-m", "m")
    assert 0 == ran.code, ran.err
    return ran.out.strip()


def polled(server: FakeServer, job: str, state: str = "completed") -> None:
    """Let the slow poll of a start find a job open, then let it end."""
    server.script("get", Snapshot("in_progress"), Snapshot(state), job=job)


def told(folder: Path) -> list[Any]:
    path = folder / "told"
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines()]


def test_a_delivery_brings_the_job_in(
    server: FakeServer, bgresp: Run, listen: Listen, state: Path, tmp_path: Path
) -> None:
    """The endpoint is asked once, the answer saved, the hook run, the line printed."""
    job = submitted(bgresp, server)
    polled(server, job)
    started, url = listen("--notify", HOOK)
    started.until(b"\tqueued\tin_progress\n")
    assert 200 == deliver(url, job)
    line = f"{job}\tin_progress\tcompleted\n"
    assert line.encode() in started.until(b"\tcompleted\n")
    eventually(lambda: told(tmp_path))
    assert 200 == deliver(url, job)  # the same again
    assert 200 == deliver(url, job, id_="another")  # no news: nobody is asked
    ran = started.finish(signal.SIGTERM)
    assert 0 == ran.code, ran.err
    assert 2 == len(server.asked("get", job))
    (record,) = told(tmp_path)
    assert ("completed", job) == (record["status"], record["id"])
    assert job == json.loads(Path(record["answer_path"]).read_bytes())["id"]
    assert 0 == bgresp("get", job).code
    assert 2 == len(server.asked("get", job))


def test_a_configuration_under_edit_ends_nothing(
    server: FakeServer, bgresp: Run, listen: Listen, chosen: dict[str, str]
) -> None:
    """A configuration that cannot be read for a while is said; the old one holds."""
    job = submitted(bgresp, server)
    polled(server, job)
    started, url = listen()
    started.until(b"\tqueued\tin_progress\n")
    Path(chosen["BGRESP_CONFIG"]).write_text("[profiles.")
    assert 200 == deliver(url, job)
    started.until(b"\tin_progress\tcompleted\n")
    ran = started.finish(signal.SIGTERM)
    assert 0 == ran.code, ran.err
    assert 1 == ran.err.count("config.toml")


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (event("resp_1"), {}, 400),
        (event("resp_1"), {"webhook-signature": "v1"}, 400),
        (b"x" * ((1 << 20) + 1), {}, 413),
    ],
)
def test_what_is_refused_asks_nobody(
    server: FakeServer,
    listen: Listen,
    body: bytes,
    headers: dict[str, str],
    status: int,
) -> None:
    """Unsigned, malformed, oversized: refused, nothing asked, nothing written."""
    started, url = listen("--path", "/hook")
    assert status == post(url, body, headers)
    good = event("resp_1")
    assert 400 == post(url, good, signed(good, age=1000))
    assert 400 == post(url, good, signed(good, secret=OTHER))
    assert 400 == post(url, good[:-2], signed(good))
    assert 404 == post(url.removesuffix("/hook"), good, signed(good))
    cut = socket.create_connection((url.split("/")[2].split(":")[0], _port(url)))
    cut.sendall(b"POST /hook HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{}")
    cut.close()
    ran = started.finish(signal.SIGTERM)
    assert (0, "") == (ran.code, ran.out)
    assert "Traceback" not in ran.err
    assert () == server.requests


def _port(url: str) -> int:
    return int(url.split("/")[2].split(":")[1])


def test_either_secret_is_taken_while_one_is_rotated(
    server: FakeServer, bgresp: Run, listen: Listen
) -> None:
    """Each of several --secret-env verifies."""
    job = submitted(bgresp, server)
    server.script("get", Snapshot("in_progress"), Snapshot("completed"), job=job)
    started, url = listen(secrets=("SECRET", "OLD"))
    server.wait_for("get")
    assert 200 == deliver(url, job, secret=OTHER)
    started.until(b"completed")


def test_a_lost_submit_is_settled_by_its_delivery(
    server: FakeServer, bgresp: Run, listen: Listen, start: Start, state: Path
) -> None:
    """A submit whose reply was lost gets its id from the delivery; nothing is posted."""
    server.script("create", Performed(RESET))
    lost = bgresp("submit", "-t", "hi", "-m", "m")
    assert 7 == lost.code
    (job,) = server.jobs
    before = last(state)
    assert ("unknown", None) == (before["status"], before.get("id"))
    started, url = listen()
    assert 200 == deliver(url, job)
    started.until(b"unknown\t")
    started.finish(signal.SIGTERM)
    record = last(state)
    assert (before["key"], job) == (record["key"], record["id"])
    assert 1 == len(server.creates)


def test_a_lost_answer_has_what_was_to_be_included(
    server: FakeServer, bgresp: Run, listen: Listen, start: Start, state: Path
) -> None:
    """An answer that a delivery settles has what its request asked to include."""
    server.script("create", Performed(RESET))
    what = ("--set", 'include=["web_search_call.action.sources"]')
    assert 7 == bgresp("submit", "-t", "hi", "-m", "m", *what).code
    (job,) = server.jobs
    server.script("get", Snapshot("completed"), Snapshot("completed"))
    started, url = listen()
    assert 200 == deliver(url, job)
    started.until(b"completed")
    started.finish(signal.SIGTERM)
    sent = [seen.query.get("include[]") for seen in server.asked("get")]
    assert [None, "web_search_call.action.sources"] == sent


def test_a_dead_submit_is_settled_too(
    server: FakeServer, bgresp: Run, listen: Listen, start: Start, state: Path
) -> None:
    """So is one whose process was killed before a reply came."""
    dead = killed(server, start, state, ACCEPTED)
    (job,) = server.jobs
    started, url = listen()
    assert 200 == deliver(url, job)
    started.until(job.encode())
    started.finish(signal.SIGTERM)
    assert (dead, job) == (last(state)["key"], last(state)["id"])


def test_jobs_of_others_are_left_alone(
    server: FakeServer, bgresp: Run, listen: Listen, state: Path
) -> None:
    """An id that nobody knows is ignored, and with --adopt taken into the ledger."""
    elsewhere = bgresp(
        "submit", "-t", "x", "-m", "m", env={"BGRESP_STATE_DIR": f"{state}-2"}
    ).out.strip()
    server.script("get", Snapshot("completed"), job=elsewhere)
    started, url = listen("-v")
    assert 200 == deliver(url, elsewhere)
    ran = started.finish(signal.SIGTERM)
    assert "" == ran.out
    assert () == server.asked("get", elsewhere)  # no submit here has no outcome
    started, url = listen("--adopt")
    assert 200 == deliver(url, elsewhere, id_="again")
    started.until(elsewhere.encode())
    started.finish(signal.SIGTERM)
    assert ("completed", elsewhere) == (last(state)["status"], last(state)["id"])


def test_a_foreign_endpoint_settles_nothing(
    server: FakeServer, listen: Listen, state: Path
) -> None:
    """A key that another endpoint says is no proof: the submit stays unknown."""
    here, there = "http://127.0.0.1:9/v1", server.base_url
    seed(state, {"status": "unknown", "id": None, "base_url": here})
    note(state, here, there)
    claims = response_of("completed", "x", response_id=ident(7))
    claims["metadata"] = {"bgresp_key": key(1)}
    server.script("get", as_json(claims), job=ident(7))
    started, url = listen("--adopt")
    assert 200 == deliver(url, ident(7))
    started.until(ident(7).encode())
    started.finish(signal.SIGTERM)
    unknown = [r for r in records(state) if r["key"] == key(1)]
    assert {"unknown"} == {record["status"] for record in unknown}


def test_once_ends_with_its_jobs(
    server: FakeServer, bgresp: Run, listen: Listen
) -> None:
    """With --once it ends when the named jobs have, and exits as they did."""
    job = submitted(bgresp, server)
    polled(server, job, "failed")
    started, url = listen("--once", job)
    server.wait_for("get")
    assert 200 == deliver(url, job, "response.failed")
    assert 12 == started.finish().code
    done, _ = listen("--once", job)
    assert 12 == done.finish().code  # it had ended already


def test_what_was_taken_is_dealt_with_after_a_kill(
    server: FakeServer, bgresp: Run, listen: Listen, tmp_path: Path
) -> None:
    """A delivery that was answered is on disk: after kill -9 its job comes in."""
    job = submitted(bgresp, server)
    server.script("get", Snapshot("in_progress"), job=job)
    started, url = listen("--notify", HOOK)
    server.wait_for("get")
    server.refuse()
    assert 200 == deliver(url, job)
    started.finish(signal.SIGKILL)
    server.accept()
    server.script("get", Snapshot("completed"), job=job)
    started, _ = listen("--notify", HOOK)
    started.until(b"completed")
    eventually(lambda: told(tmp_path))
    assert [job] == [record["id"] for record in told(tmp_path)]


def test_without_a_secret_it_says_so(start: Start) -> None:
    """Nothing is verified then, so only this machine may reach it."""
    started = start("listen", "--port", "0")
    said = started.until(b"(Ctrl-C", "err")
    assert b"deliveries are not verified" in said
    assert 0 == started.finish(signal.SIGTERM).code
    refused = start("listen", "--host", "0.0.0.0").finish()  # noqa: S104
    assert (4, True) == (refused.code, "needs a secret" in refused.err)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("--secret-env", "NO_SUCH"), 4, "'NO_SUCH' is not set"),
        (("--path", "x"), 2, "--path takes a path"),
        (("--port", "65536"), 2, "--port takes 0 to 65535"),
        (("--port", "-1"), 2, "--port takes 0 to 65535"),
        (("--interval", "0"), 2, "--interval"),
        (("resp_x",), 2, "for --once"),
        (("--group", "g"), 2, "for --once"),
        (("--once", "resp_x"), 3, "no job 'resp_x'"),
        (("--once",), 2, "no REF"),
    ],
)
def test_what_cannot_be_meant(
    bgresp: Run, args: tuple[str, ...], code: int, said: str
) -> None:
    """It is refused in one line before it listens."""
    ran = bgresp("listen", *args)
    assert (code, True) == (ran.code, said in ran.err), ran.err


def test_one_listens_for_a_state_folder(listen: Listen, bgresp: Run) -> None:
    """A second one is refused: both would drop the other's deliveries."""
    listen()
    ran = bgresp("listen")
    assert (2, True) == (ran.code, "another `bgresp listen`" in ran.err)


def test_a_unix_socket_is_listened_on(listen: Listen, tmp_path: Path) -> None:
    """`--uds` makes a socket, too, and takes it away again."""
    path = tmp_path / "hook.sock"
    started, _ = listen("--uds", str(path))
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert client.recv(100).startswith(b"HTTP/1.1 405")
    client.close()
    started.finish(signal.SIGTERM)
    assert not path.exists()


def raw(url: str, *pieces: bytes) -> bytes:
    """Send bytes as they are; return the first line of what is answered."""
    host, port = url.split("/")[2].split(":")
    with socket.create_connection((host, int(port)), 20.0) as client:
        for piece in pieces:
            client.sendall(piece)
        return client.makefile("rb").readline()


def head(headers: dict[str, str], *more: str, version: str = "1.1") -> bytes:
    lines = [f"POST /x HTTP/{version}", "Host: x", *more]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def test_header_soup(server: FakeServer, listen: Listen, state: Path) -> None:
    """Whatever a stranger makes of the headers is 400, and costs one digest at most."""
    started, url = listen("-v")
    body = event("resp_1")
    good, length = signed(body), f"Content-Length: {len(body)}"
    signature = good["webhook-signature"]
    second = signed(body, id_="wh_2")
    for wrong in (
        head(good, length, f"Webhook-Id: {second['webhook-id']}"),
        head(good, length, f"webhook-signature: {signature}"),
        head(good, length, f"webhook-timestamp: {good['webhook-timestamp']}"),
        head({**good, "webhook-signature": signature.replace("v1,", "v2,")}, length),
        head({**good, "webhook-signature": signature.replace("v1,", "V1,")}, length),
        head({**good, "webhook-signature": signature + "="}, length),
        head({**good, "webhook-signature": "v1,é" + signature}, length),
        head({**good, "webhook-signature": "v1,a " * 9000}, length),
        head({**good, "webhook-id": "wh_é"}, length),
        head({**good, "webhook-timestamp": "٣"[:0] + "1e9"}, length),
        head({**good, "webhook-timestamp": "-1"}, length),
        head({"x-webhook-signature": "é"}, length),
        head({}, length),
    ):
        assert b"HTTP/1.1 400 " in raw(url, wrong, body)
    many = f"v2,x v1, {second['webhook-signature']} {signature} v1a,{'A' * 43}="
    assert b"HTTP/1.1 200 " in raw(
        url, head({**good, "webhook-signature": many}, length), body
    )
    ran = started.finish(signal.SIGTERM)
    assert (0, "") == (ran.code, ran.out)
    assert "Traceback" not in ran.err
    assert () == server.requests
    assert 1 == (state / "webhooks.jsonl").read_bytes().count(b'"job"')


def test_bodies_and_versions(server: FakeServer, listen: Listen) -> None:
    """Chunks and HTTP/1.0 are taken; what is too large is refused however it comes."""
    started, url = listen()
    body = event("resp_1")
    chunked = head(signed(body), "Transfer-Encoding: chunked")
    pieces = (b"%x\r\n%b\r\n" % (len(body), body), b"0\r\n\r\n")
    assert b"HTTP/1.1 200 " in raw(url, chunked, *pieces)
    old = head(signed(body, id_="wh_2"), f"Content-Length: {len(body)}", version="1.0")
    assert b" 200 " in raw(url, old, body)
    piece = b"%x\r\n%b\r\n" % (1 << 19, b"x" * (1 << 19))
    assert b"HTTP/1.1 413 " in raw(url, chunked, piece, piece, piece)
    assert b"HTTP/1.1 400 " in raw(url, b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n")
    for method in (b"GET", b"PUT", b"OPTIONS"):
        assert b"HTTP/1.1 405 " in raw(url, method + b" / HTTP/1.1\r\nHost: x\r\n\r\n")
    ran = started.finish(signal.SIGTERM)
    assert (0, "", ()) == (ran.code, ran.out, server.requests)


def test_a_slow_endpoint_makes_no_answer_late(
    server: FakeServer, bgresp: Run, listen: Listen
) -> None:
    """While the endpoint hangs, what is delivered is answered all the same."""
    jobs = [submitted(bgresp, server) for _ in range(3)]
    for job in jobs:
        server.script("get", Snapshot("in_progress"), job=job)
    started, url = listen()
    server.wait_for("get", 3)
    server.script("get", HANG, job=jobs[0])
    assert 200 == deliver(url, jobs[0])
    server.wait_for("get", 4)
    assert [200, 200, 200] == [deliver(url, job) for job in jobs]
    ran = started.finish(signal.SIGTERM)
    assert (0, "") == (ran.code, ran.err.split("stops)\n")[1])


@pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="no prlimit: that is Linux's"
)
def test_a_full_disk_acknowledges_nothing(
    server: FakeServer, bgresp: Run, listen: Listen, state: Path
) -> None:
    """A delivery that is not on disk is 503, said once, and taken when there is room."""
    job = submitted(bgresp, server)
    server.script("get", Snapshot("in_progress"), job=job)
    started, url = listen()
    server.wait_for("get")
    assert 200 == deliver(url, "resp_of_another")
    path, pid = state / "webhooks.jsonl", started.process.pid
    eventually(lambda: path.read_bytes().count(b"\n") == 2)
    room = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    size = path.stat().st_size
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (size + 20, room[1]))
    assert [503] * 3 == [deliver(url, job, id_=f"wh_{n}") for n in range(3)]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, room)
    server.script("get", Snapshot("completed"), job=job)
    assert 200 == deliver(url, job, id_="wh_0")
    started.until(b"\tcompleted\n")
    ran = started.finish(signal.SIGTERM)
    assert 1 == ran.err.count("webhooks.jsonl"), ran.err
    assert "Traceback" not in ran.err
    started, url = listen()
    assert 200 == deliver(url, job, id_="wh_1")
    assert "completed" == last(state)["status"]


def test_a_file_of_deliveries_from_elsewhere(
    server: FakeServer, bgresp: Run, listen: Listen, state: Path
) -> None:
    """What is none of ours in the file is passed over; what is torn is sealed."""
    job = submitted(bgresp, server)
    server.script("get", Snapshot("in_progress"), Snapshot("completed"), job=job)
    good = {"id": "wh_9", "type": "response.completed", "job": job, "at": time.time()}
    other = [
        {**good, "id": "wh_2", "job": "\ud800"},
        {**good, "id": "wh_3", "job": ""},
        {**good, "id": "wh_4", "at": 1e400},
        {**good, "id": "wh_5", "at": "soon"},
        {"id": "wh_6"},
        [1],
    ]
    lines = [json.dumps(line).encode() for line in other]
    huge = b'{"id": "wh_7", "done": 1' + b"0" * 400 + b"}"
    lines += [b"[" * 5000, b"\x00\xff", b"", huge, json.dumps(good).encode()]
    newer = {**good, "id": "wh_1", "type": "response.exploded"}
    lines += [json.dumps(newer).encode(), b'{"id": "wh_8", "ty']
    (state / "webhooks.jsonl").write_bytes(b"\n".join(lines))
    started, url = listen()
    started.until(b"\tcompleted\n")
    assert 200 == deliver(url, "resp_of_another", id_="wh_10")
    ran = started.finish(signal.SIGTERM)
    assert (0, False) == (ran.code, "Traceback" in ran.err), ran.err
    written = (state / "webhooks.jsonl").read_bytes().splitlines()
    assert "wh_10" in {
        json.loads(line).get("id") for line in written if b"wh_10" in line
    }


def test_what_is_no_file_of_deliveries(bgresp: Run, state: Path) -> None:
    """A folder, a pipe, a link that leads nowhere: one line, and nothing is taken."""
    assert 0 == bgresp("list").code
    state.mkdir(exist_ok=True, mode=0o700)
    (state / "webhooks.jsonl").mkdir()
    ran = bgresp("listen")
    assert (1, True) == (ran.code, "webhooks.jsonl" in ran.err), ran.err
    assert "Traceback" not in ran.err


def test_no_stranger_takes_every_connection(listen: Listen) -> None:
    """Who connects without end is hung up on; then deliveries are taken again."""
    started, url = listen()
    with ExitStack() as idle:
        for _ in range(MOST_CONNECTIONS):
            one = socket.create_connection(("127.0.0.1", _port(url)))
            idle.enter_context(one)
        with pytest.raises(ConnectionError):
            deliver(url, "resp_1")
    eventually(lambda: _is_taken(url))
    ran = started.finish(signal.SIGTERM)
    assert (0, False) == (ran.code, "Traceback" in ran.err), ran.err


def _is_taken(url: str) -> bool:
    try:
        return deliver(url, "resp_1") == 200
    except ConnectionError:
        return False
