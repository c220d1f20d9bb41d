"""PgBouncer in transaction mode in front of a test server, if the machine has it."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from sqlalchemy.engine import make_url

from tests.support.binaries import FETCHED
from tests.support.servers import LOOPBACK, NOBODY, free_port
from tests.support.service_processes import wait_until
from tests.support.temporary_folders import working_folder

#: Debian keeps it where only root's PATH leads.
_SYSTEM = "/usr/bin:/usr/local/bin:/usr/sbin:/usr/local/sbin"


def version(program: str | Path) -> tuple[int, int]:
    """Returns the version of a program."""
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    major, minor, *_ = said.stdout.split()[1].split(".")
    return int(major), int(minor)


def _programs() -> list[str]:
    found = (shutil.which("pgbouncer", path=path) for path in (str(FETCHED), _SYSTEM))
    return sorted((each for each in found if each), key=version)


#: The releases on this machine, the oldest first.
PROGRAMS = _programs()
#: The first release that renames the statements of its clients.
RENAMES = (1, 21)
#: A release that does; None where there is none.
NEWER = next((each for each in reversed(PROGRAMS) if version(each) >= RENAMES), None)
_CONFIGURATION = """
[databases]
* = host={host} port={target} user={user}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = any
max_client_conn = 500
pool_mode = {mode}
ignore_startup_parameters = options
{more}
"""


@contextmanager
def pgbouncer(url: str, *, mode: str, more: str = "", program: str | None = None) -> Iterator[str]:
    """Yields the URL of a database behind PgBouncer, the newest one if none is named."""
    program = program or PROGRAMS[-1]
    there = make_url(url)
    port = free_port()
    with working_folder() as folder, (folder / "log").open("wb") as log:
        folder.chmod(0o755)
        path = folder / "pgbouncer.ini"
        settings = {"target": there.port, "user": there.username, "port": port}
        path.write_text(_CONFIGURATION.format(host=LOOPBACK, mode=mode, more=more, **settings))
        # it refuses to run as root, and nobody else can enter root's folders
        user = ["-u", pwd.getpwuid(NOBODY).pw_name] if os.getuid() == 0 else []
        with subprocess.Popen([program, "-q", *user, path], stdout=log, stderr=log) as process:
            pooled = there.set(host=LOOPBACK, port=port).render_as_string(hide_password=False)
            try:
                wait_until(lambda: _answers(pooled))
                yield pooled
            finally:
                process.kill()  # at SIGTERM newer ones wait for their clients


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url.replace("+psycopg", ""), connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False
