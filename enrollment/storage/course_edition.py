"""Edition of the courses: a number that rises with every change and is part of cache keys.

Every change of a course raises the edition in the same transaction. So a reader that loads the
edition first and the course second never caches an old course under a new edition.

A batch that lost races against changes blocks them with an advisory lock. It is one for all
courses, so that batches do not wait for each other: a lock on each course would make others wait
that already hold rows which the batch needs.
"""

import secrets

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import EditionRow

_COURSES = "courses"
#: The edition rises by a random step of at most this. So a database that was restored from a
#: backup, or one of two that share a Redis, does not find stale entries under a number used before.
_LARGEST_STEP = 1 << 31


_EDITION = select(EditionRow.number).where(EditionRow.name == _COURSES)
#: The current edition as a column of a statement, NULL if there was no change yet.
EDITION = _EDITION.scalar_subquery().label("edition")


def edition(session: Session) -> int:
    """Returns the current edition, to be used in the keys of cached course data."""
    return session.scalar(_EDITION) or 0


def bump_edition(session: Session) -> None:
    """Raises the edition, which invalidates all cached course data when the transaction commits."""
    step = 1 + secrets.randbelow(_LARGEST_STEP)
    insert = insert_on(postgresql=is_postgresql(session))(EditionRow).values(
        name=_COURSES, number=step
    )
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["name"], set_={"number": EditionRow.number + step}
        )
    )


#: Key of the advisory lock: exclusive for changing courses, shared by batches.
_CHANGE_LOCK = 0x636F75727365
_SHARED_LOCK = select(func.pg_advisory_xact_lock_shared(_CHANGE_LOCK))
_EXCLUSIVE_LOCK = select(func.pg_advisory_xact_lock(_CHANGE_LOCK))


def block_changes(session: Session) -> None:
    """Prevents changes of any course until this transaction ends; call it before locking courses.

    SQLite has a single writer anyway.
    """
    if is_postgresql(session):
        session.execute(_SHARED_LOCK)


def exclude_batches(session: Session) -> None:
    """Waits for batches that block changes; call it before locking courses to change them."""
    if is_postgresql(session):
        session.execute(_EXCLUSIVE_LOCK)
