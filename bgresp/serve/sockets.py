"""Where a server listens: an address, a private unix socket, what systemd opened.

Nothing heavy is imported.
"""

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from bgresp.core.errors import BgrespError

_FIRST: Final = 3  # the first descriptor that systemd hands over
_BACKLOG: Final = 1024


@contextmanager
def listening(
    host: str, port: int, uds: Path | None, hints: tuple[str, str]
) -> Iterator[list[socket.socket]]:
    """Listen on an address, and on a unix socket where one is named; close them.

    The first is the address: the one that systemd opened, where it did. `hints` say
    what to type where the address, or the path, cannot be had. Raises BgrespError.
    """
    with ExitStack() as stack:
        given = [stack.enter_context(one) for one in _inherited()]
        addresses = [one for one in given if one.family != socket.AF_UNIX]
        others = [one for one in given if one.family == socket.AF_UNIX]
        if not addresses:
            addresses = [stack.enter_context(_bound(host, port, hints[0]))]
        if uds is not None:
            others.append(stack.enter_context(_unix(uds, hints[1])))
        yield [*addresses, *others]


def is_loopback(listener: socket.socket) -> bool:
    """Say whether none but this machine reaches an address."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def _inherited() -> list[socket.socket]:
    """Return the sockets of socket activation; each is taken once."""
    mine = os.environ.pop("LISTEN_PID", "") == str(os.getpid())
    count = os.environ.pop("LISTEN_FDS", "")
    os.environ.pop("LISTEN_FDNAMES", None)
    if not mine or not count.isdecimal():
        return []
    try:
        found = [socket.socket(fileno=_FIRST + n) for n in range(int(count))]
    except OSError as error:
        reason = error.strerror or str(error)
        raise BgrespError(f"no socket of systemd can be used: {reason}") from None
    for one in found:
        one.set_inheritable(False)
    return found


def _bound(host: str, port: int, hint: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        message = f"cannot listen on {host} port {port}: {reason}"
        raise BgrespError(message, hint=hint) from None


@contextmanager
def _unix(path: Path, hint: str) -> Iterator[socket.socket]:
    """Listen on a unix socket that none but its owner may open."""
    with socket.socket(socket.AF_UNIX) as listener:
        try:
            _clear(path, hint)
            # Bound under another name, and there only once it is private.
            hidden = path.with_name(f".{path.name}.{os.getpid()}")
            listener.bind(str(hidden))
            hidden.chmod(0o600)
            listener.listen(_BACKLOG)
            hidden.rename(path)
        except OSError as error:
            raise _no_socket(path, error.strerror or str(error), hint) from None
        try:
            yield listener
        finally:
            path.unlink(missing_ok=True)


def _clear(path: Path, hint: str) -> None:
    """Remove a socket that a killed server left; refuse what is anything else."""
    if not path.is_socket():
        if path.exists():
            raise _no_socket(path, "it is no socket", hint)
        return
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise _no_socket(path, "a server listens there", hint)


def _no_socket(path: Path, reason: str, hint: str) -> BgrespError:
    return BgrespError(f"cannot listen on {path}: {reason}", hint=hint)
