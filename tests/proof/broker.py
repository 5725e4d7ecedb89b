"""A real broker and real workers for the proofs of bgresp.celery.

Nothing of Celery or Redis is imported before it is asked for: `missing` says what the
machine lacks. `celery -A tests.proof.broker` finds the workers' `app` here.
"""

import gc
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

from tests.command import ROOT, environment

if TYPE_CHECKING:
    from celery import Celery

    from bgresp.celery.tasks import Tasks

DEADLINE: Final = 60.0
VISIBILITY: Final = 2
POST_TIMEOUT: Final = 2.0
_QUICK: Final = ("--without-mingle", "--without-gossip", "--without-heartbeat")


def missing() -> str:
    """Return what is not installed here; nothing where all is."""
    packages = [name for name in ("celery", "redis") if not _has(name)]
    tools = [name for name in ("redis-server",) if shutil.which(name) is None]
    return ", ".join([*packages, *tools])


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def tasks_of(url: str) -> "Tasks":
    """Return the tasks of an app whose messages come again after two seconds."""
    from celery import Celery

    from bgresp.celery import install

    made = Celery("proofs", set_as_current=False)
    made.conf.update(
        broker_url=url,
        result_backend=url,
        broker_connection_retry_on_startup=True,
        worker_prefetch_multiplier=1,
        broker_transport_options={
            "visibility_timeout": VISIBILITY,
            "unacked_mutex_expire": 1,
            "unacked_restore_interval": 1,
            "unacked_restore_throttle": 1,
        },
        bgresp_post_timeout=POST_TIMEOUT,
    )
    return install(made)


def __getattr__(name: str) -> "Celery":
    """Make the workers' app when Celery asks for it."""
    if name != "app":
        raise AttributeError(name)
    return tasks_of(os.environ["BGRESP_BROKER_URL"]).app


@contextmanager
def redis_server(folder: Path, *options: str) -> Iterator[str]:
    """Run a Redis on a free port that keeps every write in a file; lend its URL."""
    with redis_process(folder, *options) as (url, _):
        yield url


@contextmanager
def redis_process(
    folder: Path, *options: str
) -> "Iterator[tuple[str, subprocess.Popen[bytes]]]":
    """Run a Redis as `redis_server` does; lend its URL, and the process to kill."""
    with ExitStack() as stack:
        log = stack.enter_context((folder / "redis.log").open("wb"))
        for _ in range(5):
            with socket.create_server(("127.0.0.1", 0)) as free:
                port = free.getsockname()[1]
            where = ("--bind", "127.0.0.1", "--port", str(port), "--dir", str(folder))
            how = ("--save", "", "--appendonly", "yes", *options)
            process = subprocess.Popen(
                ["redis-server", *where, *how], stdout=log, stderr=log
            )
            stack.callback(_stopped, process)
            stack.callback(gc.collect)  # results that go unsubscribe: while it answers
            if _answers(process, port):
                yield f"redis://127.0.0.1:{port}/0", process
                return
        raise AssertionError((folder / "redis.log").read_text("utf-8", "replace"))


def _stopped(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    process.wait(DEADLINE)


def _answers(process: "subprocess.Popen[bytes]", port: int) -> bool:
    deadline = time.monotonic() + DEADLINE
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with socket.create_connection(("127.0.0.1", port), 1.0) as asked:
                asked.sendall(b"PING\r\n")
                if asked.recv(16).startswith(b"+PONG"):
                    return process.poll() is None
        except OSError:
            time.sleep(0.02)
    return False


@dataclass(slots=True)
class Worker:
    """A `celery worker` in a process group of its own."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @classmethod
    def start(
        cls, env: Mapping[str, str], folder: Path, *options: str, app: str = ""
    ) -> Self:
        """Start one and wait until it takes tasks."""
        log = folder / f"worker-{time.monotonic_ns()}.log"
        argv = [sys.executable, "-m", "celery", "-A", app or "tests.proof.broker"]
        argv += ["worker", "-l", "INFO", *_QUICK, *(options or ("-P", "solo"))]
        with log.open("wb") as out:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
                env=environment(env),
                start_new_session=True,
            )
        worker = cls(process, log)
        worker.wait_for(" ready.")
        return worker

    def wait_for(self, words: str) -> None:
        """Wait until it logs them; else end it, and fail with all it said."""
        deadline = time.monotonic() + DEADLINE
        while words not in self.said:
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise AssertionError(self.said)
            time.sleep(0.02)

    @property
    def said(self) -> str:
        """Return what it logged so far."""
        return self.log.read_text("utf-8", "replace")

    def kill(self) -> None:
        """Kill -9 it and its children."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(DEADLINE)

    def __enter__(self) -> Self:
        """Be used for as long as the worker is to live."""
        return self

    def __exit__(self, *exc: object) -> None:
        """End it."""
        self.kill()


def outcome(result: Any, timeout: float = DEADLINE) -> Any:
    """Return a result, or the exception it ended with."""
    try:
        return result.get(timeout=timeout, disable_sync_subtasks=False)
    except Exception as error:  # noqa: BLE001  a test looks at it
        return error
