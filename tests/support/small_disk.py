"""Small disks that tests can fill; in memory, and only for root."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PIECE = 2**16


class SmallDisk:
    """A small file system."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leaves no free space during the block."""
        with self._ballast.open("wb") as ballast:
            for size in (_PIECE, 1):
                self._fill(ballast.fileno(), size)
        try:
            yield
        finally:
            self._ballast.unlink()

    def _fill(self, file: int, size: int) -> None:
        piece = b"x" * size
        while True:
            try:
                os.write(file, piece)
            except OSError:
                return


@contextmanager
def small_disk(folder: Path, *, megabytes: int) -> Iterator[SmallDisk]:
    """Mounts a small disk during the block; skips the test without permission."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk that can be filled takes root and mount")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
