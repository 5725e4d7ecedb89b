"""Answers and documents to stdout and into files; how jobs ended, to stderr.

Files are written by temp and rename, never over what is there, never through a link.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bgresp.cli import errors
from bgresp.cli.context import Context
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    ExitCode,
    OutputError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from bgresp.core.model import Job, Status
from bgresp.core.output import Media
from bgresp.core.text import one_line
from bgresp.ledger import files
from bgresp.render.streams import PIECE, Streams, as_json

if TYPE_CHECKING:
    from bgresp.api.client import Api
    from bgresp.core.signals import Fault

STDOUT: Final = "-"
# What of an answer can be asked for.
PARTS: Final = (
    *("text", "reasoning", "commentary", "citations", "tools", "refusal", "images"),
    *("files", "data", "usage", "error", "request", "raw"),
)
# What a file of an endpoint may end in: nothing that a double click would run.
ENDINGS: Final = frozenset(
    {
        *("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"),
        *("mp3", "mpeg", "mp4", "wav", "flac", "ogg", "opus", "aac", "webm", "mov"),
        *("txt", "md", "csv", "tsv", "json", "jsonl", "xml", "yaml", "toml", "log"),
        *("pdf", "docx", "xlsx", "pptx", "odt", "ods", "odp", "rtf", "tex", "epub"),
        *("parquet", "npy", "npz", "sqlite", "db", "zip", "gz", "tar", "tgz"),
    }
)
EXPIRED: Final = "20 minutes after its last use"
SPELLED: Final = 10  # open jobs that are named at the end; more are counted


def print_text(streams: Streams, text: str | bytes | None) -> None:
    """Write an answer to stdout, with a newline at its end; nothing of no text."""
    if isinstance(text, bytes) and streams.out_is_terminal:
        text = text.decode("utf-8", "replace")
    if isinstance(text, bytes):
        for piece in _pieces(text):
            streams.raw(piece)
    elif text:
        streams.answer(text)
        if not text.endswith("\n"):
            streams.answer("\n")


def say_gone(context: Context, job: Job) -> ExitCode:
    """Say that a job's answer was never fetched and is to be had no more."""
    again = context.answers.request(job.key) is not None
    context.say(
        f"{job.ref} is {job.status.value}, but its answer is not here and the endpoint "
        "no longer has it" + (f" (bgresp retry {job.quoted})" if again else "")
    )
    return ExitCode.LOST


def _pieces(text: str | bytes) -> Iterator[bytes]:
    """Yield an answer as bytes, a piece at a time, with a newline at its end."""
    for start in range(0, len(text), PIECE):
        piece = text[start : start + PIECE]
        if isinstance(piece, str):
            piece = piece.encode("utf-8", "backslashreplace")
        yield piece
    if text and text[-1:] not in {"\n", b"\n"}:
        yield b"\n"


def target(name: str | None, *, force: bool) -> Path | None:
    """Check where an answer is to go before anything is paid; None is stdout.

    Raises UsageError.
    """
    if force and name is None:
        raise UsageError("--force needs -o: there is no file to replace")
    if name is None or name == STDOUT:
        return None
    path = Path(name)
    if path.is_dir():
        raise UsageError(f"-o {name}: is a directory")
    if not path.parent.is_dir():
        raise UsageError(f"-o {name}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise UsageError(f"-o {name}: the directory cannot be written")
    if os.path.lexists(path) and not force:
        raise UsageError(f"-o {name}: exists already", hint="--force replaces it")
    return path


def write_file(
    path: Path,
    text: str | bytes,
    *,
    force: bool,
    hint: str = "",
    mode: int = files.PUBLIC_FILE,
) -> None:
    """Write an answer to a file, with a newline at its end: see `write_whole`."""
    write_whole(path, _pieces(text), force=force, hint=hint, mode=mode)


def write_whole(
    path: Path,
    pieces: Iterable[bytes],
    *,
    force: bool,
    hint: str = "",
    mode: int = files.PUBLIC_FILE,
) -> None:
    """Write an answer to a file whole, or not at all.

    Without `force` the name must be free when the answer is ready: a link is as much
    in the way as a file. `hint` says where the answer is if that fails. Raises
    OutputError.
    """
    with (
        _blamed(path, hint),
        files.writing(path, exclusive=not force, mode=mode) as write,
    ):
        for piece in pieces:
            write(piece)


@contextmanager
def _blamed(path: Path, hint: str = "") -> Iterator[None]:
    """Turn an OSError into an OutputError that names the file."""
    try:
        yield
    except FileExistsError:
        message = f"{path} appeared meanwhile and was not touched"
        raise OutputError(message, hint=hint) from None
    except OSError as error:
        message = f"cannot write {path}: {error.strerror}"
        raise OutputError(message, hint=hint) from error


def media_lines(found: Iterable[Media]) -> str:
    """Return what images or files there are, a JSON line each, without their bytes."""
    lines = []
    for number, media in enumerate(found, 1):
        told = {"name": media.name or f"{number}.{_ending(media)}", "id": media.id}
        size = len(_decoded(media) or b"") if media.data is not None else None
        lines.append(as_json({**told, "container": media.container, "bytes": size}))
    return "\n".join(lines)


def write_media(
    context: Context, job: Job, path: Path, found: Iterable[Media], *, force: bool
) -> list[int]:
    """Write images or files beside each other, numbered: `answer-1.png`.

    What did not come with the answer is fetched, or else named on stderr. Returns an
    exit code for each that could not be. Raises OutputError.
    """
    absent: list[tuple[Media, Path]] = []
    for number, media in enumerate(found, 1):
        data = _decoded(media)
        ending = _ending(media)
        stem = path.name.removesuffix(f".{ending}")
        target = path.with_name(f"{stem}-{number}.{ending}")
        if data is None and os.path.lexists(target) and not force:
            raise OutputError(f"{target} exists already", hint="--force replaces it")
        if data is None:
            absent.append((media, target))
        else:
            write_whole(target, [data], force=force)
            context.say(f"wrote {target}")
    return _fetched(context, job, absent, force=force) if absent else []


def _fetched(
    context: Context, job: Job, absent: list[tuple[Media, Path]], *, force: bool
) -> list[int]:
    """Fetch files of a code interpreter; return an exit code for each that is not here.

    Where the job's endpoint has no route to one, it is named: that is no failure.
    """
    has_route = "file" in context.dialect_of(job).ops
    wanted = [(m, path) for m, path in absent if has_route and m.container and m.id]
    for media, _ in absent:
        if not (has_route and media.container and media.id):
            where = f" of {one_line(media.container)}" if media.container else ""
            id_ = one_line(media.id or "")
            context.say(f"{_name(media)} is {id_}{where}, at the endpoint")
    codes: list[int] = []

    async def fetch() -> int:
        async with context.api(context.settings_of(job)) as api:
            for media, path in wanted:
                try:
                    await _fetch(context, job, api, media=media, path=path, force=force)
                except (ConfigError, RefusedError, UnreachableError) as error:
                    errors.show(context.streams, error)
                    codes.append(int(error.code))
        return 0

    if wanted:
        try:
            context.run(fetch())
        except (ConfigError, RefusedError) as error:  # nobody can be asked
            errors.show(context.streams, error)
            codes.append(int(error.code))
    return codes


async def _fetch(
    context: Context, job: Job, api: "Api", *, media: Media, path: Path, force: bool
) -> None:
    """Fetch one file to the disk, piece by piece.

    Raises OutputError; ConfigError, RefusedError or UnreachableError by what the
    endpoint answered.
    """
    with (
        _blamed(path),
        files.writing(path, exclusive=not force, mode=files.PUBLIC_FILE) as write,
    ):
        fault = await api.file(str(media.container), str(media.id), write)
        if fault is not None:
            raise _unfetched(context, job, api, media=media, fault=fault)
    own = _name(media)
    context.say(f"wrote {path}" + (f": {own}" if media.name else ""))


def _unfetched(
    context: Context, job: Job, api: "Api", *, media: Media, fault: "Fault"
) -> BgrespError:
    """Return the error of a file that was not fetched."""
    from bgresp.core.signals import FaultKind, error_of

    said = f"{_name(media)} of {job.ref}"
    if fault.kind is FaultKind.GONE:
        other = context.recorder.another_key(job, api.endpoint, fault)
        if other is None:
            return RefusedError(
                f"{said} is gone, as its container is {EXPIRED}: {fault.message}",
                hint=f"bgresp retry {job.quoted} pays for a new job",
                request_id=fault.request_id,
            )
        fault = other
    return error_of(fault, f"{said} is not fetched: {fault.message}", job=job)


def _name(media: Media) -> str:
    """Return an endpoint's name of a file, for a line."""
    return one_line(media.name or "a file", limit=80)


def _ending(media: Media) -> str:
    """Return the end of a file's name: one of ENDINGS, whatever a server says."""
    word = media.format.rpartition("/")[2] or (media.name or "").rpartition(".")[2]
    return word.lower() if word.lower() in ENDINGS else "bin"


def _decoded(media: Media) -> bytes | None:
    """Return the bytes that came with the answer; what is no base64 as it is."""
    if media.data is None:
        return None
    import base64

    text = media.data.partition("base64,")[2] or media.data
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return media.data.encode("utf-8", "backslashreplace")


def say_why_over(context: Context, jobs: Iterable[Job]) -> None:
    """Say why jobs that are over did not complete."""
    for job in jobs:
        if not job.status.is_open:
            say_why(context, job)


def say_open(context: Context, jobs: Iterable[Job]) -> None:
    """Say which jobs are open yet."""
    left = [job for job in jobs if job.status.is_open]
    if len(left) > SPELLED:
        context.say(f"{len(left)} jobs are still open: bgresp watch")
        return
    for job in left:
        again = f"bgresp watch {job.quoted} --resume"
        context.say(f"{job.ref} is still {job.status.value}: {again}")


def say_failed(context: Context, jobs: Iterable[Job]) -> None:
    """Say what to type where jobs of one group did not complete."""
    from bgresp.engine.resubmit import to_retry

    failed = to_retry(context.recorder, jobs, lost=False)
    groups = {job.group for job in failed}
    if len(groups) == 1 and (group := groups.pop()):
        import shlex

        again = f"bgresp retry --failed --group {shlex.quote(group)}"
        context.say(f"{len(failed)} did not complete: {again}")


def say_told(context: Context, jobs: Iterable[Job]) -> None:
    """Say which jobs completed, but not with a text: a board does not show that."""
    from bgresp.render.columns import told_of

    found = [job for job in jobs if told_of(job)]
    if len(found) > SPELLED:
        context.say(
            f"{len(found)} ended other than in text: bgresp list --fields id,ended_with"
        )
        return
    for job in found:
        context.say(f"{job.ref} {job.status.value} {told_of(job)}")


def say_why(context: Context, job: Job) -> None:
    """Say how a job stands where its text alone would not tell."""
    if job.status.is_open:
        context.say(f"{job.ref} is {job.status.value}: bgresp watch {job.quoted}")
    elif job.status.is_unsettled:
        context.say(f"{job.ref} is {standing(job)}")
    elif job.status is not Status.COMPLETED:
        from bgresp.render.columns import summary

        again = f"bgresp retry {job.quoted}"
        if job.status is Status.LOST:  # it may still answer: a retry may pay twice
            again = f"bgresp status {job.quoted} asks again"
        context.say(f"{job.ref} {summary(job)} ({again})")
    elif job.told:
        from bgresp.render.columns import told_of

        if said := told_of(job):
            context.say(f"{job.ref} {job.status.value} {said}")


def standing(job: Job) -> str:
    """Return how a job stands that has no text; of an unknown outcome, what to do."""
    if not job.status.is_unsettled:
        from bgresp.render.columns import summary

        return summary(job)
    said = "no answer, its submit has no known outcome"
    return f"{job.status.value}: {said} (bgresp resolve {job.quoted})"
