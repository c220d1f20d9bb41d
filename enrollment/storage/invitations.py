"""Invitations: permission to enroll in a closed or invite-only course, by course and e-mail."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Executable, Select, String, or_, select, tuple_, update
from sqlalchemy import delete as delete_from
from sqlalchemy.orm import Session

from enrollment.domain.errors import Conflict, InvitationNotFound
from enrollment.domain.identity import canonical_email
from enrollment.domain.model import Invitation
from enrollment.storage.bulk.array_params import ArrayTable, insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.error_mapping import unique_violation_as_conflict
from enrollment.storage.tables import InvitationRow

#: Key of an invitation: (course_id, e-mail in its canonical form).
InvitationKey = tuple[str, str]

_COLUMNS = (
    InvitationRow.course_id,
    InvitationRow.email,
    InvitationRow.expires_at,
    InvitationRow.auto_enroll,
    InvitationRow.used_by,
)


class StoredInvitation(NamedTuple):
    """An invitation and the time of its creation."""

    invitation: Invitation
    created: datetime


def save(session: Session, invitation: Invitation, *, now: datetime) -> None:
    """Inserts or updates an invitation; `used_by` does not change."""
    save_all(session, [invitation], now=now)


def insert(session: Session, invitation: Invitation, *, now: datetime) -> bool:
    """Inserts an invitation; returns False, and changes nothing, where it exists."""
    row = {
        **invitation._asdict(),
        "email": canonical_email(invitation.email),
        "created": now,
    }
    statement = insert_on(postgresql=is_postgresql(session))(InvitationRow.__table__)
    inserted = session.scalar(
        statement.values(row).on_conflict_do_nothing().returning(InvitationRow.email)
    )
    return inserted is not None


def save_all(session: Session, invitations: Iterable[Invitation], *, now: datetime) -> None:
    """Inserts or updates invitations; their keys must differ."""
    rows = [
        {**invitation._asdict(), "email": canonical_email(invitation.email), "created": now}
        for invitation in sorted(
            invitations, key=lambda one: (one.course_id, canonical_email(one.email))
        )
    ]
    if not rows:
        return
    statement = _insert(postgresql=is_postgresql(session))
    session.execute(statement, rows)


def save_auto_enroll(
    session: Session,
    new: Collection[InvitationKey],
    known: Collection[InvitationKey],
    *,
    auto_enroll: bool,
    now: datetime,
) -> None:
    """Sets `auto_enroll` of invitations that were `known` when read, inserts those that were not.

    All other columns of known ones stay as they are. Raises Conflict where a new one was inserted,
    or a known one deleted, since it was read.
    """
    postgresql = is_postgresql(session)
    if new:
        rows = [
            Invitation(course_id, email, auto_enroll=auto_enroll)._asdict() | {"created": now}
            for course_id, email in sorted(new)
        ]
        statement = insert_on(postgresql=postgresql)(InvitationRow.__table__)
        with unique_violation_as_conflict():
            session.execute(statement, rows)
    if known:
        parameters = _PAIRS.parameters(session, *zip(*sorted(known), strict=True))
        found = _set_auto_enroll(postgresql=postgresql, auto_enroll=auto_enroll)
        result = session.execute(found, parameters)
        if result.rowcount != len(known):  # type: ignore[attr-defined]
            message = f"of {len(known)} invitations some were deleted meanwhile"
            raise Conflict(message)


@cache
def _set_auto_enroll(*, postgresql: bool, auto_enroll: bool) -> Executable:
    wanted = _PAIRS.table(postgresql=postgresql)
    found = (
        select(InvitationRow.course_id, InvitationRow.email)
        .join(wanted, _matches(wanted))
        .order_by(InvitationRow.course_id, InvitationRow.email)
        .with_for_update(of=InvitationRow)
        .subquery("found")
    )
    return (
        update(InvitationRow)
        .where(_matches(found))
        .values(auto_enroll=auto_enroll)
        .execution_options(synchronize_session=False)
    )


@cache
def _insert(*, postgresql: bool) -> Executable:
    statement = insert_on(postgresql=postgresql)(InvitationRow.__table__)
    upsert: Executable = statement.on_conflict_do_update(
        index_elements=["course_id", "email"],
        set_={name: statement.excluded[name] for name in ("expires_at", "auto_enroll")},
    )
    return upsert


def find(session: Session, course_id: str, email: str) -> Invitation | None:
    """Returns an invitation, or None."""
    return _first(session, select(*_COLUMNS).where(*_by_key(course_id, email)))


def find_stored(session: Session, course_id: str, email: str) -> StoredInvitation | None:
    """Returns an invitation with the time of its creation, or None."""
    query = select(*_COLUMNS, InvitationRow.created).where(*_by_key(course_id, email))
    row = session.execute(query).first()
    return None if row is None else StoredInvitation(Invitation(*row[:-1]), row[-1])


def delete(session: Session, course_id: str, email: str) -> None:
    """Deletes an invitation. Raises InvitationNotFound."""
    deleted = session.scalar(
        delete_from(InvitationRow)
        .where(*_by_key(course_id, email))
        .returning(InvitationRow.course_id)
    )
    if deleted is None:
        message = f"{email} has no invitation to {course_id}"
        raise InvitationNotFound(message)


def delete_all(session: Session, pairs: Collection[InvitationKey]) -> None:
    """Deletes the invitations that exist among the pairs, in one statement."""
    if not pairs:
        return
    wanted = _PAIRS.table(postgresql=is_postgresql(session))
    keys = select(wanted.c.course_id, wanted.c.email)
    session.execute(
        delete_from(InvitationRow)
        .where(tuple_(InvitationRow.course_id, InvitationRow.email).in_(keys))
        .execution_options(synchronize_session=False),
        _PAIRS.parameters(session, *zip(*sorted(pairs), strict=True)),
    )


def find_by_email(session: Session, email: str) -> list[StoredInvitation]:
    """Returns every invitation of an e-mail, oldest first."""
    rows = session.execute(
        select(*_COLUMNS, InvitationRow.created)
        .where(InvitationRow.email == canonical_email(email))
        .order_by(InvitationRow.created, InvitationRow.course_id)
    )
    return [StoredInvitation(Invitation(*row[:-1]), row[-1]) for row in rows]


def list_of_course(session: Session, course_id: str, *, limit: int) -> list[StoredInvitation]:
    """Returns invitations to a course, by their e-mails; at most `limit`."""
    rows = session.execute(
        select(*_COLUMNS, InvitationRow.created)
        .where(InvitationRow.course_id == course_id)
        .order_by(InvitationRow.email)
        .limit(limit)
    )
    return [StoredInvitation(Invitation(*row[:-1]), row[-1]) for row in rows]


_PAIRS = ArrayTable("wanted", course_id=String(), email=String())
_USED = ArrayTable("used", course_id=String(), email=String(), username=String())


def find_many(
    session: Session, pairs: Collection[InvitationKey]
) -> dict[InvitationKey, Invitation]:
    """Returns the invitations that exist among the pairs, in one statement."""
    if not pairs:
        return {}
    wanted = _PAIRS.table(postgresql=is_postgresql(session))
    query = select(*_COLUMNS).join(wanted, _matches(wanted))
    rows = session.execute(query, _PAIRS.parameters(session, *zip(*pairs, strict=True)))
    return {(row[0], row[1]): Invitation(*row) for row in rows}


def mark_used(session: Session, used: Mapping[InvitationKey, str]) -> None:
    """Stores the username of the learner who used each invitation, in one statement.

    Raises Conflict if one was deleted, or used by another learner, since it was loaded.
    """
    if not used:
        return
    pairs = sorted(used)
    parameters = _USED.parameters(
        session,
        [course_id for course_id, _ in pairs],
        [email for _, email in pairs],
        [used[pair] for pair in pairs],
    )
    result = session.execute(_mark_used(postgresql=is_postgresql(session)), parameters)
    if result.rowcount != len(pairs):  # type: ignore[attr-defined]
        message = f"of {len(pairs)} invitations some were used or deleted meanwhile"
        raise Conflict(message)


@cache
def _mark_used(*, postgresql: bool) -> Executable:
    wanted = _USED.table(postgresql=postgresql)
    is_free = or_(InvitationRow.used_by.is_(None), InvitationRow.used_by == wanted.c.username)
    free = (
        select(InvitationRow.course_id, InvitationRow.email, wanted.c.username)
        .join(wanted, _matches(wanted))
        .where(is_free)
        .order_by(InvitationRow.course_id, InvitationRow.email)
        .with_for_update(of=InvitationRow)
        .subquery("free")
    )
    return (
        update(InvitationRow)
        .where(_matches(free))
        .values(used_by=free.c.username)
        .execution_options(synchronize_session=False)
    )


def _by_key(course_id: str, email: str) -> tuple[Any, Any]:
    return InvitationRow.course_id == course_id, InvitationRow.email == canonical_email(email)


def _matches(table: Any) -> Any:
    return (InvitationRow.course_id == table.c.course_id) & (InvitationRow.email == table.c.email)


def _first(session: Session, query: Select[*tuple[Any, ...]]) -> Invitation | None:
    row = session.execute(query).first()
    return None if row is None else Invitation(*row)
