"""Secrets that the service made for itself, the same for all its processes."""

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import SecretRow


def get_or_create(session: Session, name: str, fresh: bytes) -> bytes:
    """The secret of that name; ``fresh`` becomes it where there is none yet.

    Whoever comes second waits at the insert for the first one's commit, then reads that
    one's secret. Needs a session that may write.
    """
    kept = session.scalar(select(SecretRow.value).where(SecretRow.name == name))
    if kept is not None:
        return kept
    row = {"name": name, "value": fresh}
    if is_postgresql(session):
        session.execute(postgresql.insert(SecretRow).values(row).on_conflict_do_nothing())
    else:
        session.execute(sqlite.insert(SecretRow).values(row).on_conflict_do_nothing())
    return session.scalars(select(SecretRow.value).where(SecretRow.name == name)).one()
