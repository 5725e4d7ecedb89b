"""Which endpoint is meant: flag, environment, profile, default, in that order."""

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from bgresp.config import secret, urls
from bgresp.config.files import (
    DIALECTS,
    Config,
    Table,
    built_in,
    dialect,
    known_profiles,
    meant,
    wrong_default,
)
from bgresp.config.secret import TWO_WAYS, KeySource
from bgresp.config.urls import (
    Noted,
    Pair,
    dialect_chain,
    is_same_url,
    kept_tables,
    noted_tables,
    tables_digest,
    with_tables,
)
from bgresp.core.dialect import Auth, Dialect
from bgresp.core.endpoint import Webhook
from bgresp.core.errors import ConfigError, RefusedError, UsageError
from bgresp.core.model import NOTHING, Job
from bgresp.core.text import one_line

OPENAI: Final = "openai"
HOME: Final = "profile_url"
DEFAULT: Final = "default"
NAMED: Final = 10  # profiles that are named where none is chosen
# Sources of a key that say of no secret which: the profile, as it is now, does.
_UNNAMED: Final = frozenset({"", "cmd", "cmd:dialect", "none"})
# Variables of the openai profile that its environment may set.
OPENAI_VARS: Final = {"organization": "OPENAI_ORG_ID", "project": "OPENAI_PROJECT_ID"}


class Flags(NamedTuple):
    """What the command line says about the endpoint."""

    profile: str | None = None
    base_url: str | None = None
    model: str | None = None
    headers: Mapping[str, str] = NOTHING
    allow_http: bool = False
    webhook: Webhook | None = None


class Settings(NamedTuple):
    """One endpoint as configured; `origins` says where each value came from.

    `home` is the base URL that the profile itself says, whatever is asked instead. A
    program for the key does not see the variables in `hidden`: they name other keys.
    """

    profile: str
    dialect: Dialect
    base_url: str
    key_source: KeySource
    model: str | None = None
    vars: Mapping[str, str] = NOTHING
    headers: Mapping[str, str] = NOTHING
    stream: bool = False
    webhook: Webhook | None = None
    home: str | None = None
    origins: Mapping[str, str] = NOTHING
    tables: Mapping[str, Table] = NOTHING
    hidden: frozenset[str] = frozenset()

    def __repr__(self) -> str:
        """Tell nothing that may be secret."""
        return f"Settings({self.profile!r}, {self.base_url!r})"

    @property
    def identity(self) -> str:
        """Return what is equal for jobs that may share connections."""
        who = (self.profile, self.base_url, self.dialect.name, str(self.key_source))
        kept = tables_digest(self.tables) if self.tables else None
        return repr((*who, sorted(self.vars.items()), sorted(self.headers), kept))

    @property
    def kept(self) -> dict[str, Any]:
        """Return what a job keeps of its endpoint beside its own fields."""
        kept: dict[str, Any] = {"key_source": str(self.key_source)}
        if self.tables:
            kept[DIALECTS] = dict(self.tables)
        if self.home is None or is_same_url(self.home, self.base_url):
            return kept
        return {**kept, HOME: self.home}

    @property
    def is_local(self) -> bool:
        """Say whether this is the endpoint that bgresp itself starts."""
        return urls.is_local(self.base_url)


def resolve(
    flags: Flags, environ: Mapping[str, str], config: Config, *, keyed: bool = True
) -> Settings:
    """Return the settings for new jobs and for ids that the ledger does not know.

    Without `keyed` nothing has to be configured, and a key that is not set is a source
    of the kind `missing`. Raises ConfigError where something is missing or unsafe.
    """
    name, why = _profile_name(flags, environ, config)
    if keyed and why == DEFAULT:
        raise _none_chosen(config)
    profile = _profile(name, config, why)
    spoken = _tuned(dialect(str(profile.get("dialect", OPENAI)), config), profile)
    variables = _vars(name, profile, environ)
    template, origin = _base_url(name, profile, flags, environ=environ, spoken=spoken)
    urls.require(spoken, template, variables, name)
    base_url = urls.filled(template, variables)
    allow_http = flags.allow_http or bool(profile.get("allow_http", False))
    urls.check(base_url, keyed=False, allow_http=allow_http)
    explicit = flags.base_url is not None or origin == "OPENAI_BASE_URL"
    try:
        source = secret.choose(
            profile, environ, spoken.auth, base_url=base_url, explicit=explicit
        )
    except ConfigError:
        if keyed:
            raise
        source = secret.missing(
            environ, spoken.auth, base_url=base_url, explicit=explicit
        )
    model, model_origin = _model(flags, environ, profile)
    settings = Settings(
        profile=name,
        dialect=spoken,
        base_url=base_url,
        key_source=source,
        model=model,
        vars=variables,
        headers={**_strings(profile, "headers", name), **flags.headers},
        stream=bool(profile.get("stream", False)),
        webhook=_asked_for(name, profile, spoken, flags),
        home=_home(name, config),
        origins={"profile": why, "base_url": origin, "model": model_origin},
        tables=kept_tables(spoken.name, config),
        hidden=_hidden(config, name, source),
    )
    if flags.webhook is None and not is_same_url(settings.home, base_url):
        settings = settings._replace(webhook=None)  # its secret is not for others
    keyed = source.kind != "none" or settings.webhook is not None
    urls.check(base_url, keyed=keyed, allow_http=allow_http)
    return settings


def _none_chosen(config: Config) -> ConfigError:
    """Return why nothing says where a job goes: a profile of one's own may be there."""
    own = sorted(config.profiles)
    if not own:
        return ConfigError("no endpoint is configured", hint=TWO_WAYS)
    many = f"; there are {', '.join(own[:NAMED])}" if len(own) > 1 else ""
    example = shlex.quote(own[0])
    return ConfigError(
        f"no profile is chosen{many}",
        hint=f"bgresp config use {example}, or -p {example}",
    )


def _asked_for(
    name: str, profile: Table, spoken: Dialect, flags: Flags
) -> Webhook | None:
    """Return the webhook that new jobs ask for. Raises ConfigError, RefusedError."""
    message = f"a {spoken.name} endpoint takes no webhook with a request"
    if flags.webhook is not None:
        if not spoken.takes_webhook:
            raise RefusedError(message, hint="where it calls by itself: bgresp listen")
        return flags.webhook
    try:
        found = secret.webhook(profile)
    except UsageError as error:
        raise ConfigError(f"profile {name!r}: {error.message}") from None
    if found is not None and not spoken.takes_webhook:
        raise ConfigError(f"profile {name!r} has webhook_url: {message}")
    return found


class Machine(NamedTuple):
    """Whose word is taken for where a key goes: this machine's, never a ledger's.

    `flags` and `environ` are those of this call, `noted` is what earlier ones joined.
    """

    config: Config
    environ: Mapping[str, str] = NOTHING
    flags: Flags = Flags()
    noted: Noted = Noted()

    def __repr__(self) -> str:
        """Tell nothing that may be secret."""
        return f"Machine({str(self.config.path)!r})"


class _Grant(NamedTuple):
    """A source of a key that may go to a base URL, and the profile that names it.

    `lends` says that the profile's headers may go there, too; `is_trusted` that it
    serves jobs whose own source nothing here names.
    """

    profile: str
    source: KeySource
    lends: bool = True
    is_trusted: bool = False


def pair_of(settings: Settings) -> Pair:
    """Return the base URL and the source of a key that some settings join."""
    source = str(settings.key_source)
    return Pair(settings.base_url, source, settings.profile, settings.home)


def is_configured(settings: Settings, config: Config) -> bool:
    """Say whether the configuration alone joins the key to the base URL."""
    sources = _configured(settings.profile, settings.base_url, config)
    return settings.is_local or str(settings.key_source) in map(str, sources)


def of_job(job: Job, machine: Machine) -> Settings:
    """Return the settings that a job was made with; it keeps its endpoint.

    Its key is read from the source it names if this machine joins that to its base
    URL; only then do headers go there. A profile that says another base URL now is
    another endpoint's. Raises ConfigError where nothing joins them, or when the job's
    dialect is gone.
    """
    config, flags = machine.config, machine.flags
    name = job.profile or OPENAI
    base_url = job.base_url or _home(name, config) or ""
    urls.check(base_url, keyed=False, allow_http=True)
    grant = _granted(job, base_url, machine)
    lends = grant.lends
    table: Table = config.profiles.get(grant.profile, {}) if lends else {}
    lent = dialect_chain(_spoken_by(grant.profile, config) if lends else OPENAI, config)
    tables = noted_tables(job, _dialects(job, machine))
    known = with_tables(config, tables, lent=lent)
    spoken = _tuned(dialect(job.dialect or OPENAI, known), table)
    settings = Settings(
        profile=name,
        dialect=spoken,
        base_url=base_url,
        key_source=grant.source,
        model=job.wanted_model,
        vars=job.vars,
        headers={**_strings(table, "headers", grant.profile), **flags.headers},
        webhook=_lent_webhook(table, spoken),
        tables=tables or kept_tables(spoken.name, config),
        hidden=_hidden(config, grant.profile, grant.source),
    )
    allow_http = flags.allow_http or bool(table.get("allow_http", False))
    keyed = settings.key_source.kind != "none" or settings.webhook is not None
    urls.check(base_url, keyed=keyed, allow_http=allow_http)
    return settings


def _lent_webhook(table: Table, spoken: Dialect) -> Webhook | None:
    """Return the webhook of a job's profile; a wrong one must not keep the job."""
    try:
        return secret.webhook(table) if spoken.takes_webhook else None
    except UsageError:
        return None


def _granted(job: Job, base_url: str, machine: Machine) -> _Grant:
    """Return the grant that a job's key is read by.

    Raises ConfigError that says how to allow it.
    """
    name, config = job.profile or OPENAI, machine.config
    if urls.is_local(base_url):  # its key never leaves this machine
        lends = is_same_url(_home(name, config), base_url)
        return _Grant(name, KeySource("local"), lends)
    stored = str(job.extra.get("key_source") or "")
    others: list[_Grant] = []
    for grant in _grants(name, base_url, machine):
        if str(grant.source) == stored:
            return grant
        others.append(grant)
    if stored in _UNNAMED:
        its = [grant for grant in others if grant.profile == name]
        if its:
            return its[0]
    if not stored and len({str(grant.source) for grant in others}) == 1:
        return others[0]
    trusted = next((grant for grant in others if grant.is_trusted), None)
    if trusted is not None:
        return trusted
    hint = f"bgresp config trust {shlex.quote(base_url)}"
    if stored in _UNNAMED:
        message = f"came from profile {name!r}, which has none for it now"
        raise ConfigError(f"the key of {job.ref} {message}", hint=hint)
    source = one_line(stored, limit=80)
    known = f" -p {shlex.quote(name)}" if name in known_profiles(config) else ""
    raise ConfigError(
        f"the key of {job.ref} is from {source}: nothing here lets it go to {base_url}",
        hint=f"{hint}{known}",
    )


def _grants(name: str, base_url: str, machine: Machine) -> Iterator[_Grant]:
    """Yield who may lend a key to a base URL: first the job's own profile.

    Then what was noted, this call, and every other profile that says this base URL.
    """
    config = machine.config
    yield from _by_profile(name, base_url, machine)
    for pair in reversed(machine.noted.pairs):
        if not pair.joins(base_url):
            continue
        lends = is_same_url(pair.home, _home(pair.profile, config))
        profile, auth = _parts(pair.profile, config) if lends else ({}, None)
        source = secret.named(pair.key_source, profile, auth)
        if source is not None:
            yield _Grant(pair.profile, source, lends, pair.trusted)
    try:
        call = resolve(machine.flags, machine.environ, config)
    except ConfigError:
        call = None
    if call is not None and is_same_url(call.base_url, base_url):
        yield _Grant(call.profile, call.key_source)
    for other in known_profiles(config):
        if other != name:
            yield from _by_profile(other, base_url, machine)


def _by_profile(name: str, base_url: str, machine: Machine) -> list[_Grant]:
    """Return what a profile lends; what is not set comes last."""
    sources = _configured(name, base_url, machine.config)
    sources.sort(key=lambda s: s.kind == "env" and not machine.environ.get(s.name))
    return [_Grant(name, source) for source in sources]


def _configured(name: str, base_url: str, config: Config) -> list[KeySource]:
    """Return the sources of keys that a profile names for a base URL, if it is its."""
    if not is_same_url(_home(name, config), base_url):
        return []
    profile, auth = _parts(name, config)
    return secret.configured(profile, auth, base_url) if auth is not None else []


def _parts(name: str, config: Config) -> tuple[Table, Auth | None]:
    """Return a profile's table and how its dialect takes a key, where there is one."""
    try:
        profile = _profile(name, config)
        return profile, dialect(str(profile.get("dialect", OPENAI)), config).auth
    except ConfigError:
        return {}, None


def _spoken_by(name: str, config: Config) -> str:
    try:
        return str(_profile(name, config).get("dialect", OPENAI))
    except ConfigError:
        return OPENAI


def _dialects(job: Job, machine: Machine) -> frozenset[str]:
    """Return the digests of dialects that are this machine's: noted, or as they are."""
    now = tables_digest(kept_tables(job.dialect or OPENAI, machine.config))
    return machine.noted.dialects | {now}


def _hidden(config: Config, profile: str, source: KeySource) -> frozenset[str]:
    """Return the variables that a profile's program for its key must not see."""
    if source.kind != "cmd":
        return frozenset()
    return config.key_variables - config.env_pass(profile)


def _profile_name(
    flags: Flags, environ: Mapping[str, str], config: Config
) -> tuple[str, str]:
    if flags.profile:
        return flags.profile, "-p"
    if environ.get("BGRESP_PROFILE"):
        return environ["BGRESP_PROFILE"], "BGRESP_PROFILE"
    if config.default_profile:
        return config.default_profile, config.default_origin or str(config.path)
    hints = ("BGRESP_BASE_URL", "BGRESP_API_KEY", "OPENAI_API_KEY")
    usual = "--base-url" if flags.base_url else DEFAULT
    return OPENAI, next((name for name in hints if environ.get(name)), usual)


def _profile(name: str, config: Config, why: str = "") -> Table:
    if name in config.profiles:
        return config.profiles[name]
    if name in config.dialects or name in built_in():
        return {"dialect": name}
    if why and why == config.default_origin:
        raise wrong_default(config)
    raise ConfigError(f"no profile {name!r}", hint=meant(name, known_profiles(config)))


def _tuned(spoken: Dialect, profile: Table) -> Dialect:
    tuned = {k: profile[k] for k in ("rate", "connections", "streams") if k in profile}
    return spoken._replace(limits=spoken.limits._replace(**tuned)) if tuned else spoken


def _vars(name: str, profile: Table, environ: Mapping[str, str]) -> dict[str, str]:
    found = _strings(profile, "vars", name)
    if name == OPENAI:
        found |= {v: environ[e] for v, e in OPENAI_VARS.items() if environ.get(e)}
    return found


def _home(name: str, config: Config) -> str | None:
    """Return the base URL that a profile says now; None where it says none."""
    try:
        profile = _profile(name, config)
        spoken = dialect(str(profile.get("dialect", OPENAI)), config)
        own = urls.local_base_url(name, profile, spoken) or profile.get("base_url")
        if own is None:
            own = spoken.base_url
        return urls.filled(str(own), _strings(profile, "vars", name)) or None
    except ConfigError:
        return None


def _base_url(
    name: str,
    profile: Table,
    flags: Flags,
    *,
    environ: Mapping[str, str],
    spoken: Dialect,
) -> tuple[str, str]:
    """Return the base URL, a template yet, and where it comes from."""
    engine = urls.local_base_url(name, profile, spoken)
    if flags.base_url:
        return flags.base_url, "--base-url"
    if environ.get("BGRESP_BASE_URL"):
        return environ["BGRESP_BASE_URL"], "BGRESP_BASE_URL"
    if name == OPENAI and environ.get("OPENAI_BASE_URL"):
        return environ["OPENAI_BASE_URL"], "OPENAI_BASE_URL"
    if engine is not None:
        return engine, f"profile {name}"
    if "base_url" in profile:
        return profile["base_url"], f"profile {name}"
    return spoken.base_url, f"dialect {spoken.name}"


def _model(
    flags: Flags, environ: Mapping[str, str], profile: Table
) -> tuple[str | None, str]:
    if flags.model:
        return flags.model, "-m"
    if environ.get("BGRESP_MODEL"):
        return environ["BGRESP_MODEL"], "BGRESP_MODEL"
    return profile.get("model"), "profile"


def _strings(table: Table, name: str, profile: str) -> dict[str, str]:
    found: Mapping[str, Any] = table.get(name, {})
    for key, value in found.items():
        if not isinstance(value, str):
            raise ConfigError(f"profile {profile!r}: '{name}.{key}' must be text")
    return dict(found)
