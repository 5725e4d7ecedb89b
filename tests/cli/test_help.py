"""Help: each command's, the topics, the man page; fast, and kept as golden texts."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from bgresp import __version__
from bgresp.cli.app import VERBS, Verb, build
from bgresp.cli.commands import help_
from bgresp.cli.commands.help_ import escaped, man_page, roff_line
from bgresp.cli.options import Common, Refs
from bgresp.cli.panels import ORDER, sections
from bgresp.config.files import built_in
from bgresp.core.dialect_schema import build as build_dialect
from bgresp.core.errors import MEANINGS
from tests.cli.ledger import seed
from tests.cli.processes import Each, endpoint
from tests.cli.terminal import Terminals
from tests.command import ROOT as CHECKOUT
from tests.command import Changes, Run, empty_config, environment
from tests.fakeanswers import Snapshot
from tests.fakeserver import FakeServer
from tests.fakewire import FOX
from tests.golden import FOLDER, Golden

ROOT: Any = build().whole()
WIDE = {"COLUMNS": "80"}
FEW, FEW_THAT_READ = 31, 35  # modules of ours, packages and __main__ among them
# What reading the ledger does without.
SLOW = (
    *("typer", "httpx", "asyncio", "subprocess", "dataclasses", "inspect"),
    *("platformdirs", "importlib.resources", "tempfile", "traceback"),
)
FEW_STANDARD = 60  # modules of the library and of others, beside those of `pass`
# What a submit that does not wait does without.
FOLLOWS = (
    *("rich", "click", "tomllib", "httpx", "httpcore", "anyio", "http.client"),
    *("email", "bgresp.cli.following", "bgresp.cli.refs"),
    *("bgresp.core.machine", "bgresp.core.observer", "bgresp.render.columns"),
    *("bgresp.engine.polling", "bgresp.engine.resubmit", "bgresp.engine.settle"),
    *("bgresp.engine.tracker", "bgresp.ledger.upkeep"),
)
FEW_THAT_SUBMIT = 54  # modules of ours
HEAVY = ("httpx", "rich.live", "rich.console", "starlette", "uvicorn", "pydantic")


def paths(group: Any = ROOT, *before: str) -> list[tuple[str, ...]]:
    """Return the words of every command, those of groups too."""
    found: list[tuple[str, ...]] = []
    for name, command in group.commands.items():
        found.append((*before, name))
        if hasattr(command, "commands"):
            found += paths(command, *before, name)
    return found


def test_every_help_is_the_one_that_was_looked_at(each: Each, golden: Golden) -> None:
    """Each command's --help is its golden text, at 80 columns; none is left over."""
    commands = [(), *paths()]
    done = each(*([WIDE, *words, "--help"] for words in commands))
    for words, ran in zip(commands, done, strict=True):
        assert (0, "") == (ran.code, ran.err), words
        golden("help/" + "-".join(("bgresp", *words)), ran.out)
    names = {"-".join(("bgresp", *words)) + ".txt" for words in commands}
    assert names == {path.name for path in (FOLDER / "help").iterdir()}


def test_help_and_scripts_as_json(bgresp: Run) -> None:
    """Every command has --json: of a text, an object that holds it."""
    for *words, name in (
        ["help", "refs", "text"],
        ["help", "text"],
        ["help", "--man", "text"],
        ["completions", "fish", "script"],
    ):
        plain, record = bgresp(*words), bgresp(*words, "--json")
        assert (0, "", 0, "") == (plain.code, plain.err, record.code, record.err)
        found = json.loads(record.out)
        assert (f"bgresp.{words[0]}/1", plain.out) == (found["schema"], found[name])
        one = bgresp(*words, "--jsonl", "--fields", name)
        assert {name: plain.out} == json.loads(one.out)
    assert 2 == bgresp("help", "--fields", "id").code


@pytest.mark.parametrize("width", [20, 40, 80, 200])
@pytest.mark.parametrize("topic", help_.topics())
def test_topics_fit_a_terminal(topic: str, width: int) -> None:
    """No line of a topic is wider than the terminal, and nothing is left out."""
    text = help_.told(topic) or ""
    lines = help_.drawn(text, width=width, colour=False)
    assert all(len(line) <= width for line in lines)
    if width >= 80:
        asked = re.findall(r"\w+", re.sub(r"^```\w+", "", text, flags=re.MULTILINE))
        shown = re.findall(r"\w+", " ".join(lines))
        assert set() == set(asked) - set(shown)
    if topic == "endpoints" and width >= 80:
        joined = " ".join(lines)
        assert all(name in joined for name in built_in())
        urls = (build_dialect(name, built_in()).base_url for name in built_in())
        assert all(str(url) in joined for url in urls)


def test_a_terminal_gets_no_markdown(terminal: Terminals) -> None:
    """On a terminal a topic is drawn: no bars, no backticks, in colour."""
    it = terminal("help", "refs", size=(80, 50))
    it.finish()
    assert b"**" not in it.raw
    assert b"`" not in it.raw
    assert b"|" not in it.raw
    assert b"\x1b[1m" in it.raw
    assert it.shows("a unique beginning of it: 4 characters or more, resp_ or not")


def listed(verbs: tuple[Verb, ...] = VERBS) -> list[Verb]:
    """Return every line of the list of commands, those below groups too."""
    return [one for verb in verbs for one in (verb, *listed(verb.verbs))]


@pytest.mark.parametrize("verb", listed(), ids=lambda verb: verb.name)
def test_the_list_says_what_a_command_says_of_itself(verb: Verb) -> None:
    """A command's line in `bgresp --help` is the first sentence of its own help."""
    first, _, _ = (verb.load().help or "").partition("\n\n")
    assert verb.help == " ".join(first.split())


@pytest.mark.parametrize(
    ("words", "imported"),
    [("--help", []), ("list --json", ["bgresp.cli.commands.list"])],
)
def test_a_command_imports_itself_alone(
    words: str, imported: list[str], state: Path
) -> None:
    """What is typed imports the module of that command, and of no other."""
    every = {f"bgresp.cli.{verb.place.partition(':')[0]}" for verb in listed()}
    env = {"BGRESP_STATE_DIR": str(state)}
    assert str(imported) == heavy(words, env, modules=tuple(every))


def test_a_command_that_is_none_names_the_one_that_may_be_meant(each: Each) -> None:
    """A misspelled command exits 2 with the right one and the help of its group."""
    top, group = each(["lst"], ["config", "ad"])
    assert (2, "") == (top.code, top.out) == (group.code, group.out)
    assert "no such command: 'lst' (did you mean 'list'? bgresp --help)" in top.err
    assert "'ad' (did you mean 'add'? bgresp config --help)" in group.err


@pytest.mark.parametrize("words", paths(), ids="-".join)
def test_every_command_has_an_example(words: tuple[str, ...]) -> None:
    """A command's help shows how it is typed, and its options stand under headings."""
    command = ROOT
    for word in words:
        command = command.commands[word]
    if not hasattr(command, "commands"):
        assert f"bgresp {words[0]}" in command.help.partition("Examples:")[2]
    context = typer.Context(command, info_name="bgresp")
    assert set(sections(command, context)) <= set(ORDER)


@pytest.mark.parametrize(
    ("shared", "topic"), [(Common, "options"), (Refs, "refs")], ids=["common", "refs"]
)
def test_what_commands_share_is_told_once(shared: Any, topic: str) -> None:
    """An option that every command's help only points to is told nowhere."""
    text = help_.told(topic) or ""
    hints = [inspect.get_annotations(shared)[name] for name in shared._fields]
    names = [name for hint in hints for name in hint.__metadata__[0].names]
    assert set() == {name for name in names if f"`{name}" not in text}


def test_a_command_s_own_options_come_first(each: Each) -> None:
    """What all commands take stands between what a reader looks for."""
    watch, add = each([WIDE, "watch", "-h"], [WIDE, "config", "add", "-h"])
    options = re.findall(r"^  (?:-\w, )?(--[\w-]+)", watch.out, re.MULTILINE)
    assert "--resume" == options[0]
    assert not {"--group", "--json", "--color"} & set(options)
    *_, refs, shared = watch.out.splitlines()
    assert ("bgresp help refs", "bgresp help options") == (refs[-16:], shared[-19:])
    assert "--base-url URL" in add.out


def test_help_is_help_wherever_it_is_asked(each: Each) -> None:
    """`help COMMAND` is its --help; no word at all tells the five commands."""
    asked, same, inner, both, short = each(
        [WIDE, "help", "submit"],
        [WIDE, "submit", "-h"],
        [WIDE, "help", "config", "add"],
        [WIDE, "help", "config"],
        [WIDE],
    )
    assert asked.out == same.out
    assert inner.out.startswith("Usage: bgresp config add ")
    assert both.out.startswith("Usage: bgresp config ")
    assert "The keys of a profile:" in both.out
    assert 5 == len(re.findall("^  bgresp ", short.out, re.MULTILINE))


def test_topics(each: Each) -> None:
    """Every topic is told in a pipe as it is written; a mistyped one is a hint."""
    every = help_.topics()
    index, bad, alias, *done = each(
        *([WIDE, "help", *words] for words in ([], ["exit-code"], ["dialects"])),
        *([WIDE, "help", topic] for topic in every),
    )
    said = {topic: ran.out for topic, ran in zip(every, done, strict=True)}
    assert all(f"\n  {topic} " in index.out for topic in every)
    assert (2, "", 1) == (bad.code, bad.out, bad.err.count("\n"))
    assert "did you mean 'exit-codes'?" in bad.err
    assert said["endpoints"] == alias.out
    for topic, text in said.items():
        assert text.startswith(f"# {help_.title(topic)}\n\n")
        assert not re.search(r"<!--|\.md\)|\n\n$", text)


def test_every_variable_is_told(run: Run) -> None:
    """What bgresp reads of the environment stands in `help environment`."""
    files = (CHECKOUT / "bgresp").rglob("*.py")
    named = {
        n
        for file in files
        for n in re.findall(r"BGRESP_[A-Z_]+", file.read_text("utf-8"))
    }
    told = run("help", "environment").out
    assert set() == {name for name in named if f"`{name}`" not in told}


@pytest.mark.parametrize(
    "words", ["", "--help", "submit -h", "help endpoints", "help fields", "help --man"]
)
def test_help_is_fast(words: str) -> None:
    """No help pays for the network stack, nor for Rich's console."""
    assert "[]" == heavy(words)


def test_what_asks_nobody_is_fast(state: Path, tmp_path: Path) -> None:
    """Nor does what the ledger alone can tell: of jobs that are over and saved."""
    seed(state, {"status": "completed", "text": FOX})
    config = empty_config(tmp_path / "config.toml")
    env = {"BGRESP_STATE_DIR": str(state), "BGRESP_CONFIG": config}
    for words in ("list --refresh", "status", "get"):
        assert "[]" == heavy(words, env), words


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version_is_faster(option: str, each: Each) -> None:
    """What scripts ask first imports nothing of ours, and says what each command says."""
    assert ["bgresp", "bgresp.__main__"] == ours(option)
    assert [] == imported(option, {}, but="bgresp")
    alone, of_a_command = each([option], ["list", option])
    assert (0, f"bgresp {__version__}\n", "") == (alone.code, alone.out, alone.err)
    assert alone == of_a_command


def test_the_ledger_alone_is_few_modules(state: Path, tmp_path: Path) -> None:
    """What asks nobody imports no more than 35 modules of ours, and no TOML."""
    usage = {"total_tokens": 3}
    seed(
        state,
        {
            "status": "completed",
            "text": FOX,
            "usage": usage,
            "ended_with": "text",  # as this version writes it: nothing is derived
        },
        {"status": "queued"},
    )
    config = empty_config(tmp_path / "config.toml")
    env = {"BGRESP_STATE_DIR": str(state), "BGRESP_CONFIG": config}
    for words in ("list", "list --json --open", "status --local @2", "wait @2"):
        found = ours(words, env)
        assert len(found) <= FEW, (words, len(found), found)
        assert "bgresp.config.files" not in found
        assert "[]" == heavy(words, env, modules=SLOW).splitlines()[-1], words
        others = imported(words, env, but="bgresp")
        assert len(others) <= FEW_STANDARD, (words, len(others), others)
    found = ours("get @2", env)
    assert len(found) <= FEW_THAT_READ, (len(found), found)
    acts = ("bgresp.api", "bgresp.engine")
    assert not [name for name in found if name.startswith(acts)]
    assert "[]" == heavy("get @2", env, modules=SLOW)


def test_a_submit_imports_nothing_that_follows(
    server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """One that does not wait loads neither trackers nor views, nor builds what it can.

    A dataclass costs up to a millisecond, a named tuple a fifth of that.
    """
    server.script("create", Snapshot("queued"), Snapshot("queued"))
    env = {**endpoint(server), "BGRESP_STATE_DIR": str(state)}
    env["BGRESP_CONFIG"] = empty_config(tmp_path / "config.toml")
    built("submit -t hi -m m", env)  # a new folder is looked through once
    modules, dataclasses = built("submit -t hi -m m", env)
    assert not {*modules} & {*FOLLOWS}
    found = [name for name in modules if name.startswith("bgresp")]
    assert len(found) <= FEW_THAT_SUBMIT, (len(found), found)
    assert [] == [name for name in dataclasses if not name.startswith("bgresp.api.")]


def test_httpx_comes_without_its_command_line() -> None:
    """What speaks to proxies imports click or rich, as httpx has a command line."""
    script = (
        "import sys, bgresp.api.proxied, httpx; httpx.Client;"
        "print(sorted({'httpx._main', 'click', 'rich', 'pygments'} & {*sys.modules}))"
    )
    argv = [sys.executable, "-c", script]
    assert b"[]\n" == subprocess.run(argv, capture_output=True, check=True).stdout


def ours(words: str, env: Changes | None = None) -> list[str]:
    """Run a command to its end; return the modules of this package that it imported."""
    found = imported(words, env or {}, but="")
    return [name for name in found if name.startswith("bgresp")]


def stderr_of(script: str, words: str, env: Changes) -> str:
    """Run a command by a script, to its end; return what stood on stderr."""
    done = subprocess.run(
        [sys.executable, "-c", script, *words.split()],
        capture_output=True,
        text=True,
        check=True,
        env=environment(env),
    )
    return done.stderr


def imported(words: str, env: Changes, *, but: str) -> list[str]:
    """Run a command to its end; return what it imported, but the modules of a package."""
    script = (
        "import atexit, sys; there = {*sys.modules}; from bgresp.__main__ import main;"
        "tell = lambda: print(*sys.modules.keys() - there, file=sys.stderr);"
        "atexit.register(tell); main()"
    )
    told = stderr_of(script, words, env)
    names = told.splitlines()[-1].split() if told.strip() else []
    return sorted(name for name in names if not (but and name.startswith(but)))


def built(words: str, env: Changes) -> tuple[list[str], list[str]]:
    """Run a command to its end; return all modules, and the dataclasses of ours."""
    script = (
        "import atexit, json, sys; from bgresp.__main__ import main;"
        "ours = lambda: [m for n, m in sys.modules.items() if n.startswith('bgresp')];"
        "found = lambda: [f'{m.__name__}.{k}' for m in ours() for k, v in vars(m).items()"
        " if '__dataclass_fields__' in getattr(v, '__dict__', ())"
        " and v.__module__ == m.__name__];"
        "tell = lambda: print(json.dumps([[*sys.modules], found()]), file=sys.stderr);"
        "atexit.register(tell); main()"
    )
    modules, dataclasses = json.loads(stderr_of(script, words, env).splitlines()[-1])
    return modules, dataclasses


def heavy(
    words: str, env: Changes | None = None, modules: tuple[str, ...] = HEAVY
) -> str:
    """Run a command to its end; return which of the heavy modules it imported."""
    script = (
        "import sys; from bgresp.cli.main import run; code = run(sys.argv[1:]);"
        f"print(sorted(set({modules!r}) & set(sys.modules)), file=sys.stderr);"
        "sys.exit(code)"
    )
    return stderr_of(script, words, env or {}).strip()


def test_the_man_page_tells_everything() -> None:
    """Each command, each option and each exit code stands in the man page."""
    text = man_page(ROOT)
    for words in paths():
        assert f".SS {escaped(' '.join(('bgresp', *words)))}\n" in text
    for option in ("--resume", "--max-output-tokens", "--timeline", "--allow-http"):
        assert escaped(option) in text
    assert all(f"\\fB{int(code)}\\fR" in text for code in MEANINGS)


def test_a_line_of_roff_is_text() -> None:
    """What would be a request or an escape of roff is written out."""
    assert r"\&.SH no" == roff_line(".SH no")
    assert r"\&'br" == roff_line("'br")
    assert r"a\eb\-c" == roff_line("a\\b-c")


@pytest.fixture
def manual(run: Run, tmp_path: Path) -> Path:
    """Write the man page into a file."""
    made = tmp_path / "bgresp.1"
    made.write_text(run("help", "--man").out)
    return made


def rendered(*command: str) -> subprocess.CompletedProcess[str]:
    """Run a tool of man pages, if it is there."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    chosen = {"MANWIDTH": "80", "LC_ALL": "C.UTF-8", "MANPAGER": "cat"}
    env = environment(chosen)
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def test_groff_has_nothing_to_say_of_the_man_page(manual: Path) -> None:
    """No request is unknown, no line cannot be set."""
    done = rendered("groff", "-ww", "-man", "-Tutf8", "-z", str(manual))
    assert (0, "") == (done.returncode, done.stderr)


def test_mandoc_misses_only_a_date(manual: Path) -> None:
    """A page made from the commands of the day has no date of its own."""
    done = rendered("mandoc", "-Tlint", "-Wwarning", str(manual))
    said = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert ([], "") == (said, done.stderr)


def test_man_shows_the_man_page(manual: Path) -> None:
    """`man -l` renders it without a warning, quotes and dashes as they are typed."""
    done = rendered("man", "--warnings", "-l", str(manual))
    assert (0, "") == (done.returncode, done.stderr)
    assert "SYNOPSIS" in done.stdout
    assert "bgresp submit -t 'Why is the sky blue?' -m gpt-5 --watch" in done.stdout
    shown = re.sub(r"\x1b\[[0-9;]*m|.\x08", "", done.stdout)
    assert not [line for line in shown.splitlines() if len(line) > 80]
