"""Maps driver errors to domain errors.

An error that is not a bug is one of three: Conflict (a retry may succeed), StatementTimeout (a time
limit ended the statement), DatabaseUnavailable (the database does not work). The last includes
missing tables and missing privileges, since they are no fault of the request.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from enrollment.domain.errors import (
    Conflict,
    DatabaseUnavailable,
    EnrollmentError,
    StatementTimeout,
)

#: Domain errors by SQLSTATE, or by its class (the first two characters). All others are bugs.
POSTGRESQL_ERRORS: Mapping[str, type[EnrollmentError]] = {
    "0A000": Conflict,  # a table was changed after a statement was prepared
    "40001": Conflict,  # serialization failure
    "40P01": Conflict,  # deadlock
    "55P03": Conflict,  # lock timeout
    "57014": StatementTimeout,  # statement timeout, or cancelled by an operator
    "25P04": StatementTimeout,  # transaction timeout
    "08": DatabaseUnavailable,  # connection failure
    "25006": DatabaseUnavailable,  # read-only: a standby that is not yet promoted
    "25P03": StatementTimeout,  # idle-in-transaction timeout: the connection is closed
    "26000": DatabaseUnavailable,  # prepared statement is missing: a pooler changed the connection
    "42P05": DatabaseUnavailable,  # prepared statement exists: likewise
    "28": DatabaseUnavailable,  # wrong password or role
    "3D": DatabaseUnavailable,  # no such database
    "3F": DatabaseUnavailable,  # no such schema
    "40003": DatabaseUnavailable,  # unknown whether it committed
    "42501": DatabaseUnavailable,  # missing privilege
    "42P01": DatabaseUnavailable,  # no such table, as while a dump is restored
    "42703": DatabaseUnavailable,  # no such column: migrations are missing
    "53": DatabaseUnavailable,  # disk full, out of memory, too many connections
    "55006": DatabaseUnavailable,  # the database is in use by a maintenance command
    "57": DatabaseUnavailable,  # shutting down, starting, recovering, crashed, dropped
    "58": DatabaseUnavailable,  # I/O error
    "F0": DatabaseUnavailable,  # error in the configuration file
    "XX001": DatabaseUnavailable,  # corrupted data
    "XX002": DatabaseUnavailable,  # corrupted index
}
#: Domain errors by SQLite's primary result code. All others are bugs.
SQLITE_ERRORS: Mapping[int, type[EnrollmentError]] = dict.fromkeys(
    (
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_SCHEMA,
        sqlite3.SQLITE_NOTADB,
    ),
    DatabaseUnavailable,
)
#: SQLite has one code for these and for invalid SQL.
_MISSING_TABLE = ("no such table", "no such column")
#: Errors that a new connection may fix: the old one refers to other tables, another server or file.
_STALE = frozenset({"0A000", "25006", "26000", "42P05"})
_SQLITE_STALE = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
)
#: Errors of a server that ends or refuses connections, by the beginning of their SQLSTATE.
_NO_ANSWER = ("08", "28", "3D", "53300", "57P")
_SQLITE_NO_ANSWER = frozenset(
    {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT}
)
_PRIMARY_CODE_MASK = 0xFF
_UNIQUE_VIOLATION = "23505"
_SQLITE_UNIQUE_VIOLATIONS = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}
)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Raises domain errors for driver errors inside the block; bugs pass unchanged."""
    try:
        yield
    except PoolTimeout as error:
        raise DatabaseUnavailable(str(error)) from error
    except DBAPIError as error:
        domain_error = domain_error_of(error)
        if domain_error is None:
            raise
        raise domain_error(str(error.orig)) from error


@contextmanager
def unique_violation_as_conflict() -> Iterator[None]:
    """Raises Conflict for a violation of a unique key inside the block.

    For rows that did not exist when they were loaded: another transaction inserted them meanwhile.
    Elsewhere such an error is a bug.
    """
    try:
        yield
    except IntegrityError as error:
        if not _is_unique_violation(error.orig):
            raise
        raise Conflict(str(error.orig)) from error


def _is_unique_violation(error: Any) -> bool:
    code = getattr(error, "sqlite_errorcode", None)
    return (
        code in _SQLITE_UNIQUE_VIOLATIONS or getattr(error, "sqlstate", None) == _UNIQUE_VIOLATION
    )


def domain_error_of(error: DBAPIError) -> type[EnrollmentError] | None:
    """Returns the domain error that a driver error is mapped to; None for a bug."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return POSTGRESQL_ERRORS.get(state) or POSTGRESQL_ERRORS.get(state[:2])
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        is_missing = code == sqlite3.SQLITE_ERROR and str(error.orig).startswith(_MISSING_TABLE)
        return DatabaseUnavailable if is_missing else SQLITE_ERRORS.get(code & _PRIMARY_CODE_MASK)
    is_outage = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return DatabaseUnavailable if is_outage else None


def is_no_answer(error: BaseException | None) -> bool:
    """Whether a driver error means that the server cannot be reached, or the file not be opened."""
    if not isinstance(error, DBAPIError):
        return False
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return code & _PRIMARY_CODE_MASK in _SQLITE_NO_ANSWER
    state = getattr(error.orig, "sqlstate", None)
    return state is None or state.startswith(_NO_ANSWER)


def invalidate_stale(context: ExceptionContext) -> None:
    """Discards a connection if its error is stale (`is_stale`); a `handle_error` listener."""
    if is_stale(context.original_exception):
        context.is_disconnect = True


def is_stale(error: Any) -> bool:
    """Whether only a new connection can fix a driver error."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & _PRIMARY_CODE_MASK in _SQLITE_STALE
    return getattr(error, "sqlstate", None) in _STALE
