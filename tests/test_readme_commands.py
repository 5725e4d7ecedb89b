"""Every command line of the README and the topics runs, against a fake endpoint.

What cannot run here stands in ELSEWHERE, with the reason and another check.
"""

import doctest
import os
import re
import shlex
import shutil
import stat
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest

from bgresp.cli.app import build
from bgresp.config import files
from bgresp.serve import daemon
from tests.cli.processes import endpoint
from tests.cli.terminal import Terminal
from tests.command import DEADLINE, ROOT, empty_config, environment
from tests.fakeserver import FakeServer
from tests.pages import PAGES, fenced, page

# A line with one of these is not run as it stands; what else is done with it.
ELSEWHERE: Final = {
    ".venv/bin/": "installs from the network: bash parses it, its bgresp runs below",
    "completions": "writes into a shell's own folders: its option is looked up",
    "systemctl": "needs a systemd of one's own: bash parses it",
    "SLURM_ARRAY_TASK_ID": "needs its scheduler: test_examples.py sets the variable",
    "JOB_COMPLETION_INDEX": "needs its scheduler: test_examples.py sets the variable",
    "-p shout": "its profile is the block above: serve/test_recipes.py runs both",
    "-p night": "its profile is the block above: serve/test_recipes.py runs both",
    "./run-tool": "is a tool of the reader: test_examples.py runs the line with one",
    "bgresp listen": "ends only when it is told to: proof/test_webhooks.py runs it",
    "parallel ": "test_examples.py runs it where GNU parallel is installed",
}
ANSWER: Final = '{"overdue": [17, 4]}'
# In front of a line that is about open jobs: one.
BEFORE: Final = "bgresp submit prompt.txt -m gpt-5 >> before.log"


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block: its page, its language, and its lines without comments."""

    page: str
    number: int
    language: str
    text: str

    @property
    def lines(self) -> list[str]:
        """Return the commands, continued lines joined, comments taken off."""
        joined = self.text.replace("\\\n", " ").splitlines()
        bare = (re.sub(r"(^|\s+)#\s.*$", "", line).strip() for line in joined)
        return [line for line in bare if line]

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Return the commands of a transcript, and what each prints."""
        found = re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", self.text, re.MULTILINE)
        return [(command, printed) for command, printed in found]


def blocks(*languages: str) -> list[Block]:
    """Return the fenced blocks of some languages, of every page."""
    return [
        Block(path.stem, number, language, text)
        for path in PAGES
        for number, (language, text) in enumerate(fenced(path), 1)
        if language in languages
    ]


def named(block: Block) -> str:
    return f"{block.page}-{block.number}"


SHELL: Final = blocks("sh", "bash")
TYPED: Final = blocks("console")


def elsewhere(line: str) -> bool:
    return any(mark in line for mark in ELSEWHERE)


@pytest.fixture
def sandbox(tmp_path: Path) -> Path:
    """Make a folder with what the README's commands name, and `bgresp` on its PATH."""
    place = tmp_path / "work"
    (place / "bin").mkdir(parents=True)
    shim = place / "bin" / "bgresp"
    shim.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m bgresp "$@"\n')
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    for name in ("prompt.txt", "report.txt", "README.md", "style.md", "notes.txt"):
        (place / name).write_text("Why is the sky blue?\n")
    (place / "letter.txt").write_text("Dear {{name}} of {{city}}\n")
    (place / "figures.pdf").write_bytes(b"%PDF-1.4\n")
    (place / "invoices.csv").write_text("17,late\n")
    (place / "overdue.json").write_text('{"type": "object", "title": "overdue"}')
    (place / "request.json").write_text('{"input": "Why?", "model": "gpt-5"}')
    rows = [f'{{"id": "row-{n}", "text": "Why {n}?"}}\n' for n in range(3)]
    for name in ("manifest.jsonl", "rows.jsonl", "night.jsonl", "questions.jsonl"):
        (place / name).write_text("".join(rows))
    (place / "people.csv").write_text("id,name,topic\n1,Ada,engines\n")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(place)]
    for words in (["init", "-q"], ["add", "prompt.txt"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], check=True, env=environment({}))
    (place / "prompt.txt").write_text("Why is the sea blue?\n")
    return place


def ran(script: str, place: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a bash script in the sandbox."""
    env = environment(
        {
            "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "BGRESP_STATE_DIR": str(place / "state"),
            "BGRESP_CONFIG": empty_config(place / "config" / "config.toml"),
            "HOME": str(place),
            **more,
        }
    )
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=place,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=5 * DEADLINE,
        check=False,
    )


def prepared(line: str) -> str:
    """Return a line as it is run: told on stderr, with an open job where it asks."""
    before = f"{BEFORE}\n" if "--open" in line or " cancel " in line else ""
    return f"{before}echo '+ '{shlex.quote(line)} >&2\n{line}"


@pytest.mark.proof
@pytest.mark.timeout(600)
@pytest.mark.parametrize("block", SHELL, ids=named)
def test_every_command_line_runs(block: Block, sandbox: Path) -> None:
    """Each line of a shell block ends with 0, in the order of the page."""
    lines = [line for line in block.lines if not elsewhere(line)]
    with FakeServer(tell=ANSWER) as server:
        chosen = {**endpoint(server), "WORK_KEY": "k"}
        ran("bgresp config add work --base-url https://x.example/v1", sandbox)
        if any("config add work" in line for line in lines):
            ran("bgresp config remove work", sandbox)
        if any("-p local" in line for line in lines):
            chosen = {}
        try:
            done = ran("\n".join(map(prepared, lines)), sandbox, **chosen)
        finally:
            daemon.stop(sandbox / "state")
    assert 0 == done.returncode, done.stderr


@pytest.mark.parametrize("block", [*SHELL, *TYPED], ids=named)
def test_what_cannot_run_here_is_still_shell(block: Block) -> None:
    """Bash can read every line, those too that install or set something up."""
    for line in [line for line, _ in block.steps] or block.lines:
        done = subprocess.run(
            ["bash", "-nc", line], capture_output=True, text=True, check=False
        )
        assert (0, "") == (done.returncode, done.stderr), line


def first_command() -> str:
    """Return what the README has one type first, without what installs it."""
    (line,) = (
        line for block in SHELL for line in block.lines if "-p local --watch" in line
    )
    return line.rpartition(" && ")[2].replace(".venv/bin/", "")


@pytest.mark.proof
@pytest.mark.timeout(300)
def test_the_first_command_of_all(sandbox: Path) -> None:
    """What the README has one type first works without any key or configuration."""
    try:
        done = ran(first_command(), sandbox)
    finally:
        daemon.stop(sandbox / "state")
    assert (0, True) == (done.returncode, "demo" in done.stdout), done.stderr


@pytest.mark.proof
def test_the_readmes_transcripts_are_what_a_terminal_shows(sandbox: Path) -> None:
    """What the README has one type prints something else, or ends with an error.

    Each line is typed in a bash of its own folder, one after the other. `...` in a
    transcript stands for anything; ids, figures, the width of a column, and whether an
    open job runs yet do not matter.
    """
    shell = Typist(sandbox)
    same = doctest.OutputChecker().check_output
    loose = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    try:
        shell.type(first_command())  # which starts the endpoint, and says so
        for line, printed in [step for block in TYPED for step in block.steps]:
            # Those are to be open yet when the next lines are typed: others go first.
            if "--name tour" in line or "--previous" in line:
                ran(BUSY, sandbox)
            code, shown = shell.type(line)
            assert 0 == code, (line, shown)
            assert same(timeless(printed), timeless(shown), loose), (line, shown)
        assert (sandbox / "answer.md").read_text().startswith("This is bgresp's")
        told = page("files").read_text("utf-8")
        for path in [*(sandbox / "state").iterdir(), *(sandbox / "config").iterdir()]:
            name = f"{path.name}/" if path.is_dir() else path.name
            assert re.search(rf"`{re.escape(name)}[\w./]*`", told), name
    finally:
        shell.close()
        daemon.stop(sandbox / "state")


# Jobs that go first, and that the ledger does not know when the reader looks.
BUSY: Final = (
    "bgresp submit {prompt,report,letter,notes}.txt *.md -p local --group busy;"
    "bgresp forget --group busy --force"
)
# What differs from run to run, and what stands for it.
DIFFERS: Final = {
    r"  queued [\d.ms]+|  ~?[\d.,]+ tok/s": "",  # a run that no poll saw has neither
    r"resp_[0-9a-f]{32}": "ID",
    r"\b[0-9a-f]{8}\b": "ID",
    r"\d[\d.,]*(?:[smhd](?:\d+[smhd])*)?": "0",
    "in_progress": "queued",
}


def timeless(text: str) -> str:
    """Return a transcript without what differs from run to run."""
    for pattern, constant in DIFFERS.items():
        text = re.sub(pattern, constant, text)
    return text or "\n"


class Typist:
    """An interactive bash, and somebody who types in it and reads the screen."""

    def __init__(self, place: Path) -> None:
        self._env: dict[str, str | None] = {
            "PATH": f"{place / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "BGRESP_STATE_DIR": str(place / "state"),
            "BGRESP_CONFIG": empty_config(place / "config" / "config.toml"),
            "HOME": str(place),
            "TERM": "xterm-256color",
            "LC_ALL": "C.UTF-8",
            "PS1": "[$?]> ",
        }
        self._place = place
        argv = [str(shutil.which("bash")), "--norc", "--noprofile", "-i"]
        self._terminal = Terminal(argv, self._env, place, size=(80, 400))
        self._terminal.until(lambda it: it.shows("]>"))

    def type(self, line: str) -> tuple[int, str]:
        """Type a line; return its exit code and what stood on the screen after it."""
        before = len(self._terminal.lines)
        self._terminal.type(f"{line}\r".encode())
        prompt = re.compile(r"\[(\d+)\]>")
        self._terminal.until(
            lambda it: (
                len(it.lines) > before and prompt.fullmatch(it.lines[-1]) is not None
            )
        )
        *shown, last = self._terminal.lines[before:]
        found = prompt.fullmatch(last)
        assert found is not None
        typed = (
            -(-(len(line) + len("[0]> ")) // 80) - 1
        )  # rows that the line went on for
        return int(found[1]), "\n".join(shown[typed:]) + "\n"

    def close(self) -> None:
        """Close the terminal."""
        self._terminal.close()


def test_a_crontab_runs_as_cron_runs_it(sandbox: Path) -> None:
    """The crontab and its profile need a variable or a folder that cron has not.

    cron gives HOME and SHELL, and what the crontab itself sets; no endpoint, no key.
    """
    lines = [line for block in blocks("crontab") for line in block.lines]
    entries = [line for line in lines if not re.match(r"[A-Z]+=", line)]
    settings = dict(line.split("=", 1) for line in lines if line not in entries)
    place = re.search(r"/home/\w+", settings["PATH"])
    assert entries
    assert place is not None
    shim = sandbox / settings["PATH"].split(":")[0].removeprefix(f"{place[0]}/")
    shim.mkdir(parents=True)
    run = f"PYTHONPATH={shlex.quote(str(ROOT))} {shlex.quote(sys.executable)} -m bgresp"
    (shim / "bgresp").write_text(f'#!/bin/sh\n{run} "$@"\n')
    (shim / "bgresp").chmod(0o755)
    env = {name: v.replace(place[0], str(sandbox)) for name, v in settings.items()}
    with FakeServer(tell=ANSWER) as server:
        keyed_by_file(sandbox, env, server.base_url)
        for line in entries:
            *fields, command = line.split(maxsplit=5)
            assert 5 == len(fields)
            assert all(re.fullmatch(r"[\d*/,-]+", part) for part in fields)
            done = as_cron(command.replace(r"\%", "%"), sandbox, env)
            assert (0, "") == (done.returncode, done.stderr)
        assert {"Bearer of-a-file"} == {
            seen.headers["authorization"] for seen in server.creates
        }


def keyed_by_file(home: Path, env: dict[str, str], base_url: str) -> None:
    """Put the page's profile with a key file where cron's bgresp looks for it."""
    (profile,) = (
        block.text for block in blocks("toml") if "\napi_key_file" in block.text
    )
    told = tomllib.loads(profile)["profiles"]["work"]
    key = home / told["api_key_file"].removeprefix("~/")
    shown = as_cron("bgresp config path", home, env).stdout
    config = Path(dict(line.split("\t") for line in shown.splitlines())["config"])
    for path, text in (
        (config, profile.replace(told["base_url"], base_url)),
        (key, "of-a-file\n"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o600)


def as_cron(
    command: str, home: Path, env: dict[str, str]
) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing but cron's variables and the crontab's."""
    return subprocess.run(
        ["/bin/sh", "-c", command],
        cwd=home,
        env={"HOME": str(home), "SHELL": "/bin/sh", **env},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )


def test_the_configuration_is_one(tmp_path: Path) -> None:
    """What the page shows of config.toml is read as it stands."""
    for number, block in enumerate(blocks("toml")):
        tomllib.loads(block.text)
        path = tmp_path / f"{number}.toml"
        path.write_text(block.text)
        assert files.load(path).profiles


def test_what_is_drawn_was_printed() -> None:
    """A drawing in the text is part of a golden text."""
    golden = [
        path.read_text("utf-8") for path in (ROOT / "tests/golden").rglob("*.txt")
    ]
    for block in blocks("text"):
        assert any(block.text in text for text in golden)


def test_the_programs_are_python() -> None:
    """What the page shows of Python compiles; tests/proof runs the Celery fleet."""
    for block in blocks("python"):
        compile(block.text, named(block), "exec")


ROOT_COMMAND: Final[Any] = build().whole()


def inline() -> list[str]:
    """Return what stands as `bgresp ...` within the text."""
    found: list[str] = []
    for path in PAGES:
        prose = re.sub(
            r"^```.*?^```", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
        )
        found += re.findall(r"`(bgresp [^`]+)`", prose)
    return found


def examples(group: Any = ROOT_COMMAND) -> list[str]:
    """Return what stands as an example in any --help."""
    found: list[str] = []
    for command in group.commands.values():
        if hasattr(command, "commands"):
            found += examples(command)
        text = (command.help or "").partition("Examples:")[2]
        found += re.findall(r"\bbgresp .*$", text, re.MULTILINE)
    return found


@pytest.mark.parametrize("line", sorted({*inline(), *examples()}))
def test_what_a_text_names_is_there(line: str) -> None:
    """A command in the page's text or in a help exists, with all its options."""
    command = ROOT_COMMAND
    words = shlex.split(re.split(r" (?:\||&&|;|>>?) ", line)[0])[1:]
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    options = [word.partition("=")[0] for word in words if re.match("--?[a-z]", word)]
    assert command is not ROOT_COMMAND or not words or words[0] in options
    opts = {name for param in command.params for name in param.opts}
    others = {name for param in command.params for name in param.secondary_opts}
    assert set(options) <= opts | others | {"--help", "-h"}
