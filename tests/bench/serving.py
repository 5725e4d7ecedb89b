"""What the local endpoint costs with many jobs stored and many streams open.

    python -m tests.bench.serving 10000 1000

Prints how long it takes to start with so many stored jobs, what a list and a create
cost then, and what so many open streams of one job take in time and memory.
"""

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from bgresp.serve import daemon, wire
from bgresp.serve.store import Entry, Store

ROOT = Path(__file__).parents[2]


def fill(folder: Path, count: int) -> None:
    """Write finished jobs as the endpoint does, without a sync for each."""
    store = Store(folder)
    store.load()
    text = "An answer of some length, as they are. " * 50
    for number in range(count):
        id_ = f"resp_{number:032x}"
        now = time.time()
        entry = Entry(
            *(id_, "", now, False, True), idempotency_key=f"k{number}", ended=None
        )
        item = {"type": "message", "content": [{"type": "output_text", "text": text}]}
        response = wire.response(id_, {"input": "x"}, now, "demo")
        response |= {"status": "completed", "output": [item]}
        record = {"entry": {**_fields(entry), "ended": now}, "response": response}
        (folder / f"{id_}.json").write_text(wire.dumps(record))
        (folder / f"{id_}.request.json").write_text('{"input":"x"}')


def _fields(entry: Entry) -> dict[str, Any]:
    return {name: getattr(entry, name) for name in entry.__slots__}


def timed(action: Callable[[], Any]) -> float:
    begun = time.perf_counter()
    action()
    return time.perf_counter() - begun


def memory(pid: int) -> int:
    """Return the resident memory of a process in MiB; 0 where /proc is not."""
    status = Path(f"/proc/{pid}/status")
    if not status.exists():
        return 0
    line = next(li for li in status.read_text().split("\n") if li.startswith("VmRSS"))
    return int(line.split()[1]) // 1024


def main(stored: int, streams: int) -> None:
    with tempfile.TemporaryDirectory() as name:
        state = Path(name)
        jobs = state / "serve" / "jobs"
        jobs.mkdir(parents=True)
        fill(jobs, stored)
        command = [sys.executable, "-m", "bgresp.serve", "--state", name, "--pace=0.1"]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        begun = time.perf_counter()
        process = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL)
        try:
            while (running := daemon.find(state)) is None:
                time.sleep(0.01)
            tell(f"start with {stored} jobs: {time.perf_counter() - begun:.2f} s")
            with httpx.Client(base_url=running.base_url, trust_env=False) as client:
                measure(client, running.pid, streams)
        finally:
            process.terminate()
            process.wait()


def tell(line: str) -> None:
    sys.stdout.write(f"{line}\n")


def measure(client: httpx.Client, pid: int, streams: int) -> None:
    client.get("/responses?limit=1")
    listed = timed(lambda: client.get("/responses?limit=20"))
    body = {"input": "x", "background": True}
    created = timed(lambda: client.post("/responses", json=body))
    tell(f"list 20: {listed * 1000:.1f} ms; create: {created * 1000:.1f} ms")
    with client.stream("POST", "/responses", json={**body, "stream": True}) as reply:
        line = next(li for li in reply.iter_lines() if li.startswith("data: "))
    job_id = json.loads(line[6:])["response"]["id"]
    before = memory(pid)
    path = f"/v1/responses/{job_id}?stream=true"
    asked = f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    where = (client.base_url.host, client.base_url.port or 80)
    readers = [socket.create_connection(where) for _ in range(streams)]
    for reader in readers:
        reader.sendall(asked.encode())
    begun = time.perf_counter()
    for reader in readers:
        assert reader.recv(1)  # by now each of them is served
    most = memory(pid)
    for reader in readers:
        while reader.recv(65536):
            pass
        reader.close()
    took = time.perf_counter() - begun
    tell(f"{streams} streams: {took:.1f} s, {most - before} MiB more")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:3]))
