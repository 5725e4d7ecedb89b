"""The program's entry; its version is told before anything else is imported."""

import sys

from bgresp import __version__


def main() -> None:
    """Run bgresp on sys.argv and leave with its exit code."""
    if sys.argv[1:] in (["--version"], ["-V"]) and _version_is_told():
        return
    try:
        from bgresp.cli.main import main as run

        run()
    except KeyboardInterrupt:  # before there was anything to detach from
        sys.exit(130)


def _version_is_told() -> bool:
    """Print the version; what stdout cannot take is the whole program's to tell."""
    if sys.stdout is None:
        return False
    try:
        sys.stdout.write(f"bgresp {__version__}\n")
        sys.stdout.flush()
    except OSError:
        return False
    return True


if __name__ == "__main__":
    main()
