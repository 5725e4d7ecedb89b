"""The twin of Redis, held against redis-server: the same commands, the same bytes."""

import random
import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bgresp.celery.intents import _HOLD, _SWAP
from tests.celery.twin import Twin
from tests.proof.broker import missing, redis_server
from tests.proof.conftest import Figure

KEYS = ("a", "b", "c")
WORDS = ("x", "y", "z", "")
RELEASE = """
local token = redis.call('get', KEYS[1])
if not token or token ~= ARGV[1] then
    return 0
end
redis.call('del', KEYS[1])
return 1
"""
SCRIPTS = (RELEASE, "return redis.call('GET', KEYS[1])")


class Line:
    """A connection that says commands and gives back the bytes of their replies."""

    def __init__(self, url: str) -> None:
        port = int(url.rsplit(":", 1)[1].split("/", maxsplit=1)[0])
        self.sock = socket.create_connection(("127.0.0.1", port), 30.0)
        self.replies = self.sock.makefile("rb")

    def say(self, *words: str) -> bytes:
        parts = [f"*{len(words)}\r\n"]
        parts += [f"${len(word)}\r\n{word}\r\n" for word in words]
        self.sock.sendall("".join(parts).encode())
        return self.hear()

    def hear(self) -> bytes:
        """Return one whole reply; a set's members are in no order."""
        line = self.replies.readline()
        kind, rest = line[:1], line[1:-2]
        if kind in b"$" and rest != b"-1":
            return line + self.replies.read(int(rest) + 2)
        if kind in b"*>%~" and rest != b"-1":
            many = int(rest) * (2 if kind == b"%" else 1)
            told = [self.hear() for _ in range(many)]
            return line + b"".join(sorted(told) if kind == b"~" else told)
        return line

    def close(self) -> None:
        self.replies.close()
        self.sock.close()


def commands(rng: random.Random) -> Iterator[tuple[str, ...]]:
    """Yield one thing to do: a command, or a few that make one."""
    key, other, word = rng.choice(KEYS), rng.choice(KEYS), rng.choice(WORDS)
    score, far = str(rng.randint(0, 9)), str(rng.randint(2, 9) * 1_000_000)
    one = rng.choice(
        (
            ("SET", key, word),
            ("SET", key, word, "NX", "PX", far),
            ("SET", key, word, "XX"),
            ("SETEX", key, far, word),
            ("GET", key),
            ("MGET", key, other, "none"),
            ("DEL", key, other),
            ("EXISTS", key, other),
            ("TYPE", key),
            ("EXPIRE", key, far),
            ("LPUSH", key, word, "w"),
            ("RPUSH", key, word),
            ("BRPOP", key, other, "0.01"),
            ("LLEN", key),
            ("LRANGE", key, "0", "-1"),
            ("SADD", key, word, "w"),
            ("SREM", key, word),
            ("SMEMBERS", key),
            ("HSET", key, word, "v"),
            ("HGET", key, word),
            ("HDEL", key, word, "w"),
            ("ZADD", key, score, word),
            ("ZREM", key, word),
            ("ZCARD", key),
            (
                "ZRANGE",
                key,
                score,
                "0",
                "BYSCORE",
                "REV",
                "LIMIT",
                "0",
                "2",
                "WITHSCORES",
            ),
            ("ZRANGE", key, "0", score, "BYSCORE"),
            ("PTTL", key),
            ("PUBLISH", "told", word),
            ("EVAL", _SWAP, "1", key, word, "y", far),
            ("EVAL", _HOLD, "1", key, str(rng.randint(2_000_000, 9_000_000))),
            ("EVAL", rng.choice(SCRIPTS), "1", key, word),
            ("EVALSHA", "0" * 40, "0"),
            ("NOSUCH", key),
            ("GET",),
            ("EXEC",),
            ("WATCH", key),
            ("FLUSHDB",),
        )
    )
    if rng.random() < 0.1:
        yield from (("MULTI",), one, ("LLEN", other), ("EXEC",))
    else:
        yield one


def alike(reply: bytes) -> bytes:
    """Take away what may differ: how an error is worded, a moment's passing."""
    reply = re.sub(rb"(?m)^-([A-Z]+) .*$", rb"-\1", reply)
    return re.sub(rb":(\d{6,})", lambda ms: b":%d s" % round(int(ms[1]) / 1e5), reply)


@pytest.mark.proof
@pytest.mark.skipif(bool(missing()), reason=f"not installed: {missing()}")
@pytest.mark.parametrize("protocol", ["2", "3"])
def test_the_same_answers(
    tmp_path: Path, protocol: str, figure: Figure, full: bool
) -> None:
    """The twin answers some command otherwise than redis-server."""
    many, rng = 200_000 if full else 10_000, random.Random(int(protocol))
    with ExitStack() as stack:
        twin = stack.enter_context(Twin())
        urls = (stack.enter_context(redis_server(tmp_path)), twin.url)
        pairs = [[Line(url), Line(url)] for url in urls]
        for line in (line for pair in pairs for line in pair):
            stack.callback(line.close)
            line.say("HELLO", protocol)
        real, ours = pairs
        for _ in range(many):
            which = rng.randrange(2)
            told = list(commands(rng))
            for command in told:
                said = [alike(pair[which].say(*command)) for pair in (real, ours)]
                if any(one[0] == "SMEMBERS" for one in told):  # in no order
                    said = [b" ".join(sorted(reply.split())) for reply in said]
                assert said[0] == said[1], command
    figure(
        f"Celery: {many} random commands to redis-server and to its twin (RESP "
        f"{protocol}): the same answers"
    )


def test_what_it_does_not_speak() -> None:
    """A script that the twin does not understand is run by guess."""
    with Twin() as twin:
        line = Line(twin.url)
        try:
            assert line.say("NOSUCH").startswith(b"-ERR unknown command")
            told = line.say("EVAL", "for i = 1, 2 do end", "0")
            assert told.startswith(b"-ERR the twin speaks no such Lua")
        finally:
            line.close()


def test_its_clock() -> None:
    """A key outlives its time when the twin's clock is put forward."""
    with Twin() as twin:
        line = Line(twin.url)
        try:
            line.say("SET", "a", "x", "PX", "60000")
            twin.advance(59.0)
            assert b"$1\r\nx\r\n" == line.say("GET", "a")
            twin.advance(1.0)
            assert b"$-1\r\n" == line.say("GET", "a")
        finally:
            line.close()
