"""Which file system a path lies on, read from texts of mountinfo."""

import pytest

from bgresp.engine.checkup import mount_of

MOUNTINFO = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:26 / /home rw shared:2 master:3 - nfs4 server:/home rw,vers=4.2
31 22 0:27 / /home/local rw - ext4 /dev/sdb1 rw
32 22 0:28 / /mnt/my\040disk rw - fuse.sshfs me@host: rw
33 22 0:29 / /mnt/over rw - ext4 /dev/sdc1 rw
34 22 0:30 / /mnt/over rw - cifs //server/share rw
35 22 0:31 / /mnt/9p rw - 9p hostshare rw
broken line
36 22 0:32 /
""".strip()


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [
        ("/", "ext4", False),
        ("/home/me/.local/state/bgresp", "nfs4", True),
        ("/home", "nfs4", True),
        ("/homework", "ext4", False),
        ("/home/local/me", "ext4", False),
        ("/mnt/my disk/state", "fuse.sshfs", True),
        ("/mnt/over/state", "cifs", True),
        ("/mnt/9p", "9p", True),
    ],
)
def test_the_nearest_mount_holds(path: str, kind: str, *, network: bool) -> None:
    """Case 52: a path is on the longest mount point over it, the last of equals."""
    mount = mount_of(path, MOUNTINFO)
    assert mount is not None
    assert (kind, network) == (mount.kind, mount.is_network)


@pytest.mark.parametrize("text", ["", "nonsense", " - ", "1 2 3 / /x rw - ext4 a b"])
def test_nothing_known_is_none(text: str) -> None:
    """Where nothing says what a path is on, nothing is claimed."""
    assert mount_of("/home", text) is None


@pytest.mark.parametrize("kind", ["nfs", "nfs4", "cifs", "smb3", "afs", "9p", "fuse.x"])
def test_network_file_systems(kind: str) -> None:
    """Every kind whose locks may not hold is known; a local one is not among them."""
    mount = mount_of("/", f"1 0 0:1 / / rw - {kind} x rw")
    assert mount is not None
    assert mount.is_network
