"""On which file system a path lies, read from Linux's mountinfo; pure."""

import re
from dataclasses import dataclass
from typing import Final

# flock may silently do nothing on these (RELIABILITY.md 2.4).
NETWORK: Final = frozenset({"nfs", "nfs4", "cifs", "smb3", "afs", "9p"})
FUSE: Final = "fuse."
_OCTAL: Final = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """Where a file system is mounted, and its type."""

    point: str
    kind: str

    @property
    def is_network(self) -> bool:
        """Say whether other machines, or a program, may be behind it."""
        return self.kind in NETWORK or self.kind.startswith(FUSE)


def mount_of(path: str, mountinfo: str) -> Mount | None:
    """Return the mount that an absolute path lies on; None where nothing says it.

    The longest mount point wins, and of equal ones the last: it hides the others.
    """
    found: Mount | None = None
    for line in mountinfo.splitlines():
        mount = _mount(line)
        if mount is None or not _holds(mount.point, path):
            continue
        if found is None or len(mount.point) >= len(found.point):
            found = mount
    return found


def _mount(line: str) -> Mount | None:
    """Read `36 35 98:0 /root /point rw,noatime master:1 - ext3 /dev/root rw`."""
    fields, mark, rest = line.partition(" - ")
    columns, kinds = fields.split(" "), rest.split(" ")
    if not mark or len(columns) < 5 or not kinds[0]:
        return None
    point = _OCTAL.sub(lambda code: chr(int(code[1], 8)), columns[4])
    return Mount(point, kinds[0])


def _holds(point: str, path: str) -> bool:
    return path == point or path.startswith(point.rstrip("/") + "/")
