"""API keys: their hashes, scopes, expiry, revocation and last use."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import or_, select, text, update
from sqlalchemy.orm import Session

from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import ApiKeyRow

#: Key of the advisory lock of those who create keys.
_CREATION_LOCK = 7_316_455_022_102


class ApiKey(NamedTuple):
    """An API key without its hash. Names may repeat: two keys coexist during a rotation."""

    id: int
    name: str
    scopes: frozenset[str]
    created: datetime
    revoked_at: datetime | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None

    def is_live(self, now: datetime) -> bool:
        """Whether the key can be used: neither revoked nor expired."""
        return self.revoked_at is None and not self.has_expired(now)

    def has_expired(self, now: datetime) -> bool:
        """Whether the key's time is over."""
        return self.expires_at is not None and self.expires_at <= now


def add(
    session: Session,
    *,
    name: str,
    scopes: frozenset[str],
    digest: bytes,
    now: datetime,
    expires_at: datetime | None = None,
) -> int:
    """Inserts a key by its hash; returns its id."""
    row = ApiKeyRow(
        name=name, scopes=sorted(scopes), digest=digest, created=now, expires_at=expires_at
    )
    session.add(row)
    session.flush()
    return row.id


def find_by_digest(session: Session, digest: bytes) -> ApiKey | None:
    """Returns the key with this hash, also an expired one; None if it is unknown or revoked."""
    row = session.scalar(
        select(ApiKeyRow).where(ApiKeyRow.digest == digest, ApiKeyRow.revoked_at.is_(None))
    )
    return None if row is None else _key(row)


def find_by_id(session: Session, key_id: int) -> ApiKey | None:
    """Returns the key, also a revoked one."""
    row = session.get(ApiKeyRow, key_id)
    return None if row is None else _key(row)


def all_keys(session: Session) -> list[ApiKey]:
    """Returns every key, also revoked ones, oldest first."""
    return [_key(row) for row in session.scalars(select(ApiKeyRow).order_by(ApiKeyRow.id))]


def lock_names(session: Session) -> None:
    """Makes others who create keys wait for this transaction, so that no name is given twice.

    On SQLite there is one writer at a time anyway.
    """
    if is_postgresql(session):
        session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _CREATION_LOCK})


def find_by_name(session: Session, name: str) -> list[ApiKey]:
    """Returns every key that the name ever had, oldest first."""
    rows = session.scalars(select(ApiKeyRow).where(ApiKeyRow.name == name).order_by(ApiKeyRow.id))
    return [_key(row) for row in rows]


def record_use(session: Session, used: Mapping[int, datetime]) -> None:
    """Records when keys were last used, by their ids; a later time that is stored stays."""
    for key_id, at in used.items():
        is_older = or_(ApiKeyRow.last_used_at.is_(None), ApiKeyRow.last_used_at < at)
        session.execute(
            update(ApiKeyRow).where(ApiKeyRow.id == key_id, is_older).values(last_used_at=at)
        )


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
    return ApiKey(
        row.id,
        row.name,
        frozenset(row.scopes),
        row.created,
        row.revoked_at,
        row.expires_at,
        row.last_used_at,
    )
