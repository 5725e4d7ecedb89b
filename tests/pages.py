"""The pages for users: the README and the topics of `bgresp help`."""

import re
from pathlib import Path
from typing import Final

from bgresp.cli.commands.help_ import FOLDER
from tests.command import ROOT

README: Final = ROOT / "README.md"
PAGES: Final = (README, *sorted(FOLDER.glob("*.md")))


def page(topic: str) -> Path:
    """Return the file of a topic, or of the README."""
    return README if topic == README.stem else FOLDER / f"{topic}.md"


def fenced(path: Path) -> list[tuple[str, str]]:
    """Return the fenced blocks of a page: their language and their text."""
    text = path.read_text("utf-8")
    return re.findall(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def block(path: Path, name: str, made: str, *, write: bool) -> None:
    """Hold the part of a page that is made from the code against it, or write it."""
    marks = rf"(<!-- {name} -->\n)(.*?)(<!-- /{name} -->)"
    text = path.read_text("utf-8")
    found = re.search(marks, text, re.DOTALL)
    assert found is not None, f"{path.name} has no marks for {name}"
    if write:
        path.write_text(text[: found.end(1)] + f"{made}\n" + text[found.start(3) :])
        return
    again = "python -m pytest tests/test_readme.py --golden"
    assert f"{made}\n" == found[2], f"{name} in {path.name} is old: {again}"
