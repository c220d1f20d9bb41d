"""Edition of the courses: a number that rises with every change and is part of cache keys.

Every change of a course raises the edition in the same transaction. So a reader that loads the
edition first and the course second never caches an old course under a new edition.
"""

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import EditionRow

_COURSES = "courses"
#: The edition rises by a random step of at most this. So a database that was restored from a
#: backup, or one of two that share a Redis, does not find stale entries under a number used before.
_LARGEST_STEP = 1 << 31


def edition(session: Session) -> int:
    """Returns the current edition, to be used in the keys of cached course data."""
    number = session.scalar(select(EditionRow.number).where(EditionRow.name == _COURSES))
    return number or 0


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
