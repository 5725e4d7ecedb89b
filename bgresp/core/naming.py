"""What a new job may be called: its name, group, labels and key; pure.

What is typed, listed and completed later holds no control character, and a name is no
REF of another kind.
"""

from collections.abc import Iterator

from bgresp.core.errors import UsageError
from bgresp.core.model import Job
from bgresp.core.text import is_plain


def check(job: Job) -> None:
    """Refuse what could not be typed or shown again.

    Raises UsageError that names the field.
    """
    for field, text in _texts(job):
        if not is_plain(text):
            raise UsageError(f"the {field} {text[:80]!r} has control characters")
    if job.name is not None and job.name.startswith(("@", "-")):
        raise UsageError(
            f"the name {job.name[:80]!r} would be taken for a reference or an option",
            hint="begin it with another character than @ and -",
        )


def _texts(job: Job) -> Iterator[tuple[str, str]]:
    fields = {"name": job.name, "group": job.group, "key": job.submit_key}
    yield from ((field, text) for field, text in fields.items() if text is not None)
    for label, value in job.labels.items():
        yield "label", f"{label}={value}"
