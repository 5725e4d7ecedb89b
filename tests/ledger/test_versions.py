"""A ledger that an earlier release wrote must load, at all costs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

from bgresp.core.model import Job, Status
from bgresp.ledger.ledger import Ledger

OLD = Path(__file__).parent.parent / "data" / "ledger-v1.jsonl"


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
    done = ours.record(replace(job, status=Status.COMPLETED))
    assert (Status.COMPLETED, {"a": [1]}) == (done.status, done.extra["news"])
    assert {"a": [1]} == json.loads(path.read_text().splitlines()[-1])["news"]
    ours.compact()
    assert '"weather"' in path.read_text()
    assert [done] == list(Ledger(tmp_path).newest())
