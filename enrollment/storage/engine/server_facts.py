"""Facts about a PostgreSQL server for operators: its version, its connections, its clock."""

from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import text
from sqlalchemy.orm import Session

#: Oldest supported major version of PostgreSQL.
MIN_POSTGRESQL = 14
_FACTS = text(
    "SELECT current_setting('server_version_num')::int, current_setting('server_version'),"
    " current_setting('max_connections')::int"
    " - current_setting('superuser_reserved_connections')::int,"
    " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'),"
    " clock_timestamp()"
)


class ServerFacts(NamedTuple):
    """Facts about one PostgreSQL server."""

    major: int
    version: str
    #: Connections that roles without special rights may open in all.
    max_connections: int
    #: Connections that are open now, with the one that asked.
    connections: int
    #: Time of the server minus time of this machine, to about the duration of one statement.
    clock_offset: timedelta


def load_server_facts(session: Session) -> ServerFacts:
    """Returns the facts of the session's server, which must be PostgreSQL."""
    session.connection()  # connects first, so that the clocks are read at about the same time
    before = datetime.now(UTC)
    number, version, most, used, server_time = session.execute(_FACTS).one()
    here = before + (datetime.now(UTC) - before) / 2
    return ServerFacts(number // 10_000, version.split()[0], most, used, server_time - here)
