"""`bgresp submit`: what is sent, what is printed, and what is on disk before it."""

import json
import os
import re
import signal
from pathlib import Path

import pytest

from tests.cli.ledger import FIELDS, ident, last, picture, records, seed
from tests.cli.processes import Shell, Start
from tests.cli.terminal import Terminals
from tests.command import Run
from tests.fakeanswers import (
    HANG,
    RESET,
    End,
    NoReply,
    Reply,
    Snapshot,
    Stream,
    as_json,
    html,
    redirect,
    refusal,
)
from tests.fakeserver import FakeServer
from tests.fakewire import FOX

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


def test_files_and_stdin_are_a_job_each(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Each FILE and `-` is one background response, and stdout is an id a line."""
    (tmp_path / "a.txt").write_text("first\n")
    (tmp_path / "-b").write_text("second é")
    secret = {"BGRESP_API_KEY": "sk-a-very-secret-key"}
    files = ("--", "a.txt", "./-b", "-")
    ran = bgresp("submit", "-m", "gpt", *files, stdin="third", env=secret)
    assert (0, f"{ident(1)}\n{ident(2)}\n{ident(3)}\n", "") == (
        *(ran.code, ran.out, ran.err),
    )
    bodies = [seen.json for seen in server.creates]
    assert ["first\n", "second é", "third"] == [body["input"] for body in bodies]
    lines = {line["id"]: line for line in records(state) if "id" in line}
    for number, (seen, body) in enumerate(zip(server.creates, bodies, strict=True), 1):
        key = lines[ident(number)]["key"]
        assert {
            "model": "gpt",
            "input": body["input"],
            "background": True,
            "store": True,
            "metadata": {"bgresp_key": key},
        } == body
        assert key == seen.headers["idempotency-key"]
        assert "Bearer sk-a-very-secret-key" == seen.headers["authorization"]
        assert "identity" == seen.headers["accept-encoding"]
        request = state / "requests" / f"{key}.json"
        assert seen.body == request.read_bytes()
    assert not list((state / "inflight").iterdir())
    assert not any(b"sk-a-very" in data for data in picture(state).values())
    modes = {path: path.stat().st_mode & 0o777 for path in state.rglob("*")}
    assert 0o700 == state.stat().st_mode & 0o777
    assert {0o700} == {mode for path, mode in modes.items() if path.is_dir()}
    assert {0o600} == {mode for path, mode in modes.items() if path.is_file()}


def test_options_shape_the_body_and_the_record(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Every option of the request is in the body, every name of the job in its record.

    One REF or FILE is one JSON object with exactly the fields of the contract.
    """
    seed(state, {"name": "before", "status": "completed"}, server=server)
    (tmp_path / "system.md").write_text("Be brief.\n")
    ran = bgresp(
        *("submit", "-t", "hi", "-m", "gpt", "-s", "@system.md", "--json"),
        *("--set", "reasoning.effort=high", "--set", "temperature=0.5"),
        *("--set", "flag=true", "--metadata", "a=b=c", "--max-output-tokens", "9"),
        *("--previous", "before", "-n", "me", "--group", "g"),
        *("-l", "env=prod", "-l", "x=", "-H", "X-Team: search"),
    )
    assert (0, "") == (ran.code, ran.err)
    seen = server.creates[0]
    body, record = seen.json, json.loads(ran.out)
    assert "search" == seen.headers["x-team"]
    assert "Be brief.\n" == body["instructions"]
    assert ({"effort": "high"}, 0.5, True) == (
        *(body["reasoning"], body["temperature"], body["flag"]),
    )
    assert (9, ident(1)) == (body["max_output_tokens"], body["previous_response_id"])
    assert {"a": "b=c", "bgresp_key": record["key"]} == body["metadata"]
    assert FIELDS == tuple(record)
    expected = {
        "schema": "bgresp.job/1",
        "id": ident(1),
        "name": "me",
        "group": "g",
        "labels": {"env": "prod", "x": ""},
        "profile": "openai",
        "base_url": server.base_url,
        "model": "gpt",
        "status": "queued",
        "raw_status": "queued",
        "previous_id": ident(1),
        "finished_at": None,
        "exit_code": 8,
    }
    assert expected == {name: record[name] for name in expected}
    assert all(TIME.fullmatch(record[n]) for n in ("created_at", "submitted_at"))


def test_a_raw_body_is_sent_with_ours_over_it(
    bgresp: Run, server: FakeServer, tmp_path: Path
) -> None:
    """--body gives the request itself; background, store and the key stay explicit."""
    (tmp_path / "body.json").write_text('{"input": [{"a": 1}], "metadata": {"m": "1"}}')
    first = bgresp("submit", "--body", "@body.json", "-s", "Be brief.", "--jsonl")
    assert (0, 1) == (first.code, first.out.count("\n"))
    second = bgresp("submit", "-t", "hi", "--body", '{"top_p": 1, "model": "gpt-b"}')
    assert (0, f"{ident(2)}\n") == (second.code, second.out)
    raw, mixed = (seen.json for seen in server.creates)
    key = json.loads(first.out)["key"]
    assert {"m": "1", "bgresp_key": key} == raw["metadata"]
    assert ([{"a": 1}], True, True, "Be brief.") == (
        *(raw["input"], raw["background"], raw["store"], raw["instructions"]),
    )
    assert ("hi", 1, "gpt-b") == (mixed["input"], mixed["top_p"], mixed["model"])


def test_intent_is_on_disk_before_the_request_leaves(
    bgresp: Run, start: Start, server: FakeServer, state: Path
) -> None:
    """When the POST arrives the ledger says `submitting`; left alone, `unknown`.

    Two signals leave without an id, and stderr says that it may have been accepted.
    """
    server.script("create", HANG)
    submit = start("submit", "-t", "a secret", "--no-keep-prompt")
    server.wait_for("create")
    assert [("submitting", None)] == [
        (line["status"], line.get("id")) for line in records(state)
    ]
    other = bgresp("wait", "@last")
    assert (8, "") == (other.code, other.out)
    submit.process.send_signal(signal.SIGINT)
    submit.until(b"again to leave", "err")
    ran = submit.finish(signal.SIGINT)
    assert (130, "") == (ran.code, ran.out)
    assert "it may have been accepted" in ran.err
    assert "unknown" == last(state)["status"]
    for verb in ("wait", "get"):
        again = bgresp(verb, "@last")
        assert (7, "") == (again.code, again.out)
        assert last(state)["key"] in again.err
    assert 1 == len(server.requests)
    assert not any(b"a secret" in data for data in picture(state).values())


@pytest.mark.parametrize("where", [">/dev/full", ">&-"])
def test_an_id_is_on_disk_before_it_is_printed(
    shell: Shell, server: FakeServer, state: Path, where: str
) -> None:
    """An id that cannot be printed is in the ledger all the same, and the exit is 1."""
    ran = shell(f'"$@" {where}', "submit", "-t", "hi")
    assert (1, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert "stdout" in ran.err
    assert (ident(1), "queued") == (last(state)["id"], last(state)["status"])


def test_a_dry_run_sends_and_writes_nothing(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """--dry-run prints the bodies, one or an array; no request leaves, no file is."""
    (tmp_path / "a").write_text("one")
    one = bgresp("submit", "a", "-m", "gpt", "--dry-run")
    assert (0, "gpt", "one") == (
        *(one.code, json.loads(one.out)["model"], json.loads(one.out)["input"]),
    )
    assert "nothing was sent" in one.err
    two = bgresp("submit", "a", "a", "--dry-run")
    assert ["one", "one"] == [body["input"] for body in json.loads(two.out)]
    assert ((), False) == (server.requests, state.exists())


KEYLESS: list[tuple[list[str], str]] = [
    (["-p", "freddy"], "Authorization: Bearer $FREDDY_API_KEY (not set)"),
    (["-p", "freddy-key"], "X-API-Key: $FREDDY_API_KEY (not set)"),
    (["-p", "work"], "Authorization: Bearer <cmd> (set)"),
    (["-p", "vllm", "--base-url", "http://127.0.0.1:1"], "http://127.0.0.1:1\n"),
    ([], "Authorization: Bearer $OPENAI_API_KEY (not set)"),
]


@pytest.mark.parametrize(("args", "said"), KEYLESS)
def test_a_dry_run_needs_no_key(
    bgresp: Run, tmp_path: Path, args: list[str], said: str
) -> None:
    """It says where the key would come from, and neither has it nor runs for it."""
    (tmp_path / "config" / "config.toml").write_text(
        "[profiles.work]\nmodel = 'm'\napi_key_cmd = ['touch', 'ran']\n"
    )
    (tmp_path / "m.jsonl").write_text('{"id": 1, "text": "hi"}\n')
    env = {"BGRESP_API_KEY": None, "BGRESP_BASE_URL": None}
    for verb in (["submit", "-t", "hi"], ["batch", "m.jsonl"]):
        ran = bgresp(*verb, "--dry-run", *args, env=env)
        assert 0 == ran.code, ran
        assert "hi" in ran.out
        assert said in ran.err
    assert not (tmp_path / "ran").exists()
    ran = bgresp("submit", "-t", "x", "--dry-run", env={"BGRESP_API_KEY": "sk-hidden"})
    assert "Bearer $BGRESP_API_KEY (set)" in ran.err
    assert "hidden" not in ran.out + ran.err
    own = ("-H", "authorization: Bearer sk-hidden")
    ran = bgresp("submit", "-t", "x", "--dry-run", *own)
    assert ran.err.endswith(" with Authorization as -H or `headers` has it\n")
    assert "hidden" not in ran.out + ran.err


NAMES = [
    ("--group", "the group 'a=\\x1b[1m' has control"),
    ("-l", "the label 'a=\\x1b[1m' has control"),
    ("--key", "the key 'a=\\x1b[1m' has control"),
    ("-n", "a name must be printable"),
]


def test_what_a_job_is_called_has_no_controls(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Names, groups, labels and keys that a terminal would obey are refused."""
    for option, said in NAMES:
        ran = bgresp("submit", "-t", "x", option, "a=\x1b[1m")
        assert (2, "", True) == (ran.code, ran.out, said in ran.err), ran
    ran = bgresp("submit", "-t", "x", env={"BGRESP_LABELS": "a=b\nc"})
    assert (2, "", True) == (ran.code, ran.out, "label 'a=b\\nc' has" in ran.err)
    ran = bgresp("import", "resp_1", "--group", "a\tb")
    assert (2, "", True) == (ran.code, ran.out, "the group 'a\\tb' has" in ran.err)
    config = tmp_path / "config" / "config.toml"
    config.write_text('[profiles."a\\u001b"]\n')
    ran = bgresp("submit", "-t", "x")
    assert (4, "", True) == (ran.code, ran.out, f"{config}: the profile" in ran.err)
    assert ((), False) == (server.requests, state.exists())


def test_watch_prints_the_answer(bgresp: Run, server: FakeServer, state: Path) -> None:
    """With --watch stdout is the answer and a newline; the id is on stderr."""
    ran = bgresp("submit", "-t", "hi", "--watch")
    assert (0, FOX + "\n") == (ran.code, ran.out)
    first, *rest = ran.err.splitlines()
    assert f"bgresp: submitted {ident(1)}" == first
    assert all(ident(1) in line for line in rest)
    assert ["in_progress", "completed"] == [line.split()[2] for line in rest]
    (create,) = server.creates
    assert (True, True) == (create.json["stream"], create.json["background"])
    saved = state / "responses" / f"{last(state)['key']}.json"
    assert FOX == json.loads(saved.read_text())["output"][0]["content"][0]["text"]
    assert ("completed", True) == (last(state)["status"], last(state)["streamable"])
    again = bgresp("submit", "-t", "hi", "-w", "-o", "-")
    assert (0, FOX + "\n") == (again.code, again.out)
    record = bgresp("submit", "-t", "hi", "-w", "--json")
    assert 0 == record.code
    found = json.loads(record.out)
    assert ((*FIELDS, "text"), FOX) == (tuple(found), found["text"])
    assert ("completed", {"input_tokens", "output_tokens", "total_tokens"}) == (
        *(found["status"], set(found["usage"])),
    )


def test_wait_prints_ids_and_exits_as_the_jobs_ended(
    bgresp: Run, server: FakeServer, tmp_path: Path
) -> None:
    """--wait prints ids, says why a job did not complete, and exits with the worst."""
    (tmp_path / "a").write_text("one")
    server.script("create", Snapshot("incomplete"), Snapshot("failed"))
    ran = bgresp("submit", "a", "a", "--wait")
    assert (12, f"{ident(1)}\n{ident(2)}\n") == (ran.code, ran.out)
    answered, incomplete, failed = ran.err.splitlines()
    assert answered.startswith(f"bgresp: {ident(1)} was answered")
    assert incomplete.startswith(f"bgresp: {ident(1)} incomplete (")
    assert failed.startswith(f"bgresp: {ident(2)} failed (")
    assert failed.endswith(f" (bgresp retry {ident(2)})")
    server.script("create", Snapshot("incomplete"), Snapshot("completed"))
    ran = bgresp("submit", "a", "a", "--wait", "--json")
    assert (10, [FOX, FOX], [10, 0]) == (
        ran.code,
        [job["text"] for job in json.loads(ran.out)],
        [job["exit_code"] for job in json.loads(ran.out)],
    )
    notes = [json.loads(line) for line in ran.err.splitlines()]
    assert {"bgresp.note/1"} == {note["schema"] for note in notes}
    assert notes[-1]["message"].endswith(f" (bgresp retry {ident(3)})")
    server.script("create", Snapshot("failed"))
    ran = bgresp("submit", "-t", "x", "-o", "kept")
    assert (12, f"{ident(5)}\n") == (ran.code, ran.out)
    assert ran.err.startswith(f"bgresp: {ident(5)} failed (")
    assert ran.err.endswith(f" (bgresp retry {ident(5)})\n")
    server.script("create", Snapshot("cancelled"))
    ran = bgresp("submit", "-t", "x", "--wait", "-o", "-")
    assert (11, "") == (ran.code, ran.out)
    submitted, ended = ran.err.splitlines()
    assert f"bgresp: submitted {ident(6)}" == submitted
    assert ended.startswith(f"bgresp: {ident(6)} cancelled")
    assert ended.endswith(f" (bgresp retry {ident(6)})")
    server.script("create", Snapshot("completed"))
    ran = bgresp("submit", "-t", "x", "-o", "-")
    assert (0, FOX + "\n") == (ran.code, ran.out)
    assert ran.err.endswith(f"bgresp: submitted {ident(7)}\n")


def test_an_answer_goes_into_a_new_file(
    bgresp: Run, start: Start, server: FakeServer, tmp_path: Path
) -> None:
    """-o writes the answer to a new file; --force replaces a link, not its target.

    A file that appears meanwhile is not touched, and the `get` line is printed.
    """
    server.script("create", Snapshot("completed"), Snapshot("completed"))
    ran = bgresp("submit", "-t", "x", "-o", "new.md")
    assert (0, f"{ident(1)}\n") == (ran.code, ran.out)
    assert FOX + "\n" == (tmp_path / "new.md").read_text()
    (tmp_path / "precious").write_text("mine")
    (tmp_path / "link").symlink_to("precious")
    ran = bgresp("submit", "-t", "x", "-o", "link", "--force")
    assert (0, FOX + "\n") == (ran.code, (tmp_path / "link").read_text())
    assert ("mine", False) == (
        (tmp_path / "precious").read_text(),
        (tmp_path / "link").is_symlink(),
    )
    late = start("submit", "-t", "x", "-o", "late")
    late.until(ident(3).encode())
    (tmp_path / "late").write_text("mine")
    ended = late.finish()
    assert (1, f"{ident(3)}\n", "mine") == (
        *(ended.code, ended.out, (tmp_path / "late").read_text()),
    )
    assert f"bgresp get {ident(3)}" in ended.err
    assert {"config", "late", "link", "new.md", "precious", "state"} >= {
        path.name for path in tmp_path.iterdir()
    }


def test_a_streamable_job_is_held_until_it_runs(
    bgresp: Run, start: Start, server: FakeServer, tmp_path: Path
) -> None:
    """--stream creates streamable and leaves when the job runs; so does a profile."""
    server.script("create", Stream(until=2, end=End.HANG), Stream(until=2))
    ran = bgresp("submit", "-t", "x", "--stream")
    assert (0, f"{ident(1)}\n", "") == (ran.code, ran.out, ran.err)
    profile = tmp_path / "config" / "profiles" / "s.toml"
    profile.parent.mkdir(parents=True)
    profile.write_text(
        f'base_url = "{server.base_url}"\nstream = true\nmodel = "from-profile"\n'
        'api_key_env = "S_KEY"\n[headers]\nX-Team = "t"\n'
    )
    bare = {"BGRESP_BASE_URL": None, "BGRESP_API_KEY": None, "S_KEY": "s-key"}
    assert 0 == bgresp("submit", "-t", "x", "-p", "s", env=bare).code
    refused = bgresp("submit", "-t", "x", "-p", "s", "--no-stream", env=bare)
    assert 0 == refused.code
    first, second, third = server.creates
    assert [True, True, None] == [
        seen.json.get("stream") for seen in (first, second, third)
    ]
    assert "text/event-stream" == first.headers["accept"]
    assert ("Bearer s-key", "t", "from-profile") == (
        *(second.headers["authorization"], second.headers["x-team"]),
        second.json["model"],
    )


def test_flags_beat_the_environment_and_the_profile(
    bgresp: Run, server: FakeServer, tmp_path: Path
) -> None:
    """Flag, environment, profile, default: the first that is given holds."""
    config = tmp_path / "config" / "config.toml"
    config.parent.mkdir(exist_ok=True)
    config.write_text(
        'default_profile = "work"\n[profiles.work]\nbase_url = "http://127.0.0.1:9/v1"'
        '\nmodel = "from-profile"\napi_key_env = "WORK_KEY"\n'
    )
    env = {"WORK_KEY": "w", "BGRESP_API_KEY": None, "BGRESP_MODEL": "from-env"}
    assert 0 == bgresp("submit", "-t", "x", env=env).code
    assert 0 == bgresp("submit", "-t", "x", "-m", "from-flag", env=env).code
    assert ["from-env", "from-flag"] == [seen.json["model"] for seen in server.creates]
    assert {"Bearer w"} == {seen.headers["authorization"] for seen in server.creates}


def test_openai_variables_are_enough(bare: Run, server: FakeServer) -> None:
    """OPENAI_API_KEY goes to OPENAI_BASE_URL with no other set-up; to no other host."""
    env = {"OPENAI_API_KEY": "sk-1", "OPENAI_BASE_URL": server.base_url}
    env |= {"OPENAI_ORG_ID": "org", "OPENAI_PROJECT_ID": "proj"}
    ran = bare("submit", "-", "-m", "gpt", env=env, stdin="hi")
    assert (0, f"{ident(1)}\n") == (ran.code, ran.out)
    headers = server.creates[0].headers
    assert ("Bearer sk-1", "org", "proj") == (
        headers["authorization"],
        headers["openai-organization"],
        headers["openai-project"],
    )
    elsewhere = {"OPENAI_API_KEY": "sk-1", "BGRESP_BASE_URL": server.base_url}
    ran = bare("submit", "-t", "hi", env=elsewhere)
    assert (4, "", 1) == (ran.code, ran.out, len(server.requests))
    assert "sk-1" not in ran.err


REFUSALS: list[tuple[int, str, Reply | NoReply]] = [
    (5, "rejected", refusal(400, "No such model.")),
    (4, "rejected", refusal(401, "Bad key.")),
    (4, "rejected", redirect(307, "http://127.0.0.1:9/v1")),
    (6, "rejected", refusal(429, "Too busy.", retry_after="900")),
    (7, "unknown", refusal(500, "Broken.")),
    (7, "unknown", html(502)),
    (7, "unknown", RESET),
    (7, "unknown", as_json({"object": "response"})),
    (7, "unknown", Reply(200, b"<html>", {"Content-Type": "text/html"})),
]


@pytest.mark.parametrize(("code", "status", "answer"), REFUSALS)
def test_a_failed_submit_is_sent_once(
    bgresp: Run,
    server: FakeServer,
    state: Path,
    *,
    code: int,
    status: str,
    answer: Reply | NoReply,
) -> None:
    """Each way to fail has its exit code and its record, and is never sent again."""
    server.script("create", answer)
    ran = bgresp("submit", "-t", "hi", "--json")
    line = last(state)
    assert 1 == len(server.requests)
    assert (code, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    error = json.loads(ran.err)
    assert ["schema", "code", "kind", "message", "hint", "request_id", "retryable"] == [
        *error
    ]
    assert ("bgresp.error/1", code) == (error["schema"], error["code"])
    assert (code == 6) == error["retryable"]
    if isinstance(answer, Reply):
        assert "req_1" == error["request_id"]
    if status == "unknown":
        assert line["key"] in error["message"]
    assert status == line["status"]
    assert (code == 6) == (line.get("error", {}).get("code") == "not_sent")


def test_what_was_surely_not_taken_is_sent_again(
    hasty: Run, server: FakeServer, state: Path
) -> None:
    """A full 429 is tried again under the same key; a refused connection exits 6."""
    server.script("create", refusal(429, "Busy.", retry_after="0"))
    ran = hasty("submit", "-t", "hi")
    assert (0, f"{ident(1)}\n") == (ran.code, ran.out)
    assert "Busy." in ran.err
    keys = {seen.headers["idempotency-key"] for seen in server.creates}
    assert ({last(state)["key"]}, 2) == (keys, len(server.creates))
    server.refuse()
    ran = hasty("submit", "-t", "hi")
    assert (6, "", "rejected") == (ran.code, ran.out, last(state)["status"])
    assert ran.err.splitlines()[-1].startswith("bgresp: not sent: ")


def test_one_refused_prompt_does_not_cost_the_others(
    bgresp: Run, server: FakeServer, tmp_path: Path
) -> None:
    """Of several FILEs the accepted ones are printed and the refusal is the exit."""
    (tmp_path / "a").write_text("one")
    server.script("create", refusal(400, "Too long."))
    ran = bgresp("submit", "a", "a")
    assert (5, f"{ident(1)}\n") == (ran.code, ran.out)
    (said,) = ran.err.splitlines()
    key = json.loads(bgresp("list", "--json", "--status", "rejected").out)[0]["key"]
    assert said.startswith(f"bgresp: {key}: refused: Too long. [request req_1]")
    assert said.endswith(" (where it went: bgresp config show -p openai)")
    assert 2 == len(server.creates)


def test_a_wrong_model_points_to_those_that_there_are(
    bgresp: Run, server: FakeServer
) -> None:
    """What is wrong with the request is sought in where it went."""
    for code, hint in (
        ("model_not_found", "(what it has: bgresp models -p openai)"),
        ("context_length_exceeded", "or another of: bgresp models -p openai)"),
        ("other", "(where it went: bgresp config show -p openai)"),
    ):
        server.script("create", refusal(400, "No.", code=code))
        ran = bgresp("submit", "-t", "hi", "-m", "m")
        assert (5, True) == (ran.code, ran.err.rstrip().endswith(hint)), ran.err
    alone = bgresp("submit", "-t", "hi", "-m")
    assert (2, True) == (alone.code, "(bgresp submit --help)" in alone.err)


def test_null_metadata_still_gets_our_key(bgresp: Run, server: FakeServer) -> None:
    """A body whose metadata is null is sent with the local key."""
    ran = bgresp("submit", "-t", "hi", "--set", "metadata=null")
    assert (0, ["bgresp_key"]) == (ran.code, [*server.creates[0].json["metadata"]])


def test_a_stdin_without_a_prompt_is_a_usage_error(
    shell: Shell, server: FakeServer, state: Path
) -> None:
    """Nothing given and a terminal, or nothing, on stdin: exit 2 at once, no hang."""
    closed = shell('"$@" <&-', "submit")
    assert (2, "", 1) == (closed.code, closed.out, closed.err.count("\n"))
    master, slave = os.openpty()
    try:
        ran = shell(f'"$@" < {os.ttyname(slave)}', "submit")
    finally:
        os.close(master)
        os.close(slave)
    assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert "-t TEXT" in ran.err
    assert ((), False) == (server.requests, state.exists())


@pytest.mark.parametrize("option", ["--key", "--group", "-m", "--previous"])
def test_an_option_that_is_empty(
    bgresp: Run, server: FakeServer, state: Path, option: str
) -> None:
    """`--key "$UNSET"` counts as no key, and pays again each night."""
    ran = bgresp("submit", "-t", "x", option, "")
    assert (2, "", ()) == (ran.code, ran.out, server.creates)
    assert f"{option} is given, but empty" in ran.err
    assert not state.exists()


def test_a_set_without_end(bgresp: Run, server: FakeServer) -> None:
    """A --set deeper than JSON may be is a traceback."""
    ran = bgresp("submit", "-t", "x", "--set", "a." * 990 + "b=1")
    assert (2, (), 1) == (ran.code, server.creates, ran.err.count("\n"))


def test_a_key_of_another_request_is_said(bgresp: Run, server: FakeServer) -> None:
    """A key that is used for another prompt prints the old id without a word."""
    first = bgresp("submit", "-t", "one", "--key", "k")
    again = bgresp("submit", "-t", "one", "--key", "k")
    other = bgresp("submit", "-t", "two", "--key", "k")
    assert {first.out} == {again.out, other.out}
    assert (1, "") == (len(server.creates), again.err)
    assert "--key k was accepted for another request" in other.err


@pytest.mark.parametrize("name", ["-", "b.txt"])
def test_a_text_and_a_file_are_one_prompt(
    bgresp: Run, server: FakeServer, tmp_path: Path, name: str
) -> None:
    """`-t TEXT FILE` is refused, or sends one of the two, or two jobs."""
    (tmp_path / "b.txt").write_text("a diff\n")
    ran = bgresp("submit", "-t", "Review:\n", name, stdin="a diff\n")
    assert (0, f"{ident(1)}\n", "") == (ran.code, ran.out, ran.err)
    assert ["Review:\n\na diff\n"] == [seen.json["input"] for seen in server.creates]


def test_a_text_and_nothing_are_no_prompt(bgresp: Run, server: FakeServer) -> None:
    """`git diff | bgresp submit -t 'Review:' -` of no changes is paid for."""
    ran = bgresp("submit", "-t", "Review:", "-", stdin="")
    assert (2, 0) == (ran.code, len(server.requests))
    assert "stdin: the prompt is empty" in ran.err


def test_a_text_alone_says_what_it_leaves_in_the_pipe(
    terminal: Terminals, bgresp: Run, server: FakeServer
) -> None:
    """A person who forgot the `-` is not told, or one who piped nothing is told of it.

    A script is told nothing.
    """
    empty = "rm -f p; mkfifo p; exec 3<>p <p"
    for before, said in ((f"{empty}; echo a diff >&3", True), (empty, False)):
        ran = terminal(
            "submit", "-t", "Review:", piped=True, before=before, forked=False
        )
        assert 0 == ran.finish()
        assert said == (b"stdin is not read" in bytes(ran.raw)), bytes(ran.raw)
    quiet = bgresp("submit", "-t", "Review:", stdin="a diff")
    assert (0, "") == (quiet.code, quiet.err)
    assert {"Review:"} == {seen.json["input"] for seen in server.creates}


def test_an_api_key_is_no_submit_key(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """`--key` with the API key in use writes it into the ledger, or says it again."""
    env = {"BGRESP_API_KEY": "SENTINEL-42"}
    ran = bgresp("submit", "-t", "x", "--key", "SENTINEL-42", env=env)
    assert (2, "", 0) == (ran.code, ran.out, len(server.requests))
    assert "looks like an API key" in ran.err
    assert "SENTINEL" not in ran.err
    kept = [path for path in state.rglob("*") if path.is_file()]
    assert not [path for path in kept if b"SENTINEL" in path.read_bytes()]
    assert 0 == bgresp("submit", "-t", "x", "--key", "sky-1", env=env).code
