"""A rescue file lies in a folder that everybody may write to: it is believed if ours."""

import json
import os
from pathlib import Path

import pytest

from bgresp.core.errors import LedgerError
from bgresp.engine.recorder import restore_rescued
from tests.scripted import job, recorder_at


def rescue(folder: Path) -> Path:
    path = folder / f"bgresp-rescue-{job().key}.json"
    path.write_text(json.dumps({"v": 1, **job().to_line()}))
    return path


def test_a_rescue_file_of_ours_comes_home(tmp_path: Path, state: Path) -> None:
    """A record that the disk could not take stays outside."""
    path = rescue(tmp_path)
    assert job().id == restore_rescued(recorder_at(state), path).id
    assert not path.exists()


def test_a_rescue_file_of_another_is_not_believed(tmp_path: Path, state: Path) -> None:
    """A stranger's file adds a job to the ledger.

    Root gives the file away; who is not root looks at one of root's.
    """
    path = rescue(tmp_path)
    if os.getuid() == 0:
        os.chown(path, 65534, 65534)
    else:
        path = Path("/etc/hosts")
    recorder = recorder_at(state)
    with pytest.raises(LedgerError, match="is not a small file of ours"):
        restore_rescued(recorder, path)
    assert path.exists()
    assert [] == list(recorder.ledger.newest())
