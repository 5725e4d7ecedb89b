"""Webhooks under load, kills and from end to end: none lost, none told of twice."""

import json
import random
import re
import resource
import shlex
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cli.ledger import ident, note, records, seed
from tests.cli.processes import Started, eventually
from tests.command import Run, command
from tests.fakeanswers import Forever, as_json
from tests.fakeserver import FakeServer
from tests.fakewire import response_of
from tests.proof.conftest import Figure
from tests.webhooks import SECRET, deliver

pytestmark = pytest.mark.proof

APPEND = "import sys; open('told', 'a').write(sys.stdin.read())"
HOOK = shlex.join([sys.executable, "-S", "-c", APPEND])


class Listener:
    """`bgresp listen` that can be killed and started again on one port."""

    def __init__(self, folder: Path, base_url: str) -> None:
        self.folder, self.state = folder, folder / "state"
        config = folder / "config" / "config.toml"
        config.parent.mkdir(mode=0o700)
        config.write_text("[profiles.openai]\nrate = 0\n")
        config.chmod(0o600)
        self.env = {
            "BGRESP_STATE_DIR": str(self.state),
            "BGRESP_CONFIG": str(config),
            "BGRESP_BASE_URL": base_url,
            "BGRESP_API_KEY": "k",
            "SECRET": SECRET,
        }
        self.port = 0
        self.started: Started | None = None

    def start(self, *args: str) -> None:
        words = ("--port", str(self.port), "--secret-env", "SECRET", *args)
        argv = command("listen", *words, "--interval", "1h")
        self.started = Started(argv, self.env, self.folder)
        said = self.started.until(b"(Ctrl-C", "err").decode()
        found = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert found is not None
        self.port, self.url = int(found[1]), found[0]

    def stop(self, number: int = signal.SIGTERM) -> None:
        assert self.started is not None
        self.started.finish(number)
        self.started.close()
        self.started = None


@pytest.fixture
def listener(tmp_path: Path, server: FakeServer) -> Iterator[Listener]:
    """Lend a listener; it runs no more at the end."""
    lent = Listener(tmp_path, server.base_url)
    yield lent
    if lent.started is not None:
        lent.started.close()


def known(listener: Listener, server: FakeServer, count: int) -> list[str]:
    """Let so many more jobs be open in the ledger, and completed at the endpoint."""
    first = len({record["id"] for record in records(listener.state)}) + 1
    open_ = {"status": "in_progress"}
    seed(listener.state, *[open_] * count, server=server)
    jobs = [ident(number) for number in range(first, first + count)]
    for job in jobs:
        done = response_of("completed", "done", response_id=job)
        server.script("get", as_json(done), job=job)
    return jobs


def statuses(state: Path) -> dict[str, str]:
    return {record["id"]: record["status"] for record in records(state)}


def test_a_burst(listener: Listener, server: FakeServer, figure: Figure) -> None:
    """1 000 deliveries at once, a fifth of them repeats: each job is asked for once."""
    seed(listener.state, {"status": "in_progress"}, server=server)
    still = response_of("in_progress", "", response_id=ident(1))
    server.script("get", as_json(still), job=ident(1))
    listener.start()
    server.wait_for("get")  # the poll of the start knows which jobs are open
    jobs = known(listener, server, 800)
    sent = [*jobs, *random.Random(1).sample(jobs, 200)]
    random.Random(2).shuffle(sent)

    def one(job: str) -> tuple[int, float]:
        begun = time.monotonic()
        return deliver(listener.url, job), time.monotonic() - begun

    begun = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(one, sent))
    assert {200} == {status for status, _ in answers}
    answered = time.monotonic() - begun
    done = Counter({"completed": 800, "in_progress": 1})
    saved = listener.state / "responses"
    eventually(lambda: saved.exists() and len([*saved.iterdir()]) >= 800)
    eventually(lambda: Counter(statuses(listener.state).values()) == done)
    whole = time.monotonic() - begun
    listener.stop()
    asked = Counter(seen.job for seen in server.asked("get"))
    assert dict.fromkeys([ident(1), *jobs], 1) == asked
    slowest = max(took for _, took in answers)
    figure(
        f"1000 deliveries answered in {answered:.1f} s, the slowest in {slowest:.2f} s; "
        f"800 jobs in after {whole:.1f} s, one GET each"
    )


def test_kills_in_between(
    listener: Listener, server: FakeServer, tmp_path: Path, figure: Figure
) -> None:
    """Kill -9 at any moment: what was answered 200 comes in, and is told of once."""
    dice = random.Random(3)
    count = 60
    # No poll asks about these: what brings them in are the deliveries alone.
    seed(listener.state, *[{"status": "cancelled"}] * count, server=server)
    note(listener.state, server.base_url)
    jobs = [ident(number) for number in range(1, count + 1)]
    for job in jobs:  # a GET may be cut by a kill, and is asked again
        done = as_json(response_of("completed", "done", response_id=job))
        server.script("get", Forever(done), job=job)
    listener.start("--notify", HOOK)
    left, kills, repeats = list(jobs), 0, 0
    expected = Counter({"completed": count})
    while left:
        batch, left = left[:15], left[15:]
        last = dice.choice(batch)
        for job in batch:
            assert 200 == deliver(listener.url, job)
            if job == last:
                listener.stop(signal.SIGKILL)
                kills += 1
                listener.start("--notify", HOOK)
        repeats += [deliver(listener.url, job) for job in batch[:3]].count(200)
    eventually(lambda: Counter(statuses(listener.state).values()) == expected)
    marks = listener.state / "notices"
    eventually(lambda: len(list(marks.iterdir())) == count)
    listener.stop()
    told = Counter(
        json.loads(line)["id"] for line in (tmp_path / "told").read_text().splitlines()
    )
    assert set(told) <= set(jobs)
    assert {1} == set(told.values())
    assert count - kills * 4 <= len(told)  # at most those whose hook just ran
    figure(f"{kills} kills: {count} jobs in, {len(told)} told of, none twice")


@pytest.mark.skipif(
    not hasattr(resource, "prlimit"), reason="no prlimit: that is Linux's"
)
def test_no_room_for_a_job(
    listener: Listener, server: FakeServer, figure: Figure
) -> None:
    """A disk that is full when a job comes in costs a message, not the listener."""
    seed(listener.state, {"status": "in_progress"}, server=server)
    note(listener.state, server.base_url)
    job = ident(1)
    server.script("get", as_json(response_of("in_progress", response_id=job)), job=job)
    listener.start()
    path = listener.state / "ledger.jsonl"
    eventually(lambda: path.read_bytes().count(b"\n") == 2)  # the poll of the start
    started = listener.started
    assert started is not None
    room = resource.prlimit(started.process.pid, resource.RLIMIT_FSIZE)
    size = path.stat().st_size
    done = response_of("completed", "done", response_id=job)
    server.script("get", as_json(done), as_json(done), job=job)
    # Deliveries have room; what the ledger would have to take has none.
    resource.prlimit(started.process.pid, resource.RLIMIT_FSIZE, (size, room[1]))
    assert 200 == deliver(listener.url, job)
    started.until(b"ledger.jsonl", "err")
    resource.prlimit(started.process.pid, resource.RLIMIT_FSIZE, room)
    started.until(b"\tcompleted\n")
    ran = started.finish(signal.SIGTERM)
    assert (0, 1) == (ran.code, ran.err.count("cannot")), ran.err
    figure("a full disk under the ledger: said once, and the job in when it had room")


def test_from_end_to_end(tmp_path: Path, run: Run, figure: Figure) -> None:
    """Serve tells listen, listen asks serve, and the hook has the answer."""
    state = tmp_path / "state"
    served = tmp_path / "served"
    config = tmp_path / "config.toml"
    env: dict[str, str] = {
        "BGRESP_STATE_DIR": str(state),
        "BGRESP_CONFIG": str(config),
        "SECRET": SECRET,
        "BGRESP_API_KEY": "k",
    }
    config.write_text("")
    config.chmod(0o600)
    words = ("--secret-env", "SECRET", "--print-url", "--interval", "1h")
    listening = Started(command("listen", *words, "--notify", HOOK), env, tmp_path)
    serving = None
    try:
        url = listening.until(b"\n").decode().strip()
        hook = ("--webhook-url", url, "--webhook-secret-env", "SECRET")
        argv = command("serve", "--port", "0", *hook)
        serving = Started(argv, {**env, "BGRESP_STATE_DIR": str(served)}, tmp_path)
        found = re.search(r"http\S+/v1", serving.until(b"/v1", "err").decode())
        assert found is not None
        submit = {**env, "BGRESP_BASE_URL": found[0]}
        ran = run("submit", "-t", "hello", "-m", "demo", env=submit)
        assert 0 == ran.code, ran.err
        told = tmp_path / "told"
        eventually(lambda: told.exists() and told.read_text().endswith("\n"))
        (record,) = [json.loads(line) for line in told.read_text().splitlines()]
        assert (ran.out.strip(), "completed") == (record["id"], record["status"])
        answer = json.loads(Path(record["answer_path"]).read_bytes())
        assert "demo engine" in answer["output"][0]["content"][0]["text"]
        listening.until(b"\tcompleted\n")
    finally:
        listening.close()
        if serving is not None:
            serving.close()
    figure("serve -> listen -> hook: one job, one delivery, one notice")
