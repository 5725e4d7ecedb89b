"""`bgresp get`: the answer, from disk where it is saved, else fetched."""

import json
from pathlib import Path

import pytest

from tests.cli.ledger import FIELDS, ident, key, picture, seed
from tests.cli.processes import Each
from tests.cli.terminal import Terminals
from tests.command import Run
from tests.fakeanswers import as_json
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, response_of

TEXT = "Grüße, 世界\n\n  two lines\x1b[2J and no newline"


def test_a_saved_answer_needs_no_network(each: Each, state: Path) -> None:
    """From disk: exact bytes and one newline at the end; nothing is written."""
    seed(
        state,
        {"status": "completed", "text": TEXT, "usage": {"total_tokens": 3}},
        {"status": "completed", "text": FOX + "\n", "name": "two"},
    )
    before = picture(state)
    ran, both, one, array, usage, raw = each(
        ["get", "@2"],
        ["get", "@2", "two"],
        ["get", "--json"],
        ["get", "@1", "@2", "--json", "--fields", "id,text"],
        ["get", "@2", "--part", "usage"],
        ["get", "@2", "--part", "raw"],
        env={"BGRESP_BASE_URL": None, "BGRESP_API_KEY": None},
    )
    assert (0, TEXT.encode() + b"\n", "") == (ran.code, ran.out_bytes, ran.err)
    assert (0, f"{TEXT}\n{FOX}\n") == (both.code, both.out)
    record = json.loads(one.out)
    assert ((*FIELDS, "text"), FOX + "\n") == (tuple(record), record["text"])
    assert [
        {"id": ident(2), "text": FOX + "\n"},
        {"id": ident(1), "text": TEXT},
    ] == json.loads(array.out)
    assert array.out.isascii()
    saved = (state / "responses" / f"{key(1)}.json").read_bytes()
    assert json.loads(saved)["usage"] == json.loads(usage.out)
    assert saved + b"\n" == raw.out_bytes
    assert before == picture(state)


def test_an_answer_that_is_not_saved_is_fetched(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """What ended elsewhere is fetched once and saved; the second time is from disk."""
    seed(state, {}, server=server)
    server.script("get", as_json(response_of("completed", FOX)))
    for _ in range(2):
        ran = bgresp("get")
        assert (0, FOX + "\n", "") == (ran.code, ran.out, ran.err)
    assert 1 == len(server.requests)


def test_an_open_job_has_no_answer(
    each: Each, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Of an open job nothing on stdout, no file, and exit 8; --json is no exception."""
    seed(state, {}, {"status": "completed", "text": FOX}, server=server)
    running = as_json(response_of("in_progress", response_id=ident(1)))
    server.script("get", *[running] * 5)
    alone: tuple[list[str], ...] = ([], ["--json"], ["-o", "out"], ["--jsonl"])
    *done, both = each(
        *(["get", ident(1), *options] for options in alone),
        ["get", ident(1), ident(2)],
    )
    for options, ran in zip(alone, done, strict=True):
        assert (8, "") == (ran.code, ran.out), options
        assert f"{ident(1)} is in_progress: bgresp watch {ident(1)}" in ran.err
    assert not (tmp_path / "out").exists()
    assert (8, FOX + "\n") == (both.code, both.out)


def test_how_a_job_ended_is_told(each: Each, server: FakeServer, state: Path) -> None:
    """An incomplete answer is printed, stderr says why, the exit code tells the end."""
    why = {"code": "server_error", "message": "The model failed."}
    seed(
        state,
        {"status": "incomplete", "text": "Half", "incomplete_reason": "max"},
        {"status": "failed", "text": "", "error": why},
        {"status": "rejected", "id": None, "error": why},
        {"status": "completed"},
        server=server,
    )
    server.refuse()
    half, failed, rejected, error, unreached = each(
        ["get", "@4"],
        ["get", "@3"],
        ["get", "@2"],
        ["get", "@3", "--part", "error"],
        ["get", "@1"],
    )
    assert (10, "Half\n") == (half.code, half.out)
    assert "incomplete (max)" in half.err
    for code, ran in ((12, failed), (5, rejected)):
        assert (code, "", True) == (ran.code, ran.out, why["message"] in ran.err)
    assert (12, why) == (error.code, json.loads(error.out))
    assert (6, "", 1) == (unreached.code, unreached.out, unreached.err.count("\n"))


def test_into_a_file(each: Each, state: Path, tmp_path: Path) -> None:
    """-o writes the answer to a new file; one that exists needs --force."""
    seed(state, *[{"status": "completed", "text": FOX}] * 2)
    (tmp_path / "mine").write_text("mine")
    done = each(
        ["get", "-o", "answer"],
        ["get", "-o", "mine"],
        ["get", "-o", "answer", "--force"],
        ["get", "@1", "@2", "-o", "both"],
        ["get", "--part", "soul"],
        ["get", "-o", "no/dir"],
    )
    assert [0, 2, 0, 2, 2, 2] == [ran.code for ran in done]
    assert ("", "") == (done[0].out, done[0].err)
    assert FOX + "\n" == (tmp_path / "answer").read_text()
    assert "mine" == (tmp_path / "mine").read_text()
    for ran in done[3:]:
        assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    left = {path.name for path in tmp_path.iterdir()}
    assert {"answer", "config", "mine", "state"} == left


def test_an_answer_as_data(each: Each, state: Path, tmp_path: Path) -> None:
    """--part data is the text, if it is JSON: on one line, its values unchanged.

    What completed and is not JSON exits 5 and says where the text is; what has no text
    exits 14.
    """
    good = '\n{"a": [1, 2.50, "é\\u0000"],\n "b": null}\n'
    bad = (
        "no",
        "{",
        "```json\n{}\n```",
        '{"a": NaN}',
        "1e999",
        "[" * 10_000,
        "1 2",
    )
    seed(
        state,
        {"status": "completed", "text": good},
        {"status": "incomplete", "text": '{"a": '},
        {"status": "failed", "text": ""},
        *({"status": "completed", "text": text} for text in (*bad, "")),
    )
    data = ("--part", "data")
    empty = each(["get", "@last", *data])[0]
    assert (14, "", True) == (empty.code, empty.out, "has no data" in empty.err)
    whole, cut, failed, filed, *refused = each(
        ["get", ident(1), *data],
        ["get", ident(2), *data],
        ["get", ident(3), *data],
        ["get", ident(1), *data, "-o", "data.json"],
        *(["get", ident(4 + n), *data, "-o", f"no{n}"] for n in range(len(bad))),
    )
    assert (0, "") == (whole.code, whole.err)
    assert '{"a": [1, 2.5, "\\u00e9\\u0000"], "b": null}\n' == whole.out
    assert (0, whole.out) == (filed.code, (tmp_path / "data.json").read_text())
    assert (10, "", True) == (cut.code, cut.out, "is not JSON" in cut.err)
    assert (12, "", False) == (failed.code, failed.out, "JSON" in failed.err)
    for number, ran in enumerate(refused):
        said = f"bgresp: the answer of {ident(4 + number)} is not JSON ("
        assert (5, "", True) == (ran.code, ran.out, ran.err.startswith(said)), ran
        assert ran.err.endswith(f" (bgresp get {ident(4 + number)} has its text)\n")
        assert not (tmp_path / f"no{number}").exists()
    both, text = each(["get", ident(4), ident(1), *data], ["get", ident(4)])
    assert (5, whole.out) == (both.code, both.out)
    assert (0, "no\n") == (text.code, text.out)


def test_a_saved_answer_needs_no_configuration(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """A mistake in config.toml keeps answers back that are on the disk."""
    seed(state, {"status": "completed", "text": FOX}, server=server)
    (tmp_path / "config").mkdir(exist_ok=True)
    (tmp_path / "config" / "config.toml").write_text("x = [")
    assert (0, FOX + "\n") == (bgresp("get", "@1").code, bgresp("get", "@1").out)
    assert 0 == bgresp("wait", "@1").code
    assert FOX + "\n" == bgresp("watch", "@1").out
    assert 4 == bgresp("submit", "-t", "x").code


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_an_answer_that_is_to_be_had_no_more(
    each: Each, server: FakeServer, state: Path, tmp_path: Path, status: str
) -> None:
    """A finished job that was never fetched, and is gone, is 13: no empty answer."""
    seed(state, {"status": status, "usage": {"total_tokens": 3}}, server=server)
    text, record, file, usage = each(
        ["get", "@last"],
        ["get", "@last", "--json"],
        ["get", "@last", "-o", "f.txt"],
        ["get", "@last", "--part", "usage"],
    )
    for ran in (text, file):
        said = f"{ident(1)} is {status}, but its answer is not here and the endpoint no"
        assert (13, "") == (ran.code, ran.out)
        assert said in ran.err
    assert (13, status) == (record.code, json.loads(record.out)["status"])
    assert "text" not in json.loads(record.out)
    assert 3 == json.loads(usage.out)["total_tokens"]
    assert not (tmp_path / "f.txt").exists()


def test_a_watch_of_what_is_to_be_had_no_more(
    hasty: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """`watch` of a finished job without an answer is 13, and makes no empty file."""
    seed(state, {"status": "completed"}, server=server)
    ran = hasty("watch", "@last", "-o", "f.txt")
    assert (13, "") == (ran.code, ran.out)
    assert "its answer is not here and the endpoint no longer has it" in ran.err
    assert not (tmp_path / "f.txt").exists()


def test_the_answers_of_a_group(each: Each, state: Path, tmp_path: Path) -> None:
    """A group's answers come out of the order of its rows, or a retry's is another's."""
    rows = [("a", "old"), ("b", "two"), ("a", "new"), ("c", None)]
    seed(
        state,
        *(
            {
                "status": "completed" if t else "failed",
                "group": "g",
                "row": r,
                "text": t,
            }
            for r, t in rows
        ),
        {"status": "completed", "group": "h", "row": "a", "text": "other"},
    )
    shown, filed, all_, both = each(
        ["get", "--group", "g"],
        ["get", "--group", "g", "--out-dir", "one"],
        ["get", "--all", "-o", "all/"],
        ["get", "--all", "-o", "x", "--out-dir", "y"],
    )
    assert (12, "old\nnew\ntwo\n") == (shown.code, shown.out)
    assert (12, "") == (filed.code, filed.out)
    assert (12, 2) == (all_.code, both.code)
    written = {
        str(path.relative_to(tmp_path)): path.read_text()
        for path in tmp_path.rglob("*.txt")
    }
    assert {
        "one/a.txt": "new\n",
        "one/b.txt": "two\n",
        "all/g/a.txt": "new\n",
        "all/g/b.txt": "two\n",
        "all/h/a.txt": "other\n",
    } == written


MARKDOWN = "# Rings\n\nSay **so**: &#x202e;x\n\n```sh\necho 1\n```\n"


def test_markdown_is_drawn_where_it_is_wanted(
    bgresp: Run, terminal: Terminals, state: Path, tmp_path: Path
) -> None:
    """With --pretty or by the profile, on a terminal alone; a pipe gets the text."""
    seed(state, {"status": "completed", "text": MARKDOWN, "profile": "work"})
    assert MARKDOWN == bgresp("get", "--pretty").out
    config = tmp_path / "pretty.toml"
    config.write_text('[profiles.work]\ndialect = "openai"\npretty = true\n')
    plain, said = terminal("get"), terminal("get", "--pretty")
    by_profile = terminal("get", env={"BGRESP_CONFIG": str(config)})
    assert [0, 0, 0] == [each.finish() for each in (plain, said, by_profile)]
    assert "# Rings" in plain.lines
    for each in (said, by_profile):
        assert "Rings" in each.lines
        assert not any("**" in line or "```" in line for line in each.lines)
        assert "\u202e" not in bytes(each.raw).decode()


def test_the_first_code_block_alone(bgresp: Run, state: Path, tmp_path: Path) -> None:
    """-x prints it, or writes it with -o; an answer without one exits 14."""
    seed(
        state,
        {"status": "completed", "text": MARKDOWN},
        {"status": "completed", "text": "none"},
    )
    assert (0, "echo 1\n") == ((ran := bgresp("get", "@2", "-x")).code, ran.out)
    file = tmp_path / "a.sh"
    assert 0 == bgresp("get", "@2", "--extract", "-o", str(file)).code
    assert "echo 1\n" == file.read_text()
    none = bgresp("get", "@1", "-x")
    assert (14, "", True) == (none.code, none.out, "no code block" in none.err)
    assert 2 == bgresp("get", "@2", "-x", "--part", "usage").code


def test_fields_are_chosen_or_refused(bgresp: Run, state: Path) -> None:
    """--fields of get or of a text is dropped in silence."""
    seed(state, {"status": "completed", "text": "A\tline\nand one"}, {})
    done = ident(1)
    assert f"{done}\tcompleted\n" == bgresp("get", done, "--fields", "id,status").out
    record = {"id": done, "text": "A\tline\nand one"}
    for verb in (["get", done], ["watch", done], ["list", "@2"], ["status", "@2"]):
        ran = bgresp(*verb, "--json", "--fields", "id,text")
        assert (0, record) == (ran.code, json.loads(ran.out)), verb
    row = f"{done}\tA line and one\n"
    assert row == bgresp("list", done, "--fields", "id,text").out
    for refused in (["watch", done], ["wait", done], ["submit", "-t", "x"], ["sync"]):
        ran = bgresp(*refused, "--fields", "id")
        assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n")), refused
        assert "--json or --jsonl prints them" in ran.err
    for idle in (["get", done], ["watch", done], ["submit", "-t", "x"]):
        ran = bgresp(*idle, "--force")
        assert (2, True) == (ran.code, "--force needs -o" in ran.err)
    for ran in (bgresp("doctor", "--fields", "id"), bgresp("serve", "--fields", "id")):
        assert (2, True) == (ran.code, "--fields means nothing here" in ran.err)
