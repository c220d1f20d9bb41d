"""Detects a connection pooler between this process and PostgreSQL, and whether it is safe.

psycopg names its prepared statements alike in every client (`_pg3_0`, …). A pooler that gives one
server session to several clients, and does not rename their statements, lets one client execute
another's statement. PgBouncer renames them from 1.21 on, if `max_prepared_statements` is set.
"""

from typing import Any

import psycopg
from psycopg.errors import DuplicatePreparedStatement

#: Rounds in which two clients compare the server sessions that they were given.
_ROUNDS = 3
_SESSION = "SELECT pg_backend_pid()"
_PROBE = "SELECT 1 AS enroll_pooler_probe"
_NAMES_OF_PROBE = (
    "SELECT count(*) FROM pg_prepared_statements"
    " WHERE name LIKE '\\_pg3\\_%' AND statement = 'SELECT 1 AS enroll_pooler_probe'"
)


def is_pooled(driver: Any, server_session: int) -> bool:
    """Returns whether the session that answers is another than the one that was connected to."""
    return bool(driver.info.backend_pid != server_session)


def server_session(driver: Any) -> int:
    """Returns the number of the session that answers; begins a transaction."""
    (session,) = driver.execute(_SESSION, prepare=False).fetchone()
    return int(session)


def mixes_statements(driver: Any) -> bool:
    """Returns whether clients of the pooler can execute each other's prepared statements.

    Commits the connection's transaction, and opens a second connection for the comparison.
    """
    return _keeps_names(driver) and _shares_sessions(driver)


def _keeps_names(driver: Any) -> bool:
    driver.commit()
    try:
        driver.execute(_PROBE, prepare=True)
        (count,) = driver.execute(_NAMES_OF_PROBE, prepare=False).fetchone()
    except DuplicatePreparedStatement:
        count = 1
    finally:
        driver.rollback()
    return bool(count)


def _shares_sessions(driver: Any) -> bool:
    """Returns whether two open clients meet one session, or one client meets two."""
    parameters = {**driver.info.get_parameters(), "password": driver.info.password}
    with psycopg.connect(**parameters) as other:
        return any(_session_of(driver) == _session_of(other) for _ in range(_ROUNDS))


def _session_of(driver: Any) -> int:
    session = server_session(driver)
    driver.commit()
    return session
