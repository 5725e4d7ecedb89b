"""The fixtures themselves hold what they promise."""

import os
from pathlib import Path

import pytest

from bgresp.config import files, places
from bgresp.core.errors import ConfigError, ExitCode
from tests.command import Run
from tests.fakeserver import FakeServer


def test_a_forgotten_state_folder_is_an_error(no_home: Path) -> None:
    """Without BGRESP_STATE_DIR a test cannot make the ledger's folder."""
    folder = places.state_path(os.environ)
    assert folder.is_relative_to(no_home)
    with pytest.raises(NotADirectoryError, match="you-forgot-BGRESP_STATE_DIR"):
        folder.mkdir(parents=True)


def test_a_forgotten_configuration_is_an_error(no_home: Path) -> None:
    """Without BGRESP_CONFIG a test cannot even read a configuration."""
    path = places.config_path(os.environ)
    assert path.is_relative_to(no_home)
    with pytest.raises(ConfigError, match="you-forgot-BGRESP_STATE_DIR-or-_CONFIG"):
        files.load(path)


@pytest.mark.parametrize("forgotten", ["BGRESP_STATE_DIR", "BGRESP_CONFIG"])
def test_the_command_fails_too(run: Run, server: FakeServer, forgotten: str) -> None:
    """A command that is run without its folders fails, names them and sends nothing."""
    there = {"OPENAI_BASE_URL": server.base_url, "OPENAI_API_KEY": "sk-test"}
    ran = run("submit", "-t", "hi", "-m", "m", env={**there, forgotten: None})
    assert (b"", ()) == (ran.out_bytes, server.requests)
    assert ExitCode.OK != ran.code
    assert "you-forgot-BGRESP_STATE_DIR-or-_CONFIG" in ran.err


def test_the_command_is_run_in_a_folder_of_the_test(run: Run, state: Path) -> None:
    """An empty ledger is listed, and nobody's variables are seen."""
    ran = run("list", "--json", env={"PYTHONWARNINGS": "error"})
    assert (ExitCode.OK, "[]\n", "") == (ran.code, ran.out, ran.err)
    assert not [name for name in os.environ if name.endswith(("_PROXY", "_API_KEY"))]
