"""T12: whatever comes in, nothing but the errors that are meant comes out."""

import json
import resource
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter
from typing import Final

import pytest

from bgresp.api import replies, transport
from bgresp.api.replies import Reply
from bgresp.config import files
from bgresp.core import schedule
from bgresp.core.dialect_schema import build
from bgresp.core.errors import ConfigError
from bgresp.core.reading import event_reader
from bgresp.core.text import TooLargeError
from bgresp.ledger import line, saved
from tests import fakewire as fw
from tests.endpoint import dialect
from tests.fakeanswers import BOM, DONE, Framing, sse
from tests.proof.conftest import Figure

pytestmark = [pytest.mark.proof, pytest.mark.timeout(900)]

FULL, SHARE = 100_000, 8
OPENAI = dialect()
Target = Callable[[Random], None]

# What decoders, numbers, dates and terminals trip over.
_ODD: Final[tuple[bytes, ...]] = (
    *(b"\n", b"\r", b"\r\n", b"\n\n", b"\x00", b"\xff\xfe", BOM, b"\xe2\x80\xa8"),
    *(
        b"data:",
        b"data: [DONE]",
        b"id:",
        b"event: error\n",
        b": ping\n\n",
        b"retry: -1",
    ),
    *(b"{", b"}", b"[", b'"', b"\\", b"\\ud800", b"NaN", b"1e999", b"-0", b"null"),
    *(b"9" * 5000, b"[" * 2000, b'{"a":' * 2000, b"true", b'"type":', b"\xc3"),
    *(b'"sequence_number":-1,', b'"sequence_number":1e400,', b'"response":7,'),
    *(
        b'"delta":[],',
        b'"output":"x",',
        b'"output":[[[1]]],',
        b'"status":{},',
        b"=" * 40,
    ),
)
_TIMES: Final = (
    *("0", "-5", "nan", "inf", "-inf", "1e999", "1e9", "soon", "", " 2 ", "2.5", "+3"),
    *("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 99999 08:49:37 GMT", "0x10"),
    *("Mon, 01 Jan 0001 00:00:00 +9999", "06 Nov 1994", "Thu, 32 Foo 2026", "٣", "²"),
    *("9" * 400, "Sun Nov  6 08:49:37 1994", "Sun, 06 Nov 1994 25:61:61 -0000", "1_0"),
)
_CONFIG: Final = b"""default_profile = "work"
[profiles.work]
dialect = "mine"
base_url = "https://llm.example.com/v9"
api_key_cmd = ["pass", "work"]
rate = 5
stream = true
[profiles.work.vars]
end_user = "user-7"
[dialects.mine]
extends = "openai"
auth = { header = "X-API-Key", value = "{key}", env = "MINE_KEY" }
[dialects.mine.states]
queued = ["pending"]
[dialects.mine.response]
text = ["output[type=message].content[*].text", "a.b[0].c"]
[dialects.mine.stream]
resume = "query:after"
idle_bytes = 60
[dialects.mine.ops]
stream = "GET /responses/{id}/events"
[dialects.mine.limits]
poll = [1, 60]
"""


def mangled(rng: Random, raw: bytes) -> bytes:
    """Cut, repeat, flip and insert, a few times each."""
    data = bytearray(raw)
    for _ in range(rng.choice((0, 1, 1, 2, 4, 9))):
        at = rng.randrange(len(data) + 1)
        upto = min(len(data), at + rng.randrange(40))
        match rng.randrange(5):
            case 0:
                del data[at:upto]
            case 1:
                data[at:at] = data[at:upto] * rng.randrange(1, 4)
            case 2 if at < len(data):
                data[at] ^= 1 << rng.randrange(8)
            case 3:
                data[at:at] = rng.choice(_ODD)
            case _:
                data[at:upto] = rng.randbytes(rng.randrange(5))
    return bytes(data)


def _streams() -> list[bytes]:
    histories = [
        fw.events_of(parts=[["a ", "b"], ["\u2028é", "\U0001f98a"]]),
        fw.errored(5, nested=True)(fw.events_of(fw.FOX)),
        fw.unnumbered(fw.events_of("x y", status="failed")),
        fw.kept_alive(fw.events_of("x", status="incomplete")),
    ]
    framings = (
        Framing(),
        Framing(newline="\r\n", head=BOM, ids=True),
        Framing(newline="\r", names=False, between=b": ping\n\n", tail=DONE),
    )
    return [b"".join(sse(told, how)) for told in histories for how in framings]


STREAMS = _streams()
BODIES = [
    json.dumps(fw.response_of(word, "some text")).encode()
    for word in ("queued", "completed", "failed", "paused")
]
BODIES += [
    b'{"error":{"message":"No.","code":null}}',
    b"<html>",
    b"",
    b'{"detail":"x"}',
]
LINES = [
    line.seal(b'{"v":1,"key":"01K0","id":"resp_1","status":"queued"}')[:-1],
    b'{"v":1,"key":"01K0","status":"completed","usage":{"total":1},"labels":{"a":"b"}}',
    b'{"v":2,"kind":"x"}',
]
NOTES = b"".join(
    b'{"w":"%d","add":"text %d","cursor":%d}\n' % (n % 2, n, n) for n in range(4)
)


def events(rng: Random) -> None:
    """Feed bytes of a stream into events, cut anywhere."""
    body = mangled(rng, rng.choice(STREAMS))
    sizes, weights = (1, 7, 100, 1000, 100_000), (1, 5, 30, 30, 34)
    size = rng.choices(sizes, weights)[0]

    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), size):
            yield body[at : at + size]

    async def read() -> None:
        kind = rng.choice((b"text/event-stream", b"text/event-stream;"))
        reply = transport.Response(200, [(b"content-type", kind)], pieces())
        try:
            async for sse in transport.events(reply):
                replies.event(event_reader(OPENAI), sse.event, sse.data, sse.id)
        except TooLargeError:
            pass

    # Nothing in it waits, so it needs no loop.
    with pytest.raises(StopIteration):
        read().send(None)


def answers(rng: Random) -> None:
    """Read a reply in each of the roles that it may have."""
    body = mangled(rng, rng.choice(BODIES))
    headers = {"retry-after": rng.choice(_TIMES), "x-request-id": rng.choice(_TIMES)}
    reply = Reply(rng.choice((200, 202, 204, 303, 400, 404, 429, 503)), headers, body)
    for reader in (replies.created, replies.retrieved, replies.instead_of_stream):
        reader(OPENAI, reply)
    replies.listed(reply)


def waits(rng: Random) -> None:
    """Read what an endpoint asks to wait."""
    names = ("retry-after", "retry-after-ms", "openai-poll-after-ms", "date")
    headers = {name: rng.choice(_TIMES) for name in names if rng.random() < 0.7}
    if rng.random() < 0.3:
        text = mangled(rng, rng.choice(_TIMES).encode())
        headers["retry-after"] = text.decode("latin-1")
    wait = schedule.retry_after(headers, now=rng.uniform(0, 2e9))
    assert wait is None or 0 <= wait < float("inf")


def lines(rng: Random) -> None:
    """Read a line of the journal."""
    try:
        found = line.decode(mangled(rng, rng.choice(LINES)))
    except line.BadLineError:
        return
    job = found.job
    assert job is None or line.decode(line.encode(job)[:-1]).job is not None


def notes(rng: Random, path: Path) -> None:
    """Read the notes of how far a watch came."""
    path.write_bytes(mangled(rng, NOTES))
    shown = saved.load_progress(path)
    json.dumps([shown.text, shown.cursor])


def config(rng: Random, path: Path) -> None:
    """Read a configuration and build every dialect of it."""
    path.write_bytes(mangled(rng, _CONFIG))
    try:
        found = files.load(path)
        for name in found.dialects:
            build(name, {**files.built_in(), **found.dialects})
    except ConfigError:
        return


def run(target: Target, seeds: Sequence[int]) -> list[str]:
    """Return each input that raised what it must not, with where."""
    wrong = []
    for seed in seeds:
        try:
            target(Random(seed))
        except Exception:  # noqa: BLE001 - that is the question
            last = "".join(traceback.format_exc(limit=-3)).splitlines()
            wrong.append(f"seed {seed}: " + " ".join(last[-7:]))
    return wrong


def test_fuzz(tmp_path: Path, figure: Figure, *, full: bool) -> None:
    """Some bytes of a stranger end in an exception that nobody expects."""
    targets: dict[str, tuple[int, Target]] = {
        "streams": (50, events),
        "replies": (20, answers),
        "waits": (10, waits),
        "journal lines": (10, lines),
        "progress files": (5, partial(notes, path=tmp_path / "notes.jsonl")),
        "configurations": (5, partial(config, path=tmp_path / "config.toml")),
    }
    many = FULL if full else FULL // SHARE
    started, counts, wrong = perf_counter(), Counter[str](), list[str]()
    for name, (share, target) in targets.items():
        counts[name] = many * share // 100
        wrong += [f"{name}: {it}" for it in run(target, range(counts[name]))]
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    said = ", ".join(f"{count} {name}" for name, count in counts.items())
    seconds = perf_counter() - started
    figure(
        f"T12: {sum(counts.values())} inputs ({said}), {seconds:.0f} s, "
        f"{memory} MiB: {len(wrong)} uncaught"
    )
    assert [] == wrong[:10]
