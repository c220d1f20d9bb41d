"""OAuth clients: the hashes of their secrets, their users, revocation and last use."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import LearnerRow, OAuthClientRow


class OAuthClient(NamedTuple):
    """A client with the hash of its secret. Its tokens are those of `username`."""

    id: int
    client_id: str
    digest: bytes
    username: str
    is_staff: bool
    created: datetime
    revoked_at: datetime | None = None
    last_used_at: datetime | None = None


def add(
    session: Session,
    *,
    client_id: str,
    digest: bytes,
    username: str,
    is_staff: bool,
    now: datetime,
) -> int | None:
    """Inserts a client and returns its id; None if one ever had this client id."""
    insert = insert_on(postgresql=is_postgresql(session))(OAuthClientRow)
    values = {"client_id": client_id, "digest": digest, "username": username}
    statement = insert.values(**values, is_staff=is_staff, created=now)
    statement = statement.on_conflict_do_nothing().returning(OAuthClientRow.id)
    number: int | None = session.scalar(statement)
    return number


def find(session: Session, client_id: str) -> OAuthClient | None:
    """Returns the client; None if it is unknown or revoked."""
    row = session.scalar(
        select(OAuthClientRow).where(
            OAuthClientRow.client_id == client_id, OAuthClientRow.revoked_at.is_(None)
        )
    )
    return None if row is None else _client(row)


def all_clients(session: Session) -> list[OAuthClient]:
    """Returns every client, also revoked ones, oldest first."""
    rows = session.scalars(select(OAuthClientRow).order_by(OAuthClientRow.id))
    return [_client(row) for row in rows]


def revoke(session: Session, number: int, *, now: datetime) -> bool:
    """Revokes a client by its number; returns False if there is none that is in use."""
    revoked = session.scalar(
        update(OAuthClientRow)
        .where(OAuthClientRow.id == number, OAuthClientRow.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(OAuthClientRow.id)
    )
    return revoked is not None


def register_user(session: Session, username: str, *, is_staff: bool) -> str | None:
    """Inserts the learner whose tokens a client gets, unless there is one; returns the e-mail.

    A learner who exists stays as they are.
    """
    known = select(LearnerRow.email).where(LearnerRow.username == username)
    found = session.execute(known).one_or_none()
    if found is not None:
        return found[0]
    insert = insert_on(postgresql=is_postgresql(session))(LearnerRow)
    session.execute(insert.values(username=username, is_staff=is_staff).on_conflict_do_nothing())
    return None


def record_use(session: Session, used: Mapping[int, datetime]) -> None:
    """Records when clients were last used, by their ids; a later time that is stored stays."""
    for number, at in used.items():
        is_older = or_(OAuthClientRow.last_used_at.is_(None), OAuthClientRow.last_used_at < at)
        session.execute(
            update(OAuthClientRow)
            .where(OAuthClientRow.id == number, is_older)
            .values(last_used_at=at)
        )


def _client(row: OAuthClientRow) -> OAuthClient:
    return OAuthClient(
        row.id,
        row.client_id,
        row.digest,
        row.username,
        row.is_staff,
        row.created,
        row.revoked_at,
        row.last_used_at,
    )
