"""A PostgreSQL with a synchronous standby that follows it and can be promoted."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg

from enrollment.runtime.server_urls import database_url
from tests.support.servers import LOOPBACK, PostgresServer
from tests.support.service_processes import wait_until
from tests.support.temporary_folders import working_folder

STANDBY = "standby"


class Primary(PostgresServer):
    """Commits nothing that its standby has not written."""

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "-c", f"synchronous_standby_names={STANDBY}"]


class Standby(PostgresServer):
    """Follows another server from a copy of its files."""

    def follow(self, primary: PostgresServer) -> None:
        """Copies the files of a server that has not been started."""
        self.folder.chmod(0o755)
        copy = [str(shutil.which("cp")), "-a", str(primary.folder / "data"), str(self.folder)]
        subprocess.run(copy, check=True)
        signal_file = self.folder / "data" / "standby.signal"
        signal_file.touch()
        self._source = f"host={LOOPBACK} port={primary.port} user=postgres"

    def command(self) -> Sequence[str | Path]:
        source = f"primary_conninfo={self._source} application_name={STANDBY}"
        return [*super().command(), "-c", source]

    def promote(self) -> None:
        """Makes it a primary, and waits until it is one."""
        with psycopg.connect(self.url.replace("+psycopg", ""), autocommit=True) as session:
            assert session.execute("SELECT pg_promote()").fetchone() == (True,)


class Pair(NamedTuple):
    """The two servers; at first the standby only follows."""

    primary: Primary
    standby: Standby

    @property
    def url(self) -> str:
        """A URL that names both, the standby first."""
        hosts = f"{LOOPBACK}:{self.standby.port},{LOOPBACK}:{self.primary.port}"
        return database_url(f"postgresql://postgres@{hosts}/postgres")


@contextmanager
def postgres_with_standby() -> Iterator[Pair]:
    """Starts both and waits until the standby is synchronous."""
    with ExitStack() as stack:
        primary = Primary(stack.enter_context(working_folder()))
        standby = Standby(stack.enter_context(working_folder()))
        primary.initialise()
        standby.follow(primary)
        for server in (primary, standby):
            stack.callback(server.stop)
            server.start()
        wait_until(lambda: _is_synchronous(primary))
        yield Pair(primary, standby)


def _is_synchronous(primary: PostgresServer) -> bool:
    with psycopg.connect(primary.url.replace("+psycopg", "")) as session:
        found = session.execute("SELECT sync_state FROM pg_stat_replication").fetchall()
    return found == [("sync",)]
