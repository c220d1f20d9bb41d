"""The dialect of a session's database."""

from sqlalchemy.orm import Session


def is_postgresql(session: Session) -> bool:
    """Whether a session's database is PostgreSQL (otherwise SQLite)."""
    return session.get_bind().dialect.name == "postgresql"
