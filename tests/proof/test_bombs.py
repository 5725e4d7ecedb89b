"""T15: whatever a server sends, the command takes little memory and knows its end."""

import json
import zlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

from tests.cli.ledger import ident, last, seed
from tests.command import empty_config, has_bug
from tests.fakeanswers import (
    ENDLESS_DATA,
    ENDLESS_LINE,
    Forever,
    Repeat,
    Reply,
    Stream,
    as_json,
)
from tests.fakeserver import FakeServer
from tests.fakewire import Json, events_of, response_of
from tests.proof.conftest import Figure
from tests.proof.weighed import MOST, Weighed, weigh

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

MIB = 1 << 20
JSON = {"Content-Type": "application/json"}
QUICK = '[dialects.quick]\nextends = "openai"\nstream = {idle_events = 10.0}\n'


def _whole(text: bytes, *, more: bytes = b"", status: str = "completed") -> bytes:
    """Build a response object around a text and more members, without parsing it."""
    body = json.dumps(response_of(status, "TEXT")).encode()
    return body.replace(b'"TEXT"', b'"' + text + b'"')[:-1] + more + b"}"


@cache
def gzip_bomb() -> bytes:
    """Compress 512 MiB of zeros, a MiB at a time."""
    packer, block = zlib.compressobj(1, wbits=31), bytes(MIB)
    pieces = [packer.compress(block) for _ in range(512)]
    return b"".join([*pieces, packer.flush()])


@dataclass(frozen=True, slots=True)
class Bomb:
    """A body that goes off; `fate`: `read`, `raw` (saved, not parsed) or `refused`."""

    body: Callable[[], bytes]
    fate: str
    said: str = ""
    encoding: str = ""

    def reply(self, status: int = 200) -> Reply:
        """Return it as a whole reply."""
        coding = {"Content-Encoding": self.encoding} if self.encoding else {}
        return Reply(status, self.body(), {**JSON, **coding})


BOMBS = {
    "gzip": Bomb(gzip_bomb, "refused", "larger than 64 MiB", "gzip"),
    "30 MiB": Bomb(lambda: _whole(b"x" * (30 * MIB)), "raw", "larger than 16 MiB"),
    "60 MiB": Bomb(lambda: _whole(b"x" * (60 * MIB)), "raw", "larger than 16 MiB"),
    "70 MiB": Bomb(lambda: _whole(b"x" * (70 * MIB)), "refused", "larger than 64 MiB"),
    "emoji": Bomb(lambda: _whole("\U0001f600".encode() * (15 * MIB // 4)), "read"),
    "10 M objects": Bomb(
        lambda: _whole(b"x", more=b',"more":[' + b"{}," * 10_000_000 + b"0]"),
        "raw",
        "larger than 16 MiB",
    ),
    "5 M lists": Bomb(
        lambda: _whole(b"x", more=b',"more":[' + b"[]," * 5_000_000 + b"0]"),
        "raw",
        "more than 500000 values",
    ),
    "499 999 lists": Bomb(
        lambda: _whole(b"x", more=b',"more":[' + b"[]," * 249_900 + b"0]"), "read"
    ),
    "nested": Bomb(
        lambda: _whole(b"x", more=b',"a":' + b"[" * 100_000 + b"]" * 100_000),
        "refused",
        "nested too deep",
    ),
    "5 000 digits": Bomb(
        lambda: _whole(b"x", more=b',"n":' + b"9" * 5000), "refused", "cannot be read"
    ),
    "NaN": Bomb(lambda: _whole(b"x", more=b',"n":NaN'), "refused", "NaN is not JSON"),
    "surrogates": Bomb(lambda: _whole(b"a\\ud800b\\udfff"), "read"),
}
FLOODS = {
    "endless line": ENDLESS_LINE.payload,
    "empty data lines": ENDLESS_DATA.payload,
    "short data lines": b"data:ab\n" * 8000,
    "ids": b"id:ab\n" * 8000,
    "comments": b":\n\n" * 20_000,
    "comments without an end": b":\n" * 30_000,
    "done": b"data: [DONE]\n\n" * 4000,
    "junk": b"data: {]\n\n" * 4000,
    "retry of 5 000 digits": b"retry: " + b"9" * 5000 + b"\n\n",
}
TOO_LARGE = [
    *("endless line", "empty data lines", "short data lines", "ids"),
    "comments without an end",
]
# One character beyond the BMP makes Python take four bytes for each of its text.
WIDE = {
    "16 MiB": lambda: _whole("\U0001f600".encode() + b"x" * (16 * MIB - 2000)),
    "60 MiB": lambda: _whole("\U0001f600".encode() + b"x" * (60 * MIB)),
}
CASES = [(name, status) for name in BOMBS for status in (200, 400, 500)]
BRIEF = [
    (name, status)
    for name, status in CASES
    if status == 200
    or (name, status) in {("60 MiB", 400), ("nested", 400), ("gzip", 500)}
]


@dataclass(slots=True)
class Proof:
    """Weighs commands, each with a ledger and a server of its own."""

    folder: Path
    peaks: dict[str, int]
    count: int = 0

    def run(self, server: FakeServer, name: str, *args: str) -> Weighed:
        """Run one command whose ledger has one job that can be streamed."""
        folder = self.folder / name.replace(" ", "-").replace("/", "-")
        if not folder.exists():
            folder.mkdir()
            (folder / "config.toml").write_text(QUICK)
            job = {"status": "in_progress", "streamable": True, "dialect": "quick"}
            seed(folder / "state", job, server=server)
        env = {
            "BGRESP_BASE_URL": server.base_url,
            "BGRESP_API_KEY": "k",
            "BGRESP_STATE_DIR": str(folder / "state"),
            "BGRESP_CONFIG": empty_config(folder / "config.toml"),
        }
        weighed = weigh(args, env, folder, 120.0)
        assert not has_bug(weighed.ran.err_bytes), f"{name}: {weighed.told}"
        self.count += 1
        self.peaks[name] = max(weighed.peak >> 20, self.peaks.get(name, 0))
        assert weighed.peak < MOST, f"{name}: {weighed.told}"
        return weighed

    @property
    def figure(self) -> str:
        """Return what was weighed, and the heaviest of each operation."""
        name = max(self.peaks, key=lambda name: self.peaks[name], default="none")
        most = f"the most memory {self.peaks.get(name, 0)} MiB ({name})"
        return f"T15: {self.count} commands met a bomb: {most}"


def _events(name: str) -> Stream:
    """Return an event stream that never ends, or only after far too much."""
    return Stream(events=(), end=Repeat(FLOODS[name]))


@pytest.fixture(name="proof")
def _proof(tmp_path: Path, figure: Figure) -> Iterable[Proof]:
    proof = Proof(tmp_path, {})
    yield proof
    figure(proof.figure)


def _all(
    check: Callable[[tuple[str, int]], None], cases: Iterable[tuple[str, int]]
) -> None:
    with ThreadPoolExecutor(2) as pool:
        failures = [task.exception() for task in [pool.submit(check, c) for c in cases]]
    assert [] == [str(failure) for failure in failures if failure]


def _code(bomb: Bomb, status: int, codes: dict[int, int]) -> int:
    """Return what the table says of an error, and of a 200 understood or not."""
    return codes[status] if status != 200 else codes[-200 * (bomb.fate == "refused")]


def test_as_the_answer_to_a_create(proof: Proof, full: bool) -> None:
    """A create that meets a bomb is sent again, takes much memory, or lies."""
    codes = {0: 0, -200: 7, 400: 5, 500: 7}

    def check(case: tuple[str, int]) -> None:
        name, status = case
        bomb = BOMBS[name]
        with FakeServer() as server:
            server.script("create", bomb.reply(status))
            done = proof.run(server, f"create {name} {status}", "submit", "-t", "x")
            expected = _code(bomb, status, codes)
            if (name, status) == ("70 MiB", 200):
                expected = 0  # the id stands in what was read
            assert (expected, 1) == (done.ran.code, len(server.creates)), done.told
            if done.ran.code == 0:
                assert ident(1) == done.ran.out.strip()

    _all(check, CASES if full else BRIEF)


def test_as_the_answer_to_a_get(proof: Proof, full: bool) -> None:
    """An answer too large to parse is lost, or one that is no answer is believed."""
    codes = {0: 0, -200: 5, 400: 5, 500: 6}

    def check(case: tuple[str, int]) -> None:
        name, status = case
        bomb = BOMBS[name]
        label = f"get {name} {status}"
        with FakeServer() as server:
            server.script("get", bomb.reply(status))
            done = proof.run(server, label, "status")
        assert _code(bomb, status, codes) == done.ran.code, done.told
        state = proof.folder / label.replace(" ", "-") / "state"
        if status == 200 and bomb.fate != "refused":
            assert "completed" == last(state)["status"]
            again = proof.run(server, label, "get", "--part", "raw")
            assert 0 == again.ran.code, again.told
            assert bomb.body() == again.ran.out_bytes.rstrip(b"\n")
        else:
            assert "in_progress" == last(state)["status"]
            assert bomb.said in done.ran.err or status != 200, done.told

    _all(check, CASES if full else BRIEF)


def test_as_the_answer_to_a_stream(proof: Proof, full: bool) -> None:
    """JSON or an error in place of events makes a watch fail, hang or swell."""

    def check(case: tuple[str, int]) -> None:
        name, status = case
        bomb = BOMBS[name]
        with FakeServer() as server:
            server.script("stream", bomb.reply(status))
            believed = status == 200 and bomb.fate != "refused"
            if not believed:
                server.script("get", as_json(response_of("completed", "the truth")))
            done = proof.run(server, f"stream {name} {status}", "watch")
        assert 0 == done.ran.code, done.told
        if not believed:
            assert b"the truth\n" == done.ran.out_bytes

    _all(check, CASES if full else BRIEF)


def test_as_the_answer_to_a_cancel(proof: Proof, full: bool) -> None:
    """What answers a cancel, however large, hides what became of the job."""

    def check(case: tuple[str, int]) -> None:
        name, status = case
        bomb = BOMBS[name]
        with FakeServer() as server:
            server.script("cancel", Forever(bomb.reply(status)))
            server.script("get", as_json(response_of("cancelled")))
            done = proof.run(server, f"cancel {name} {status}", "cancel", "@last")
        assert 0 == done.ran.code, done.told

    _all(check, CASES if full else BRIEF)


def test_as_a_stream_without_end(proof: Proof) -> None:
    """A watch hangs on, or swells with, a stream that says nothing for ever."""

    def check(case: tuple[str, int]) -> None:
        name, _ = case
        with FakeServer() as server:
            server.script("stream", _events(name))
            server.script("get", as_json(response_of("completed", "the truth")))
            done = proof.run(server, f"stream {name}", "watch")
        assert (0, b"the truth\n") == (done.ran.code, done.ran.out_bytes), done.told

    _all(check, [(name, 200) for name in FLOODS])


def test_as_a_created_stream_without_end(proof: Proof) -> None:
    """A submit whose stream never names an id swells, or takes it for refused."""

    def check(case: tuple[str, int]) -> None:
        name, _ = case
        with FakeServer() as server:
            server.script("create", _events(name))
            done = proof.run(server, f"created {name}", "submit", "-t", "x", "--watch")
            assert (7, b"") == (done.ran.code, done.ran.out_bytes), done.told
            assert 1 == len(server.creates)

    _all(check, [(name, 200) for name in TOO_LARGE])


def test_as_a_created_stream_that_says_nothing(proof: Proof) -> None:
    """A submit waits for ever for the id in a stream of comments."""
    with FakeServer() as server:
        server.script("create", _events("comments"))
        submit = ("submit", "-t", "x", "--watch", "-p", "quick")
        done = proof.run(server, "created comments", *submit)
    assert (7, b"") == (done.ran.code, done.ran.out_bytes), done.told


def test_as_events_without_end(proof: Proof) -> None:
    """Events that say nothing new, however many, are kept in memory."""
    told = events_of("x" * MIB)[:6]
    flood = b"".join(b"data: " + json.dumps(e).encode() + b"\n\n" for e in told)
    with FakeServer() as server:
        server.script("create", Stream(events=(), end=Repeat(flood)))
        submit = ("submit", "-t", "x", "--watch", "--timeout", "8")
        done = proof.run(server, "created stale", *submit)
    assert (8, b"x" * 6) == (done.ran.code, done.ran.out_bytes[:6]), done.told


def test_as_text_without_end(proof: Proof) -> None:
    """A text that never ends is kept in memory."""
    told = events_of("", parts=[["x" * (8 * MIB)] * 40])
    with FakeServer() as server:
        server.script("create", Stream(events=told, until=38))
        server.script("get", as_json(response_of("completed", "the truth")))
        done = proof.run(server, "created text", "submit", "-t", "x", "--watch")
        assert 1 == done.ran.code  # what was shown is not the answer, which is saved


WATCHED = ("submit", "-t", "x", "--watch")


def _numbered(some: Iterable[Json]) -> list[Json]:
    return [{**told, "sequence_number": n} for n, told in enumerate(some)]


def test_as_a_long_stream(proof: Proof) -> None:
    """A stream of 100 MB that is no text takes more than 4 MiB more than a short one."""
    peaks, usual = [], list(events_of("the truth"))
    kind = "response.reasoning_summary_text.delta"
    thought = {"type": kind, "item_id": "rs_1", "delta": "x" * 250_000}
    for count in (4, 400):
        events = _numbered([*usual[:2], *[thought] * count, *usual[2:]])
        with FakeServer() as server:
            server.script("create", Stream(events=events))
            done = proof.run(server, f"thoughts {count}", *WATCHED)
        assert (0, b"the truth\n") == (done.ran.code, done.ran.out_bytes), done.told
        peaks.append(done.peak)
    assert peaks[1] - peaks[0] <= 4 * MIB, [peak >> 10 for peak in peaks]


@pytest.mark.parametrize("items", [0, 26_000])
def test_as_a_large_end_of_a_stream(proof: Proof, items: int) -> None:
    """An answer of 5 MB, one text or many items, takes more than 120 MiB to watch."""
    text = "the truth" if items else "x" * 5_000_000
    *usual, end = events_of(text, parts=[[text]])
    call = {"type": "web_search_call", "status": "completed"}
    calls = [
        {**call, "id": f"ws_{n}", "action": {"type": "search", "query": "y" * 80}}
        for n in range(items)
    ]
    response = {**end["response"], "output": [*calls, *end["response"]["output"]]}
    events = _numbered([*usual[:2], {**end, "response": response}])
    assert len(json.dumps(events)) > 5_000_000
    with FakeServer() as server:
        server.script("create", Stream(events=events))
        done = proof.run(server, f"end of {items} items", *WATCHED)
    assert (0, f"{text}\n".encode()) == (done.ran.code, done.ran.out_bytes), done.told
    assert done.peak <= 120 * MIB, done.told


@pytest.mark.parametrize(
    ("size", "commands"),
    [
        ("60 MiB", [["status"], ["get", "--part", "raw"]]),
        ("16 MiB", [["watch", "--mode", "poll"]]),
    ],
)
def test_as_an_answer_of_wide_characters(
    proof: Proof, size: str, commands: list[list[str]]
) -> None:
    """An emoji in a long answer takes four times its memory."""
    with FakeServer() as server:
        server.script("get", Forever(Reply(200, WIDE[size](), JSON)))
        for command in commands:
            proof.run(server, f"wide {size}", *command)
