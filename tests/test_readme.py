"""The README says what is true: its diagram and its tables come from the code."""

import re
from pathlib import Path
from typing import Final

from bgresp.config.files import built_in
from bgresp.core.dialect import PARTS, variables
from bgresp.core.dialect_schema import build
from bgresp.core.errors import MEANINGS, ExitCode
from bgresp.core.machine import TABLE, State

README = Path(__file__).parent.parent / "README.md"


def transitions() -> str:
    states = list(State)
    lines = [
        "| signal | " + " | ".join(states) + " |",
        "|---" * (len(states) + 1) + "|",
    ]
    for kind, row in TABLE.items():
        lines.append(f"| {kind} | " + " | ".join(row[state] for state in states) + " |")
    return "\n".join(lines)


def test_the_transition_table_is_the_machines() -> None:
    """The README's table of transitions is another one than the machine's."""
    text = README.read_text("utf-8")
    block = re.search(
        r"<!-- transitions -->\n(.*?)<!-- /transitions -->", text, re.DOTALL
    )
    assert block is not None
    assert block[1].strip() == transitions()


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
    can = [name for name in ("cancel", "delete", "list") if name in ops]
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


def test_the_table_of_endpoints_is_the_dialects() -> None:
    """The README's table of endpoints says other things than dialects.toml."""
    text = README.read_text("utf-8")
    block = re.search(r"<!-- endpoints -->\n(.*?)<!-- /endpoints -->", text, re.DOTALL)
    assert block is not None
    assert block[1].strip() == endpoints()
    needed = {
        variable
        for name in built_in()
        for spoken in [build(name, built_in())]
        for variable in [*spoken.needs, *variables(spoken.base_url)]
    }
    for variable in needed:
        assert f"`{variable}`" in text, f"the README does not name {variable}"


def test_every_exit_code_is_explained() -> None:
    """An exit code stands in the program and not in the README."""
    text = README.read_text("utf-8")
    table = text.split("| code | meaning |")[1].split("\n\n")[0]
    codes = {int(code) for code in re.findall(r"\d+", table.replace("|---|---|", ""))}
    assert set(map(int, ExitCode)) <= codes
    assert set(MEANINGS) == set(ExitCode)
