"""Opt-ins of learners to e-mail from organizations."""

from collections.abc import Mapping
from functools import cache

from sqlalchemy import Boolean, Executable, String, select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import ArrayTable, insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.tables import EmailOptInRow

_OPT_INS = ArrayTable("stated", username=String(), org=String(), is_opted_in=Boolean())


def set_many(session: Session, opt_ins: Mapping[tuple[str, str], bool]) -> None:
    """Stores whether each learner opted in to e-mail of an organization, in one statement.

    Keys are (username, org); rows are written in their order, so that two transactions with the
    same keys cannot deadlock.
    """
    if not opt_ins:
        return
    keys = sorted(opt_ins)
    parameters = _OPT_INS.parameters(
        session,
        [username for username, _ in keys],
        [org for _, org in keys],
        [opt_ins[key] for key in keys],
    )
    session.execute(_upsert(postgresql=is_postgresql(session)), parameters)


def find(session: Session, username: str) -> dict[str, bool]:
    """Returns whether the learner opted in, by organization; never stated ones are left out."""
    row = EmailOptInRow
    query = select(row.org, row.is_opted_in).where(row.username == username).order_by(row.org)
    return {found.org: found.is_opted_in for found in session.execute(query)}


@cache
def _upsert(*, postgresql: bool) -> Executable:
    stated = _OPT_INS.table(postgresql=postgresql)
    columns = (stated.c.username, stated.c.org, stated.c.is_opted_in)
    # SQLite needs a WHERE before ON CONFLICT, or reads ON as part of a join.
    rows = select(*columns).where(stated.c.ordinality > 0).order_by(stated.c.ordinality)
    insert = insert_on(postgresql=postgresql)(EmailOptInRow.__table__).from_select(
        ["username", "org", "is_opted_in"], rows
    )
    upsert: Executable = insert.on_conflict_do_update(
        index_elements=["username", "org"], set_={"is_opted_in": insert.excluded.is_opted_in}
    )
    return upsert
