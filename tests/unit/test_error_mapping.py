"""Which of our errors each error of a vendor is; all else is a bug and stays what it is."""

import sqlite3

import psycopg
import pytest
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from enrollment.domain.errors import Conflict, DatabaseUnavailable, StatementTimeout
from enrollment.storage.engine.error_mapping import domain_error_of, translate_errors

AGAIN, LATE, AWAY, BUG = Conflict, StatementTimeout, DatabaseUnavailable, None


def wrapped(error, module=psycopg):
    """The error as SQLAlchemy hands it on."""
    return DBAPIError.instance("SELECT 1", {}, error, module.Error)


def sqlite_error(name, text="", sort=sqlite3.OperationalError):
    error = sort(text or name)
    error.sqlite_errorcode = getattr(sqlite3, name)
    error.sqlite_errorname = name
    return wrapped(error, sqlite3)


@pytest.mark.parametrize(
    ("state", "meaning"),
    [
        ("0A000", AGAIN),  # cached plan must not change result type
        ("40001", AGAIN),  # serialization failure
        ("40P01", AGAIN),  # deadlock
        ("55P03", AGAIN),  # lock not available
        ("57014", LATE),  # statement time-out, cancelled by an administrator
        ("25P04", LATE),  # transaction time-out
        ("08000", AWAY), ("08001", AWAY), ("08003", AWAY), ("08004", AWAY), ("08006", AWAY),
        ("08007", AWAY),  # transaction resolution unknown
        ("08P01", AWAY),  # protocol violation
        ("25006", AWAY),  # read-only
        ("25P03", LATE),  # idle in a transaction
        ("26000", AWAY), ("42P05", AWAY),  # prepared statements behind a pooler
        ("28000", AWAY), ("28P01", AWAY),  # role, password
        ("3D000", AWAY), ("3F000", AWAY),  # database, schema
        ("40003", AWAY),  # statement completion unknown
        ("42501", AWAY),  # permission denied
        ("42P01", AWAY), ("42703", AWAY),  # table, column
        ("53000", AWAY),
        ("53100", AWAY),  # disk full
        ("53200", AWAY),  # out of memory
        ("53300", AWAY),  # too many connections
        ("53400", AWAY),
        ("55006", AWAY),
        ("57000", AWAY),
        ("57P01", AWAY),  # shut down by an administrator
        ("57P02", AWAY),  # crashed
        ("57P03", AWAY),  # starting, recovering, shutting down
        ("57P04", AWAY),  # dropped
        ("57P05", AWAY),  # idle
        ("58000", AWAY),
        ("58030", AWAY),  # I/O error
        ("58P01", AWAY), ("58P02", AWAY),
        ("F0000", AWAY), ("F0001", AWAY),
        ("XX001", AWAY), ("XX002", AWAY),  # damaged
        ("XX000", BUG),  # internal error
        ("21000", BUG),
        ("22001", BUG), ("22P02", BUG), ("22021", BUG),
        ("23502", BUG), ("23503", BUG), ("23505", BUG), ("23514", BUG),
        ("25P01", BUG), ("25P02", BUG),
        ("40000", BUG), ("40002", BUG),
        ("42601", BUG), ("42883", BUG), ("42804", BUG),
        ("54000", BUG), ("54001", BUG),
        ("55000", BUG),
        ("P0001", BUG),
    ],
)  # fmt: skip
def test_a_state_of_postgresql_has_one_meaning(state, meaning):
    assert domain_error_of(wrapped(psycopg.errors.lookup(state)("no"))) is meaning


def test_a_server_that_cannot_be_reached_says_no_state_and_is_away():
    assert domain_error_of(wrapped(psycopg.OperationalError("connection refused"))) is AWAY


def test_a_connection_that_broke_is_away_whatever_the_error():
    error = wrapped(psycopg.DatabaseError("lost synchronization with server"))
    error.connection_invalidated = True

    assert domain_error_of(error) is AWAY


def test_a_driver_that_was_asked_nonsense_found_a_bug():
    assert domain_error_of(wrapped(psycopg.ProgrammingError("no such placeholder"))) is BUG


@pytest.mark.parametrize(
    ("name", "meaning"),
    [
        ("SQLITE_BUSY", AWAY), ("SQLITE_BUSY_SNAPSHOT", AWAY), ("SQLITE_LOCKED", AWAY),
        ("SQLITE_FULL", AWAY),
        ("SQLITE_IOERR", AWAY), ("SQLITE_IOERR_WRITE", AWAY), ("SQLITE_IOERR_FSYNC", AWAY),
        ("SQLITE_READONLY", AWAY), ("SQLITE_READONLY_DBMOVED", AWAY), ("SQLITE_PERM", AWAY),
        ("SQLITE_CANTOPEN", AWAY), ("SQLITE_PROTOCOL", AWAY), ("SQLITE_SCHEMA", AWAY),
        ("SQLITE_CORRUPT", AWAY), ("SQLITE_NOTADB", AWAY), ("SQLITE_INTERRUPT", AWAY),
        ("SQLITE_ERROR", BUG), ("SQLITE_CONSTRAINT_UNIQUE", BUG), ("SQLITE_TOOBIG", BUG),
        ("SQLITE_MISMATCH", BUG), ("SQLITE_MISUSE", BUG), ("SQLITE_RANGE", BUG),
    ],
)  # fmt: skip
def test_a_code_of_sqlite_has_one_meaning(name, meaning):
    assert domain_error_of(sqlite_error(name, sort=sqlite3.DatabaseError)) is meaning


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("no such table: batch", AWAY),
        ("no such column: repeats", AWAY),
        ("no such function: nonsense", BUG),
        ('near "SELEC": syntax error', BUG),
    ],
)
def test_of_a_table_that_is_not_there_sqlite_says_so_in_words(text, meaning):
    assert domain_error_of(sqlite_error("SQLITE_ERROR", text)) is meaning


def test_a_pool_without_a_free_connection_is_a_database_that_is_away():
    with pytest.raises(DatabaseUnavailable), translate_errors():
        raise PoolTimeout


def test_a_bug_stays_what_it_is():
    bug = wrapped(psycopg.errors.lookup("42601")("syntax error"))
    with pytest.raises(DBAPIError) as raised, translate_errors():
        raise bug

    assert raised.value is bug
