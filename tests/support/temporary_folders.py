"""Temporary folders that are removed later if the process that made them was killed."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

PREFIX = "enroll-test-"
ROOM_WANTED = 2**30


@contextmanager
def working_folder(*, on_disk: bool = False) -> Iterator[Path]:
    """A folder that is removed at the end; in memory if there is space, unless `on_disk` is set."""
    place = Path(tempfile.gettempdir()) if on_disk else _fast_place()
    sweep(place)
    with ExitStack() as stack:
        stack.callback(sweep, place)
        folder = _owned_folder(place, stack)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


def sweep(place: Path) -> None:
    """Removes folders whose owner has ended: their lock is free."""
    for folder in place.glob(f"{PREFIX}*"):
        try:
            with (folder / ".owner").open("r+") as owner:
                fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # in use, being made or removed by another process, or of another user
            continue


def _owned_folder(place: Path, stack: ExitStack) -> Path:
    """A new folder, locked while the stack is open (the lock ends with the process)."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        owner = stack.enter_context((folder / ".owner").open("w"))
        fcntl.flock(owner, fcntl.LOCK_EX)
        if folder.exists():  # no other process removed it before it was locked
            return folder


def _fast_place() -> Path:
    memory = Path("/dev/shm")
    usable = memory.is_dir() and os.access(memory, os.W_OK)
    if usable and shutil.disk_usage(memory).free >= ROOM_WANTED:
        return memory
    return Path(tempfile.gettempdir())
