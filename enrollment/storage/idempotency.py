"""Idempotency-Keys: the request that each caller used a key for."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import String, delete, select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import ArrayTable, insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import IdempotencyRow

#: (caller, key).
KeyOwner = tuple[str, str]

_USED = ArrayTable("used", caller=String(), key=String())


class KeyUse(NamedTuple):
    """A key, and the request that it was used for; `fingerprint` is the SHA-256 of the request."""

    caller: str
    key: str
    fingerprint: bytes
    submission_id: UUID


def claim(session: Session, uses: Sequence[KeyUse], *, now: datetime) -> set[KeyOwner]:
    """Inserts keys for submissions; returns those that were not in use.

    Keys are inserted in sorted order, so that two gateways with the same keys cannot deadlock.
    """
    if not uses:
        return set()
    insert = insert_on(postgresql=is_postgresql(session))
    rows = [
        {
            "caller": use.caller,
            "key": use.key,
            "fingerprint": use.fingerprint,
            "submission_id": use.submission_id,
            "created": now,
        }
        for use in sorted(uses)
    ]
    inserted = session.execute(
        insert(IdempotencyRow)
        .values(rows)
        .on_conflict_do_nothing()
        .returning(IdempotencyRow.caller, IdempotencyRow.key)
    )
    return {(row[0], row[1]) for row in inserted}


def find(session: Session, used: Collection[KeyOwner]) -> dict[KeyOwner, KeyUse]:
    """Returns the uses of those keys that are stored, in one statement."""
    if not used:
        return {}
    wanted = _USED.table(postgresql=is_postgresql(session))
    rows = session.execute(
        select(
            IdempotencyRow.caller,
            IdempotencyRow.key,
            IdempotencyRow.fingerprint,
            IdempotencyRow.submission_id,
        ).join(
            wanted,
            (IdempotencyRow.caller == wanted.c.caller) & (IdempotencyRow.key == wanted.c.key),
        ),
        _USED.parameters(session, *zip(*used, strict=True)),
    )
    return {(row[0], row[1]): KeyUse(*row) for row in rows}


def purge(session: Session, *, before: datetime, limit: int) -> bool:
    """Deletes about `limit` of the oldest keys created before a time; whether more may be left.

    A few more than `limit` if they were created by the same transaction.
    """
    oldest = select(IdempotencyRow.created).where(IdempotencyRow.created < before)
    created = session.scalars(oldest.order_by(IdempotencyRow.created).limit(limit)).all()
    if created:
        session.execute(delete(IdempotencyRow).where(IdempotencyRow.created <= created[-1]))
    return len(created) == limit
