"""Where output goes: exact bytes to pipes, safe ones to terminals, faults tell."""

import json
import re
import sys
from pathlib import Path

import pytest

from tests.cli.ledger import ident, picture, seed
from tests.cli.processes import Shell, Unread
from tests.cli.terminal import Terminals
from tests.command import Run, has_bug
from tests.fakeanswers import End, Forever, Stream, as_json
from tests.fakejobs import says
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, events_of, response_of

HOSTILE = (
    "a\x1b]52;c;ZXZpbA==\x07b\x1b[2Jc\x9b31md\u202ee\u2066f\rg"
    " \u06cc\u200c\u06a9 \U0001f469\u200d\U0001f680 end"
)
SAFE = (
    "a\\u{1b}]52;c;ZXZpbA==\\u{7}b\\u{1b}[2Jc\\u{9b}31md\\u{202e}e\\u{2066}f\\rg"
    " \u06cc\u200c\u06a9 \U0001f469\u200d\U0001f680 end"
)
LONG = "word " * 200 + "end"
HIDDEN = "sk-Kq7vWm2ZpT9"


@pytest.mark.parametrize("verb", ["get", "list", "status", "watch"])
def test_a_stdout_that_takes_nothing(
    shell: Shell, unread: Unread, state: Path, verb: str
) -> None:
    """A full or closed stdout is exit 1 and one line; a reader that left is 141."""
    seed(state, {"status": "completed", "text": FOX})
    before = picture(state / "responses")
    for where in (">/dev/full", ">&-"):
        ran = shell(f'"$@" {where}', verb, "@last")
        *_, line = ran.err.splitlines()
        assert (1, "") == (ran.code, ran.out)
        assert re.fullmatch("bgresp: cannot write (to stdout|the answer): .+", line)
        assert not has_bug(ran.err)
    ran = unread(verb, "@last")
    assert (141, False) == (ran.code, has_bug(ran.err))
    assert before == picture(state / "responses")


def test_help_that_cannot_be_printed(shell: Shell, unread: Unread) -> None:
    """Help and version fail like every other output: by exit code, not traceback."""
    for option in ("--version", "--help"):
        ran = shell('"$@" >/dev/full', option)
        assert (1, 1) == (ran.code, ran.err.count("\n"))
        ran = unread(option)
        assert (141, "") == (ran.code, ran.err)


def test_a_disk_that_is_nearly_full(shell: Shell, state: Path, tmp_path: Path) -> None:
    """An answer that fits only in part is exit 1, never a silent half."""
    seed(state, {"status": "completed", "text": "x" * 300_000})
    ran = shell('ulimit -f 100; "$@" > half', "get")
    assert (1, True) == (ran.code, "cannot write to stdout: File too large" in ran.err)
    ran = shell('ulimit -f 100; "$@"', "get", "-o", "whole")
    assert (1, False) == (ran.code, (tmp_path / "whole").exists())


def test_odd_descriptors(shell: Shell, state: Path) -> None:
    """A pipe that does not block gets every byte; a closed stderr costs nothing."""
    text = "0123456789" * 100_000
    seed(state, {"status": "completed", "text": text})
    unblock = f"{sys.executable} -c 'import os; os.set_blocking(1, False)'"
    ran = shell(f'{{ {unblock}; "$@"; echo "$?" >&2; }} | cat', "get")
    assert ("0\n", text + "\n") == (ran.err, ran.out)
    ran = shell('"$@" 2>&-', "watch")
    assert (0, "", "") == (ran.code, ran.out, ran.err)


def test_pipes_get_exact_bytes(bgresp: Run) -> None:
    """Nothing is escaped, wrapped, coloured or animated in a pipe, come FORCE_COLOR.

    Lines of ours that quote the endpoint are safe everywhere.
    """
    forced = {"FORCE_COLOR": "1", "TERM": "xterm-256color", "COLUMNS": "40"}
    for text in (HOSTILE, LONG):
        with FakeServer(tell=text) as server:
            env = {**forced, "BGRESP_BASE_URL": server.base_url}
            ran = bgresp("submit", "-t", "x", "--watch", env=env)
            assert (0, text.encode() + b"\n") == (ran.code, ran.out_bytes)
            assert b"\x1b" not in ran.err_bytes
    again = bgresp("get", env=forced)
    assert LONG + "\n" == again.out
    array = bgresp("get", "@2", "--json")
    assert (HOSTILE, True) == (json.loads(array.out)["text"], array.out.isascii())


def test_rows_are_coloured_on_demand_only(bare: Run, state: Path) -> None:
    """A pipe's rows have no ESC unless --color always; hostile names are escaped."""
    seed(state, {"name": "a\x1b[2J\tb\nc\u202e", "status": "failed"})
    for options in ((), ("--color", "never"), ("--no-progress", "-v")):
        ran = bare("list", *options, env={"FORCE_COLOR": "1"})
        assert (0, False) == (ran.code, "\x1b" in ran.out)
        assert [ident(1), "a\\u{1b}[2J b c\\u{202e}", "failed"] == (
            ran.out.split("\t")[:3]
        )
        assert 1 == ran.out.count("\n")


def test_a_terminal_shows_status_and_text(
    terminal: Terminals, server: FakeServer
) -> None:
    """While a job waits its status line lives on the terminal; at the end the text is.

    The line shows status, time, characters; it is gone from the final screen.
    """
    server.script("create", Stream(until=2, end=End.HANG))
    watching = terminal("submit", "-t", "x", "--watch")
    watching.until(lambda it: it.shows("in_progress") and it.shows("event"))
    assert watching.screen.cursor.hidden
    (line,) = (line for line in watching.lines if "event" in line)
    known = rf"in_progress [\d.]+s  stream  event [\d.]+s ago  queued .*s  {ident(1)}"
    assert re.fullmatch(f"[⠀-⣿] {known}", line)
    watching.type(b"\x03")
    assert 130 == watching.finish()
    again = terminal("watch", "@last", "--resume")
    assert 0 == again.finish()
    assert FOX in again.lines
    assert again.lines[-1].startswith("✓ completed in ")
    assert re.search(rf" tokens  (.* tok/s  )?bgresp get {ident(1)}$", again.lines[-1])
    assert not again.shows("stream")
    assert not again.screen.cursor.hidden


def test_a_terminal_is_never_attacked(terminal: Terminals) -> None:
    """Escapes, carriage returns and bidi of an answer are shown, not obeyed.

    Joiners that scripts and emoji need stay.
    """
    with FakeServer(tell=says(HOSTILE)) as server:
        env = {"BGRESP_BASE_URL": server.base_url}
        watching = terminal("submit", "-t", "x", "--watch", env=env)
        assert 0 == watching.finish()
        getting = terminal("get")
        assert 0 == getting.finish()
    assert SAFE.encode() in watching.spoken
    assert SAFE.encode() + b"\r\n" == bytes(getting.raw)
    for raw in (bytes(watching.raw), bytes(getting.raw)):
        assert not re.search(rb"\x1b\]|\x1b\[2J|\x07|\xc2\x9b", raw)


@pytest.mark.parametrize("piped", [False, True])
def test_an_emoji_in_two_events_stays_whole(
    terminal: Terminals, server: FakeServer, piped: bool
) -> None:
    """A selector that comes in the next event is shown, or one behind a letter is not.

    A pipe gets the exact bytes.
    """
    parts = ["I \u2764", "\ufe0f it\ufe0f", "\ufe0f", "\u3164end"]
    server.script("create", Stream(events=events_of(parts=[parts])))
    watching = terminal("submit", "-t", "x", "--watch", piped=piped)
    assert 0 == watching.finish()
    shown = "I \u2764\ufe0f it\\u{fe0f}\\u{fe0f}\\u{3164}end"
    if piped:
        assert "".join(parts).encode() + b"\n" == bytes(watching.out)
    else:
        assert shown.encode() in watching.spoken


def test_answers_are_told_apart_on_a_terminal(
    terminal: Terminals, bgresp: Run, state: Path
) -> None:
    """Of several answers a line on stderr says whose each is; stdout is as ever.

    One answer, a pipe and a job that has none get no such line.
    """
    done = {"status": "completed", "text": FOX}
    seed(
        state, done, {"status": "rejected", "id": None}, {**done, "name": "two\x1b[2J"}
    )
    both = terminal("get", ident(1), "@2", ident(3), env={"NO_COLOR": "1"})
    both.finish()
    head = f"==> {ident(3)} two\\u{{1b}}[2J <=="
    assert [f"==> {ident(1)} <==", FOX, head, FOX] == both.lines[:4]
    assert 2 == sum("==>" in line for line in both.lines)
    coloured = terminal("get", ident(1), ident(3))
    assert 0 == coloured.finish()
    assert f"\x1b[2m==> {ident(1)} <==\x1b[0m".encode() in bytes(coloured.raw)
    one = terminal("get", ident(1))
    assert (0, FOX.encode() + b"\r\n") == (one.finish(), bytes(one.raw))
    piped = bgresp("get", ident(1), ident(3))
    assert (0, f"{FOX}\n{FOX}\n", "") == (piped.code, piped.out, piped.err)


def test_a_terminal_without_animation(
    terminal: Terminals, server: FakeServer, state: Path
) -> None:
    """--no-progress, CI and TERM=dumb give plain lines; a table is aligned and safe."""
    quiet: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("--no-progress",), {}),
        ((), {"CI": "1"}),
        ((), {"TERM": "dumb"}),
    ]
    seed(state, *[{}] * 3, server=server)
    answers = [
        as_json(response_of("completed", FOX, response_id=ident(n))) for n in (3, 2, 1)
    ]
    server.script("get", *answers)
    for number, (options, env) in enumerate(quiet, 1):
        plain = terminal("watch", f"@{number}", *options, env=env)
        assert 0 == plain.finish()
        assert (FOX, False) == (plain.lines[-2], b"\x1b" in plain.raw)
    table = terminal("list", env={"NO_COLOR": "1"})
    assert (0, False) == (table.finish(), b"\x1b" in table.raw)
    heading, *rows = table.lines
    assert ("ID", 3) == (heading.split()[0], len(rows))
    assert 1 == len(
        {row.index("completed") for row in rows} | {heading.index("STATUS")}
    )


def test_a_board_of_many(terminal: Terminals, server: FakeServer, state: Path) -> None:
    """Several jobs are a live board on stderr; at the end one line each stays."""
    seed(state, {"name": "one"}, {"name": "two"}, server=server)
    running = as_json(response_of("in_progress", response_id=ident(1)))
    server.script("get", running, as_json(response_of("completed", FOX)), job=ident(1))
    failed = response_of("failed", response_id=ident(2))
    server.script("get", as_json(failed), job=ident(2))
    board = terminal("watch", "one", "two", "--interval", "0.5", piped=True)
    board.until(lambda it: it.shows("1 in_progress  1 failed"))
    assert 12 == board.finish()
    assert (b"", False) == (bytes(board.out), board.screen.cursor.hidden)
    kept = [line.split()[:3] for line in board.lines]
    assert [["✗", "two", "failed"], ["✓", "one", "completed"]] == kept[:2]
    assert [["1", "completed", "1"]] == kept[2:]


@pytest.mark.parametrize(
    ("words", "method"),
    [
        ("submit -t x", "POST"),
        ("submit -t x --watch", "POST"),
        ("status @1", "GET"),
        ("watch @1", "GET"),
        ("wait @1", "GET"),
        ("get @1", "GET"),
        ("list --refresh", "GET"),
        ("sync", "GET"),
        ("cancel @1", "POST"),
        ("forget @1 --force --remote", "DELETE"),
        (f"import {ident(9)}", "GET"),
        ("models", "GET"),
        ("batch rows.jsonl", "POST"),
        ("doctor --probe --yes", "POST"),
    ],
)
def test_v_tells_of_requests(
    hasty: Run,
    server: FakeServer,
    state: Path,
    tmp_path: Path,
    words: str,
    method: str,
) -> None:
    """With -v stderr has each request and its status, never the key; else it has none."""
    seed(state, {}, server=server)
    if words in {"watch @1", "wait @1"}:
        ended = response_of("completed", FOX, response_id=ident(1))
        server.script("get", Forever(as_json(ended)), job=ident(1))
    (tmp_path / "rows.jsonl").write_text('{"id": "a", "text": "x"}\n')
    header = f"X-Team: {HIDDEN}"
    told = hasty(*words.split(), "-v", "-H", header, env={"BGRESP_API_KEY": HIDDEN})
    asked = f"bgresp: {method} {server.base_url}/"
    lines = [line for line in told.err.splitlines() if line.startswith(asked)]
    assert lines, told
    assert all(re.search(r": \d{3} after \d+\.\d\d s", line) for line in lines), lines
    assert HIDDEN not in told.err + told.out
    if words == "status @1":
        assert asked not in hasty(*words.split()).err


def test_v_tells_of_waits_and_of_what_fails(
    hasty: Run, server: FakeServer, state: Path
) -> None:
    """How long nobody asks is told, what an endpoint asked for, and what broke."""
    seed(state, {}, server=server)
    stands = [as_json(response_of(word, FOX)) for word in ("queued", "completed")]
    server.script("get", *stands, job=ident(1))
    told = hasty("wait", "@1", "-v").err.splitlines()
    assert [f"bgresp: {ident(1)}: waits"] == [
        line.rpartition(" ")[0].rpartition(" ")[0] for line in told if "waits" in line
    ]
    closed = "http://127.0.0.1:9/v1"
    broken = hasty("models", "-v", env={"BGRESP_BASE_URL": closed}).err.splitlines()
    assert f"bgresp: GET {closed}/models: Connection refused" == broken[0]
