"""API keys: their hashes, what each may do, and which are revoked."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from enrollment.storage.tables import ApiKeyRow


class ApiKey(NamedTuple):
    """A server's key, as everybody may see it. Names may repeat: two keys while rotating."""

    id: int
    name: str
    scopes: frozenset[str]
    created: datetime
    revoked_at: datetime | None


def add(
    session: Session, *, name: str, scopes: frozenset[str], digest: bytes, now: datetime
) -> int:
    """Keep a new key's hash; gives the key's id."""
    row = ApiKeyRow(name=name, scopes=sorted(scopes), digest=digest, created=now)
    session.add(row)
    session.flush()
    return row.id


def find_by_digest(session: Session, digest: bytes) -> ApiKey | None:
    """The key with this hash, or None where there is none or it is revoked."""
    row = session.scalar(
        select(ApiKeyRow).where(ApiKeyRow.digest == digest, ApiKeyRow.revoked_at.is_(None))
    )
    return None if row is None else _key(row)


def all_keys(session: Session) -> list[ApiKey]:
    """Every key ever made, revoked ones too, oldest first."""
    return [_key(row) for row in session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.id))]


def revoke(session: Session, key_id: int, *, now: datetime) -> bool:
    """End a key for good; False where there is no such key or it ended before."""
    ended = session.scalar(
        update(ApiKeyRow)
        .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiKeyRow.id)
    )
    return ended is not None


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(row.id, row.name, frozenset(row.scopes), row.created, row.revoked_at)
