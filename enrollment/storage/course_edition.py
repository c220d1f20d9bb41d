"""The edition of the courses: a number that rises with every change, under which caches keep them.

Every change of a course raises the edition in the same transaction. So a reader who loads first
the edition and then the course never caches an old course under a new edition.
"""

import secrets

from sqlalchemy import select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import EditionRow

_COURSES = "courses"
#: The edition rises by a random step of at most this: two databases that shared a Redis, or one
#: that was restored from a backup, never find old answers under a number used before.
_LARGEST_STEP = 1 << 31


def edition(session: Session) -> int:
    """Returns the number under which answers about courses may be cached at this moment."""
    number = session.scalar(select(EditionRow.number).where(EditionRow.name == _COURSES))
    return number or 0


def bump_edition(session: Session) -> None:
    """Invalidates every cached answer about courses when this transaction commits."""
    step = 1 + secrets.randbelow(_LARGEST_STEP)
    insert = insert_on(postgresql=is_postgresql(session))(EditionRow).values(
        name=_COURSES, number=step
    )
    session.execute(
        insert.on_conflict_do_update(
            index_elements=["name"], set_={"number": EditionRow.number + step}
        )
    )
