"""`bgresp batch`: each row has one job, however often the command is run."""

import json
from collections.abc import Callable
from pathlib import Path
from signal import SIGINT
from typing import Any

import pytest

from bgresp.ledger.ledger import Ledger
from tests import fakeanswers as fa
from tests.cli.ledger import records
from tests.cli.processes import Start, Unread
from tests.cli.terminal import Terminals
from tests.command import Ran, Run
from tests.fakeanswers import Forever, Performed, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import response_of

Write = Callable[..., str]


@pytest.fixture
def manifest(tmp_path: Path) -> Write:
    """Write rows, or lines as they stand, into m.jsonl."""

    def write(*rows: Any, name: str = "m.jsonl") -> str:
        lines = [row if isinstance(row, str) else json.dumps(row) for row in rows]
        (tmp_path / name).write_text("".join(f"{line}\n" for line in lines), "utf-8")
        return name

    return write


def rows(count: int, start: int = 1) -> list[dict[str, Any]]:
    """Return rows that ask for their own number."""
    return [
        {"id": f"r{n}", "text": f"question {n}"} for n in range(start, start + count)
    ]


def asked(server: FakeServer) -> list[str]:
    """Return the prompts that were posted."""
    return [seen.json["input"] for seen in server.creates]


def results(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


def test_a_job_a_row_and_their_ids_in_order(
    server: FakeServer, hasty: Run, manifest: Write, state: Path
) -> None:
    """Each row is posted once, and stdout has an id a line in the order of the rows."""
    ran = hasty("batch", manifest(*rows(20)), "-m", "m", "-l", "a=b")
    assert (0, 20) == (ran.code, len(server.creates))
    ids = ran.out.split()
    by_id = {line["id"]: line for line in records(state) if line.get("id")}
    assert [f"r{n}" for n in range(1, 21)] == [by_id[id_]["row"] for id_ in ids]
    assert {("m", "b")} == {(j["group"], j["labels"]["a"]) for j in by_id.values()}
    assert "20 submitted" in ran.err


def test_the_same_command_again_converges(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """Rows that have their job are not posted again; new ones are; the ids are all."""
    first = bgresp("batch", manifest(*rows(3)), "-m", "m")
    again = bgresp("batch", manifest(*rows(3)), "-m", "m")
    more = bgresp("batch", manifest(*rows(5)), "-m", "m")
    assert [0, 0, 0] == [ran.code for ran in (first, again, more)]
    assert first.out == again.out
    assert first.out.split() == more.out.split()[:3]
    assert 5 == len(server.creates)
    assert "2 submitted, 3 submitted before" in more.err


def test_each_form_of_a_row(
    server: FakeServer, bgresp: Run, manifest: Write, tmp_path: Path
) -> None:
    """Text, file, input, body and OpenAI's rows arrive as they were meant."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "p.txt").write_text("from a file")
    items = [{"role": "user", "content": "items"}]
    batch = {"custom_id": "e", "method": "POST", "url": "/v1/responses"}
    name = manifest(
        {"id": "a", "text": "plain", "model": "own", "metadata": {"k": "v"}},
        {"id": "b", "file": "p.txt", "name": "named", "labels": {"x": "y"}},
        {"id": "c", "input": items},
        {"id": "d", "body": {"input": "raw", "reasoning": {"effort": "low"}}},
        {**batch, "body": {"model": "theirs", "input": "openai"}},
        name="deep/m.jsonl",
    )
    ran = bgresp("batch", name, "-m", "m", "--metadata", "all=1", "--in-flight", "1")
    assert 0 == ran.code
    bodies = [seen.json for seen in server.creates]
    assert ["plain", "from a file", items, "raw", "openai"] == [
        b["input"] for b in bodies
    ]
    assert ["own", "m", "m", "m", "theirs"] == [body["model"] for body in bodies]
    assert {"all": "1", "k": "v"}.items() <= bodies[0]["metadata"].items()
    assert {"effort": "low"} == bodies[3]["reasoning"]
    assert all(body["background"] and body["store"] for body in bodies)
    named = json.loads(bgresp("list", "--json", "-l", "x=y").out)
    assert [("named", "b")] == [(job["name"], job["row"]) for job in named]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"id": "x", "input": " "}, "m.jsonl:3: input: must be"),
        *(
            ('{"id":"x"', "m.jsonl:3: not JSON"),
            ({"id": "x"}, "m.jsonl:3: one of text"),
        ),
        ({"id": "r1", "text": "x"}, "m.jsonl:3: id: 'r1' is the row of line 1"),
        ({"id": "x", "file": "absent"}, "m.jsonl:3: file: "),
        ({"id": "x", "text": "y", "metadata": {"k": "v" * 999}}, "m.jsonl:3: metadata"),
        ({"id": "x", "body": {"stream": True}}, "m.jsonl:3: a body with stream"),
        ({"id": "x", "model": "a", "body": {"model": "b"}}, "m.jsonl:3: --model and"),
    ],
)
def test_a_bad_row_stops_all_before_the_first_post(
    server: FakeServer, bgresp: Run, manifest: Write, state: Path, bad: Any, said: str
) -> None:
    """The whole manifest is checked first: nothing is sent or written."""
    ran = bgresp("batch", manifest(*rows(2), bad), "-m", "m")
    assert (2, "", 0) == (ran.code, ran.out, len(server.requests))
    assert said in ran.err
    assert not state.exists()


OUTSIDE = ("../secret", "{top}/secret", "link", "deeper/../../secret", "below/secret")


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_row_names_no_file_outside_its_folder(
    server: FakeServer, bgresp: Run, state: Path, tmp_path: Path, name: str
) -> None:
    """A stranger's manifest uploads a file of ours: by .., a whole path, a link."""
    folder = tmp_path / "theirs"
    (folder / "deeper").mkdir(parents=True)
    (folder / "deeper" / "own").write_text("their own")
    (tmp_path / "secret").write_text("ours")
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "below").symlink_to(tmp_path)
    row = {"id": "x", "file": name.format(top=tmp_path)}
    lines = json.dumps({"id": "a", "file": "deeper/own"}) + "\n" + json.dumps(row)
    (folder / "m.jsonl").write_text(lines)
    by_name = ("batch", "theirs/m.jsonl", "-m", "m")
    refused = bgresp(*by_name)
    assert (2, "") == (refused.code, refused.out)
    assert "m.jsonl:2: file: " in refused.err
    assert "--allow-outside" in refused.err
    assert () == server.requests
    assert not state.exists()
    by_stdin = ("batch", "-", "--group", "m", "-m", "m")
    assert 2 == bgresp(*by_stdin, stdin=lines, cwd=folder).code
    assert ["their own"] == asked(server)
    allowed = bgresp(*by_name, "--allow-outside")
    assert (0, ["their own", "ours"]) == (allowed.code, asked(server)), allowed.err


def test_a_stream_is_checked_row_by_row(server: FakeServer, bgresp: Run) -> None:
    """From stdin the rows before a bad one are sent, and their ids printed."""
    lines = "".join(json.dumps(row) + "\n" for row in rows(3)) + "nonsense\n"
    ran = bgresp("batch", "-", "--group", "g", "-m", "m", stdin=lines)
    assert (2, 3, 3) == (ran.code, len(ran.out.split()), len(server.creates))
    assert "stdin:4: not JSON" in ran.err
    assert 2 == bgresp("batch", "-", "-m", "m", stdin=lines).code


def test_a_csv_and_a_template(server: FakeServer, bgresp: Run, manifest: Write) -> None:
    """Each record fills the template; line ends in a field count for the line number."""
    csv = 'id,name,note\n1,Ada,"two\nlines"\n2,Bob,{{name}}\n'
    name = manifest(csv.rstrip("\n"), name="people.csv")
    prompt = "To {{name}}: {{note}} ({{day}})"
    ran = bgresp("batch", name, "--csv", "--prompt", prompt, "--var", "day=Mon")
    assert 0 == ran.code
    assert {"To Ada: two\nlines (Mon)", "To Bob: {{name}} (Mon)"} == set(asked(server))
    assert (
        "no column 'nme'" in bgresp("batch", name, "--csv", "--prompt", "{{nme}}").err
    )
    twice = manifest(csv + "1,Eve,x", name="twice.csv")
    ran = bgresp("batch", twice, "--csv", "--prompt", prompt, "--var", "day=Mon")
    assert (2, True) == (
        ran.code,
        "twice.csv:5: id: '1' is the row of line 2" in ran.err,
    )


def test_a_csv_as_people_have_it(
    server: FakeServer, bgresp: Run, manifest: Write, tmp_path: Path
) -> None:
    """A CSV needs a column id, or an option that says what its name says."""
    (tmp_path / "people.TSV").write_bytes("\ufeffName\tNote\nAda\tx,y\n".encode())
    args = ("people.TSV", "--prompt", "To {{Name}}: {{Note}}", "-m", "m")
    missing = bgresp("batch", *args)
    assert (2, True) == (missing.code, "--id COLUMN or --id row" in missing.err)
    assert 0 == bgresp("batch", *args, "--id", "row").code
    assert 0 == bgresp("batch", *args, "--id", "row").code
    assert 0 == bgresp("batch", *args, "--id", "Name", "--group", "g").code
    assert ["To Ada: x,y"] * 2 == asked(server)
    no_prompt = bgresp("batch", "people.TSV", "--id", "row")
    assert (2, True) == (no_prompt.code, "a CSV needs --prompt" in no_prompt.err)
    lines = manifest({"q": "Why?"}, {"q": "How?"}, name="q.jsonl")
    ran = bgresp("batch", lines, "--id", "row", "--prompt", "{{q}}", "-m", "m")
    assert (0, {"Why?", "How?"}) == (ran.code, {*asked(server)} - {"To Ada: x,y"})


def test_a_table_of_a_spreadsheet(
    server: FakeServer, bgresp: Run, tmp_path: Path
) -> None:
    """Odd names of columns, semicolons, blanks and unnamed columns keep rows away."""
    head = " E-Mail Address;Full Name;Größe;;"
    table = f'{head}\r\na@b;"Ada; Countess";1,70;;\r\n'
    (tmp_path / "people.csv").write_bytes(table.encode())
    args = ("people.csv", "--id", "E-Mail Address", "-m", "m")
    ran = bgresp("batch", *args, "--prompt", "To {{Full Name}}, {{ Größe }} m")
    assert 0 == ran.code, ran.err
    assert ["To Ada; Countess, 1,70 m"] == asked(server)
    assert (
        "a@b" == json.loads(bgresp("list", "--json", "--fields", "row").out)[0]["row"]
    )
    wrong = bgresp("batch", *args, "--prompt", "To {{Name}}", "--group", "other")
    assert (2, True) == (wrong.code, "no column 'Name'" in wrong.err)


def test_a_table_that_is_no_utf_8(bgresp: Run, tmp_path: Path) -> None:
    """The line with the umlaut, or what to do about it, is not named."""
    rows = b"id,name\n" + b"".join(b"%d,x\n" % n for n in range(9000))
    (tmp_path / "people.csv").write_bytes(rows + b"z,M\xfcller\n")
    ran = bgresp("batch", "people.csv", "--prompt", "To {{name}}", "-m", "m")
    assert (2, "") == (ran.code, ran.out)
    assert "people.csv:9002: not UTF-8 (if it is of Windows: iconv" in ran.err
    (tmp_path / "head.csv").write_bytes(b"id,Gr\xf6\xdfe\n1,2\n")
    ran = bgresp("batch", "head.csv", "--prompt", "To {{id}}", "-m", "m")
    assert (2, True) == (ran.code, "head.csv:1: not UTF-8 (" in ran.err)


def test_chat_rows_are_converted_and_shown(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """A Batch file of chat completions is refused, or what it becomes is not shown."""
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "stop": "x"}
    row = {"custom_id": "a", "url": "/v1/chat/completions", "body": body}
    refused = bgresp("batch", manifest({"id": "b", "text": "x"}, row))
    assert (2, ()) == (refused.code, server.requests)
    assert "m.jsonl:2: body.stop: has no counterpart" in refused.err
    del body["stop"]
    dry = bgresp("batch", manifest(row), "--dry-run")
    assert body["messages"] == json.loads(dry.out)["input"]
    assert 0 == bgresp("batch", manifest(row)).code
    assert body["messages"] == server.creates[0].json["input"]


@pytest.mark.parametrize("name", ["m.jsonl", "m.csv"])
def test_a_manifest_without_rows(
    server: FakeServer, bgresp: Run, tmp_path: Path, name: str
) -> None:
    """A script cannot tell an export that came out empty from one that was sent."""
    (tmp_path / name).write_text("id,word\n" if name == "m.csv" else "\n\n")
    for content in ((tmp_path / name).read_text(), ""):
        (tmp_path / name).write_text(content)
        args = ("batch", name, "--prompt", "x", "-m", "m")
        ran = bgresp(*args)
        assert (3, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran.err
        assert f"{name} has no rows" in ran.err
        assert 3 == bgresp(*args, "--dry-run").code
        assert 0 == bgresp(*args, "--allow-empty").code
    assert 3 == bgresp("batch", "-", "--group", "g", "-m", "m", stdin="").code
    assert () == server.requests


def test_a_changed_row(server: FakeServer, bgresp: Run, manifest: Write) -> None:
    """Another request under the same id is refused, kept out, or sent: as was said."""
    old = bgresp("batch", manifest(*rows(2)), "-m", "m").out
    changed = manifest(rows(1)[0], {"id": "r2", "text": "another"})
    refused = bgresp("batch", changed, "-m", "m")
    assert (2, "", 2) == (refused.code, refused.out, len(server.creates))
    assert "m.jsonl:2: row 'r2' was submitted with another request" in refused.err
    skipped = bgresp("batch", changed, "-m", "m", "--changed", "skip")
    assert (0, old, 2) == (skipped.code, skipped.out, len(server.creates))
    anew = bgresp("batch", changed, "-m", "m", "--changed", "resubmit")
    assert (0, "another") == (anew.code, asked(server)[-1])
    again = bgresp("batch", changed, "-m", "m", "--changed", "resubmit")
    assert (anew.out, 3) == (again.out, len(server.creates))


def test_lost_replies_are_named_and_never_sent_again(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """A row whose outcome is unknown exits 7, again and again, with one POST."""
    server.script("create", fa.Snapshot(), Performed(), fa.Snapshot())
    args = ("batch", manifest(*rows(3)), "-m", "m", "--in-flight", "1")
    first, again = bgresp(*args), bgresp(*args)
    assert (7, 7) == (first.code, again.code)
    assert 2 == len(first.out.split()) == len(again.out.split())
    for ran in (first, again):
        assert "row 'r2'" in ran.err
        assert "bgresp resolve" in ran.err
    assert 3 == len(server.creates)


def test_an_endpoint_that_swallows_requests_gets_no_more(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """After five unknown outcomes in a row the batch stops."""
    server.script("create", Forever(refusal(502, "bad gateway")))
    ran = bgresp("batch", manifest(*rows(20)), "-m", "m", "--in-flight", "1")
    assert (7, 5) == (ran.code, len(server.creates))
    assert "the same command again" in ran.err


def test_a_refused_row_costs_only_itself(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """A row that the endpoint refuses exits 5, and is sent again by the next run."""
    server.script("create", refusal(400, "too bad"))
    args = ("batch", manifest(*rows(3)), "-m", "m", "--in-flight", "1")
    ran = bgresp(*args)
    assert (5, 2, 3) == (ran.code, len(ran.out.split()), len(server.creates))
    assert ": refused: too bad" in ran.err
    again = bgresp(*args)
    assert (0, 3, 4) == (again.code, len(again.out.split()), len(server.creates))


def test_a_refused_key_stops_the_batch(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """A refusal of the endpoint, not of a row, is not repeated for each row."""
    server.script("create", Forever(refusal(401, "who are you")))
    ran = bgresp("batch", manifest(*rows(50)), "-m", "m", "--in-flight", "2")
    assert 4 == ran.code
    assert len(server.creates) <= 2


def test_limit_and_max_failures(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """--limit is done as asked, --max-failures is not."""
    name = manifest(*rows(10))
    args = ("batch", name, "-m", "m", "--in-flight", "1")
    assert 0 == bgresp(*args, "--limit", "4").code
    assert 0 == bgresp(*args, "--limit", "4").code
    assert 8 == len(server.creates)
    more = manifest(*rows(20))
    server.script("create", *[refusal(400, "no")] * 3)
    ran = bgresp(*args, "--max-failures", "3")
    assert (9, 11) == (ran.code, len(server.creates))
    assert more == name


def test_what_waits_for_the_gate_is_not_sent_after_the_stop(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """--max-failures stops rows that wait for their turn: they would be paid for."""
    server.script("create", refusal(400, "no"))
    how = ("--rate", "6/m", "--in-flight", "8", "--max-failures", "1")
    ran = bgresp("batch", manifest(*rows(20)), "-m", "m", *how)
    assert (9, 1) == (ran.code, len(server.creates))


def test_what_an_endpoint_holds_up_is_not_sent_after_the_stop(
    server: FakeServer, hasty: Run, manifest: Write
) -> None:
    """A row that was told to wait is not sent again once the batch is stopped."""
    server.script("create", refusal(429, "slow", **{"Retry-After": "20"}))
    server.script("create", refusal(401, "who"))
    server.together = 2
    how = ("--in-flight", "2", "--max-failures", "1")
    ran = hasty("batch", manifest(*rows(20)), "-m", "m", *how)
    assert (9, 2) == (ran.code, len(server.creates))
    assert 0 == hasty("batch", "m.jsonl", "-m", "m").code
    assert 22 == len(server.creates)


def test_old_failures_do_not_stop_a_run(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """A rerun goes on: what failed before is no failure of this run."""
    server.script("get", fa.Snapshot("failed"), fa.Snapshot("failed"))
    server.script("get", Forever(fa.Snapshot("completed")))
    how = ("-m", "m", "--wait", "--in-flight", "1", "--max-failures", "2")
    first = bgresp("batch", manifest(*rows(6)), *how)
    assert (12, 2) == (first.code, len(server.creates))
    again = bgresp("batch", "m.jsonl", *how)
    assert (12, 6) == (again.code, len(server.creates))
    assert "4 submitted, 2 submitted before" in again.err


def test_the_end_of_a_batch_tells_what_to_type(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """A row that was refused and one whose job failed are told apart."""
    server.script("create", refusal(400, "no"))
    server.script("get", fa.Snapshot("failed"), Forever(fa.Snapshot("completed")))
    how = ("-m", "m", "--wait", "--in-flight", "1", "--group", "a b")
    ran = bgresp("batch", manifest(*rows(4)), *how)
    said = "3 submitted, 1 refused, 1 failed; bgresp retry --failed --group 'a b'"
    assert said in ran.err


def test_a_row_that_cannot_be_followed_was_submitted(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """A refused question is no refused row: its job is there, and goes on."""
    server.script("get", Forever(refusal(403, "not yours")))
    ran = bgresp("batch", manifest(*rows(1)), "-m", "m", "--wait")
    assert (4, 1) == (ran.code, len(server.creates))
    assert "1 submitted, 1 failed" in ran.err


def test_a_dry_run_minds_the_limit(bgresp: Run, manifest: Write) -> None:
    """--dry-run --limit counts what would be sent."""
    ran = bgresp("batch", manifest(*rows(6)), "-m", "m", "--dry-run", "--limit", "2")
    assert "nothing was sent; 2 of 6 rows" in ran.err


def test_a_cell_that_leaves_the_prompt_empty(
    server: FakeServer, bgresp: Run, tmp_path: Path
) -> None:
    """A row whose prompt would be empty is named; nothing is sent."""
    (tmp_path / "p.csv").write_text("id,name\na,x\nb, \n")
    ran = bgresp("batch", "p.csv", "--csv", "--prompt", "{{name}}", "-m", "m")
    assert (2, 0) == (ran.code, len(server.creates))
    assert "p.csv:3: the filled prompt is empty" in ran.err


def test_a_refused_row_is_none_of_the_limit(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """--limit 3 gets three rows their job, though the first four never get one."""
    server.script("create", *[refusal(400, "no")] * 4)
    ran = bgresp("batch", manifest(*rows(20)), "-m", "m", "--limit", "3")
    assert (5, 3, 7) == (ran.code, len(ran.out.split()), len(server.creates))


def test_a_lost_reply_counts_for_the_limit(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """What may have been accepted may have to be paid for."""
    server.script("create", fa.RESET)
    ran = bgresp("batch", manifest(*rows(20)), "-m", "m", "--limit", "3")
    assert (7, 2, 3) == (ran.code, len(ran.out.split()), len(server.creates))


def test_shards_cover_each_row_once(
    server: FakeServer, hasty: Run, manifest: Write, tmp_path: Path
) -> None:
    """Three shards with three ledgers post every row, and none twice."""
    name = manifest(*rows(40))
    for number in (1, 2, 3):
        own = {"BGRESP_STATE_DIR": str(tmp_path / f"state-{number}")}
        args = ("batch", name, "-m", "m", "--shard", f"{number}/3")
        assert 0 == hasty(*args, env=own).code
    assert sorted(f"question {n}" for n in range(1, 41)) == sorted(asked(server))
    assert 2 == hasty("batch", name, "-m", "m", "--shard", "0/3").code


def test_results_and_files(
    server: FakeServer, hasty: Run, manifest: Write, tmp_path: Path
) -> None:
    """Each row's answer is a line and a file; a second run adds nothing."""
    name = manifest(*rows(3), {"id": "../../evil", "text": "x"})
    args = ("batch", name, "-m", "m", "--results", "r.jsonl", "--out-dir", "out")
    ran = hasty(*args)
    assert (0, 4) == (ran.code, len(ran.out.split()))
    lines = results(tmp_path / "r.jsonl")
    assert {"r1", "r2", "r3", "../../evil"} == {line["id"] for line in lines}
    assert {"completed"} == {line["status"] for line in lines}
    files = sorted((tmp_path / "out").iterdir())
    assert {"r1.txt", "r2.txt", "r3.txt"} < {file.name for file in files}
    assert 4 == len(files)
    assert {line["text"] for line in lines} == {
        path.read_text("utf-8").rstrip("\n") for path in files
    }
    content = (tmp_path / "r.jsonl").read_bytes()
    (tmp_path / "r.jsonl").write_bytes(content[:-9])
    again = hasty(*args)
    assert (0, ran.out) == (again.code, again.out)
    key = lambda line: line["id"]  # noqa: E731
    assert sorted(lines, key=key) == sorted(results(tmp_path / "r.jsonl"), key=key)
    assert 4 == len(server.creates)


def test_a_reader_that_left_is_no_fault_of_the_results(
    unread: Unread, manifest: Write
) -> None:
    """Without a reader of the ids the end is 141, and no file is blamed for it."""
    ran = unread("batch", manifest(*rows(3)), "-m", "m", "--results", "r.jsonl")
    assert (141, False) == (ran.code, "r.jsonl" in ran.err)


def test_what_did_not_complete_is_retried_where_asked(
    server: FakeServer, hasty: Run, manifest: Write, tmp_path: Path
) -> None:
    """--retry-failed sends failed rows anew, linked; without it they stay as they are."""
    name = manifest(*rows(2))
    args = ("batch", name, "-m", "m", "--results", "r.jsonl", "--in-flight", "1")
    server.script("create", fa.Snapshot("failed"))
    assert [12, 12] == [hasty(*args).code, hasty(*args).code]
    ran = hasty(*args, "--retry-failed")
    assert (0, 3) == (ran.code, len(server.creates))
    lines = results(tmp_path / "r.jsonl")
    assert [("r1", "failed"), ("r2", "completed"), ("r1", "completed")] == [
        (line["id"], line["status"]) for line in lines
    ]
    newest = json.loads(hasty("list", "--json", "--limit", "1").out)[0]
    assert newest["retry_of"] is not None
    assert 0 == hasty(*args, "--retry-failed").code
    assert 3 == len(server.creates)


def test_what_failed_is_retried_by_one_at_a_time(
    server: FakeServer, hasty: Run, manifest: Write, state: Path
) -> None:
    """`retry --failed` and `batch --retry-failed` at once pay for one job twice."""
    args = ("batch", manifest(*rows(1)), "-m", "m", "--wait")
    server.script("create", fa.Snapshot("failed"))
    assert 12 == hasty(*args).code
    with Ledger(state).claim("retry --failed"):
        ran = hasty(*args, "--retry-failed")
    assert (8, "", 1) == (ran.code, ran.out, len(server.creates))
    assert (0, 2) == (hasty(*args, "--retry-failed").code, len(server.creates))


ODD = [
    ({"labels": {"a": "b\x1b"}}, "the label 'a=b\\x1b' has control characters"),
    ({"name": "@last"}, "the name '@last' would be taken for a reference"),
    ({"metadata": {"bgresp_key": "k"}}, "the name is bgresp's own"),
]


@pytest.mark.parametrize(("more", "said"), ODD)
def test_a_row_may_not_be_called_so(
    server: FakeServer, bgresp: Run, manifest: Write, more: Any, said: str
) -> None:
    """What cannot be typed or is ours stops the batch before a row is sent."""
    name = manifest(*rows(1), {"id": "odd", "text": "x", **more})
    ran = bgresp("batch", name, "-m", "m")
    assert (2, "", True) == (ran.code, ran.out, said in ran.err), ran
    assert "m.jsonl:2" in ran.err
    assert () == server.requests


def test_a_manifest_that_is_not_there_comes_first(bgresp: Run) -> None:
    """Where nothing is configured either, the missing file is told."""
    env = {"BGRESP_API_KEY": None, "BGRESP_BASE_URL": None}
    for more in ((), ("--group", "g")):
        ran = bgresp("batch", "nope.jsonl", *more, env=env)
        assert (2, "", True) == (ran.code, ran.out, "nope.jsonl: " in ran.err)


def test_what_was_not_sent_is_no_result(
    server: FakeServer, hasty: Run, manifest: Write, tmp_path: Path
) -> None:
    """An outage leaves no line for rows that the next run sends."""
    name = manifest(*rows(3))
    down = {"BGRESP_BASE_URL": "http://127.0.0.1:1/v1"}
    args = ("batch", name, "-m", "m", "--results", "out.jsonl")
    assert 6 == hasty(*args, env=down).code
    assert [] == results(tmp_path / "out.jsonl")
    server.script("get", Forever(fa.Snapshot("completed")))
    assert 0 == hasty(*args, "--changed", "resubmit").code
    assert ["completed"] * 3 == [x["status"] for x in results(tmp_path / "out.jsonl")]


@pytest.mark.parametrize("content", ["precious\n", '{"a": 1}\n'])
def test_a_foreign_results_file_is_not_touched(
    server: FakeServer, bgresp: Run, manifest: Write, tmp_path: Path, content: str
) -> None:
    """A file that is no results file is refused before anything is sent."""
    (tmp_path / "r.jsonl").write_text(content)
    ran = bgresp("batch", manifest(*rows(1)), "-m", "m", "--results", "r.jsonl")
    assert (2, 0) == (ran.code, len(server.creates))
    assert content == (tmp_path / "r.jsonl").read_text()


def test_a_dry_run_sends_and_writes_nothing(
    server: FakeServer, bgresp: Run, manifest: Write, state: Path
) -> None:
    """It prints the first request, and counts what would be sent."""
    ran = bgresp("batch", manifest(*rows(3)), "-m", "m", "--dry-run")
    assert (0, "question 1") == (ran.code, json.loads(ran.out)["input"])
    assert "3 of 3 rows" in ran.err
    assert not server.requests
    assert not state.exists()


def test_records_as_json(bgresp: Run, manifest: Write) -> None:
    """--jsonl prints a record a line, --json an array, with the fields asked for."""
    name = manifest(*rows(2))
    lines = bgresp("batch", name, "-m", "m", "--jsonl").out.splitlines()
    assert ["r1", "r2"] == [json.loads(line)["row"] for line in lines]
    array = json.loads(
        bgresp("batch", name, "--json", "-m", "m", "--fields", "row").out
    )
    assert [{"row": "r1"}, {"row": "r2"}] == array


def test_the_endpoint_sets_the_pace(
    server: FakeServer, hasty: Run, manifest: Write
) -> None:
    """A 429 makes every row wait, and costs none of them."""
    server.script("create", refusal(429, "slow", retry_after="1"), fa.Snapshot())
    ran = hasty("batch", manifest(*rows(6)), "-m", "m", "--in-flight", "3")
    assert (0, 6) == (ran.code, len(ran.out.split()))
    assert 7 == len(server.creates)


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_line_tells_how_sending_goes(
    server: FakeServer,
    terminal: Terminals,
    bgresp: Run,
    manifest: Write,
    columns: int,
) -> None:
    """A person sees one line below the ids; it tears none, and goes away.

    A pipe gets the ids alone, and stderr that is no terminal gets no control at all.
    """
    name, size = manifest(*rows(9)), (columns, 12)
    command = ("batch", name, "-m", "m", "--rate", "10/s")
    it = terminal(*command, size=size, before="seq 1 20")
    it.until(lambda it: any("sending " in x and " of 9" in x for x in it.lines))
    assert 0 == it.finish()
    ids = [line for line in it.spoken.decode().split() if line.startswith("resp_")]
    assert (9, "20") == (len(ids), it.spoken.decode().split("\r\n")[19])
    assert [*ids, "bgresp: m.jsonl: 9 submitted"] == it.lines[-10:]
    assert (False, True) == (it.screen.cursor.hidden, it.echoes)
    piped = terminal(*command, size=size, piped=True)
    assert 0 == piped.finish()
    assert ids == piped.out.decode().split("\n")[:-1]
    assert b"sending" in piped.raw
    plain = bgresp(*command)
    assert "".join(f"{id_}\n" for id_ in ids) == plain.out
    assert "bgresp: m.jsonl: 0 submitted, 9 submitted before\n" == plain.err
    assert 9 == len(server.creates)


@pytest.mark.parametrize("end", ["ended", "stopped"])
@pytest.mark.parametrize("columns", [40, 80, 200])
def test_a_board_while_rows_are_waited_for(
    server: FakeServer, terminal: Terminals, manifest: Write, columns: int, end: str
) -> None:
    """With --wait a person sees what `watch --group` shows, of rows to come, too."""
    name = manifest(*rows(6))
    if end == "stopped":
        server.script("get", Forever(fa.as_json(response_of("in_progress"))))
    it = terminal(
        "batch", name, "-m", "m", "--wait", "--rate", "6/s", size=(columns, 20)
    )
    it.until(lambda it: it.shows(" to come") and it.shows(" of 6"))
    if end == "stopped":
        it.until(lambda it: it.shows("6 in_progress") or it.shows(" in_progress  "))
        it.type(b"\x03")
        assert 130 == it.finish()
        assert 1 == " ".join(it.lines).count("the same command again")
    else:
        assert 0 == it.finish()
        assert [f"✓ r{n} " for n in range(1, 7)] == sorted(
            x[:5] for x in it.lines if x.startswith("✓")
        )
        assert ["6 completed", "bgresp: m.jsonl: 6 submitted"] == it.lines[-2:]
    ids = [line for line in it.spoken.decode().split() if line.startswith("resp_")]
    assert ids == [x for x in it.lines if x.startswith("resp_")]
    assert not any(mark in line for mark in "━─⠋" for line in it.lines)
    assert (False, True) == (it.screen.cursor.hidden, it.echoes)


def test_ctrl_c_keeps_what_was_submitted(
    server: FakeServer, start: Start, hasty: Run, manifest: Write
) -> None:
    """The first Ctrl-C waits for ids on their way, begins nothing, says how to go on."""
    name = manifest(*rows(30))
    server.script("create", fa.Snapshot(), fa.Snapshot())
    batch = start("batch", name, "-m", "m", "--rate", "1/s")
    server.wait_for("create", 2)
    ran = batch.finish(SIGINT)
    assert 130 == ran.code
    assert "the same command again" in ran.err
    sent = len(server.creates)
    assert sent == len(ran.out.split())
    whole = hasty("batch", name, "-m", "m")
    assert (0, 30) == (whole.code, len(set(whole.out.split())))
    assert 30 == len(server.creates)
    assert ran.out.split() == whole.out.split()[:sent]


def test_stdin_that_stays_open_holds_nothing_up(
    server: FakeServer, start: Start
) -> None:
    """Rows of a pipe are sent as they come, and Ctrl-C ends the wait for more."""
    batch = start("batch", "-", "--group", "g", "-m", "m")
    assert batch.process.stdin is not None
    batch.process.stdin.write(b'{"id":"a","text":"x"}\n')
    batch.process.stdin.flush()
    server.wait_for("create", 1)
    batch.until(b"resp_")
    ran: Ran = batch.finish(SIGINT)
    assert (130, "Fatal" in ran.err) == (ran.code, False)


def test_a_stopped_batch_does_not_wait_for_stdin(
    server: FakeServer, start: Start
) -> None:
    """What stops a batch ends it, though its pipe may bring more rows."""
    server.script("create", refusal(400, "no"))
    batch = start("batch", "-", "--group", "g", "-m", "m", "--max-failures", "1")
    assert batch.process.stdin is not None
    batch.process.stdin.write(b'{"id":"a","text":"x"}\n')
    batch.process.stdin.flush()
    ran: Ran = batch.finish()
    assert (9, "Fatal" in ran.err) == (ran.code, False)
    assert "1 refused; the same command again" in ran.err


def test_two_at_once_submit_each_row_once(
    server: FakeServer, start: Start, manifest: Write
) -> None:
    """Two crons at once share the rows, and print the same ids."""
    name = manifest(*rows(25))
    both = [start("batch", name, "-m", "m") for _ in range(2)]
    first, second = (one.finish() for one in both)
    assert (0, 0, 25) == (first.code, second.code, len(server.creates))
    assert first.out == second.out


def test_a_file_named_dash_is_not_the_manifest(
    server: FakeServer, bgresp: Run, tmp_path: Path
) -> None:
    """A file `-` in the folder makes a batch from stdin send nothing."""
    (tmp_path / "-").write_text("")
    lines = "".join(json.dumps(row) + "\n" for row in rows(2))
    ran = bgresp("batch", "-", "--group", "g", "-m", "m", stdin=lines)
    assert (0, 2) == (ran.code, len(server.creates)), ran.err


def test_forgotten_rows_are_not_paid_for_again(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """After `prune` the same batch posts its rows anew."""
    name = manifest(*rows(3))
    first = bgresp("batch", name, "-m", "m")
    assert 0 == bgresp("sync").code
    assert 0 == bgresp("sync").code
    assert 0 == bgresp("prune", "--older", "0s", "--group", "m").code
    assert "" == bgresp("list", "-q").out
    again = bgresp("batch", name, "-m", "m")
    assert (0, first.out, 3) == (again.code, again.out, len(server.creates)), again.err
    waited = bgresp("batch", name, "-m", "m", "--wait")
    assert (0, 3) == (waited.code, len(server.creates)), waited.err


def test_a_row_at_another_endpoint_is_another_row(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """A row's job at one endpoint is silently taken for its job at another."""
    name = manifest(*rows(1))
    assert 0 == bgresp("batch", name, "-m", "m").code
    with FakeServer() as other:
        env = {"BGRESP_BASE_URL": other.base_url}
        ran = bgresp("batch", name, "-m", "m", env=env)
        assert (2, "", ()) == (ran.code, ran.out, other.creates)
        assert "row 'r1'" in ran.err
        how = ("--changed", "resubmit")
        assert 0 == bgresp("batch", name, "-m", "m", *how, env=env).code
        assert (1, 1) == (len(other.creates), len(server.creates))


def test_rows_in_doubt_do_not_end_the_next_run(
    server: FakeServer, bgresp: Run, manifest: Write
) -> None:
    """--max-failures counts what an earlier run left unknown, and never goes on."""
    name = manifest(*rows(3))
    server.script("create", refusal(500))
    how = ("batch", name, "-m", "m", "--max-failures", "1", "--in-flight", "1")
    assert (7, 1) == (bgresp(*how).code, len(server.creates))
    ran = bgresp(*how)
    assert (7, 3) == (ran.code, len(server.creates)), ran.err
    assert "row 'r1'" in ran.err
