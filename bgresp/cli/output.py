"""Answers to stdout and into files.

Files are written by temp and rename, never over what is there, never through a link.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bgresp.cli.context import Context
from bgresp.core.errors import (
    BgrespError,
    ConfigError,
    OutputError,
    RefusedError,
    UnreachableError,
    UsageError,
)
from bgresp.core.model import Job
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
                    context.tell_error(error)
                    codes.append(int(error.code))
        return 0

    if wanted:
        try:
            context.run(fetch())
        except (ConfigError, RefusedError) as error:  # nobody can be asked
            context.tell_error(error)
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

    what = f"{_name(media)} of {job.ref}"
    if fault.kind is FaultKind.GONE:
        other = context.recorder.another_key(job, api.endpoint, fault)
        if other is None:
            return RefusedError(
                f"{what} is gone, as its container is {EXPIRED}: {fault.message}",
                hint=f"bgresp retry {job.quoted} pays for a new job",
                request_id=fault.request_id,
            )
        fault = other
    return error_of(fault, f"{what} is not fetched: {fault.message}", job=job)


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
