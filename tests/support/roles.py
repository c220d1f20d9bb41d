"""Servers on which the service has the rights of `deploy/`, and no others."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
import redis
from sqlalchemy.engine import make_url

from enrollment.storage import migrate
from tests.support.servers import LOOPBACK, RedisServer, create_database, drop_database
from tests.support.temporary_folders import working_folder

DEPLOY = Path(__file__).parents[2] / "deploy"
ROLES_SQL = DEPLOY / "postgres" / "roles.sql"
REDIS_USERS = DEPLOY / "redis" / "users.acl"


class RoleUrls(NamedTuple):
    """The same database for each role."""

    superuser: str
    migrator: str
    gateway: str
    worker: str


def create_roles(superuser: str) -> RoleUrls:
    """Runs `deploy/postgres/roles.sql` in a database; returns its URLs."""
    url = make_url(superuser)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)
    everywhere = make_url(plain).set(database="postgres").render_as_string(hide_password=False)
    with (
        psycopg.connect(everywhere, autocommit=True) as turn,
        psycopg.connect(plain, autocommit=True) as connection,
    ):
        # roles are of the whole server: test processes that share it take turns
        turn.execute("SELECT pg_advisory_lock(7316455022103)")
        connection.execute(ROLES_SQL.read_text().encode())
        for role in ("migrator", "gateway", "worker"):
            connection.execute(f"ALTER ROLE enroll_{role} PASSWORD 'secret'".encode())
    named = (
        url.set(username=f"enroll_{role}", password="secret").render_as_string(hide_password=False)
        for role in ("migrator", "gateway", "worker")
    )
    return RoleUrls(superuser, *named)


@contextmanager
def database_with_roles(base_url: str) -> Iterator[RoleUrls]:
    """Yields the URLs of a new database, migrated by its migrator."""
    url = create_database(base_url)
    try:
        urls = create_roles(url)
        migrate.upgrade(urls.migrator)
        yield urls
    finally:
        drop_database(base_url, url)


class RestrictedRedis(RedisServer):
    """A Redis with the users of `deploy/redis/users.acl`, and one who may do everything."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._users = folder / "users.acl"
        users = REDIS_USERS.read_text().replace(" resetpass ", " >service-password ")
        self._users.write_text(f"{users}user root on >root-password ~* &* +@all\n")

    @property
    def url(self) -> str:
        return f"redis://root:root-password@{LOOPBACK}:{self.port}/0"

    @property
    def service_url(self) -> str:
        return f"redis://enroll:service-password@{LOOPBACK}:{self.port}/0"

    def command(self) -> Sequence[str | Path]:
        return [*super().command(), "--aclfile", str(self._users)]

    def refused(self) -> set[str]:
        """Returns what the service asked for and was refused: commands, keys, channels."""
        with redis.Redis.from_url(self.url) as client:
            log = client.acl_log()
            return {f"{entry['reason']} {entry['object']}" for entry in log}


@contextmanager
def restricted_redis() -> Iterator[RestrictedRedis]:
    """Starts such a Redis."""
    with working_folder() as folder:
        server = RestrictedRedis(folder)
        try:
            yield server.start()
        finally:
            server.stop()
