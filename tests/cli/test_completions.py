"""Completion in the real shells: what is offered, how it is quoted, what it starts."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
import typer

from bgresp.cli.app import build
from bgresp.cli.commands import completions
from bgresp.cli.commands.completions import FILES, Shell, script
from bgresp.core.model import Job, Status
from bgresp.ledger.ledger import Ledger
from bgresp.ledger.words import save_profiles
from tests.cli.shells import needed, offered, typing, written
from tests.command import ROOT, Run

SCRIPTS = ROOT / "completions"
POSIX = (Shell.BASH, Shell.ZSH, Shell.FISH)
PROGRAM = completions.read(build())
AGAIN = "python -m bgresp.cli.commands.completions completions"
HOSTILE = (
    "my job; $(touch PWNED) 'x' \"y\" `touch PWNED` \\z & | > * ? ~ !x #",
    "colon:and@at=eq,comma",
    "اردو نام",
)


def keep(state: Path, id_: str, **more: object) -> None:
    ledger = Ledger(state)
    with ledger.submitting(Job(key="")) as job:
        accepted = job._replace(id=id_, status=Status.QUEUED, **more)  # type: ignore[arg-type]
        ledger.record(accepted)


@pytest.fixture
def env(state: Path, tmp_path: Path) -> dict[str, str]:
    """Fill a ledger with words of every kind; return the variables that name it."""
    keep(state, "resp_abc123", name="plain", group="night's run", profile="work")
    for number, name in enumerate(HOSTILE):
        keep(
            state, f"resp_{number}", name=name, labels={"team": "se arch"}, model="m 1"
        )
    save_profiles(state / "index", ["configured"])
    return {"BGRESP_STATE_DIR": str(state), "PATH": os.environ["PATH"]}


@pytest.mark.parametrize("shell", Shell)
def test_the_files_are_what_the_command_prints(shell: Shell, run: Run) -> None:
    """A script in completions/ is not what the program's commands and options make."""
    text = (SCRIPTS / FILES[shell][0]).read_text("utf-8")
    assert text == script(shell, PROGRAM), f"make them again: {AGAIN}"
    assert "@" + "TABLE@" not in text
    printed = run("completions", shell)
    assert (printed.code, printed.out) == (0, text)


def test_an_unknown_shell_is_a_usage_error(run: Run) -> None:
    """`completions tcsh` prints something, or does not name the shells."""
    done = run("completions", "tcsh")
    assert (2, "") == (done.code, done.out)
    assert all(shell in done.err for shell in Shell)


def test_every_command_and_option_is_in_every_script() -> None:
    """A command or an option of the program is missing in a shell."""
    for shell in Shell:
        text = script(shell, PROGRAM)
        for command in PROGRAM.walk():
            assert all(word in text for word in command.path)
            for option in command.options:
                for name in option.names:
                    said = name if shell is not Shell.FISH else name.lstrip("-")
                    assert said in text


def nested() -> completions.CommandSpec:
    """Return a program with commands in a group, as `config show` is."""
    app, group = typer.Typer(), typer.Typer()

    @group.command()
    def show(
        profile: Annotated[str, typer.Option("-p", "--profile")] = "",
        path: Annotated[str, typer.Option(metavar="lower|upper")] = "lower",
    ) -> None:
        """Show it: [with] 'marks'."""

    @group.command(hidden=True)
    def secret() -> None:
        """Not shown."""

    @group.command()
    def edit(file: Annotated[str, typer.Argument(metavar="FILE")]) -> None:
        """Edit it."""

    @app.command()
    def other(ref: Annotated[list[str], typer.Argument(metavar="[REF]...")]) -> None:
        """Do another thing."""

    app.add_typer(group, name="config", help="What is configured.")
    return completions.read(typer.main.get_command(app))


def test_the_tree_of_a_nested_program() -> None:
    """A kind of value is read wrongly, or a hidden command is shown."""
    found = {" ".join(c.path): c for c in nested().walk()}
    assert {"", "config", "config show", "config edit", "other"} == set(found)
    path = next(o for o in found["config show"].options if "--path" in o.names)
    assert path.value == completions.ValueSpec(
        "words", "lower|upper", ("lower", "upper")
    )
    assert "file" == found["config edit"].arguments[0].value.kind
    assert found["other"].arguments[0].repeats


@pytest.mark.parametrize("shell", POSIX)
def test_commands_in_a_group(shell: Shell, env: dict[str, str], tmp_path: Path) -> None:
    """`bgresp config sh<TAB>` does not know the commands of a group."""
    scripts = written(tmp_path / "scripts", {shell: script(shell, nested())})
    with typing(shell, env, tmp_path, scripts) as person:
        assert ["config", "show"] == person.tab("bgresp config sh")
        assert ["config", "show", "-p", "work"] == person.tab(
            "bgresp config show -p wo"
        )
        assert ["config", "show", "--path=upper"] == person.tab(
            "bgresp config show --path=up"
        )


@pytest.mark.parametrize("shell", POSIX)
def test_what_a_person_types(shell: Shell, env: dict[str, str], tmp_path: Path) -> None:
    """A word, a value or a file is not completed as it stands in the ledger."""
    (tmp_path / "zz file.txt").touch()
    cases = {
        "wat": ["watch"],
        "help wat": ["help", "watch"],
        "help exi": ["help", "exit-codes"],
        "config remove confi": ["config", "remove", "configured"],
        "watch --show reasoning,to": ["watch", "--show", "reasoning,tools"],
        "watch resp_ab": ["watch", "resp_abc123"],
        "watch pla": ["watch", "plain"],
        "watch @la": ["watch", "@last"],
        "watch -p wo": ["watch", "-p", "work"],
        "watch --profile=lo": ["watch", "--profile=local"],
        "list -p conf": ["list", "-p", "configured"],
        "list --no-prog": ["list", "--no-progress"],
        "list --status queued,comp": ["list", "--status", "queued,completed"],
        "list --color=al": ["list", "--color=always"],
        "list -l team=": ["list", "-l", "team=se arch"],
        "list --model m": ["list", "--model", "m 1"],
        "list --group=ni": ["list", "--group=night's run"],
        "list --group 'ni": ["list", "--group", "night's run"],
        'list --group "ni': ["list", "--group", "night's run"],
        "list --group night\\'s\\ run --op": [
            "list",
            "--group",
            "night's run",
            "--open",
        ],
        "submit zz": ["submit", "zz file.txt"],
        "submit -o zz": ["submit", "-o", "zz file.txt"],
        "submit --body @zz": ["submit", "--body", "@zz file.txt"],
        "completions po": ["completions", "powershell"],
    }
    with typing(shell, env, tmp_path, SCRIPTS) as person:
        for line, wanted in cases.items():
            assert wanted == person.tab(f"bgresp {line}"), line


@pytest.mark.parametrize("shell", POSIX)
def test_hostile_words_are_words(
    shell: Shell, env: dict[str, str], tmp_path: Path
) -> None:
    """A name from a ledger is run by a shell, or arrives as another one."""
    with typing(shell, env, tmp_path, SCRIPTS) as person:
        for name in HOSTILE:
            assert ["get", name] == person.tab(f"bgresp get {name[:2]}")
            assert ["get", name] == person.tab(f"bgresp get '{name[:2]}")
            assert ["get", name] == person.tab(f'bgresp get "{name[:2]}')
        assert ["get", HOSTILE[1]] == person.tab("bgresp get colon:a")
        assert ["get", HOSTILE[1]] == person.tab("bgresp get colon:and@a")
        assert ["get", HOSTILE[0]] == person.tab("bgresp get my\\ jo")
    assert not list(tmp_path.rglob("PWNED"))


@pytest.mark.parametrize("shell", POSIX)
def test_one_reader_and_nothing_else(
    shell: Shell, env: dict[str, str], tmp_path: Path
) -> None:
    """A completion starts Python, or more than one program."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "awk").write_text(
        f'#!/bin/sh\necho awk >>"{tmp_path}/started"\nexec {shutil.which("awk")} "$@"\n'
    )
    (tools / "awk").chmod(0o700)
    with typing(shell, {**env, "PATH": str(tools)}, tmp_path, SCRIPTS) as person:
        assert ["watch", "resp_abc123"] == person.tab("bgresp watch resp_ab")
        assert ["sync"] == person.tab("bgresp syn")
        assert "awk\n" == (tmp_path / "started").read_text()
        assert "not found" not in "".join(person.terminal.lines)


@pytest.mark.parametrize("shell", POSIX)
def test_without_an_index(shell: Shell, tmp_path: Path) -> None:
    """A missing ledger makes a completion say something, or stops the static words."""
    env = {"BGRESP_STATE_DIR": str(tmp_path / "none"), "PATH": os.environ["PATH"]}
    with typing(shell, env, tmp_path, SCRIPTS) as person:
        assert ["watch", "x"] == person.tab("bgresp watch x")
        assert ["list", "--open"] == person.tab("bgresp list --op")


@pytest.mark.parametrize("shell", POSIX)
@pytest.mark.parametrize("place", ["XDG_STATE_HOME", "HOME"])
def test_where_the_ledger_lies(shell: Shell, place: str, tmp_path: Path) -> None:
    """A script looks for the ledger elsewhere than bgresp does."""
    home = tmp_path / "a home"
    chosen = {"HOME": str(home), "PATH": os.environ["PATH"]}
    if place == "XDG_STATE_HOME":
        chosen[place] = str(tmp_path / "xdg")
    asking = "import os; from bgresp.config.places import state_path as s; print(s(os.environ))"
    state = subprocess.check_output(
        [sys.executable, "-c", asking],
        env={**chosen, "PYTHONPATH": str(ROOT)},
        text=True,
        timeout=60,
    ).strip()
    keep(Path(state), "resp_here")
    with typing(shell, chosen, tmp_path, SCRIPTS) as person:
        assert ["watch", "resp_here"] == person.tab("bgresp watch resp_h")


@pytest.mark.parametrize("shell", [Shell.BASH, Shell.FISH])
def test_of_many_the_newest_are_offered(
    shell: Shell, state: Path, env: dict[str, str]
) -> None:
    """Hundreds of ids are thrown at a person, or what all begin with is said wrongly."""
    keep(state, "resp_xa")
    for number in range(150):
        keep(state, f"resp_xm{number:03}")
    script_ = SCRIPTS / FILES[shell][0]
    found = [
        w.partition("\t")[0]
        for w in offered(shell, "bgresp watch resp_x", env, script_)
    ]
    assert {f"resp_xm{number:03}" for number in range(51, 150)} <= set(found)
    assert {"resp_xa", "resp_xm149"} <= set(found)
    assert len(found) < 110
    assert "resp_xa" in offered(shell, "bgresp watch resp_xa", env, script_)[0]


def test_fish_says_what_a_job_is(env: dict[str, str]) -> None:
    """A job is offered without its status and name."""
    found = offered(Shell.FISH, "bgresp watch resp_ab", env, SCRIPTS / "bgresp.fish")
    assert ["resp_abc123\topen plain"] == found
    for words in ("--sort ag", "--fields ag", "--status queu"):
        (word,) = offered(
            Shell.FISH, f"bgresp list {words}", env, SCRIPTS / "bgresp.fish"
        )
        assert "\t" not in word.rstrip("\t")


def test_powershell_can_parse_its_script() -> None:
    """The script of PowerShell is not PowerShell."""
    powershell = pytest.importorskip("tree_sitter_powershell")
    tree_sitter = pytest.importorskip("tree_sitter")
    parser = tree_sitter.Parser(tree_sitter.Language(powershell.language()))
    source = (SCRIPTS / "bgresp.ps1").read_bytes()
    assert not parser.parse(source).root_node.has_error
    assert parser.parse(source.replace(b"@{", b"@", 1)).root_node.has_error
    assert parser.parse(source[:-3]).root_node.has_error


def test_powershell_completes(env: dict[str, str]) -> None:
    """PowerShell's own engine offers something else, or quotes it wrongly."""
    if shutil.which("pwsh") is None:
        pytest.skip("pwsh is not installed; its script was parsed by a grammar only")
    asking = (
        f". '{SCRIPTS}/bgresp.ps1'; "
        "(TabExpansion2 'bgresp watch resp_ab' 20).CompletionMatches.CompletionText; "
        "(TabExpansion2 'bgresp watch my' 15).CompletionMatches.CompletionText"
    )
    done = subprocess.run(
        ["pwsh", "-NoProfile", "-NonInteractive", "-Command", asking],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    quoted = "'" + HOSTILE[0].replace("'", "''") + "'"
    assert ["resp_abc123", quoted] == done.stdout.splitlines()


def test_a_shell_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell that is missing fails a test instead of being named."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(pytest.skip.Exception, match="zsh is not installed"):
        needed(Shell.ZSH)
