"""A small twin of Redis in memory, over a real socket: what Celery and we ask of one.

It speaks RESP 2 and 3. Scripts run from their own text. Its clock can be put forward,
so that nothing waits for a key to expire. `tests/celery/test_twin.py` holds it against
redis-server, answer by answer.
"""

import fnmatch
import hashlib
import inspect
import socket
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, BinaryIO, Final, Self

from tests.celery import lua

WRONG_TYPE: Final = "WRONGTYPE Operation against a key holding the wrong kind of value"


class ReplyError(Exception):
    """An error as a reply says it, with its code."""


class Simple(str):
    """A status such as OK."""

    __slots__ = ()


class Push(list[Any]):
    """What a subscriber is told."""


class Scored(list[Any]):
    """Members with their scores: pairs in RESP 3, one flat list in RESP 2."""


OK: Final = Simple("OK")
NO_ARRAY: Final = Push()  # the null of what would be an array
_NEVER_QUEUED: Final = ("multi", "exec", "discard", "watch", "hello")


def encoded(value: Any, protocol: int) -> bytes:
    """Return a reply's bytes in RESP 2 or 3."""
    if isinstance(value, dict | list | set):
        return _collection(value, protocol)
    if isinstance(value, ReplyError | Simple):
        return f"{'+' if isinstance(value, Simple) else '-'}{value}\r\n".encode()
    if isinstance(value, float) and protocol == 3:
        return f",{value:.17g}\r\n".encode()
    if isinstance(value, int):
        return b":%d\r\n" % value
    told = f"{value:.17g}".encode() if isinstance(value, float) else value
    if value is not None:
        return b"$%d\r\n%s\r\n" % (len(told), told)
    return b"_\r\n" if protocol == 3 else b"$-1\r\n"


def _collection(value: Any, protocol: int) -> bytes:
    if value is NO_ARRAY:
        return b"_\r\n" if protocol == 3 else b"*-1\r\n"
    parts, count = list(value), len(value)
    if isinstance(value, dict):
        parts = [part for pair in value.items() for part in pair]
    elif isinstance(value, Scored) and protocol == 2:
        parts = [part for pair in value for part in pair]
    kinds: dict[type, bytes] = {dict: b"%", set: b"~", Push: b">"}
    mark = kinds.get(type(value), b"*") if protocol == 3 else b"*"
    shown = len(parts) if mark == b"*" else count
    return mark + b"%d\r\n" % shown + _joined(parts, protocol)


def _joined(values: Sequence[Any], protocol: int) -> bytes:
    return b"".join(encoded(value, protocol) for value in values)


@dataclass(eq=False, slots=True)
class Client:
    """One connection: its protocol, transaction and subscriptions."""

    sock: socket.socket
    protocol: int = 2
    queued: list[list[bytes]] | None = None
    broken: bool = False
    watched: dict[bytes, int] = field(default_factory=dict)
    channels: set[bytes] = field(default_factory=set)
    patterns: set[bytes] = field(default_factory=set)

    def send(self, value: Any) -> None:
        """Send a reply; one who is gone gets none."""
        with suppress(OSError):
            self.sock.sendall(encoded(value, self.protocol))

    @property
    def is_gone(self) -> bool:
        """Say whether the other side hung up: a blocked pop is nobody's then."""
        try:
            flags = socket.MSG_PEEK | socket.MSG_DONTWAIT
            return not self.sock.recv(1, flags)
        except BlockingIOError:
            return False
        except OSError:
            return True


class Twin:
    """The server. Use it as a context; `url` says where it listens."""

    def __init__(self) -> None:
        self.values: dict[bytes, Any] = {}
        self.ends: dict[bytes, float] = {}
        self.changes: dict[bytes, int] = {}
        self.scripts: dict[bytes, str] = {}
        self.settings = {b"maxmemory": b"0", b"maxmemory-policy": b"noeviction"}
        self.ahead = 0.0
        self.clients: set[Client] = set()
        self.lock = threading.Condition(threading.RLock())
        self.threads: list[threading.Thread] = []
        self.stopping = False

    # As a server.

    def __enter__(self) -> Self:
        """Listen on a free port of the loopback."""
        self.listener = socket.create_server(("127.0.0.1", 0))
        self._start(self._accept)
        return self

    def __exit__(self, *exc: object) -> None:
        """Hang up, and wait until every thread has ended."""
        with self.lock:
            self.stopping = True
            self.lock.notify_all()
            for client in self.clients:
                with suppress(OSError):
                    client.sock.shutdown(socket.SHUT_RDWR)
        with suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(10.0)
            assert not thread.is_alive()

    @property
    def url(self) -> str:
        """Return where it listens."""
        return f"redis://127.0.0.1:{self.listener.getsockname()[1]}/0"

    def advance(self, seconds: float) -> None:
        """Put its clock forward."""
        with self.lock:
            self.ahead += seconds
            self.lock.notify_all()

    def _start(self, work: Callable[..., None], *args: Any) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            with self.lock:
                if self.stopping:
                    sock.close()
                    return
                client = Client(sock)
                self.clients.add(client)
            self._start(self._serve, client)

    def _serve(self, client: Client) -> None:
        with client.sock, client.sock.makefile("rb") as lines, suppress(OSError):
            while (asked := _command(lines)) is not None:
                with self.lock:
                    if self.stopping:
                        break
                    answer = self._answer(client, asked)
                    if answer is not None:
                        client.send(answer[0])
        with self.lock:
            self.clients.discard(client)

    def _answer(self, client: Client, asked: list[bytes]) -> tuple[Any] | None:
        """Return the reply; nothing where it was sent already."""
        name = asked[0].decode().lower()
        own = getattr(self, f"in_{name}", None)
        try:
            if name.endswith("subscribe"):
                self._subscribe(client, name, asked[1:])
                return None
            if own is not None and (client.queued is None or name in _NEVER_QUEUED):
                return (own(client, *asked[1:]),)
            if client.queued is not None:
                return (self._queued(client, asked),)
            return (self._done(asked),)
        except ReplyError as error:
            return (error,)

    def _queued(self, client: Client, asked: list[bytes]) -> Any:
        assert client.queued is not None
        try:
            self._bound(asked)
        except ReplyError:
            client.broken = True
            raise
        client.queued.append(asked)
        return Simple("QUEUED")

    def _bound(self, asked: list[bytes]) -> Callable[[], Any]:
        """Return a command ready to be done, or refuse it."""
        name = asked[0].decode()
        found: Callable[..., Any] | None = getattr(self, f"do_{name.lower()}", None)
        if found is None:
            raise ReplyError(f"ERR unknown command '{name}'")
        try:
            inspect.signature(found).bind(*asked[1:])
        except TypeError:
            said = f"ERR wrong number of arguments for '{name.lower()}' command"
            raise ReplyError(said) from None
        return partial(found, *asked[1:])

    def _done(self, asked: list[bytes]) -> Any:
        return self._bound(asked)()

    # What belongs to a connection.

    def in_hello(self, client: Client, version: bytes = b"2", *_: bytes) -> Any:
        client.protocol = int(version)
        return {b"server": b"redis", b"version": b"7.0.15", b"proto": int(version)}

    def in_multi(self, client: Client) -> Any:
        if client.queued is not None:
            raise ReplyError("ERR MULTI calls can not be nested")
        client.queued, client.broken = [], False
        return OK

    def in_discard(self, client: Client) -> Any:
        if client.queued is None:
            raise ReplyError("ERR DISCARD without MULTI")
        client.queued = None
        client.watched.clear()
        return OK

    def in_exec(self, client: Client) -> Any:
        if client.queued is None:
            raise ReplyError("ERR EXEC without MULTI")
        queued, client.queued = client.queued, None
        watched, client.watched = client.watched, {}
        if client.broken:
            raise ReplyError(
                "EXECABORT Transaction discarded because of previous errors."
            )
        if any(self._version(key) != seen for key, seen in watched.items()):
            return NO_ARRAY
        return [self._tried(asked) for asked in queued]

    def _tried(self, asked: list[bytes]) -> Any:
        try:
            return self._done(asked)
        except ReplyError as error:
            return error

    def in_watch(self, client: Client, *keys: bytes) -> Any:
        if client.queued is not None:
            raise ReplyError("ERR WATCH inside MULTI is not allowed")
        for key in keys:
            client.watched.setdefault(key, self._version(key))
        return OK

    def in_unwatch(self, client: Client) -> Any:
        client.watched.clear()
        return OK

    def _version(self, key: bytes) -> int:
        self._find(key)  # which may find it expired
        return self.changes.get(key, 0)

    def _subscribe(self, client: Client, name: str, topics: list[bytes]) -> None:
        held = client.patterns if name[0] == "p" else client.channels
        add = "un" not in name
        for topic in topics or sorted(held) or [None]:  # type: ignore[list-item]
            (held.add if add else held.discard)(topic)
            count = len(client.channels) + len(client.patterns)
            client.send(Push([name.encode(), topic, count]))

    def in_brpop(self, client: Client, *asked: bytes) -> Any:
        until = time.monotonic() + float(asked[-1]) if float(asked[-1]) else None
        while not self.stopping and not client.is_gone:
            found = self.do_brpop(*asked)
            left = None if until is None else until - time.monotonic()
            if found is not NO_ARRAY or (left is not None and left <= 0):
                return found
            self.lock.wait(left)
        return NO_ARRAY

    # What it holds.

    def _now(self) -> float:
        return time.time() + self.ahead

    def _find(self, key: bytes, kind: type = object) -> Any:
        end = self.ends.get(key)
        if end is not None and end <= self._now():
            self._drop(key)
        found = self.values.get(key)
        if found is not None and not isinstance(found, kind):
            raise ReplyError(WRONG_TYPE)
        return found

    def _drop(self, key: bytes) -> bool:
        self.ends.pop(key, None)
        self._touch(key)
        return self.values.pop(key, None) is not None

    def _touch(self, key: bytes) -> None:
        self.changes[key] = self.changes.get(key, 0) + 1
        self.lock.notify_all()

    def _made(self, key: bytes, kind: type) -> Any:
        """Return a collection to change; one that is emptied is dropped by `_kept`."""
        found = self._find(key, kind)
        if found is None:
            found = self.values[key] = kind()
        return found

    def _kept(self, key: bytes, changed: Any) -> Any:
        if changed:
            self._touch(key)
        if not self.values.get(key, True):
            self._drop(key)
        return changed

    def do_ping(self) -> Any:
        return Simple("PONG")

    def do_select(self, number: bytes) -> Any:
        if number != b"0":
            raise ReplyError("ERR the twin has one database")
        return OK

    def do_time(self) -> Any:
        seconds, part = divmod(self._now(), 1)
        return [b"%d" % seconds, b"%d" % (part * 1e6)]

    def do_info(self, _: bytes = b"") -> Any:
        told = {
            **self.settings,
            b"maxmemory_policy": self.settings[b"maxmemory-policy"],
        }
        return b"# Memory\r\n" + b"".join(b"%s:%s\r\n" % pair for pair in told.items())

    def do_config(self, verb: bytes, name: bytes, value: bytes = b"") -> Any:
        if verb.upper() == b"GET":
            return {name: self.settings[name]}
        self.settings[name] = value
        return OK

    def do_flushdb(self, *_: bytes) -> Any:
        for key in list(self.values):
            self._drop(key)
        return OK

    def do_get(self, key: bytes) -> Any:
        return self._find(key, bytes)

    def do_mget(self, *keys: bytes) -> Any:
        found = [self._find(key) for key in keys]
        return [value if isinstance(value, bytes) else None for value in found]

    def do_set(self, key: bytes, value: bytes, *how: bytes) -> Any:
        words = [word.upper() for word in how]
        known = self._find(key) is not None
        if (b"NX" in words and known) or (b"XX" in words and not known):
            return None
        self.ends.pop(key, None)
        for unit, seconds in ((b"PX", 1e-3), (b"EX", 1.0)):
            if unit in words:
                self.ends[key] = self._now() + int(how[words.index(unit) + 1]) * seconds
        self.values[key] = value
        self._touch(key)
        return OK

    def do_setex(self, key: bytes, seconds: bytes, value: bytes) -> Any:
        return self.do_set(key, value, b"EX", seconds)

    def do_del(self, *keys: bytes) -> Any:
        return sum(self._find(key) is not None and self._drop(key) for key in keys)

    def do_exists(self, *keys: bytes) -> Any:
        return sum(self._find(key) is not None for key in keys)

    def do_type(self, key: bytes) -> Any:
        names = {
            bytes: "string",
            list: "list",
            set: "set",
            dict: "hash",
            Scores: "zset",
        }
        found = self._find(key)
        return Simple("none" if found is None else names[type(found)])

    def do_pexpire(self, key: bytes, wait: bytes) -> Any:
        if self._find(key) is None:
            return 0
        self.ends[key] = self._now() + int(wait) / 1e3
        self._touch(key)
        return 1

    def do_expire(self, key: bytes, wait: bytes) -> Any:
        return self.do_pexpire(key, b"%d" % (int(wait) * 1000))

    def do_pttl(self, key: bytes) -> Any:
        if self._find(key) is None:
            return -2
        return round((self.ends[key] - self._now()) * 1e3) if key in self.ends else -1

    def do_lpush(self, key: bytes, *values: bytes) -> Any:
        found = self._made(key, list)
        for value in values:
            found.insert(0, value)
        return self._kept(key, len(found))

    def do_rpush(self, key: bytes, *values: bytes) -> Any:
        found = self._made(key, list)
        found.extend(values)
        return self._kept(key, len(found))

    def do_rpop(self, key: bytes) -> Any:
        found = self._find(key, list)
        return self._kept(key, found.pop()) if found else None

    def do_brpop(self, *asked: bytes) -> Any:
        for key in asked[:-1]:
            found = self.do_rpop(key)
            if found is not None:
                return [key, found]
        return NO_ARRAY

    def do_llen(self, key: bytes) -> Any:
        return len(self._find(key, list) or ())

    def do_lrange(self, key: bytes, first: bytes, last: bytes) -> Any:
        found = self._find(key, list) or []
        start, end = (
            n if n >= 0 else max(0, n + len(found)) for n in (int(first), int(last))
        )
        return found[start : end + 1] if int(last) >= -len(found) else []

    def do_sadd(self, key: bytes, *values: bytes) -> Any:
        found = self._made(key, set)
        before = len(found)
        found.update(values)
        return self._kept(key, len(found) - before)

    def do_srem(self, key: bytes, *values: bytes) -> Any:
        found = self._find(key, set) or set()
        gone = found.intersection(values)
        found.difference_update(gone)
        return self._kept(key, len(gone))

    def do_smembers(self, key: bytes) -> Any:
        return set(self._find(key, set) or ())

    def do_hset(self, key: bytes, *pairs: bytes) -> Any:
        found = self._made(key, dict)
        before = len(found)
        found.update(zip(pairs[::2], pairs[1::2], strict=True))
        self._touch(key)
        return len(found) - before

    def do_hget(self, key: bytes, name: bytes) -> Any:
        return (self._find(key, dict) or {}).get(name)

    def do_hdel(self, key: bytes, *names: bytes) -> Any:
        found = self._find(key, dict) or {}
        gone = sum(found.pop(name, None) is not None for name in names)
        return self._kept(key, gone)

    def do_zadd(self, key: bytes, *pairs: bytes) -> Any:
        found = self._made(key, Scores)
        before = dict(found.of)
        scores = (float(score) for score in pairs[::2])
        found.of.update(zip(pairs[1::2], scores, strict=True))
        self._kept(key, before != found.of)
        return len(found) - len(before)

    def do_zrem(self, key: bytes, *members: bytes) -> Any:
        found = self._find(key, Scores) or Scores()
        gone = sum(found.of.pop(member, None) is not None for member in members)
        return self._kept(key, gone)

    def do_zcard(self, key: bytes) -> Any:
        return len(self._find(key, Scores) or ())

    def do_zrange(self, key: bytes, first: bytes, last: bytes, *how: bytes) -> Any:
        """Return a range by score: the one kind that kombu asks for."""
        words = [word.upper() for word in how]
        if b"BYSCORE" not in words:
            raise ReplyError("ERR the twin ranges by score alone")
        low, high = float(first), float(last)
        reverse = b"REV" in words
        if reverse:
            low, high = high, low
        found = self._find(key, Scores) or Scores()
        pairs = [
            (score, name) for name, score in found.of.items() if low <= score <= high
        ]
        pairs.sort(reverse=reverse)
        if b"LIMIT" in words:
            at = words.index(b"LIMIT")
            skip, most = int(how[at + 1]), int(how[at + 2])
            pairs = pairs[skip:] if most < 0 else pairs[skip : skip + most]
        if b"WITHSCORES" in words:
            return Scored([name, score] for score, name in pairs)
        return [name for _, name in pairs]

    def do_publish(self, channel: bytes, message: bytes) -> Any:
        heard = 0
        for client in self.clients:
            if channel in client.channels:
                client.send(Push([b"message", channel, message]))
                heard += 1
            for pattern in client.patterns:
                if fnmatch.fnmatchcase(channel.decode(), pattern.decode()):
                    client.send(Push([b"pmessage", pattern, channel, message]))
                    heard += 1
        return heard

    # Scripts.

    def do_script(self, verb: bytes, *given: bytes) -> Any:
        if verb.upper() != b"LOAD":
            raise ReplyError("ERR the twin only loads scripts")
        digest = hashlib.sha1(given[0]).hexdigest().encode()  # noqa: S324  Redis's own
        self.scripts[digest] = given[0].decode()
        return digest

    def do_eval(self, source: bytes, *given: bytes) -> Any:
        return self.do_evalsha(self.do_script(b"LOAD", source), *given)

    def do_evalsha(self, digest: bytes, count: bytes, *given: bytes) -> Any:
        source = self.scripts.get(digest.lower())
        if source is None:
            raise ReplyError("NOSCRIPT No matching script. Please use EVAL.")
        keys, args = given[: int(count)], given[int(count) :]
        try:
            told = lua.run(source, self._from_script, keys, args)
        except (SyntaxError, TypeError) as error:
            raise ReplyError(f"ERR {error}") from None
        if isinstance(told, bool):
            return 1 if told else None
        return int(told) if isinstance(told, float) else told

    def _from_script(self, *asked: Any) -> Any:
        words = [b"%d" % n if isinstance(n, float) else n for n in asked]
        told = self._done(words)
        if told is None:
            return False
        return float(told) if isinstance(told, int) else told


@dataclass(slots=True)
class Scores:
    """A sorted set: members and their scores."""

    of: dict[bytes, float] = field(default_factory=dict)

    def __len__(self) -> int:
        """Return how many members it has."""
        return len(self.of)


def _command(lines: BinaryIO) -> list[bytes] | None:
    """Read a command; None where the connection ends, also in its middle."""
    head = lines.readline()
    if not head.startswith(b"*"):
        return None
    words: list[bytes] = []
    for _ in range(int(head[1:])):
        size = lines.readline()
        if not size.startswith(b"$"):
            return None
        word = lines.read(int(size[1:]) + 2)
        if not word.endswith(b"\r\n"):
            return None
        words.append(word[:-2])
    return words
