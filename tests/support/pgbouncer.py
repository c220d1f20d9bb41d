"""PgBouncer in transaction mode in front of a test server, if the machine has it."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from sqlalchemy.engine import make_url

from tests.support.servers import LOOPBACK, NOBODY, free_port
from tests.support.service_processes import wait_until
from tests.support.temporary_folders import working_folder

#: Debian keeps it where only root's PATH leads.
PROGRAM = shutil.which("pgbouncer", path="/usr/bin:/usr/local/bin:/usr/sbin:/usr/local/sbin")
_CONFIGURATION = """
[databases]
* = host={host} port={target} user={user}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
ignore_startup_parameters = options
{more}
"""


def version() -> tuple[int, int]:
    """Returns the version of the program."""
    assert PROGRAM is not None
    said = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, check=True)
    major, minor, *_ = said.stdout.split()[1].split(".")
    return int(major), int(minor)


@contextmanager
def pgbouncer(url: str, *, mode: str, more: str = "") -> Iterator[str]:
    """Yields the URL of a database behind PgBouncer."""
    assert PROGRAM is not None
    there = make_url(url)
    port = free_port()
    with working_folder() as folder, (folder / "log").open("wb") as log:
        folder.chmod(0o755)
        path = folder / "pgbouncer.ini"
        settings = {"target": there.port, "user": there.username, "port": port}
        path.write_text(_CONFIGURATION.format(host=LOOPBACK, mode=mode, more=more, **settings))
        user = {"user": NOBODY} if os.getuid() == 0 else {}
        with subprocess.Popen([PROGRAM, "-q", path], stdout=log, stderr=log, **user) as process:
            pooled = there.set(host=LOOPBACK, port=port).render_as_string(hide_password=False)
            try:
                wait_until(lambda: _answers(pooled))
                yield pooled
            finally:
                process.terminate()


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False
