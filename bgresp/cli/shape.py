"""The options that shape a request, of `submit` and as defaults of `batch`.

Read by cli.shaping.
"""

from dataclasses import dataclass
from typing import Annotated

from bgresp.cli import inputs
from bgresp.cli.options import opt


@dataclass(frozen=True, slots=True)
class Shape:
    """What is asked, but for the prompt itself."""

    model: Annotated[
        str | None, opt("-m", "--model", help="The model.", metavar="M")
    ] = None
    system: Annotated[
        str | None,
        opt("-s", "--system", help="Instructions.", metavar="STR|@FILE"),
    ] = None
    attach: Annotated[
        list[str] | None,
        opt("--attach", help="A file or image (repeat).", metavar="PATH|URL"),
    ] = None
    var: Annotated[
        list[str] | None,
        opt("--var", help="Fill {{K}} in the texts (repeat).", metavar="K=V"),
    ] = None
    schema: Annotated[
        str | None,
        opt("--schema", help="The answer is JSON of this schema.", metavar="@FILE"),
    ] = None
    tool: Annotated[
        list[str] | None,
        opt("--tool", help="A tool it may use (repeat).", metavar="NAME|JSON"),
    ] = None
    max_output_tokens: Annotated[
        int | None,
        opt("--max-output-tokens", help="Stop the answer there.", metavar="N"),
    ] = None
    previous: Annotated[
        str | None, opt("--previous", help="Continue from a job.", metavar="REF")
    ] = None
    metadata: Annotated[
        list[str] | None,
        opt("--metadata", help="Metadata for the endpoint (repeat).", metavar="K=V"),
    ] = None
    body: Annotated[
        str | None,
        opt("--body", help="The raw request body.", metavar="@FILE|JSON"),
    ] = None
    changes: Annotated[
        list[str] | None,
        opt("--set", help="Set a field of the body (repeat).", metavar="PATH=VALUE"),
    ] = None

    @property
    def stdin_uses(self) -> int:
        """Return how many of the options read stdin."""
        return [self.system, self.body, self.schema].count("@" + inputs.STDIN)
