"""endpoints.jsonl: whose word it is, what is noted, and what cannot be read."""

import os
from pathlib import Path

import pytest

from bgresp.config.files import DIALECTS, Config, stored_dialects
from bgresp.config.urls import (
    NOTED,
    Noted,
    Pair,
    dialect_chain,
    kept_tables,
    load_noted,
    note_endpoints,
    noted_path,
    with_tables,
)
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job

PAIR = Pair("https://a.example/v1", "env:K", "work", "https://w.example/v1")
DIGEST = "0" * 64
GATES = {"X-Team": "red", "X-Gate": "hunter2"}


def test_what_is_noted_is_read_again(tmp_path: Path) -> None:
    """A pair or a dialect is lost, noted twice, or seen by others."""
    path = noted_path(tmp_path / "config" / "config.toml")
    assert Noted() == load_noted(path)
    outright = Pair("https://b.example/v1", "cmd", "work", trusted=True)
    note_endpoints(path, [PAIR, DIGEST], load_noted(path))
    note_endpoints(path, [PAIR, DIGEST, outright], load_noted(path))
    assert Noted((PAIR, outright), frozenset({DIGEST})) == load_noted(path)
    assert 3 == len(path.read_text().splitlines())
    assert (0o600, 0o700) == (
        path.stat().st_mode & 0o777,
        path.parent.stat().st_mode & 0o777,
    )


@pytest.mark.parametrize(
    "line",
    [
        *("", "{", "[]", "5", "null", '"x"', "[" * 100_000, "\xff", "{}"),
        '{"base_url": 5, "key_source": "env:K", "profile": "p"}',
        '{"base_url": "https://a.example/v1", "key_source": "env:K"}',
        '{"dialect": 5}',
    ],
)
def test_a_line_that_cannot_be_read_says_nothing(tmp_path: Path, line: str) -> None:
    """A torn or odd line joins something, or costs the others."""
    path = tmp_path / NOTED
    note_endpoints(path, [PAIR], Noted())
    with path.open("a", encoding="latin-1") as file:
        file.write(line)
    note_endpoints(path, [DIGEST], load_noted(path))
    assert Noted((PAIR,), frozenset({DIGEST})) == load_noted(path)


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_what_others_may_write_joins_nothing(tmp_path: Path, mode: int) -> None:
    """A file that another user can have written says where a key goes."""
    path = tmp_path / NOTED
    note_endpoints(path, [PAIR], Noted())
    path.chmod(mode)
    with pytest.raises(ConfigError, match="others may write"):
        load_noted(path)
    with pytest.raises(ConfigError, match="others may write"):
        note_endpoints(path, [DIGEST], Noted())
    path.chmod(0o644)  # read by others: no harm, and made private when written
    assert (PAIR,) == load_noted(path).pairs
    note_endpoints(path, [DIGEST], load_noted(path))
    assert 0o600 == path.stat().st_mode & 0o777


@pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
def test_another_user_s_file_joins_nothing(tmp_path: Path) -> None:
    """A file of another user's says where a key goes."""
    path = tmp_path / NOTED
    note_endpoints(path, [PAIR], Noted())
    os.chown(path, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to another user"):
        load_noted(path)


def test_what_is_no_file_joins_nothing(tmp_path: Path) -> None:
    """A folder or a pipe in its place hangs a command, or is a bug of ours."""
    path = tmp_path / NOTED
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError, match="is not a regular file"):
        load_noted(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match=r"cannot read|is not a regular file"):
        load_noted(path)


def test_a_dialect_lends_no_secret_to_a_stranger_s_job() -> None:
    """What may be secret of a dialect goes to a job that it is not lent to."""
    mine = {
        "headers": {"X-Team": "sk-hunter2", "X-Key": "{key}"},
        "query": {"code": "hunter2"},
        "auth": {"header": "X-Key", "value": "{key}", "command": ["pass", "mine"]},
    }
    config = Config(Path("/c.toml"), None, {}, {}, {"mine": mine})
    lent = with_tables(config, {}, lent=frozenset({"mine"}))
    assert mine == lent.dialects["mine"]
    assert {
        "headers": {"X-Key": "{key}"},
        "query": {},
        "auth": {"header": "X-Key", "value": "{key}"},
    } == with_tables(config, {}, lent=frozenset()).dialects["mine"]
    stored = {"mine": {"headers": {"X-Team": "{var.team}"}}}
    assert {
        "X-Team": "{var.team}",
        "X-Gate": "hunter2",
    } == with_tables(
        Config(Path("/c.toml"), dialects={"mine": {"headers": GATES}}),
        stored,
        lent=frozenset({"mine"}),
    ).dialects["mine"]["headers"]


def test_dialects_that_extend_each_other_come_to_an_end() -> None:
    """Two dialects that are made from each other hang whoever reads a job's."""
    circle = {"a": {"extends": "b"}, "b": {"extends": "a"}}
    config = Config(Path("/c.toml"), dialects=circle)
    assert {"a", "b"} == dialect_chain("a", config)
    assert circle == kept_tables("a", config)


@pytest.mark.parametrize(
    "stored", [{"mine": {}, "openai": {}}, {"mine": "x"}, ["mine"], "mine", None]
)
def test_a_record_teaches_no_dialect_of_ours(stored: object) -> None:
    """Tables that a job keeps stand for a dialect that is built in, or are none."""
    job = Job("k", dialect="mine", extra={DIALECTS: stored})
    assert stored_dialects(job) is None
    own = job._replace(extra={DIALECTS: {"mine": {}}})
    assert {"mine": {}} == stored_dialects(own)
    assert stored_dialects(own._replace(dialect="openai")) is None
