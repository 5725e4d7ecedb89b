"""What a job was made with stays with it, whatever is configured afterwards."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ledger import last
from tests.command import Run
from tests.fakeserver import FakeServer
from tests.fakewire import FOX

# What no request to the old endpoint may ever hold.
FOREIGN = "sk-other-endpoint-0123"
KEYS = {"BGRESP_API_KEY": None, "BGRESP_BASE_URL": None, "OLD_KEY": "sk-old-key-01234"}
DIALECT = """
[dialects.mine]
extends = "openai"
base_url = "{old}"
headers = {{ "X-On-Behalf-Of" = "{{var.end_user}}" }}
auth = {{ header = "X-Gate", value = "{{key}}", env = "OLD_KEY" }}
"""
PROFILE = """
[profiles.work]
dialect = "mine"
{key}
[profiles.work.vars]
end_user = "user-7"
[profiles.work.headers]
X-Team = "search"
"""
MOVED = """
default_profile = "new"
[profiles.work]
base_url = "{new}"
{key}
[profiles.work.vars]
end_user = "somebody-else"
[profiles.work.headers]
X-Team = "sk-other-endpoint-0123"
[profiles.new]
base_url = "{new}"
api_key_env = "NEW_KEY"
"""
ENV = {
    "NEW_KEY": FOREIGN,
    "OPENAI_API_KEY": FOREIGN,
    "MINE_KEY": FOREIGN,
    "OPENAI_ORG_ID": FOREIGN,
}
ELSEWHERE = {
    **ENV,
    "BGRESP_API_KEY": FOREIGN,
    "BGRESP_PROFILE": "new",
    "BGRESP_MODEL": "n",
}


@pytest.fixture
def other() -> Iterator[FakeServer]:
    """Run the endpoint that everything leads to later; nobody may ask it."""
    with FakeServer() as running:
        yield running
        assert () == running.requests


@pytest.fixture
def config(tmp_path: Path, server: FakeServer, other: FakeServer) -> Any:
    """Write a config.toml."""
    path = tmp_path / "config" / "config.toml"
    path.parent.mkdir(exist_ok=True)

    def write(*parts: str, key: str = "") -> None:
        text = "".join(parts).replace("{{", "{").replace("}}", "}")
        for name, value in (("old", server.base_url), ("new", other.base_url)):
            text = text.replace("{" + name + "}", value)
        path.write_text(text.replace("{key}\n", f"{key}\n", 1))

    return write


def made(bgresp: Run) -> None:
    ran = bgresp("submit", "-t", "hi", "-p", "work", env=KEYS)
    assert 0 == ran.code, ran.err


def asked(server: FakeServer, *, team: bool) -> None:
    """Check that every request had what the job was made with, and nothing else."""
    for seen in server.requests:
        assert FOREIGN not in json.dumps(seen.headers)
        assert "user-7" == seen.headers["x-on-behalf-of"]
        assert "sk-old-key-01234" == seen.headers["x-gate"]
        assert team or seen.operation == "create" or "x-team" not in seen.headers


@pytest.mark.parametrize("env", [ENV, ELSEWHERE], ids=["plain", "elsewhere"])
@pytest.mark.parametrize("kept", ["the same", "moved", "removed", "another dialect"])
@pytest.mark.parametrize("key", ["env", "file", "cmd"])
def test_a_job_goes_on_where_it_runs(
    bgresp: Run,
    server: FakeServer,
    other: FakeServer,
    state: Path,
    config: Any,
    tmp_path: Path,
    key: str,
    kept: str,
    env: dict[str, str],
) -> None:
    """No later change leads a job elsewhere, or another endpoint's key to it."""
    file = tmp_path / "key"
    file.write_text("sk-old-key-01234")
    file.chmod(0o600)
    sources = {
        "env": 'api_key_env = "OLD_KEY"',
        "file": f'api_key_file = "{file}"',
        "cmd": f'api_key_cmd = ["cat", "{file}"]',
    }
    config(DIALECT, PROFILE, key=sources[key])
    made(bgresp)
    foreign = f'api_key_cmd = ["echo", "{FOREIGN}"]'
    if kept == "moved":
        config(MOVED, DIALECT, key=foreign)
    elif kept == "removed":
        config(DIALECT)
    elif kept == "another dialect":
        config(DIALECT, PROFILE.replace('"mine"', '"openai"'), key=foreign)
    now = {**KEYS, **env}
    if key == "cmd" and kept != "the same":
        ran = bgresp("status", "@last", env=now)
        assert (4, 1) == (ran.code, len(server.requests))
        assert "came from profile 'work', which has none for it now" in ran.err
        return
    assert 0 == bgresp("status", "@last", env=now).code
    ran = bgresp("watch", "@last", env=now)
    assert (0, FOX + "\n") == (ran.code, ran.out), ran.err
    assert 0 == bgresp("cancel", "@last", env=now).code
    (state / "responses" / f"{last(state)['key']}.json").unlink()
    ran = bgresp("get", "@last", env=now)
    assert (0, FOX + "\n") == (ran.code, ran.out), ran.err
    assert 0 == bgresp("retry", "@last", env=now).code
    assert 0 == bgresp("cancel", "@last", env=now).code
    assert {"create", "get", "cancel"} <= {seen.operation for seen in server.requests}
    asked(server, team=kept == "the same")


def test_an_explicit_url_keeps_its_profile(
    bgresp: Run, server: FakeServer, config: Any
) -> None:
    """A job sent elsewhere by --base-url has its profile's key and headers later."""
    profile = PROFILE.replace('"mine"', '"mine"\nbase_url = "https://a.invalid/v1"')
    config(DIALECT, profile, key='api_key_cmd = ["echo", "sk-old-key-01234"]')
    args = ("-p", "work", "--base-url", server.base_url)
    assert 0 == bgresp("submit", "-t", "hi", *args, env=KEYS).code
    assert 0 == bgresp("cancel", "@last", env=KEYS).code
    assert all("search" == seen.headers["x-team"] for seen in server.requests)
    asked(server, team=True)


def test_mka1_is_asked_on_behalf_of_the_same_end_user(
    bgresp: Run, server: FakeServer, config: Any
) -> None:
    """Every later call of a job names the end user that it was made for."""
    profile = '[profiles.work]\ndialect = "mka1"\nbase_url = "{old}"\n{key}\n'
    variables = '[profiles.work.vars]\nend_user = "user-7"\n'
    config(profile, variables, key='api_key_env = "OLD_KEY"')
    made(bgresp)
    config(profile, variables.replace("user-7", "user-8"), key='api_key_env = "NEW"')
    for verb in ("status", "watch", "cancel", "get"):
        ran = bgresp(verb, "@last", env={**KEYS, "MKA1_API_KEY": FOREIGN})
        assert 0 == ran.code, ran.err
    asked = {s.operation for s in server.requests}
    assert {"create", "get"} <= asked
    for seen in server.requests:
        assert "user-7" == seen.headers["x-on-behalf-of"]
        assert "Bearer sk-old-key-01234" == seen.headers["authorization"]


MINE = """
[profiles.odd]
dialect = "mine"
base_url = "{url}"
[dialects.mine]
extends = "openai"
headers = {{ "X-Team" = "{{var.team}}", "X-Secret" = "hush" }}
[dialects.mine.states]
in_progress = ["in_progress", "cooking"]
"""


def test_a_dialect_of_ones_own_stays_with_its_jobs(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """A dialect that was renamed since leaves its jobs unheard of, and the others."""
    config = tmp_path / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(MINE.format(url=server.base_url))
    env: dict[str, str | None] = {"BGRESP_BASE_URL": None}
    assert 0 == bgresp("submit", "-t", "x", "-p", "odd", env=env).code
    assert 0 == bgresp("submit", "-t", "plain").code
    assert "hush" == server.creates[0].headers["x-secret"]
    config.write_text(MINE.format(url=server.base_url).replace("mine", "yours"))
    ran = bgresp("wait", "@1", "@2", env=env)
    assert (0, "") == (ran.code, ran.err)
    assert 0 == bgresp("get", "@2", env=env).code
    config.unlink()
    assert 0 == bgresp("get", "@2", env=env).code
    assert "hush" not in (state / "ledger.jsonl").read_text()
