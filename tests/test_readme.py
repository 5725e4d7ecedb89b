"""The README and the topics say what is true: what can be made from the code is."""

import re
import subprocess
from collections.abc import Callable, Iterable
from typing import Final

import pytest

from bgresp.cli.app import build as build_program
from bgresp.cli.commands.help_ import man_page
from bgresp.config.files import PROFILE_KEYS, built_in
from bgresp.core.dialect import PARTS, variables
from bgresp.core.dialect_schema import build
from bgresp.core.errors import GRAVITY, MEANINGS, ExitCode
from bgresp.core.machine import TABLE, State
from bgresp.core.model import RECORD_FIELDS, Status
from bgresp.render.columns import DEFAULT, FIELDS, TIMELINE, WIDE
from tests.command import ROOT
from tests.pages import PAGES, README, block, page


def transitions() -> str:
    states = list(State)
    lines = [
        "| signal | " + " | ".join(states) + " |",
        "|---" * (len(states) + 1) + "|",
    ]
    for kind, row in TABLE.items():
        lines.append(f"| {kind} | " + " | ".join(row[state] for state in states) + " |")
    return "\n".join(lines)


def duration(seconds: float) -> str:
    for unit, name in ((86400, "days"), (3600, "h"), (60, "min"), (1, "s")):
        if seconds > unit and seconds % unit == 0:
            return f"{seconds / unit:g} {name}"
    return f"{seconds:g} s"


# The order of the table: what most people have, then the others.
COMMON: Final = (
    *("openai", "local", "azure", "azure-entra", "gemini", "bedrock", "databricks"),
    *("perplexity", "litellm", "vllm", "sglang"),
)
STREAMS: Final = {"any": "any job", "if_streamed": "`--stream`", "never": "no"}


def endpoints() -> str:
    """Say of each built-in dialect what a user has to know before the first job."""
    columns = "profile, base URL, API key, streams, can, cannot carry, limits"
    names = columns.split(", ")
    lines = ["| " + " | ".join(names) + " |", "|---" * len(names) + "|"]
    others = (name for name in built_in() if name not in COMMON)
    lines += ["| " + " | ".join(cells(name)) + " |" for name in (*COMMON, *others)]
    return "\n".join(lines)


def cells(name: str) -> list[str]:
    spoken = build(name, built_in())
    auth, limits, ops = spoken.auth, spoken.limits, spoken.ops
    key = f"`{auth.env}`" + (", or none" if auth.optional else "")
    key += f", or `{auth.command[0]}`" if auth.command else ""
    can = [name for name in ("cancel", "delete", "list", "file") if name in ops]
    if limits.advisory_cancel:
        can[can.index("cancel")] = "cancel (advisory)"
    known = {"kept": limits.retention_stored, "runs": limits.max_run}
    return [
        f"`{name}`",
        f"`{spoken.base_url}`",
        key,
        STREAMS[spoken.attach],
        ", ".join(can),
        ", ".join(sorted(PARTS.keys() - spoken.carries)),
        ", ".join(f"{name} {duration(s)}" for name, s in known.items() if s),
    ]


def exit_codes() -> str:
    rows = [f"| {int(code)} | {said} |" for code, said in MEANINGS.items()]
    order = ", ".join(map(str, GRAVITY))
    last = f"Of several jobs the first of {order} that occurs is the exit code."
    return "\n".join(["| code | meaning |", "|---|---|", *rows, "", last])


# Those of the README: what a script has to tell apart.
SIX: Final = (
    *(ExitCode.OK, ExitCode.CONFIG, ExitCode.UNREACHABLE),
    *(ExitCode.UNKNOWN_OUTCOME, ExitCode.NOT_FINISHED, ExitCode.FAILED),
)


def six_codes() -> str:
    rows = [f"| {int(code)} | {MEANINGS[code]} |" for code in SIX]
    return "\n".join(["| code | meaning |", "|---|---|", *rows])


def statuses() -> str:
    lines = ["| status | | exit code |", "|---|---|---|"]
    for status in Status:
        kind = "open" if status.is_open else "ended" if status.is_terminal else ""
        lines.append(f"| `{status}` | {kind} | {int(status.exit_code)} |")
    return "\n".join(lines)


def fields() -> str:
    lists = {
        "of the record": RECORD_FIELDS,
        "derived of it": [name for name in FIELDS if name not in RECORD_FIELDS],
        "columns of `list`": DEFAULT,
        "with `--wide`": WIDE,
        "with `--timeline`": TIMELINE,
    }
    lines = [f"| {which} | {ticked(names)} |" for which, names in lists.items()]
    return "\n".join(["| fields | |", "|---|---|", *lines])


def ticked(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


MADE: Final[dict[str, tuple[str, Callable[[], str]]]] = {
    "transitions": ("design", transitions),
    "endpoints": ("endpoints", endpoints),
    "exit-codes": ("exit-codes", exit_codes),
    "six-codes": ("README", six_codes),
    "statuses": ("statuses", statuses),
    "fields": ("fields", fields),
    "profile-keys": ("configuration", lambda: ticked(PROFILE_KEYS)),
}


@pytest.mark.parametrize("name", MADE)
def test_what_is_made_from_the_code_is_the_codes(
    name: str, request: pytest.FixtureRequest
) -> None:
    """A table of a page says other things than the code that it was made from."""
    topic, make = MADE[name]
    write = bool(request.config.getoption("--golden"))
    block(page(topic), name, make(), write=write)


def test_the_packaged_man_page_is_what_help_prints() -> None:
    """The man page in completions/ is not what the commands and the topics make."""
    kept = (ROOT / "completions" / "bgresp.1").read_text("utf-8")
    again = "python -m bgresp.cli.commands.completions completions"
    assert man_page(build_program().whole()) == kept, f"make it again: {again}"


def test_every_variable_of_an_endpoint_is_named() -> None:
    """A variable that an endpoint needs stands in no page."""
    text = page("endpoints").read_text("utf-8")
    for name in built_in():
        spoken = build(name, built_in())
        for variable in [*spoken.needs, *variables(spoken.base_url)]:
            assert f"`{variable}`" in text, f"no page names {variable}"


def test_the_readme_is_short() -> None:
    """The README grows beyond what a newcomer reads: the rest is a topic."""
    assert len(README.read_text("utf-8").splitlines()) <= 160


def test_the_changelog_says_each_thing_once() -> None:
    """A merge doubled lines of the changelog, or its sections."""
    text = (ROOT / "CHANGELOG.md").read_text("utf-8")
    lines = re.findall("^- .*", text, re.MULTILINE)
    assert len(lines) == len(set(lines))
    for release in text.split("\n## ")[1:]:
        headings = re.findall("^### (.*)", release, re.MULTILINE)
        known = ["Added", "Changed", "Fixed", "Removed"]
        assert headings == [name for name in known if name in headings]


def test_ci_runs_the_commands_of_the_readme() -> None:
    """CI on any system runs another test command than the README tells, or none."""
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    workflow = (ROOT / ".github/workflows/ci.yml").read_text("utf-8")
    (found,) = re.findall(r"sed -n '(.*?)' README\.md", script)
    assert 1 == workflow.count(found)
    assert "- run: .ci/run\n" in workflow
    argv = ["sed", "-n", found, str(README)]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    (line,) = done.stdout.splitlines()
    assert line.endswith("pip install '.[test]' && .venv/bin/pytest")


def test_every_link_leads_somewhere() -> None:
    """A page links to a file that is not there, or the README misses a topic."""
    links = {
        (path, target)
        for path in PAGES
        for target in re.findall(r"\]\(([^)#:]+)\)", path.read_text("utf-8"))
    }
    assert [] == [link for link in links if not (link[0].parent / link[1]).exists()]
    linked = {(README.parent / target) for path, target in links if path == README}
    assert set(PAGES[1:]) <= linked


def test_every_page_has_one_heading() -> None:
    """A topic has no heading of its own, which the index of `bgresp help` shows."""
    for path in PAGES[1:]:
        prose = re.sub(
            r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        assert 1 == len(re.findall("^# ", prose, re.MULTILINE)), path.name
        assert prose.startswith("# ")


def test_every_file_of_the_routes_is_there() -> None:
    """Each file of ours that a page names is there; the three routes name theirs."""
    named = {
        (page_.name, name)
        for page_ in PAGES
        for name in re.findall(r"`(bgresp/[\w/]+\.\w+)`", page_.read_text("utf-8"))
    }
    assert 20 < sum(page_ == "design.md" for page_, _ in named)
    gone = {(page_, name) for page_, name in named if not (ROOT / name).exists()}
    assert set() == gone
