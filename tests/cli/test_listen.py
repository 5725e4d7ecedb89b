"""`bgresp listen`: deliveries over a real socket, and what becomes of their jobs."""

import json
import re
import shlex
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.books import ident, key, last, note, records, seed
from tests.cli.killed import ACCEPTED, killed
from tests.cli.processes import Start, Started, eventually
from tests.command import Run
from tests.fakeanswers import RESET, Performed, Snapshot, as_json
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
    server.wait_for("get")
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
