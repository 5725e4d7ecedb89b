"""What a batch is given: its manifest and group, a row's prompt, where answers go."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from bgresp.batch.manifest import STDIN, Source
from bgresp.batch.results import Folder
from bgresp.cli import inputs
from bgresp.core.errors import UsageError
from bgresp.core.manifest import Row, Shard, shard
from bgresp.core.request import checked_prompt

if TYPE_CHECKING:
    from bgresp.cli.batch import Options


def source(options: "Options", variables: tuple[str, ...]) -> Source:
    """Return where the rows come from.

    Raises UsageError.
    """
    name = options.manifest
    prompt = options.prompt
    template = inputs.text_or_file(prompt, "--prompt") if prompt is not None else None
    part = shard(options.shard) if options.shard else Shard()
    if name == inputs.STDIN:
        return Source(STDIN, _stdin, template, part, variables)

    return Source(name, lambda: _opened(name), template, part, variables)


def check_there(options: "Options") -> None:
    """Refuse a manifest that cannot be read.

    Raises UsageError.
    """
    name = options.manifest
    # The writer of a fifo would take us for its reader.
    if name != inputs.STDIN and not Path(name).is_fifo():
        _opened(name).close()


def _opened(name: str) -> BinaryIO:
    try:
        return Path(name).open("rb")
    except OSError as error:
        raise UsageError(f"{name}: {error.strerror}") from None


def is_read_twice(options: "Options") -> bool:
    """Say whether a manifest can be checked whole before its rows are sent."""
    return options.manifest != inputs.STDIN and Path(options.manifest).is_file()


def group(options: "Options") -> str:
    """Return the group of a batch: rows are found again by it.

    Raises UsageError.
    """
    chosen = options.group
    if chosen is None:
        path = Path(options.manifest)
        if options.manifest != inputs.STDIN and not path.exists():
            raise UsageError(f"{path}: no such file")
        if not is_read_twice(options):
            raise UsageError(
                "a manifest that is no file needs --group",
                hint="rows are found again by their group and id",
            )
        chosen = path.stem
    if not chosen.strip() or not chosen.isprintable():
        raise UsageError("--group: must be printable text")
    return chosen


def prompt(row: Row, options: "Options") -> str | None:
    """Read the prompt of a row; a file is named from where the manifest lies.

    Raises UsageError that names the field.
    """
    if row.text is not None:
        return checked_prompt(row.text, "text")
    if row.file is None:
        return None
    folder = "."
    if options.manifest != inputs.STDIN:
        folder = os.path.dirname(options.manifest) or "."  # noqa: PTH120  a Path would make ./- be stdin
    path = os.path.join(folder, row.file)  # noqa: PTH118
    if not options.allow_outside and not _is_within(folder, path):
        raise UsageError(
            f"file: {row.file!r} lies outside {folder!r}, the folder of the rows",
            hint="--allow-outside lets rows name files anywhere",
        )
    try:
        return inputs.prompt(path)
    except UsageError as error:
        hint = error.hint if os.path.exists(path) else ""  # noqa: PTH110  never raises
        raise UsageError(f"file: {error.message}", hint=hint) from None


def _is_within(folder: str, path: str) -> bool:
    """Say whether a file is really below a folder: a manifest may be a stranger's."""
    try:
        return Path(path).resolve().is_relative_to(Path(folder).resolve())
    except (OSError, ValueError, RuntimeError):  # a NUL, a circle of links
        return True  # reading it tells why


def _stdin() -> BinaryIO:
    if sys.stdin is None:
        raise UsageError("stdin is closed")
    return open(0, "rb", closefd=False)


def results_file(name: str) -> Path:
    """Return where --results go.

    Raises UsageError.
    """
    path = Path(name)
    if not path.parent.is_dir():
        raise UsageError(f"--results {name}: there is no directory {path.parent}")
    if path.exists() and not path.is_file():
        raise UsageError(f"--results {name}: is not a file")
    return path.resolve()


def out_dir(name: str) -> Folder:
    """Make the folder of --out-dir.

    Raises UsageError.
    """
    path = Path(name)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out-dir {name}: {error.strerror}") from None
    return Folder(path)
