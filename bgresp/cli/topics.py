"""What `bgresp help TOPIC` tells: where it can, read from the tables that hold it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from bgresp.config.files import PROFILE_KEYS, built_in
from bgresp.core.dialect import Dialect
from bgresp.core.dialect_schema import build
from bgresp.core.errors import GRAVITY, MEANINGS
from bgresp.core.model import RECORD_FIELDS, Status
from bgresp.core.times import brief
from bgresp.render.columns import DEFAULT, FIELDS, TIMELINE, WIDE
from bgresp.render.folded import flowed

WHOLE: Final = 10_000  # a width that nothing is folded for

REFS: Final = """\
A job is named by one of these, wherever a command takes REF:

  resp_68a1...      the id that the endpoint gave
  68a1              a unique beginning of it: 4 characters or more, resp_ or not
  nightly           the --name it was submitted with (the newest bearer)
  @last, @1, @2     the last job, the one before it
  01KB2Z8Q...       the local key, which a submit without a known outcome prints
  -                 refs on stdin, one a line

An id that the ledger does not know is asked of the endpoint (-p says which)
and kept. A beginning of several ids ends with 3 and names them.

Instead of REFs, selectors; every one that is given must hold:

  --group G         the jobs of a group
  -l, --label K[=V] with a label (repeat: and)
  --status S[,S]    in a status; open and ended are groups of them
  --since T, --until T   submitted then (bgresp help times)
  --model M, -p P   of a model, of a profile
  --open, --all     not over yet; every one

No match is exit 3; with --allow-empty, and for list, stats, sync and prune, 0."""

TIMES: Final = """\
Durations:        90  0.5  90s  10m  2h  1d
Points in time:   2026-11-21  2026-11-21T08:00:00Z  or a duration ago: 2h
A date is its midnight here: in the zone of TZ, else of the machine.

Rows in a pipe have times in RFC 3339, UTC, and durations in seconds. On a
terminal they are for people: 3m05s. bgresp list --time relative|local|utc."""

ENVIRONMENT: Final = """\
These win over the configuration, and an option wins over them:

  BGRESP_PROFILE        the profile, as -p
  BGRESP_BASE_URL       its base URL, as --base-url
  BGRESP_API_KEY        its key (there is no option for a key: ps would show it)
  BGRESP_MODEL          its model, as -m
  OPENAI_API_KEY, OPENAI_BASE_URL, OPENAI_ORG_ID, OPENAI_PROJECT_ID
                        for the profile openai

  BGRESP_CONFIG         the configuration's file
  BGRESP_STATE_DIR      the ledger's folder
  BGRESP_LABELS         labels of new jobs: run=42,team=search
  BGRESP_NO_OSC         no progress in the terminal's taskbar
  BGRESP_LOCAL_KEY      the key of the local endpoint; loopback needs none
  BGRESP_BROKER_URL     the Redis of python -m bgresp.celery
  NO_COLOR, FORCE_COLOR, TERM=dumb, CI
                        no colours; colours; nothing animated
  HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE
                        as everywhere"""

FILES: Final = """\
bgresp config path    prints where they lie.

config.toml           yours: bgresp only reads it (bgresp help config)
profiles/NAME.toml    a profile each, written by bgresp config add

In the ledger's folder, which is private to you:

  ledger.jsonl        one record a line; the last line for a key holds
  responses/KEY.json  the raw response, saved when it was first seen finished
  requests/KEY.json   what was asked, unless --no-keep-prompt
  progress/KEY.jsonl  how far a stream was read and shown
  sealed/, index/     older lines; look-up files, made anew when missing
  serve/              the local endpoint's own jobs
  inflight/           which submits and claims a process holds just now
  notices/, probes/   what --notify told; the cards of doctor --probe
  ballast             room that is given up when the disk is full

No key is ever written there."""

CONFIG: Final = """\
config.toml lies where `bgresp config path` says, or BGRESP_CONFIG.

  default_profile = "work"

  [profiles.work]
  dialect = "openai"           # bgresp help dialects, or one of [dialects.*]
  base_url = "https://llm.example.com/v1"
  model = "large"
  api_key_env = "WORK_KEY"     # or api_key_file, api_key_cmd = ["pass", "work"]

  [dialects.mine]              # an endpoint that differs: only what differs
  extends = "openai"
  base_url = "https://odd.example.com/v9"

  [dialects.mine.states]
  queued = ["pending"]

A flag wins over the environment, that over the profile, that over the default.
A job keeps the endpoint that it was made with.

Keys of a profile:
{keys}"""


def exit_codes() -> str:
    """Tell every exit code, and which stands for several jobs."""
    rows = [[str(int(code)), said] for code, said in MEANINGS.items()]
    order = ", ".join(map(str, GRAVITY))
    return f"{_table(rows)}\n\nOf several jobs the first that occurs of:\n  {order}"


def statuses() -> str:
    """Tell every status, whether it is over, and the exit code of waiting for it."""
    rows = [["STATUS", "", "EXIT CODE"]]
    for status in Status:
        kind = "open" if status.is_open else "ended" if status.is_terminal else ""
        rows.append([str(status), kind, f"{int(status.exit_code)}"])
    return _table(rows)


def dialects(width: int) -> str:
    """Tell the built-in endpoints, from dialects.toml; no line wider than `width`.

    Where a row is, its URL stands on a line of its own; where that is not enough, too,
    a row is folded.
    """
    tables = built_in()
    rows = [["PROFILE", "BASE URL", "KEY", "STREAM", "CANCEL", "KEEPS"]]
    rows += [_dialect(build(name, tables)) for name in tables]
    return (
        "Each is a profile of its name: bgresp submit prompt.txt -p NAME.\n\n"
        f"{_fitted(rows, width)}\n\n"
        "STREAM: resumes a stream, only replays it, or is polled. CANCEL: what\n"
        "cancels there. KEEPS: how long a finished response is kept, where known.\n"
        "Others by configuration: bgresp help config."
    )


def _fitted(rows: list[list[str]], width: int) -> str:
    found = _table(rows)
    if _width(found) <= width:
        return found
    found = _table([[name, *rest] for name, _, *rest in rows])
    if _width(found) <= width:
        pairs = zip(found.splitlines(), rows, strict=True)
        return "\n".join(f"{line}\n  {row[1]}" for line, row in pairs)
    folded = (flowed(row, width - 2) for row in rows)
    return "\n".join("\n  ".join(lines) for lines in folded)


def _width(text: str) -> int:
    return max(map(len, text.splitlines()))


def _dialect(dialect: Dialect) -> list[str]:
    stream = "resumes" if dialect.streaming.resume else "replays"
    cancel = dialect.ops.get("cancel")
    kept = dialect.limits.retention_stored
    return [
        dialect.name,
        dialect.base_url or "-",
        "none" if dialect.auth.optional else dialect.auth.env,
        stream if "stream" in dialect.ops else "polled",
        cancel.method if cancel is not None else "-",
        brief(kept) if kept else "-",
    ]


def fields() -> str:
    """Tell what --fields may name."""
    derived = [name for name in FIELDS if name not in RECORD_FIELDS]
    return (
        "--fields a,b takes these, for rows, --json and --jsonl alike.\n\n"
        f"The record:\n{_wrapped(RECORD_FIELDS)}\n\n"
        f"Derived of it:\n{_wrapped(derived)}\n\n"
        f"Columns of list:\n{_wrapped(DEFAULT)}\n\n"
        f"With --wide:\n{_wrapped(WIDE)}\n\n"
        f"With --timeline:\n{_wrapped(TIMELINE)}\n\n"
        "In JSON what is unknown is null, in a row it is -."
    )


def configuration() -> str:
    """Tell how config.toml is written."""
    return CONFIG.format(keys=_wrapped(tuple(PROFILE_KEYS)))


TOPICS: Final[Mapping[str, tuple[str, Callable[[int], str]]]] = {
    "refs": ("how jobs are named and selected", lambda _: REFS),
    "times": ("durations and points in time", lambda _: TIMES),
    "statuses": ("what a job may be", lambda _: statuses()),
    "fields": ("columns and the fields of a record", lambda _: fields()),
    "exit-codes": ("what each exit code says", lambda _: exit_codes()),
    "config": ("profiles and endpoints of your own", lambda _: configuration()),
    "dialects": ("the built-in endpoints", dialects),
    "environment": ("the variables that bgresp reads", lambda _: ENVIRONMENT),
    "files": ("where everything lies", lambda _: FILES),
}


def _table(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )


def _wrapped(words: Sequence[str]) -> str:
    from textwrap import fill

    return fill(" ".join(words), 80, initial_indent="  ", subsequent_indent="  ")
