"""Golden texts: what is printed, kept as files under tests/golden.

`pytest --golden FILE` writes them anew; look at the difference before it is kept.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

FOLDER: Final = Path(__file__).parent / "golden"

Golden = Callable[[str, str], None]


def compare(name: str, found: str, *, write: bool, test: str) -> None:
    """Hold a text against tests/golden/NAME.txt, or write that file."""
    path = FOLDER / f"{name}.txt"
    if write:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(found, "utf-8")
    known = path.read_text("utf-8") if path.exists() else ""
    again = f"if this is meant: python -m pytest {test} --golden"
    assert known == found, f"{path.relative_to(FOLDER.parent.parent)} differs; {again}"
