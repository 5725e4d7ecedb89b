"""Bad input: one line on stderr, the right exit code, nothing sent, nothing written."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.ledger import last, picture, seed
from tests.cli.processes import Each
from tests.command import Run, has_bug
from tests.fakeserver import FakeServer

Case = tuple[int, str, str]

PROMPTS: list[Case] = [
    (
        2,
        "nothere.txt: no such file (a prompt on the command line needs -t)",
        "nothere.txt",
    ),
    (2, "empty.txt: the prompt is empty", "empty.txt"),
    (2, "folder: is a directory", "folder"),
    (2, "latin.txt: not UTF-8 (byte 1)", "latin.txt"),
    (2, "nul.txt: the prompt has NUL bytes: not a text file", "nul.txt"),
    (2, "locked/x: Not a directory", "good.txt/../locked/x"),
    (2, "nothere.txt: no such file", "good.txt nothere.txt"),
    (2, "stdin: the prompt is empty", "-"),
    (2, "stdin can be read once only", "- -"),
    (2, "-t takes one FILE, not 2", "good.txt good.txt -t x"),
    (2, "-t is given twice: a prompt has one text", "-t x -t y"),
    (2, "-t is given twice", "good.txt -t x --text x"),
]
OPTIONS: list[Case] = [
    (2, "--watch takes one FILE, not 2", "good.txt good.txt --watch"),
    (2, "-n takes one FILE, not 2", "good.txt good.txt -n x"),
    (2, "-o takes one FILE, not 2", "good.txt good.txt -o x"),
    (2, "--watch and --wait exclude each other", "good.txt --watch --wait"),
    (2, "-o good.txt: exists already (--force replaces it)", "good.txt -o good.txt"),
    (2, "-o link: exists already", "good.txt -o link"),
    (2, "-o no/file: there is no directory no", "good.txt -o no/file"),
    (2, "-o folder: is a directory", "good.txt -o folder --force"),
    (2, "--set takes PATH=VALUE, not 'a'", "good.txt --set a"),
    (2, "--body: not JSON", "good.txt --body {"),
    (2, "--body: must be a JSON object", "--body [1]"),
    (2, "-s @nothere: no such file", "good.txt -s @nothere"),
    (2, "--metadata takes K=V, not 'a'", "good.txt --metadata a"),
    *(
        (2, rf"{option}: 'k=\udcff' is not UTF-8", f"good.txt {option} k=\udcff")
        for option in ("--metadata", "--set", "-s", "-m", "--previous", "--attach")
    ),
    (2, "not a duration: 'soon'", "good.txt --watch --timeout soon"),
    (2, "--timeout needs --watch, --wait or -o", "good.txt --timeout 3"),
    (2, "--show needs --watch", "good.txt --show tools --wait"),
    (
        2,
        "--show takes reasoning, tools, commentary or all, not 'x'",
        "good.txt -w --show x",
    ),
    (2, "--show takes", "good.txt -w --show x --dry-run"),
    (2, "--force needs -o", "good.txt --force"),
    (2, "the name '@last' would be taken for a reference", "good.txt -n @last"),
    (2, "the name '-' would be taken for a reference", "good.txt -n -"),
    (2, "not a reference: '@0' (@last or @1 is the", "good.txt --previous @0"),
    (2, "no option takes a key: `ps` would show it", "good.txt --api-key pw"),
    (2, "export OPENAI_API_KEY=", "good.txt --api-key=pw"),
    (2, "--key takes a name for one job, and this looks", "good.txt --key sk-pw"),
    (2, "this looks like an API key", "good.txt --dry-run --key=sk-proj-pw"),
    (2, "-H takes 'K: V'", "good.txt -H bad"),
    (2, "--json and --jsonl exclude each other", "good.txt --json --jsonl"),
    (2, "--color takes auto, always or never", "good.txt --color pink"),
    (3, "there is no @9", "good.txt --previous @9"),
    (3, "'resp_00' is ambiguous", "good.txt --previous resp_00"),
    (4, "no profile 'nobody'", "good.txt -p nobody"),
    (4, "not a base URL: 'ftp://x'", "good.txt --base-url ftp://x"),
    (
        4,
        "never sent over http:// to example.com",
        "good.txt --base-url http://example.com",
    ),
    (4, "the base URL holds a user name", "good.txt --base-url https://u:pw@x"),
]


@pytest.fixture
def folder(tmp_path: Path, state: Path) -> Path:
    """Fill a working folder with prompts of every kind, the ledger with two jobs."""
    (tmp_path / "good.txt").write_text("good")
    (tmp_path / "empty.txt").write_text(" \n\t\n")
    (tmp_path / "folder").mkdir()
    (tmp_path / "latin.txt").write_bytes("für".encode("latin-1") + b"!")
    (tmp_path / "nul.txt").write_bytes(b"a\0b")
    (tmp_path / "locked").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    seed(state, {}, {})
    return tmp_path


def test_a_submit_that_cannot_be(each: Each, server: FakeServer, folder: Path) -> None:
    """Each mistake is one line that names it, before anything is sent or written."""
    before = picture(folder)
    cases = [*PROMPTS, *OPTIONS]
    done = each(*(["submit", *arguments.split()] for _, _, arguments in cases))
    for (code, said, arguments), ran in zip(cases, done, strict=True):
        if "--json" in arguments:
            line = json.loads(ran.err)["message"]
        else:
            line = ran.err.removeprefix("bgresp: ")
        assert (code, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran
        assert said in line
        assert not has_bug(ran.err)
        assert "pw" not in ran.err
    assert ((), before) == (server.requests, picture(folder))


def test_nothing_is_configured(bare: Run, state: Path) -> None:
    """Without key and profile: exit 4, and the two ways out; unset keys are named."""
    ran = bare("submit", "-t", "x")
    assert (4, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert "OPENAI_API_KEY" in ran.err
    assert "-p local" in ran.err
    ran = bare("status", "resp_foreign")
    assert (3, "", True) == (ran.code, ran.out, "-p PROFILE" in ran.err)
    ran = bare("submit", "-t", "x", "-p", "openai", "--json")
    error = json.loads(ran.err)
    assert (4, "", 4, "config") == (ran.code, ran.out, error["code"], error["kind"])
    assert "OPENAI_API_KEY is not set" in error["message"]
    assert not state.exists()


CONFIGS = [
    ("default_profile = 'a'\n[profiles.a\nx = 1\n", "(at line 2, column 12)"),
    ("[profiles.a]\nmodell = 'x'\n", "profile 'a' has an unknown key 'modell'"),
    ("[profiles.a]\nmodel = 1\n", "profile 'a': 'model' must be text"),
    ("[profile.a]\n", "unknown key 'profile'"),
    (
        "default_profile = 'gone'\n",
        "'default_profile' is 'gone', which is not a profile",
    ),
    (
        "[dialects.d]\nextends = 'nobody'\n[profiles.a]\ndialect='d'\n",
        "no dialect 'nobody'",
    ),
]


def test_a_malformed_configuration(
    each: Each, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """A mistake in config.toml exits 4 and names the file and the line or key."""
    commands: list[list[Any]] = []
    for number, (text, _) in enumerate(CONFIGS):
        path = tmp_path / str(number) / "config.toml"
        path.parent.mkdir()
        path.write_text(text)
        chosen = ["-p", "a"] if "profiles.a]" in text else []
        commands.append([{"BGRESP_CONFIG": str(path)}, "submit", "-t", "x", *chosen])
    done = each(*commands)
    for number, ((_, said), ran) in enumerate(zip(CONFIGS, done, strict=True)):
        assert (4, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran
        assert said in ran.err
        path = tmp_path / str(number) / "config.toml"
        assert str(path) in ran.err or said.startswith("no ")
    path.write_text("[profiles.a]\n")
    (path.parent / "profiles").mkdir()
    (path.parent / "profiles" / "a.toml").write_text("")
    (ran,) = each([{"BGRESP_CONFIG": str(path)}, "submit", "-t", "x"])
    assert (4, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert f"is both in {path} and in {path.parent}/profiles/a.toml" in ran.err
    assert ((), False) == (server.requests, state.exists())


def test_the_line_of_an_unfinished_configuration(bare: Run, tmp_path: Path) -> None:
    """A config.toml that just ends is named with its last line."""
    path = tmp_path / "config" / "config.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text("[profiles.a]\nmodel = [\n")
    assert "line " in bare("submit", "-t", "x").err


def test_a_ledger_that_cannot_be_written(
    bgresp: Run, server: FakeServer, state: Path, tmp_path: Path
) -> None:
    """Where the intent cannot be kept nothing is sent: exit 1, one line, the path."""
    state.write_text("a file in the way")
    for command in (
        ("submit", "-t", "x"),
        ("submit", "-t", "x", "-p", "local"),
        ("list",),
    ):
        ran = bgresp(*command)
        assert (1, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
        assert f"{state} is not a folder" in ran.err
        assert "(export BGRESP_STATE_DIR=FOLDER, or unset BGRESP_STATE_DIR)" in ran.err
    state.unlink()
    seed(state, {"v": 2})
    ran = bgresp("submit", "-t", "x")
    assert (1, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert "newer bgresp" in ran.err
    assert ((), 2) == (server.requests, last(state)["v"])


@pytest.mark.parametrize(
    ("typed", "right"),
    [
        ("-p work list", "bgresp list -p work"),
        ("--json list --all", "bgresp list --json --all"),
        ("config --profile=work show", "bgresp config show --profile=work"),
        ("-H X-Key:hunter2 list", "bgresp list -H"),
        ("--frobnicate list", None),
        ("-p work", None),
    ],
)
def test_an_option_before_its_command(bare: Run, typed: str, right: str | None) -> None:
    """An option that its command takes is shown behind it; a secret is not shown."""
    ran = bare(*typed.split())
    assert (2, "") == (ran.code, ran.out)
    hint = f"options come after the command: {right}"
    assert (right is not None) == (hint in ran.err)
    assert "hunter2" not in ran.err


def test_usage(bare: Run, state: Path) -> None:
    """-h prints the help; no command a short one; what is none is a line and exit 2."""
    short, help_ = bare(), bare("--help")
    assert (0, "", 0, "") == (short.code, short.err, help_.code, help_.err)
    assert len(short.out.splitlines()) < 20
    verbs = ("submit", "status", "watch", "cancel", "list", "wait", "get", "serve")
    assert all(f"\n  {verb} " in help_.out for verb in verbs)
    ran = bare("sumbit")
    assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert "sumbit" in ran.err
    ran = bare("cancel")
    assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    ran = bare("submit", "-h")
    assert (0, "", True) == (ran.code, ran.err, "--previous REF" in ran.out)
    assert not state.exists()
