"""T16: hostile text on a terminal is shown, never obeyed, however it is split."""

import io
import json
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest

from bgresp.render.streams import Streams
from tests.cli.ledger import ident, key, seed
from tests.cli.terminal import Terminal
from tests.command import command
from tests.fakeanswers import Forever, Reply, as_json, refusal
from tests.fakejobs import says
from tests.fakeserver import FakeServer
from tests.fakewire import response_of
from tests.proof.conftest import Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(600)]

# What acts on some terminal or misleads a reader: RELIABILITY.md 5.1, as ranges.
UNSAFE = re.compile(
    "[^\t\n -~\u00a0-\U0010ffff]|[\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f]"
    "|[\ufeff\U000e0000-\U000e007f]"
)
PIECES = [
    *("\x1b", "\x9b", "\x90", "\x9d", "\x9c", "\x07", "\r", "\x08", "\x0c", "\x7f"),
    *("[2J", "[?1049h", "[?25l", "]0;title\x07", "]52;c;ZXZpbA==\x07", "P1$q", "c"),
    *("]8;;https://evil\x1b\\", "[31;41m", "[6n", "[999;999H", "(0", "#8", "\x1b\\"),
    *("\u202e", "\u2066", "\u2028", "\ufeff", "\U000e0041", "\ud800", "\x0e", "\x85"),
    *("word ", "a", "\n", "\t", "[/foo]", ":warning:", "[link=x]y[/link]", "é"),
]
OBEYED = {"draw", "linefeed", "carriage_return", "tab"}
# What lines that live need: the cursor kept, hidden and moved, erasing, colours.
OURS = re.compile(rb"\x1b([78D]|\[(\?(25|7)[lh]|[0-9]*[ABJK]|[0-9;]*m))")
HOSTILE = "h\x1b]0;t\x07\x1b[2J\x9b31m\x1bP1$q\x1b[?1049h\u202e\r\x1b]52;c;ZQ==\x07[/x]"
SAFE = "h\\u{1b}]0;t\\u{7}\\u{1b}[2J\\u{9b}31m"


def modelled(text: str) -> str:
    """Write a text as the screen must show it, by rules of the test's own."""

    def shown(found: re.Match[str]) -> str:
        point = ord(found[0])
        if 0xD800 <= point <= 0xDFFF:
            return "\ufffd"
        return "\\r" if point == 13 else f"\\u{{{point:x}}}"

    return re.sub("[\ud800-\udfff]", "\ufffd", UNSAFE.sub(shown, text))


def told(raw: bytes) -> tuple[str, set[str]]:
    """Feed a terminal; return the text it drew, and what it was made to do."""
    events = io.StringIO()
    stream = pyte.ByteStream(pyte.DebugScreen(to=events))
    stream.feed(raw.replace(b"\n", b"\r\n"))  # as a terminal's line discipline does
    drawn, done = [], set()
    for line in events.getvalue().splitlines():
        name, arguments, _ = json.loads(line)
        done.add(name)
        drawn.append(
            {"draw": "".join(arguments), "linefeed": "\n", "tab": "\t"}.get(name, "")
        )
    return "".join(drawn), done


def test_random_mixes(figure: Figure, full: bool) -> None:
    """Some mix of controls, split over events anywhere, does more than show text."""
    count, rng = 50_000 if full else 10_000, random.Random(16)
    wrong, doings = 0, set[str]()
    for _ in range(count):
        text = "".join(rng.choices(PIECES, k=rng.randint(1, 12)))
        out = io.BytesIO()
        streams = Streams(out=out, err=None, out_is_terminal=True)
        cuts = sorted(rng.randint(0, len(text)) for _ in range(rng.randint(0, 3)))
        for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
            streams.answer(text[start:end])
        drawn, done = told(out.getvalue())
        doings |= done
        wrong += drawn != modelled(text)
    figure(
        f"T16: {count} hostile texts: {wrong} not as modelled, acts: {sorted(doings)}"
    )
    assert (0, set()) == (wrong, doings - OBEYED)


def test_the_same_on_stderr() -> None:
    """What is said on stderr obeys no sequence of the endpoint either."""
    rng = random.Random(61)
    for _ in range(1000):
        text = "".join(rng.choices(PIECES, k=rng.randint(1, 12)))
        err = io.BytesIO()
        Streams(out=None, err=err, out_is_terminal=True).say(text)
        drawn, done = told(err.getvalue())
        assert (modelled(text) + "\n", set()) == (drawn, done - OBEYED)


Watching = Callable[..., Terminal]


@pytest.fixture(name="watching")
def _watching(chosen: dict[str, str], tmp_path: Path) -> Iterator[Watching]:
    running: list[Terminal] = []

    def go(*args: str, **env: str) -> Terminal:
        variables = {**chosen, "TERM": "xterm-256color", **env}
        running.append(Terminal(command(*args), variables, tmp_path))
        return running[-1]

    yield go
    for terminal in running:
        terminal.close()


def harmless(terminal: Terminal) -> None:
    """Fail when the terminal got a control that no live line needs."""
    rest = OURS.sub(b"", bytes(terminal.raw)).decode()
    assert "" == re.sub("[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e]", "", rest)
    assert not re.search(rb"\r(?![\r\n])", terminal.spoken)


def test_a_hostile_text_is_watched(watching: Watching) -> None:
    """A model's text that is streamed word by word acts on the real terminal."""
    with FakeServer(tell=says(f"{HOSTILE} and more \x1b[2J split")) as server:
        it = watching("submit", "-t", "x", "--watch", BGRESP_BASE_URL=server.base_url)
        assert 0 == it.finish()
    harmless(it)
    assert it.shows(SAFE)
    assert not it.screen.cursor.hidden


@pytest.mark.parametrize("verb", ["watch", "status", "get"])
def test_a_hostile_endpoint(
    watching: Watching, server: FakeServer, state: Path, verb: str
) -> None:
    """An id, error, status word or header of the endpoint acts on the terminal.

    An id that is no plain word is shown by its job's local key.
    """
    name = "resp_\u202e[link=x]y[/link]:warning:\u2066"
    seed(state, {"id": name, "model": HOSTILE, "status": "queued"}, server=server)
    failed = response_of("failed", HOSTILE, response_id=name)
    failed |= {"error": {"code": HOSTILE, "message": HOSTILE}, "model": HOSTILE}
    paused = as_json(response_of(HOSTILE, response_id=name))
    headers = {"x-request-id": "r\x9b31m\xad", "Content-Type": "application/json"}
    if verb == "watch":
        server.script("get", paused, refusal(500, HOSTILE, x_request_id="\x9b2J"))
    server.script("get", Reply(200, json.dumps(failed).encode(), headers))
    pace = ["--interval", "0.1"] if verb == "watch" else []
    it = watching(verb, "@1", *pace)
    assert it.finish() in {0, 12}
    harmless(it)
    assert it.shows(key(1))
    assert not it.shows("[link=x]")


def test_a_hostile_refusal(watching: Watching, server: FakeServer) -> None:
    """What a server says as it refuses a submit acts on the terminal."""
    server.script("create", refusal(400, HOSTILE, code=HOSTILE, x_request_id="\x9b2Jq"))
    it = watching("submit", "-t", "x", "--watch")
    assert 5 == it.finish()
    harmless(it)
    assert it.shows(SAFE)


def test_a_hostile_board(watching: Watching, server: FakeServer, state: Path) -> None:
    """Names and ids of the live board, or of a table, act on the terminal."""
    jobs = [{"name": HOSTILE, "id": f"{ident(n)}\u202e", "group": "g"} for n in (1, 2)]
    seed(state, *jobs, server=server)
    done = as_json(response_of("cancelled", response_id=jobs[0]["id"]))
    server.script("get", as_json(response_of(HOSTILE)), Forever(done))
    it = watching("watch", "--group", "g", "--interval", "0.3")
    assert 11 == it.finish()
    harmless(it)
    table = watching("list")
    assert 0 == table.finish()
    harmless(table)
    assert table.shows("h\\u{1b}]0;t")
