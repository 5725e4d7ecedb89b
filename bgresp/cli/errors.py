"""What ends a command early: an error or a bug, told as one line; or a signal.

A bug of ours shows its traceback with -v alone; what the environment and -H keep secret
is taken out of both. Ctrl-C, SIGTERM and SIGHUP detach instead of killing.
"""

from collections.abc import Coroutine, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

from bgresp.core.errors import BgrespError
from bgresp.core.model import Job
from bgresp.core.text import one_line, without_secrets
from bgresp.render.streams import Streams
from bgresp.render.streams import as_json as encode

if TYPE_CHECKING:
    import asyncio

    from bgresp.core.signals import Fault

SCHEMA: Final = "bgresp.error/1"
_SECRETS: Final = ("KEY", "TOKEN", "SECRET", "PASS", "AUTH")  # in names of variables
_SHORTEST: Final = 8
_VERBOSE: Final = frozenset({"-v", "--verbose"})


def show(streams: Streams, error: BgrespError) -> None:
    """Write an error to stderr: what happened, and the next command to type."""
    if streams.err_is_json:
        streams.say(encode(record(error)))
        return
    rid = f" [request {error.request_id}]" if error.request_id else ""
    streams.say(
        "bgresp: " + one_line(f"{error.message}{rid} ({error.advice})", limit=2000)
    )


def tell_of(streams: Streams, jobs: Sequence[Job], error: BgrespError) -> int:
    """Write an error that concerns some jobs of many; return its exit code."""
    profiles = {job.profile for job in jobs}
    who = jobs[0].ref
    if len(jobs) > 1 and len(profiles) == 1 and jobs[0].profile:
        who = f"{len(jobs)} jobs of profile {jobs[0].profile}"
    elif len(jobs) > 1:
        who = f"{jobs[0].ref} and {len(jobs) - 1} more"
    error.message = f"{who}: {error.message}"
    show(streams, error)
    return int(error.code)


class Troubles:
    """What kept some of several jobs from being worked on: a line for each reason."""

    def __init__(self, streams: Streams) -> None:
        """Have met none yet."""
        self.streams = streams
        self._found: dict[tuple[str, str], tuple[BgrespError, list[Job]]] = {}

    def add(self, jobs: Iterable[Job], error: BgrespError) -> None:
        """Take an error that concerns some jobs."""
        reason = (error.message, error.advice)
        self._found.setdefault(reason, (error, []))[1].extend(jobs)

    def unheard(self, job: Job, fault: "Fault") -> None:
        """Take that nothing was heard of a job."""
        from bgresp.core.signals import error_of  # who asks nobody needs none

        self.add([job], error_of(fault, job=job))

    @property
    def jobs(self) -> list[Job]:
        """Return the jobs that are concerned."""
        return [job for _, jobs in self._found.values() for job in jobs]

    def tell(self) -> list[int]:
        """Write the errors; return an exit code for each."""
        codes = [
            tell_of(self.streams, jobs, error) for error, jobs in self._found.values()
        ]
        self._found.clear()
        return codes


def record(error: BgrespError) -> dict[str, Any]:
    """Return the error's JSON form: CONTRACT.md, Machine output."""
    return {
        "schema": SCHEMA,
        "code": int(error.code),
        "kind": error.kind,
        "message": one_line(error.message, limit=2000),
        "hint": error.advice,
        "request_id": error.request_id,
        "retryable": error.retryable,
    }


def of_bug(
    error: Exception, argv: Sequence[str], environ: Mapping[str, str]
) -> tuple[BgrespError, str]:
    """Return a bug as an error, and its traceback where -v asks for it."""
    words = sorted(_secrets(argv, environ), key=len, reverse=True)
    said = f"internal error: {type(error).__name__}: {error}".rstrip(": ")
    text = without_secrets(f"{said} ({_place(error)})", words)
    if not _VERBOSE & set(argv):
        return BgrespError(text, hint="-v shows the traceback"), ""
    import traceback

    trace = without_secrets("".join(traceback.format_exception(error)), words)
    return BgrespError(text, hint="a bug of bgresp: report it"), trace


def _place(error: Exception) -> str:
    """Return the last line of ours that ran: a bug may not come a second time."""
    import traceback  # no other command needs it

    ours = [
        f"{frame.filename.rpartition('/bgresp/')[2]}:{frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if "/bgresp/" in frame.filename
    ]
    return ours[-1] if ours else "nowhere of ours"


def _secrets(argv: Sequence[str], environ: Mapping[str, str]) -> Iterator[str]:
    secret = (n for n in environ if any(word in n.upper() for word in _SECRETS))
    values = [environ[name] for name in secret]
    for option, value in pairwise(["", *argv]):
        if option in {"-H", "--header"} or value.startswith(("-H", "--header=")):
            values.append(value.partition(":")[2])
    for word in " ".join(values).split():
        if len(word) >= _SHORTEST:
            yield word


class DetachedError(Exception):
    """A signal asked us to leave; the jobs go on."""

    def __init__(self, number: int) -> None:
        """Keep the signal's number."""
        super().__init__(f"signal {number}")
        self.exit_code = 128 + number


def _leave_names(loop: "asyncio.AbstractEventLoop") -> None:
    """Let a loop wait at its end for no name that is being looked up.

    The system's look-up takes half a minute where no server answers, and cannot be
    ended: so long asyncio's own threads would hold up who was asked to leave.
    """
    import socket
    import threading

    async def getaddrinfo(*args: Any, **how: Any) -> Any:
        future = loop.create_future()

        def settle(found: Any, error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(found)
            else:
                future.set_exception(error)

        def look_up() -> None:
            found, error = None, None
            try:
                found = socket.getaddrinfo(*args, **how)
            except Exception as failed:  # noqa: BLE001  who asked is told
                error = failed
            with suppress(RuntimeError):  # the loop is closed: we left
                loop.call_soon_threadsafe(settle, found, error)

        threading.Thread(target=look_up, daemon=True).start()
        return await future

    loop.getaddrinfo = getaddrinfo  # type: ignore[method-assign]


def detachable(work: Coroutine[Any, Any, int]) -> int:
    """Run a coroutine to its end; SIGINT, SIGTERM and SIGHUP cancel it instead of us.

    The first one cancels the main task, which keeps what is known; the process then
    ends with 128 + the signal's number. Only `cancel` cancels a job. Raises
    DetachedError.
    """
    import asyncio  # what asks nobody does without
    import signal

    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    received: list[int] = []

    async def main() -> int:
        loop = asyncio.get_running_loop()
        _leave_names(loop)
        task = asyncio.create_task(work)

        def detach(number: int) -> None:
            received.append(number)
            task.cancel()

        for number in signals:
            if signal.getsignal(number) is not signal.SIG_IGN:
                loop.add_signal_handler(number, detach, number)
        try:
            return await task
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    try:
        code = asyncio.run(main())
    except asyncio.CancelledError:
        if not received:
            raise
        raise DetachedError(received[0]) from None
    if received:
        raise DetachedError(received[0])
    return code
