"""Profiles whose endpoint bgresp starts: their base URL, and what runs their jobs."""

from pathlib import Path
from typing import Any

import pytest

from bgresp.config import files, urls
from bgresp.config.files import Config
from bgresp.config.settings import Flags, resolve
from bgresp.core.errors import ConfigError

PATH = Path("/etc/bgresp/config.toml")
NIGHT: dict[str, Any] = {"dialect": "local", "exec": ["llm", "-m", "x"]}


def config(**profiles: dict[str, Any]) -> Config:
    return Config(PATH, None, profiles, dict.fromkeys(profiles, PATH), {})


def test_a_profile_with_an_engine_is_an_endpoint_of_its_own() -> None:
    """Its base URL is local:PROFILE and it needs no key; without an engine local:."""
    known = config(night=NIGHT, plain={"dialect": "local"})
    found = resolve(Flags("night"), {"OPENAI_API_KEY": "sk-x"}, known)
    assert ("local:night", True, "local") == (
        found.base_url,
        found.is_local,
        str(found.key_source),
    )
    assert "local:night" == found.home
    assert "local:" == resolve(Flags("plain"), {}, known).base_url


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"exec": ["x"]}, "is for endpoints that bgresp starts"),
        ({**NIGHT, "base_url": "http://127.0.0.1:1"}, "is for endpoints that bgresp"),
        ({**NIGHT, "upstream": "http://127.0.0.1:1"}, "both exec and upstream"),
        ({"dialect": "local", "workers": 2}, "of no use without exec or upstream"),
        ({"dialect": "local", "upstream_api": "chat"}, "of no use without exec"),
    ],
)
def test_an_engine_that_cannot_be_meant(profile: dict[str, Any], said: str) -> None:
    """What no endpoint of ours can follow is refused, and named."""
    with pytest.raises(ConfigError, match=said):
        resolve(Flags("p"), {}, config(p=profile))


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("exec = 'llm'", "'exec' must be a list"),
        ("exec = []", "'exec' must be a program"),
        ("exec = [1]", "'exec' must be a program"),
        ("workers = 0", "'workers' must be 1 or more"),
        ("env_pass = [1]", "'env_pass' must be names"),
    ],
)
def test_keys_of_another_kind(tmp_path: Path, line: str, said: str) -> None:
    """An engine's keys are checked as every other, with file and profile."""
    path = tmp_path / "config.toml"
    path.write_text(f"[profiles.p]\ndialect = 'local'\n{line}\n")
    with pytest.raises(ConfigError, match=said):
        files.load(path)


def test_the_engine_comes_from_the_configuration_alone() -> None:
    """A base URL names a profile and no more; one that is gone names no engine."""
    known = config(night=NIGHT, day={"dialect": "local"}, far={"model": "x"})
    assert {"exec": ["llm", "-m", "x"]} == urls.engine("local:night", known)
    assert {} == urls.engine("local:", known)
    for gone in ("local:day", "local:far", "local:none"):
        assert urls.engine(gone, known) is None


def test_whose_keys_a_program_must_not_see() -> None:
    """Variables that any profile or dialect names as its key are known."""
    known = config(a={"api_key_env": "WORK"}, b={**NIGHT, "upstream_key_env": "UP"})
    named = known.key_variables
    assert {"WORK", "UP", "OPENAI_API_KEY", "AZURE_OPENAI_API_KEY"} <= named
