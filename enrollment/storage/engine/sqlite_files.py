"""SQLite's file: created for its owner only, and noticed when it is replaced."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError

#: Held while a file is created: closing it would drop the locks of other threads on it.
_creating_file = threading.Lock()


def create_private_file(url: URL) -> Callable[..., None]:
    """Returns a `do_connect` listener that creates the database's file with mode 0600.

    SQLite would create it by the umask. Its journal gets the permissions of the file.
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC

    def create(*_: object) -> None:
        if "uri" in url.query:
            return
        with _creating_file, suppress(OSError):  # it exists; or SQLite reports what is wrong
            os.close(os.open(str(url.database), flags, 0o600))

    return create


def refuse_replaced_file(path: str) -> Callable[[Any, Any, Any], None]:
    """Returns a checkout listener that discards connections to a file that was replaced since."""

    def check(_connection: object, record: Any, _proxy: object) -> None:
        now = _file_identity(path)
        if record.info.setdefault("file", now) != now:
            message = "the database file was replaced"
            raise DisconnectionError(message)

    return check


def _file_identity(path: str) -> tuple[int, int] | None:
    try:
        status = os.stat(path)  # noqa: PTH116 (called for each transaction)
    except OSError:
        return None
    return status.st_dev, status.st_ino
