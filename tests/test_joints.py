"""What we lean on that others do not promise: an upgrade that moves it fails here."""

import inspect
import subprocess
import sys
from importlib.metadata import version
from typing import Any, Final

import pytest
import typer

from bgresp.cli.app import build, command
from tests.command import environment

# The versions with which every proof was run; pyproject.toml lets in no others.
TRIED: Final = {
    "typer": ("0.26", "0.27", "0.28"),
    "httpx": ("0.28",),
    "httpcore": ("1.0",),
    "h11": ("0.16",),
    "httpx-sse": ("0.4",),
}


@pytest.mark.parametrize("package", TRIED)
def test_versions_are_those_that_were_tried(package: str) -> None:
    """Of what we look into only versions are let in that were looked into."""
    assert ".".join(version(package).split(".")[:2]) in TRIED[package]


def test_a_command_is_clicks() -> None:
    """Typer's commands and parameters have what help and completions read of them."""
    root: Any = build()
    context = root.context_class(root, info_name="bgresp", **root.context_settings)
    submit = root.get_command(context, "submit")
    assert {"help", "hidden", "name", "params"} <= set(dir(submit))
    assert "[OPTIONS]" in submit.collect_usage_pieces(context)
    assert submit.get_short_help_str(100).startswith("Submit a background response")
    by_name = {param.name: param for param in submit.get_params(context)}
    files, label, watch = (by_name[name] for name in ("files", "label", "watch"))
    kinds = [param.param_type_name for param in (files, label, watch)]
    assert ["argument", "option", "option"] == kinds
    assert (-1, True, True) == (files.nargs, label.multiple, watch.is_flag)
    assert ["-l", "--label"] == label.opts
    assert "--no-stream" in by_name["stream"].secondary_opts
    assert "K=V" == label.metavar
    assert "-l, --label" in label.get_help_record(context)[0]
    assert not watch.count
    shell = {p.name: p for p in root.get_command(context, "completions").params}
    assert "zsh" in [
        str(getattr(one, "value", one)) for one in shell["shell"].type.choices
    ]


def test_a_mistake_says_where_it_was_made() -> None:
    """What Typer raises of the usage has a message, its context and its option."""
    with pytest.raises(Exception, match="-p") as caught:
        build()(["-p", "x", "list"], prog_name="bgresp", standalone_mode=False)
    error: Any = caught.value
    assert "-p" in error.format_message()
    assert ("bgresp", "-p") == (error.ctx.command_path, error.option_name)


def test_a_signature_may_be_given() -> None:
    """Typer reads the signature that a function is given, and calls it by names."""

    def run(context: typer.Context) -> int:
        return len(context.command_path)

    made = command(run)
    assert ["context"] == list(inspect.signature(made).parameters)
    app = typer.Typer(add_completion=False)
    app.command()(made)
    main = typer.main.get_command(app)
    assert len("x") == main([], prog_name="x", standalone_mode=False)


def test_help_into_a_closed_pipe_leaves_quietly() -> None:
    """Typer leaves by SystemExit where its help meets a closed pipe: exit 141."""
    script = (
        "import os, sys; from bgresp.cli.main import run;"
        "r, w = os.pipe(); os.close(r); os.dup2(w, 1); os.close(w);"
        "sys.exit(run(['submit', '--help']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        env=environment({}),
    )
    assert (141, "") == (done.returncode, done.stderr)
