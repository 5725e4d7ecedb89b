"""`bgresp list`: the ledger, newest first, without network."""

import json
from pathlib import Path

import pytest

from tests.cli.ledger import FIELDS, ident, key, picture, seed
from tests.cli.processes import Each
from tests.cli.terminal import Terminals
from tests.command import Ran, Run
from tests.fakeanswers import as_json
from tests.fakeserver import FakeServer
from tests.fakewire import response_of

JANUARY = "2026-01-05T00:00:00.000Z"
MARCH = "2026-03-05T00:00:00.000Z"


def numbers(ran: Ran) -> list[int]:
    """Return which seeded jobs were listed, in their order."""
    assert (0, "") == (ran.code, ran.err)
    rows = ran.out.splitlines()
    return [int(row.split("\t")[0].removeprefix("resp_"), 16) for row in rows]


def test_nothing_is_no_error(bare: Run, state: Path) -> None:
    """An empty ledger or selection: exit 0, no row, [] in JSON; no file is made."""
    assert (0, "", "") == ((ran := bare("list")).code, ran.out, ran.err)
    ran = bare("list", "--group", "no", "--json")
    assert (0, "[]\n", "") == (ran.code, ran.out, ran.err)
    assert not state.exists()


def test_no_index_is_told_where_more_is_asked(bare: Run, state: Path) -> None:
    """Without an index a sealed file is not listed, or -v does not say why it takes."""
    seed(state, {}, {})
    (state / "sealed").mkdir()
    (state / "ledger.jsonl").rename(state / "sealed" / "000001.jsonl")
    (state / "index").touch()
    plain, more = bare("list", "-q"), bare("list", "-q", "-v")
    assert (0, "", 0) == (plain.code, plain.err, more.code)
    assert 2 == len(plain.out.split())
    assert plain.out == more.out
    assert f"{state / 'index'} cannot be written: the ledger was read" in more.err


UNKNOWN = {
    "--group nigth": "no group 'nigth' (did you mean 'night'? known: day, night)",
    "-l tem=a": "no label 'tem=a' (did you mean 'team=a'? known: team=a)",
    "-l team=b": "no label 'team=b' (did you mean 'team=a'? known: team=a)",
    "--model gtp": "no model 'gtp' (did you mean 'gpt'? known: gpt)",
    "-p opnai": "no profile 'opnai' (did you mean 'openai'? known: openai, azure",
}


def test_a_name_that_nobody_knows(each: Each, state: Path) -> None:
    """An empty list says so on stderr, and wait exits 3 with what may be meant."""
    seed(state, {"group": "night", "labels": {"team": "a"}, "model": "gpt"})
    seed(state, {"group": "day"})
    (state / "ledger.lock").touch()  # else nothing was ever written here
    for words, said in UNKNOWN.items():
        listed, array, waited = each(
            ["list", *words.split()],
            ["list", *words.split(), "--json"],
            ["wait", *words.split()],
        )
        assert (0, "") == (listed.code, listed.out)
        assert listed.err.startswith(f"bgresp: {said}")
        assert (0, "[]\n") == (array.code, array.out)
        assert json.loads(array.err)["message"].startswith(said)
        assert (3, "") == (waited.code, waited.out)
        assert waited.err.startswith(f"bgresp: no job matches: {said}")
    for ran in each(
        ["list", "--group", "day", "--status", "failed"], ["list", "-q", "--group", "x"]
    ):
        assert (0, "", "") == (ran.code, ran.out, ran.err)


def test_newest_first_and_limits(each: Each, state: Path) -> None:
    """Fifty rows, the newest first; --limit, 0 and --all change how many."""
    seed(state, *[{"name": f"n{number % 7}"} for number in range(60)])
    before = picture(state)
    newest = list(range(60, 0, -1))
    wanted = {
        "list": newest[:50],
        "list --limit 3": newest[:3],
        "list --all": newest,
        "list --limit 0": newest,
        f"list --limit {10**20}": newest,
        "list --reverse --limit 2": [1, 2],
        "list --sort name --limit 9": [57, 50, 43, 36, 29, 22, 15, 8, 1],
    }
    done = each(*(words.split() for words in wanted))
    assert wanted == dict(zip(wanted, map(numbers, done), strict=True))
    bad = (
        "--limit -1",
        f"--limit {'9' * 5000}",
        "--sort colour",
        "--status odd",
        "--since someday",
    )
    for ran in each(*(["list", *words.split()] for words in bad)):
        assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert before == picture(state)


@pytest.fixture
def mixed(state: Path) -> Path:
    """Write jobs that differ in everything that can be selected."""
    seed(
        state,
        {"group": "g", "labels": {"env": "prod", "x": "1"}},
        {
            "group": "g",
            "labels": {"env": "dev"},
            "status": "completed",
            "model": "a",
            "submitted_at": JANUARY,
        },
        {"model": "b", "submitted_at": MARCH, "status": "in_progress"},
        {"profile": "other", "status": "failed", "submitted_at": MARCH},
        {"status": "rejected", "id": None, "submitted_at": MARCH},
    )
    return state


def test_the_model_asked_and_the_one_that_answered(each: Each, state: Path) -> None:
    """Both select a job; shown, and counted by, is what was asked."""
    renamed = {"model": "gpt-5-2025-08-07", "model_asked": "gpt-5"}
    seed(state, {"status": "completed", **renamed}, {"model": "other"})
    asked, answered, table, stats = each(
        ["list", "--model", "gpt-5", "-q"],
        ["list", "--model", "gpt-5-2025-08-07", "-q"],
        ["list", "--model", "gpt-5"],
        ["stats", "--by", "model", "--json"],
    )
    assert (ident(1) + "\n",) * 2 == (asked.out, answered.out)
    assert "gpt-5" == table.out.split("\t")[5]
    groups = [group["value"] for group in json.loads(stats.out)["groups"]]
    assert {"gpt-5", "other"} == set(groups)


def test_selectors(each: Each, mixed: Path) -> None:
    """Every given selector must hold."""
    selections: list[tuple[list[int], str]] = [
        ([2, 1], "--group g"),
        ([2, 1], "-l env"),
        ([1], "-l env=prod -l x"),
        ([3, 2], "--status in_progress,completed"),
        ([3, 1], "--open"),
        ([4], "--status ended --since 2026-02-01 --profile other"),
        ([2, 1], "--until 2026-02-01T00:00:00Z"),
        ([3], "--model b"),
        ([], "--since 1h"),
    ]
    done = each(*(["list", *words.split()] for _, words in selections))
    for (expected, words), ran in zip(selections, done, strict=True):
        assert expected == numbers(ran), words


def test_formats(each: Each, mixed: Path) -> None:
    """An array, an object a line, chosen fields, ids; one REF is one object."""
    several, selected, one, lines, ids, rows, bad = each(
        *(
            ["list", *words.split()]
            for words in (
                "--json --group g",
                "--json --model b",
                f"{ident(1)} --json",
                "--jsonl --fields id,status,labels",
                "-q",
                "--fields status,labels,usage,key --group g",
                "--fields status,nope",
            )
        )
    )
    array = json.loads(several.out)
    assert ([ident(2), ident(1)], FIELDS) == (
        [record["id"] for record in array],
        tuple(array[0]),
    )
    assert isinstance(json.loads(selected.out), list)
    assert ident(1) == json.loads(one.out)["id"]
    assert {
        "id": ident(1),
        "status": "queued",
        "labels": {"env": "prod", "x": "1"},
    } == (json.loads(lines.out.splitlines()[-1]))
    assert 5 == len(lines.out.splitlines())
    key_of_none, *others = ids.out.splitlines()
    assert [ident(number) for number in (4, 3, 2, 1)] == others
    assert key(5, MARCH) == key_of_none
    assert f"completed\tenv=dev\t-\t{key(2, JANUARY)}" == rows.out.splitlines()[0]
    assert (2, "", 1) == (bad.code, bad.out, bad.err.count("\n"))


def test_asking_first(bgresp: Run, server: FakeServer, state: Path) -> None:
    """--refresh asks about open jobs, and only about them."""
    seed(state, {}, {"status": "completed", "text": "x"}, server=server)
    answer = response_of("in_progress", response_id=ident(1))
    server.script("get", as_json(answer))
    ran = bgresp("list", "--refresh", "--fields", "status")
    assert (0, "completed\nin_progress\n") == (ran.code, ran.out)
    assert 1 == len(server.requests)
    assert 3 == len((state / "ledger.jsonl").read_text().splitlines())


def test_a_line_that_cannot_be_read(bare: Run, state: Path) -> None:
    """A broken line is named once with its number and costs the others nothing."""
    seed(state, {}, {})
    ledger = state / "ledger.jsonl"
    first, second = ledger.read_bytes().splitlines()
    ledger.write_bytes(first + b"\n{half\n" + second + b"\n{torn")
    before = picture(state)
    ran = bare("list", "-q")
    assert (0, f"{ident(2)}\n{ident(1)}\n") == (ran.code, ran.out)
    assert (1, True) == (ran.err.count("\n"), f"{ledger}:2: " in ran.err)
    assert before == picture(state)


def test_grep_searches_names_prompts_and_answers(bgresp: Run, state: Path) -> None:
    """A job whose words one remembers is found by its id alone, or not among many."""
    seed(
        state,
        {"name": "about rings"},
        {"status": "completed", "text": "Noether's RINGS."},
        {},
        *({} for _ in range(60)),
    )
    (state / "requests" / f"{key(3)}.json").write_text(
        '{"input": "Which r\\u00f6ngs?"}'
    )
    found = {
        pattern: bgresp("list", "--grep", pattern, "-q").out.split()
        for pattern in ("(?i)rings", "röngs", "^about", "nothing")
    }
    assert {
        "(?i)rings": [ident(2), ident(1)],
        "röngs": [ident(3)],
        "^about": [ident(1)],
        "nothing": [],
    } == found
    assert [ident(1)] == bgresp(
        "list", ident(1), ident(3), "--grep", "about", "-q"
    ).out.split()
    wrong = bgresp("list", "--grep", "(")
    assert (2, "", 1) == (wrong.code, wrong.out, wrong.err.count("\n"))


def test_a_terminal_shows_short_ids_that_mean_their_jobs(
    bgresp: Run, terminal: Terminals, state: Path
) -> None:
    """At 80 columns each job has a REF of 8 characters or more, and what it is about.

    Where ids begin alike they are as long as it needs; a pipe has them whole.
    """
    ids = [f"resp_{begin}{'0' * 32}" for begin in ("abcdefgh", "abcdefgh1", "77777777")]
    failed = {"status": "failed", "error": {"code": "overloaded", "message": "Late."}}
    seed(
        state,
        {"id": ids[0], "name": "rings"},
        {"id": ids[1], **failed},
        {"id": ids[2]},
        {"id": "resp_1", "name": "77777777"},
    )
    (state / "requests" / f"{key(3)}.json").write_text('{"input": "Why is it so?"}')
    listed = terminal("list")
    assert listed.finish() == 0
    shown = listed.lines
    refs = ["resp_1", "777777770", "abcdefgh1", "abcdefgh0"]
    rows = [line.split() for line in shown if "55m" in line or "h" in line]
    found = [row[0] for row in rows if row[0] in refs]
    assert refs == found
    assert any('"Why is it so?"' in line for line in shown)
    assert any(line.strip() == "overloaded: Late." for line in shown)
    for ref, id_ in zip(refs, ["resp_1", *reversed(ids)], strict=True):
        assert f"{id_}\n" == bgresp("status", "--local", ref, "-q").out
    assert ["resp_1", *reversed(ids)] == [
        line.split("\t")[0] for line in bgresp("list").out.splitlines()
    ]
