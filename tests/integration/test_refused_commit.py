"""A transaction that the database gave up is not committed, and nobody hears that it was."""

from contextlib import suppress

import psycopg
import pytest
from sqlalchemy import select

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import CrosswalkRow


def give_up(session):
    """End the transaction as the database does, behind SQLAlchemy's back."""
    driver = session.connection().connection.driver_connection
    if not is_postgresql(session):
        driver.execute("ROLLBACK")
        return
    with suppress(psycopg.errors.UndefinedColumn):
        driver.execute("SELECT nothing")


def add_and_give_up(sessions):
    with sessions.begin() as session:
        row = CrosswalkRow(source="canvas", kind="course", theirs="MATH", ours="course-v1:a+b+c")
        session.add(row)
        session.flush()
        give_up(session)


def test_a_transaction_that_was_given_up_is_not_committed(sessions):
    with pytest.raises(DatabaseUnavailable):
        add_and_give_up(sessions)

    with sessions.read() as session:
        assert session.scalars(select(CrosswalkRow)).all() == []
