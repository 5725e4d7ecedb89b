"""The README says what is true: its diagram and its tables come from the code."""

import re
from pathlib import Path

from bgresp.core.errors import MEANINGS, ExitCode
from bgresp.core.states import TABLE, State

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


def test_every_exit_code_is_explained() -> None:
    """An exit code stands in the program and not in the README."""
    text = README.read_text("utf-8")
    table = text.split("| code | meaning |")[1].split("\n\n")[0]
    codes = {int(code) for code in re.findall(r"\d+", table.replace("|---|---|", ""))}
    assert set(map(int, ExitCode)) <= codes
    assert set(MEANINGS) == set(ExitCode)
