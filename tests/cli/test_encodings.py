"""Files as Windows' programs write them, and users without a home."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.forked import ForkServer, runner
from tests.command import Run, has_bug, running_first
from tests.fakeserver import FakeServer

BOM = "\ufeff"
# Where text is read: the option, and what the file holds.
READ = {
    "prompt": ("submit {file}", "hi"),
    "stdin": ("submit -", "hi"),
    "system": ("submit -t hi -s @{file}", "be brief"),
    "body": ("submit -t hi --body @{file}", '{"user": "u"}'),
    "schema": ("submit -t hi --schema @{file}", '{"type": "object"}'),
    "manifest": ("batch {file} --group g", '{"id": "a", "text": "hi"}\n'),
    "csv": ("batch {file} --csv --prompt hi{{{{word}}}}", "id,word\na,x\n"),
    "template": ("batch rows.csv --csv --prompt @{file}", "hi{{word}}"),
    "row": ("batch row.jsonl", "hi"),
}


def _given(tmp_path: Path, text: str, encoding: str) -> Path:
    path = tmp_path / "given.txt"
    path.write_bytes(text.encode(encoding))
    (tmp_path / "rows.csv").write_text("id,word\na,x\n")
    (tmp_path / "row.jsonl").write_text('{"id": "a", "file": "given.txt"}')
    return path


@pytest.mark.parametrize("name", READ)
def test_a_byte_order_mark_reaches_no_endpoint(
    bgresp: Run, server: FakeServer, tmp_path: Path, name: str
) -> None:
    """A mark of Notepad's is sent, or stands in the way of JSON or of a column."""
    words, text = READ[name]
    path = _given(tmp_path, text, "utf-8-sig")
    argv = words.format(file=path.name).split()
    stdin = path.read_bytes() if name == "stdin" else None
    ran = bgresp(*argv, "-m", "m", stdin=stdin)
    assert 0 == ran.code, ran.err
    sent = server.creates[0].json
    assert BOM not in str(sent)
    assert sent["input"] in {"hi", "hix"}


def test_a_mark_in_an_argument_is_none_either(bgresp: Run, server: FakeServer) -> None:
    """`-t "$(cat file)"` of such a file sends its mark."""
    ran = bgresp("submit", "-t", f"{BOM}hi", "-s", f"{BOM}short", "-m", "m")
    assert 0 == ran.code, ran.err
    sent = server.creates[0].json
    assert ("hi", "short") == (sent["input"], sent["instructions"])


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le"])
@pytest.mark.parametrize("name", READ)
def test_utf_16_is_told_with_what_converts_it(
    bgresp: Run,
    server: FakeServer,
    tmp_path: Path,
    state: Path,
    name: str,
    encoding: str,
) -> None:
    """What PowerShell's `>` wrote is "not JSON", or "has NUL bytes"."""
    words, text = READ[name]
    path = _given(tmp_path, text, encoding)
    argv = words.format(file=path.name).split()
    stdin = path.read_bytes() if name == "stdin" else None
    ran = bgresp(*argv, "-m", "m", stdin=stdin)
    assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert "UTF-16, not UTF-8" in ran.err
    assert "iconv -f UTF-16" in ran.err
    assert () == server.requests
    assert not state.exists()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_configuration_and_a_key_of_notepad_s(
    bare: Run, server: FakeServer, tmp_path: Path, encoding: str
) -> None:
    """config.toml or a key file with a mark is refused, or UTF-16 not told."""
    config, key = tmp_path / "config" / "config.toml", tmp_path / "key"
    key.write_bytes("secret-1\r\n".encode("utf-8-sig"))
    key.chmod(0o600)
    text = f'[profiles.a]\nbase_url = "{server.base_url}"\napi_key_file = "{key}"\n'
    config.parent.mkdir(exist_ok=True)
    config.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    argv = ("submit", "-t", "hi", "-m", "m", "-p", "a")
    ran = bare(*argv)
    if encoding == "utf-8-sig":
        assert 0 == ran.code, ran.err
        assert "Bearer secret-1" == server.creates[0].headers["authorization"]
        key.write_bytes("secret-1".encode("utf-16"))
        ran = bare(*argv)
    assert (2, "") == (ran.code, ran.out)
    assert "UTF-16, not UTF-8" in ran.err
    assert "iconv -f UTF-16" in ran.err
    assert "secret" not in ran.err


# A passwd that does not know the user of a container, or that names a home.
_USERS = """
import os, pwd, types
def getpwuid(uid):
    if "PASSWD_HOME" not in os.environ:
        raise KeyError(uid)
    return types.SimpleNamespace(pw_dir=os.environ["PASSWD_HOME"])
pwd.getpwuid = getpwuid
"""


@pytest.fixture(scope="module")
def homeless_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ForkServer]:
    """Fork commands where passwd knows nobody."""
    folder = tmp_path_factory.mktemp("python")
    running = ForkServer(env=running_first(_USERS, folder))
    yield running
    running.close()


@pytest.fixture
def homeless(homeless_server: ForkServer, tmp_path: Path) -> Run:
    """Run the command for a user without a home, and without a folder chosen."""
    return runner(homeless_server, {"OPENAI_API_KEY": "k"}, tmp_path)


@pytest.mark.parametrize("home", [None, "", "relative/home", "."])
@pytest.mark.parametrize("xdg", [None, "relative"])
def test_without_a_home_nothing_is_written_anywhere(
    homeless: Run,
    tmp_path: Path,
    home: str | None,
    xdg: str | None,
) -> None:
    """A ledger lies in a folder `~`, in the root, or below the working directory."""
    work = tmp_path / "work"
    work.mkdir()
    env = {"HOME": home, "XDG_STATE_HOME": xdg, "XDG_CONFIG_HOME": xdg}
    ran = homeless("submit", "-t", "hi", env=env, cwd=work)
    assert (4, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran.err
    assert "BGRESP_STATE_DIR" in ran.err
    assert "BGRESP_CONFIG" in ran.err
    assert [] == list(work.iterdir())
    for argv in (("list",), ("doctor",), ("config", "path"), ("config", "show")):
        ran = homeless(*argv, env=env, cwd=work)
        assert not has_bug(ran.err)
        assert (4, "") == (ran.code, ran.out), argv
    assert 0 == homeless("help", "times", env=env, cwd=work).code
    chosen = {"BGRESP_STATE_DIR": str(tmp_path / "s"), "BGRESP_CONFIG": "c.toml"}
    assert 0 == homeless("list", env=env | chosen, cwd=work).code
    assert [] == list(work.iterdir())


@pytest.mark.parametrize("home", ["", "relative/home"])
def test_a_home_that_is_no_whole_path_is_that_of_passwd(
    homeless: Run,
    server: FakeServer,
    tmp_path: Path,
    home: str,
) -> None:
    """With HOME empty or relative a job cannot be made, or its record lies elsewhere."""
    own, work = tmp_path / "own", tmp_path / "work"
    work.mkdir()
    (own / "conf").mkdir(parents=True)
    key = own / "key"
    key.write_text("secret-1")
    key.chmod(0o600)
    text = f'[profiles.a]\nbase_url = "{server.base_url}"\napi_key_file = "~/key"\n'
    (own / "conf" / "c.toml").write_text(text)
    config = "~/conf/c.toml"
    env = {"HOME": home, "PASSWD_HOME": str(own), "BGRESP_CONFIG": config}
    ran = homeless("submit", "-t", "hi", "-m", "m", "-p", "a", env=env, cwd=work)
    assert 0 == ran.code, ran.err
    assert "Bearer secret-1" == server.creates[0].headers["authorization"]
    assert [] == list(work.iterdir())
    assert 1 == len([*own.rglob("ledger.jsonl")])
