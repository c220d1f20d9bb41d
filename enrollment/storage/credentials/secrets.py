"""Secrets that the service generates and all its processes share."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import SecretRow


def get_or_create(session: Session, name: str, fresh: bytes) -> bytes:
    """Returns the secret of that name; stores `fresh` as its value if there is none.

    Of two concurrent callers the second waits at its insert until the first commits, then reads
    the first one's secret. Needs a session that may write.
    """
    stored = session.scalar(select(SecretRow.value).where(SecretRow.name == name))
    if stored is not None:
        return stored
    row = {"name": name, "value": fresh}
    if is_postgresql(session):
        session.execute(postgresql.insert(SecretRow).values(row).on_conflict_do_nothing())
    else:
        session.execute(sqlite.insert(SecretRow).values(row).on_conflict_do_nothing())
    return session.scalars(select(SecretRow.value).where(SecretRow.name == name)).one()
