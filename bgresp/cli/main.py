"""Run a command, turn whatever happens into an exit code."""

import gc
import os
import sys

from bgresp.core.errors import BgrespError, ExitCode, OutputError, UsageError
from bgresp.render.streams import (
    Streams,
    guard_descriptors,
    of_process,
    silence_stdout,
)


def main() -> None:
    """Run bgresp on sys.argv and leave with its exit code."""
    guard_descriptors()
    gc.disable()  # what is imported stays: nobody looks for garbage meanwhile
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        silence_stdout()
    sys.exit(code)


def run(argv: list[str]) -> int:
    """Run one command; return the exit code, whatever happens."""
    as_json = bool({"--json", "--jsonl"} & set(argv))
    try:
        return _result(argv)
    except BgrespError as error:
        if isinstance(error, UsageError):
            error.hint = error.hint or _help_of(argv)
        return _failed(error, as_json=as_json)
    except (BrokenPipeError, SystemExit) as error:
        # Typer (0.26 to 0.28) leaves by SystemExit when its help meets a closed pipe.
        if BrokenPipeError not in {type(error), type(error.__context__)}:
            raise
        silence_stdout()
        return int(ExitCode.BROKEN_PIPE)
    except OSError as error:
        said = error.strerror or type(error).__name__
        where = f" {os.fsdecode(error.filename)}" if error.filename else ""
        silence_stdout()
        hint = "bgresp doctor" if where else ""
        failed = OutputError(f"cannot write{where}: {said}", hint=hint)
        return _failed(failed, as_json=as_json)
    except KeyboardInterrupt:
        return int(ExitCode.SIGINT)
    except Exception as error:  # noqa: BLE001  a bug is told as one
        return _other(error, argv, as_json=as_json)


def _result(argv: list[str]) -> int:
    from bgresp.cli import quick

    code = quick.run(argv)
    if code is not None:
        return code
    from bgresp.cli.app import build

    quick.collect_garbage()
    result = build()(argv, prog_name="bgresp", standalone_mode=False)
    return int(result or 0)


def _help_of(argv: list[str]) -> str:
    """Return the command that tells how the one that was typed is typed."""
    words = [word for word in argv if not word.startswith("-")]
    typed = words[: 2 if words[:1] == ["config"] else 1]
    known = typed and all(word.isalpha() for word in typed)
    return f"bgresp {' '.join(typed)} --help" if known else ""


def _other(error: Exception, argv: list[str], *, as_json: bool) -> int:
    """Handle detaching, what Typer says of the usage, and bugs."""
    from bgresp.cli.errors import DetachedError

    if isinstance(error, DetachedError):
        return error.exit_code
    message = getattr(error, "format_message", None)
    if message is None:
        return _crashed(error, argv, as_json=as_json)
    from bgresp.cli import panels

    if panels.is_key_option(error):
        from bgresp.cli.inputs import WHERE_KEYS_GO

        said = "no option takes a key: `ps` would show it to everybody"
        return _failed(UsageError(said, hint=WHERE_KEYS_GO), as_json=as_json)
    said, right = str(message()), panels.misplaced(error, argv)
    if right:
        said = f"{getattr(error, 'option_name', '')} stands before the command"
    context = getattr(error, "ctx", None)
    usual = _help_of(argv) or "bgresp --help"
    how = f"{context.command_path} --help" if context is not None else usual
    return _failed(UsageError(said, hint=right or how), as_json=as_json)


def _crashed(error: Exception, argv: list[str], *, as_json: bool) -> int:
    from bgresp.cli import errors

    said, trace = errors.of_bug(error, argv, os.environ)
    return _failed(said, as_json=as_json, trace=trace)


def _failed(error: BgrespError, *, as_json: bool, trace: str = "") -> int:
    from bgresp.cli.errors import show

    streams: Streams = of_process(os.environ)
    streams.err_is_json = as_json
    if trace:
        streams.note(trace.rstrip("\n"))
    show(streams, error)
    return int(error.code)
