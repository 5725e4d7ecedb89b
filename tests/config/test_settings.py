"""Which endpoint is meant: flag over environment over profile over default."""

from pathlib import Path
from typing import Any

import pytest

from bgresp.config import files, secret, settings, urls
from bgresp.config.files import Config
from bgresp.config.secret import KeySource
from bgresp.config.settings import Flags, Machine, Settings
from bgresp.config.urls import Noted, Pair, kept_tables, tables_digest
from bgresp.core.endpoint import Webhook
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job

ELSEWHERE = "https://elsewhere.example/v1"
PATH = Path("/etc/bgresp/config.toml")
KEY = {"OPENAI_API_KEY": "sk-hunter2"}
OWN = {"BGRESP_API_KEY": "sk-hunter2"}
WORK: dict[str, Any] = {"base_url": "https://work.example/v1", "model": "work-model"}
MINE: dict[str, Any] = {
    "extends": "openai",
    "base_url": "https://{var.region}.example/v9",
    "auth": {"header": "X-API-Key", "value": "{key}", "env": "MINE_KEY"},
}


def config(default: str | None = None, **profiles: dict[str, Any]) -> Config:
    return Config(
        PATH, default, profiles, dict.fromkeys(profiles, PATH), {"mine": MINE}
    )


def resolved(
    flags: Flags | None = None, environ: dict[str, str] | None = None, **rest: Any
) -> Settings:
    return settings.resolve(flags or Flags(), environ or {}, config(**rest))


def refused(
    flags: Flags | None = None, environ: dict[str, str] | None = None, **rest: Any
) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        resolved(flags, environ, **rest)
    assert "hunter2" not in caught.value.message + caught.value.hint
    return caught.value


@pytest.mark.parametrize(
    ("flags", "environ", "default", "expected", "origin"),
    [
        (Flags("a"), {"BGRESP_PROFILE": "b"}, "c", "a", "-p"),
        (Flags(), {"BGRESP_PROFILE": "b"}, "c", "b", "BGRESP_PROFILE"),
        (Flags(), {}, "c", "c", str(PATH)),
        (Flags(), {}, None, "openai", "BGRESP_API_KEY"),
    ],
)
def test_the_profile_s_order(
    flags: Flags, environ: dict[str, str], default: str, expected: str, origin: str
) -> None:
    """A profile is named by -p, BGRESP_PROFILE, the configuration, or is openai."""
    found = resolved(flags, {**environ, **OWN}, default=default, a={}, b={}, c={})
    assert (expected, origin) == (found.profile, found.origins["profile"])


@pytest.mark.parametrize(
    ("flag", "environ", "profile", "expected", "origin"),
    [
        (
            "https://f.example/v1",
            {"BGRESP_BASE_URL": "https://e.example/v1"},
            WORK,
            "https://f.example/v1",
            "--base-url",
        ),
        (
            None,
            {"BGRESP_BASE_URL": "https://e.example/v1"},
            WORK,
            "https://e.example/v1",
            "BGRESP_BASE_URL",
        ),
        (None, {}, WORK, "https://work.example/v1", "profile openai"),
        (None, {}, {}, "https://api.openai.com/v1", "dialect openai"),
        (
            None,
            {"OPENAI_BASE_URL": "https://o.example/v1"},
            WORK,
            "https://o.example/v1",
            "OPENAI_BASE_URL",
        ),
        (
            None,
            {"OPENAI_BASE_URL": "https://o.example", "BGRESP_BASE_URL": "https://e.x"},
            {},
            "https://e.x",
            "BGRESP_BASE_URL",
        ),
    ],
)
def test_the_base_url_s_order(
    flag: str | None,
    environ: dict[str, str],
    profile: dict[str, Any],
    expected: str,
    origin: str,
) -> None:
    """A base URL is the flag's, the environment's, the profile's or the dialect's."""
    flags = Flags("openai", base_url=flag)
    found = resolved(flags, {**environ, **OWN}, openai=profile)
    assert (expected, origin) == (found.base_url, found.origins["base_url"])


def test_openai_s_environment_is_for_the_openai_profile() -> None:
    """OPENAI_BASE_URL, organization and project do not touch other profiles."""
    environ = {
        **OWN,
        "OPENAI_BASE_URL": "https://o.example/v1",
        "OPENAI_ORG_ID": "org",
        "OPENAI_PROJECT_ID": "proj",
    }
    work = resolved(Flags("work"), environ, work=WORK)
    assert ("https://work.example/v1", {}) == (work.base_url, work.vars)
    ours = resolved(Flags("openai"), environ)
    assert {"organization": "org", "project": "proj"} == ours.vars
    assert "https://o.example/v1" == ours.base_url


@pytest.mark.parametrize(
    ("flag", "environ", "profile", "expected", "origin"),
    [
        ("f", {"BGRESP_MODEL": "e"}, {"model": "p"}, "f", "-m"),
        (None, {"BGRESP_MODEL": "e"}, {"model": "p"}, "e", "BGRESP_MODEL"),
        (None, {}, {"model": "p"}, "p", "profile"),
        (None, {}, {}, None, "profile"),
    ],
)
def test_the_model_s_order(
    flag: str | None,
    environ: dict[str, str],
    profile: dict[str, Any],
    expected: str | None,
    origin: str,
) -> None:
    """A model is the flag's, the environment's or the profile's, else none."""
    found = resolved(Flags("w", model=flag), {**environ, **OWN}, w=profile)
    assert (expected, origin) == (found.model, found.origins["model"])


def test_headers_and_limits_are_the_profile_s() -> None:
    """Flags add headers; rate, connections and streams tune the dialect."""
    profile = {"headers": {"X-A": "1", "X-B": "2"}, "rate": 2.5, "connections": 3}
    found = resolved(Flags("w", headers={"X-B": "3"}), OWN, w=profile)
    assert {"X-A": "1", "X-B": "3"} == found.headers
    limits = found.dialect.limits
    assert (2.5, 3, 8) == (limits.rate, limits.connections, limits.streams)
    assert "X-A" not in repr(found)


@pytest.mark.parametrize(
    ("flags", "environ", "why"),
    [
        (Flags(), KEY, "OPENAI_API_KEY"),
        (Flags(), OWN, "BGRESP_API_KEY"),
        (Flags(base_url="https://f.example"), OWN, "BGRESP_API_KEY"),
        (Flags(base_url="http://localhost:1"), KEY, "OPENAI_API_KEY"),
    ],
)
def test_a_key_alone_means_openai(
    flags: Flags, environ: dict[str, str], why: str
) -> None:
    """A key or a base URL is configuration enough for the openai profile."""
    found = resolved(flags, environ)
    assert ("openai", why) == (found.profile, found.origins["profile"])


def test_nothing_configured_names_the_two_ways_out() -> None:
    """Without a key the way to set one and the local endpoint are named."""
    error = refused()
    assert "OPENAI_API_KEY" in error.hint
    assert "-p local" in error.hint
    assert "-p local" in refused(Flags(base_url="https://f.example/v1")).hint


def test_the_local_endpoint_needs_nothing() -> None:
    """-p local works without any configuration, and with any key around."""
    for environ in ({}, KEY, OWN):
        found = resolved(Flags("local"), environ)
        assert found.is_local
        assert (urls.LOCAL, "local") == (found.base_url, str(found.key_source))


def test_an_unknown_profile_is_named_with_the_known() -> None:
    """A mistyped profile is answered with the one that was meant."""
    error = refused(Flags("wrok"), OWN, work=WORK)
    assert "no profile 'wrok'" in error.message
    assert "did you mean work?" in error.hint
    assert "openai" in error.hint


def test_every_dialect_is_a_profile() -> None:
    """A dialect's name works as a profile, with its own variable's key."""
    found = resolved(Flags("local", base_url="http://127.0.0.1:1/v1"))
    assert ("local", "none") == (found.dialect.name, str(found.key_source))
    environ = {"MINE_KEY": "k"}
    error = refused(Flags("mine"), environ)
    assert "needs region" in error.message
    mine = {"dialect": "mine", "vars": {"region": "eu/../x"}}
    assert (
        "https://eu%2F..%2Fx.example/v9"
        == resolved(Flags("m"), environ, m=mine).base_url
    )


@pytest.mark.parametrize("name", ["openai", "local"])
def test_a_built_in_dialect_is_not_redefined(name: str) -> None:
    """A dialect in config.toml under a built-in name is refused, whoever uses it."""
    own = Config(PATH, dialects={name: {}, "mine": {"extends": "openai"}})
    for used in ("openai", "local", "mine"):
        with pytest.raises(ConfigError, match=f"{name!r} is built in") as caught:
            files.dialect(used, own)
        assert str(PATH) in caught.value.message


@pytest.mark.parametrize(
    ("base_url", "belongs"),
    [
        ("https://api.openai.com/v1", True),
        ("https://work.example/v1", False),
        ("http://127.0.0.1:8000/v1", False),
    ],
)
def test_openai_s_key_goes_where_it_belongs(base_url: str, belongs: bool) -> None:
    """OPENAI_API_KEY goes to api.openai.com, OPENAI_BASE_URL or --base-url only."""
    profile = {"base_url": base_url}
    for environ in ({**KEY, "BGRESP_BASE_URL": base_url}, KEY):
        if belongs:
            found = resolved(Flags("w"), environ, w=profile)
            assert "env:OPENAI_API_KEY" == str(found.key_source)
        else:
            error = refused(Flags("w"), environ, w=profile)
            assert "OPENAI_API_KEY is not sent to" in error.message
            assert (
                "nothing says where the key" in refused(Flags("w"), w=profile).message
            )
    for flags, environ in (
        (Flags("openai"), {**KEY, "OPENAI_BASE_URL": base_url}),
        (Flags("w", base_url=base_url), KEY),
    ):
        found = resolved(flags, environ, w=profile)
        assert "env:OPENAI_API_KEY" == str(found.key_source)


@pytest.mark.parametrize(
    "host",
    [
        "llm.example",
        "10.0.0.1",
        "192.168.1.5:8080",
        "128.0.0.1",
        "[::2]",
        "localhost.x",
    ],
)
def test_a_key_never_goes_over_http(host: str) -> None:
    """http:// with a key is refused but to this machine, unless it is allowed."""
    base_url = f"http://{host}/v1"
    assert "never sent over http://" in refused(Flags(base_url=base_url), KEY).message
    found = resolved(Flags(base_url=base_url, allow_http=True), KEY)
    assert base_url == found.base_url
    assert (
        base_url
        == resolved(
            Flags("w"), OWN, w={"base_url": base_url, "allow_http": True}
        ).base_url
    )
    keyless = resolved(Flags("local", base_url=base_url))
    assert "none" == str(keyless.key_source)


@pytest.mark.parametrize(
    "host", ["127.0.0.1:1", "127.8.9.1", "localhost", "[::1]:8000"]
)
def test_this_machine_may_be_spoken_to_plainly(host: str) -> None:
    """Loopback, written literally, needs no TLS."""
    assert resolved(Flags(base_url=f"http://{host}/v1"), KEY).base_url


@pytest.mark.parametrize(
    "base_url",
    [
        "https://me:hunter2@llm.example/v1",
        "https://hunter2@llm.example/v1",
        "https://me:hunter2@llm.example:port/v1",
        "https://me:hunter2@llm.example:99999/v1",
        "https://me:hunter2@[bad/v1",
        "https://me:hunter2@{var.region}.example/v1",
        "me:hunter2@llm.example/v1",
        "ftp://me:hunter2@llm.example/v1",
        "//me:hunter2@llm.example/v1",
    ],
)
def test_a_password_in_a_url_is_refused_unseen(base_url: str) -> None:
    """A base URL with a user or password is refused, and not repeated."""
    for environ in (KEY, OWN):
        refused(Flags(base_url=base_url), environ)
        refused(Flags("openai"), {**environ, "BGRESP_BASE_URL": base_url})
        refused(Flags("w"), environ, w={"base_url": base_url})


@pytest.mark.parametrize(
    "base_url",
    [
        "llm.example/v1",
        "https://",
        "https:///v1",
        "ftp://llm.example",
        "file:///etc/passwd",
        "https://llm.example:port/v1",
        "https://llm.example:99999/v1",
        "https://[bad/v1",
        "https://llm.example/v1?key=hunter2",
        "https://llm.example/v1#x",
        "https://llm.example/v1?",
        "https://llm.example/v1#",
        "https://llm.example/a b",
        "https://llm.example/\n",
        "",
    ],
)
def test_what_is_no_base_url_is_refused(base_url: str) -> None:
    """What is no absolute http(s) URL without a query is a mistake, not a crash."""
    with pytest.raises(ConfigError) as caught:
        urls.check(base_url, keyed=True, allow_http=False)
    assert caught.value.message.isprintable()
    if base_url:
        refused(Flags("openai"), {**OWN, "BGRESP_BASE_URL": base_url})
        refused(Flags("openai"), {**KEY, "BGRESP_BASE_URL": base_url})


def made(**fields: Any) -> Job:
    extra = {"key_source": fields.pop("key_source", "env:WORK_KEY")}
    known = {"id": "resp_1", "profile": "work", "dialect": "openai"}
    place = {"base_url": "https://a.example/v1"}
    return Job("01K", extra=extra, **{**known, **place, **fields})


def noted(*jobs: Job) -> Noted:
    """Return what was noted when these jobs were submitted."""
    return Noted(
        tuple(
            Pair(str(job.base_url), str(job.extra["key_source"]), str(job.profile))
            for job in jobs
        )
    )


def of_job(job: Job, known: Config | None = None, **rest: Any) -> Settings:
    """Return the settings of a job whose submit was noted, unless `noted` says else."""
    machine = Machine(known or config(), **{"noted": noted(job), **rest})
    return settings.of_job(job, machine)


def test_a_job_keeps_its_endpoint() -> None:
    """Neither a changed profile nor flags lead a job elsewhere, or change its key."""
    changed = config(work={**WORK, "api_key_env": "OTHER", "vars": {"end_user": "x"}})
    flags = Flags("other", base_url="https://f.example/v1", model="f")
    job = made(model="m", vars={"end_user": "a"})
    found = of_job(job, changed, flags=flags)
    assert ("https://a.example/v1", "work") == (found.base_url, found.profile)
    assert KeySource("env", "WORK_KEY") == found.key_source
    assert ("m", {"end_user": "a"}) == (found.model, found.vars)
    assert "openai" == found.dialect.name


def test_a_job_outlives_its_profile() -> None:
    """A job whose profile was removed is still asked about where it runs."""
    found = of_job(made())
    assert "https://a.example/v1" == found.base_url
    assert KeySource("env", "WORK_KEY") == found.key_source
    with pytest.raises(ConfigError, match="no dialect 'gone'"):
        of_job(made(dialect="gone"))
    with pytest.raises(ConfigError, match="'work', which has none for it now"):
        of_job(made(key_source="cmd"))


A = "https://a.example/v1"


@pytest.mark.parametrize(
    ("source", "here"),
    [
        ("env:AWS_SECRET_ACCESS_KEY", {}),
        ("file:~/.ssh/id_rsa", {}),
        ("cmd", {}),
        ("cmd:dialect", {}),
        ("none", {}),
        ("nonsense", {}),
        ("", {}),
        ("env:OTHER", {"noted": noted(made(base_url="https://b.example/v1"))}),
        ("env:WORK_KEY", {"noted": noted(made(base_url="https://b.example/v1"))}),
        ("env:WORK_KEY", {"noted": noted(made(base_url="https://a.example/v11"))}),
        ("env:OTHER", {"noted": noted(made())}),
        ("env:OPENAI_API_KEY", {"environ": KEY}),
        ("env:BGRESP_API_KEY", {"environ": OWN}),
        ("env:OTHER", {"environ": OWN, "flags": Flags(base_url=A)}),
    ],
)
@pytest.mark.parametrize("profile", ["work", "openai", "mine", "local", "gone", None])
def test_a_source_that_nothing_here_joins_is_not_read(
    source: str, here: dict[str, Any], profile: str | None
) -> None:
    """A ledger picks a secret: its source is read for a base URL of the ledger's."""
    job = made(key_source=source, profile=profile)
    job = job._replace(extra={**job.extra, "profile_url": WORK["base_url"]})
    known = config(work={**WORK, "api_key_env": "WORK_KEY"})
    with pytest.raises(ConfigError) as caught:
        of_job(job, known, **{"noted": Noted(), **here})
    assert f"bgresp config trust {A}" in caught.value.hint


@pytest.mark.parametrize(
    ("source", "work", "here"),
    [
        ("env:K", {"api_key_env": "K"}, {}),
        ("file:/k", {"api_key_file": "/k"}, {}),
        ("cmd", {"api_key_cmd": ["pass"]}, {}),
        ("", {"api_key_cmd": ["pass"]}, {}),
        ("", {"api_key_env": "K"}, {}),
        ("cmd", {"api_key_env": "K"}, {}),
        ("env:K", {"api_key_env": "L"}, {"noted": noted(made(key_source="env:K"))}),
        ("env:BGRESP_API_KEY", {}, {"environ": OWN}),
        ("env:BGRESP_API_KEY", {}, {"environ": OWN, "flags": Flags("work")}),
    ],
)
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_source_that_this_machine_joins_is_read(
    source: str, work: dict[str, Any], here: dict[str, Any], slash: str
) -> None:
    """A profile, an earlier submit, or this call does not join a key to its URL."""
    job = made(key_source=source, base_url=A + slash)
    here = {"noted": Noted(), **here}
    if "environ" in here:
        here["environ"] = {**here["environ"], "BGRESP_PROFILE": "work"}
    found = of_job(job, config(work={"base_url": A, **work}), **here)
    expected = {"": str(secret.profile_source(work)), "cmd": found.key_source}
    assert str(expected.get(source, source)) == str(found.key_source)


def test_what_is_trusted_outright_serves_other_jobs() -> None:
    """After `config trust` a job whose own source is foreign is still refused."""
    pair = Pair(A, "env:MY_KEY", "work", trusted=True)
    for source in ("env:AWS_SECRET_ACCESS_KEY", "", "cmd"):
        found = of_job(made(key_source=source), noted=Noted((pair,)))
        assert "env:MY_KEY" == str(found.key_source)


def test_the_newest_word_of_trust_holds() -> None:
    """A second `config trust` of a base URL, with another key, changes nothing."""
    old, new = (Pair(A, f"env:{name}", "work", trusted=True) for name in ("K", "L"))
    found = of_job(made(key_source="env:GONE"), noted=Noted((old, new)))
    assert "env:L" == str(found.key_source)


def test_an_unnamed_key_is_taken_where_there_is_one() -> None:
    """A job without a source of its key gets one of several that others name."""
    job = made(key_source="", profile="gone")
    one, same = ({"base_url": A, "api_key_env": "K"} for _ in range(2))
    found = of_job(job, config(one=one, same=same), noted=Noted())
    assert "env:K" == str(found.key_source)
    two = config(one=one, other={**one, "api_key_env": "L"})
    with pytest.raises(ConfigError, match="the key of resp_1"):
        of_job(job, two, noted=Noted())


@pytest.mark.parametrize(
    ("environ", "source"), [({}, "cmd:dialect"), ({"K": "sk-hunter2"}, "env:K")]
)
def test_of_two_ways_to_a_key_the_one_that_is_set_comes_first(
    environ: dict[str, str], source: str
) -> None:
    """A variable that is not set is read though the dialect has a command."""
    ours = config()._replace(dialects={"odd": OWNED})
    job = made(dialect="odd", profile="odd", key_source="")
    found = of_job(job, ours, noted=Noted(), environ=environ)
    assert source == str(found.key_source)


def test_headers_go_where_their_profile_s_key_goes() -> None:
    """A header of a profile, perhaps secret, goes to a base URL of the ledger's."""
    work = {"base_url": A, "api_key_env": "K", "headers": {"X-Gate": "hunter2"}}
    job = made(key_source="env:K")
    assert {"X-Gate": "hunter2"} == of_job(job, config(work=work)).headers
    moved = config(work={**work, "base_url": "https://b.example/v1"})
    assert {} == of_job(job, moved).headers


def test_headers_do_not_follow_a_record_to_the_local_endpoint() -> None:
    """A record at `local:` takes another profile's headers, or key, there."""
    work = {"base_url": A, "api_key_env": "K", "headers": {"X-Gate": "hunter2"}}
    found = of_job(made(base_url=urls.LOCAL), config(work=work))
    assert ("local", {}) == (str(found.key_source), found.headers)


OWNED = {
    "extends": "openai",
    "base_url": A,
    "auth": {"header": "X-K", "value": "{key}", "env": "K", "command": ["steal"]},
    "headers": {"X-Literal": "hunter2", "X-Of": "{var.end_user}"},
}


def test_a_dialect_of_a_ledger_is_not_spoken() -> None:
    """Tables of a dialect that this machine never noted decide what is sent."""
    stored = {"odd": {**OWNED, "ops": {"get": "POST /buy/{id}"}}}
    job = made(dialect="odd")
    job = job._replace(extra={**job.extra, "dialects": stored})
    with pytest.raises(ConfigError, match="no dialect 'odd'"):
        of_job(job)
    ours = config()._replace(dialects={"odd": OWNED})
    assert "GET" == of_job(job, ours).dialect.ops["get"].method
    seen = noted(job)._replace(dialects=frozenset({tables_digest(stored)}))
    assert "POST" == of_job(job, noted=seen).dialect.ops["get"].method


def test_a_dialect_lends_its_literals_to_its_own_base_url_alone() -> None:
    """A literal header of one dialect goes where another profile's key goes."""
    ours = config(work={"base_url": A})._replace(dialects={"odd": OWNED})
    job = made(dialect="odd", profile="work")
    found = of_job(job, ours)
    assert {"X-Of": "{var.end_user}"} == found.dialect.headers
    its = made(dialect="odd", profile="odd", key_source="env:K")
    assert OWNED["headers"] == of_job(its, ours).dialect.headers
    assert {"X-Of": "{var.end_user}"} == kept_tables("odd", ours)["odd"]["headers"]
    assert "command" not in kept_tables("odd", ours)["odd"]["auth"]


def test_a_job_s_url_is_checked_again() -> None:
    """A ledger that was tampered with sends no key over http://."""
    plain = made(base_url="http://a.example/v1")
    with pytest.raises(ConfigError, match="never sent over http://"):
        of_job(plain)
    assert of_job(plain, flags=Flags(allow_http=True)).base_url
    work = {"base_url": str(plain.base_url), "api_key_env": "WORK_KEY"}
    allowed = config(work={**work, "allow_http": True})
    assert of_job(plain._replace(profile="work"), allowed).base_url


def test_jobs_share_connections_by_identity() -> None:
    """Endpoint, key and variables tell jobs apart, the model and headers do not."""
    same = [made(), made(model="x"), made(id="resp_2")]
    found = {of_job(job).identity for job in same}
    assert 1 == len(found)
    others = (
        made(base_url="https://b.example/v1"),
        made(key_source="env:OTHER"),
        made(vars={"end_user": "b"}),
        made(profile="p"),
    )
    found |= {of_job(job).identity for job in others}
    assert 5 == len(found)


def test_profiles_are_known_by_name() -> None:
    """What -p takes is every profile and every dialect."""
    known = files.known_profiles(config(work=WORK))
    assert {"work", "mine", *files.built_in()} == set(known)
    assert sorted(known) == known


@pytest.mark.parametrize(("base_url", "asks"), [(None, True), (ELSEWHERE, False)])
def test_a_profile_s_webhook_is_for_its_own_endpoint(
    base_url: str | None, asks: bool
) -> None:
    """A profile's webhook, and the name of its secret, go to another base URL."""
    local = {"dialect": "local", "webhook_url": A, "webhook_secret_env": "HOOK"}
    found = resolved(Flags("p", base_url=base_url), OWN, p=local)
    assert asks == (found.webhook is not None)
    typed = Webhook(A, "OTHER")
    found = resolved(Flags("p", base_url=base_url, webhook=typed), OWN, p=local)
    assert typed == found.webhook
