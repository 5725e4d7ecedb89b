"""Keys, rescue files, saved answers: the small parts of the ledger."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgresp.core.errors import LedgerError
from bgresp.core.model import Job, Status
from bgresp.ledger import files
from bgresp.ledger.files import prepare
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.line import is_key, key_horizon, new_key
from bgresp.ledger.saved import Answers

NUMBERS = st.integers(0, (1 << 80) - 1)
MOMENTS = st.floats(-1e9, 1e12)


@given(MOMENTS, NUMBERS, MOMENTS, NUMBERS)
def test_a_later_key_is_greater(a: float, x: int, b: float, y: int) -> None:
    """A key made after another one sorts before it, whatever the clock says."""
    first = new_key(a, x, after=None)
    second = new_key(b, y, after=first)
    assert is_key(first)
    assert is_key(second)
    assert first < second


@given(MOMENTS)
def test_a_key_of_the_clock_is_not_ahead_of_time(moment: float) -> None:
    """A key that a clock gave, up to a day fast, lies ahead of time, or a later not."""
    horizon = key_horizon(moment)
    assert new_key(moment + 86_000, (1 << 80) - 1, after=None) <= horizon
    if 0 <= moment < 2e11:
        assert "7" + "Z" * 25 > horizon
        assert new_key(moment + 86_401, 0, after=None) > horizon


def test_no_key_comes_after_the_last() -> None:
    """The key at the end of time is given for a second time."""
    with pytest.raises(LedgerError, match="no key comes after"):
        new_key(0.0, 0, after="7" + "Z" * 25)


@given(st.text(max_size=30))
def test_only_keys_are_keys(text: str) -> None:
    """A text of another form passes for a key."""
    allowed = set("0123456789ABCDEFGHJKMNPQRSTVWXYZ")
    assert (len(text) == 26 and set(text) <= allowed) == is_key(text)


def test_a_rescue_file_is_private_and_never_replaced(tmp_path: Path) -> None:
    """A rescued record can be read by others, or takes another one's place."""
    environ = {"XDG_RUNTIME_DIR": str(tmp_path)}
    job = Job(key="K" * 26, status=Status.QUEUED, id="resp_1")
    path = files.write_rescue(job, environ, tmp_path)
    assert 0o600 == path.stat().st_mode & 0o777
    line = json.loads(path.read_text())
    assert str(tmp_path) == line.pop(files.STATE)
    assert job == Job.from_line(line)
    assert [path] == list(files.rescue_files(environ))
    with pytest.raises(LedgerError, match="rescue"):
        files.write_rescue(job, environ, tmp_path)


def test_a_linked_rescue_file_is_not_ours(tmp_path: Path) -> None:
    """A link that somebody planted is read as a rescued record."""
    (tmp_path / "bgresp-rescue-X.json").symlink_to(tmp_path / "else")
    assert [] == list(files.rescue_files({"XDG_RUNTIME_DIR": str(tmp_path)}))


def test_the_ballast_is_room_to_give_away(tmp_path: Path) -> None:
    """The ballast holds no room, or is not renewed after it was used."""
    prepare(tmp_path)
    ballast = tmp_path / files.BALLAST
    assert files.BALLAST_BYTES == ballast.stat().st_size
    files.release_ballast(tmp_path)
    assert 0 == ballast.stat().st_size
    prepare(tmp_path)
    assert files.BALLAST_BYTES == ballast.stat().st_size


def test_an_answer_is_whole_or_not_there(tmp_path: Path) -> None:
    """A failed write leaves half an answer, or a stray file."""
    prepare(tmp_path)
    answers = Answers(tmp_path)
    answers.save_response("K", b'{"a": 1}')
    assert b'{"a": 1}' == answers.response("K")
    assert None is answers.response("other")
    folder = tmp_path / "responses"
    before = sorted(folder.iterdir())
    missing = Answers(tmp_path / "nowhere")
    with pytest.raises(LedgerError, match="nowhere"):
        missing.save_response("K", b"x")
    assert before == sorted(folder.iterdir())
    answers.save_streamed_text("K", "ü\ud800")
    assert "ü\ud800" == answers.streamed_text("K")
    answers.forget("K")
    assert None is answers.response("K")
    assert None is answers.streamed_text("K")


def test_an_id_is_adopted_once(tmp_path: Path) -> None:
    """Two who adopt one id at once make two jobs of it."""
    draft = Job("", Status.IN_PROGRESS, "resp_1")
    first, second = (Ledger(tmp_path).adopt(draft) for _ in range(2))
    assert first == second
    assert [first] == [*Ledger(tmp_path).newest()]
