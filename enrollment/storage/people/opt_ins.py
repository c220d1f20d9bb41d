"""Opt-ins to e-mail: whether a learner wants e-mail from an organization."""

from collections.abc import Mapping
from functools import cache

from sqlalchemy import Boolean, Executable, String, select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import ArrayTable, insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import EmailOptInRow

#: Key of an opt-in: (username, organization).
OptInKey = tuple[str, str]

_STATED = ArrayTable("stated", username=String(), org=String(), is_opted_in=Boolean())


def set_many(session: Session, stated: Mapping[OptInKey, bool]) -> None:
    """Stores what learners stated, in one statement; later statements replace earlier ones.

    Rows are written in sorted order, so that two batches cannot deadlock.
    """
    if not stated:
        return
    keys = sorted(stated)
    usernames, orgs = zip(*keys, strict=True)
    parameters = _STATED.parameters(session, usernames, orgs, [stated[key] for key in keys])
    session.execute(_upsert(postgresql=is_postgresql(session)), parameters)


def find(session: Session, username: str) -> dict[str, bool]:
    """Returns what a learner stated by organization, in the order of the organizations."""
    rows = session.execute(
        select(EmailOptInRow.org, EmailOptInRow.is_opted_in).where(
            EmailOptInRow.username == username
        )
    )
    return dict(sorted((org, is_opted_in) for org, is_opted_in in rows))


@cache
def _upsert(*, postgresql: bool) -> Executable:
    stated = _STATED.table(postgresql=postgresql)
    rows = select(stated.c.username, stated.c.org, stated.c.is_opted_in)
    # SQLite needs the WHERE, or else it reads ON CONFLICT as the condition of a join.
    rows = rows.where(stated.c.ordinality > 0).order_by(stated.c.ordinality)
    insert = insert_on(postgresql=postgresql)(EmailOptInRow.__table__)
    statement = insert.from_select(["username", "org", "is_opted_in"], rows)
    upsert: Executable = statement.on_conflict_do_update(
        index_elements=["username", "org"], set_={"is_opted_in": statement.excluded.is_opted_in}
    )
    return upsert
