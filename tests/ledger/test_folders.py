"""Whose a state folder is: who else may write it may have written the ledger."""

import os
from pathlib import Path

import pytest

from bgresp.core.errors import ConfigError
from bgresp.ledger.files import TRUST, prepare, vouched

ME = os.getuid()
OTHER = 12345  # another user, as far as these folders are concerned


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    state = tmp_path / "state"
    prepare(state)
    (state / "ledger.jsonl").touch(0o600)
    return state


def test_a_folder_of_ours_is_no_news(ours: Path) -> None:
    """Our own private folder, or one that is not there, is refused or told of."""
    assert [] == vouched(ours, {}, uid=ME)
    assert [] == vouched(ours / "nowhere", {}, uid=OTHER)


@pytest.mark.skipif(ME != 0, reason="only root gives files away")
@pytest.mark.parametrize("name", ["", "ledger.jsonl", "sealed"])
def test_a_folder_of_another_user_s_is_refused(ours: Path, name: str) -> None:
    """Another user's folder, ledger or older lines are read without a word."""
    (ours / "sealed").mkdir()
    for path in (ours, ours / "ledger.jsonl", ours / "sealed"):
        os.chown(path, OTHER, -1)
    os.chown(ours / name, 0, -1)
    with pytest.raises(ConfigError, match="belongs to another user") as caught:
        vouched(ours, {}, uid=OTHER)
    assert "BGRESP_TRUST_STATE_DIR=1" in caught.value.hint
    assert 4 == caught.value.code
    for value in ("", "0", "yes"):
        with pytest.raises(ConfigError):
            vouched(ours, {TRUST: value}, uid=OTHER)
    said = vouched(ours, {TRUST: "1"}, uid=OTHER)
    assert [f"{ours / name} belongs to another user"] == said


@pytest.mark.skipif(ME != 0, reason="only root gives files away")
def test_root_is_told(ours: Path) -> None:
    """Root is kept out of another user's folder, or reads it without a word."""
    os.chown(ours, OTHER, -1)
    assert [f"{ours} belongs to another user"] == vouched(ours, {}, uid=0)


@pytest.mark.parametrize(
    ("mode", "said"), [(0o755, "could read"), (0o770, "could write"), (0o707, "write")]
)
def test_a_folder_that_others_may_enter_is_made_private(
    ours: Path, mode: int, said: str
) -> None:
    """A folder stays open to others, or is closed without a word."""
    (ours / "ledger.jsonl").chmod(0o666)
    ours.chmod(mode)
    [told] = vouched(ours, {}, uid=ME)
    assert said in told
    assert told.endswith("made private now")
    assert (0o700, 0o600) == (
        ours.stat().st_mode & 0o777,
        (ours / "ledger.jsonl").stat().st_mode & 0o777,
    )
    assert [] == vouched(ours, {}, uid=ME)


def test_a_mount_point_of_root_s_may_be_above(ours: Path) -> None:
    """A folder of ours is refused for what others may do above it."""
    ours.parent.chmod(0o1777)
    assert [] == vouched(ours, {}, uid=ME)
