"""A batch over every recorded answer: its results, files, notes and exit code."""

import json
from pathlib import Path

from tests import fakeanswers as fa
from tests.command import Run
from tests.fakeserver import FakeServer
from tests.test_answers import NAMES, recording

OPENAI = [name for name in NAMES if recording(name)["dialect"] == "openai"]


def test_results_of_every_answer(
    hasty: Run, server: FakeServer, tmp_path: Path
) -> None:
    """An endpoint that answers at once: each row has its ending, no file is empty.

    14 is counted as no failure: --max-failures does not stop the batch.
    """
    names = [n for n in OPENAI if recording(n)["expect"]["exit_code"] in {0, 14}]
    rows = "".join(json.dumps({"id": name, "text": "x"}) + "\n" for name in names)
    (tmp_path / "all.jsonl").write_text(rows)
    for name in names:
        response = {**recording(name)["response"], "id": f"resp_{name}"}
        server.script("create", fa.as_json({**response, "background": True}))
    ran = hasty(
        *("batch", "all.jsonl", "-m", "m", "--in-flight", "1", "--max-failures", "1"),
        *("--results", "out.jsonl", "--out-dir", "out"),
    )
    assert 14 == ran.code, ran.err
    lines = [
        json.loads(one) for one in (tmp_path / "out.jsonl").read_text().splitlines()
    ]
    assert names == [line["id"] for line in lines]
    for line in lines:
        expect = recording(line["id"])["expect"]
        assert (expect["text"], expect["ended_with"], "completed") == (
            *(line["text"], line["ended_with"], line["status"]),
        )
        files = [*(tmp_path / "out").glob(f"{line['id']}.*")]
        assert bool(expect["text"]) == bool(files)
        assert not files or expect["text"] == files[0].read_text().rstrip("\n")
        if expect["note"]:
            assert f"resp_{line['id']}: {expect['note']}" in ran.err
        else:
            assert f"resp_{line['id']}: with" not in ran.err
    again = hasty("batch", "all.jsonl", "-m", "m", "--wait")
    assert 14 == again.code
    assert len(names) == len(server.asked("create"))
