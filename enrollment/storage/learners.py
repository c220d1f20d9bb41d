"""Learners: people who can be enrolled, known by username, some by e-mail too."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Executable, Select, String, func, select, text
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from enrollment.domain.errors import EmailTaken, LearnerInUse, LearnerNotFound
from enrollment.domain.model import Learner
from enrollment.storage.arrays import Columns, insert_on
from enrollment.storage.sending import Statement, sending
from enrollment.storage.sessions import is_postgresql
from enrollment.storage.tables import EnrollmentRow, LearnerRow
from enrollment.storage.translating import unless_taken

#: What is executed for every batch is built on the table: the mapper costs more than the rest.
_LEARNERS = LearnerRow.metadata.tables[LearnerRow.__tablename__]
_LEARNER = _LEARNERS.c
_COLUMNS = (
    _LEARNER.id,
    _LEARNER.username,
    _LEARNER.email,
    _LEARNER.is_active,
    _LEARNER.is_staff,
)


class LoadedLearner(NamedTuple):
    """A learner and the number of the row."""

    id: int
    learner: Learner


def save(session: Session, learner: Learner) -> None:
    """Insert the learner or put it in the place of the old one. Raises EmailTaken."""
    save_all(session, [learner])


def save_all(session: Session, learners: Iterable[Learner]) -> None:
    """The same for many; of two with one username the later stays. Raises EmailTaken."""
    named = {learner.username: _lowered(learner) for learner in learners}
    if not named:
        return
    _refuse_taken(session, named)
    insert = insert_on(postgresql=is_postgresql(session))(_LEARNERS)
    statement = insert.on_conflict_do_update(
        index_elements=["username"],
        set_={name: insert.excluded[name] for name in ("email", "is_active", "is_staff")},
    ).returning(_LEARNER.id)
    rows = [named[username]._asdict() for username in sorted(named)]
    try:
        session.execute(statement, rows).all()
    except IntegrityError as error:  # the username gives way, so it is the e-mail that clashes
        message = "two learners cannot have one e-mail"
        raise EmailTaken(message) from error


def set_email_if_missing(session: Session, username: str, email: str) -> None:
    """Keep the e-mail that a token vouches for, where the learner has none.

    An e-mail that is somebody else's is left to them: who is right, an operator decides.
    """
    known_by = _LEARNER.email == email.lower()
    if session.scalar(select(_LEARNER.id).where(known_by)) is not None:
        return
    insert = insert_on(postgresql=is_postgresql(session))(_LEARNERS)
    statement = insert.values(username=username, email=email.lower()).on_conflict_do_update(
        index_elements=["username"],
        set_={"email": insert.excluded.email},
        where=_LEARNER.email.is_(None),
    )
    with suppress(IntegrityError), session.begin_nested():  # somebody else had it just now
        session.execute(statement)


def find(session: Session, username: str) -> Learner | None:
    """The learner, or None."""
    loaded = find_many(session, [username]).get(username)
    return None if loaded is None else loaded.learner


def delete(session: Session, username: str) -> None:
    """Remove a learner who was never enrolled.

    Raises LearnerNotFound, LearnerInUse, and Conflict where others write for too long.
    """
    if is_postgresql(session):
        session.execute(_BRIEFLY)
        session.execute(_ALONE)
    row_id = session.scalar(
        select(_LEARNER.id).where(_LEARNER.username == username).with_for_update()
    )
    if row_id is None:
        raise LearnerNotFound(username)
    used = select(EnrollmentRow.course_id).where(EnrollmentRow.learner_id == row_id).limit(1)
    if session.scalar(used) is not None:
        raise LearnerInUse(username)
    session.execute(delete_from(_LEARNERS).where(_LEARNER.id == row_id))


def find_many(session: Session, usernames: Collection[str]) -> dict[str, LoadedLearner]:
    """The learners that exist among the usernames, in one statement."""
    loaded = _load(session, "username", usernames)
    return {each.learner.username: each for each in loaded}


def by_email(session: Session, emails: Collection[str]) -> dict[str, LoadedLearner]:
    """The learners that have one of the e-mails (in lower case), in one statement."""
    loaded = _load(session, "email", emails)
    return {each.learner.email: each for each in loaded if each.learner.email is not None}


@contextmanager
def insert_new(session: Session, usernames: Collection[str]) -> Iterator[dict[str, int]]:
    """Make learners of those who are not yet known, while something else is done.

    The rows of all of them are there after the block, which must not ask the session. They are
    inserted in sorted order, so that two batches with the same newcomers wait for each other
    once and never in a ring. Raises Conflict where somebody else registered one meanwhile.
    """
    rows: dict[str, int] = {}
    newcomers = sorted(set(usernames))
    if not newcomers:
        yield rows
        return
    register = _register(postgresql=is_postgresql(session))
    given = _NEWCOMERS.holding(session, newcomers)
    with unless_taken(), sending(session, Statement(register, given)) as (made,):
        yield rows
    rows |= dict(made.rows)


#: A lock: those who write enrollments share it, who deletes a learner has it alone.
_DELETING = 0x6C6561726E6572
#: Who comes after a deletion that waits, waits for it.
_BRIEFLY = text("SET LOCAL lock_timeout = 200")
_SHARED = select(func.pg_advisory_xact_lock_shared(_DELETING))
_ALONE = select(func.pg_advisory_xact_lock(_DELETING))


def block_deletion(session: Session) -> None:
    """See to it that no learner is deleted from now until this transaction has ended.

    One lock for all: a lock a learner would be a write to each, and they lie all over the table.
    SQLite has one writer anyway.
    """
    if is_postgresql(session):
        session.execute(_SHARED)


def _lowered(learner: Learner) -> Learner:
    return learner if learner.email is None else learner._replace(email=learner.email.lower())


def _refuse_taken(session: Session, named: dict[str, Learner]) -> None:
    """Name the e-mail that somebody else has; who is saved along may give theirs away."""
    emails = [learner.email for learner in named.values() if learner.email is not None]
    for email, owner in by_email(session, emails).items():
        if owner.learner.username not in named:
            message = f"another learner has the e-mail {email}"
            raise EmailTaken(message)


_WANTED = Columns("wanted", text=String())
_NEWCOMERS = Columns("newcomer", username=String())


@cache
def _having(column: str, *, postgresql: bool) -> Select[*tuple[Any, ...]]:
    """The learners of whom a column has one of the texts."""
    wanted = _WANTED.table(postgresql=postgresql)
    cell = _LEARNER[column]
    return select(*_COLUMNS).join(wanted, cell == wanted.c.text)


@cache
def _register(*, postgresql: bool) -> Executable:
    source = _NEWCOMERS.table(postgresql=postgresql)
    names = select(source.c.username).order_by(source.c.ordinality)
    insert = insert_on(postgresql=postgresql)(_LEARNERS)
    made: Executable = insert.from_select(["username"], names).returning(
        _LEARNER.username, _LEARNER.id
    )
    return made


def _load(session: Session, column: str, texts: Collection[str]) -> list[LoadedLearner]:
    if not texts:
        return []
    query = _having(column, postgresql=is_postgresql(session))
    rows = session.execute(query, _WANTED.holding(session, list(texts)))
    return [LoadedLearner(row[0], Learner(*row[1:])) for row in map(tuple, rows.all())]
