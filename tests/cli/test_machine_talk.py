"""stderr for a machine: JSON Lines alone; and our own bugs, told in one line."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.killed import died
from tests.cli.ledger import ident, seed
from tests.command import ROOT, Ran, Run, empty_config
from tests.fakeanswers import refusal
from tests.fakeserver import FakeServer

NOTE, ERROR = "bgresp.note/1", "bgresp.error/1"
NOWHERE = {"BGRESP_BASE_URL": "http://127.0.0.1:1/v1"}


def told(ran: Ran) -> list[dict[str, Any]]:
    """Return the lines of stderr, each of which is JSON and says what it is."""
    lines = [json.loads(line) for line in ran.err.splitlines()]
    assert all(line["message"] and line["schema"] in {NOTE, ERROR} for line in lines)
    return lines


def test_what_is_said_before_an_error(hasty: Run) -> None:
    """A submit that tries again says so in JSON, and the error is the last line."""
    for form in ("--json", "--jsonl"):
        ran = hasty("submit", "-t", "x", form, env=NOWHERE)
        *notes, error = told(ran)
        assert (6, "") == (ran.code, ran.out)
        assert {NOTE} == {note["schema"] for note in notes}
        assert "trying again in" in notes[0]["message"]
        assert (ERROR, 6) == (error["schema"], error["code"])


COMMANDS = (
    ["status", "@1"],
    ["get", "@1"],
    ["cancel", "@1"],
    ["watch", "@1", "--timeout", "0.2"],
    ["wait", "@1", "--timeout", "0.2"],
    ["list", "--refresh"],
    ["list", "--group", "nigth"],
    ["watch", "--group", "nigth"],
    ["sync"],
    ["retry", "--failed", "--all"],
    ["forget", "@1"],
    ["prune", "--older", "1d", "--all"],
    ["submit", "-t", "x", "--dry-run"],
    ["batch", "m.jsonl", "-m", "m"],
    ["config", "add", "w", "--api-key-env", "UNSET", "--var", "a=b"],
    ["config", "show", "-p", "nobody"],
    ["import", "resp_1", "resp_2"],
    ["resolve", "resp_nobody"],
    ["serve", "--stop"],
    ["nothing"],
)


@pytest.mark.parametrize("form", ["--json", "--jsonl"])
def test_every_line_is_json(
    hasty: Run, server: FakeServer, state: Path, tmp_path: Path, form: str
) -> None:
    """No command writes a plain line to stderr where JSON was asked for."""
    seed(state, {"group": "night"}, {"status": "in_progress"}, server=server)
    died(server, state, accepted=False)
    with (state / "ledger.jsonl").open("a") as file:
        file.write("not json\n")
    (tmp_path / "m.jsonl").write_text('{"id": 1, "text": "x"}\n')
    said = 0
    for command in COMMANDS:
        said += len(told(hasty(*command, form, env=NOWHERE)))
    assert said > len(COMMANDS)


HIDDEN = "sk-hidden-0123456789"


@pytest.fixture
def broken(tmp_path: Path) -> dict[str, str | None]:
    """Return variables under which a library that bgresp needs has a bug."""
    folder = tmp_path / "broken"
    folder.mkdir()
    text = f'raise RuntimeError("it broke\\n\\x1b[31m {HIDDEN}")\n'
    (folder / "tomllib.py").write_text(text)
    config = Path(empty_config(tmp_path / "config" / "config.toml"))
    config.write_text("# of an empty one nothing is parsed\n")
    path = os.pathsep.join([str(folder), str(ROOT)])
    return {"PYTHONPATH": path, "BGRESP_API_KEY": HIDDEN}


def test_a_bug_is_one_line(run: Run, broken: dict[str, str | None]) -> None:
    """What nobody expected is exit 1 and a line, without control or secret."""
    ran = run("config", "show", env=broken)
    said = (
        "internal error: RuntimeError: it broke \\u{1b}[31m [secret] (config/files.py"
    )
    assert (1, "") == (ran.code, ran.out)
    assert ran.err.startswith(f"bgresp: {said}:")
    assert ran.err.endswith(") (-v shows the traceback)\n")
    assert 1 == ran.err.count("\n")
    ran = run("config", "show", "--json", env=broken)
    (error,) = told(ran)
    assert (1, "", True) == (ran.code, ran.out, error["message"].startswith(said))
    assert ("internal", 1) == (error["kind"], error["code"])


def test_v_shows_where_it_was(run: Run, broken: dict[str, str | None]) -> None:
    """-v adds the traceback, from which secrets are taken out too."""
    ran = run("config", "show", "-v", env=broken)
    assert (1, "") == (ran.code, ran.out)
    assert "Traceback (most recent call last)" in ran.err
    assert "tomllib.py" in ran.err
    assert HIDDEN not in ran.err
    assert "\x1b" not in ran.err
    assert ran.err.splitlines()[-1].startswith("bgresp: internal error: RuntimeError")
    note, error = told(run("config", "show", "-v", "--json", env=broken))
    assert (NOTE, ERROR) == (note["schema"], error["schema"])
    assert "Traceback" in note["message"]


def test_an_endpoint_is_quoted_safely(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """What a server says is escaped in a note as everywhere."""
    seed(state, {}, server=server)
    server.script("get", refusal(400, "No\x1b[2J."))
    (note,) = told(bgresp("status", ident(1), "--json"))
    assert "\\u{1b}[2J" in note["message"]
