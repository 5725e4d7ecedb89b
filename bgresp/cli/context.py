"""What a verb works with, built when first asked for: settings, recorder, streams."""

import json
import os
import sys
import time
from collections.abc import (
    Awaitable,
    Callable,
    Coroutine,
    MutableMapping,
    Sequence,
)
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from bgresp.cli.options import Common
from bgresp.config import places
from bgresp.core.errors import BgrespError, ConfigError, UsageError
from bgresp.core.model import Job
from bgresp.core.text import printable
from bgresp.ledger import files
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.words import save_profiles
from bgresp.render.streams import Streams, closed_at_start, of_process

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from bgresp.api.client import Api
    from bgresp.config.files import Config
    from bgresp.config.settings import Flags, Machine, Settings
    from bgresp.core.dialect import Dialect
    from bgresp.core.endpoint import Webhook
    from bgresp.core.request import StoredRequest
    from bgresp.engine.endpoints import Endpoints
    from bgresp.engine.notify import Notifiers
    from bgresp.engine.recorder import Recorder
    from bgresp.ledger.saved import Answers
    from bgresp.serve.daemon import Launch

SPELLED: Final = 3  # lines and submits that are named; more are counted


class Context:
    """One invocation of one verb."""

    def __init__(
        self, common: Common, environ: MutableMapping[str, str], streams: Streams
    ) -> None:
        """Take what was typed, and where; nothing is read yet."""
        self.common = common
        self.environ = environ
        self.streams = streams
        self.detached = ""
        self.hidden: set[str] = set()
        self.webhook: Webhook | None = None
        self._config: Config | None = None
        self._state: Path | None = None
        self._ledger: Ledger | None = None
        self._recorder: Recorder | None = None
        self._hook_of: Callable[[Job], Sequence[str]] = lambda _: ()
        self._notifiers: Notifiers | None = None
        self._reported = False
        self._reported_dead = False
        self._machine: Machine | None = None
        self._endpoints: Endpoints | None = None
        self._dialects: dict[str, Dialect] = {}
        self._said_of_local: set[str] = set()

    @classmethod
    def of(
        cls,
        common: Common,
        fields: tuple[str, ...] | None = None,
        *,
        rows: bool = True,
    ) -> "Context":
        """Build the context of this process; `fields`, else a record's, may be named.

        Without `rows` the verb prints what has no fields, but for its JSON. Raises
        UsageError when output options contradict each other, or the verb.
        """
        if common.json and common.jsonl:
            raise UsageError("--json and --jsonl exclude each other")
        if common.color not in {"auto", "always", "never"}:
            raise UsageError("--color takes auto, always or never")
        wanted = common.wanted_fields()
        if wanted and fields == ():
            raise UsageError("--fields means nothing here: no record is printed")
        if wanted:
            from bgresp.render.columns import FIELDS, check_fields

            check_fields(wanted, FIELDS if fields is None else fields)
        if wanted and not (rows or common.json or common.jsonl):
            hint = "--json or --jsonl prints them; bgresp list --fields has rows"
            raise UsageError("--fields chooses from records", hint=hint)
        streams = of_process(
            os.environ,
            closed=closed_at_start(),
            color=common.color,
            progress=not common.no_progress,
        )
        streams.err_is_json = common.json or common.jsonl
        return cls(common, os.environ, streams)

    @property
    def now(self) -> float:
        """Return the wall clock."""
        return time.time()

    @property
    def is_json(self) -> bool:
        """Say whether stdout is for a machine."""
        return self.common.json or self.common.jsonl

    @property
    def state(self) -> Path:
        """Return the ledger's folder, which is ours.

        Raises ConfigError where it is another user's: he may have written the ledger.
        """
        if self._state is None:
            state = places.state_path(self.environ)
            for message in files.vouched(state, self.environ, uid=os.getuid()):
                self.say(message)
            self._state = state
        return self._state

    @property
    def config(self) -> "Config":
        """Return the configuration, read once.

        Raises ConfigError.
        """
        if self._config is None:
            from bgresp.config.files import load

            self._config = load(places.config_path(self.environ))
        return self._config

    @property
    def ledger(self) -> Ledger:
        """Return the ledger of the state folder."""
        if self._ledger is None:
            self._ledger = Ledger(self.state)
        return self._ledger

    @property
    def answers(self) -> "Answers":
        """Return what is saved of jobs beside the ledger."""
        from bgresp.ledger.saved import Answers

        return Answers(self.state)

    @property
    def recorder(self) -> "Recorder":
        """Return what records in the state folder: the ledger, and the answers."""
        if self._recorder is None:
            from bgresp.engine.recorder import Recorder

            self._recorder = Recorder(self.ledger, self.answers)
        return self._recorder

    @property
    def flags(self) -> "Flags":
        """Return what the command line says about the endpoint."""
        from bgresp.config.settings import Flags

        return Flags(
            profile=self.common.profile,
            base_url=self.common.base_url,
            headers=self.common.headers(),
            allow_http=self.common.allow_http,
            webhook=self.webhook,
        )

    def settings(self, *, model: str | None = None, keyed: bool = True) -> "Settings":
        """Return the settings for new jobs; what sends nothing needs no key.

        Raises ConfigError.
        """
        from bgresp.config.settings import resolve
        from bgresp.engine.endpoints import as_probed

        flags = self.flags._replace(model=model)
        found = resolve(flags, self.environ, self.config, keyed=keyed)
        return as_probed(self.state, found)

    @property
    def machine(self) -> "Machine":
        """Return whose word is taken for where a key goes: this machine's, read once.

        Raises ConfigError.
        """
        if self._machine is None:
            from bgresp.config.settings import Machine
            from bgresp.config.urls import (
                Noted,
                load_noted,
                noted_path,
            )

            config, noted = self.config, Noted()
            try:
                noted = load_noted(noted_path(config.path))
            except ConfigError as error:  # it joins nothing; the configuration may
                self.say(error.message)
            self._machine = Machine(config, self.environ, self.flags, noted)
        return self._machine

    def note_endpoint(self, settings: "Settings") -> None:
        """Note what goes where, before a job is made with it.

        Where it cannot be noted that is said: a later call has to join it again.
        """
        from bgresp.config.settings import is_configured, pair_of
        from bgresp.config.urls import (
            note_endpoints,
            noted_path,
            tables_digest,
        )

        path = noted_path(self.config.path)
        notes = [] if settings.is_local else [pair_of(settings)]
        kept = [tables_digest(settings.tables)] if settings.tables else []
        try:
            note_endpoints(path, [*notes, *kept], self.machine.noted)
        except ConfigError as error:
            if is_configured(settings, self.config):
                return
            again = "give the same flags and variables to later commands"
            self.say(f"{error.message}: {again}")

    @property
    def endpoints(self) -> "Endpoints":
        """Return the endpoints of jobs, as this machine's configuration knows them.

        Raises ConfigError.
        """
        if self._endpoints is None:
            from bgresp.engine.endpoints import Endpoints

            self._endpoints = Endpoints(
                self.machine,
                self.state,
                self._start_local,
                self.say,
                trace=self.say if self.common.verbose else None,
            )
        return self._endpoints

    def read_anew(self) -> "Endpoints":
        """Return the endpoints as the configuration is by now.

        Raises ConfigError where it cannot be read; what was known before stays then.
        """
        before = self._config, self._machine, self._endpoints
        self._config = self._machine = self._endpoints = None
        try:
            return self.endpoints
        except ConfigError:
            self._config, self._machine, self._endpoints = before
            raise

    def settings_of(self, job: Job) -> "Settings":
        """Return the settings that a job was made with.

        Raises ConfigError.
        """
        return self.endpoints.settings_of(job)

    def dialect_of(self, job: Job) -> "Dialect":
        """Return the dialect that a job was made with.

        Raises ConfigError.
        """
        made_with = repr((job.dialect, job.extra.get("dialects")))
        if made_with not in self._dialects:
            from bgresp.config.files import dialect, to_read

            config = to_read(job, lambda: self.config)
            self._dialects[made_with] = dialect(job.dialect or "openai", config)
        return self._dialects[made_with]

    def with_ending(self, job: Job) -> Job:
        """Return a record that says how its answer ended, where one is saved."""
        if job.ended_with is not None or not job.status.is_terminal:
            return job
        return self.recorder.with_ending(job, self.dialect_of(job))

    def launch_of(self, base_url: str, profile: str | None = None) -> "Launch":
        """Return how the local endpoint of a base URL `local:PROFILE` is started.

        What runs its jobs is said by this user's configuration alone; `profile` says
        which variables a program sees though they look like keys. Raises ConfigError.
        """
        from bgresp.config import urls
        from bgresp.serve.daemon import Launch
        from bgresp.serve.engine_options import EngineOptions

        said = urls.engine(base_url, self.config)
        engine = None
        if said is not None:
            engine = EngineOptions(
                command=tuple(said.get("exec", ())),
                whole_request=bool(said.get("exec_json", False)),
                upstream=said.get("upstream"),
                upstream_key_env=said.get("upstream_key_env"),
                upstream_api=said.get("upstream_api"),
                env_pass=tuple(sorted(self.config.env_pass(profile))),
            )
            engine.check()
        return Launch(
            profile=urls.profile_of(base_url),
            engine=engine,
            workers=(said or {}).get("workers"),
            secrets=self.config.key_variables,
        )

    def api(self, settings: "Settings") -> "AbstractAsyncContextManager[Api]":
        """Open the endpoint of some settings; the local one is started when needed.

        Raises ConfigError.
        """
        return self.endpoints.open(settings)

    def _start_local(self, settings: "Settings") -> tuple[str, str | None]:
        from bgresp.serve import daemon

        launch = self.launch_of(settings.base_url, settings.profile)

        def said(message: str) -> None:  # a command may open it more than once
            if message not in self._said_of_local:
                self._said_of_local.add(message)
                self.say(message)

        local = daemon.ensure(self.state, launch, say=said, environ=self.environ)
        return local.base_url, local.key

    async def settle(self, *, at: "Settings") -> None:
        """Settle what submissions left at an endpoint, before more are sent there.

        Raises LedgerError.
        """
        if next(self.recorder.ledger.unsettled(), None) is None:
            return
        from bgresp.engine.settle import settle_all

        await settle_all(
            self.endpoints, self.recorder, say=self.say, failed=self.tell_error, at=at
        )

    def environ_of_children(self, profile: str | None) -> dict[str, str]:
        """Return what a program that we run sees: no key that its profile keeps.

        A configuration that cannot be read passes nothing on, and names no variable.
        """
        from bgresp.config.files import Config
        from bgresp.serve.engine_options import without_keys

        try:
            config = self.config
        except ConfigError:
            config = Config(places.config_path(self.environ))
        return without_keys(
            self.environ,
            named=config.key_variables | self.hidden,
            passed=config.env_pass(profile or config.default_profile),
        )

    def notify(self, command: str | None) -> None:
        """Let a program be told of jobs that end: --notify, else as profiles say.

        Raises UsageError.
        """
        self._hook_of = self._hook_of_profile
        if command is not None:
            from bgresp.engine.notify import argv_of

            argv = argv_of(command)
            self._hook_of = lambda _: argv

    def ended(self, job: Job) -> "Awaitable[None] | None":
        """Take that a job was seen to have ended; see `Notifier.tell`."""
        argv = self._hook_of(job)
        if not argv:
            return None
        if self._notifiers is None:
            from bgresp.engine.notify import Notifier, Notifiers

            self._notifiers = Notifiers(
                lambda argv: Notifier(
                    [*argv],
                    self.recorder,
                    self.say,
                    self.environ_of_children,
                    self.streams.ring,
                )
            )
        with suppress(ConfigError):  # its dialect is gone: the job is told of as it is
            job = self.with_ending(job)
        return self._notifiers.of(argv).tell(job)

    def run(self, work: Coroutine[Any, Any, int]) -> int:
        """Run to the end and return the exit code; a signal detaches.

        Raises DetachedError when a signal came first; stderr says then how to go on.
        Raises LedgerError where the state folder's file system answers for no lock.
        """
        from bgresp.cli import errors  # what asks nobody needs none

        async def whole() -> int:
            try:
                return await work
            finally:
                if self._notifiers is not None:
                    await self._notifiers.drain()

        # Here Ctrl-C is heard; in the loop it would wait as long as the lock does.
        try:
            files.prove(self.state / "README")
        except BaseException:
            work.close()
            raise
        try:
            return errors.detachable(whole())
        except errors.DetachedError:
            if self.detached:
                self.say(f"detached; {self.detached}")
            raise

    def _hook_of_profile(self, job: Job) -> Sequence[str]:
        """Return what `notify` of a job's profile says, of this user's configuration.

        A line of the ledger is no authority: its endpoint must be that profile's.
        """
        try:
            if not any("notify" in table for table in self.config.profiles.values()):
                return ()
            profile = self.settings_of(job).profile
        except ConfigError:
            return ()
        hook: Sequence[str] = self.config.profiles.get(profile, {}).get("notify", ())
        return hook

    def say(self, message: str) -> None:
        """Say something on stderr."""
        self.streams.note(message)

    def tell_error(self, error: BgrespError) -> None:
        """Say what went wrong on stderr, and the next command; the rest goes on."""
        from bgresp.cli import errors  # where nothing goes wrong it is not needed

        errors.show(self.streams, error)

    def may(self, question: str, *, yes: bool) -> bool:
        """Ask a person before what cannot be undone; the answer is no unless it is yes.

        Where nobody is there to answer it may be done. Said where it is not.
        """
        there = self.streams.err_is_terminal and sys.stdin is not None
        asks = there and sys.stdin.isatty() and not self.environ.get("CI")
        if yes or not asks or self.is_json or self.common.quiet:
            return True
        self.streams.control(f"{printable(question)} [y/N] ")
        answer = sys.stdin.readline()
        if not answer.endswith("\n"):
            self.streams.control("\n")
        if answer.strip().lower() in {"y", "yes"}:
            return True
        self.say("nothing was done")
        return False

    def report_ledger(self) -> None:
        """Say once what is wrong with the ledger; nobody is asked."""
        self.ledger.tend_words()
        if self._config is not None:
            own = {*self._config.profiles, *self._config.dialects}
            save_profiles(self.state / "index", sorted(own))
        if not self._reported_dead:
            self._reported_dead = True
            _report_dead(self.ledger, self.say)
        if self.common.verbose and not self.ledger.is_indexed:
            index = self.state / "index"
            self.say(f"{index} cannot be written: the ledger was read from end to end")
        if not self._reported:
            self._reported = _report_bad(self.ledger, self.say)

    def request_of(self, job: Job) -> "StoredRequest":
        """Read the stored request of a job; what nobody kept is not there."""
        from bgresp.core.request import StoredRequest, read_request

        raw = self.recorder.answers.request(job.key)
        try:
            body: Any = json.loads(raw or b"null")
        except (ValueError, RecursionError):
            body = None
        return read_request(body) if isinstance(body, dict) else StoredRequest()

    def text_of(self, job: Job) -> str | None:
        """Return the text of a saved answer; None while there is none.

        Raises ConfigError.
        """
        return self.answers.text(job.key, self.dialect_of(job))


def _report_bad(ledger: Ledger, say: Callable[[str], None]) -> bool:
    """Name the first lines that cannot be read; say whether there are any."""
    count, bad = ledger.first_bad(SPELLED)
    if not bad:
        return False
    places = ", ".join(place for place, _ in bad)
    more = f" and {count - SPELLED} more" if count > SPELLED else ""
    kept = "kept as it is, the other lines are fine"
    say(f"{places}{more}: cannot be read ({bad[0][1]}); {kept}")
    return True


def _report_dead(ledger: Ledger, say: Callable[[str], None]) -> None:
    """Name submissions that died before their outcome was known."""
    dead = [job.key for job in ledger.unsettled() if ledger.is_dead(job)]
    if not dead:
        return
    names = ", ".join(dead[:SPELLED])
    more = f" and {len(dead) - SPELLED} more" if len(dead) > SPELLED else ""
    are = "submit has" if len(dead) == 1 else "submits have"
    how = f"(bgresp resolve {dead[0]})"
    say(f"{len(dead)} {are} no known outcome: {names}{more} {how}")
