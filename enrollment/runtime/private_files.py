"""Files and folders that only their owner may read or enter."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

#: Permissions that others than the owner have in none of our files and folders.
OTHERS = 0o077
PRIVATE_FOLDER = 0o700
PRIVATE_FILE = 0o600


class OpenToOthers(Exception):
    """Other users can enter a folder that must be private; the message has the remedy."""


def restrict_new_files() -> None:
    """Makes every file that this process or its children create private."""
    os.umask(OTHERS)


def make_private_folder(folder: Path) -> int | None:
    """Creates a folder, or takes the permissions of others away from one that exists.

    Returns the permissions that it had before, if they were changed. Raises OpenToOthers for an
    open folder of another user or one that all share (`/tmp`), and OSError.
    """
    folder.mkdir(mode=PRIVATE_FOLDER, parents=True, exist_ok=True)
    status = folder.stat()
    mode = stat.S_IMODE(status.st_mode)
    if not mode & OTHERS:
        return None
    if status.st_uid != os.geteuid() or mode & stat.S_ISVTX:
        message = (
            f"other users can enter the data folder {folder} (mode {mode:o}): it holds keys and "
            f"records, and must be closed to them (chmod 700 {folder}, by its owner)"
        )
        raise OpenToOthers(message)
    folder.chmod(PRIVATE_FOLDER)
    return mode


def create_private_file(path: Path, text: str) -> None:
    """Creates a file atomically and durably, readable by its owner only, unless there is one.

    Of several processes that create it at once, the file of one stays. Raises OSError.
    """
    if path.exists():
        return
    new = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):
            path.hardlink_to(new)
            _sync_folder(path.parent)
    finally:
        new.unlink()


def write_private_file(path: Path, text: str) -> None:
    """Writes a file atomically and durably, readable by its owner only. Raises OSError.

    A file that is replaced keeps its owner: root may write one that the service reads.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    descriptor = os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, PRIVATE_FILE)
    with os.fdopen(descriptor, "w") as file:
        if path.exists() and (before := path.stat()).st_uid != os.geteuid():
            os.chown(new, before.st_uid, before.st_gid)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Makes the names in a folder survive a power cut, as the contents of its files do."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
