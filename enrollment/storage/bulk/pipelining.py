"""Pipelining: PostgreSQL executes statements while the caller computes something else."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import psycopg
from psycopg.adapt import Transformer
from psycopg.generators import send
from sqlalchemy import Connection, Executable
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.engines import forbid_statements
from enrollment.storage.engine.error_mapping import is_stale


class Statement(NamedTuple):
    """A statement and its parameters."""

    query: Executable
    parameters: Mapping[str, Any]


class PipelinedResult:
    """The result of a pipelined statement; available after the block of `pipelined`."""

    def __init__(self) -> None:
        #: Number of rows changed, for a statement that returns none.
        self.count = 0
        self.rows: list[tuple[Any, ...]] = []


@contextmanager
def pipelined(session: Session, *statements: Statement) -> Iterator[list[PipelinedResult]]:
    """Sends statements, runs the block meanwhile, and then waits for the results.

    Yields the results, which are filled after the block. On SQLite the statements are executed
    before the block; if one fails at once, the block does not run. A statement inside the block
    raises RuntimeError: its response would come after those of all others. Raises DBAPIError.
    """
    results = [PipelinedResult() for _ in statements]
    if not statements or not is_postgresql(session):
        for statement, result in zip(statements, results, strict=True):
            _execute(session, statement, result)
        with forbid_statements(session.connection()):
            yield results
        return
    connection = session.connection()
    driver: Any = connection.connection.driver_connection
    with _translate_driver_errors(connection):
        with scaled_timeout(session, len(statements)), driver.pipeline() as pipeline:
            executed: list[Any] = [session.execute(*statement) for statement in statements]
            cursors = [execution.context.cursor for execution in executed]
            _flush(driver, pipeline)
            with forbid_statements(connection):
                yield results
        for cursor, result in zip(cursors, results, strict=True):
            _read(driver, cursor, result)


@contextmanager
def scaled_timeout(session: Session, statements: int) -> Iterator[None]:
    """Multiplies the connection's `server_timeout` by the number of statements sent at once.

    The timeout is meant for one statement, but in a pipeline it runs from the first to the last.
    """
    driver: Any = session.connection().connection.driver_connection
    server_timeout = getattr(driver, "server_timeout", None)
    if server_timeout is None:  # no timeout, or SQLite
        yield
        return
    driver.server_timeout = server_timeout * statements
    try:
        yield
    finally:
        driver.server_timeout = server_timeout


def _flush(driver: Any, pipeline: Any) -> None:
    """Sends all statements and a Sync message, without waiting for the results.

    Without the Sync the server regards the session as active, so that a client that vanished is
    detected only by TCP keepalive. psycopg's own `sync()` would wait for the results.
    """
    pipeline._enqueue_sync()  # noqa: SLF001 (as its own `sync` does)
    driver.wait(pipeline._communicate_gen())  # noqa: SLF001 (likewise)
    driver.wait(send(driver.pgconn))


def _read(driver: Any, cursor: Any, result: PipelinedResult) -> None:
    result.count = cursor.rowcount
    if cursor.pgresult.nfields:  # SQLAlchemy closed the cursor before it had rows
        reader = Transformer(driver)
        reader.set_pgresult(cursor.pgresult)
        result.rows = reader.load_rows(0, cursor.pgresult.ntuples, tuple)


def _execute(session: Session, statement: Statement, result: PipelinedResult) -> None:
    executed: Any = session.execute(*statement)
    if executed.returns_rows:
        result.rows = [tuple(row) for row in executed.all()]
    else:
        result.count = executed.rowcount


@contextmanager
def _translate_driver_errors(connection: Connection) -> Iterator[None]:
    """Raises the driver's errors as SQLAlchemy's DBAPIError."""
    try:
        yield
    except psycopg.Error as error:
        is_disconnect = _is_disconnect(connection, error)
        if is_disconnect:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None,
            None,
            error,
            psycopg.Error,
            connection_invalidated=is_disconnect,
            dialect=connection.dialect,
        ) from error


def _is_disconnect(connection: Connection, error: Any) -> bool:
    driver: Any = connection.connection.driver_connection
    return is_stale(error) or connection.dialect.is_disconnect(error, driver, None)
