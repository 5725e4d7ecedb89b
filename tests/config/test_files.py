"""What the TOML files may say, and how a mistake in them is named."""

import json
import os
import stat
import sys
import tomllib
from pathlib import Path

import platformdirs
import pytest

import bgresp
from bgresp.config import files, places
from bgresp.core.dialect_schema import build
from bgresp.core.errors import ConfigError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def written(path: Path, text: str) -> files.Config:
    return files.load(put(path, text))


def refused(path: Path, text: str) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        written(path, text)
    assert "\n" not in caught.value.message
    return caught.value


def test_no_file_is_an_empty_configuration(path: Path) -> None:
    """Neither config.toml nor profiles/ has to exist."""
    assert files.Config(path) == files.load(path)


def test_the_contract_s_example_is_read(path: Path) -> None:
    """What CONTRACT.md shows is a configuration."""
    config = written(
        path,
        """
        default_profile = "work"
        [profiles.work]
        dialect = "openai"
        base_url = "https://NAME.openai.azure.com/openai/v1"
        model = "my-deployment"
        api_key_env = "WORK_KEY"
        [profiles.work.vars]
        end_user = "user-7"
        [profiles.work.headers]
        "X-Team" = "search"
        [dialects.mine]
        extends = "openai"
        base_url = "https://llm.example.com/v9"
        auth = { header = "X-API-Key", value = "{key}", env = "MINE_KEY" }
        [dialects.mine.states]
        queued = ["pending"]
        in_progress = ["running"]
        """,
    )
    assert "work" == config.default_profile
    assert {"end_user": "user-7"} == config.profiles["work"]["vars"]
    assert {"work": path} == config.origins
    assert ["pending"] == config.dialects["mine"]["states"]["queued"]


def test_profiles_lie_beside_config_toml(path: Path) -> None:
    """profiles/NAME.toml holds the bare keys of one profile."""
    own = put(path.parent / "profiles" / "fast.toml", 'model = "m"')
    config = written(path, '[profiles.slow]\nmodel = "n"')
    assert {"slow": {"model": "n"}, "fast": {"model": "m"}} == config.profiles
    assert {"slow": path, "fast": own} == config.origins


def test_a_profile_has_one_place(path: Path) -> None:
    """A name both in config.toml and in profiles/ is refused, and both are named."""
    own = put(path.parent / "profiles" / "work.toml", 'model = "m"')
    error = refused(path, '[profiles.work]\nmodel = "n"')
    assert str(path) in error.message
    assert str(own) in error.message
    assert "bgresp config remove work" in error.hint


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ('default_profile = "a\n', 1),
        ("\n\n[profiles\n", 3),
        ('a = 1\na = 2\n[profiles.x]\nmodel = "y"', 2),
    ],
)
def test_malformed_toml_is_named_with_its_line(
    path: Path, text: str, line: int
) -> None:
    """A file that is no TOML is named with the line of the mistake."""
    error = refused(path, text)
    assert str(path) in error.message
    assert f"line {line}" in error.message


def test_malformed_profiles_are_named_too(path: Path) -> None:
    """A mistake in profiles/NAME.toml names that file and its line."""
    own = put(path.parent / "profiles" / "work.toml", 'model = "m"\nmodel =\n')
    with pytest.raises(ConfigError) as caught:
        files.load(path)
    assert str(own) in caught.value.message
    assert "line 2" in caught.value.message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("defaultprofile = 'x'", ["unknown key 'defaultprofile'"]),
        ("[profile.work]", ["unknown key 'profile'"]),
        ("default_profile = 3", ["default_profile", "text"]),
        ("profiles = 3", ["'profiles'", "tables"]),
        ("[profiles]\nwork = 'x'", ["'profiles'", "tables"]),
        ("dialects = []", ["'dialects'", "tables"]),
        ("[profiles.work]\nbaseurl = 'x'", ["'work'", "unknown key 'baseurl'"]),
        ("[profiles.work]\napi_key = 'sk-hunter2'", ["'work'", "'api_key'"]),
        ("[profiles.work]\nmodel = 3", ["'work'", "'model' must be text"]),
        ("[profiles.work]\nmodel = true", ["'work'", "'model' must be text"]),
        ("[profiles.work]\nstream = 1", ["'stream' must be true or false"]),
        ("[profiles.work]\nrate = true", ["'work'", "'rate' must be a number"]),
        ("[profiles.work]\nconnections = 1.5", ["must be a whole number"]),
        ("[profiles.work]\nvars = 'x'", ["'work'", "'vars' must be a table"]),
        (
            "[profiles.work]\napi_key_cmd = 'pass'",
            ["'work'", "'api_key_cmd'", "a list"],
        ),
        ("[profiles.work]\napi_key_cmd = []", ["'work'", "'api_key_cmd'"]),
        ("[profiles.work]\napi_key_cmd = ['pass', 3]", ["'work'", "'api_key_cmd'"]),
        ("[profiles.work]\nconnections = 0", ["'work'", "'connections'", "1"]),
        ("[profiles.work]\nstreams = -1", ["'work'", "'streams'"]),
        ("[profiles.work]\nrate = -1", ["'work'", "'rate'"]),
        ("[profiles.work]\nrate = nan", ["'work'", "'rate'"]),
        ("[profiles.work]\nrate = inf", ["'work'", "'rate'"]),
    ],
)
def test_a_wrong_key_is_named(path: Path, text: str, words: list[str]) -> None:
    """An unknown key, type or number is named with its file, never with its value."""
    error = refused(path, text)
    assert str(path) in error.message
    assert not [word for word in words if word not in error.message]
    assert "hunter2" not in error.message + error.hint


def test_a_key_that_may_be_meant_is_named(path: Path) -> None:
    """Of a mistyped key the hint says first which one it may be."""
    for text, meant in (
        ("[profiles.work]\nmodle = 'x'", "did you mean 'model'? expected one of "),
        ("defaultprofile = 'x'", "did you mean 'default_profile'? expected one of "),
    ):
        assert refused(path, text).hint.startswith(meant)


def test_no_rate_is_a_rate(path: Path) -> None:
    """A rate of 0 lets everything through, and one connection is enough."""
    config = written(path, "[profiles.x]\nrate = 0\nconnections = 1\nstreams = 0")
    assert 0 == config.profiles["x"]["rate"]


def test_what_cannot_be_read_is_named(path: Path) -> None:
    """A file that is not UTF-8, or no file at all, is named with the reason."""
    path.write_bytes(b'default_profile = "\xff"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        files.load(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(ConfigError, match="Is a directory"):
        files.load(path)


def test_paths_come_from_the_environment(tmp_path: Path) -> None:
    """BGRESP_CONFIG names a file and BGRESP_STATE_DIR a folder; ~ is the home."""
    environ = {"BGRESP_CONFIG": "~/c.toml", "BGRESP_STATE_DIR": "~/state"}
    assert Path("~/c.toml").expanduser() == places.config_path(environ)
    assert Path("~/state").expanduser() == places.state_path(environ)
    assert Path.cwd() / "here" == places.state_path({"BGRESP_STATE_DIR": "here"})


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the library is asked")
@pytest.mark.parametrize("home", [None, "/somewhere", "relative", ""])
def test_without_a_choice_paths_are_the_platforms(
    home: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is worked out without platformdirs is what platformdirs says."""
    monkeypatch.setenv("HOME", "/home/user")
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
        if home is not None:
            monkeypatch.setenv(name, home)
    found = places.config_path({}), places.state_path({})
    config = platformdirs.user_config_path("bgresp") / "config.toml"
    assert (config, platformdirs.user_state_path("bgresp")) == found


def test_what_is_read_fast_is_what_people_read(request: pytest.FixtureRequest) -> None:
    """dialects.json says what dialects.toml says, and each of them passes all checks."""
    folder = Path(bgresp.__file__).parent
    tables = tomllib.loads((folder / "dialects.toml").read_text("utf-8"))["dialects"]
    text = json.dumps(tables, indent=1) + "\n"
    if request.config.getoption("--golden"):
        (folder / "dialects.json").write_text(text, "utf-8")
    again = "if it is meant: python -m pytest tests/config/test_files.py --golden"
    assert text == (folder / "dialects.json").read_text("utf-8"), again
    for name in tables:
        unchecked = files.dialect(name, files.Config(Path()))
        assert build(name, tables) == unchecked


def test_every_built_in_dialect_is_a_table() -> None:
    """The dialects that bgresp brings are there, the base among them."""
    assert {"openai", "local"} <= set(files.built_in())


OWNERS = [
    (1, 0o644, 1, None),
    (1, 0o664, 1, None),
    (0, 0o644, 1, None),
    (2, 0o644, 0, None),
    (2, 0o644, 1, "belongs to another user"),
    (1, 0o666, 1, "others may write"),
    (2, 0o666, 0, "others may write"),
]


@pytest.mark.parametrize(("owner", "mode", "uid", "why"), OWNERS)
def test_a_configuration_is_mine_or_root_s(
    path: Path, owner: int, mode: int, uid: int, why: str | None
) -> None:
    """Commands and keys are named by who else may have written the file."""
    found = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 0, 9, 0, 0, 0))
    if why is None:
        files._check_owner(path, found, uid)
    else:
        with pytest.raises(ConfigError, match=why):
            files._check_owner(path, found, uid)


def test_a_configuration_that_anybody_may_write_is_not_read(path: Path) -> None:
    """What may run a command is read from a file that everybody may change."""
    put(path, 'default_profile = "a"\n').chmod(0o666)
    with pytest.raises(ConfigError, match="others may write"):
        files.load(path)
    path.chmod(0o644)
    assert "a" == files.load(path).default_profile
    assert files.Config(Path(os.devnull)) == files.load(Path(os.devnull))
