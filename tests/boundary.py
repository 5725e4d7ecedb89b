"""The trust boundary of a ledger, as a property: arbitrary records against one machine.

The machine has three endpoints, each with a key of its own, and jobs that it paid for.
Records come from elsewhere, by `import --from` or as lines of the journal, in any
order, with and without damage. Whatever they say: a key goes only to the base URL it
was configured for; no accepted job is hidden; nothing is executed; importing twice
changes nothing.
"""

import io
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from hypothesis import strategies as st

from bgresp.cli.commands.import_ import merged
from bgresp.cli.context import Context
from bgresp.cli.options import Common
from bgresp.core.errors import BgrespError
from bgresp.core.model import SCHEMA, Job, Status
from bgresp.ledger.line import new_key, seal
from bgresp.render.streams import Streams

HOME, WORK, ODD = (f"https://{name}.example/v1" for name in ("home", "work", "odd"))
FLAGS: Final = "https://flags.example/v1"
EVIL: Final = "https://evil.example/v1"
LITERAL: Final = "sk-literal-0123456789"
GATE: Final = "sk-gate-0123456789"
# Which source may go where; nothing else may go anywhere.
JOINED: Final = {
    ("env:HOME_KEY", HOME),
    ("cmd", WORK),
    ("env:ODD_KEY", ODD),
    ("env:BGRESP_API_KEY", FLAGS),
    ("env:OPENAI_API_KEY", "https://api.openai.com/v1"),
    ("local", "local:"),
}
COMMAND: Final = ("sh", "-c", "echo $WORK_KEY")
CONFIG: Final = f"""
[profiles.home]
base_url = "{HOME}"
api_key_env = "HOME_KEY"
[profiles.work]
base_url = "{WORK}"
api_key_cmd = ["sh", "-c", "echo $WORK_KEY"]
[profiles.work.headers]
X-Gate = "{GATE}"
[dialects.odd]
extends = "openai"
base_url = "{ODD}"
auth = {{ header = "X-Key", value = "{{key}}", env = "ODD_KEY" }}
headers = {{ "X-Literal" = "{LITERAL}" }}
"""
NOTED: Final = {"base_url": FLAGS, "key_source": "env:BGRESP_API_KEY", "profile": "x"}
SECRETS: Final = ("HOME_KEY", "ODD_KEY", "OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY")
_RUNS: Final = frozenset({"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"})
_executed: list[str] = []
sys.addaudithook(lambda event, _: _executed.append(event) if event in _RUNS else None)

NOW: Final = 1_790_000_000.0
OURS: Final = [new_key(NOW + n, n, after=None) for n in range(4)]
THEIRS: Final = [new_key(NOW + 9 + n, n, after=None) for n in range(6)]
URLS: Final = (HOME, HOME + "/", WORK, ODD, FLAGS, EVIL, "local:", "https://x.y", None)
IDS: Final = ("resp_0", "resp_1", "resp_2", "resp_9", "--all", "@last", "a\nb", None)
MOMENTS: Final = ("2026-01-02T03:04:05.000Z", "2099-01-01T00:00:00Z", None)


def own(number: int) -> Job:
    """Return the nth job that this machine paid for."""
    place = ((HOME, "home", "env:HOME_KEY"), (WORK, "work", "cmd"))[number % 2]
    return Job(
        OURS[number],
        Status.QUEUED if number < 3 else Status.UNKNOWN,
        id=f"resp_{number}" if number < 3 else None,
        base_url=place[0],
        profile=place[1],
        dialect="openai",
        submitted_at=NOW,
        submit_key=f"K{number}",
        group="g",
        row=f"r{number}",
        extra={"key_source": place[2]},
    )


def _junk() -> st.SearchStrategy[Any]:
    scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=8)
    return scalars | st.lists(scalars, max_size=2) | st.just({"a": []})


def _tables() -> st.SearchStrategy[Any]:
    evil = {
        "extends": "openai",
        "base_url": EVIL,
        "auth": {"header": "X", "value": "{key}", "env": "AWS_SECRET_ACCESS_KEY"},
        "ops": {"get": "POST /steal/{id}"},
    }
    runs = {**evil, "auth": {**evil["auth"], "command": ["touch", "ran"]}}  # type: ignore[dict-item]
    names = st.sampled_from(["odd", "evil", "openai", "local"])
    kinds = st.sampled_from([evil, runs, {}, 5])
    both = st.just({"odd": evil, "evil": runs})
    return both | st.dictionaries(names, kinds, max_size=2)


FIELDS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "key": st.sampled_from(
        [*OURS, *THEIRS, "7" + "Z" * 25, "--all", "zz", "../x", "Z" * 26]
    ),
    "id": st.sampled_from(IDS),
    "status": st.sampled_from([*map(str, Status), "odd"]),
    "base_url": st.sampled_from(URLS),
    "profile": st.sampled_from(["home", "work", "odd", "evil", "openai", "x", None]),
    "submitted_at": st.sampled_from(MOMENTS),
    "checked_at": st.sampled_from(MOMENTS),
    "finished_at": st.sampled_from(MOMENTS),
    "submit_key": st.sampled_from(["K0", "K1", "K3", "L", None]),
    "group": st.sampled_from(["g", "h", None]),
    "row": st.sampled_from(["r0", "r1", "r3", None]),
    "cursor": st.sampled_from([None, 0, 10**30, "x"]),
    "name": st.sampled_from(["resp_0", OURS[0], "n", None]),
}
# What ill is meant with: another's word for a lost submit, our id at their endpoint.
CHANGES: Final[list[dict[str, Any]]] = [
    {},
    {"status": "rejected"},
    {"status": "completed", "base_url": EVIL},
    {"key": THEIRS[1], "base_url": EVIL},
    {"key": THEIRS[1], "status": "rejected", "id": None},
]
# What no export has, and a line of the journal may.
EXTRA: Final[dict[str, st.SearchStrategy[Any]]] = {
    "key_source": st.sampled_from(
        [
            *("env:HOME_KEY", "env:ODD_KEY", "env:AWS_SECRET_ACCESS_KEY", "cmd", ""),
            *("cmd:dialect", "file:/etc/passwd", "none", "local", "env:BGRESP_API_KEY"),
        ]
    ),
    "profile_url": st.sampled_from(URLS),
    "dialect": st.sampled_from(["openai", "odd", "evil", "local", "vllm", None]),
    "dialects": _tables(),
    "vars": st.sampled_from([{}, {"organization": "x\r\nX-A: b"}, None]),
    "output_path": st.just("/etc/passwd"),
    "forgotten": st.just(True),
}


@dataclass(frozen=True, slots=True)
class Foreign:
    """One record from elsewhere; `damage` is the byte of its line to change."""

    table: dict[str, Any]
    is_line: bool
    damage: int | None

    @property
    def raw(self) -> bytes:
        """Return it as a line: of an export, or of the journal."""
        if self.is_line:
            line = seal(json.dumps({"v": 1, **self.table}).encode("ascii"))
        else:
            table = {"schema": SCHEMA, **self.table}
            line = json.dumps(table).encode("ascii") + b"\n"
        if self.damage is None:
            return line
        at = self.damage % (len(line) - 1)
        return (
            line[:at] + bytes([line[at] ^ 1 or 1]).replace(b"\n", b"x") + line[at + 1 :]
        )


@st.composite
def foreign(draw: st.DrawFn) -> Foreign:
    """Make a record that means ill, or is none: one of ours with a few changes."""
    is_line = draw(st.booleans())
    mine = own(draw(st.integers(0, len(OURS) - 1)))
    changes = draw(st.sampled_from(CHANGES))
    table = {name: mine.to_record()[name] for name in FIELDS}
    fields = {**FIELDS, **EXTRA} if is_line else FIELDS
    if is_line:  # who writes our own file may end our jobs: another's line it is
        table |= {"key": draw(st.sampled_from(THEIRS)), **mine.extra}
        table["dialect"] = draw(st.sampled_from(["openai", "odd", "evil"]))
        table["dialects"] = draw(_tables())
    if not is_line:
        table |= changes
    for name in draw(st.lists(st.sampled_from(sorted(fields)), max_size=4)):
        table[name] = draw(fields[name])
    if draw(st.integers(0, 9)) == 0:
        table[draw(st.sampled_from(sorted(table)))] = draw(_junk())
    if draw(st.integers(0, 9)) == 0:  # no export has it, and it is not taken
        table |= {"vars": draw(EXTRA["vars"]), "dialects": draw(EXTRA["dialects"])}
    if is_line:
        table["key"] = THEIRS[0] if str(table["key"]) in OURS else table["key"]
        table["id"] = (
            "resp_9" if str(table["id"]) in {"resp_0", "resp_1"} else table["id"]
        )
    damage = draw(st.none() | st.none() | st.integers(0, 10_000))
    return Foreign(table, is_line, damage)


@dataclass(slots=True)
class Machine:
    """One machine: its configuration, its variables, its ledger, and who looks."""

    folder: Path
    run_bytes: int = 256 * 1024
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        config = self.folder / "config"
        config.mkdir(mode=0o700)
        (config / "config.toml").write_text(CONFIG)
        (config / "endpoints.jsonl").write_text(json.dumps(NOTED) + "\n")
        (config / "endpoints.jsonl").chmod(0o600)
        self.environ = {
            **{name: f"sk-{name}-0123456789" for name in SECRETS},
            "BGRESP_CONFIG": str(config / "config.toml"),
            "BGRESP_STATE_DIR": str(self.folder / "state"),
        }
        for number in range(len(OURS)):
            self.look().ledger.record(own(number))

    def look(self) -> Context:
        """Return the context of one more command."""
        sinks = (io.BytesIO(), io.BytesIO())
        context = Context(Common(), self.environ, Streams(*sinks))
        context.ledger.run_bytes = self.run_bytes
        return context

    @property
    def journal(self) -> Path:
        """Return the file that the records end in."""
        return self.folder / "state" / "ledger.jsonl"

    def take(self, records: list[Foreign]) -> None:
        """Take in what comes from elsewhere, in its order."""
        for is_line, some in groupby(records, key=lambda one: one.is_line):
            raw = b"".join(one.raw for one in some)
            if is_line:
                with self.journal.open("ab") as file:
                    file.write(raw)
            else:
                self._import(raw)

    def take_again(self, records: list[Foreign]) -> None:
        """Import once more what was imported: nothing may change.

        Lines of the journal that came later may have changed what an earlier import
        came to: so once to settle, and once to compare.
        """
        raw = b"".join(one.raw for one in records if not one.is_line)
        self._import(raw)
        before = self.journal.read_bytes()
        self._import(raw)
        assert before == self.journal.read_bytes()

    def _import(self, raw: bytes) -> None:
        path = self.folder / "export.jsonl"
        path.write_bytes(raw)
        merged(self.look(), str(path))

    def check(self) -> None:
        """Demand that the boundary held."""
        context = self.look()
        for job in context.ledger.newest():
            check_key(context, job)
            assert not job.ref.startswith("@")
        for number in range(len(OURS)):
            self._is_there(context, own(number))

    def _is_there(self, context: Context, mine: Job) -> None:
        ledger = context.ledger
        found = ledger.by_key(mine.key)
        assert found is not None
        assert mine.key in {job.key for job in ledger.newest()}
        made = ("base_url", "profile", "dialect", "submitted_at", "submit_key", "row")
        for name in (*made, "group"):
            assert getattr(mine, name) == getattr(found, name)
        assert found.extra["key_source"] == mine.extra["key_source"]
        assert mine.id in {None, found.id}
        named = ledger.by_id(str(mine.id)) if mine.id in {"resp_0", "resp_1"} else found
        assert named is not None
        assert named.base_url == mine.base_url
        held = ledger.by_submit_key(str(mine.submit_key))
        row = ledger.by_row("g", str(mine.row))
        for other in (held, row):
            assert other is not None
            if mine.status.is_accepted:
                assert other.status.is_accepted
            else:  # nobody sends it again
                assert other.status is not Status.REJECTED


def check_key(context: Context, job: Job) -> None:
    """Demand that a job's key goes to its own base URL, or nowhere."""
    with suppress(BgrespError):
        context.dialect_of(job)
    try:
        settings = context.settings_of(job)
    except BgrespError:
        return
    base_url = settings.base_url.rstrip("/")
    assert (str(settings.key_source), base_url) in JOINED
    assert settings.key_source.command in {(), COMMAND}
    assert settings.dialect.ops["get"].method == "GET"
    if base_url != WORK:
        assert GATE not in str(settings.headers)
    if base_url != ODD:
        assert LITERAL not in str(settings.dialect.headers)


@contextmanager
def machine(*, run_bytes: int) -> Iterator[Machine]:
    """Make a machine in a folder of its own; nothing may be executed meanwhile."""
    _executed.clear()
    with TemporaryDirectory() as folder:
        yield Machine(Path(folder), run_bytes)
    assert [] == _executed


def holds(records: list[Foreign], *, run_bytes: int = 256 * 1024) -> None:
    """Demand the four promises of records that come from elsewhere."""
    with machine(run_bytes=run_bytes) as it:
        it.take(records)
        it.check()
        it.take_again(records)
        it.check()
