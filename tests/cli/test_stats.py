"""`bgresp stats`: figures of the ledger in every output mode; nobody is asked."""

import json
from pathlib import Path

import pytest

from bgresp.core.stats import DEFAULT, FIELDS
from tests.cli.ledger import picture, seed
from tests.cli.processes import Each
from tests.cli.terminal import Terminals
from tests.command import Run


@pytest.fixture
def seeded(state: Path) -> Path:
    """Write jobs of two models on two days."""
    january = {
        "submitted_at": "2026-01-05T23:30:00.000Z",
        "started_at": "2026-01-05T23:30:30.000Z",
        "finished_at": "2026-01-05T23:31:30.000Z",
        "usage": {"input_tokens": 5, "output_tokens": 7, "total_tokens": 12},
    }
    seed(
        state,
        {**january, "status": "completed", "model": "a", "labels": {"env": "prod"}},
        {**january, "status": "failed", "model": "a"},
        {"model": "b", "group": "g"},
    )
    return state


def test_rows(each: Each, seeded: Path) -> None:
    """A row a group, tab-separated; selectors and REFs choose the jobs."""
    before = picture(seeded)
    ran, one, ref, wanted, quiet, none = each(
        ["stats", "--by", "model"],
        ["stats", "--by", "day", "--group", "g", "--time", "utc"],
        ["stats", "@last"],
        ["stats", "--by", "status", "--fields", "value,queued,run_p95"],
        ["stats", "--by", "label", "-q"],
        ["stats", "--model", "nothing"],
    )
    rows = [line.split("\t") for line in ran.out.splitlines()]
    assert {len(DEFAULT)} == set(map(len, rows))
    first = dict(zip(DEFAULT, rows[0], strict=True))
    assert ("a", "2", "1", "1", "10", "14", "30.0", "60.0", "90.0") == tuple(
        first[name]
        for name in (
            *("value", "jobs", "completed", "failed", "tokens_in", "tokens_out"),
            *("queue_median", "run_median", "took_p95"),
        )
    )
    assert one.out.startswith("2026-01-02\t1\t1\t")
    assert ref.out.startswith("failed\t1\t0\t")
    assert "queued\t1\t-\ncompleted\t0\t60.0\nfailed\t0\t60.0\n" == wanted.out
    assert "-\nenv=prod\n" == quiet.out
    assert (0, "", "") == (none.code, none.out, none.err)
    assert before == picture(seeded)


def test_json(each: Each, seeded: Path) -> None:
    """One object with the total and the groups, or a group a line."""
    by_day = ["stats", "--by", "day", "--time", "utc", "--json"]
    whole, lines = each(by_day, ["stats", "--jsonl"])
    found = json.loads(whole.out)
    assert ("bgresp.stats/1", "day", 3) == (
        found["schema"],
        found["by"],
        found["total"]["jobs"],
    )
    assert ["2026-01-02", "2026-01-05"] == [row["value"] for row in found["groups"]]
    assert list(FIELDS) == list(found["total"])
    assert [1, 1, 1] == [json.loads(line)["jobs"] for line in lines.out.splitlines()]


def test_days_are_where_one_lives(run: Run, seeded: Path) -> None:
    """Days are counted by another midnight than --since counts by."""
    tokyo = {"TZ": "Asia/Tokyo"}
    ran = run(*["stats", "--by", "day", "-q"], env=tokyo)
    assert "2026-01-02\n2026-01-06\n" == ran.out
    since = ["list", "--since", "2026-01-06", "--until", "2026-01-07", "-q"]
    assert 2 == len(run(*since, env=tokyo).out.split())
    ran = run(
        *["list", "--time", "local", "--fields", "age", "--group", "g"], env=tokyo
    )
    assert "2026-01-02T12:04:05.000+09:00\n" == ran.out


def test_mistakes(each: Each, seeded: Path) -> None:
    """What cannot be counted by is named, with what probably was meant."""
    cases = {
        "stats --by modle": "did you mean 'model'?",
        "stats --time relative": "--time takes utc or local",
        "stats --fields jos": "did you mean 'jobs'?",
        "list --fields tooks": "did you mean 'took'?",
        "list --sort tokns": "did you mean 'tokens'?",
        "list --time utx": "did you mean 'utc'?",
        "list --status quued": "did you mean 'queued'?",
    }
    for ran, said in zip(each(*map(str.split, cases)), cases.values(), strict=True):
        assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
        assert said in ran.err


def test_bars_on_a_terminal(terminal: Terminals, seeded: Path) -> None:
    """A terminal gets bars; NO_COLOR, no colours."""
    drawn = terminal("stats", "--by", "model", env={"NO_COLOR": "1"})
    assert 0 == drawn.finish()
    assert b"\x1b" not in drawn.raw
    heading, a, b, total = drawn.lines
    assert heading.startswith("MODEL  JOBS")
    assert (a.count("█"), total.split()[:2]) == (2 * b.count("█"), ["all", "3"])
    coloured = terminal("stats")
    assert 0 == coloured.finish()
    assert b"\x1b[31" in coloured.raw


def test_a_timeline(terminal: Terminals, each: Each, seeded: Path) -> None:
    """--timeline draws on a terminal, and is plain rows with the times in a pipe."""
    drawn = terminal("list", "--timeline")
    assert 0 == drawn.finish()
    assert drawn.shows("░ queued  █ ran  ▶ goes on")
    (ran,) = each(["list", "--timeline", "--status", "completed"])
    assert [
        "2026-01-05T23:30:00.000Z",
        "2026-01-05T23:30:30.000Z",
        "2026-01-05T23:31:30.000Z",
        "30.000",
        "60.000",
    ] == ran.out.rstrip("\n").split("\t")[3:]


def test_a_person_is_told_of_the_rest(terminal: Terminals, seeded: Path) -> None:
    """On a terminal the list says that there are more jobs, or none at all."""
    listed = terminal("list", "--limit", "2")
    assert 0 == listed.finish()
    assert listed.shows("2 shown, there are more: --limit N, or --all")
    nothing = terminal("list", "--group", "none")
    assert 0 == nothing.finish()
    assert nothing.shows("no job matches: bgresp list")


def test_prices_of_a_profile_make_a_cost(
    bgresp: Run, terminal: Terminals, state: Path, tmp_path: Path
) -> None:
    """`stats`, `show` and `list` have it by the profile's prices; without them there is none."""
    usage = {"input_tokens": 1000, "output_tokens": 500, "total_tokens": 1500}
    seed(
        state, {"status": "completed", "model": "a", "profile": "work", "usage": usage}
    )
    config = tmp_path / "prices.toml"
    table = '[profiles.work]\ndialect = "openai"\n[profiles.work.prices.a]\n'
    config.write_text(f"{table}input = 2\noutput = 10\n")
    env = {"BGRESP_CONFIG": str(config)}
    found = json.loads(bgresp("stats", "--json", env=env).out)
    assert 0.007 == found["total"]["cost"]
    assert None is json.loads(bgresp("stats", "--json").out)["total"]["cost"]
    assert "cost\t0.007000\n" in bgresp("show", env=env).out
    assert "cost" not in bgresp("show").out
    listed = bgresp("list", "--fields", "cost", "--json", env=env).out
    assert [{"cost": 0.007}] == json.loads(listed)
    assert "-\n" == bgresp("list", "--fields", "cost").out
    drawn = terminal("stats", env=env)
    assert drawn.finish() == 0
    assert any("COST" in line for line in drawn.lines)
    config.write_text(f"{table}input = -1\noutput = 10\n")
    wrong = bgresp("config", "show", "-p", "work", env=env)
    assert (4, True) == (wrong.code, "'prices' must be tables" in wrong.err)
