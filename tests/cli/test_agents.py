"""The topic agents: what it tells programs to type, typed in its order."""

import json
import re
import shlex
from typing import Final

from bgresp.cli.commands.help_ import rows
from bgresp.core.errors import MEANINGS
from tests.command import Ran, Run
from tests.fakeserver import FakeServer
from tests.pages import page

TABLES: Final = re.findall(
    r"(?:^\|.*\n)+", page("agents").read_text("utf-8"), re.MULTILINE
)
COMMANDS, CODES = (rows(table)[1:] for table in TABLES)


def test_the_five_commands(server: FakeServer, hasty: Run, tmp_path: object) -> None:
    """A program that types what the page tells it makes two jobs, or reads no answer."""
    known = {"FILE": "-", "NAME": "once"}
    ends: dict[str, list[Ran]] = {}
    for _, command, _ in COMMANDS * 2:
        words = [known.get(word, word) for word in shlex.split(command.strip("`"))]
        ran = hasty(*words[1:], env={"BGRESP_MODEL": "m"}, stdin="Why?")
        assert 0 == ran.code, (words, ran.err)
        ends.setdefault(words[1], []).append(ran)
        if words[1] == "submit":
            known["ID"] = json.loads(ran.out)["id"]
    assert 1 == len(server.creates)
    assert ["submit", "wait", "get", "show", "cancel"] == list(ends)
    assert "" == "".join(ran.out for ran in ends["wait"])
    answers = {
        json.loads(ran.out)["text"] for name in ("get", "show") for ran in ends[name]
    }
    assert 1 == len(answers - {""})
    assert "Why?" == json.loads(ends["show"][0].out)["prompt"]


def test_every_exit_code_is_one() -> None:
    """The page has a code that there is not, or leaves out how a job may end."""
    told = set[int]()
    for code, *_ in CODES:
        first, *others = map(int, re.findall(r"\d+", code))
        told |= (
            {first, *others}
            if "," in code
            else {*range(first, [first, *others][-1] + 1)}
        )
    signals = 128
    assert {int(code) for code in MEANINGS if code < signals} == told
