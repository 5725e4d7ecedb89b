"""`bgresp config`: where it lies, what holds and why, and profiles in files."""

import json
import stat
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.command import Run

NOTHING = {"BGRESP_API_KEY": None, "BGRESP_BASE_URL": None}
WORK = (
    "add",
    "work",
    "--base-url",
    "https://llm.example/v1",
    "--api-key-env",
    "MY_KEY",
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return where config.toml is looked for; it is not there yet."""
    return tmp_path / "own"


@pytest.fixture
def chosen(chosen: dict[str, str], folder: Path) -> dict[str, str]:
    """Return the variables of every command, with a config.toml that is not there."""
    return {**chosen, "BGRESP_CONFIG": str(folder / "config.toml")}


@pytest.fixture
def config(bgresp: Run, folder: Path) -> Any:
    """Run `bgresp config ARGS` without an endpoint; check its code and its talk."""

    def go(*args: str, code: int = 0, said: str = "", **env: str | None) -> str:
        ran = bgresp("config", *args, env={**NOTHING, **env})
        assert (code, True) == (ran.code, said in ran.err), ran
        assert ran.err.count("\n") == bool(ran.err) or not code
        return ran.out

    return go


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.write_text(text)
    return path


def shown(config: Any, *args: str, **env: str) -> dict[str, tuple[Any, str]]:
    found = json.loads(config("show", *args, "--json", **env))
    assert "bgresp.config/1" == found["schema"]
    return {k: (v["value"], v["origin"]) for k, v in found["values"].items()}


def test_without_a_verb_help_is_printed(config: Any) -> None:
    """`bgresp config` alone names its verbs."""
    out = config()
    assert all(
        verb in out for verb in ("path", "show", "init", "add", "remove", "edit")
    )


def test_path_names_the_places(config: Any, folder: Path, state: Path) -> None:
    """Config, profiles and ledger are named whether they are there or not."""
    places = {
        "config": str(folder / "config.toml"),
        "profiles": str(folder / "profiles"),
        "state": str(state),
    }
    assert places == dict(line.split("\t") for line in config("path").splitlines())
    assert places == json.loads(config("path", "--json"))
    assert not folder.exists()
    assert not state.exists()


def test_init_writes_once(config: Any, folder: Path) -> None:
    """A config.toml that is there is left alone, whatever it is: exit 4 names it."""
    path = folder / "config.toml"
    assert f"{path}\n" == config("init")
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert {} == tomllib.loads(path.read_text())
    path.write_text("# mine\n")
    config("init", code=4, said=str(path))
    assert "# mine\n" == path.read_text()
    path.unlink()
    path.symlink_to(folder / "nowhere")
    config("init", code=4, said=str(path))
    assert not (folder / "nowhere").exists()


def test_what_init_explains_is_true(config: Any, folder: Path) -> None:
    """Every line of the example, made real, is a configuration without a mistake."""
    config("init")
    path = folder / "config.toml"
    lines = path.read_text().splitlines()
    real = [line[1:] if line[1:2] not in {"", " "} else line for line in lines]
    path.write_text("\n".join(real))
    found = shown(config, MY_KEY="k", WORK_KEY="k")
    assert ("work", f"{path}: default_profile") == found["profile"]
    assert ("user-7", f"{path}: profiles.work.vars.end_user") == found["vars.end_user"]
    mine = shown(config, "-p", "mine", "-v")
    assert ("X-API-Key", f"{path}: dialects.mine.auth.header") == mine[
        "dialect.auth.header"
    ]


def test_add_writes_a_profile_that_works(config: Any, folder: Path) -> None:
    """A profile is a private file of its own, and holds only what was given."""
    path = folder / "profiles" / "work.toml"
    assert f"{path}\n" == config(*WORK, said="MY_KEY is not set yet: export MY_KEY=...")
    expected = {
        "dialect": "openai",
        "base_url": "https://llm.example/v1",
        "api_key_env": "MY_KEY",
    }
    assert expected == tomllib.loads(path.read_text())
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)
    assert not (folder / "config.toml").exists()
    found = shown(config, "-p", "work", MY_KEY="sk-hidden-0123")
    assert ("set (env MY_KEY)", f"{path}: api_key_env") == found["key"]
    config(*WORK, code=4, said=f"work' is there already: {path}", MY_KEY="k")
    more = ("--force", "-m", "large", "--var", "organization=o", "--allow-http")
    record = json.loads(config(*WORK, *more, "-H", "X-A: b", "--json", MY_KEY="k"))
    assert {"profile": "work", "path": str(path)} == record
    added = {"model": "large", "allow_http": True, "headers": {"X-A": "b"}}
    added |= {"vars": {"organization": "o"}}
    assert {**expected, **added} == tomllib.loads(path.read_text())
    assert [path] == list(path.parent.iterdir())


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (("x", "--dialect", "opnai"), 4, "did you mean openai?"),
        (("x", "--base-url", "ftp://a"), 4, "not a base URL"),
        (("x", "--base-url", "https://u:hunter2@a/v1"), 4, "password"),
        (("x", "--base-url", "http://a.example/v1"), 4, "never sent over http://"),
        (("x", "--base-url", "https://{var.region}.example"), 4, "needs region"),
        (("x", "--api-key-env", "sk-hunter2"), 2, "the name of a variable"),
        (("x", "--var", "novalue"), 2, "--var takes K=V"),
        (("x", "-p", "y"), 2, "-p has no meaning"),
        ((), 2, "Missing argument"),
        (("../x",), 2, "not a name for a profile"),
        (("/etc/x",), 2, "not a name for a profile"),
        (("..",), 2, "not a name for a profile"),
        ((".x",), 2, "not a name for a profile"),
        (("a..b",), 2, "not a name for a profile"),
        (("a\nb",), 2, "not a name for a profile"),
        (("",), 2, "not a name for a profile"),
        (("x" * 65,), 2, "not a name for a profile"),
        (("CON/x",), 2, "not a name for a profile"),
        (("x", "--exec", 'a "b'), 2, "No closing quotation"),
        (("x", "--exec", " "), 2, "--exec takes a program"),
        (("x", "--api-key-cmd", " "), 2, "--api-key-cmd takes a program"),
        (("x", "--api-key-cmd", "a", "--api-key-env", "B"), 2, "exclude each other"),
        (("x", "--exec", "cat", "--upstream", "http://h/v1"), 2, "one engine"),
        (("x", "--exec", "cat", "--dialect", "openai"), 4, "'exec' is for endpoints"),
        (("x", "--upstream", "ftp://h"), 2, "an upstream is a URL"),
        (("x", "--upstream", "http://h", "--upstream-api", "x"), 2, "one of respon"),
        (("x", "--upstream-api", "chat"), 2, "of no use without its URL"),
        (
            ("x", "--upstream", "http://h", "--upstream-key-env", "sk-1"),
            2,
            "--upstream-key-env takes the name of a variable, not a key",
        ),
    ],
)
def test_add_refuses_before_it_writes(
    config: Any, folder: Path, args: tuple[str, ...], code: int, said: str
) -> None:
    """What cannot work, or would lie elsewhere, is refused and nothing is written."""
    ran = config("add", *args, code=code, said=said)
    assert "" == ran
    assert not folder.exists()


def test_add_knows_every_way_to_a_key(config: Any, folder: Path) -> None:
    """A profile without a way to a key is made in silence, or one way is unknown."""
    work = ("work", "--base-url", "https://llm.example/v1")
    config(
        "add", *work, said="work has no key configured: add it again with --api-key-"
    )
    assert "not configured" == shown(config, "-p", "work")["key"][0]
    assert "not configured" in config("list").splitlines()[0]
    config("add", *work, "--force", "--api-key-cmd", "pass 'my work'", "--stream")
    path = folder / "profiles" / "work.toml"
    found = tomllib.loads(path.read_text())
    assert (["pass", "my work"], True) == (found["api_key_cmd"], found["stream"])
    said = "/nowhere is not there yet"
    config("add", *work, "--force", "--api-key-file", "/nowhere", said=said)
    assert "/nowhere" == tomllib.loads(path.read_text())["api_key_file"]


def test_an_engine_is_added(config: Any, folder: Path) -> None:
    """A program or an upstream makes a profile of the dialect local, as it was said."""
    config("add", "shout", "--exec", "tr 'a b' A-Z", "--exec-json")
    url = "http://127.0.0.1:11434/v1"
    key = ("--upstream-key-env", "CHAT_KEY", "--upstream-api", "chat")
    config("add", "night", "--upstream", url, *key, "-m", "m")
    written = [tomllib.loads(p.read_text()) for p in sorted(folder.glob("*/*.toml"))]
    night = {"upstream": url, "upstream_key_env": "CHAT_KEY", "upstream_api": "chat"}
    assert [
        {"dialect": "local", "model": "m", **night},
        {"dialect": "local", "exec": ["tr", "a b", "A-Z"], "exec_json": True},
    ] == written


def test_a_variable_that_nothing_uses_is_told(config: Any) -> None:
    """A misspelt variable is written, and said to do nothing."""
    said = "var 'organisation': the dialect openai does not use it (it uses: org"
    config(*WORK, "--var", "organisation=o", said=said)


def test_a_name_has_one_place(config: Any, folder: Path) -> None:
    """A profile in config.toml is neither shadowed nor removed: its line is named."""
    path = put(folder / "config.toml", '\n[profiles."work"]\nmodel = "m"\n')
    config(*WORK, "--force", code=4, said=f"'work' stands in {path}")
    config("remove", "work", code=4, said=f"stands in {path}, line 2")
    twin = put(folder / "profiles" / "work.toml", 'model = "n"\n')
    for verb in (("show", "-p", "work"), ("add", "other")):
        config(*verb, code=4, said=f"is both in {path} and in {twin}")
    assert f"{twin}\n" == config("remove", "work")
    assert shown(config, "-p", "work", OPENAI_API_KEY="k")["model"][0] == "m"


def test_remove_drops_only_its_own(config: Any, folder: Path) -> None:
    """A profile that was added goes, even where config.toml cannot be read."""
    config(*WORK)
    put(folder / "config.toml", "[profiles")
    config("remove", "work")
    assert [] == list((folder / "profiles").iterdir())
    config("remove", "work", code=4, said="no profile 'work'")
    config("remove", "openai", code=4, said="built in")
    config("remove", "../config", code=2, said="not a name")
    assert (folder / "config.toml").exists()
    put(folder / "profiles" / "wrok.toml", "")
    config("remove", "work", code=4, said="did you mean wrok?")


def test_remove_takes_the_default_back(config: Any, folder: Path) -> None:
    """Every command fails after the profile went that was the default."""
    for name in ("work", "other"):
        config("add", name, *WORK[2:])
    config("use", "work")
    config("remove", "other")
    assert "work\n" == (folder / "default").read_text()
    config("remove", "work", said="work was the default: bgresp config use NAME")
    assert not (folder / "default").exists()
    config("show")


def test_remove_says_whom_it_concerns(config: Any, bgresp: Run, server: Any) -> None:
    """Open jobs of a profile are told of; they go on without it."""
    config("add", "here", "--base-url", server.base_url, "--api-key-env", "MY_KEY")
    env = {**NOTHING, "MY_KEY": "k"}
    assert 0 == bgresp("submit", "-t", "hi", "-p", "here", env=env).code
    config("remove", "here", said="1 open job of it keeps its endpoint")
    assert 0 == bgresp("status", "@last", env=env).code


SECRETS = {
    "MY_KEY": "sk-hidden-in-env",
    "OPENAI_API_KEY": "sk-hidden-too",
    "BGRESP_API_KEY": None,
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ('api_key_env = "MY_KEY"', "set (env MY_KEY)"),
        ('api_key_env = "NO_KEY"', "not set (env NO_KEY)"),
        ('api_key_cmd = ["touch", "{tmp}/ran"]', "set (command)"),
        ('api_key_file = "{tmp}/key"', "set (file {tmp}/key)"),
        ('api_key_file = "{tmp}/nokey"', "not set (file {tmp}/nokey)"),
    ],
)
def test_show_never_reads_a_key(
    bgresp: Run, folder: Path, tmp_path: Path, source: str, value: str
) -> None:
    """A key is told by its source alone; no command is run, no byte is shown."""
    put(tmp_path / "key", "sk-hidden-in-file")
    text = f"[profiles.w]\nbase_url = 'https://a.example/v1'\n{source}\n"
    text += "[profiles.w.headers]\nX-Gate = 'sk-hidden-header'\n"
    put(folder / "config.toml", text.replace("{tmp}", str(tmp_path)))
    for form in ((), ("--json",), ("--jsonl",), ("-v",)):
        args = ("show", "-p", "w", "-H", "X-B: sk-hidden-flag", *form)
        ran = bgresp("config", *args, env={**NOTHING, **SECRETS})
        assert 0 == ran.code
        assert value.replace("{tmp}", str(tmp_path)) in ran.out
        assert "sk-hidden" not in ran.out + ran.err
        assert "headers.X-Gate" in ran.out
    assert not (tmp_path / "ran").exists()


def test_show_tells_each_origin(config: Any, folder: Path) -> None:
    """Flag, variable, file and key, dialect, default: each value says which."""
    path = put(
        folder / "config.toml",
        'default_profile = "a"\n[profiles.a]\nbase_url = "https://a.example/v1"\n'
        'model = "m"\nrate = 2\napi_key_env = "MY_KEY"\n',
    )
    found = shown(config)
    at = f"{path}: profiles.a"
    assert ("a", f"{path}: default_profile") == found["profile"]
    assert ("openai", "default") == found["dialect"]
    assert ("https://a.example/v1", f"{at}.base_url") == found["base_url"]
    assert ("m", f"{at}.model") == found["model"]
    assert (2, f"{at}.rate") == found["rate"]
    assert (8, "dialect openai") == found["streams"]
    assert (False, "default") == found["stream"]
    env = {"BGRESP_BASE_URL": "https://e.example/v1", "BGRESP_MODEL": "e"}
    env |= {"BGRESP_API_KEY": "k", "BGRESP_PROFILE": "openai", "OPENAI_ORG_ID": "o"}
    found = shown(config, **env)
    assert ("openai", "env BGRESP_PROFILE") == found["profile"]
    assert ("openai", "the profile's name") == found["dialect"]
    assert ("https://e.example/v1", "env BGRESP_BASE_URL") == found["base_url"]
    assert ("e", "env BGRESP_MODEL") == found["model"]
    assert ("set (env BGRESP_API_KEY)", "env BGRESP_API_KEY") == found["key"]
    assert ("o", "env OPENAI_ORG_ID") == found["vars.organization"]
    flags = ("-p", "a", "--base-url", "https://f.example/v1", "--allow-http")
    found = shown(config, *flags, "-H", "X-A: b", **env)
    assert ("a", "flag -p") == found["profile"]
    assert ("https://f.example/v1", "flag --base-url") == found["base_url"]
    assert (True, "flag --allow-http") == found["allow_http"]
    assert ("set", "flag -H") == found["headers.X-A"]
    openai = shown(config, OPENAI_API_KEY="k")
    assert "a" == openai["profile"][0]
    away = ("-p", "openai", "-v")
    env = {"OPENAI_API_KEY": "k", "BGRESP_BASE_URL": "https://e.example/v1"}
    found = shown(config, *away, **env)
    assert ("not for this host (env OPENAI_API_KEY)", "dialect openai") == found["key"]
    found = shown(config, "-p", "openai")
    assert ("not set (env OPENAI_API_KEY)", "dialect openai") == found["key"]


def test_show_needs_no_endpoint(config: Any, folder: Path) -> None:
    """Where nothing is configured the defaults are shown; a wrong profile is not."""
    put(folder / "config.toml", "")
    found = shown(config)
    assert ("openai", "default") == found["profile"]
    assert ("https://api.openai.com/v1", "dialect openai") == found["base_url"]
    assert ("not set (env OPENAI_API_KEY)", "dialect openai") == found["key"]
    assert (False, "default") == found["stream"]
    config("show", "-p", "opnai", code=4, said="did you mean openai?")


def test_show_checks_what_it_does_not_show(bgresp: Run, folder: Path) -> None:
    """Mistakes in other profiles and dialects are told beside the values."""
    path = put(
        folder / "config.toml",
        "[profiles.a]\ndialect = 'd'\n[profiles.b]\ndialect = 'opnai'\n"
        "[dialects.d.query]\ntag = '{var.foo'\n",
    )
    ran = bgresp("config", "show", "-p", "openai", env=NOTHING)
    assert 4 == ran.code
    assert ran.out.startswith("profile\topenai\tflag -p\n")
    half, wrong = ran.err.splitlines()
    assert f"{path}: dialect 'd': 'query.tag': unclosed placeholder '{{var.f" in half
    assert f"{path}: profile 'b': no dialect 'opnai' (did you mean" in wrong


def test_half_a_placeholder_is_refused(config: Any, folder: Path) -> None:
    """A placeholder that no brace closes is named with its place."""
    path = put(
        folder / "config.toml", "[profiles.a]\nbase_url = 'https://a.example/{var.b'\n"
    )
    said = "profile 'a': its base URL has an unclosed placeholder '{var.b'"
    config("show", "-p", "a", code=4, said=said)
    body = "[dialects.d.request.body]\nnote = ['{\"json\": 1}', '{model for']\n"
    path.write_text(body)
    said = "'request.body.note': unclosed placeholder '{model'"
    config("show", "-p", "d", code=4, said=said)


def test_a_file_that_was_chosen_need_not_be_there(
    bgresp: Run, config: Any, folder: Path
) -> None:
    """BGRESP_CONFIG naming nothing is an empty configuration, and a word is said."""
    said = f"BGRESP_CONFIG names {folder / 'config.toml'}, which is not there"
    config("show", said=said)
    assert f"warn\tconfig\t{said}" in bgresp("doctor").out
    config(*WORK, MY_KEY="k")
    assert said not in bgresp("doctor").out
    assert "work" == shown(config, "-p", "work")["profile"][0]


def test_what_a_dialect_needs_is_a_command(config: Any, folder: Path) -> None:
    """`add` without a variable says the same command with all that are missing."""
    put(folder / "config.toml", "[dialects.d]\nrequire = ['two']\nextends = 'azure'\n")
    args = ("add", "az", "--dialect", "d", "-m", "a b", "-H", "X-A: hunter2")
    said = "(bgresp config add az --dialect d -m 'a b' -H 'X-A: ...' --var two=NAME "
    config(*args, code=4, said=f"{said}--var resource=NAME)")
    said = "bgresp config add mine --dialect azure --var resource=NAME; then -p mine"
    config("show", "-p", "azure", code=4, said=said)


def test_init_breaks_no_name(config: Any, folder: Path) -> None:
    """The dialects that `init` lists are whole words."""
    config("init")
    lines = (folder / "config.toml").read_text().splitlines()
    assert not [line for line in lines if line.endswith("-")]


def editor(tmp_path: Path, text: str, code: int = 0) -> str:
    """Return an editor that writes a text, and takes arguments."""
    script = tmp_path / "an editor"
    (tmp_path / "text").write_text(text)
    script.write_text(f'#!/bin/sh\ncat "{tmp_path}/text" >> "$2"\nexit {code}\n')
    script.chmod(0o700)
    return f"'{script}' --wait"


def test_edit_begins_with_the_explained_file(
    config: Any, folder: Path, tmp_path: Path
) -> None:
    """$VISUAL wins, may have arguments, and finds what `init` writes."""
    runs = editor(tmp_path, '[profiles.w]\nmodel = "m"\n')
    path = folder / "config.toml"
    assert f"{path}\n" == config("edit", VISUAL=runs, EDITOR="false")
    assert path.read_text().startswith("# bgresp reads this file")
    assert "m" == tomllib.loads(path.read_text())["profiles"]["w"]["model"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[profiles", "config.toml"),
        ("default = 1", "unknown key 'default'"),
        ("[profiles.w]\nmodle = 'm'", "profile 'w' has an unknown key 'modle'"),
        ("[profiles.w]\ndialect = 'opnai'", "profile 'w': no dialect 'opnai'"),
        ("[profiles.w]\nbase_url = 'a'", "profile 'w': not a base URL"),
        ("[dialects.d]\npaths = 1", "dialect 'd': unknown key 'paths'"),
        ("default_profile = 'w'", "'default_profile' is 'w', which is not a profile"),
    ],
)
def test_edit_names_mistakes(
    config: Any, folder: Path, tmp_path: Path, text: str, said: str
) -> None:
    """What was mistyped is named with file and key, and doctor finds it too."""
    path = put(folder / "config.toml", "")
    config("edit", code=4, said=said, EDITOR=editor(tmp_path, text))
    assert text == path.read_text()
    config("edit", code=4, said=str(path), EDITOR=editor(tmp_path, "\n"))


def test_every_mistake_is_named(bgresp: Run, folder: Path) -> None:
    """Two mistakes are two lines of doctor, and exit 4."""
    text = "[profiles.a]\nbase_url = 'x'\n[dialects.d]\nbad = 1\n[profiles.b]\n"
    put(folder / "config.toml", text + "dialect = 'd'\n")
    ran = bgresp("doctor")
    assert 4 == ran.code
    bad = [line for line in ran.out.splitlines() if line.startswith("bad\tconfig")]
    assert ["dialect 'd'", "profile 'a'"] == [b.split(": ")[1] for b in bad]


def test_an_editor_that_fails_is_named(config: Any, tmp_path: Path) -> None:
    """An editor that is not there, or gives up, is exit 4."""
    config("edit", code=4, said="'nobody'", EDITOR="nobody")
    config("edit", code=4, said="ended with 3", EDITOR=editor(tmp_path, "", 3))
    config("edit", code=4, said="EDITOR cannot be read", EDITOR="'half")


def test_list_tells_of_every_profile(config: Any, folder: Path) -> None:
    """What there is, what is used, and whose key is missing stands in no one place."""
    put(folder / "config.toml", '[profiles.lab]\nbase_url = "https://lab.example/v1"\n')
    config(*WORK)
    rows = json.loads(config("list", "--json", MY_KEY="k", OPENAI_API_KEY=None))
    found = {row["name"]: row for row in rows}
    assert ["lab", "work"] == [row["name"] for row in rows][:2]
    assert {"openai"} == {name for name, row in found.items() if row["default"]}
    assert "set (env MY_KEY)" == found["work"]["key"]
    assert "not set (env OPENAI_API_KEY)" == found["openai"]["key"]
    assert str(folder / "config.toml") == found["lab"]["origin"]
    assert "built in" == found["azure"]["origin"]
    assert "its endpoint needs resource" == found["azure"]["base_url"]
    assert "k" not in config("list", MY_KEY="sk-secret").split()
    assert "sk-secret" not in config("list", "-v", MY_KEY="sk-secret")


def test_use_names_the_default(config: Any, folder: Path) -> None:
    """A default cannot be chosen without an editor, or not before its key is there."""
    config(*WORK)
    path = config("use", "work").strip()
    assert (folder / "default", "work\n") == (Path(path), Path(path).read_text())
    assert 0o600 == stat.S_IMODE(Path(path).stat().st_mode)
    assert f"work\t{path}" in config("show")
    config("use", "nope", code=4, said="no profile 'nope'")
    config("use", "openai")
    assert "openai\n" == Path(path).read_text()
    Path(path).write_text("gone\n")
    config("show", code=4, said=f"{path}: 'gone' is not a profile")


@pytest.mark.parametrize(
    "text",
    [
        '# mine\ndefault_profile = "local"\n',
        '# mine\n  "default_profile"="local"\n',
        "\n'default_profile' = 'local'\n",
        "\ufeff\ndefault_profile = 'local'\n",
    ],
)
def test_use_leaves_the_user_s_own_file(config: Any, folder: Path, text: str) -> None:
    """The default of config.toml is overruled in silence, or the file rewritten."""
    path = put(folder / "config.toml", text)
    config("use", "openai", code=4, said=f"{path}, line 2, names 'local'")
    assert text == path.read_text()
    assert not (folder / "default").exists()
