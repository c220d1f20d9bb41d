"""What the promise asks of releases and file systems."""

from pathlib import Path

import pytest

from enrollment.storage.engine.durability import (
    DurabilityFact,
    cannot_write,
    data_loss_messages,
    filesystem_of,
    wal_is_sound,
)

MOUNTS = """\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw
23 22 0:21 / /srv rw shared:1 master:2 - nfs4 host:/export rw
24 23 0:22 / /srv/fast rw - tmpfs tmpfs rw
25 22 0:23 / /with\\040space rw - fuse.sshfs a@b: rw
26 22 0:24 / /twice rw - ext4 /dev/vdb rw
27 22 0:25 / /twice rw - cifs //host/share rw
"""


@pytest.mark.parametrize(
    ("version", "is_sound"),
    [
        ("3.7.0", False), ("3.40.1", False), ("3.44.5", False), ("3.44.6", True), ("3.44.10", True),
        ("3.45.0", False), ("3.50.6", False), ("3.50.7", True), ("3.51.0", False), ("3.51.2", False),
        ("3.51.3", True), ("3.52.0", True), ("3.53.4", True),
    ],
)  # fmt: skip
def test_wal_mode_is_for_releases_without_the_fault(version, is_sound):
    assert wal_is_sound(version) is is_sound


@pytest.mark.parametrize(
    ("path", "sort"),
    [
        ("/var/lib/x.sqlite3", "ext4"),
        ("/srv/x.sqlite3", "nfs4"),
        ("/srv/fast/x.sqlite3", "tmpfs"),
        ("/srv/faster/x.sqlite3", "nfs4"),
        ("/with space/x.sqlite3", "fuse.sshfs"),
        ("/twice/x.sqlite3", "cifs"),
    ],
)
def test_a_file_is_on_the_file_system_mounted_nearest_above_it(tmp_path, path, sort):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)

    assert filesystem_of(Path(path), mounts) == sort


def test_where_the_machine_does_not_tell_nothing_is_known(tmp_path):
    assert filesystem_of(tmp_path, tmp_path / "not there") is None


def test_what_loses_is_told_apart_from_what_cannot_write():
    lossy = DurabilityFact("wrong", "fsync is off", "set it on", loses_commits=True)
    unable = DurabilityFact("wrong", "the database is read-only", "name the primary")
    found = [
        DurabilityFact("ok", "fine"),
        DurabilityFact("note", "doubtful", "look"),
        lossy,
        unable,
    ]

    assert data_loss_messages(found) == ["fsync is off: set it on"]
    assert cannot_write(found) == "the database is read-only: name the primary"
    assert cannot_write([lossy]) == ""
