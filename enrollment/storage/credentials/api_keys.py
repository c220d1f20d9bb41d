"""API keys: their hashes, scopes and revocation."""

from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from enrollment.storage.tables import ApiKeyRow


class ApiKey(NamedTuple):
    """An API key without its hash. Names may repeat: two keys coexist during a rotation."""

    id: int
    name: str
    scopes: frozenset[str]
    created: datetime
    revoked_at: datetime | None


def add(
    session: Session, *, name: str, scopes: frozenset[str], digest: bytes, now: datetime
) -> int:
    """Inserts a key by its hash; returns its id."""
    row = ApiKeyRow(name=name, scopes=sorted(scopes), digest=digest, created=now)
    session.add(row)
    session.flush()
    return row.id


def find_by_digest(session: Session, digest: bytes) -> ApiKey | None:
    """Returns the key with this hash; None if it does not exist or is revoked."""
    row = session.scalar(
        select(ApiKeyRow).where(ApiKeyRow.digest == digest, ApiKeyRow.revoked_at.is_(None))
    )
    return None if row is None else _key(row)


def all_keys(session: Session) -> list[ApiKey]:
    """Returns every key, also revoked ones, oldest first."""
    return [_key(row) for row in session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.id))]


def revoke(session: Session, key_id: int, *, now: datetime) -> bool:
    """Revokes a key; returns False if it does not exist or was revoked before."""
    revoked = session.scalar(
        update(ApiKeyRow)
        .where(ApiKeyRow.id == key_id, ApiKeyRow.revoked_at.is_(None))
        .values(revoked_at=now)
        .returning(ApiKeyRow.id)
    )
    return revoked is not None


def _key(row: ApiKeyRow) -> ApiKey:
    return ApiKey(row.id, row.name, frozenset(row.scopes), row.created, row.revoked_at)
