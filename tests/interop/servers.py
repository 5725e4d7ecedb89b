"""Servers that others wrote, as processes on 127.0.0.1: found, started, stopped.

They live in `.venv-interop` (or where BGRESP_INTEROP says), which `.ci/run` makes.
"""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.error import HTTPError, URLError
from urllib.request import ProxyHandler, build_opener

from tests.command import ROOT

KEY: Final = "sk-interop-0123456789"
START: Final = 240.0
OWN: Final = Path(os.environ.get("BGRESP_INTEROP", ROOT / ".venv-interop"))
_LITELLM: Final = """
model_list:
  - model_name: fake
    litellm_params:
      model: openai/fake
      api_base: {upstream}
      api_key: none
      use_chat_completions_api: true
litellm_settings:
  cache: true
  cache_params: {{type: redis, host: 127.0.0.1, port: {redis}}}
  num_retries: 0
  responses: {{background_mode: {{polling_via_cache: all, ttl: 3600}}}}
general_settings:
  master_key: {key}
"""
_AGENT: Final = """
from pydantic_ai import Agent
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

provider = OpenAIProvider(base_url={upstream!r}, api_key="none")
agent = Agent(OpenAIChatModel("fake", provider=provider), retries=0)
"""


def missing(*names: str) -> list[str]:
    """Return which programs are not installed."""
    return [name for name in names if _found(name) is None]


def program(name: str) -> str:
    """Return the path of a program that is not missing."""
    path = _found(name)
    if path is None:
        raise FileNotFoundError(name)
    return path


def _found(name: str) -> str | None:
    return shutil.which(name, path=str(OWN / "bin")) or shutil.which(name)


@contextmanager
def redis(folder: Path) -> Iterator[int]:
    """Run redis-server without persistence; lend its port."""
    port = free_port()
    argv = [
        program("redis-server"),
        "--bind",
        "127.0.0.1",
        "--port",
        str(port),
        "--save",
        "",
    ]
    with _process(argv, folder, lambda: _listens(port)):
        yield port


@contextmanager
def litellm(folder: Path, upstream: str, redis_port: int) -> Iterator[str]:
    """Run a LiteLLM proxy whose background mode is polling via cache; lend its URL."""
    port = free_port()
    config = folder / "litellm.yaml"
    config.write_text(_LITELLM.format(upstream=upstream, redis=redis_port, key=KEY))
    where = ["--host", "127.0.0.1", "--port", str(port)]
    argv = [program("litellm"), "--config", str(config), *where]
    url = f"http://127.0.0.1:{port}"
    with _process(argv, folder, lambda: _answers(f"{url}/health/readiness")):
        yield f"{url}/v1"


@contextmanager
def fastresponses(
    folder: Path, upstream: str, port: int | None = None
) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Run fastresponses over an agent that asks the model; lend its URL and process.

    Responses are kept in the folder: another one may go on there, at the same port.
    """
    port = port or free_port()
    (folder / "agent.py").write_text(_AGENT.format(upstream=upstream))
    where = ["--host", "127.0.0.1", "--port", str(port), "--store", "kept.db"]
    argv = [program("fastresponses"), "serve", "agent.py:agent", *where]
    url = f"http://127.0.0.1:{port}/v1"
    key = {"OPEN_RESPONSES_API_KEY": KEY}
    ready = f"{url}/responses/none"
    with _process(argv, folder, lambda: _answers(ready), key) as process:
        yield url, process


@contextmanager
def _process(
    argv: Sequence[str],
    folder: Path,
    ready: Callable[[], bool],
    environ: Mapping[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program in a group of its own until the block ends; wait until it is ready.

    Its environment is made up here: no proxy, no home, nothing asked of the network.
    """
    made_up = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "PYTHONUNBUFFERED": "1",
        "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        **(environ or {}),
    }
    log = folder / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            argv,
            cwd=folder,
            env=made_up,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    try:
        _wait(process, ready, log)
        yield process
    finally:
        _stop(process)


def _wait(
    process: subprocess.Popen[bytes], ready: Callable[[], bool], log: Path
) -> None:
    deadline = time.monotonic() + START
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            said = log.read_text("utf-8", "replace")[-2000:]
            raise RuntimeError(f"{process.args!r} did not start: {said}")
        time.sleep(0.1)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Stop the whole group: a proxy has workers."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
            return


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def _answers(url: str) -> bool:
    """Say whether anything at all is answered: a 404 is an answer."""
    try:
        build_opener(ProxyHandler({})).open(url, timeout=5).close()
    except HTTPError:
        return True
    except (URLError, OSError):
        return False
    return True
