"""A PostgreSQL database whose gateway, worker and migrator are different roles."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import psycopg
from sqlalchemy.engine import make_url

from enrollment.storage import migrate
from tests.support.servers import create_database, drop_database

ROLES_SQL = Path(__file__).parents[2] / "deploy" / "postgres" / "roles.sql"


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
