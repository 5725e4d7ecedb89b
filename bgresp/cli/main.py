"""Run a command, turn whatever happens into an exit code.

Common commands do without Typer, whose import costs what three of them do: a verb is
called with the same groups of options that Typer would fill, and what is typed plainly
is read from their annotations. Whatever is not plain, right or wrong, is handed over,
so that there is one place where usage is judged, and help is Typer's.
"""

import atexit
import gc
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any, Final, NoReturn

from bgresp.cli.options import VERSION, Option
from bgresp.core.errors import BgrespError, ExitCode, OutputError, UsageError
from bgresp.render.streams import (
    Streams,
    guard_descriptors,
    of_process,
    silence_stdout,
)

# Each is the function of its name, or NAME_, in a module of its name.
PLAIN: Final = frozenset({"get", "list", "status", "submit", "wait"})
TEXT: Final = str | None
TEXTS: Final = list[str] | None
_LONG: Final = 19  # digits of a number that Typer is left to judge

Verb = Callable[..., int]
Groups = dict[type, dict[str, Any]]


def main() -> None:
    """Run bgresp on sys.argv and leave with its exit code."""
    guard_descriptors()
    gc.disable()  # what is imported stays: nobody looks for garbage meanwhile
    code = run(sys.argv[1:])
    try:
        sys.stdout.flush()
    except (OSError, ValueError, AttributeError):
        silence_stdout()
    leave(code)


def leave(code: int) -> NoReturn:
    """Leave without freeing every object: that costs a twentieth of a submit.

    What was registered for the end is done. Where a thread is to be waited for, the
    interpreter ends as it always does.
    """
    threading = sys.modules.get("threading")
    if threading is not None:
        main_thread = threading.main_thread()
        left = (thread for thread in threading.enumerate() if not thread.daemon)
        if any(thread is not main_thread for thread in left):
            sys.exit(code)
    atexit._run_exitfuncs()  # noqa: SLF001  os._exit does without them
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):
            stream.flush()
    os._exit(code)


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
    code = run_plainly(argv)
    if code is not None:
        return code
    from bgresp.cli.app import build

    collect_garbage()
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


def run_plainly(argv: Sequence[str]) -> int | None:
    """Run a command that is typed plainly; return its exit code, None of any other."""
    if not argv or argv[0] not in PLAIN:
        return None
    verb = load(argv[0])
    groups = read(verb, argv[1:])
    if groups is None:
        return None
    collect_garbage()
    try:
        return verb(*(group(**values) for group, values in groups.items()))
    except BrokenPipeError:
        silence_stdout()
        return int(ExitCode.BROKEN_PIPE)


def collect_garbage() -> None:
    """Collect garbage from now on, but look through nothing that was imported."""
    gc.freeze()
    gc.enable()


def load(name: str) -> Verb:
    """Return the function of a verb."""
    module = import_module(f"bgresp.cli.commands.{name}")
    found: Verb = getattr(module, name, None) or getattr(module, f"{name}_")
    return found


def read(verb: Verb, words: Sequence[str]) -> Groups | None:
    """Return the values for each group that a verb takes; None where any is not plain.

    Plain are an option under its whole name, with its value as the next word where it
    takes one, and words that begin with no dash.
    """
    takes = [kind for name, kind in verb.__annotations__.items() if name != "return"]
    known = {name: place for group in takes for name, place in _options(group).items()}
    found: Groups = {group: {} for group in takes}
    left = iter(words)
    for word in left:
        is_name = word.startswith("-")
        place = known.get(word if is_name else "")
        if place is None:
            return None
        group, name, kind = place
        values = found[group]
        if kind is bool:
            values[name] = True
            continue
        value = next(left, "") if is_name else word
        if not value or value.startswith("-"):
            return None
        if kind == TEXTS:
            values.setdefault(name, []).append(value)
        elif kind in {TEXT, str}:
            values[name] = value
        elif (
            kind is int and len(value) < _LONG and value.isdecimal() and value.isascii()
        ):
            values[name] = int(value)
        else:
            return None
    return found


def _options(group: type) -> dict[str, tuple[type, str, Any]]:
    """Return the fields of a group by what is typed for them; "" is the positional."""
    found: dict[str, tuple[type, str, Any]] = {}
    for field, annotated in group.__annotations__.items():
        said: Option = annotated.__metadata__[0]
        if said is not VERSION and not any("/" in name for name in said.names):
            found |= dict.fromkeys(
                said.names or ("",), (group, field, annotated.__origin__)
            )
    return found
