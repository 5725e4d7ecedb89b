"""`bgresp submit`: a background response for each FILE.

What follows a job is imported where one is waited for: it costs a third of a submit.
"""

import re
import shlex
from typing import TYPE_CHECKING, Final, NamedTuple

from bgresp.cli import inputs, output, records
from bgresp.cli.context import Context
from bgresp.cli.inputs import Shape, ask_for_webhook, check_webhook, request_of
from bgresp.cli.options import (
    Annotated,
    Common,
    JobGroup,
    JobLabels,
    JobName,
    Notify,
    Replace,
    Timeout,
    arg,
    asides,
    opt,
    seconds,
)
from bgresp.core.errors import (
    BgrespError,
    RefusedError,
    UsageError,
    worst,
)
from bgresp.core.model import Job
from bgresp.core.request import Request, check_clashes, checked_prompt, unused
from bgresp.core.text import counted

if TYPE_CHECKING:
    # What sends is imported where drafts are sent: help and completions read all verbs.
    from bgresp.api.client import Api
    from bgresp.cli.following import FollowOptions
    from bgresp.config.settings import Settings
    from bgresp.core.request import Draft, Part
    from bgresp.engine.submit import Submitted

# How the keys of OpenAI, Anthropic, OpenRouter and DeepSeek begin.
_LIKE_A_KEY: Final = r"(?i)\s*(bearer\s+)?sk-"
SECRET_LENGTH: Final = 8  # what is shorter only stands where some key must


class Options(NamedTuple):
    """What `submit` takes."""

    files: Annotated[
        list[str] | None,
        arg(metavar="[FILE|-]...", help="Prompts; - is stdin."),
    ] = None
    text: Annotated[  # a list, so that a second one is seen: it is no part of the first
        list[str] | None, opt("-t", "--text", help="The prompt itself.", metavar="STR")
    ] = None
    tool_output: Annotated[
        list[str] | None,
        opt(
            "--tool-output",
            help="With --previous: the output of a call (repeat).",
            metavar="[CALL_ID=]TEXT|@FILE",
        ),
    ] = None
    approve: Annotated[
        list[str] | None,
        opt("--approve", help="With --previous: approve a call.", metavar="[ID]"),
    ] = None
    deny: Annotated[
        list[str] | None,
        opt("--deny", help="With --previous: deny a call.", metavar="[ID]"),
    ] = None
    name: JobName = None
    label: JobLabels = None
    group: JobGroup = None
    key: Annotated[
        str | None,
        opt(
            "--key",
            help="One job for each KEY, ever: a repeat prints its id.",
            metavar="KEY",
        ),
    ] = None
    unique: Annotated[
        bool, opt("--unique", help="If the same request is open already, print its id.")
    ] = False
    no_keep_prompt: Annotated[
        bool, opt("--no-keep-prompt", help="Keep no copy of the request.")
    ] = False
    expect: Annotated[
        str | None,
        opt("--expect", help="How long it is expected to take.", metavar="D"),
    ] = None
    dry_run: Annotated[
        bool, opt("--dry-run", help="Print the request; send nothing.")
    ] = False
    watch: Annotated[
        bool, opt("-w", "--watch", help="Follow it; print its answer as it comes.")
    ] = False
    show: Annotated[
        str | None,
        opt(
            "--show",
            help="With --watch: also reasoning, tools, commentary, all.",
            metavar="A,B",
        ),
    ] = None
    wait: Annotated[bool, opt("--wait", help="Wait until it ends; print no text.")] = (
        False
    )
    timeout: Timeout = None
    output: Annotated[
        str | None,
        opt("-o", "--output", help="Wait; write the answer to FILE.", metavar="FILE"),
    ] = None
    force: Replace = False
    stream: Annotated[
        bool | None, opt("--stream/--no-stream", help="Create it streamable.")
    ] = None

    @property
    def answers(self) -> bool:
        """Say whether calls or approvals of a job are answered."""
        return any((self.tool_output, self.approve, self.deny))

    notify: Notify = None

    @property
    def waits(self) -> bool:
        """Say whether the jobs' ends are waited for."""
        return self.watch or self.wait or self.output is not None


def submit(shape: Shape, options: Options, common: Common) -> int:
    """Submit a background response for each FILE and print its id.

    Examples:

      bgresp submit prompt.txt
      bgresp submit -t 'Why is the sky blue?' -m gpt-5 --watch
      git diff | bgresp submit -t 'Review this:' - -o review.md
    """
    context = Context.of(common, rows=False)
    _check(shape, options)
    context.notify(options.notify)
    ask_for_webhook(context, shape)
    target = output.target(options.output, force=options.force)
    timeout, told = seconds(options.timeout), asides(options.show)
    prompts = _prompts(context, shape, options)
    settings = context.settings(model=shape.model, keyed=not options.dry_run)
    drafts = _drafts(context, shape, options, settings, prompts)
    if options.dry_run:
        return _dry_run(context, settings, drafts)
    how = None
    if options.waits:
        from bgresp.cli.following import FollowOptions

        how = FollowOptions(
            timeout=timeout,
            silent=not options.watch,
            tells=not options.watch,
            exact=options.watch,
            output=target,
            force=options.force,
            answer=options.output == inputs.STDIN and not options.watch,
            asides=told,
        )
    to_stdout = options.watch or options.output == inputs.STDIN
    sending = Sending(
        context, waits=options.waits, ids_to_stderr=to_stdout, unique=options.unique
    )
    return context.run(sending.run(settings, drafts, how, single=len(drafts) == 1))


def _check(shape: Shape, options: Options) -> None:
    files = options.files or []
    if options.text and len(options.text) > 1:
        raise UsageError("-t is given twice: a prompt has one text")
    if files.count(inputs.STDIN) + shape.stdin_uses > 1:
        raise UsageError("stdin can be read once only")
    if len(files) > 1:
        single = {
            "-t": options.text,
            "-n": options.name,
            "--key": options.key,
            "-o": options.output,
            "--watch": options.watch,
            "--tool-output, --approve or --deny": options.answers,
        }
        given = [name for name, value in single.items() if value]
        if given:
            raise UsageError(f"{given[0]} takes one FILE, not {len(files)}")
    if options.watch and options.wait:
        raise UsageError("--watch and --wait exclude each other")
    _check_needs(shape, options)
    worded = {
        "--key": options.key,
        "--group": options.group,
        "-m": shape.model,
        "--previous": shape.previous,
    }
    for option, value in worded.items():
        if value is not None and not value.strip():
            raise UsageError(f"{option} is given, but empty")
    if options.key and re.match(_LIKE_A_KEY, options.key):
        raise inputs.key_as_name()
    if options.name is not None and (
        not options.name.strip() or not options.name.isprintable()
    ):
        raise UsageError("a name must be printable text")


def _check_needs(shape: Shape, options: Options) -> None:
    """Refuse an option that does nothing without another one."""
    if options.answers and shape.previous is None:
        raise UsageError("--tool-output, --approve and --deny need --previous REF")
    if options.timeout is not None and not options.waits:
        raise UsageError("--timeout needs --watch, --wait or -o: nothing waits")
    if options.notify is not None and not options.waits:
        message = "--notify needs --watch, --wait or -o: nothing waits"
        raise UsageError(message, hint="bgresp sync --notify, later")
    if options.show is not None and not options.watch:
        raise UsageError("--show needs --watch: nothing is shown")


def _prompts(context: Context, shape: Shape, options: Options) -> list[str | None]:
    files = options.files or []
    if options.text:
        said = checked_prompt(options.text[0].removeprefix("\ufeff"), "-t")
        if files:  # one, which _check has seen to
            said = f"{said.rstrip()}\n\n{inputs.prompt(files[0])}"
            return [checked_prompt(said, f"-t and {files[0]}")]
        if not shape.stdin_uses:
            _tell_of_stdin(context)
        return [said]
    if files:
        return [inputs.prompt(name) for name in files]
    if shape.body is not None or options.answers:
        return [None]
    if shape.stdin_uses:
        raise UsageError("stdin can be read once only: name a FILE, or give -t TEXT")
    from bgresp.render.streams import stdin_is_terminal

    if stdin_is_terminal():
        raise UsageError(
            "nothing to submit", hint="name a FILE, give -t TEXT, or pipe a prompt in"
        )
    return [inputs.prompt(inputs.STDIN)]


def _tell_of_stdin(context: Context) -> None:
    """Say to a person that what was piped in is not part of the prompt."""
    from bgresp.render.streams import is_pipe_unread

    if context.streams.err_is_terminal and is_pipe_unread():
        context.say("stdin is not read with -t alone: `-t TEXT -` is both, one prompt")


def _drafts(
    context: Context,
    shape: Shape,
    options: Options,
    settings: "Settings",
    prompts: list[str | None],
) -> "list[Draft]":
    """Return a draft for each prompt; None where a raw body says it all.

    Raises UsageError, RefusedError, ConfigError, NoSuchJobError: nothing was sent.
    """
    from bgresp.core.request import drafted

    if not options.dry_run:
        check_webhook(context, settings)
    request = request_of(context, shape, settings)
    if options.answers:
        answers = _answers(context, str(shape.previous), options, settings)
        request = request._replace(answers=answers)
        check_clashes(request, settings.dialect)
    requests = [request._replace(text=text) for text in prompts]
    for name in unused(requests):
        raise UsageError(f"--var {name}: no text has {{{{{name}}}}}")
    stream = options.stream
    if stream and "stream" not in settings.dialect.ops:
        message = f"a {settings.dialect.name} endpoint cannot stream a job"
        raise RefusedError(message, hint="without --stream it is polled")
    if stream is None:
        stream = settings.stream or options.watch
    job = _record(context, settings, options)
    found = []
    for one in requests:
        prompt = Request(text=one.text, body=one.body, changes=one.changes)
        check_clashes(prompt, settings.dialect)
        draft = drafted(job, one, settings.dialect, stream=stream)
        found.append(draft._replace(keep=not options.no_keep_prompt))
    return found


def _answers(
    context: Context, ref: str, options: Options, settings: "Settings"
) -> "tuple[Part, ...]":
    """Return what answers the calls and approvals of the job before.

    Raises UsageError where they are not what it waits for, RefusedError where the
    endpoint cannot be told.
    """
    from bgresp.cli import refs
    from bgresp.config.urls import is_same_url
    from bgresp.core.request import CallReply, answers_to, named_call

    job = refs.find(context, ref)
    if job is None:
        message = f"--previous {ref}: what it waits for is not in the ledger"
        raise UsageError(message, hint=f"bgresp import {shlex.quote(ref)}")
    answer = context.answers.answer(job.key, context.dialect_of(job))
    if answer is None:
        message = f"--previous {ref}: its answer is not here"
        raise UsageError(message, hint=f"bgresp get {job.quoted} --part tools")
    replies = []
    for given in options.tool_output or ():
        id_, text = named_call(given, answer)
        replies.append(CallReply(id_, inputs.text_or_file(text, "--tool-output")))
    for ids, approve in ((options.approve, True), (options.deny, False)):
        replies += [CallReply(id_ or None, approve=approve) for id_ in ids or ()]
    found = answers_to(job.quoted, answer, replies, settings.dialect)
    if job.base_url is not None and not is_same_url(job.base_url, settings.base_url):
        # Nobody there knows the call, and its output is another endpoint's to read.
        message = f"--previous {ref}: it is at {job.base_url}, not {settings.base_url}"
        raise UsageError(message, hint=f"-p {shlex.quote(job.profile or 'PROFILE')}")
    return found


def _record(context: Context, settings: "Settings", options: Options) -> Job:
    return Job(
        key="",
        name=options.name,
        group=options.group,
        submit_key=options.key,
        labels=inputs.labels(context.environ, options.label),
        profile=settings.profile,
        base_url=settings.base_url,
        dialect=settings.dialect.name,
        vars=settings.vars,
        submitted_at=context.now,
        expect=seconds(options.expect),
        output_path=options.output if options.output != inputs.STDIN else None,
        extra=settings.kept,
    )


def _dry_run(context: Context, settings: "Settings", drafts: "list[Draft]") -> int:
    from bgresp.config.profiles import destination

    records.show(context, [draft.body for draft in drafts], single=True)
    where = destination(settings, context.environ)
    requests = counted(len(drafts), "request")
    context.say(f"nothing was sent; {requests} would go to {where}")
    return 0


class Sending:
    """One command's submits; `codes` has an exit code for each that failed."""

    def __init__(
        self,
        context: Context,
        *,
        waits: bool = False,
        ids_to_stderr: bool = False,
        unique: bool = False,
    ) -> None:
        """Send nothing yet."""
        self.context = context
        self.waits = waits
        self.ids_to_stderr = ids_to_stderr
        self.unique = unique
        self.codes: list[int] = []
        self._accepted: list[Submitted] = []

    @property
    def jobs(self) -> list[Job]:
        """Return the accepted jobs."""
        return [accepted.job for accepted in self._accepted]

    async def run(
        self,
        settings: "Settings",
        drafts: "list[Draft]",
        how: "FollowOptions | None",
        *,
        single: bool,
    ) -> int:
        """Send all to the endpoint for new jobs, follow them; return the exit code.

        Raises UsageError where --key is the API key itself.
        """
        async with self.context.api(settings) as api:
            # A submit key is kept and shown, an API key never is.
            key = api.endpoint.key or ""
            if len(key) >= SECRET_LENGTH and key == drafts[0].job.submit_key:
                raise inputs.key_as_name()
            self.context.note_endpoint(settings)
            await self.context.settle(at=settings)
            await self.send(api, drafts)
            self.context.report_ledger()
            if how is None or not self._accepted:
                await self.let_go()
                if self.context.common.json and self._accepted:
                    records.show_jobs(self.context, self.jobs, single=single)
                return int(worst(self.codes))
            from bgresp.cli.following import Following

            following = Following(self.context, how, single)
            opened = None if how.silent else self._accepted[0].signals
            if opened is None:
                await self.let_go()
            code = await following.run(self.jobs, opened)
        return int(worst([code, *self.codes]))

    async def send(self, api: "Api", drafts: "list[Draft]") -> None:
        """Send drafts to one endpoint until it refuses more than one of them."""
        import asyncio

        from bgresp.engine.submit import OF_ONE, Submitter

        submitter = Submitter(api, self.context.recorder, self.context.say)
        submit = submitter.submit
        if self.unique or any(map(_is_one_of, drafts)):
            from bgresp.engine.resubmit import Keyed
            from bgresp.engine.settle import Settling

            settling = Settling(api, self.context.recorder, self.context.say)
            keyed = Keyed(submitter, settling, unique=self.unique, again=_is_retried)
            submit = keyed.submit
        for draft in drafts:
            submitted = await submit(draft)
            self._say_if_other(draft.job, submitted.job)
            self._take(submitted)
            if submitted.interrupted:
                raise asyncio.CancelledError
            fault = submitted.fault
            if fault is not None and fault.http_status not in OF_ONE:
                break

    def _say_if_other(self, asked: Job, got: Job) -> None:
        """Say when a key's job is of another request than the one at hand."""
        was = got.request_sha256
        if asked.submit_key and was not in {None, asked.request_sha256}:
            message = f"--key {asked.submit_key} was accepted for another request"
            self.context.say(
                f"{message}, nothing was sent: bgresp get {got.quoted} --part request"
            )

    async def let_go(self) -> None:
        """Leave creating streams only when their jobs run."""
        import asyncio

        from bgresp.engine.submit import let_go

        recorder = self.context.recorder
        await asyncio.gather(*(let_go(held, recorder) for held in self._accepted))

    def failed(self, error: BgrespError) -> None:
        """Tell of a submit that failed; the others go on."""
        self.context.tell_error(error)
        self.codes.append(int(error.code))

    def _take(self, submitted: "Submitted") -> None:
        if submitted.fault is not None or submitted.rescued is not None:
            from bgresp.engine.submit import error_of

            self.failed(error_of(submitted))
        if submitted.fault is None:
            self._accepted.append(submitted)
            self._print_id(submitted.job)

    def _print_id(self, job: Job) -> None:
        common = self.context.common
        if self.ids_to_stderr:
            self.context.say(f"submitted {job.ref}")
        elif common.jsonl and not self.waits:
            records.show_jobs(self.context, [job], single=True)
        elif not self.context.is_json:
            self.context.streams.line(job.ref)


def _is_one_of(draft: "Draft") -> bool:
    """Say whether a draft's key or row may have an earlier job."""
    return bool(draft.job.submit_key) or draft.job.row is not None


def _is_retried(earlier: Job, draft: Job) -> bool:
    """Say whether a draft is the retry of a batch's row, none of which is open."""
    return draft.retry_of is not None and not earlier.status.is_open
