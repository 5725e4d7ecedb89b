"""A ledger that an earlier release wrote must load, at all costs."""

import json
import shutil
from pathlib import Path

from bgresp.core.model import Job, Status
from bgresp.engine.recorder import Recorder
from bgresp.ledger.ledger import Ledger

DATA = Path(__file__).parent.parent / "data"
OLD = DATA / "ledger-v1.jsonl"
# A folder as it was written before damage was told apart, and what it said then.
FOLDER = DATA / "state-v1"
SAID = DATA / "state-v1.said.jsonl"


def test_version_1_loads(tmp_path: Path) -> None:
    """A record of version 1 is lost or read as another."""
    shutil.copy(OLD, tmp_path / "ledger.jsonl")
    ledger = Ledger(tmp_path)
    found = list(ledger.newest())
    assert sorted(map(str, Status)) == sorted({job.status.value for job in found})
    by_name = {job.name: job for job in found}
    done = by_name["done"]
    assert ("resp_0002", "completed", 41) == (done.id, done.raw_status, done.cursor)
    assert done.usage is not None
    assert 58 == done.usage.total_tokens
    assert {"team": "search", "week": "47"} == done.labels
    assert {"end_user": "user-7"} == done.vars
    assert 1_795_392_004.5 == done.finished_at
    assert "kept" == done.extra["from_the_future"]
    failed = by_name["failed"]
    assert failed.error is not None
    assert ("server_error", "it broke") == (failed.error.code, failed.error.message)
    assert "max_output_tokens" == by_name["short"].incomplete_reason
    assert done.key == by_name["again"].retry_of
    assert None is ledger.by_id("resp_forgotten")
    forgotten = ledger.by_submit_key("nightly")
    assert forgotten is not None
    assert "resp_forgotten" == forgotten.id
    assert 12 == len(found)
    assert ["not JSON"] == [why for _, why in ledger.bad]


def test_version_1_can_be_written_on(tmp_path: Path) -> None:
    """A write to a ledger of version 1 changes the lines that are there."""
    path = tmp_path / "ledger.jsonl"
    shutil.copy(OLD, path)
    path.chmod(0o644)
    ledger = Ledger(tmp_path)
    job = next(iter(ledger.open_jobs()))
    ledger.forget(job)
    assert path.read_bytes().startswith(OLD.read_bytes())
    ledger.compact()
    assert 11 == len(list(Ledger(tmp_path).newest()))


def test_what_another_version_writes_beside_us(tmp_path: Path) -> None:
    """Two versions at once lose each other's fields, or stumble over them (case 56)."""
    path = tmp_path / "ledger.jsonl"
    ours = Ledger(tmp_path)
    job = ours.record(Job(key="K" * 26, id="resp_1", status=Status.QUEUED))
    theirs = json.loads(path.read_text().splitlines()[0])
    del theirs["c"]
    theirs |= {"status": "in_progress", "news": {"a": [1]}}
    with path.open("a") as file:
        file.write(json.dumps(theirs) + "\n")
        file.write('{"v":1,"kind":"weather","text":"rain"}\n')
    done = ours.record(job._replace(status=Status.COMPLETED))
    assert (Status.COMPLETED, {"a": [1]}) == (done.status, done.extra["news"])
    assert {"a": [1]} == json.loads(path.read_text().splitlines()[-1])["news"]
    ours.compact()
    assert '"weather"' in path.read_text()
    assert [done] == list(Ledger(tmp_path).newest())


def _folder(tmp_path: Path) -> Path:
    """Copy the whole folder: as small files as its writer would seal and index."""
    state = tmp_path / "state"
    shutil.copytree(FOLDER, state)
    for path in (state, *state.rglob("*")):
        path.chmod(0o700 if path.is_dir() else 0o600)
    return state


def _derived(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (state / "index").iterdir()}


def test_a_whole_folder_of_version_1_loads(tmp_path: Path) -> None:
    """Something in an older folder is lost, or its index is read as another's."""
    state = _folder(tmp_path)
    before = _derived(state)
    ledger, recorder = Ledger(state), Recorder.at(state)
    said = [json.loads(line) for line in SAID.read_text().splitlines()]
    assert said == [job.to_line() for job in ledger.newest()]
    found = [ledger.by_key(line["key"]) for line in said]
    assert said == [job.to_line() for job in found if job is not None]
    assert (12, []) == (len([*ledger.open_jobs(), *ledger.unsettled()]), ledger.bad)
    for number in range(34):
        if number % 2:
            earlier = ledger.by_row("night", f"row-{number}")
        else:
            earlier = ledger.by_submit_key(f"nightly-{number}")
        assert earlier is not None, number
        has_id = number % 10 not in {7, 8, 9}
        assert (f"resp_{number:032x}" if has_id else None) == earlier.id
    done = next(job for job in ledger.newest() if job.status is Status.COMPLETED)
    raw = recorder.answers.response(done.key)
    assert raw is not None
    assert b'"answer 30"' in raw
    assert "answer 30" == recorder.shown(done.key).text
    assert not recorder.answers.notices(done.key, "failed")
    assert before == _derived(state)


def test_a_whole_folder_of_version_1_can_be_written_on(tmp_path: Path) -> None:
    """A submit, news or a compaction changes what an older folder says."""
    state = _folder(tmp_path)
    ledger = Ledger(state, run_bytes=1500, seal_bytes=7000)
    with ledger.submitting(Job(key="", name="new", submitted_at=1.9e9)) as new:
        pass
    open_ = next(job for job in ledger.open_jobs() if job.name == "job 15")
    ledger.record(open_._replace(status=Status.COMPLETED))
    lines = map(json.loads, SAID.read_text().splitlines())
    said = {line["key"]: line for line in lines}
    said[open_.key]["status"] = "completed"
    for _ in range(2):
        found = {job.key: job.to_line() for job in Ledger(state).newest()}
        assert new.to_line() == found.pop(new.key)
        assert said == found
        ledger.compact()
