"""`bgresp doctor`: what may be wrong, and what --fix puts right."""

import json
import os
import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bgresp.core.model import Job
from bgresp.core.times import rfc3339
from bgresp.engine.checkup import Checkup
from bgresp.engine.recorder import Recorder
from tests.cli.killed import died
from tests.cli.ledger import ident, key, last, picture, records, seed
from tests.command import Run
from tests.fakeserver import FakeServer
from tests.fakewire import Json

Levels = Callable[..., dict[str, tuple[str, str]]]


@pytest.fixture(autouse=True)
def rescue_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Choose where rescue files lie; the temporary folder is somewhere else."""
    folder = tmp_path / "run"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return folder


@pytest.fixture
def levels(bgresp: Run) -> Levels:
    """Return level and detail of each check."""

    def check(*args: str, code: int = 0) -> dict[str, tuple[str, str]]:
        ran = bgresp("doctor", "--json", *args)
        assert code == ran.code, ran.out
        found = json.loads(ran.out)
        assert all({"check", "level", "detail"} == set(entry) for entry in found)
        return {entry["check"]: (entry["level"], entry["detail"]) for entry in found}

    return check


def healthy(state: Path, *jobs: Json) -> None:
    """Leave a ledger as bgresp itself would."""
    seed(state, *jobs)
    for path in (state, *state.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)


def test_a_fresh_machine_is_fine(bgresp: Run, state: Path) -> None:
    """Nothing is bad where nothing is there yet, and nothing is made by looking."""
    ran = bgresp("doctor")
    assert 0 == ran.code
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert {"ok"} == {level for level, _, _ in rows if level != "warn"}
    assert {"config", "endpoint", "state", "rescue"} <= {what for _, what, _ in rows}
    assert not state.exists()


def test_a_healthy_ledger_is_fine(levels: Levels, state: Path) -> None:
    """Every check of a good state folder is ok, and it is left as it was."""
    healthy(state, {"status": "completed", "text": "Four."}, {})
    before = picture(state)
    found = levels("--fix")
    names = {"modes", "ledger", "write", "lock", "unsettled", "rescue", "clock"}
    assert {"ok"} == {found[name][0] for name in names}
    assert before == {
        name: raw for name, raw in picture(state).items() if "lock" not in name
    }


def test_a_bad_configuration_is_exit_4(
    levels: Levels, state: Path, tmp_path: Path
) -> None:
    """A mistake in config.toml is named with its file."""
    healthy(state)
    path = tmp_path / "config" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    for text in ("[profiles", '[dialects.mine]\nextends = "nobody"\n'):
        path.write_text(text)
        level, detail = levels(code=4)["config"]
        assert "bad" == level
        assert str(path) in detail or "nobody" in detail


def test_a_missing_key_is_a_warning(bgresp: Run, levels: Levels, state: Path) -> None:
    """Without an endpoint the ledger may still be fine."""
    healthy(state)
    ran = bgresp("doctor", env={"BGRESP_API_KEY": None, "BGRESP_BASE_URL": None})
    assert 0 == ran.code
    assert "warn\tendpoint\tno endpoint is configured" in ran.out
    config = state.parent / "config" / "config.toml"
    config.write_text('[profiles.lab]\nbase_url = "https://lab.example/v1"\n')
    ran = bgresp("doctor", env={"BGRESP_API_KEY": None, "BGRESP_BASE_URL": None})
    said = "no profile is chosen (bgresp config use lab, or -p lab)"
    assert (0, True) == (ran.code, f"warn\tendpoint\t{said}" in ran.out)


def test_an_unknown_profile_is_bad(bgresp: Run) -> None:
    """A profile that is none exits 4 and says which one may be meant."""
    ran = bgresp("doctor", "-p", "opnai")
    assert 4 == ran.code
    assert "bad\tendpoint\tno profile 'opnai' (did you mean openai?" in ran.out


def test_bad_lines_are_named(levels: Levels, state: Path) -> None:
    """A line that cannot be read is named by its number, wherever it stands."""
    healthy(state, {})
    with (state / "ledger.jsonl").open("a") as file:
        file.write('not json\n{"v":1,"key":"x","status":"queued","c":"00000000"}\n')
    level, detail = levels()["ledger"]
    assert "warn" == level
    assert "ledger.jsonl:2 (not JSON)" in detail
    assert "ledger.jsonl:3 (the checksum" in detail


def test_a_newer_ledger_is_bad(levels: Levels, state: Path) -> None:
    """What a newer bgresp wrote is read-only here, and left alone."""
    healthy(state, {})
    with (state / "ledger.jsonl").open("a") as file:
        file.write('{"v":99,"key":"x"}\n')
    level, detail = levels(code=1)["ledger"]
    assert "bad" == level
    assert "newer" in detail


def test_a_ledger_that_is_none_is_bad(levels: Levels, state: Path) -> None:
    """A folder where the ledger should be is told, and not replaced."""
    healthy(state)
    (state / "ledger.jsonl").unlink()
    (state / "ledger.jsonl").mkdir()
    assert "bad" == levels(code=1)["ledger"][0]
    assert (state / "ledger.jsonl").is_dir()


def test_loose_modes_are_tightened(levels: Levels, state: Path) -> None:
    """Case 48: others may read nothing after --fix; without it they are named."""
    healthy(state, {"status": "completed", "text": "Four."})
    loose = state / "ledger.jsonl", state / "responses" / f"{key(1)}.json"
    for path in loose:
        path.chmod(0o644)
    (state / "responses").chmod(0o755)
    level, detail = levels()["modes"]
    assert "warn" == level
    assert str(loose[1]) in detail
    assert "ok" == levels("--fix")["modes"][0]
    modes = [
        stat.S_IMODE(path.stat().st_mode) for path in (*loose, state / "responses")
    ]
    assert [0o600, 0o600, 0o700] == modes


def test_files_of_others_are_bad(state: Path) -> None:
    """Case 48: what belongs to another user is refused, whatever its mode."""
    healthy(state, {})
    checkup = Checkup(Recorder.at(state), {}, fix=True, uid=os.getuid() + 1)
    found = {check.check: check for check in checkup.all()}
    assert "bad" == found["modes"].level
    assert str(state) in found["modes"].detail


def test_a_link_is_not_followed(levels: Levels, state: Path, tmp_path: Path) -> None:
    """--fix changes no file outside the state folder."""
    healthy(state)
    outside = tmp_path / "outside"
    outside.write_text("x")
    outside.chmod(0o644)
    (state / "link").symlink_to(outside)
    levels("--fix")
    assert 0o644 == stat.S_IMODE(outside.stat().st_mode)


def test_what_cannot_be_written_is_bad(levels: Levels, state: Path) -> None:
    """A state folder in which no file can be made is told before a job is paid."""
    healthy(state)
    (state / ".doctor").mkdir()
    assert "bad" == levels(code=1)["write"][0]


def test_unsettled_submits_are_named(
    levels: Levels, server: FakeServer, state: Path
) -> None:
    """A submit without a known outcome is named with what to type."""
    lost = died(server, state)
    seed(state, {"status": "unknown", "id": None})
    level, detail = levels("--fix")["unsettled"]
    assert "warn" == level
    assert lost in detail
    assert key(2) in detail
    assert "bgresp resolve" in detail


def rescued(folder: Path, number: int, **changes: object) -> Path:
    """Leave a rescue file as a full disk does."""
    line = {"v": 1, "key": key(number), "status": "queued", "id": ident(number)}
    path = folder / f"bgresp-rescue-{key(number)}.json"
    path.write_text(json.dumps({**line, **changes}))
    path.chmod(0o600)
    return path


def test_a_rescue_is_brought_home_once(
    levels: Levels, state: Path, rescue_folder: Path
) -> None:
    """Case 36: an id that the disk could not take is merged once, by --fix."""
    healthy(state, {"status": "submitting", "id": None, "name": "essay"})
    path = rescued(rescue_folder, 1, name="essay")
    level, detail = levels(code=1)["rescue"]
    assert "bad" == level
    assert str(path) in detail
    assert path.exists()
    assert ident(1) in levels("--fix")["rescue"][1]
    assert not path.exists()
    assert (ident(1), "queued") == (last(state)["id"], last(state)["status"])
    count = len(records(state))
    rescued(rescue_folder, 1, name="essay")
    assert "ok" == levels("--fix")["rescue"][0]
    assert "ok" == levels("--fix")["rescue"][0]
    assert (count, False) == (len(records(state)), path.exists())


def test_a_rescue_never_turns_a_job_back(
    levels: Levels, state: Path, rescue_folder: Path
) -> None:
    """What the ledger knows better stays."""
    healthy(state, {"status": "completed", "text": "Four."})
    rescued(rescue_folder, 1)
    levels("--fix")
    job = Recorder.at(state).ledger.by_key(key(1))
    assert job is not None
    assert "completed" == job.status


def test_a_rescue_is_found_in_the_temporary_folder_too(
    levels: Levels, state: Path, tmp_path: Path
) -> None:
    """A cron job has no XDG_RUNTIME_DIR; what it left is found all the same."""
    healthy(state)
    rescued(tmp_path, 1)
    levels("--fix")
    assert ident(1) == last(state)["id"]


def test_a_rescue_that_is_none_stays(
    levels: Levels, state: Path, rescue_folder: Path
) -> None:
    """What is no record, or a link, is neither recorded nor removed."""
    healthy(state, {})
    bad = rescue_folder / "bgresp-rescue-bad.json"
    bad.write_text('{"v": 1}')
    target = rescued(rescue_folder.parent, 2).rename(rescue_folder / "elsewhere")
    link = rescue_folder / f"bgresp-rescue-{key(2)}.json"
    link.symlink_to(target)
    before = picture(state)
    assert "bad" == levels("--fix", code=1)["rescue"][0]
    assert bad.exists()
    assert link.is_symlink()
    assert before["ledger.jsonl"] == picture(state)["ledger.jsonl"]


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a file away")
def test_a_rescue_of_another_user_is_left(
    levels: Levels, state: Path, rescue_folder: Path
) -> None:
    """A file that another user put there is not believed."""
    healthy(state)
    os.chown(rescued(rescue_folder, 1), 12345, -1)
    assert "ok" == levels("--fix")["rescue"][0]
    assert [] == records(state)


def test_a_network_file_system_is_a_warning(state: Path) -> None:
    """Case 52: a state folder on NFS is told, with the variable that moves it."""
    healthy(state)
    text = f"1 0 0:1 / / rw - ext4 x rw\n2 1 0:2 / {state.parent} rw - nfs4 y rw"
    checkup = Checkup(Recorder.at(state), {}, uid=os.getuid(), mountinfo=text)
    found = {check.check: check for check in checkup.all()}
    assert "warn" == found["file system"].level
    assert "nfs4" in found["file system"].detail
    assert "BGRESP_STATE_DIR" in found["file system"].detail


def test_a_clock_that_stands_back_is_a_warning(levels: Levels, state: Path) -> None:
    """Case 53: a clock before the newest record is told, by how much."""
    moment = rfc3339(time.time() + 10 * 86400)
    healthy(state, {"submitted_at": moment}, {})
    level, detail = levels()["clock"]
    assert "warn" == level
    assert "behind the newest record" in detail


def test_a_lock_that_keeps_nobody_out_is_bad(state: Path) -> None:
    """The lock is tried twice: where both succeed it is none."""
    healthy(state)
    (state / "ledger.lock").mkdir()
    checkup = Checkup(Recorder.at(state), {}, uid=os.getuid())
    assert "bad" == {check.check: check.level for check in checkup.all()}["lock"]


def test_a_record_that_was_rescued_is_a_job(state: Path, rescue_folder: Path) -> None:
    """A rescue file has the very form of a line of the ledger."""
    job = Job(key=key(1), id=ident(1), labels={"a": "b"}, submitted_at=1.5)
    path = rescue_folder / f"bgresp-rescue-{key(1)}.json"
    path.write_text(json.dumps(job.to_line()))
    checkup = Checkup(
        Recorder.at(state), {"XDG_RUNTIME_DIR": str(rescue_folder)}, fix=True
    )
    assert "ok" == {check.check: check.level for check in checkup.all()}["rescue"]
    assert job == Recorder.at(state).ledger.by_key(key(1))


def test_a_key_ahead_of_time_is_named(bgresp: Run, state: Path) -> None:
    """A record that no clock can have made is not told of, or cannot be dropped."""
    end = "7" + "Z" * 25
    seed(state, {}, {"key": end, "status": "failed"})
    found = bgresp("doctor").out
    assert f"dated more than a day in the future: {end} (bgresp forget {end})" in found
    assert 0 == bgresp("forget", end).code
    assert "no job is dated in the future" in bgresp("doctor").out
