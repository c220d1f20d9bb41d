"""Maps driver errors to domain errors.

An error that is not a bug is one of three: Conflict (a retry may succeed), TookTooLong (a time
limit ended the statement), RecordsUnavailable (the database does not work). The last includes
missing tables and missing privileges, since they are no fault of the request.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from enrollment.domain.errors import Conflict, EnrollmentError, RecordsUnavailable, TookTooLong

#: Domain errors by SQLSTATE, or by its class (the first two characters). All others are bugs.
POSTGRESQL_ERRORS: Mapping[str, type[EnrollmentError]] = {
    "0A000": Conflict,  # a table was changed after a statement was prepared
    "40001": Conflict,  # serialization failure
    "40P01": Conflict,  # deadlock
    "55P03": Conflict,  # lock timeout
    "57014": TookTooLong,  # statement timeout, or cancelled by an operator
    "25P04": TookTooLong,  # transaction timeout
    "08": RecordsUnavailable,  # connection failure
    "25006": RecordsUnavailable,  # read-only: a standby that is not yet promoted
    "25P03": RecordsUnavailable,  # idle-in-transaction timeout: the connection is closed
    "26000": RecordsUnavailable,  # prepared statement is missing: a pooler changed the connection
    "42P05": RecordsUnavailable,  # prepared statement exists: likewise
    "28": RecordsUnavailable,  # wrong password or role
    "3D": RecordsUnavailable,  # no such database
    "3F": RecordsUnavailable,  # no such schema
    "40003": RecordsUnavailable,  # unknown whether it committed
    "42501": RecordsUnavailable,  # missing privilege
    "42P01": RecordsUnavailable,  # no such table, as while a dump is restored
    "42703": RecordsUnavailable,  # no such column: migrations are missing
    "53": RecordsUnavailable,  # disk full, out of memory, too many connections
    "55006": RecordsUnavailable,  # the database is in use by a maintenance command
    "57": RecordsUnavailable,  # shutting down, starting, recovering, crashed, dropped
    "58": RecordsUnavailable,  # I/O error
    "F0": RecordsUnavailable,  # error in the configuration file
    "XX001": RecordsUnavailable,  # corrupted data
    "XX002": RecordsUnavailable,  # corrupted index
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
    RecordsUnavailable,
)
#: SQLite has one code for these and for invalid SQL.
_MISSING_TABLE = ("no such table", "no such column")
#: Errors that a new connection may fix: the old one refers to other tables, another server or file.
_STALE = frozenset({"0A000", "25006", "26000", "42P05"})
_SQLITE_STALE = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
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
        raise RecordsUnavailable(str(error)) from error
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
        return RecordsUnavailable if is_missing else SQLITE_ERRORS.get(code & _PRIMARY_CODE_MASK)
    is_outage = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return RecordsUnavailable if is_outage else None


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
