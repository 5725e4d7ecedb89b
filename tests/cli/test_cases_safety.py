"""RELIABILITY.md 8 D, cases 90 to 110: hostile content, odd streams, keys, transport.

What other files prove is not here: 88 and 89 in test_output.py, 93 to 95 and 100 in
tests/proof.
"""

import json
from pathlib import Path

import pytest

from tests.cli.ledger import ident, last, picture, records, seed
from tests.cli.processes import Shell, Start
from tests.command import Run, has_bug
from tests.fakeanswers import End, Framing, Stream, as_json, redirect
from tests.fakeserver import FakeServer
from tests.fakewire import FOX, events_of, response_of

KEY = "sk-SENTINEL-0123456789"
MARKUP = "[link=https://evil]good[/link] [/foo] arr[i] :warning: https://x.test"


def test_markup_is_text(bgresp: Run) -> None:
    """Cases 90, 91: brackets, colons and links are printed as they are, uncut."""
    with FakeServer(tell=MARKUP * 5) as server:
        env = {"BGRESP_BASE_URL": server.base_url, "COLUMNS": "40"}
        ran = bgresp("submit", "-t", "x", "-n", MARKUP, "--watch", env=env)
        assert (0, MARKUP * 5 + "\n") == (ran.code, ran.out)
    assert MARKUP in bgresp("list", "--fields", "id,name").out


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "POSIX", "PYTHONIOENCODING": "latin-1:strict"},
    ],
)
def test_any_locale(bgresp: Run, state: Path, env: dict[str, str]) -> None:
    """Case 92: Chinese and half a surrogate pair need no locale; bytes are UTF-8."""
    text, shown = "\u4e16\u754c \ud800 end", "\u4e16\u754c \\ud800 end\n".encode()
    with FakeServer() as server:
        events = events_of(text)
        server.script("create", Stream(events=events))
        env = {**env, "BGRESP_BASE_URL": server.base_url}
        ran = bgresp("submit", "-t", "\u4e16", "--watch", env=env)
        assert (0, shown, b"") == (ran.code, ran.out_bytes, _traces(ran.err_bytes))
        again = bgresp("get", env=env)
        assert (0, shown) == (again.code, again.out_bytes)
        record = bgresp("get", "--json", env=env)
        assert text == json.loads(record.out)["text"]
        listed = bgresp("list", "-n", env=env)
        assert 2 == listed.code


def _traces(err: bytes) -> bytes:
    return err if has_bug(err) else b""


REFS = ("../../v1/files", "x?y=1", "a%2fb", "x#f", "a b", "a\nb", "a\\b", "r" * 5000)


@pytest.mark.parametrize("verb", ["status", "cancel"])
def test_no_ref_is_a_path(bgresp: Run, server: FakeServer, verb: str) -> None:
    """Case 96: what would change the request's path is refused, and nobody is asked."""
    for ref in REFS:
        ran = bgresp(verb, ref)
        assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n")), ran.err[:300]
    assert () == server.requests


def test_output_goes_through_no_link(bare: Run, state: Path, tmp_path: Path) -> None:
    """Case 97: a link is not followed and a file not replaced; --force replaces both.

    What the link points to stays as it is.
    """
    seed(state, {"status": "completed", "text": FOX})
    victim, link, taken = (tmp_path / name for name in ("victim", "link", "taken"))
    victim.write_text("mine")
    taken.write_text("mine")
    link.symlink_to(victim)
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("link", "taken", "dangling", "no/file", "."):
        ran = bare("get", "-o", name)
        assert (2, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
    assert ("mine", "mine") == (victim.read_text(), taken.read_text())
    assert not (tmp_path / "nowhere").exists()
    assert 0 == bare("get", "-o", "link", "--force").code
    assert (False, "mine") == (link.is_symlink(), victim.read_text())
    assert FOX + "\n" == link.read_text()
    assert [] == [p.name for p in tmp_path.iterdir() if p.name.startswith(".bgresp-")]


@pytest.mark.parametrize(
    "key", [f"{KEY} {KEY}", f"{KEY}\u00e9", f"a\n{KEY}", f"{KEY}\x00x", f'"{KEY}\t"']
)
def test_a_key_that_is_none(
    bare: Run, server: FakeServer, state: Path, tmp_path: Path, key: str
) -> None:
    """Case 98: a key with what no key holds is refused by its source, never shown."""
    held = tmp_path / "key"
    held.write_text(key)
    held.chmod(0o600)
    (tmp_path / "config").mkdir(exist_ok=True)
    config = tmp_path / "config" / "config.toml"
    config.write_text(
        f'[profiles.a]\nbase_url = "{server.base_url}"\napi_key_file = "{held}"\n'
        f'[profiles.b]\nbase_url = "{server.base_url}"\n'
        f'api_key_cmd = ["cat", "{held}"]\n'
    )
    with_env = "\x00" not in key
    env = {"BGRESP_API_KEY": key} if with_env else {}
    for profile in "ab":
        ran = bare(
            "submit", "-t", "x", "-p", profile, env=env if profile == "a" else {}
        )
        assert (4, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
        assert "SENTINEL" not in ran.err
    assert () == server.requests
    assert not any(b"SENTINEL" in held for held in picture(state).values())


def test_a_key_that_is_trimmed_or_open(
    bare: Run, server: FakeServer, tmp_path: Path
) -> None:
    """Cases 98, 99: a line end is taken off; a file others may read is not used."""
    held = tmp_path / "key"
    held.write_text(f" {KEY}\r\n")
    held.chmod(0o600)
    (tmp_path / "config").mkdir(exist_ok=True)
    (tmp_path / "config" / "config.toml").write_text(
        f'[profiles.a]\nbase_url = "{server.base_url}"\napi_key_file = "{held}"\n'
    )
    assert 0 == bare("submit", "-t", "x", "-p", "a").code
    assert f"Bearer {KEY}" == server.creates[0].headers["authorization"]
    held.chmod(0o644)
    ran = bare("submit", "-t", "x", "-p", "a")
    assert (4, True) == (ran.code, f"chmod 600 {held}" in ran.err)
    assert 1 == len(server.requests)


UNSAFE_URLS = (
    ("http://example.com/v1", "never sent over http://"),
    ("http://127.0.0.1.example.com/v1", "never sent over http://"),
    ("http://[::ffff:1.2.3.4]/v1", "never sent over http://"),
    ("https://user:SENTINEL@example.com/v1", "user name or password"),
    ("http://SENTINEL@127.0.0.1/v1", "user name or password"),
)


def test_where_no_key_goes(bare: Run, state: Path) -> None:
    """Cases 102, 103: no key over http:// to others, no password in a URL or shown."""
    for url, said in UNSAFE_URLS:
        env = {"BGRESP_API_KEY": KEY, "BGRESP_BASE_URL": url}
        ran = bare("submit", "-t", "x", env=env)
        assert (4, "", 1) == (ran.code, ran.out, ran.err.count("\n"))
        assert (True, False) == (said in ran.err, "SENTINEL" in ran.err)
    assert not state.exists()


@pytest.mark.parametrize(
    "env",
    [
        {"ALL_PROXY": "socks5://127.0.0.1:9"},
        {"HTTPS_PROXY": "nonsense"},
        {"SSL_CERT_FILE": "/nonexistent/ca.pem"},
        {"HTTPS_PROXY": "http://127.0.0.1:9"},
    ],
)
def test_a_connection_set_up_wrong(bare: Run, state: Path, env: dict[str, str]) -> None:
    """Case 104: a wrong proxy or certificate file is one line, and nothing was sent."""
    base = {"BGRESP_BASE_URL": "https://bgresp.invalid/v1", "BGRESP_API_KEY": KEY}
    ran = bare("submit", "-t", "x", env={**base, **env})
    *_, line = ran.err.splitlines()
    assert (True, "") == (ran.code in {4, 6}, ran.out), ran
    assert line.startswith("bgresp: ")
    assert not has_bug(ran.err)
    assert all("rejected" == job["status"] for job in records(state)[1:])
    assert "SENTINEL" not in ran.err


def test_no_key_in_the_process_list(start: Start, server: FakeServer) -> None:
    """Case 105: what `ps` shows of a running command has no key."""
    server.script("create", Stream(until=6, end=End.HANG))
    it = start(
        "submit", "-t", "x", "--watch", env={"BGRESP_API_KEY": KEY}, forked=False
    )
    it.until(b"quick")
    shown = Path(f"/proc/{it.process.pid}/cmdline").read_bytes()
    assert (True, False) == (b"submit" in shown, b"SENTINEL" in shown)
    assert 130 == it.finish(2).code


def test_nobody_else_reads_the_state(shell: Shell, state: Path, tmp_path: Path) -> None:
    """Case 106: whatever the umask, files are 0600 and folders 0700; -o is the user's."""
    whole = '"$@" --watch && "$@" --key k && "$@" -o answer'
    assert 0 == shell(f"umask 000; {whole}", "submit", "-t", "x").code
    assert "0o666" == oct((tmp_path / "answer").stat().st_mode & 0o777)
    found = [state, *state.rglob("*")]
    modes = {(p.is_dir(), oct(p.stat().st_mode & 0o777)) for p in found}
    assert {(True, "0o700"), (False, "0o600")} == modes


@pytest.mark.parametrize("status", [301, 303, 307])
def test_a_redirect_is_named_and_not_followed(
    bgresp: Run, server: FakeServer, state: Path, status: int
) -> None:
    """Section 5.3: the host that a redirect names sees nothing, of any verb."""
    with FakeServer() as other:
        away = redirect(status, f"{other.base_url}/elsewhere")
        server.script("create", away)
        ran = bgresp("submit", "-t", "x")
        assert (7 if status == 303 else 4) == ran.code
        assert other.base_url in ran.err or status == 303
        seed(state, {"id": ident(9), "streamable": True}, server=server)
        server.script("cancel", away, away)
        said = f"redirected to {other.base_url}/elsewhere, which is never followed"
        for verb in ("status", "get", "watch", "wait", "sync", "cancel"):
            server.script("stream" if verb == "watch" else "get", away)
            ran = bgresp(verb, ident(9))
            assert (4, True) == (ran.code, said in ran.err), verb
        assert "queued" == last(state)["status"]
        server.script("get", as_json(response_of("failed", response_id=ident(9))))
        assert "ended before the cancel" in bgresp("cancel", ident(9)).err
    assert () == other.requests


def test_closed_descriptors(shell: Shell, server: FakeServer, state: Path) -> None:
    """Case 107: with any of 0, 1, 2 closed no output gets into the ledger.

    A job that was accepted is in it, and only a closed stdout is an error.
    """
    closings = {"<&-": 0, "2>&-": 0, ">&-": 1, "<&- >&-": 1, ">/dev/full": 1}
    for number, (closing, code) in enumerate(closings.items(), 1):
        ran = shell(f'"$@" {closing}', "submit", "-t", "x", "--watch")
        assert (code, False) == (ran.code, has_bug(ran.err)), closing
        assert number == len(server.creates)
        assert ident(number) in {line.get("id") for line in records(state)}
    assert 0 == server.cancels()


def test_a_pipe_to_head(shell: Shell, state: Path) -> None:
    """Case 107: `list | head -1` prints one row, and list ends with 141."""
    seed(state, *[{"name": "n" * 400}] * 600)
    script = '{ "$@" --all; echo "$?" >&2; } | head -n 1'
    ran = shell(script, "list")
    assert (1, "141\n") == (ran.out.count("\n"), ran.err)


@pytest.mark.parametrize("retry", ["0", "9000000000000000000"])
def test_a_stream_does_not_set_the_pace(
    bgresp: Run, server: FakeServer, retry: str
) -> None:
    """Case 110: `retry:` of the server neither hurries nor stops a reconnect."""
    head = Framing(head=f"retry: {retry}\n\n".encode())
    server.script("create", Stream(until=6, end=End.FIN, framing=head))
    ran = bgresp("submit", "-t", "x", "--watch")
    assert (0, FOX + "\n") == (ran.code, ran.out)
    assert len(server.requests) < 6


def test_a_server_cannot_stop_us_by_retry_after(
    bgresp: Run, server: FakeServer, state: Path
) -> None:
    """Case 109: nonsense in Retry-After is no wait at all."""
    seed(state, {}, server=server)
    odd = ("-5", "nan", "inf", "soon", "Thu, 01 Jan 1970 00:00:00 GMT")
    for value in odd:
        server.script("get", as_json({"error": "slow"}, 429, retry_after=value))
        assert bgresp("status").code in {5, 6}
    server.script("get", as_json(response_of("completed", FOX)))
    assert 0 == bgresp("get").code
    assert len(odd) + 1 == len(server.requests)
