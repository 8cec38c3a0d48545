"""Which folders are on a network file system, by what Linux says of its mounts."""

from pathlib import Path

import pytest

from retrieval.store import file_systems
from retrieval.store.file_systems import is_network, kind_of, network_file_system

SERVER = r"""22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw,discard
35 27 0:32 / /tmp rw,nosuid,nodev shared:17 - tmpfs tmpfs rw,size=8195060k
96 27 0:48 / /srv rw,relatime shared:50 - nfs4 filer:/export rw,vers=4.2,hard,proto=tcp,clientaddr=10.0.0.7
97 96 259:1 / /srv/fast rw,relatime shared:51 master:3 propagate_from:2 - xfs /dev/nvme0n1p1 rw
98 27 0:50 / /mnt/my\040papers\134old rw,relatime - cifs //nas/papers rw,vers=3.1.1
99 27 0:51 / /mnt/both rw,relatime - ext4 /dev/vdb rw
100 99 0:52 / /mnt/both rw,relatime - nfs filer:/both rw,vers=3
101 27 0:53 / /home/me/far rw,nosuid,nodev,relatime - fuse.sshfs me@far:/ rw,user_id=1000,group_id=1000
"""
CONTAINER = """1557 1216 0:214 / / rw,relatime - overlay overlay rw,lowerdir=/l/A:/l/B,upperdir=/u,workdir=/w
1558 1557 0:217 / /proc rw,nosuid,nodev,noexec,relatime - proc proc rw
1570 1557 254:1 /pods/7/volumes/data /data rw,relatime - ext4 /dev/vda1 rw
1571 1557 0:99 /pvc-1 /shared rw,relatime - ceph 10.0.0.1:6789,10.0.0.2:6789:/volumes rw,name=k8s,acl
"""


@pytest.mark.parametrize(
    ("mounts", "path", "kind"),
    [
        (SERVER, "/var/lib/qrerank", "ext4"),
        (SERVER, "/", "ext4"),
        (SERVER, "/srv", "nfs4"),
        (SERVER, "/srv/qrerank/collections", "nfs4"),
        (SERVER, "/srv/fast/collections", "xfs"),
        (SERVER, "/srv/faster", "nfs4"),
        (SERVER, "/srvx", "ext4"),
        (SERVER, "/mnt/my papers\\old/a", "cifs"),
        (SERVER, "/mnt/my", "ext4"),
        (SERVER, "/mnt/both/a", "nfs"),
        (SERVER, "/home/me/far/away", "fuse.sshfs"),
        (CONTAINER, "/app", "overlay"),
        (CONTAINER, "/data/collections", "ext4"),
        (CONTAINER, "/shared/collections", "ceph"),
        ("", "/data", None),
        ("no mount\n1 2 3:4 / /data rw", "/data", None),
    ],
)
def test_the_deepest_mount_counts_and_of_two_the_later(mounts, path, kind):
    assert kind_of(mounts, Path(path)) == kind


@pytest.mark.parametrize(
    "kind",
    "nfs nfs4 cifs smb3 smbfs 9p fuse fuse.sshfs fuse.glusterfs fuse.juicefs lustre ceph glusterfs afs gpfs beegfs "
    "ocfs2 gfs2 virtiofs".split(),
)
def test_what_others_may_share_is_a_network(kind):
    assert is_network(kind)


@pytest.mark.parametrize("kind", "ext4 xfs btrfs zfs tmpfs overlay f2fs fuseblk fusectl".split())
def test_what_one_machine_has_is_local(kind):
    assert not is_network(kind)


def test_links_are_followed_and_a_system_that_does_not_tell_is_local(tmp_path, monkeypatch):
    assert network_file_system(tmp_path) is None
    far, link, mounts = tmp_path / "far", tmp_path / "link", tmp_path / "mountinfo"
    far.mkdir()
    link.symlink_to(far)
    mounts.write_text(f"1 0 254:0 / / rw - ext4 /dev/vda rw\n2 1 0:48 / {far} rw - nfs4 filer:/export rw\n")
    monkeypatch.setattr(file_systems, "_MOUNTS", mounts)
    assert network_file_system(link / "papers") == "nfs4"
    assert network_file_system(tmp_path) is None
    mounts.unlink()
    assert network_file_system(link / "papers") is None
