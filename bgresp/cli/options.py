"""The options that verbs share, as named tuples.

A field's annotation says how it is typed. A verb lists the groups it takes, and is
called with one instance of each: by `cli.app`, which makes Typer's commands of them, or
by `cli.main`, which does without them where it can.
"""

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeVar

from bgresp.core.errors import UsageError
from bgresp.core.selection import Selector, statuses
from bgresp.core.text import did_you_mean
from bgresp.core.times import duration, point

if TYPE_CHECKING:
    from typing import Annotated as Annotated  # noqa: PLC0414  others take it from here
else:

    class Annotated:
        """A type and how it is typed, at run time.

        typing's own costs thirty times as much, and a submit has eighty of them.
        """

        __slots__ = ("__metadata__", "__origin__")

        def __init__(self, origin: Any, said: Any) -> None:
            """Keep both under the names that typing's has for them."""
            self.__origin__ = origin
            self.__metadata__ = (said,)

        def __class_getitem__(cls, parameters: tuple[Any, Any]) -> "Annotated":
            """Return a type that is typed as it says."""
            return cls(*parameters)


Word = TypeVar("Word", bound=StrEnum)

# The headings that options stand under in a command's help.
ARGUMENTS: Final = "Arguments"
OPTIONS: Final = "Options"
ENGINE: Final = "What runs the jobs"
LIMITS: Final = "Limits"
WEBHOOKS: Final = "Webhooks"
INPUT: Final = "Input"
REQUEST: Final = "Request"
LEDGER: Final = "In the ledger"
FOLLOW: Final = "Follow"
OUTPUT: Final = "Output"
GLOBAL: Final = "Global"


class Option(NamedTuple):
    """How a field is typed: the names of an option, or nothing but its place."""

    names: tuple[str, ...]
    help: str
    metavar: str | None = None
    panel: str = ""


def opt(*names: str, help: str, metavar: str | None = None, panel: str = "") -> Option:  # noqa: A002  Typer's word
    """Return how an option is typed; its heading, where it is not the usual one."""
    return Option(names, help, metavar, panel)


def arg(*, metavar: str, help: str) -> Option:  # noqa: A002  Typer's word
    """Return how a positional argument is typed."""
    return Option((), help, metavar)


VERSION: Final = opt("-V", "--version", help="Print the version.")


Notify = Annotated[
    str | None,
    opt(
        "--notify",
        help="Run CMD, or ring the bell, for each job that ends.",
        metavar="CMD",
    ),
]

Interval = Annotated[
    str | None, opt("--interval", help="The time between polls.", metavar="D")
]
Timeout = Annotated[
    str | None, opt("--timeout", help="Stop waiting after D.", metavar="D")
]
FailFast = Annotated[bool, opt("--fail-fast", help="Stop when one does not complete.")]
Replace = Annotated[bool, opt("--force", help="Let -o replace a file.")]

Yes = Annotated[bool, opt("--yes", help="Do not ask first.")]
DryRun = Annotated[bool, opt("--dry-run", help="List the jobs; do nothing.")]
Remote = Annotated[bool, opt("--remote", help="Delete them at the endpoint too.")]
OpenToo = Annotated[bool, opt("--force", help="Drop open and unsettled jobs, too.")]

JobName = Annotated[
    str | None, opt("-n", "--name", help="A name to find it by.", metavar="NAME")
]
JobLabels = Annotated[
    list[str] | None, opt("-l", "--label", help="A label (repeat).", metavar="K=V")
]
JobGroup = Annotated[
    str | None, opt("--group", help="A group to put it in.", metavar="G")
]

Host = Annotated[
    str, opt("--host", help="The address to listen on.", metavar="ADDRESS")
]
Port = Annotated[int, opt("--port", help="The port; 0 takes a free one.", metavar="N")]
Uds = Annotated[
    Path | None, opt("--uds", help="Listen on a unix socket, too.", metavar="PATH")
]

WholeRequest = Annotated[
    bool, opt("--exec-json", help="Give CMD the whole request, as JSON.", panel=ENGINE)
]
UpstreamKeyEnv = Annotated[
    str | None,
    opt(
        "--upstream-key-env",
        help="Its key is in this variable.",
        metavar="NAME",
        panel=ENGINE,
    ),
]
UpstreamApi = Annotated[
    str | None,
    opt(
        "--upstream-api",
        help="The API that it speaks; else found out by asking.",
        metavar="responses|chat",
        panel=ENGINE,
    ),
]


class Common(NamedTuple):
    """What every command takes."""

    profile: Annotated[
        str | None,
        opt("-p", "--profile", help="The profile to use.", metavar="P"),
    ] = None
    base_url: Annotated[
        str | None, opt("--base-url", help="Its base URL.", metavar="URL")
    ] = None
    header: Annotated[
        list[str] | None,
        opt("-H", "--header", help="Send this header, too (repeat).", metavar="'K: V'"),
    ] = None
    allow_http: Annotated[
        bool, opt("--allow-http", help="Let a key be sent over http://.")
    ] = False
    json: Annotated[bool, opt("--json", help="Print JSON.")] = False
    jsonl: Annotated[bool, opt("--jsonl", help="Print JSON, an object a line.")] = False
    fields: Annotated[
        str | None, opt("--fields", help="Only these fields.", metavar="a,b")
    ] = None
    quiet: Annotated[bool, opt("-q", "--quiet", help="Print ids only.")] = False
    verbose: Annotated[bool, opt("-v", "--verbose", help="Say more.")] = False
    color: Annotated[
        str, opt("--color", help="auto, always or never.", metavar="WHEN")
    ] = "auto"
    no_progress: Annotated[bool, opt("--no-progress", help="No animation.")] = False
    version: Annotated[bool, VERSION] = False

    def headers(self) -> dict[str, str]:
        """Return the -H options as a mapping.

        Raises UsageError when one is not 'K: V'.
        """
        found: dict[str, str] = {}
        for item in self.header or []:
            name, mark, value = item.partition(":")
            clean = value.strip()
            if not mark or not name.strip() or not (name + clean).isascii():
                raise UsageError("-H takes 'K: V': a name, a colon, ASCII text")
            if not (name + clean).isprintable():
                raise UsageError(f"the header {name!r} has control characters")
            found[name.strip()] = clean
        return found

    def wanted_fields(self) -> tuple[str, ...]:
        """Return --fields as names."""
        return tuple(name.strip() for name in (self.fields or "").split(",") if name)


class Refs(NamedTuple):
    """Which jobs a verb is about: REFs, or selectors instead."""

    refs: Annotated[
        list[str] | None,
        arg(
            metavar="[REF]...",
            help="An id or its beginning, a name, @last, @2, or - for stdin.",
        ),
    ] = None
    group: Annotated[
        str | None, opt("--group", help="Jobs of a group.", metavar="G")
    ] = None
    label: Annotated[
        list[str] | None,
        opt(
            "-l",
            "--label",
            help="Jobs with a label (repeat: with all).",
            metavar="K[=V]",
        ),
    ] = None
    status: Annotated[
        str | None, opt("--status", help="Jobs in a status.", metavar="S[,S]")
    ] = None
    since: Annotated[
        str | None, opt("--since", help="Submitted since T.", metavar="T")
    ] = None
    until: Annotated[
        str | None, opt("--until", help="Submitted before T.", metavar="T")
    ] = None
    model: Annotated[
        str | None, opt("--model", help="Jobs of a model.", metavar="M")
    ] = None
    open: Annotated[bool, opt("--open", help="Jobs that have not ended.")] = False
    all: Annotated[bool, opt("--all", help="Every job.")] = False
    allow_empty: Annotated[
        bool, opt("--allow-empty", help="Finding none is no error.")
    ] = False

    def selector(self, common: Common, *, now: float) -> Selector:
        """Return the selectors; `-p` selects too.

        Raises UsageError when one cannot be read.
        """
        labels: dict[str, str | None] = {}
        for item in self.label or []:
            name, mark, value = item.partition("=")
            labels[name] = value if mark else None
        words = [word for word in (self.status or "").split(",") if word]
        return Selector(
            group=self.group,
            labels=labels,
            statuses=statuses(words),
            since=point(self.since, now=now) if self.since else None,
            until=point(self.until, now=now) if self.until else None,
            model=self.model,
            profile=common.profile,
            open=self.open,
            all=self.all,
        )


def seconds(text: str | None) -> float | None:
    """Read an optional duration.

    Raises UsageError when it is none.
    """
    return None if text is None else duration(text)


def check_port(port: int) -> None:
    """Refuse what is no port. Raises UsageError."""
    if not 0 <= port <= 65535:
        raise UsageError("--port takes 0 to 65535")


def asides(text: str | None) -> frozenset[str]:
    """Read --show as what it names.

    Raises UsageError.
    """
    from bgresp.core.output import KINDS

    names = frozenset(name.strip() for name in (text or "").split(",") if name.strip())
    if names == {"all"}:
        return frozenset(KINDS)
    wrong = sorted(names - set(KINDS))
    if wrong:
        raise UsageError(f"--show takes {', '.join(KINDS)} or all, not {wrong[0]!r}")
    return names


def chosen_word(words: type[Word], given: str | None, option: str) -> Word | None:
    """Read an option that takes one of some words; None where it was not given.

    Raises UsageError, which names them all.
    """
    try:
        return None if given is None else words(given)
    except ValueError:
        meant = did_you_mean(given or "", [*words])
        known = ", ".join(words)
        raise UsageError(
            f"{option} takes {known}, not {given!r}", hint=meant.strip()
        ) from None
