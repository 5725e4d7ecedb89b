"""`bgresp batch`: one job a row of a manifest."""

from dataclasses import dataclass
from typing import Annotated, Final

import typer

from bgresp.cli.context import Context
from bgresp.cli.options import Common, Notify, opt
from bgresp.cli.request_options import Shape
from bgresp.core.errors import UsageError

CHANGED: Final = ("refuse", "resubmit", "skip")


@dataclass(frozen=True, slots=True)
class Options:
    """What `batch` takes."""

    manifest: Annotated[
        str,
        typer.Argument(
            metavar="MANIFEST", help="JSON Lines, a request a row; - is stdin."
        ),
    ]
    csv: Annotated[bool, opt("--csv", help="It is a CSV with a column id.")] = False
    prompt: Annotated[
        str | None,
        opt("--prompt", help="A CSV's prompt: {{column}}.", metavar="STR|@FILE"),
    ] = None
    group: Annotated[
        str | None,
        opt("--group", help="Its group: else the manifest's name.", metavar="G"),
    ] = None
    label: Annotated[
        list[str] | None,
        opt("-l", "--label", help="A label for each row (repeat).", metavar="K=V"),
    ] = None
    shard: Annotated[
        str | None, opt("--shard", help="Only the Ith of N parts.", metavar="I/N")
    ] = None
    limit: Annotated[
        int | None, opt("--limit", help="Submit N rows at most.", metavar="N")
    ] = None
    in_flight: Annotated[
        int | None,
        opt(
            "--in-flight", help="Rows at once; with --wait until they end.", metavar="N"
        ),
    ] = None
    rate: Annotated[
        str | None, opt("--rate", help="Submit so many: 30/m, 2/s.", metavar="N/UNIT")
    ] = None
    max_failures: Annotated[
        int | None,
        opt("--max-failures", help="Stop after N rows failed.", metavar="N"),
    ] = None
    changed: Annotated[
        str,
        opt(
            "--changed",
            help="A row submitted with another request: refuse, resubmit or skip.",
            metavar="HOW",
        ),
    ] = "refuse"
    retry_failed: Annotated[
        bool, opt("--retry-failed", help="Submit rows anew that did not complete.")
    ] = False
    wait: Annotated[bool, opt("--wait", help="Wait for every row's end.")] = False
    results: Annotated[
        str | None,
        opt("--results", help="Wait; append a line a row there.", metavar="FILE.jsonl"),
    ] = None
    out_dir: Annotated[
        str | None,
        opt("--out-dir", help="Wait; write a file a row there.", metavar="DIR"),
    ] = None
    dry_run: Annotated[
        bool, opt("--dry-run", help="Check and count; send nothing.")
    ] = False
    allow_outside: Annotated[
        bool,
        opt("--allow-outside", help="Let rows name files beyond MANIFEST's folder."),
    ] = False
    no_keep_prompt: Annotated[
        bool, opt("--no-keep-prompt", help="Keep no copy of the requests.")
    ] = False
    expect: Annotated[
        str | None, opt("--expect", help="How long a row may take.", metavar="D")
    ] = None
    stream: Annotated[
        bool | None, opt("--stream/--no-stream", help="Create them streamable.")
    ] = None
    notify: Notify = None

    @property
    def waits(self) -> bool:
        """Say whether the rows' ends are waited for."""
        return self.wait or self.results is not None or self.out_dir is not None


def batch(options: Options, shape: Shape, common: Common) -> int:
    """Submit a background response for each row of a manifest; print the ids in order.

    The same command again goes on where it was stopped, killed or cut off: a row that
    has its job is not submitted again. Other options are defaults for the rows.

    Examples:

      bgresp batch questions.jsonl -m gpt-5
      bgresp batch questions.jsonl --results answers.jsonl --rate 30/m
      bgresp batch people.csv --csv --prompt 'Write to {{name}} about {{topic}}.'
    """
    from bgresp.cli.batching import Batching
    from bgresp.cli.running import run

    context = Context.of(common)
    context.notify(options.notify)
    _check(options)
    batching = Batching.of(context, options, shape)
    if options.dry_run:
        return batching.dry_run()
    with batching.ready():
        batching.survey()
        return run(context, batching.run())


def _check(options: Options) -> None:
    for name, count in (
        ("--in-flight", options.in_flight),
        ("--max-failures", options.max_failures),
        ("--limit", options.limit),
    ):
        if count is not None and count < 1:
            raise UsageError(f"{name} takes 1 or more")
    if options.changed not in CHANGED:
        raise UsageError("--changed takes refuse, resubmit or skip")
    if options.csv != (options.prompt is not None):
        raise UsageError(
            "--csv and --prompt go together",
            hint="--csv --prompt 'Text with {{column}}'",
        )
