"""A ledger from elsewhere: it picks no secret, runs no program, and sends no key."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ledger import ident, last, note, seed
from tests.command import Run
from tests.fakeserver import FakeServer

SECRET = "sk-somebody-elses-0123"  # noqa: S105
VERBS = ("status", "watch", "wait", "get", "cancel", "retry", "sync", "list --refresh")


@pytest.fixture
def thief() -> Iterator[FakeServer]:
    """Run the endpoint of who wrote the ledger; nobody may ask it."""
    with FakeServer() as running:
        yield running
        assert () == running.requests


def foreign(thief: FakeServer, tmp_path: Path) -> list[dict[str, Any]]:
    """Return records that would send a secret, or run a program."""
    file = tmp_path / "id_rsa"
    file.write_text(SECRET)
    file.chmod(0o600)
    ran = f"touch {tmp_path / 'ran'}; echo {SECRET}"
    odd = {
        "extends": "openai",
        "base_url": thief.base_url,
        "auth": {
            "header": "Authorization",
            "value": "{key}",
            "env": "NOT_SET",
            "command": ["sh", "-c", ran],
        },
    }
    own = {"dialect": "odd", "dialects": {"odd": odd}, "key_source": "cmd:dialect"}
    there = {"base_url": thief.base_url}
    home = {"profile_url": "https://api.openai.com/v1"}
    return [
        {**there, "key_source": "env:AWS_SECRET_ACCESS_KEY"},
        {**there, "key_source": "env:BGRESP_API_KEY"},
        {**there, "key_source": "env:OPENAI_API_KEY", **home},
        {**there, "key_source": f"file:{file}"},
        {**there, "key_source": "none"},
        {**there, "key_source": "cmd", "profile": "work", **home},
        {**there, **own},
        {**there, **own, "profile": "odd"},
        {**there, "key_source": "", "profile": "work"},
        {**there, "profile": "work", "profile_url": "https://work.example/v1"},
    ]


@pytest.mark.parametrize("verb", VERBS)
def test_a_ledger_picks_no_secret(
    bgresp: Run, thief: FakeServer, state: Path, tmp_path: Path, verb: str
) -> None:
    """A line of the ledger sends a key to its own base URL, or runs its program."""
    config = tmp_path / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(
        '[profiles.work]\nbase_url = "https://work.example/v1"\n'
        f'api_key_cmd = ["echo", "{SECRET}"]\n[profiles.work.headers]\n'
        f'X-Gate = "{SECRET}"\n'
    )
    status = "failed" if verb == "retry" else "queued"
    jobs = [{**job, "status": status} for job in foreign(thief, tmp_path)]
    seed(state, *jobs)
    for path in (state / "ledger.jsonl").read_text().splitlines():
        request = state / "requests" / f"{json.loads(path)['key']}.json"
        request.write_text('{"model": "m", "input": "x"}')
    secrets = dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY"), SECRET)
    every = [] if verb in {"sync", "list --refresh"} else ["--all"]
    ran = bgresp(*verb.split(), *every, env=secrets)
    assert 4 == ran.code or verb == "get", ran
    assert "bgresp config trust http" in ran.err
    assert not (tmp_path / "ran").exists()
    assert SECRET not in ran.out + ran.err
    assert () == thief.requests


def test_a_job_names_how_its_key_is_allowed(
    hasty: Run, server: FakeServer, state: Path
) -> None:
    """The command that the refusal names does not allow it."""
    seed(state, {"key_source": "env:ELSEWHERE"}, server=server)
    env: dict[str, str | None] = {"BGRESP_BASE_URL": None}
    ran = hasty("status", "@1", env=env)
    assert (4, ()) == (ran.code, server.requests)
    command = f"bgresp config trust {server.base_url} -p openai"
    assert command in ran.err
    assert 0 == hasty(*command.split()[1:], env=env).code
    ran = hasty("cancel", "@1", env=env)
    assert 1 == server.cancels(ident(1)), ran
    header = server.asked("cancel", ident(1))[0].headers["authorization"]
    assert "Bearer k" == header


def test_a_submit_notes_where_its_key_may_go(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """A job that flags or the environment sent somewhere is not asked about later."""
    assert 0 == bgresp("submit", "-t", "x").code
    file = tmp_path / "config" / "endpoints.jsonl"
    noted = [json.loads(line) for line in file.read_text().splitlines()]
    assert [(server.base_url, "env:BGRESP_API_KEY", "openai")] == [
        (pair["base_url"], pair["key_source"], pair["profile"]) for pair in noted
    ]
    assert 0o600 == file.stat().st_mode & 0o777
    assert "sk-" not in file.read_text()
    env: dict[str, str | None] = {"BGRESP_BASE_URL": "http://127.0.0.1:9/v1"}
    assert 0 == bgresp("status", "@1", env=env).code
    assert 0 == bgresp("submit", "-t", "y").code
    assert 1 == len(file.read_text().splitlines())
    file.unlink()
    assert 4 == bgresp("status", "@1", env=env).code
    assert 0 == bgresp("status", "@1").code  # this call joins them
    assert not (state / "endpoints.jsonl").exists()
    assert last(state)["base_url"] == server.base_url


def test_a_submit_that_cannot_be_noted_is_sent_and_said(
    bgresp: Run, server: FakeServer, tmp_path: Path
) -> None:
    """A folder that cannot be written costs a job, or is kept silent."""
    (tmp_path / "config" / "endpoints.jsonl").mkdir()
    ran = bgresp("submit", "-t", "x")
    assert (0, 1) == (ran.code, len(server.creates)), ran
    assert "give the same flags and variables to later commands" in ran.err
    ran = bgresp("status", "@1")  # as this call does
    assert 0 == ran.code
    ran = bgresp("status", "@1", env={"BGRESP_BASE_URL": "http://127.0.0.1:9/v1"})
    assert 4 == ran.code
    assert "endpoints.jsonl: Is a directory" in ran.err


def test_headers_go_to_no_base_url_of_the_ledger_s(
    bgresp: Run, thief: FakeServer, state: Path
) -> None:
    """-H, perhaps a secret, goes to an endpoint that only the ledger names."""
    seed(state, {"base_url": thief.base_url, "key_source": "none"})
    assert 4 == bgresp("status", "@1", "-H", f"X-Gate: {SECRET}").code


def test_a_hint_is_no_command_of_the_ledger_s(bgresp: Run, state: Path) -> None:
    """A base URL of the ledger's is a command where the hint is pasted."""
    seed(state, {"base_url": "https://a.example/$(reboot);ls"})
    ran = bgresp("status", "@1")
    assert 4 == ran.code
    assert "bgresp config trust 'https://a.example/$(reboot);ls'" in ran.err
    odds: list[Any] = ["https://a.example/\n", "javascript:x", "https://u:p@a.example"]
    for odd in [*odds, 5, {}]:
        note(state, "https://a.example")
        (state / "ledger.jsonl").unlink()
        seed(state, {"base_url": odd})
        ran = bgresp("status", "@1")
        assert ran.code in {0, 4}, ran  # 0: known as a job in doubt, nobody is asked
        assert "config trust" not in ran.err
        assert "internal error" not in ran.err
