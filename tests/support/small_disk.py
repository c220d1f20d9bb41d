"""Disks that are small enough to be filled; made of memory, so only root has them."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_PIECE = 2**16


class SmallDisk:
    """A file system of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    @contextmanager
    def full(self) -> Iterator[None]:
        """Inside the block there is no room left."""
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
    """A disk that is gone at the end; who may not have one leaves the test out."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a disk that can be filled takes root and mount")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)
