"""Profiles that say what runs their jobs: each has an endpoint, started by itself."""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.command import Ran, Run
from tests.serve.chatserver import chat_server, chunk, sse

Bgresp = Callable[..., Ran]

CONFIG = """
[profiles.night]
dialect = "local"
exec = ["/bin/sh", "-c", "echo night: $BGRESP_MODEL; tr a-z A-Z"]
model = "smol"
workers = 1

[profiles.env]
dialect = "local"
exec = ["env"]
env_pass = ["GIVEN_TOKEN"]

[profiles.chat]
dialect = "local"
upstream = "{upstream}"
upstream_key_env = "UP_KEY"

[profiles.work]
base_url = "https://work.example/v1"
api_key_env = "WORK"
"""


@pytest.fixture
def bgresp(bare: Run, state: Path, tmp_path: Path) -> Iterator[Bgresp]:
    """Run bgresp with the profiles; stop what they started."""
    path = tmp_path / "profiles.toml"
    path.write_text(CONFIG.replace("{upstream}", "http://127.0.0.1:9/v1"))

    def with_profiles(*args: str, **changes: Any) -> Ran:
        env = {"BGRESP_CONFIG": str(path), **changes.pop("env", {})}
        return bare(*args, env=env, **changes)

    yield with_profiles
    assert 0 == with_profiles("serve", "--stop").code


def test_a_program_is_the_model(bgresp: Bgresp, state: Path) -> None:
    """A submit starts the profile's endpoint; each verb finds it again by the job."""
    ran = bgresp("submit", "-t", "hello", "-p", "night", "--wait", "-o", "-")
    assert (0, "night: smol\nHELLO\n") == (ran.code, ran.out)
    assert "bgresp serve -p night --stop" in ran.err
    record = json.loads(bgresp("status", "@last", "--json").out)
    assert ("local:night", "night", "completed") == (
        record["base_url"],
        record["profile"],
        record["status"],
    )
    assert (state / "serve" / "profiles" / "night" / "endpoint.json").exists()
    plain = bgresp("submit", "-t", "x", "-p", "local", "--wait", "-o", "-")
    assert "demo engine" in plain.out
    assert 0 == bgresp("serve", "-p", "night", "--stop").code
    assert "no local endpoint" in bgresp("serve", "-p", "night", "--stop").err
    again = bgresp("get", record["id"], "--part", "raw")
    assert 0 == again.code


@pytest.mark.parametrize("verb", ["watch", "status", "cancel", "wait", "sync"])
def test_an_open_job_of_a_program_needs_no_profile(bgresp: Bgresp, verb: str) -> None:
    """Only with -p is an open job of a profile's own endpoint found again."""
    submitted = bgresp("submit", "-t", "hello", "-p", "night", "-q")
    assert 0 == submitted.code, submitted.err
    id_ = submitted.out.strip()
    ran = bgresp(verb, id_)
    assert 0 == ran.code, ran.err
    ended = bgresp("wait", id_).code
    assert ended in {0, 11 if verb == "cancel" else 0}
    assert "HELLO" in bgresp("get", id_).out or ended == 11


def test_a_program_gets_no_keys_of_ours(bgresp: Bgresp) -> None:
    """What a profile names as a key does not reach it, what it passes on does."""
    keys = {"WORK": "sk-1", "OPENAI_API_KEY": "sk-2", "GIVEN_TOKEN": "yes"}
    ran = bgresp(
        "submit", "-t", "x", "-p", "env", "--wait", "-o", "-", "-s", "Brief.", env=keys
    )
    names = {line.partition("=")[0] for line in ran.out.splitlines()}
    assert {"GIVEN_TOKEN", "BGRESP_INSTRUCTIONS", "PATH"} <= names
    assert not {"WORK", "OPENAI_API_KEY"} & names


def test_an_upstream_is_the_model(
    run: Run, bgresp: Bgresp, tmp_path: Path, state: Path
) -> None:
    """A profile's upstream is asked with the key that it names, and no other."""
    with chat_server() as server:
        (tmp_path / "profiles.toml").write_text(
            CONFIG.replace("{upstream}", server.base_url)
        )
        server.says("chat/completions", sse(chunk(content="Hi"), chunk("stop")))
        ran = bgresp("submit", "-t", "x", "-p", "chat", "--wait", "-o", "-")
        assert 4 == ran.code
        assert "no key for the upstream: UP_KEY is not set" in ran.err
        ran = bgresp(
            *("submit", "-t", "x", "-m", "m", "-p", "chat", "--wait", "-o", "-"),
            env={"UP_KEY": "sk-up"},
        )
        assert (0, "Hi\n") == (ran.code, ran.out)
        _, headers, body = server.requests[-1]
        assert ("Bearer sk-up", "m") == (headers["authorization"], body["model"])
    for file in state.rglob("*"):
        if file.is_file():
            assert b"sk-up" not in file.read_bytes()


def test_a_profile_that_changed_is_told(bgresp: Bgresp, tmp_path: Path) -> None:
    """A running endpoint keeps what it was started with, and that is said once."""
    assert 0 == bgresp("submit", "-t", "x", "-p", "night", "--wait").code
    config = tmp_path / "profiles.toml"
    config.write_text(config.read_text().replace("echo night", "echo day"))
    ran = bgresp("submit", "-t", "x", "-p", "night", "--wait", "-o", "-")
    assert (0, True) == (ran.code, ran.out.startswith("night:"))
    assert 1 == ran.err.count("runs as it was configured before")


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["-p", "work"], 2, "profile 'work' is served elsewhere"),
        (["-p", "night", "--exec", "x"], 2, "profile 'night' says what runs its jobs"),
        (["--exec", "a", "--upstream", "http://x"], 2, "one engine at a time"),
        (["--exec", "'"], 2, "--exec: No closing quotation"),
        (["--exec", ""], 2, "--exec"),
        (["--exec-json"], 2, "a whole request is for a program"),
        (["--upstream-api", "chat"], 2, "of no use without its URL"),
        (["--upstream", "x"], 2, "an upstream is a URL"),
        (["--upstream", "http://x", "--upstream-api", "soap"], 2, "responses, chat"),
        (["--upstream", "http://x", "--upstream-key-env", "NO"], 4, "NO is not set"),
        (["--workers", "0"], 2, "--workers takes 1 or more"),
        (["--host", "0.0.0.0"], 4, "needs a key"),  # noqa: S104
        (["--key-env", "NO"], 4, "NO has none"),
    ],
)
def test_what_serve_refuses(
    bgresp: Bgresp, args: list[str], code: int, said: str
) -> None:
    """What cannot be meant is one line, before anything listens."""
    ran = bgresp("serve", *args)
    assert (code, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran.err
    assert said in ran.err


def test_exec_on_the_command_line(bgresp: Bgresp, start: Any, tmp_path: Path) -> None:
    """`serve --exec` splits its words as a shell would, and runs no shell."""
    script = tmp_path / "model of mine.py"
    script.write_text("import sys; print(sys.argv[1:], sys.stdin.read())")
    command = f"{sys.executable} '{script}' 'a b' '$HOME'"
    serving = start(
        "serve", "--exec", command, "--key-env", "SERVE", env={"SERVE": "k"}
    )
    serving.until(b"\n", "err")
    ran = bgresp("submit", "-t", "x", "-p", "local", "--wait", "-o", "-")
    assert "['a b', '$HOME'] x\n" == ran.out
    assert 0 == bgresp("serve", "--stop").code
    assert 0 == serving.finish().code
