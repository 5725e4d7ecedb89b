"""`import --from`: ledgers of several machines become one, whatever the order."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ledger import ident, picture, records, seed
from tests.command import Run
from tests.fakeserver import FakeServer

Export = Callable[..., str]


@pytest.fixture
def elsewhere(bgresp: Run, tmp_path: Path, server: FakeServer) -> Export:
    """Return what `list --jsonl` prints of a ledger with these jobs."""
    count = 0

    def export(*jobs: Any) -> str:
        nonlocal count
        count += 1
        other = tmp_path / f"other-{count}"
        seed(other, *jobs, server=server)
        ran = bgresp("list", "--all", "--jsonl", env={"BGRESP_STATE_DIR": str(other)})
        return ran.out

    return export


def jobs(bgresp: Run) -> dict[str, Any]:
    return {job["id"]: job for job in json.loads(bgresp("list", "--json").out)}


def test_a_ledger_is_merged_once(
    bgresp: Run, elsewhere: Export, state: Path, tmp_path: Path
) -> None:
    """Every record arrives whole, cursors included; a second time changes nothing."""
    text = elsewhere(
        {"name": "a", "cursor": 41, "group": "g", "row": "r1", "labels": {"k": "v"}},
        {
            "name": "b",
            "status": "completed",
            "submit_key": "K",
            "finished_at": "2026-01-02T03:05:05.000Z",
            "noticed": True,
        },
    )
    ran = bgresp("import", "--from", "-", "-q", stdin=text)
    assert (0, {ident(1), ident(2)}) == (ran.code, set(ran.out.split()))
    assert "2 jobs, 2 new here, 0 with news" in ran.err
    known = {line["id"]: line for line in map(json.loads, text.splitlines())}
    assert known == jobs(bgresp)
    before = picture(state)["ledger.jsonl"]
    (tmp_path / "x.jsonl").write_text(text)
    again = bgresp("import", "--from", "x.jsonl", "-q")
    assert (0, "", before) == (again.code, again.out, picture(state)["ledger.jsonl"])


@pytest.mark.parametrize("swapped", [False, True])
def test_the_further_state_holds(bgresp: Run, elsewhere: Export, swapped: bool) -> None:
    """By rank, whichever of two exports comes first; a cursor never falls."""
    old = elsewhere({"status": "in_progress", "cursor": 9, "labels": {"a": "b"}})
    new = elsewhere({"status": "completed", "cursor": 7})
    for text in (new, old) if swapped else (old, new):
        assert 0 == bgresp("import", "--from", "-", stdin=text).code
    job = jobs(bgresp)[ident(1)]
    assert ("completed", 9, {"a": "b"}) == (job["status"], job["cursor"], job["labels"])


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("told_last", [False, True])
def test_an_end_is_of_one_record(
    bgresp: Run, elsewhere: Export, swapped: bool, told_last: bool
) -> None:
    """When a job ended is no record's, or is said to be told where it was noticed."""
    ended = {"status": "completed", "finished_at": "2026-01-02T03:05:00.000Z"}
    seen = {**ended, "finished_at": "2026-01-02T03:06:00.000Z", "noticed": True}
    first, last = (seen, ended) if told_last else (ended, seen)
    old = elsewhere({**first, "checked_at": "2026-01-02T03:07:00.000Z"})
    new = elsewhere({**last, "checked_at": "2026-01-02T03:08:00.000Z"})
    for text in (new, old) if swapped else (old, new):
        assert 0 == bgresp("import", "--from", "-", stdin=text).code
    job = jobs(bgresp)[ident(1)]
    assert (told_last, last["finished_at"]) == (job["took_exact"], job["finished_at"])


def test_a_submit_under_way_elsewhere_is_unknown_here(
    bgresp: Run, elsewhere: Export
) -> None:
    """What only its own machine can know is not taken for dead, or for sent."""
    text = elsewhere({"status": "submitting", "id": None})
    assert 0 == bgresp("import", "--from", "-", stdin=text).code
    assert ["unknown"] == [job["status"] for job in jobs(bgresp).values()]
    later = elsewhere({"status": "queued"})
    assert 0 == bgresp("import", "--from", "-", stdin=later).code
    assert ["queued"] == [job["status"] for job in jobs(bgresp).values()]


def test_an_id_that_both_know_is_one_job(
    bgresp: Run, elsewhere: Export, server: FakeServer
) -> None:
    """A job that each machine adopted under a key of its own stays one."""
    id_ = bgresp("submit", "-t", "x", "-m", "m").out.strip()
    text = elsewhere({"id": id_, "status": "completed", "group": "g"})
    assert 0 == bgresp("import", "--from", "-", stdin=text).code
    found = jobs(bgresp)
    assert ([id_], "completed", "g") == (
        *([*found], found[id_]["status"], found[id_]["group"]),
    )


def test_a_merged_batch_is_known_here(
    hasty: Run, server: FakeServer, tmp_path: Path
) -> None:
    """Shards of other machines, merged, are not submitted again by a whole run."""
    rows = [json.dumps({"id": f"r{n}", "text": str(n)}) + "\n" for n in range(12)]
    (tmp_path / "m.jsonl").write_text("".join(rows))
    for shard in ("1/2", "2/2"):
        other = {"BGRESP_STATE_DIR": str(tmp_path / f"s-{shard[0]}")}
        hasty("batch", "m.jsonl", "-m", "m", "--shard", shard, env=other)
        text = hasty("list", "--all", "--jsonl", env=other).out
        assert 0 == hasty("import", "--from", "-", stdin=text).code
    ran = hasty("batch", "m.jsonl", "-m", "m", "--wait")
    assert (0, 12, 12) == (ran.code, len(ran.out.split()), len(server.creates))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        *(({"schema": "x"}, "not a job"), ({"key": "../../x"}, "key:")),
        *(({"status": "odd"}, "status:"), ({"id": 5}, "id:")),
        *(({"labels": []}, "labels:"), ({"cursor": []}, "cursor:")),
        ({"took_exact": "no"}, "took_exact: must be true or false"),
        *(({"created_at": 5}, "created_at:"), ({"id": "x" * 4097}, "id: not an id")),
        ({"submitted_at": "yesterday"}, "submitted_at: 'yesterday' is not RFC 3339"),
        ({"expires_at": {}}, "expires_at: must be text"),
        ({"base_url": "javascript:x"}, "base_url: not a base URL"),
        ({"base_url": "https://u:hunter2@a"}, "base_url: the base URL holds a user"),
        ({"group": "\x1b[2J"}, "the group '\\x1b[2J' has control characters"),
    ],
)
def test_a_refused_record_is_named_and_stops_no_other(
    bgresp: Run, elsewhere: Export, state: Path, change: Any, said: str
) -> None:
    """A record that is refused costs others, or is not named with its line."""
    first, second = elsewhere({}, {"name": "b"}).splitlines()
    bad = json.dumps({**json.loads(first), **change})
    ran = bgresp("import", "--from", "-", "-q", stdin=f"{bad}\n{second}\n")
    assert (2, [json.loads(second)["id"]]) == (ran.code, ran.out.split()), ran
    assert f"-:1: {said}" in ran.err
    assert "2 jobs, 1 new here, 0 with news, 1 refused" in ran.err
    assert 1 == len(records(state))


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "resp_other"),
        ("base_url", "http://127.0.0.1:1/v1"),
        ("profile", "work"),
        ("submitted_at", "2026-01-02T03:04:06.000Z"),
        ("dialect", "vllm"),
        ("vars", {"organization": "x"}),
    ],
)
def test_what_a_known_job_was_made_with_does_not_change(
    *,
    bgresp: Run,
    elsewhere: Export,
    state: Path,
    field: str,
    value: Any,
    swapped: bool,
) -> None:
    """Another ledger leads a job elsewhere: the file's order decides, or its rank."""
    text = elsewhere({"status": "queued"}, {"name": "b"})
    assert 0 == bgresp("import", "--from", "-", stdin=text).code
    before = picture(state)["ledger.jsonl"]
    first, second = text.splitlines()
    for job in map(json.loads, (first, second)):
        odd = {**job, "status": "completed", field: value}
        lines = [json.dumps(odd), json.dumps(job)][:: -1 if swapped else 1]
        ran = bgresp("import", "--from", "-", stdin="\n".join(lines))
        assert (2, "") == (ran.code, ran.out)
        assert f"-:{2 if swapped else 1}: {field}: " in ran.err
        assert f"is not what {job['key']} has here" in ran.err
    assert before == picture(state)["ledger.jsonl"]


def test_a_trailing_slash_is_no_difference(bgresp: Run, elsewhere: Export) -> None:
    """An honest record is refused for a slash at the end of its base URL."""
    text = elsewhere({"status": "queued"})
    assert 0 == bgresp("import", "--from", "-", stdin=text).code
    job = json.loads(text)
    later = {**job, "base_url": job["base_url"] + "/", "status": "completed"}
    assert 0 == bgresp("import", "--from", "-", stdin=json.dumps(later)).code
    found = jobs(bgresp)[ident(1)]
    assert ("completed", job["base_url"]) == (found["status"], found["base_url"])


def test_an_id_of_another_endpoint_s_job_is_refused(
    bgresp: Run, elsewhere: Export, server: FakeServer
) -> None:
    """A record hides a job of ours behind its id, at an endpoint of its own."""
    id_ = bgresp("submit", "-t", "x", "-m", "m").out.strip()
    text = elsewhere({"id": id_, "base_url": "http://127.0.0.1:1/v1"})
    ran = bgresp("import", "--from", "-", stdin=text)
    assert (2, "") == (ran.code, ran.out)
    assert "-:1: id: it is of another job here" in ran.err
    assert 0 == bgresp("status", id_).code


@pytest.mark.parametrize(
    "key", ["7" + "Z" * 25, "7" + "0" * 25, "zz", "--all", "-", "Z" * 26, "01K"]
)
def test_a_key_that_no_clock_gave_is_refused(
    bgresp: Run, elsewhere: Export, key: str
) -> None:
    """A record ahead of time, or under a key that is none, is always the newest."""
    record = {**json.loads(elsewhere({})), "key": key}
    ran = bgresp("import", "--from", "-", stdin=json.dumps(record))
    assert (2, "") == (ran.code, ran.out)
    assert "-:1: key: " in ran.err


def test_only_its_own_machine_can_say_that_it_was_not_sent(
    bgresp: Run, elsewhere: Export, state: Path
) -> None:
    """A lost submit of ours is sent again because another ledger calls it rejected."""
    unknown = elsewhere({"status": "unknown", "id": None, "submit_key": "K"})
    assert 0 == bgresp("import", "--from", "-", stdin=unknown).code
    rejected = elsewhere({"status": "rejected", "id": None, "submit_key": "K"})
    ran = bgresp("import", "--from", "-", stdin=rejected)
    assert "0 new here, 0 with news" in ran.err
    assert 7 == bgresp("submit", "-t", "x", "-m", "m", "--key", "K").code


def test_what_a_row_and_a_key_stand_for_does_not_change(
    bgresp: Run, elsewhere: Export, state: Path
) -> None:
    """A further state from elsewhere takes a job away from its key or row."""
    made = {"submit_key": "K", "group": "g", "row": "r", "request_sha256": "0"}
    assert 0 == bgresp("import", "--from", "-", stdin=elsewhere(made)).code
    other = {"submit_key": "L", "group": "h", "row": "s", "request_sha256": "1"}
    text = elsewhere({**other, "status": "completed"})
    assert 0 == bgresp("import", "--from", "-", stdin=text).code
    job = jobs(bgresp)[ident(1)]
    assert {**made, "status": "completed"} == {
        name: job[name] for name in [*made, "status"]
    }


def test_a_forgotten_job_is_no_news(
    bgresp: Run, elsewhere: Export, state: Path
) -> None:
    """A job that was forgotten here comes back, or is told of each time."""
    text = elsewhere({"status": "completed"})
    assert 0 == bgresp("import", "--from", "-", stdin=text).code
    assert 0 == bgresp("forget", ident(1)).code
    ran = bgresp("import", "--from", "-", stdin=text)
    assert (0, "") == (ran.code, ran.out)
    assert "1 job, 0 new here, 0 with news" in ran.err
    assert {} == jobs(bgresp)


def test_a_line_without_end_costs_no_other(
    bgresp: Run, elsewhere: Export, tmp_path: Path
) -> None:
    """A line longer than 16 MiB is read whole, or hides the one behind it."""
    good = elsewhere({})
    with (tmp_path / "x.jsonl").open("w") as file:
        file.write("x" * (40 << 20) + "\n" + good)
    ran = bgresp("import", "--from", "x.jsonl", "-q")
    assert (2, ident(1) + "\n") == (ran.code, ran.out)
    assert "x.jsonl:1: longer than 16 MiB" in ran.err


def test_only_what_list_prints_is_taken(
    bgresp: Run, elsewhere: Export, state: Path
) -> None:
    """Fields that no export has are ignored, whatever they hold."""
    record = {**json.loads(elsewhere({})), "vars": [1], "expect": "x", "odd": {}}
    ran = bgresp("import", "--from", "-", stdin=json.dumps(record))
    assert 0 == ran.code
    [line] = records(state)
    assert not {"expect", "odd"} & line.keys()


def test_labels_of_the_environment(
    bgresp: Run, server: FakeServer, tmp_path: Path
) -> None:
    """BGRESP_LABELS are on every new job, and -l wins over them."""
    env = {"BGRESP_LABELS": "team=search, run=7,"}
    (tmp_path / "m.jsonl").write_text('{"id":"a","text":"x","labels":{"run":"9"}}\n')
    assert 0 == bgresp("submit", "-t", "x", "-l", "run=8", env=env).code
    assert 0 == bgresp("batch", "m.jsonl", env=env).code
    labels = [job["labels"] for job in jobs(bgresp).values()]
    assert [{"team": "search", "run": "9"}, {"team": "search", "run": "8"}] == labels
    bad = bgresp("submit", "-t", "x", env={"BGRESP_LABELS": "oops"})
    assert (2, True) == (bad.code, "BGRESP_LABELS" in bad.err)
