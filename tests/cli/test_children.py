"""Programs that bgresp runs see no key, but those that a profile passes on."""

import json
import os
import shlex
import sys
from pathlib import Path

import pytest

from bgresp.config.files import Config, load
from bgresp.core.errors import ConfigError
from tests.cli.ledger import seed
from tests.command import Changes, Run
from tests.fakeserver import FakeServer

TELLS = "import json, os; json.dump(sorted(os.environ), open({!r}, 'w'))"
CONFIG = """
[profiles.work]
api_key_env = "WORK"
[profiles.other]
api_key_env = "OTHER"
[profiles.open]
env_pass = ["OTHER", "VAULT_TOKEN"]
[dialects.mine]
auth = { env = "MINE_PLACE" }
"""
BY_NAME = {"WORK", "OTHER", "MINE_PLACE", "MKA1_API_KEY", "BGRESP_API_KEY"}
BY_PATTERN = {"SOME_API_KEY", "VAULT_TOKEN", "A_SECRET", "lower_api_key"}
HARMLESS = {"PATH", "SOME", "TOKENS", "KEYBOARD"}
SET: Changes = dict.fromkeys(BY_NAME | BY_PATTERN | HARMLESS - {"PATH"}, "sk-v")


@pytest.fixture(name="said")
def _said(tmp_path: Path) -> Path:
    (tmp_path / "config" / "config.toml").write_text(CONFIG)
    return tmp_path / "said"


def program(said: Path, rest: str = "") -> list[str]:
    """Return a program that writes the names of the variables it sees."""
    return [sys.executable, "-c", TELLS.format(str(said)) + rest]


def seen(said: Path) -> set[str]:
    """Return which of the variables that were set a program saw."""
    names = {*json.loads(said.read_text())}
    said.unlink()
    return names & (BY_NAME | BY_PATTERN | HARMLESS)


def test_a_hook_sees_no_key(bgresp: Run, state: Path, said: Path) -> None:
    """What is told of a job sees what the job's own profile passes on."""
    hook = shlex.join(program(said))
    for profile, passed in (("work", set()), ("open", {"OTHER", "VAULT_TOKEN"})):
        seed(state, {"status": "completed", "text": "x", "profile": profile})
        assert 0 == bgresp("wait", "--all", "--notify", hook, env=SET).code
        assert HARMLESS | passed == seen(said)


def test_an_editor_sees_no_key(bgresp: Run, said: Path) -> None:
    """`config edit` passes on what the profile in use does, and works when broken."""
    env = {**SET, "VISUAL": shlex.join(program(said))}
    assert 0 == bgresp("config", "edit", env=env).code
    assert HARMLESS == seen(said)
    assert 0 == bgresp("config", "edit", "-p", "open", env=env).code
    assert HARMLESS | {"OTHER", "VAULT_TOKEN"} == seen(said)
    (said.parent / "config" / "config.toml").write_text("[profiles")
    assert 4 == bgresp("config", "edit", env=env).code
    assert HARMLESS | {"WORK", "OTHER", "MINE_PLACE"} == seen(said)


@pytest.mark.parametrize(
    ("passing", "passed"), [("", set()), ('env_pass = ["OTHER"]', {"OTHER"})]
)
def test_a_program_for_a_key_sees_no_other_key(
    bgresp: Run, server: FakeServer, said: Path, passing: str, passed: set[str]
) -> None:
    """It keeps what it may need to find the key, and loses what names model keys."""
    command = json.dumps(program(said, "; print('sk-12345678')"))
    own = f"\n[profiles.asked]\napi_key_cmd = {command}\n{passing}\n"
    (said.parent / "config" / "config.toml").write_text(CONFIG + own)
    env = {**SET, "BGRESP_API_KEY": None}
    ran = bgresp("submit", "-t", "x", "-p", "asked", env=env)
    assert 0 == ran.code, ran.err
    wanted = HARMLESS | (BY_PATTERN - {"MKA1_API_KEY"}) | passed
    assert wanted == seen(said)
    assert 0 == bgresp("status", env=env).code  # of a job in the ledger, too
    assert wanted == seen(said)
    header = server.creates[0].headers["authorization"]
    assert "Bearer sk-12345678" == header


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="reads /proc")
def test_the_local_endpoint_sees_no_key(run: Run, state: Path, said: Path) -> None:
    """The detached endpoint outlives the command, and has nobody's key."""
    try:
        ran = run("submit", "-t", "x", "-p", "local", env=SET)
        assert 0 == ran.code, ran.err
        from bgresp.serve import daemon

        running = daemon.find(state)
        assert running is not None
        raw = Path(f"/proc/{running.pid}/environ").read_bytes().split(b"\0")
        names = {os.fsdecode(pair.partition(b"=")[0]) for pair in raw}
        assert HARMLESS == names & (BY_NAME | BY_PATTERN | HARMLESS)
    finally:
        run("serve", "--stop")


def test_what_is_passed_on_are_names(tmp_path: Path) -> None:
    """`env_pass` that is no list of texts is refused, and none is none."""
    path = tmp_path / "config.toml"
    path.write_text("[profiles.w]\nenv_pass = [1]\n")
    with pytest.raises(ConfigError, match="'env_pass' must be names of variables"):
        load(path)
    assert frozenset() == Config(path).env_pass("w")
