"""The README says what is true: its diagram and its tables come from the code."""

import re
from pathlib import Path

from bgresp.config.files import built_in
from bgresp.core.dialect import PARTS, variables
from bgresp.core.errors import MEANINGS, ExitCode
from bgresp.core.states import TABLE, State
from bgresp.core.tables import build

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
    return "" if not seconds else f"{seconds:g} s"


def endpoints() -> str:
    """Say of each built-in dialect what a user has to know before the first job."""
    head = "profile, base URL, key, create, stream (resume), cancel, delete, list"
    columns = f"{head}, cannot carry, kept, runs, polls".split(", ")
    lines = ["| " + " | ".join(columns) + " |", "|---" * len(columns) + "|"]
    lines += ["| " + " | ".join(cells(name)) + " |" for name in built_in()]
    return "\n".join(lines)


def cells(name: str) -> list[str]:
    spoken = build(name, built_in())
    auth, limits, ops = spoken.auth, spoken.limits, spoken.ops
    key = f"`{auth.env}`" + (", or none" if auth.optional else "")
    key += f", or `{auth.command[0]}`" if auth.command else ""
    attach = {"any": "any", "if_streamed": "if created so", "never": "no"}
    resume = spoken.streaming.resume.partition(":")[2]
    stream = attach[spoken.attach] + f" (`{resume}`)" * (spoken.attach != "never")
    cancel = "no"
    if "cancel" in ops:
        cancel = "yes" if ops["cancel"].method == "POST" else ops["cancel"].method
        cancel += ", advisory" if limits.advisory_cancel else ""
    missing = sorted(PARTS.keys() - spoken.carries)
    low, high = limits.poll
    return [
        f"`{name}`",
        f"`{spoken.base_url}`",
        key,
        f"`{ops['create'].path}`",
        stream,
        cancel,
        *("yes" if op in ops else "no" for op in ("delete", "list")),
        ", ".join(missing),
        duration(limits.retention_stored),
        duration(limits.max_run),
        f"{low:g}-{high:g} s",
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
