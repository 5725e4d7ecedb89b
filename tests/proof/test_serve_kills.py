"""kill -9 of the local endpoint under load: no accepted job is lost, no answer torn."""

import json
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from bgresp.serve import daemon
from tests.proof.conftest import Figure
from tests.serve.endpoints import ROOT, wait_until

pytestmark = pytest.mark.proof
ROUNDS, FULL = 4, 100
SENDERS = 4
ENDED = {"completed", "failed"}


def launch(state: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "bgresp.serve", "--state", str(state)]
    process = subprocess.Popen(
        [*command, "--pace=0.002", "--workers=4", "--max-run=60", *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: daemon.find(state) or process.poll() is not None)
    return process


def base_url(state: Path) -> str:
    running = daemon.find(state)
    assert running is not None
    return running.base_url


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(trust_env=False, timeout=20) as client:
        yield client


def send(url: str, accepted: list[str], stop: threading.Event) -> None:
    """Submit until the server dies; note what it answered, and follow every other."""
    with httpx.Client(trust_env=False, timeout=20) as client:
        for number in range(10):
            if stop.is_set():
                return
            body = {
                "input": f"job {number}",
                "background": True,
                "stream": bool(number % 2),
            }
            try:
                if not body["stream"]:
                    reply = client.post(f"{url}/responses", json=body)
                    accepted.append(reply.json()["id"])
                    continue
                with client.stream("POST", f"{url}/responses", json=body) as reply:
                    for line in reply.iter_lines():
                        if line.startswith("data: "):
                            accepted.append(json.loads(line[6:])["response"]["id"])
                            break
            except (httpx.HTTPError, ValueError):
                return


def events(client: httpx.Client, url: str, job_id: str) -> list[dict[str, Any]]:
    reply = client.get(f"{url}/responses/{job_id}?stream=true")
    lines = reply.text.split("\n")
    return [json.loads(line[6:]) for line in lines if line.startswith("data: ")]


def check(client: httpx.Client, url: str, job_id: str) -> str:
    """Look at a job that was accepted; return its final status."""

    def ended() -> Any:
        found = client.get(f"{url}/responses/{job_id}")
        assert 200 == found.status_code, f"{job_id} was accepted and is lost"
        return found.json() if found.json()["status"] in ENDED else None

    job = wait_until(ended, deadline=60)
    if job["status"] == "failed":
        assert "server_restarted" == job["error"]["code"]
    text = "".join(p["text"] for item in job["output"] for p in item["content"])
    if told := events(client, url, job_id):
        assert list(range(len(told))) == [event["sequence_number"] for event in told]
        assert f"response.{job['status']}" == told[-1]["type"]
        assert job == told[-1]["response"]
        deltas = [e["delta"] for e in told if e["type"].endswith("text.delta")]
        assert text == "".join(deltas)
    if job["status"] == "completed":
        assert text.endswith("until its retention ends.")
    return str(job["status"])


def test_kills_under_load(
    tmp_path: Path, client: httpx.Client, figure: Figure, full: bool
) -> None:
    """Whenever it is killed, each job that was answered is there, whole, and ends."""
    chance = random.Random(17)
    state = tmp_path / "state"
    accepted: list[str] = []
    rounds = FULL if full else ROUNDS
    for _ in range(rounds):
        process = launch(state)
        stop = threading.Event()
        told = (base_url(state), accepted, stop)
        senders = [threading.Thread(target=send, args=told) for _ in range(SENDERS)]
        for sender in senders:
            sender.start()
        time.sleep(chance.uniform(0.2, 1.2))
        process.kill()
        process.wait()
        stop.set()
        for sender in senders:
            sender.join()
    process = launch(state, "--pace=0")
    try:
        url = base_url(state)
        ends = [check(client, url, job_id) for job_id in accepted]
        folder = state / "serve" / "jobs"
        assert [] == list(folder.glob("*.tmp"))
        figure(
            f"{rounds} kills under load: {len(accepted)} accepted, 0 lost, 0 torn;"
            f" {ends.count('completed')} completed, {ends.count('failed')} failed"
        )
        assert len(accepted) == len(set(accepted)) > rounds
        assert ends.count("completed") > 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounts a small disk: needs root")
def test_a_full_disk(tmp_path: Path, client: httpx.Client, figure: Figure) -> None:
    """On a full disk new jobs are 507, what was accepted stays, and room helps."""
    state = tmp_path / "state"
    state.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "none", str(state)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("a container without the right to mount")
    try:
        process = launch(state)
        url = base_url(state)
        small = client.post(
            f"{url}/responses", json={"input": "x", "background": True}
        ).json()
        assert "completed" == check(client, url, small["id"])
        body = {"input": "x" * 20_000, "background": True, "stream": True}
        accepted = []
        for _ in range(200):
            with client.stream("POST", f"{url}/responses", json=body) as reply:
                if reply.status_code != 200:
                    reply.read()
                    break
                line = next(li for li in reply.iter_lines() if li.startswith("data: "))
                accepted.append(json.loads(line[6:])["response"]["id"])
        assert (507, "insufficient_storage") == (
            reply.status_code,
            reply.json()["error"]["code"],
        )
        ends = []
        for job_id in accepted:

            def ended(job_id: str = job_id) -> Any:
                found = client.get(f"{url}/responses/{job_id}")
                assert 200 == found.status_code
                return found.json()["status"] in {"completed", "failed"} and found

            ends.append(wait_until(ended).json())
        for job in ends:
            told = events(client, url, job["id"])
            assert list(range(len(told))) == [e["sequence_number"] for e in told]
            assert f"response.{job['status']}" == told[-1]["type"]
            assert job["error"] is None or "storage_failed" == job["error"]["code"]
        for job_id in accepted[: len(accepted) // 2]:
            assert 200 == client.delete(f"{url}/responses/{job_id}").status_code
        again = client.post(f"{url}/responses", json=body | {"stream": False})
        assert 200 == again.status_code
        assert "completed" == check(client, url, small["id"])
        # What ended while there was no room is written down once there is.
        kept = {job["id"]: job for job in ends[len(accepted) // 2 :]}
        records = state / "serve" / "jobs"
        wait_until(
            lambda: all(
                json.loads((records / f"{job_id}.json").read_bytes())["response"] == job
                for job_id, job in kept.items()
            )
        )
        process.kill()
        process.wait()
        process = launch(state)
        url = base_url(state)
        for job_id, job in kept.items():
            assert job == client.get(f"{url}/responses/{job_id}").json()
        failed = sum(job["status"] == "failed" for job in ends)
        figure(f"a full disk: {len(ends)} accepted, {failed} failed for it, then 507")
        process.kill()
        process.wait()
    finally:
        subprocess.run(["umount", "-l", str(state)], check=False)


def test_many_streams_of_one_job(
    tmp_path: Path, client: httpx.Client, figure: Figure
) -> None:
    """A thousand readers of one job get every event; a reader that sleeps costs none."""
    state = tmp_path / "state"
    process = launch(state, "--pace=0.02")
    try:
        url = base_url(state)
        body = {"input": "x", "background": True, "stream": True}
        with client.stream("POST", f"{url}/responses", json=body) as reply:
            line = next(li for li in reply.iter_lines() if li.startswith("data: "))
        job_id = json.loads(line[6:])["response"]["id"]
        port = int(url.removesuffix("/v1").rpartition(":")[2])
        path = f"/v1/responses/{job_id}?stream=true"
        asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        begun = time.monotonic()
        readers = [socket.create_connection(("127.0.0.1", port)) for _ in range(1000)]
        for reader in readers:
            reader.sendall(asked.encode())
        whole = set()
        for reader in readers:
            reader.settimeout(30)
            said = bytearray()
            while piece := reader.recv(65536):
                said += piece
            reader.close()
            whole.add(said.count(b"event: "))
        assert 1 == len(whole)
        took = time.monotonic() - begun
        figure(f"1000 readers of one job: {whole.pop()} events each in {took:.1f} s")
    finally:
        process.kill()
        process.wait()
