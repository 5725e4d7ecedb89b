"""The topic troubleshooting: each message is one that is printed, each command runs.

A row of its tables is a message, why it comes, and what to type. Here each message is
brought about, and what the row has one type is typed then.
"""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import pytest

from bgresp.cli.commands.help_ import rows
from tests.cli.ledger import ident, seed
from tests.command import Ran, Run
from tests.fakeanswers import NoReply, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import Json, response_of
from tests.pages import page

TABLES: Final = re.findall(
    r"(?:^\|.*\n)+", page("troubleshooting").read_text("utf-8"), re.MULTILINE
)
ROWS: Final = [row for table in TABLES for row in rows(table)[1:]]
# What a shell in which nothing is configured has of the tests' endpoint.
UNCONFIGURED: Final[dict[str, str | None]] = {
    "BGRESP_BASE_URL": None,
    "BGRESP_API_KEY": None,
}
CODE: Final = re.compile(r"`([^`]+)`")
# What is not run: it is another program's, or would go on for ever.
NOT_RUN: Final = ("bgresp submit --stream FILE",)


@dataclass(slots=True)
class Scene:
    """A command, an endpoint and a ledger, in which something goes wrong."""

    run: Run
    server: FakeServer
    state: Path
    folder: Path
    env: dict[str, str | None] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)

    def go(self, *args: str, **env: str | None) -> Ran:
        return self.run(*args, env={**self.env, **env})

    def work(self) -> None:
        """Have a profile `work`, which leads to the fake server."""
        self.env = {**UNCONFIGURED, "WORK_KEY": "k"}
        url = self.server.base_url
        made = self.go("config", "add", "work", "--base-url", url, "-m", "m",
                       "--api-key-env", "WORK_KEY")  # fmt: skip
        assert 0 == made.code, made.err

    def submitted(self, *, keep: Json | None = None) -> None:
        """Have a job, which ended at once where its response is given."""
        if keep is not None:
            self.server.script("create", as_json(keep))
        self.words["REF"] = self.go("submit", "-t", "x", "-m", "m").out.strip()


def no_endpoint(scene: Scene) -> Ran:
    scene.env = UNCONFIGURED
    return scene.go("submit", "-t", "x")


def unchosen(scene: Scene) -> Ran:
    scene.work()
    return scene.go("submit", "-t", "x")


def keyless(scene: Scene) -> Ran:
    scene.env = UNCONFIGURED
    there = "https://llm.example.com/v1"
    assert 0 == scene.go("config", "add", "work", "--base-url", there, "-m", "m").code
    return scene.go("submit", "-t", "x", "-p", "work")


def not_set(scene: Scene) -> Ran:
    scene.work()
    return scene.go("submit", "-t", "x", "-p", "work", WORK_KEY=None)


def bad_key(scene: Scene) -> Ran:
    scene.work()
    scene.server.script("create", refusal(401, "Incorrect API key provided."))
    return scene.go("submit", "-t", "x", "-p", "work")


def nobody_there(scene: Scene) -> Ran:
    scene.work()
    nowhere = "http://127.0.0.1:9/v1"
    return scene.go("submit", "-t", "x", "-p", "work", "--base-url", nowhere)


def busy(scene: Scene) -> Ran:
    scene.server.script("create", refusal(429, "Slow down."))
    return scene.go("submit", "-t", "x", "-m", "m")


def bare_http(scene: Scene) -> Ran:
    scene.work()
    there = "http://llm.example.com/v1"
    return scene.go("submit", "-t", "x", "-p", "work", "--base-url", there)


def no_model(scene: Scene) -> Ran:
    scene.work()
    scene.server.script("create", refusal(404, "The model does not exist."))
    return scene.go("submit", "-t", "x", "-p", "work")


def lost_reply(scene: Scene) -> Ran:
    scene.server.script("create", NoReply())
    ran = scene.go("submit", "-t", "x", "-m", "m")
    scene.words["KEY"] = ran.err.split()[1].rstrip(":")
    return ran


def unknown_ref(scene: Scene) -> Ran:
    return scene.go("get", "nope")


def polled(scene: Scene) -> Ran:
    scene.submitted()
    return scene.go("watch", "@last")


def impatient(scene: Scene) -> Ran:
    scene.submitted()
    return scene.go("wait", "@last", "--timeout", "0.01")


def no_text(scene: Scene) -> Ran:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
    response = response_of("completed", response_id=ident(1))
    scene.submitted(keep={**response, "output": [call]})
    return scene.go("get", "@last")


def cut_short(scene: Scene) -> Ran:
    why = {"incomplete_details": {"reason": "max_output_tokens"}}
    scene.submitted(keep={**response_of("incomplete", response_id=ident(9)), **why})
    return scene.go("get", "@last")


def gone(scene: Scene) -> Ran:
    seed(scene.state, {"status": "lost"}, server=scene.server)
    scene.words["REF"] = ident(1)
    return scene.go("get", ident(1))


def from_elsewhere(scene: Scene) -> Ran:
    scene.work()
    there = "https://elsewhere.example/v1"
    told = {"base_url": there, "key_source": "env:WORK_KEY", "profile": "work"}
    seed(scene.state, told)
    scene.words["BASE_URL"] = there
    return scene.go("status", ident(1))


def bare_word(scene: Scene) -> Ran:
    return scene.go("submit", "Why", "-m", "m")


def in_the_way(scene: Scene) -> Ran:
    (scene.folder / "answer.md").write_text("mine")
    return scene.go("submit", "prompt.txt", "-m", "m", "-o", "answer.md")


def no_ids(scene: Scene) -> Ran:
    (scene.folder / "people.csv").write_text("name\nAda\n")
    return scene.go("batch", "people.csv", "--prompt", "For {{name}}", "-m", "m")


def changed_row(scene: Scene) -> Ran:
    for text in ("x", "y"):
        (scene.folder / "m.jsonl").write_text(json.dumps({"id": "a", "text": text}))
        ran = scene.go("batch", "m.jsonl", "-m", "m")
    return ran


def wide_text(scene: Scene) -> Ran:
    (scene.folder / "u.csv").write_text("id\na\n", encoding="utf-16")
    return scene.go("batch", "u.csv", "--prompt", "x", "-m", "m")


def not_installed(scene: Scene) -> Ran:
    argv = [str(shutil.which("bash")), "--norc", "-c", "bgresp submit"]
    env = {"PATH": str(scene.folder), "LC_ALL": "C"}
    done = subprocess.run(argv, capture_output=True, check=False, env=env)
    return Ran(done.returncode, done.stdout, done.stderr)


def damaged(scene: Scene) -> Ran:
    scene.submitted()
    with (scene.state / "ledger.jsonl").open("a") as file:
        file.write('{"damaged\n')
    return scene.go("submit", "-t", "x", "-m", "m", "--key", "nightly")


def put_back(scene: Scene) -> Ran:
    scene.submitted()
    old = (scene.state / "ledger.jsonl").read_bytes()
    scene.submitted(keep=response_of("completed", response_id=ident(9)))
    (scene.state / "ledger.jsonl").write_bytes(old)
    return scene.go("submit", "-t", "x", "-m", "m", "--key", "nightly")


SCENES: Final[dict[str, Callable[[Scene], Ran]]] = {
    "no endpoint is configured": no_endpoint,
    "no profile is chosen": unchosen,
    "nothing says where the key for": keyless,
    "is not set": not_set,
    "refused: Incorrect API key": bad_key,
    "could not connect to": nobody_there,
    "trying again in": busy,
    "a key is never sent over http://": bare_http,
    "The model does not exist": no_model,
    "it may have been accepted": lost_reply,
    "no job 'nope'": unknown_ref,
    "polling: not created streamable": polled,
    "is still": impatient,
    "completed without text": no_text,
    "incomplete (max_output_tokens)": cut_short,
    "the endpoint no longer has it": gone,
    "nothing here lets it go to": from_elsewhere,
    "a prompt on the command line needs -t": bare_word,
    "exists already": in_the_way,
    "no column 'id'": no_ids,
    "was submitted with another request": changed_row,
    "UTF-16, not UTF-8": wide_text,
    "bgresp: command not found": not_installed,
    "cannot be read": damaged,
    "is older than its folder": put_back,
}
# Brought about elsewhere: another user's folder needs root, a missing extra a fresh venv.
ELSEWHERE: Final = {"belongs to another user", "needs the extra 'local'"}
# Where a command of a row is itself refused, as the row says it may be.
ENDS: Final = {
    "bgresp resolve KEY": {7},  # it names what there is to choose
    "bgresp get REF": {10},  # as the job ended
}


@pytest.fixture
def scene(hasty: Run, server: FakeServer, state: Path, tmp_path: Path) -> Scene:
    (tmp_path / "prompt.txt").write_text("Why is the sky blue?\n")
    words = {"FILE": "prompt.txt", "NAME": "work"}
    return Scene(hasty, server, state, tmp_path, words=words)


def test_every_row_is_tried() -> None:
    """A row of the topic has a message that nothing brings about here."""
    assert {*SCENES, *ELSEWHERE} == {CODE.findall(row[0])[0] for row in ROWS}
    assert {3} == {len(row) for row in ROWS}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0].strip("`"))
def test_what_a_row_says_is_so(row: list[str], scene: Scene) -> None:
    """A message of the topic is printed otherwise, or a command of its row fails."""
    (message,) = CODE.findall(row[0])
    if message in ELSEWHERE:
        return
    ran = SCENES[message](scene)
    assert message in ran.err, ran.err
    assert 0 != ran.code or message in {
        "trying again in",
        "polling: not created streamable",
    }
    for told in re.findall(r"exit (\d+)", row[1]):
        assert int(told) == ran.code
    for command in CODE.findall(row[2]):
        if command.startswith("bgresp ") and command not in NOT_RUN:
            if "models" in command:
                scene.server.script("other", as_json({"data": [{"id": "m"}]}))
            words = [scene.words.get(word, word) for word in shlex.split(command)[1:]]
            done = scene.go(*words)
            assert done.code in ENDS.get(command, {0}), (command, done.err)
