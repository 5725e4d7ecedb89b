"""From a task's arguments to a request: the record it starts as, and its body.

Arguments name a profile, never a key or a base URL: where a key goes is for the
worker's own configuration to say.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from bgresp.config import files, places
from bgresp.config.secret import with_secret
from bgresp.config.settings import Flags, Settings, resolve
from bgresp.core.endpoint import Endpoint
from bgresp.core.errors import ConfigError, UsageError
from bgresp.core.model import Job
from bgresp.core.request import Request, check_clashes, checked_prompt, drafted, keyed
from bgresp.ledger.line import new_key

# What an argument must be, where it is no text.
_KINDS: Final[dict[str, tuple[type, str]]] = {
    **dict.fromkeys(
        ("metadata", "body", "changes", "variables", "labels", "schema"),
        (Mapping, "an object"),
    ),
    "tools": (list, "a list of objects"),
    "max_output_tokens": (int, "a number"),
}


@dataclass(frozen=True, slots=True)
class Arguments:
    """What one submit asks for; JSON-safe, without secrets."""

    text: str | None = None
    profile: str | None = None
    model: str | None = None
    instructions: str | None = None
    previous_id: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)
    changes: Mapping[str, Any] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    tools: Sequence[Mapping[str, Any]] = ()
    schema: Mapping[str, Any] | None = None
    max_output_tokens: int | None = None
    name: str | None = None
    group: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, text: Any, options: Mapping[str, Any]) -> "Arguments":
        """Read a task's arguments.

        What the command line refuses is refused: a prompt that is no text. Raises
        UsageError that names the argument.
        """
        given = {"text": text, **options}
        for name in given.keys() - set(cls.__slots__):
            raise UsageError(
                f"no argument {name!r}", hint="one of " + " ".join(cls.__slots__)
            )
        for name, value in given.items():
            wanted, kind = _KINDS.get(name, (str, "text"))
            if value is not None and not isinstance(value, wanted):
                raise UsageError(f"{name!r} must be {kind}")
            _check_json(name, value)
        known = {name: value for name, value in given.items() if value is not None}
        if not {"text", "body"} & known.keys():
            raise UsageError("nothing to submit: give a text or a body")
        for name in ("text", "instructions"):
            if name in known:
                checked_prompt(known[name], name)
        return cls(**known)

    @property
    def digest(self) -> str:
        """Return what is equal for equal arguments, on every worker."""
        values = {name: getattr(self, name) for name in self.__slots__}
        text = json.dumps(values, ensure_ascii=True, sort_keys=True, default=dict)
        return hashlib.sha256(text.encode("ascii")).hexdigest()


def _check_json(name: str, value: Any) -> None:
    """Refuse what no message can carry, and text that is not UTF-8.

    Raises UsageError.
    """
    try:
        json.dumps(value, default=dict, allow_nan=False, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UsageError(f"{name!r} has characters that are not UTF-8") from None
    except (TypeError, ValueError, RecursionError):
        raise UsageError(f"{name!r} is not JSON") from None


@dataclass(frozen=True, slots=True)
class Ready:
    """A request ready to be sent: where to, the record it starts as, and its body."""

    settings: Settings
    job: Job
    body: bytes


def settings_of(
    profile: str | None,
    model: str | None = None,
    *,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Return what this worker's environment and configuration say of a profile.

    Raises ConfigError.
    """
    config = files.load(places.config_path(environ))
    settings = resolve(Flags(profile=profile, model=model), environ, config)
    if settings.is_local:
        raise ConfigError(
            "workers share no local endpoint: name one by BGRESP_BASE_URL or a profile"
        )
    return settings


def endpoint_of(
    settings: Settings, environ: Mapping[str, str] = os.environ
) -> Endpoint:
    """Return the endpoint, with the key that this worker's environment supplies.

    Raises ConfigError.
    """
    return Endpoint(
        profile=settings.profile,
        base_url=settings.base_url,
        dialect=settings.dialect,
        vars=settings.vars,
        key=settings.key_source.read(environ, settings.hidden),
        headers=settings.headers,
        webhook=with_secret(settings.webhook, environ),
    )


def place_of(settings: Settings) -> str:
    """Return a short name of an endpoint, for all jobs that its rate limits bind."""
    return hashlib.blake2b(settings.identity.encode(), digest_size=12).hexdigest()


def ready(
    task: str,
    arguments: Arguments,
    *,
    environ: Mapping[str, str] = os.environ,
    now: Callable[[], float] = time.time,
) -> Ready:
    """Return a task's submit, ready to be sent.

    Raises UsageError, RefusedError, ConfigError.
    """
    settings = settings_of(arguments.profile, arguments.model, environ=environ)
    request = Request(
        text=arguments.text,
        model=settings.model,
        instructions=arguments.instructions,
        previous_id=arguments.previous_id,
        metadata=arguments.metadata,
        tools=tuple(arguments.tools),
        schema=arguments.schema,
        max_output_tokens=arguments.max_output_tokens,
        body=arguments.body,
        changes=tuple(arguments.changes.items()),
        variables=arguments.variables,
    )
    check_clashes(request._replace(model=arguments.model), settings.dialect)
    job = Job(
        key=key_of(task),
        name=arguments.name,
        group=arguments.group,
        labels=arguments.labels,
        profile=settings.profile,
        base_url=settings.base_url,
        dialect=settings.dialect.name,
        vars=settings.vars,
        submitted_at=now(),
        submit_key=task,
        extra=settings.kept,
    )
    draft = drafted(job, request, settings.dialect)
    return Ready(settings, draft.job, keyed(draft.body, settings.dialect, job.key))


def key_of(task: str) -> str:
    """Return the key of a task's job: the same on every worker and at every attempt.

    Its time is zero, so that it never comes after the keys of a ledger it is imported
    into.
    """
    told = hashlib.blake2b(task.encode(), digest_size=10, person=b"bgresp.task")
    return new_key(0.0, int.from_bytes(told.digest()), after=None)
