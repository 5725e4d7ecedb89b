"""What runs a job: an engine turns a request into events, and says how it ended.

Here are the demo and any program (the prompt on stdin, the answer on stdout).
"""

import asyncio
import codecs
import os
import signal
import sys
import weakref
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from subprocess import DEVNULL, Popen
from typing import Any, Final, Protocol

from bgresp.core.text import one_line
from bgresp.serve.output import OutputWriter
from bgresp.serve.wire import Json, conversation, dumps, items_text, usage

PACE: Final = 0.06  # seconds a word: about three seconds an answer
_QUOTED: Final = 8
KILL_AFTER: Final = 5.0  # seconds between the request to end and the order
_CHUNK: Final = 65_536
_STEP: Final = 0.02
_TAIL: Final = 4_096  # bytes of stderr that an error shows
_LIMIT: Final = 500

# A process of its own: its stdin ends with the server, however that one ended.
_WATCHDOG: Final = """
import os, signal, sys, time
groups = set()
for line in sys.stdin:
    (groups.add if line[0] == "+" else groups.discard)(int(line[1:]))
def send(number):
    for group in list(groups):
        try:
            os.killpg(group, number)
        except OSError:
            groups.discard(group)
send(signal.SIGTERM)
end = time.monotonic() + float(sys.argv[1])
while groups and time.monotonic() < end:
    time.sleep(0.05)
    send(0)
send(signal.SIGKILL)
"""


@dataclass(frozen=True, slots=True)
class Work:
    """What an engine is asked for.

    `items` is the whole input: what came before in the conversation, then the request's
    own, from `new` on.
    """

    id: str
    request: Mapping[str, Any]
    items: Sequence[Json]
    new: int = 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an engine ended: what it used, and why it stopped short if it did.

    `fields` are others of the response that the engine knows better; so is `output`,
    the items as they are in the end, where it is given.
    """

    usage: Json | None = None
    incomplete_reason: str | None = None
    fields: Json = field(default_factory=dict)
    output: list[Json] | None = None


class EngineError(Exception):
    """The engine could not answer; the response ends as failed with this code."""

    def __init__(self, code: str, message: str) -> None:
        """Keep the error code of the failed response beside the message."""
        super().__init__(message)
        self.code = code


EngineNews = Sequence[Json] | Outcome


class Engine(Protocol):
    """Anything that can answer a request."""

    @property
    def name(self) -> str:
        """Return what a response's model is called where its request names none."""
        ...

    def run(self, work: Work) -> AsyncIterator[EngineNews]:
        """Yield events of output items, some at a time, and an `Outcome` at the end.

        Whoever stops early closes the iterator. Raises EngineError.
        """
        ...

    async def models(self) -> list[str]:
        """Return the names of the models; EngineError where they cannot be had."""
        ...


@dataclass(frozen=True, slots=True)
class Demo:
    """A deterministic engine that says that it is a demo, a word at a time."""

    pace: float = PACE
    name: str = "demo"

    async def run(self, work: Work) -> AsyncIterator[EngineNews]:
        """Stream the demo's answer; a token is a word."""
        asked = items_text(work.items).split()
        words = answer(asked)
        limit = work.request.get("max_output_tokens") or len(words)
        writer = OutputWriter(work.id)
        for number, word in enumerate(words[:limit]):
            await asyncio.sleep(self.pace)
            yield writer.text(word if number == 0 else f" {word}")
        cut = "max_output_tokens" if limit < len(words) else None
        yield writer.finish("incomplete" if cut else "completed")
        yield Outcome(usage(len(asked), min(limit, len(words))), cut)

    async def models(self) -> list[str]:
        """Return the one name; any other is taken, too."""
        return [self.name]


def answer(asked: list[str]) -> list[str]:
    """Return the words of the demo's answer to the words asked."""
    counted = "1 word" if len(asked) == 1 else f"{len(asked)} words"
    opening = " ".join(asked[:_QUOTED])
    if len(asked) > _QUOTED:
        opening += " ..."
    said = f'Your prompt has {counted} and begins with "{opening}".'
    text = (
        "This is bgresp's built-in demo engine, not a model. "
        f"{said if asked else 'Your prompt has no words.'} "
        "A real endpoint would answer it here; this one only shows how a "
        "background job is queued, runs, streams its text word by word, and stays "
        "to be fetched until its retention ends."
    )
    return text.split()


@dataclass(slots=True, weakref_slot=True, eq=False)
class Watchdog:
    """Ends the programs that run when the server dies without a word, as by kill -9.

    It starts with the first program, and is told of each that starts and ends.
    """

    _process: Popen[bytes] | None = None

    def start(self, kill_after: float) -> None:
        """Be there before a program is: it has `kill_after` seconds to end by itself.

        Where there is no process for it the program runs all the same, unwatched.
        """
        if self._process is not None and self._process.poll() is None:
            return
        argv = [sys.executable, "-I", "-S", "-c", _WATCHDOG, f"{kill_after}"]
        with suppress(OSError):
            self._process = Popen(  # noqa: S603 # our own code under our interpreter
                argv,
                stdin=PIPE,
                stdout=DEVNULL,
                stderr=DEVNULL,
                cwd="/",
                env={},
                start_new_session=True,
            )
            weakref.finalize(self, _let_go, self._process)

    def started(self, group: int) -> None:
        """Note a process group."""
        self._tell(f"+{group}\n")

    def ended(self, group: int) -> None:
        """Forget a process group: its number may soon be another's."""
        self._tell(f"-{group}\n")

    def _tell(self, line: str) -> None:
        if self._process is None or self._process.stdin is None:
            return
        # One that was killed is replaced at the next program.
        with suppress(OSError):
            os.write(self._process.stdin.fileno(), line.encode())


def _let_go(watchdog: "Popen[bytes]") -> None:
    """End a watchdog that has nothing to watch any more."""
    with watchdog:
        pass


@dataclass(frozen=True, slots=True)
class Command:
    """Runs `argv` for each job, without a shell, in a process group of its own.

    With `whole` the program reads the request as JSON instead of the prompt. Its
    environment is `environ`, and what the request says besides.
    """

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    whole: bool = False
    kill_after: float = KILL_AFTER
    watchdog: Watchdog = field(default_factory=Watchdog)

    @property
    def name(self) -> str:
        """Return the program's name: it is all there is to choose."""
        return os.path.basename(self.argv[0])  # noqa: PTH119 # argv is no path

    async def run(self, work: Work) -> AsyncIterator[EngineNews]:
        """Stream what the program writes, in whole characters. Raises EngineError."""
        self.watchdog.start(self.kill_after)
        starting = asyncio.ensure_future(self._started(work))
        try:
            process = await asyncio.shield(starting)
        except asyncio.CancelledError:
            # asyncio would end the program alone, and wait for what it began meanwhile.
            await asyncio.shield(self._end_started(starting))
            raise
        self.watchdog.started(process.pid)
        stdin = asyncio.ensure_future(_feed(process, self._input(work)))
        stderr = asyncio.ensure_future(_tail(process))
        # What the program leaves behind would hold its stdout open for ever.
        exited = asyncio.ensure_future(self._clear(process))
        writer = OutputWriter(work.id)
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        try:
            assert process.stdout is not None
            while chunk := await process.stdout.read(_CHUNK):
                if text := decoder.decode(chunk):
                    yield writer.text(text)
            if text := decoder.decode(b"", final=True):
                yield writer.text(text)
            code, errors = await exited, await stderr
            if code:
                raise EngineError("exec_failed", self._failure(code, errors))
            yield writer.finish(empty=True)
            yield Outcome()
        finally:
            stdin.cancel()
            if not exited.done():
                # Shielded: who cancels twice must not leave a process behind.
                await asyncio.shield(self._end(process))
            await asyncio.gather(stdin, stderr, exited, return_exceptions=True)
            self.watchdog.ended(process.pid)

    async def models(self) -> list[str]:
        """Return the program's name."""
        return [self.name]

    async def _started(self, work: Work) -> Process:
        environ = {**self.environ, "BGRESP_MODEL": str(work.request.get("model") or "")}
        environ["BGRESP_INSTRUCTIONS"] = str(work.request.get("instructions") or "")
        environ = {n: v.replace("\0", "") for n, v in environ.items()}
        try:
            return await asyncio.create_subprocess_exec(
                *self.argv,
                stdin=PIPE,
                stdout=PIPE,
                stderr=PIPE,
                env={n: v.encode("utf-8", "replace") for n, v in environ.items()},
                start_new_session=True,
            )
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            message = f"cannot run {one_line(self.argv[0])}: {reason}"
            raise EngineError("exec_failed", message) from None

    def _input(self, work: Work) -> bytes:
        if self.whole:
            whole = {**work.request, "input": list(work.items)}
            return dumps(whole).encode("ascii") + b"\n"
        return conversation(work.items).encode("utf-8", "replace")

    async def _clear(self, process: Process) -> int:
        """Wait for the program, then end what it left in its group."""
        code = await _exited(process)
        _signal(process, signal.SIGKILL)
        return code

    async def _end_started(self, starting: asyncio.Future[Process]) -> None:
        """End a program that is being started, if it starts."""
        with suppress(EngineError):
            process = await starting
            assert process.stdin is not None
            process.stdin.close()
            await self._end(process)
            await process.wait()  # nobody is left who holds its pipes

    async def _end(self, process: Process) -> None:
        """End the whole group: ask, wait, then do not ask."""
        _signal(process, signal.SIGTERM)
        with suppress(TimeoutError):
            await asyncio.wait_for(_exited(process), self.kill_after)
        _signal(process, signal.SIGKILL)
        await _exited(process)

    def _failure(self, code: int, errors: bytes) -> str:
        name = one_line(self.name, limit=80)
        how = f"exited with {code}" if code > 0 else f"was ended by {_name(-code)}"
        said = one_line(errors.decode("utf-8", "replace")[-_LIMIT:], limit=_LIMIT)
        return f"{name} {how}: {said}" if said else f"{name} {how}"


async def _exited(process: Process) -> int:
    """Wait for the program alone; `Process.wait` waits for all who hold its pipes."""
    while process.returncode is None:  # noqa: ASYNC110 # there is no event of it
        await asyncio.sleep(_STEP)
    return process.returncode


def _signal(process: Process, number: signal.Signals) -> None:
    """Send a signal to a program's group, if there is anyone left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


async def _feed(process: Process, text: bytes) -> None:
    """Write stdin; a program that does not read it is none of our business."""
    assert process.stdin is not None
    with suppress(OSError):
        process.stdin.write(text)
        await process.stdin.drain()
    with suppress(OSError):
        process.stdin.close()
        await process.stdin.wait_closed()


async def _tail(process: Process) -> bytes:
    """Return the end of stderr, however much is written."""
    assert process.stderr is not None
    kept = b""
    while chunk := await process.stderr.read(_CHUNK):
        kept = (kept + chunk)[-_TAIL:]
    return kept
