"""The search for learners by the beginning of their username or e-mail."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import InstrumentedAttribute, Session

from enrollment.domain.identity import canonical_email
from enrollment.domain.model import Learner
from enrollment.storage.tables import LearnerRow

#: Rows that one look reads from an index.
_READ = 50


def find_beginning(session: Session, text: str, *, limit: int) -> list[Learner]:
    """Returns learners whose username or e-mail begins with a text, by username, in any case.

    Each query reads a few rows of an index from the text on. Where the database orders by bytes,
    usernames are found as written and in lower case.
    """
    found: dict[str, Learner] = {}
    for beginning in {text, text.lower()}:
        for one in _read_from(session, LearnerRow.username, beginning):
            if one.username.lower().startswith(text.lower()):
                found[one.username] = one
    email = canonical_email(text)
    for one in _read_from(session, LearnerRow.email, email):
        if (one.email or "").startswith(email):
            found[one.username] = one
    return [found[username] for username in sorted(found)][:limit]


def _read_from(
    session: Session, column: InstrumentedAttribute[Any], beginning: str
) -> list[Learner]:
    columns = [getattr(LearnerRow, name) for name in Learner._fields]
    query = select(*columns).where(column >= beginning).order_by(column).limit(_READ)
    return [Learner._make(row) for row in session.execute(query)]
