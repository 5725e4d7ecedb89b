"""Which endpoint is meant: flag, environment, profile, default, in that order."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from bgresp.config import own, secret, urls
from bgresp.config import variables as variables_
from bgresp.config.files import Config, Table, built_in
from bgresp.config.names import known_profiles, meant
from bgresp.config.secret import TWO_WAYS, KeySource
from bgresp.core.dialect import Dialect
from bgresp.core.dialect_schema import build
from bgresp.core.errors import ConfigError
from bgresp.core.model import Job

OPENAI: Final = "openai"
HOME: Final = "profile_url"
DEFAULT: Final = "default"
# Variables of the openai profile that its environment may set.
OPENAI_VARS: Final = {"organization": "OPENAI_ORG_ID", "project": "OPENAI_PROJECT_ID"}


@dataclass(frozen=True, slots=True)
class Flags:
    """What the command line says about the endpoint."""

    profile: str | None = None
    base_url: str | None = None
    model: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    allow_http: bool = False


@dataclass(frozen=True, slots=True)
class Settings:
    """One endpoint as configured; `origins` says where each value came from.

    `home` is the base URL that the profile itself says, whatever is asked instead.
    """

    profile: str
    dialect: Dialect
    base_url: str
    key_source: KeySource
    model: str | None = None
    vars: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    stream: bool = False
    home: str | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    tables: Mapping[str, Table] = field(default_factory=dict, repr=False)

    @property
    def identity(self) -> str:
        """Return what is equal for jobs that may share connections."""
        who = (self.profile, self.base_url, self.dialect.name, str(self.key_source))
        return repr((*who, sorted(self.vars.items()), sorted(self.headers)))

    @property
    def kept(self) -> dict[str, Any]:
        """Return what a job keeps of its endpoint beside its own fields."""
        kept: dict[str, Any] = {"key_source": str(self.key_source)}
        if self.tables:
            kept[own.DIALECTS] = dict(self.tables)
        if self.home is None or _is_same(self.home, self.base_url):
            return kept
        return {**kept, HOME: self.home}

    @property
    def is_local(self) -> bool:
        """Say whether this is the endpoint that bgresp itself starts."""
        return self.base_url == urls.LOCAL


def dialect(name: str, config: Config) -> Dialect:
    """Build a dialect, built in or the user's.

    Raises ConfigError that names the dialect and the mistake.
    """
    for name_ in config.dialects:
        if name_ in built_in():
            said = f"dialect {name_!r} is built in; choose a name"
            raise ConfigError(f"{config.path}: {said}")
    try:
        return build(name, {**built_in(), **config.dialects})
    except ConfigError as error:
        if name in built_in():
            raise
        said = f"{config.path}: {error.message}"
        raise ConfigError(said, hint=error.hint) from None


def resolve(
    flags: Flags, environ: Mapping[str, str], config: Config, *, keyed: bool = True
) -> Settings:
    """Return the settings for new jobs and for ids that the ledger does not know.

    Without `keyed` nothing has to be configured, and a key that is not set is a source
    of the kind `missing`. Raises ConfigError where something is missing or unsafe.
    """
    name, why = _profile_name(flags, environ, config)
    if keyed and why == DEFAULT:
        raise ConfigError("no endpoint is configured", hint=TWO_WAYS)
    profile = _profile(name, config)
    spoken = _tuned(dialect(str(profile.get("dialect", OPENAI)), config), profile)
    variables = _vars(name, profile, environ)
    template, origin = _base_url(name, profile, flags, (environ, spoken))
    variables_.require(spoken, template, variables, name)
    base_url = variables_.filled(template, variables)
    allow_http = flags.allow_http or bool(profile.get("allow_http", False))
    urls.check(base_url, keyed=False, allow_http=allow_http)
    explicit = flags.base_url is not None or origin == "OPENAI_BASE_URL"
    try:
        source = secret.choose(profile, environ, spoken.auth, (base_url, explicit))
    except ConfigError:
        if keyed:
            raise
        source = KeySource(secret.MISSING, spoken.auth.env)
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
        home=_home(name, config),
        origins={"profile": why, "base_url": origin, "model": model_origin},
        tables=own.kept(spoken.name, config),
    )
    urls.check(base_url, keyed=source.kind != "none", allow_http=allow_http)
    return settings


def of_job(job: Job, flags: Flags, config: Config) -> Settings:
    """Return the settings that a job was made with; it keeps its endpoint.

    A profile that says another base URL now is another endpoint's: neither its key nor
    its headers go where the job runs. Raises ConfigError when its dialect is gone.
    """
    name = job.profile or OPENAI
    table: Table = config.profiles.get(name, {})
    if table and not _is_same(job.extra.get(HOME, job.base_url), _home(name, config)):
        table = {}
    known = own.of_job(job, config)
    spoken = _tuned(dialect(job.dialect or OPENAI, known), table)
    base_url = job.base_url or spoken.base_url
    settings = Settings(
        profile=name,
        dialect=spoken,
        base_url=base_url,
        key_source=secret.stored(job, table, spoken.auth),
        model=job.model,
        vars=job.vars,
        headers={**_strings(table, "headers", name), **flags.headers},
    )
    allow_http = flags.allow_http or bool(table.get("allow_http", False))
    keyed = settings.key_source.kind != "none"
    urls.check(base_url, keyed=keyed, allow_http=allow_http)
    return settings


def _profile_name(
    flags: Flags, environ: Mapping[str, str], config: Config
) -> tuple[str, str]:
    if flags.profile:
        return flags.profile, "-p"
    if environ.get("BGRESP_PROFILE"):
        return environ["BGRESP_PROFILE"], "BGRESP_PROFILE"
    if config.default_profile:
        return config.default_profile, str(config.path)
    hints = ("BGRESP_BASE_URL", "BGRESP_API_KEY", "OPENAI_API_KEY")
    usual = "--base-url" if flags.base_url else DEFAULT
    return OPENAI, next((name for name in hints if environ.get(name)), usual)


def _profile(name: str, config: Config) -> Table:
    if name in config.profiles:
        return config.profiles[name]
    if name in config.dialects or name in built_in():
        return {"dialect": name}
    raise ConfigError(f"no profile {name!r}", hint=meant(name, known_profiles(config)))


def _tuned(spoken: Dialect, profile: Table) -> Dialect:
    tuned = {k: profile[k] for k in ("rate", "connections", "streams") if k in profile}
    return replace(spoken, limits=replace(spoken.limits, **tuned)) if tuned else spoken


def _vars(name: str, profile: Table, environ: Mapping[str, str]) -> dict[str, str]:
    found = _strings(profile, "vars", name)
    if name == OPENAI:
        found |= {v: environ[e] for v, e in OPENAI_VARS.items() if environ.get(e)}
    return found


def _home(name: str, config: Config) -> str | None:
    """Return the base URL that a profile says now; None where it says none."""
    try:
        profile = _profile(name, config)
        own = profile.get("base_url")
        if own is None:
            own = dialect(str(profile.get("dialect", OPENAI)), config).base_url
        return variables_.filled(str(own), _strings(profile, "vars", name)) or None
    except ConfigError:
        return None


def _is_same(url: str | None, other: str | None) -> bool:
    return (url or "").rstrip("/") == (other or "").rstrip("/")


def _base_url(
    name: str, profile: Table, flags: Flags, rest: tuple[Mapping[str, str], Dialect]
) -> tuple[str, str]:
    environ, spoken = rest
    if flags.base_url:
        return flags.base_url, "--base-url"
    if environ.get("BGRESP_BASE_URL"):
        return environ["BGRESP_BASE_URL"], "BGRESP_BASE_URL"
    if name == OPENAI and environ.get("OPENAI_BASE_URL"):
        return environ["OPENAI_BASE_URL"], "OPENAI_BASE_URL"
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
