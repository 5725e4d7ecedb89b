"""Jobs that a program answers: its stdout, its end, and what it leaves behind."""

import asyncio
import json
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from bgresp.serve.engine_options import EngineOptions, is_key, without_keys
from bgresp.serve.engines import Command, Work
from tests.serve.endpoints import (
    Serve,
    Served,
    create,
    is_gone,
    poll,
    stream,
    wait_until,
)

ENVIRON = {"PATH": os.environ["PATH"]}


def python(serve: Serve, script: str, **options: Any) -> Served:
    """Serve with a Python script as the model."""
    argv = (sys.executable, "-c", script)
    return serve(engine=Command(argv, ENVIRON, **options))


def shell(serve: Serve, script: str, **options: Any) -> Served:
    return serve(engine=Command(("/bin/sh", "-c", script), ENVIRON, **options))


def ended(served: Served, prompt: str = "x", **fields: Any) -> Any:
    return poll(served.sdk(), create(served.sdk(), prompt, **fields).id)


def test_the_prompt_goes_in_and_the_answer_comes_out(serve: Serve) -> None:
    """The prompt is stdin, stdout the answer, byte for byte; usage is unknown."""
    done = ended(serve(engine=Command(("cat",), ENVIRON)), "Grüße,\n 世界 🌍\n\n")
    assert ("completed", "Grüße,\n 世界 🌍\n\n") == (done.status, done.output_text)
    assert done.usage is None


def test_instructions_are_a_variable(serve: Serve) -> None:
    """Instructions and model reach the program through its environment."""
    served = shell(serve, 'echo "$BGRESP_INSTRUCTIONS, $BGRESP_MODEL"; cat')
    done = ended(served, "x", instructions="Be $brief")
    assert "Be $brief, demo\nx" == done.output_text


def test_the_whole_request_as_json(serve: Serve) -> None:
    """With the whole request the program reads JSON with every item of the input."""
    served = serve(engine=Command(("cat",), ENVIRON, whole=True))
    first = ended(served, "one", temperature=0.5)
    asked = json.loads(first.output_text)
    assert (0.5, "one") == (
        asked["temperature"],
        asked["input"][0]["content"][0]["text"],
    )
    second = json.loads(ended(served, "two", previous_response_id=first.id).output_text)
    assert ["user", "assistant", "user"] == [i["role"] for i in second["input"]]


def test_a_conversation_is_told_with_its_roles(serve: Serve) -> None:
    """A program that reads text gets the turns before, each with who said it."""
    served = serve(engine=Command(("cat",), ENVIRON))
    first = ended(served, "one")
    second = ended(served, "two", previous_response_id=first.id)
    assert "User: one\n\nAssistant: one\n\nUser: two" == second.output_text


def test_output_streams_in_whole_characters(serve: Serve, tmp_path: Path) -> None:
    """A character that comes in two writes is one delta; half of one at the end is �."""
    seen = tmp_path / "seen"
    script = (
        "import os, sys, time\n"
        "for piece in (b'a', b'\\xc3', b'\\xa4', b'\\xf0\\x9f', b'\\x8c\\x8d', b'\\xe4\\xb8'):\n"
        "    sys.stdout.buffer.write(piece); sys.stdout.flush(); time.sleep(0.05)\n"
        f"    while not os.path.exists({str(seen)!r}): time.sleep(0.01)\n"
    )
    events, deltas = [], list[str]()
    for event in stream(python(serve, script).sdk(), "x"):
        events.append(event)
        if event.type == "response.output_text.delta":
            deltas.append(event.delta)
            seen.touch()
    assert "aä🌍\ufffd" == "".join(deltas) == events[-1].response.output_text
    assert set("".join(deltas[:-1])) <= set("aä🌍")
    assert len(deltas) > 1


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("echo half; echo 'no model' >&2; exit 3", "sh exited with 3: no model"),
        ("echo half; exit 1", "sh exited with 1"),
        ("echo half; kill -9 $$", "sh was ended by SIGKILL"),
    ],
)
def test_a_program_that_fails(serve: Serve, script: str, message: str) -> None:
    """An exit code is a failed job, with stderr's tail and the text there was."""
    done = ended(shell(serve, script))
    assert ("failed", "half\n") == (done.status, done.output_text)
    assert done.error is not None
    assert ("exec_failed", message) == (done.error.code, done.error.message)


def test_only_the_tail_of_stderr_is_told(serve: Serve) -> None:
    """However much a program complains, its end is what the error says."""
    done = ended(
        shell(serve, "yes 'no, no' | head -c 1000000 >&2; echo why >&2; exit 1")
    )
    assert done.error is not None
    assert done.error.message.endswith("why")
    assert len(done.error.message) < 600


def test_a_program_that_is_not_there(serve: Serve) -> None:
    """What cannot be run is told in one line."""
    done = ended(serve(engine=Command(("no-such-program",), ENVIRON)))
    assert done.error is not None
    message = "cannot run no-such-program: No such file or directory"
    assert message == done.error.message


def test_stdin_need_not_be_read(serve: Serve) -> None:
    """A program that ends without reading a long prompt has answered all the same."""
    done = ended(shell(serve, "echo hi"), "x" * 1_000_000)
    assert ("completed", "hi\n") == (done.status, done.output_text)


def test_silence_is_an_empty_answer(serve: Serve) -> None:
    """A program that writes nothing and ends with 0 has answered nothing."""
    done = ended(shell(serve, "true"))
    assert ("completed", "") == (done.status, done.output_text)


@pytest.mark.parametrize("trap", ["", "trap '' TERM; "], ids=["willing", "stubborn"])
def test_a_cancel_ends_the_whole_group(serve: Serve, tmp_path: Path, trap: str) -> None:
    """A cancel ends the program and its grandchildren, those that do not want to, too."""
    pids = tmp_path / "pids"
    inner = f"{trap}echo $$ >> {pids}; echo up; while :; do sleep 0.1; done"
    (tmp_path / "inner.sh").write_text(inner)
    served = shell(serve, f"sh {tmp_path}/inner.sh & {inner}", kill_after=0.2)
    sdk = served.sdk()
    job = create(sdk, "x")
    wait_until(lambda: pids.exists() and len(pids.read_text().split()) == 2)
    assert "cancelled" == sdk.responses.cancel(job.id).status
    for pid in map(int, pids.read_text().split()):
        wait_until(partial(is_gone, pid))


def test_a_cancel_during_the_start_ends_the_whole_group(tmp_path: Path) -> None:
    """A program that began before we came to know of it is ended with all it began."""
    pids = tmp_path / "pids"
    inner = f"echo $$ >> {pids}; while :; do sleep 0.1; done"
    (tmp_path / "inner.sh").write_text(inner)
    script = f"sh {tmp_path}/inner.sh & {inner}"
    engine = Command(("/bin/sh", "-c", script), ENVIRON, kill_after=0.2)

    def are_up() -> bool:
        return pids.exists() and len(pids.read_text().split()) == 2

    async def main() -> None:
        running = engine.run(Work("resp_1", {}, []))
        asking = asyncio.ensure_future(anext(running))
        for _ in range(100):  # turns of the loop, in one of which the program begins
            await asyncio.sleep(0)
            # Meanwhile the loop stands still: it hears of nothing.
            with suppress(AssertionError):
                wait_until(are_up, deadline=0.5)
                break
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    asyncio.run(main())
    for pid in map(int, pids.read_text().split()):
        wait_until(partial(is_gone, pid))


def test_what_a_program_leaves_behind_is_ended(serve: Serve, tmp_path: Path) -> None:
    """A grandchild that keeps stdout open does not hold the answer up."""
    pids = tmp_path / "pid"
    done = ended(shell(serve, f"sleep 1000 & echo $! > {pids}; echo hi"))
    assert ("completed", "hi\n") == (done.status, done.output_text)
    wait_until(partial(is_gone, int(pids.read_text())))


def test_a_program_gets_no_keys(serve: Serve) -> None:
    """A program's environment is ours less every key, but those that are passed on."""
    environ = {
        **ENVIRON,
        "OPENAI_API_KEY": "sk-1",
        "WORK": "sk-2",
        "GH_TOKEN": "t",
        "LLM_SECRET": "s",
        "NEEDED_API_KEY": "n",
        "EDITOR": "vi",
    }
    options = EngineOptions(command=("env",), env_pass=("NEEDED_API_KEY",))
    engine = options.build(environ, ["WORK"])
    names = {
        line.partition("=")[0]
        for line in ended(serve(engine=engine)).output_text.split("\n")
    }
    assert {"NEEDED_API_KEY", "EDITOR", "PATH"} <= names
    assert not names & {"OPENAI_API_KEY", "WORK", "GH_TOKEN", "LLM_SECRET"}


@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        *((name, True) for name in ("OPENAI_API_KEY", "X_TOKEN", "TOKEN", "A_SECRET")),
        *((name, True) for name in ("AWS_SECRET_ACCESS_KEY", "openai_api_key")),
        *((name, False) for name in ("KEYBOARD", "TOKENIZERS_PARALLELISM", "PATH")),
        *((name, False) for name in ("SECRETARY", "XDG_CONFIG_HOME", "SSH_AUTH_SOCK")),
    ],
)
def test_which_names_are_keys(name: str, is_one: bool) -> None:
    """A variable is taken for a key by its name's end, not by a word in it."""
    assert is_one is is_key(name)
    assert is_one is (name not in without_keys({name: "x"}))
