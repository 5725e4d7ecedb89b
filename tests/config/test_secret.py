"""A key is found by the name of its source, checked, and never shown."""

import os
import stat
import sys
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from bgresp.config import secret
from bgresp.config.secret import KeySource
from bgresp.core.dialect import Auth
from bgresp.core.errors import ConfigError

KEY = "sk-hunter2"
OPENAI = Auth("Authorization", "Bearer {key}", "OPENAI_API_KEY")
MINE = Auth("X-API-Key", "{key}", "MINE_KEY")
HOME = "https://api.openai.com/v1"
ELSEWHERE = "https://llm.example.com/v1"
Environ = Mapping[str, str]


def printing(*lines: str) -> list[str]:
    return [sys.executable, "-c", "\n".join(lines)]


def key_file(path: Path, text: str = f"{KEY}\n", mode: int = 0o600) -> Path:
    path.write_text(text)
    path.chmod(mode)
    return path


def message(error: BaseException) -> str:
    """Return all that a log could show of an error."""
    return "".join(traceback.format_exception(error))


@pytest.mark.parametrize(
    "raw", [KEY, f" {KEY}\n", f"\t{KEY}\r\n", f"Bearer {KEY}", f" bearer  {KEY} "]
)
def test_keys_are_trimmed(raw: str) -> None:
    """White space around a key and a copied `Bearer` are taken off."""
    assert KEY == secret.checked(raw, "X")


@pytest.mark.parametrize(
    "raw", ["", " ", "Bearer", "Bearer ", f"{KEY} x", f"{KEY}\n{KEY}", f"{KEY}\x00"]
)
def test_what_no_header_carries_is_refused_unseen(raw: str) -> None:
    """An empty key or one with blanks or line ends is refused by its source's name."""
    with pytest.raises(ConfigError, match="the key from MINE_KEY") as caught:
        secret.checked(raw, "MINE_KEY")
    assert "hunter2" not in message(caught.value)


@pytest.mark.parametrize("raw", [f"{KEY}é", f"{KEY}\u200b", f"{KEY}\x7f", f"“{KEY}”"])
def test_what_is_not_ascii_is_refused_unseen(raw: str) -> None:
    """Letters and signs that only look like a key are refused without being shown."""
    with pytest.raises(ConfigError) as caught:
        secret.checked(raw, "MINE_KEY")
    assert "hunter2" not in message(caught.value)


@pytest.mark.parametrize(
    ("environ", "to", "expected"),
    [
        ({"OPENAI_API_KEY": KEY}, (HOME, False), "env:OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": KEY}, (ELSEWHERE, True), "env:OPENAI_API_KEY"),
        ({"OPENAI_API_KEY": KEY, "BGRESP_API_KEY": KEY}, (HOME, True), "BGRESP"),
        ({"BGRESP_API_KEY": KEY}, (ELSEWHERE, False), "env:BGRESP_API_KEY"),
        ({"OPENAI_API_KEY": KEY}, ("local:", False), "local"),
        ({"OPENAI_API_KEY": KEY, "BGRESP_API_KEY": KEY}, ("local:", True), "local"),
    ],
)
def test_the_right_key_goes_to_the_right_place(
    environ: Environ, to: tuple[str, bool], expected: str
) -> None:
    """BGRESP_API_KEY goes anywhere, OPENAI_API_KEY where it belongs or was sent."""
    assert expected in str(
        secret.choose({}, environ, OPENAI, base_url=to[0], explicit=to[1])
    )


@pytest.mark.parametrize(
    "base_url",
    [
        ELSEWHERE,
        "https://api.openai.com.evil.example/v1",
        "https://evil.example/api.openai.com",
        "https://xapi.openai.com/v1",
        "https://api.openai.com@evil.example/v1",
        "http://127.0.0.1:8000/v1",
        "https://{var.name}.example/v1",
        "https://[bad",
        "",
    ],
)
def test_openai_s_key_stays_at_openai(base_url: str) -> None:
    """OPENAI_API_KEY is not sent where it merely is configured, or looks alike."""
    with pytest.raises(ConfigError) as caught:
        secret.choose(
            {}, {"OPENAI_API_KEY": KEY}, OPENAI, base_url=base_url, explicit=False
        )
    assert "hunter2" not in message(caught.value)


def test_a_dialect_s_own_key_goes_to_its_endpoint() -> None:
    """Another dialect's variable is used, and OpenAI's is not looked at."""
    environ = {"OPENAI_API_KEY": "sk-openai", "MINE_KEY": KEY}
    assert KeySource("env", "MINE_KEY") == secret.choose(
        {}, environ, MINE, base_url=ELSEWHERE, explicit=False
    )
    with pytest.raises(ConfigError, match="MINE_KEY is not set"):
        secret.choose(
            {}, {"OPENAI_API_KEY": KEY}, MINE, base_url=ELSEWHERE, explicit=True
        )


def test_a_dialect_may_name_a_command_or_need_no_key() -> None:
    """Without a variable the dialect's command is run, or no key is needed."""
    by_command = Auth("Authorization", "Bearer {key}", "MINE_KEY", ("pass", "mine"))
    keyless = Auth("Authorization", "Bearer {key}", "MINE_KEY", optional=True)
    assert ("pass", "mine") == secret.choose(
        {}, {}, by_command, base_url=ELSEWHERE, explicit=False
    ).command
    assert "none" == str(
        secret.choose({}, {}, keyless, base_url=ELSEWHERE, explicit=False)
    )
    assert (
        secret.choose({}, {}, keyless, base_url=ELSEWHERE, explicit=False).read({})
        is None
    )
    assert "env:MINE_KEY" == str(
        secret.choose(
            {}, {"MINE_KEY": KEY}, keyless, base_url=ELSEWHERE, explicit=False
        )
    )


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ({"api_key_env": "WORK_KEY"}, KeySource("env", "WORK_KEY")),
        ({"api_key_cmd": ["pass", "w"]}, KeySource("cmd", command=("pass", "w"))),
        ({"api_key_file": "~/key"}, KeySource("file", "~/key")),
    ],
)
def test_a_profile_names_its_source(
    profile: dict[str, Any], expected: KeySource
) -> None:
    """The profile's own source is used, wherever its endpoint is."""
    environ = {"OPENAI_API_KEY": KEY, "MINE_KEY": KEY}
    for auth in (OPENAI, MINE):
        assert expected == secret.choose(
            profile, environ, auth, base_url=ELSEWHERE, explicit=False
        )
    over = {**environ, "BGRESP_API_KEY": KEY}
    chosen = secret.choose(profile, over, MINE, base_url=ELSEWHERE, explicit=False)
    assert "env:BGRESP_API_KEY" == str(chosen)


def test_a_variable_is_read() -> None:
    """A key from the environment is trimmed; an unset or empty one is named."""
    source = KeySource("env", "WORK_KEY")
    assert KEY == source.read({"WORK_KEY": f" Bearer {KEY}\n"})
    for environ in ({}, {"WORK_KEY": " "}):
        with pytest.raises(ConfigError, match="WORK_KEY is not set") as caught:
            source.read(environ)
        assert "export WORK_KEY" in caught.value.hint


def test_a_command_is_run() -> None:
    """The first output of api_key_cmd is the key; it gets no stdin and no shell."""
    command = printing("import sys", f"print({KEY!r}, end=sys.stdin.read() + '\\n')")
    assert KEY == KeySource("cmd", command=tuple(command)).read({})


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (printing(f"print({KEY!r}); raise SystemExit(3)"), "ended with 3"),
        (printing("pass"), "is empty"),
        (printing(f"print({KEY!r}); print('two')"), "characters that no key has"),
        (["/nowhere/pass", KEY], "No such file"),
        (["/"], "Permission denied"),
    ],
)
def test_a_command_that_fails_is_named(command: list[str], said: str) -> None:
    """A command without a key names itself and why, and shows nothing it printed."""
    with pytest.raises(ConfigError, match=said) as caught:
        KeySource("cmd", command=tuple(command)).read({})
    assert command[0] in caught.value.message
    assert "hunter2" not in caught.value.message + caught.value.hint


def test_a_key_file_is_read(tmp_path: Path) -> None:
    """A private file holds the key, with or without its line end."""
    path = key_file(tmp_path / "key")
    assert KEY == KeySource("file", str(path)).read({})
    key_file(path, KEY, 0o400)
    assert KEY == KeySource("file", str(path)).read({})


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604, 0o660, 0o666, 0o610])
def test_a_key_file_is_private(tmp_path: Path, mode: int) -> None:
    """A key that others may read is not used; the hint says what to type."""
    path = key_file(tmp_path / "key", mode=mode)
    with pytest.raises(ConfigError, match="others may read") as caught:
        KeySource("file", str(path)).read({})
    assert f"chmod 600 {path}" == caught.value.hint


ROOTS = 0


@pytest.mark.parametrize(
    ("owner", "mode", "uid", "said"),
    [
        (1, 0o600, 1, None),
        (1, 0o400, 1, None),
        (1, 0o644, 1, "others may read"),
        (2, 0o600, 1, "belongs to another user"),
        (2, 0o644, 1, "belongs to another user"),
        (ROOTS, 0o444, 1, None),
        (ROOTS, 0o644, 1, None),
        (ROOTS, 0o640, 1, None),
        (ROOTS, 0o664, 1, "others may write"),
        (ROOTS, 0o646, 1, "others may write"),
        (ROOTS, 0o644, ROOTS, "others may read"),
        (2, 0o600, ROOTS, None),
        (2, 0o666, ROOTS, "others may write"),
    ],
)
def test_a_key_file_is_mine_or_root_s(
    owner: int, mode: int, uid: int, said: str | None
) -> None:
    """A key is taken from who else may have written it, or not from root."""
    found = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, owner, 0, 9, 0, 0, 0))
    wrong = secret._distrust(found, uid)
    assert (said is None) == (wrong is None)
    assert wrong is None or str(said) in wrong[0]


def test_a_key_file_is_a_file(tmp_path: Path) -> None:
    """A pipe would hang, a folder and nothing at all have no key: all are named."""
    os.mkfifo(tmp_path / "pipe", 0o600)
    for name in ("pipe", "", "nowhere"):
        with pytest.raises(ConfigError, match="key file"):
            KeySource("file", str(tmp_path / name)).read({})


def test_a_key_file_may_be_under_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ~ in api_key_file is the user's home."""
    monkeypatch.setenv("HOME", str(tmp_path))
    key_file(tmp_path / "key")
    assert KEY == KeySource("file", "~/key").read({})


@pytest.mark.parametrize(
    ("source", "profile", "expected"),
    [
        ("env:WORK_KEY", {}, KeySource("env", "WORK_KEY")),
        ("env:WORK_KEY", {"api_key_file": "/f"}, KeySource("env", "WORK_KEY")),
        ("file:/a:b", {}, KeySource("file", "/a:b")),
        ("none", {}, KeySource("none")),
        ("cmd", {"api_key_cmd": ["p"]}, KeySource("cmd", command=("p",))),
    ],
)
def test_a_source_is_found_again_by_its_name(
    source: str, profile: dict[str, Any], expected: KeySource
) -> None:
    """What was noted of a source leads to another one."""
    assert expected == secret.named(source, profile, OPENAI)
    if not profile:
        assert source == str(expected)


def test_a_dialect_s_command_is_found_again() -> None:
    """A key from the dialect's own command needs no profile."""
    auth = Auth("Authorization", "{key}", "MINE_KEY", ("pass", "mine"))
    found = secret.named("cmd:dialect", {}, auth)
    assert found is not None
    assert ("pass", "mine") == found.command
    assert "cmd:dialect" == str(
        secret.choose({}, {}, auth, base_url="https://a/v1", explicit=False)
    )


@pytest.mark.parametrize("source", ["cmd", "cmd:dialect", "", "nonsense", "env:"])
def test_a_source_that_is_gone_is_none(source: str) -> None:
    """A source without its command, or one that is none, leads to a key."""
    assert secret.named(source, {}, OPENAI) is None
    assert secret.named(source, {}, None) is None


def test_root_is_told_whose_a_key_file_is(tmp_path: Path) -> None:
    """Root uses another user's key without a word, or is warned of its own."""
    path = key_file(tmp_path / "key", mode=0o600)
    assert KeySource("file", str(path)).warning is None
    assert secret._foreign(path, 0) == (
        None if os.getuid() == 0 else f"the key file {path} belongs to another user"
    )
    if os.getuid() == 0:
        os.chown(path, 12345, -1)
        source = KeySource("file", str(path))
        assert f"the key file {path} belongs to another user" == source.warning
