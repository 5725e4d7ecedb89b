"""`--notify CMD`: a program of the user's is told of each job that ended, once ever.

The mark that an outcome was told of is on disk before the program starts: at most
once. A program that hangs or fails harms nothing; one line says so.
"""

import asyncio
import json
import os
import shlex
import shutil
import signal
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from bgresp.core.errors import LedgerError, UsageError
from bgresp.core.model import Job, Status
from bgresp.engine.recorder import Recorder

AT_ONCE: Final = 4  # programs
TIMEOUT: Final = 60.0  # seconds for a program
BELL: Final = "bell"  # stands where a program would


@dataclass(slots=True)
class Notifier:
    """The hook of one invocation; `say` is told what is wrong with it.

    `environ` says what it sees for a profile's job. `ring` is called where the hook is
    the terminal's bell instead of a program.
    """

    argv: list[str]
    recorder: Recorder
    say: Callable[[str], None]
    environ: Callable[[str | None], dict[str, str]]
    ring: Callable[[], None] = lambda: None
    timeout: float = TIMEOUT
    _permits: asyncio.Semaphore = field(
        default_factory=lambda: asyncio.Semaphore(AT_ONCE)
    )
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)
    _said: bool = False

    def tell(self, job: Job) -> "asyncio.Future[None] | None":
        """Run the program for a job that ended, unless that was done ever before.

        What is returned is done when nothing will be told of this end again: from then
        on a crash loses no notice that was not begun.
        """
        if not (job.status.is_terminal or job.status is Status.LOST):
            return None
        marked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(self._run(job, marked))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return marked

    async def drain(self) -> None:
        """Wait for the programs that run."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))

    async def _run(self, job: Job, marked: "asyncio.Future[None]") -> None:
        async with self._permits:
            try:
                is_first = self._is_first(job)
            finally:
                if not marked.done():
                    marked.set_result(None)
            if is_first and self.argv == [BELL]:
                self.ring()
            if not is_first or self.argv == [BELL]:
                return
            try:
                program = await asyncio.create_subprocess_exec(
                    *self.argv,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=2,  # stdout is ours
                    env=self.environ(job.profile),
                    start_new_session=True,
                )
            except OSError as error:
                self._warn(error.strerror or "cannot be run")
                return
            try:
                async with asyncio.timeout(self.timeout):
                    await program.communicate(self._record(job))
            except TimeoutError:
                self._warn(f"was stopped after {self.timeout:.0f} s")
            finally:
                if program.returncode is None:
                    with suppress(ProcessLookupError):
                        os.killpg(program.pid, signal.SIGKILL)
                    await program.wait()
            if (program.returncode or 0) > 0:
                self._warn(f"ended with {program.returncode}")

    def _is_first(self, job: Job) -> bool:
        """Mark an outcome as told of; say whether nobody had, and the job is there."""
        try:
            if self.recorder.ledger.is_forgotten(job.key):
                return False
            return self.recorder.answers.notices(job.key, job.status.value)
        except LedgerError as error:
            self._warn(error.message)
            return False

    def _record(self, job: Job) -> bytes:
        """Return the job's record as JSON, with where its answer is saved, or null."""
        saved = self.recorder.answers.response_path(job.key)
        answer = str(saved.absolute()) if saved.exists() else None
        record = {**job.to_record(), "answer_path": answer}
        return json.dumps(record, ensure_ascii=True).encode("ascii") + b"\n"

    def _warn(self, message: str) -> None:
        if not self._said:
            self._said = True
            self.say(f"--notify {self.argv[0]}: {message}")


@dataclass(slots=True)
class Notifiers:
    """The hooks of one invocation: one for each program that is told."""

    make: Callable[[Sequence[str]], Notifier]
    _made: dict[tuple[str, ...], Notifier] = field(default_factory=dict)

    def of(self, argv: Sequence[str]) -> Notifier:
        """Return the hook of a program and its arguments."""
        if tuple(argv) not in self._made:
            self._made[tuple(argv)] = self.make(argv)
        return self._made[tuple(argv)]

    async def drain(self) -> None:
        """Wait until everyone was told who is to be told."""
        for notifier in self._made.values():
            await notifier.drain()


def argv_of(command: str) -> list[str]:
    """Read --notify: a program and its arguments, no shell; or `bell`.

    Raises UsageError when there is no such program.
    """
    try:
        argv = shlex.split(command)
    except ValueError as error:
        raise UsageError(f"--notify: {error}") from None
    if argv == [BELL]:
        return argv
    if not argv or shutil.which(argv[0]) is None:
        name = argv[0] if argv else command
        raise UsageError(f"--notify: no program {name!r}")
    return argv
