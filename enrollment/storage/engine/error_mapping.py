"""Vendors' errors in our words: what each means for whoever asked.

Three things can be said of an error that is not a bug: the same work may go through when done
again, a statement took too long, or the database does not do its part. The last holds too
where a table is not there or may not be touched: no request can help that, and none is to
blame for it.
"""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from enrollment.domain.errors import Conflict, EnrollmentError, RecordsUnavailable, TookTooLong

#: By SQLSTATE; where all of a class mean the same, by its two characters. The rest are bugs.
POSTGRESQL_ERRORS: Mapping[str, type[EnrollmentError]] = {
    "0A000": Conflict,  # the tables changed under a statement that was prepared before
    "40001": Conflict,  # could not serialize
    "40P01": Conflict,  # deadlock
    "55P03": Conflict,  # a lock was not to be had in time
    "57014": TookTooLong,  # the statement's time-out, or somebody cancelled it
    "25P04": TookTooLong,  # the transaction's time-out
    "08": RecordsUnavailable,  # the connection
    "25006": RecordsUnavailable,  # read-only: a standby that took over is not yet one that writes
    "25P03": RecordsUnavailable,  # idle in a transaction for too long: the connection is gone
    "26000": RecordsUnavailable,  # a pooler lent us a connection on which nothing is prepared
    "42P05": RecordsUnavailable,  # or one on which it is already
    "28": RecordsUnavailable,  # the password, the role
    "3D": RecordsUnavailable,  # no such database
    "3F": RecordsUnavailable,  # no such schema
    "40003": RecordsUnavailable,  # committed or not, it does not know
    "42501": RecordsUnavailable,  # a GRANT is missing
    "42P01": RecordsUnavailable,  # no such table, as while a dump is read back
    "42703": RecordsUnavailable,  # no such column: migrations are missing
    "53": RecordsUnavailable,  # disk full, out of memory, too many connections
    "55006": RecordsUnavailable,  # the database itself is being worked on
    "57": RecordsUnavailable,  # shutting down, starting, recovering, crashed, dropped
    "58": RecordsUnavailable,  # I/O error
    "F0": RecordsUnavailable,  # its configuration file
    "XX001": RecordsUnavailable,  # damaged data
    "XX002": RecordsUnavailable,  # a damaged index
}
#: By SQLite's result code. The rest are bugs.
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
#: SQLite has one code for these and for nonsense.
_MISSING_TABLE = ("no such table", "no such column")
#: What a new connection may mend: the old one knows other tables, another server or file.
_STALE = frozenset({"0A000", "25006", "26000", "42P05"})
_SQLITE_STALE = frozenset(
    {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
)
_PRIMARY_CODE_MASK = 0xFF
#: Two rows would have one key.
_UNIQUE_VIOLATION = "23505"
_SQLITE_UNIQUE_VIOLATIONS = frozenset(
    {sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_UNIQUE}
)


@contextmanager
def translate_errors() -> Iterator[None]:
    """Vendor errors become ours at the edge; bugs stay what they are."""
    try:
        yield
    except PoolTimeout as error:
        raise RecordsUnavailable(str(error)) from error
    except DBAPIError as error:
        meaning = domain_error_of(error)
        if meaning is None:
            raise
        raise meaning(str(error.orig)) from error


@contextmanager
def unique_violation_as_conflict() -> Iterator[None]:
    """A row that was not there and now is was written by somebody else meanwhile.

    Raises Conflict then. Elsewhere such an error is a bug.
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
    """Which of our errors a vendor's error is; None for a bug."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return POSTGRESQL_ERRORS.get(state) or POSTGRESQL_ERRORS.get(state[:2])
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        is_not_there = code == sqlite3.SQLITE_ERROR and str(error.orig).startswith(_MISSING_TABLE)
        return RecordsUnavailable if is_not_there else SQLITE_ERRORS.get(code & _PRIMARY_CODE_MASK)
    is_away = isinstance(error, OperationalError | InterfaceError) or error.connection_invalidated
    return RecordsUnavailable if is_away else None


def invalidate_stale(context: ExceptionContext) -> None:
    """Connections that only a new one can mend are not used again (an event of the engine)."""
    if is_stale(context.original_exception):
        context.is_disconnect = True


def is_stale(error: Any) -> bool:
    """Whether only a new connection can mend a vendor's error."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is not None:
        return code & _PRIMARY_CODE_MASK in _SQLITE_STALE
    return getattr(error, "sqlstate", None) in _STALE
