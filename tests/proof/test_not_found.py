"""Three ways to hear 404 of jobs that live, over real processes: none of them is lost.

Another project's key, a dead replica behind a balancer, a gateway that was deployed anew.
"""

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from bgresp.engine.recorder import Recorder
from tests.command import Ran, empty_config, environment
from tests.fakewire import FOX, response_of
from tests.hastyclock import SCALE
from tests.proof.conftest import Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(300)]

MINE, THEIRS = "sk-mine-0123456789", "sk-theirs-0123456789"
JOBS = 5


@dataclass(slots=True)
class Place:
    """An endpoint whose jobs belong to a key; `mode` says how it lies about them.

    `replica`: every second GET of a job is answered by one that has no jobs. `anew`:
    all are.
    """

    mode: str = ""
    is_over: bool = False
    jobs: dict[str, str] = field(default_factory=dict)
    gets: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def create(self, auth: str) -> tuple[int, object]:
        """Take a job."""
        with self.lock:
            id_ = f"resp_{len(self.jobs):032x}"
            self.jobs[id_] = auth
        return 200, self._response(id_, "queued")

    def retrieve(self, id_: str, auth: str) -> tuple[int, object]:
        """Answer how a job stands, or that there is none."""
        with self.lock:
            self.gets[id_] += 1
            is_dead = self.gets[id_] % 2 == 1
            lies = self.mode == "anew" or (self.mode == "replica" and is_dead)
        if lies or self.jobs.get(id_) != auth:
            return 404, {"error": {"message": f"Response '{id_}' not found."}}
        word = "completed" if self.is_over else "in_progress"
        text = FOX if self.is_over else ""
        return 200, self._response(id_, word, text)

    def _response(self, id_: str, word: str, text: str = "") -> object:
        made = {"created_at": int(time.time()) - 7200}  # it expires in a month
        return response_of(word, text, response_id=id_) | made


@pytest.fixture(name="place")
def _place() -> Iterator[tuple[Place, str]]:
    """Serve a place; yield it with its base URL."""
    place = Place()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._reply(place.create(self.headers["Authorization"]))

        def do_GET(self) -> None:
            id_ = self.path.rpartition("/")[2].partition("?")[0]
            self._reply(place.retrieve(id_, self.headers["Authorization"]))

        def _reply(self, reply: tuple[int, object]) -> None:
            body = json.dumps(reply[1]).encode()
            self.send_response(reply[0])
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield place, f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass(frozen=True, slots=True)
class User:
    """Somebody who types commands at one endpoint, with one key or another."""

    folder: Path
    base_url: str

    @property
    def state(self) -> Path:
        """Return the ledger's folder."""
        return self.folder / "state"

    def __call__(self, *args: str, key: str = MINE) -> Ran:
        """Run a command on a clock that is SCALE times as fast."""
        config = self.folder / "config" / "config.toml"
        changes = {
            "BGRESP_STATE_DIR": str(self.state),
            "BGRESP_CONFIG": empty_config(config),
            "BGRESP_BASE_URL": self.base_url,
            "BGRESP_API_KEY": key,
        }
        argv = [sys.executable, "-m", "tests.hastyclock", str(SCALE), *args]
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
            env=environment(changes),
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def submitted(self) -> None:
        """Submit the jobs, and let an hour pass in the ledger."""
        files = [self.folder / f"{number}.txt" for number in range(JOBS)]
        for file in files:
            file.write_text(file.name)
        ran = self("submit", "-m", "m", *map(str, files))
        assert (0, JOBS) == (ran.code, len(ran.out.splitlines())), ran.err
        self.passes(seconds=3600)

    def passes(self, *, seconds: float) -> None:
        """Let time pass: every point of it in the ledger lies so much farther back."""
        ledger = Recorder.at(self.state).ledger
        for job in list(ledger.newest()):
            then = {
                name: value - seconds
                for name, value in job._asdict().items()
                if name.endswith("_at") and value
            }
            ledger.record(job._replace(**then))

    def statuses(self) -> set[str]:
        """Return the statuses of all jobs, as the ledger has them."""
        listed = self("list", "--all", "--json")
        return {job["status"] for job in json.loads(listed.out)}


@pytest.fixture(name="user")
def _user(place: tuple[Place, str], tmp_path: Path) -> User:
    user = User(tmp_path, place[1])
    user.submitted()
    return user


def test_the_wrong_key(place: tuple[Place, str], user: User, figure: Figure) -> None:
    """Under another project's key live jobs are lost, and paid for again."""
    for command in ("sync", "status --all", "wait --all", "get @last", "watch @last"):
        ran = user(*command.split(), key=THEIRS)
        assert 4 == ran.code, (command, ran)
        assert "made with another key of env:BGRESP_API_KEY" in ran.err, command
        user.passes(seconds=900)
    assert {"in_progress", "queued"} >= user.statuses()
    ran = user("retry", "--failed", "--all", key=THEIRS)
    assert (0, "", JOBS) == (ran.code, ran.out, len(place[0].jobs)), ran
    place[0].is_over = True
    assert 0 == user("sync").code
    assert {"completed"} == user.statuses()
    figure(f"404 under another key: 5 commands, {JOBS} jobs: 0 lost, 0 paid for again")


def test_the_dead_replica(place: tuple[Place, str], user: User, figure: Figure) -> None:
    """A 404 every second time loses a job, in one pass or over many."""
    place[0].mode = "replica"
    for _ in range(2):
        assert 0 == user("sync").code
        assert {"in_progress", "queued"} >= user.statuses()
        user.passes(seconds=900)
    assert 8 == user("wait", "--all", "--timeout", "40").code
    place[0].is_over = True
    assert 0 == user("wait", "--all").code
    assert {"completed"} == user.statuses()
    figure(f"404 every second time: 2 passes and 2 waits, {JOBS} jobs: 0 lost")


def test_the_gateway_that_was_deployed_anew(
    place: tuple[Place, str], user: User, figure: Figure
) -> None:
    """A gateway that knows no job for a while costs them all."""
    place[0].mode = "anew"
    for _ in range(3):
        ran = user("sync")
        assert (0, "") == (ran.code, ran.out)
        assert f"{JOBS} jobs are not found at" in ran.err
        assert "another key, project or base URL?" in ran.err
        assert {"in_progress", "queued"} >= user.statuses()
        user.passes(seconds=190)
    user.passes(seconds=3600)
    assert JOBS == user("sync").out.count("lost\n")
    place[0].mode, place[0].is_over = "", True
    assert (0, "") == (user("sync").code, user("retry", "--failed", "--all").out)
    assert {"lost"} == user.statuses()
    user.passes(seconds=3600)
    assert JOBS == user("sync").out.count("lost\tcompleted")
    assert {"completed"} == user.statuses()
    assert JOBS == len(place[0].jobs)
    figure(f"404 for all {JOBS} jobs: none lost in 10 min, all back after an hour")
