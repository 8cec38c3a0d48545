"""Which folders are on a network file system: there, processes of several machines cannot share memory."""

from __future__ import annotations

import re
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")  # of Linux alone
_NETWORK = frozenset(
    "9p acfs afs beegfs ceph cifs coda davfs fhgfs gfs gfs2 glusterfs gpfs lustre ncpfs nfs nfs4 ocfs2 orangefs prl_fs "
    "pvfs2 smb2 smb3 smbfs vboxsf virtiofs wekafs".split()
)
_ESCAPE = re.compile(r"\\([0-7]{3})")  # a space, a tab, a line feed or a backslash


def network_file_system(folder: Path) -> str | None:
    """Return the kind of network file system that a folder is on, such as "nfs4"; None if it is on a local one.

    Where the system does not tell of its mounts, as on macOS, every folder counts as local.
    """
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return None
    kind = kind_of(mounts, folder.resolve())
    return kind if kind is not None and is_network(kind) else None


def kind_of(mounts: str, path: Path) -> str | None:
    """Return the kind of file system that a path is on; None if no mount point contains it.

    Args:
        mounts: The text of `/proc/self/mountinfo`, see proc_pid_mountinfo(5).
        path: Absolute, without links.
    """
    depth, kind = 0, None
    for line in mounts.split("\n"):
        before, _, after = line.partition(" - ")
        fields = before.split(" ")
        if len(fields) < 5 or not after:
            continue
        point = Path(_ESCAPE.sub(_unescaped, fields[4]))
        if path.is_relative_to(point) and len(point.parts) >= depth:  # of two at one point the later one is seen
            depth, kind = len(point.parts), after.split(" ")[0]
    return kind


def is_network(kind: str) -> bool:
    """Return whether a kind of file system may be shared with other machines.

    What a file system in user space (FUSE) does is not known, so it counts as shared, too; FUSE on a block device
    (`fuseblk`) is local.
    """
    return kind in _NETWORK or kind.partition(".")[0] == "fuse"


def _unescaped(escape: re.Match[str]) -> str:
    return chr(int(escape[1], 8))
