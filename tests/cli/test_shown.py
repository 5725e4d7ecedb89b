"""What a person sees of a real run: asides, plain lines, a clean end."""

import json
import re
import signal
from pathlib import Path

import pytest

from tests.cli.ledger import ident, seed
from tests.cli.processes import Start
from tests.cli.terminal import Terminals
from tests.command import Run
from tests.fakeanswers import End, Forever, Stream, as_json, refusal
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, Events, Json, events_of, numbered, response_of
from tests.test_answers import events_of as told_of

THOUGHT = "I wonder \x1b[2J about dogs."


def thinking(body: Json, response_id: str) -> Events:
    """Tell a job that thinks and calls a tool before its text."""
    events = events_of(FOX, response_id=response_id)
    call = {"type": "web_search_call", "action": {"query": "dogs"}}
    beside: Events = [
        {"type": "response.output_item.added", "item": {"type": "reasoning"}},
        {"type": "response.reasoning_summary_text.done", "text": THOUGHT},
        {"type": "response.output_item.done", "item": call},
    ]
    return numbered([*events[:3], *beside, *events[3:]])


@pytest.mark.parametrize("verb", ["submit", "watch"])
def test_asides_are_shown_on_demand(bgresp: Run, verb: str) -> None:
    """--show tells reasoning and tools on stderr; stdout is the text as ever."""
    with FakeServer(tell=thinking) as server:
        env = {"BGRESP_BASE_URL": server.base_url}
        argv: tuple[str, ...] = ("submit", "-t", "x", "--watch")
        if verb == "watch":
            assert 0 == bgresp("submit", "-t", "x", "--stream", env=env).code
            argv = ("watch", "@1")
        quiet = bgresp(*argv, env=env)
        assert (FOX + "\n", False) == (quiet.out, "dogs" in quiet.err)
        shown = bgresp(*argv, "--show", "reasoning,tools", env=env)
        assert FOX + "\n" == shown.out
        if verb == "submit":  # a job that is over is not streamed again
            assert "reasoning: I wonder \\u{1b}[2J about dogs." in shown.err
            assert "tools: web_search(dogs)" in shown.err
    wrong = bgresp(*argv, "--show", "everything")
    assert (2, 1) == (wrong.code, wrong.err.count("\n"))
    known = "reasoning, tools, commentary or all"
    assert f"--show takes {known}, not 'everything'" in wrong.err


def test_asides_on_a_terminal(terminal: Terminals) -> None:
    """On a terminal they stand as dim lines above the text."""
    with FakeServer(tell=thinking) as server:
        env = {"BGRESP_BASE_URL": server.base_url}
        it = terminal("submit", "-t", "x", "--watch", "--show", "all", env=env)
        assert 0 == it.finish()
    lines = it.lines
    first = lines.index("│ I wonder \\u{1b}[2J about dogs.")
    assert ["│ web_search(dogs)", FOX] == lines[first + 1 : first + 3]
    assert b"\x1b[2m\xe2\x94\x82 web_search(dogs)\x1b[0m" in it.raw


NO = "I cannot help with that, and I will not."


def refusing(body: Json, response_id: str) -> Events:
    """Tell a job that refuses, in words."""
    part = {"type": "refusal", "refusal": NO}
    item = {"type": "message", "id": "msg_1", "content": [part]}
    output = {**response_of("completed", response_id=response_id), "output": [item]}
    return list(told_of(output, size=3))


@pytest.mark.parametrize("until", [None, 9])
def test_a_refusal_is_told_as_it_comes(start: Start, until: int | None) -> None:
    """On stderr, before it is whole; `watch --resume` goes on where it was left."""
    with FakeServer(tell=refusing) as server:
        env = {"BGRESP_BASE_URL": server.base_url}
        server.script("create", Stream(until=until, end=End.HANG if until else End.EOF))
        it = start("submit", "-t", "x", "--watch", env=env)
        if until is None:
            ran = it.finish()
            assert (14, "", 1) == (ran.code, ran.out, ran.err.count(f"refused: {NO}\n"))
            return
        it.until(b"the model refused: I cannot help ", "err")
        left = it.finish(signal.SIGINT)
        assert (130, 1) == (left.code, left.err.count("the model refused"))
        assert "\nbgresp: detached; " in left.err
        ran = start("watch", "@1", "--resume", env=env).finish()
        assert (14, "") == (ran.code, ran.out)
        told = [
            line.partition("the model refused: ")[2]
            for line in (left.err + ran.err).splitlines()
            if "the model refused: " in line and "without text" not in line
        ]
        assert NO == "".join(told)


def test_a_refusal_on_a_terminal(terminal: Terminals) -> None:
    """It stands there once, whole, and the line about the end is below it."""
    with FakeServer(tell=refusing) as server:
        env = {"BGRESP_BASE_URL": server.base_url}
        it = terminal("submit", "-t", "x", "--watch", env=env)
        assert 14 == it.finish()
    lines = it.lines
    at = lines.index("the model refused:")
    assert NO == lines[at + 1]
    assert "completed" in lines[at + 2]


def test_lines_in_a_pipe_are_dated(bgresp: Run, server: FakeServer) -> None:
    """Each line on stderr begins with a time in RFC 3339 and the whole id."""
    ran = bgresp("submit", "-t", "x", "--watch")
    _, *lines = ran.err.splitlines()
    assert lines
    for line in lines:
        moment, name, _ = line.split(" ", 2)
        assert (20, "T", "Z", ident(1)) == (len(moment), moment[10], moment[-1], name)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_it_leaves_a_clean_screen(
    terminal: Terminals,
    server: FakeServer,
    state: Path,
    number: signal.Signals,
    many: bool,
) -> None:
    """After a signal no live line is left, the cursor is shown, the taskbar empty.

    The last line says how to go on.
    """
    seed(state, *[{"group": "night", "status": "in_progress"}] * 2, server=server)
    running = as_json(response_of("in_progress", response_id=ident(1)))
    server.script("get", Forever(running))
    which = ("--group", "night") if many else ("@1",)
    env = {"TERM_PROGRAM": "ghostty"}
    it = terminal("watch", *which, "--interval", "0.2", env=env)
    it.until(lambda it: len(server.asked("get")) > 2 and b"\x1b]9;4;" in it.raw)
    it.process.send_signal(number)
    assert 128 + number == it.finish()
    assert it.raw.rstrip().rfind(b"\x1b]9;4;0;0") == it.raw.rfind(b"\x1b]9;4;")
    assert not it.screen.cursor.hidden
    go_on = "--group night" if many else f"{ident(2)} --resume"
    assert it.lines[-1].endswith(f"bgresp watch {go_on}")
    assert not any(mark in line for mark in "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏━─" for line in it.lines)


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (200, 50)], ids=str)
@pytest.mark.parametrize("refs", [("@1",), ("@1", "@2", "@3")], ids=["one", "many"])
def test_it_leaves_a_scrolled_screen_clean(
    terminal: Terminals,
    server: FakeServer,
    state: Path,
    refs: tuple[str, ...],
    size: tuple[int, int],
) -> None:
    """Below a full screen, whatever is typed: what stood there stays, and one summary.

    Typing is not echoed into the frame; afterwards the terminal echoes again.
    """
    seed(state, *[{"group": "night", "status": "in_progress"}] * 3, server=server)
    running = as_json(response_of("in_progress", response_id=ident(1)))
    server.script("get", Forever(running))
    scrolled = f"seq 1 {size[1] + 5}"
    it = terminal("watch", *refs, "--interval", "0.2", size=size, before=scrolled)
    it.until(lambda it: it.shows("in_progress") and len(server.asked("get")) > 4)
    it.type(b"typed" + b"\r" * 9)
    asked = len(server.asked("get"))
    it.until(lambda it: len(server.asked("get")) > asked + 4)
    it.type(b"\x03")
    assert 130 == it.finish()
    lines = it.lines
    above = sum(line.isdecimal() for line in lines)
    assert [str(size[1] + 6 - above + n) for n in range(above)] == lines[:above]
    assert not any("typed" in line or "^C" in line for line in lines)
    assert int(len(refs) > 1) == sum("3 in_progress" in line for line in lines)
    assert 1 == sum("detached; the job" in line for line in lines)
    assert it.echoes


def test_a_terminal_smaller_than_it_says(
    terminal: Terminals, server: FakeServer, state: Path
) -> None:
    """A frame that is too large is cut, never wrapped, and goes away whole."""
    seed(state, *[{"group": "night", "status": "in_progress"}] * 9, server=server)
    running = as_json(response_of("in_progress", response_id=ident(1)))
    server.script("get", Forever(running))
    it = terminal("watch", "--group", "night", size=(80, 24), before="seq 1 30")
    it.screen.resize(16, 40)
    it.until(lambda it: b"in_progress" in it.raw and len(server.asked("get")) > 8)
    it.type(b"\x03")
    assert 130 == it.finish()
    assert ["9 in_progress"] == [x for x in it.lines if "in_progress" in x]


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize(
    "words", ["list", "list --wide", "doctor", "help endpoints", "stats", "config path"]
)
def test_a_terminal_gets_columns(
    terminal: Terminals, server: FakeServer, state: Path, words: str, columns: int
) -> None:
    """No tab, and no line wider than the terminal but for a path or an id in it."""
    long = {"name": "n" * 90, "error": {"code": "e", "message": "It broke. " * 20}}
    seed(state, {**long, "status": "failed"}, {"labels": {"env": "prod"}})
    it = terminal(*words.split(), size=(columns, 50))
    it.finish()
    assert b"\t" not in it.raw
    for line in re.sub(rb"\x1b\[[\d;]*m", b"", it.raw).decode().split("\r\n"):
        longest = max(map(len, line.split()), default=0)
        assert len(line) <= columns or longest > columns - 24, line


def test_a_failure_on_the_way(terminal: Terminals, server: FakeServer) -> None:
    """An endpoint that refuses leaves neither progress nor a hidden cursor."""
    server.script("create", Stream(until=4, end=End.EOF))
    server.script("get", refusal(401, "Bad key."))
    it = terminal("submit", "-t", "x", "--watch", env={"WT_SESSION": "1"})
    assert 4 == it.finish()
    assert b"\x1b]9;4;0;0" in it.raw[it.raw.rfind(b"\x1b]9;4;") :]
    assert (False, True) == (it.screen.cursor.hidden, it.shows("Bad key."))


@pytest.mark.parametrize("many", [False, True], ids=["one", "many"])
def test_a_stopped_watch_leaves_the_terminal(
    terminal: Terminals, server: FakeServer, state: Path, many: bool
) -> None:
    """Ctrl-Z takes the live lines away and shows the cursor; fg draws them again."""
    seed(state, *[{"status": "in_progress"}] * 2, server=server)
    running = as_json(response_of("in_progress", response_id=ident(1)))
    server.script("get", Forever(running))
    it = terminal("watch", *["@1", "@2"][: 1 + many], "--interval", "0.2")
    it.until(lambda it: it.shows("in_progress") and len(server.asked("get")) > 2)
    it.process.send_signal(signal.SIGTSTP)
    it.until(lambda it: not it.shows("in_progress") and not it.screen.cursor.hidden)
    it.until(lambda it: it.echoes)
    it.process.send_signal(signal.SIGCONT)
    it.until(lambda it: it.shows("in_progress") and it.screen.cursor.hidden)
    it.until(lambda it: not it.echoes)
    it.process.send_signal(signal.SIGINT)
    assert (130, False) == (it.finish(), it.screen.cursor.hidden)
    assert it.echoes


def test_two_watchers(terminal: Terminals, server: FakeServer) -> None:
    """Two watch one job, each on its terminal: both show the whole text and the end."""
    server.script("create", Stream(until=6, end=End.EOF))
    assert 0 == terminal("submit", "-t", "x", "--stream").finish()
    both = [terminal("watch", "@1"), terminal("watch", "@1")]
    assert [0, 0] == [it.finish() for it in both]
    for it in both:
        assert FOX in it.lines
        assert it.lines[-1].startswith("✓ completed")


def test_ascii_where_nothing_else_can_be(
    terminal: Terminals, server: FakeServer
) -> None:
    """In the C locale every byte of our own is ASCII."""
    server.script("create", Stream(until=5, end=End.HANG))
    it = terminal("submit", "-t", "x", "--watch", env={"LC_ALL": "C"})
    it.until(lambda it: it.shows("chars"))
    it.type(b"\x03")
    assert 130 == it.finish()
    assert bytes(it.raw).isascii()


def test_json_is_not_animated(terminal: Terminals, server: FakeServer) -> None:
    """--json on a terminal prints the record alone."""
    it = terminal("submit", "-t", "x", "--watch", "--json")
    assert 0 == it.finish()
    assert "completed" == json.loads(it.spoken[it.spoken.index(b"{\r\n") :])["status"]
    assert b"\x1b" not in it.raw


def test_json_is_indented_for_a_person(terminal: Terminals, state: Path) -> None:
    """JSON on a terminal is one line that nobody reads; a pipe's is as ever."""
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    seed(state, {"status": "completed", "text": FOX, "usage": usage})
    for piped, lines in ((False, True), (True, False)):
        it = terminal("show", "--json", piped=piped)
        assert 0 == it.finish()
        out = bytes(it.out if piped else it.raw)
        assert lines == (b'\n  "schema": "bgresp.job/1",' in out.replace(b"\r", b""))
        assert lines == (out.count(b"\n") > 1)
    it = terminal("get", "--part", "usage")
    it.finish()
    assert it.shows('  "input_tokens": ')


def test_a_bell_rings(terminal: Terminals, state: Path, bgresp: Run) -> None:
    """--notify bell rings for a job that ended, once ever, and never in a pipe."""
    seed(state, {"status": "completed", "text": FOX})
    ran = bgresp("watch", "@1", "--notify", "bell")
    assert (0, FOX + "\n", False) == (ran.code, ran.out, "\a" in ran.err)
    seed(state, {"status": "completed", "text": FOX})
    for bells in (1, 0):
        it = terminal("watch", "@1", "--notify", "bell")
        assert 0 == it.finish()
        assert bells == bytes(it.raw).count(b"\a")


def test_an_id_of_the_board_means_its_job(
    terminal: Terminals, bgresp: Run, server: FakeServer, state: Path
) -> None:
    """A short id that the board shows is no REF, or another job's."""
    ids = [f"resp_{number:02x}{'ab' * 15}" for number in range(160, 163)]
    seed(state, *({"id": id_, "status": "in_progress"} for id_ in ids), server=server)
    for id_ in ids:
        running = as_json(response_of("in_progress", response_id=id_))
        server.script("get", Forever(running), job=id_)
    it = terminal("watch", "--interval", "60")
    it.until(lambda it: sum("in_progress" in line for line in it.lines) > 2)
    it.until(lambda _: len(server.asked("get")) > 2)
    shown = re.findall(r"\ba[0-9a-f]{7}\b", "\n".join(it.lines))
    it.process.send_signal(signal.SIGINT)
    assert (130, 3) == (it.finish(), len(set(shown)))
    found = {bgresp("list", ref, "-q").out for ref in shown}
    assert {id_ + "\n" for id_ in ids} == found
