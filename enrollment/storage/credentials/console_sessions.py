"""Sessions of the console: started, found by the hash of their id, ended."""

from datetime import datetime

from sqlalchemy import delete, insert, select
from sqlalchemy.orm import Session

from enrollment.storage.tables import ConsoleSessionRow


def start(
    session: Session, digest: bytes, *, caller: str, now: datetime, expires_at: datetime
) -> None:
    """Inserts a session, and deletes those that have expired."""
    session.execute(delete(ConsoleSessionRow).where(ConsoleSessionRow.expires_at <= now))
    row = {"digest": digest, "caller": caller, "started_at": now, "expires_at": expires_at}
    session.execute(insert(ConsoleSessionRow).values(row))


def find_expiry(session: Session, digest: bytes, *, now: datetime) -> datetime | None:
    """Returns when a session expires; None if it has expired or was ended."""
    return session.scalar(
        select(ConsoleSessionRow.expires_at).where(
            ConsoleSessionRow.digest == digest, ConsoleSessionRow.expires_at > now
        )
    )


def end(session: Session, digest: bytes) -> None:
    """Deletes a session, if there is one."""
    session.execute(delete(ConsoleSessionRow).where(ConsoleSessionRow.digest == digest))
