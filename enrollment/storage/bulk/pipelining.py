"""Statements that are on their way while something else is done.

PostgreSQL works in a process of its own: what is sent to it ahead costs no time but its own.
"""

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
    """What a statement came to; known when the block in which it was on its way has ended."""

    def __init__(self) -> None:
        #: Rows that it changed, where it gives none.
        self.count = 0
        self.rows: list[tuple[Any, ...]] = []


@contextmanager
def pipelined(session: Session, *statements: Statement) -> Iterator[list[PipelinedResult]]:
    """Send statements, do what the block does, and wait for what each came to.

    A statement inside the block raises RuntimeError: its answer would come behind those of all
    others. The block is not run where a statement fails at once. On SQLite they are executed
    before it. Raises DBAPIError.
    """
    sent = [PipelinedResult() for _ in statements]
    if not statements or not is_postgresql(session):
        for statement, one in zip(statements, sent, strict=True):
            _execute(session, statement, one)
        with forbid_statements(session.connection()):
            yield sent
        return
    connection = session.connection()
    driver: Any = connection.connection.driver_connection
    with _translate_driver_errors(connection):
        with scaled_timeout(session, len(statements)), driver.pipeline() as pipeline:
            results: list[Any] = [session.execute(*statement) for statement in statements]
            cursors = [result.context.cursor for result in results]
            _flush(driver, pipeline)
            with forbid_statements(connection):
                yield sent
        for cursor, one in zip(cursors, sent, strict=True):
            _read(driver, cursor, one)


@contextmanager
def scaled_timeout(session: Session, statements: int) -> Iterator[None]:
    """Bear with the server for as long as so many statements may take, which are sent at once.

    What it may keep silent for is meant for one, and counts from the first to the last of them.
    """
    driver: Any = session.connection().connection.driver_connection
    server_timeout = getattr(driver, "server_timeout", None)
    if server_timeout is None:  # it is waited for without end, or it is SQLite
        yield
        return
    driver.server_timeout = server_timeout * statements
    try:
        yield
    finally:
        driver.server_timeout = server_timeout


def _flush(driver: Any, pipeline: Any) -> None:
    """Send all of it, and that it ends here.

    Until then the server takes the session for one that works, and would wait for a client that
    is gone for as long as the system's keepalive does. psycopg's own ``sync()`` waits for the end.
    """
    pipeline._enqueue_sync()  # noqa: SLF001 (as its own `sync` does)
    driver.wait(pipeline._communicate_gen())  # noqa: SLF001 (likewise)
    driver.wait(send(driver.pgconn))


def _read(driver: Any, cursor: Any, sent: PipelinedResult) -> None:
    sent.count = cursor.rowcount
    if cursor.pgresult.nfields:  # closed with SQLAlchemy's result, which knows of no rows yet
        reader = Transformer(driver)
        reader.set_pgresult(cursor.pgresult)
        sent.rows = reader.load_rows(0, cursor.pgresult.ntuples, tuple)


def _execute(session: Session, statement: Statement, sent: PipelinedResult) -> None:
    result: Any = session.execute(*statement)
    if result.returns_rows:
        sent.rows = [tuple(row) for row in result.all()]
    else:
        sent.count = result.rowcount


@contextmanager
def _translate_driver_errors(connection: Connection) -> Iterator[None]:
    """The driver's errors as SQLAlchemy raises them."""
    try:
        yield
    except psycopg.Error as error:
        is_gone = _is_disconnect(connection, error)
        if is_gone:
            connection.invalidate(error)
        raise DBAPIError.instance(
            None,
            None,
            error,
            psycopg.Error,
            connection_invalidated=is_gone,
            dialect=connection.dialect,
        ) from error


def _is_disconnect(connection: Connection, error: Any) -> bool:
    driver: Any = connection.connection.driver_connection
    return is_stale(error) or connection.dialect.is_disconnect(error, driver, None)
