"""Learners: people who can be enrolled, identified by username, some also by e-mail."""

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import Executable, Select, String, func, select, text, update
from sqlalchemy import delete as delete_from
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from enrollment.domain.errors import EmailTaken, LearnerInUse, LearnerNotFound
from enrollment.domain.identity import canonical_email
from enrollment.domain.model import Learner
from enrollment.storage.bulk.array_params import ArrayTable, insert_on
from enrollment.storage.bulk.pipelining import Statement, pipelined
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.error_mapping import unique_violation_as_conflict
from enrollment.storage.tables import CourseRoleRow, EmailOptInRow, EnrollmentRow, LearnerRow

#: Statements of every batch are built on the table: the mapper costs more than the rest.
_LEARNERS = LearnerRow.metadata.tables[LearnerRow.__tablename__]
_LEARNER = _LEARNERS.c
_COLUMNS = (
    _LEARNER.id,
    _LEARNER.username,
    _LEARNER.email,
    _LEARNER.is_active,
    _LEARNER.is_staff,
    _LEARNER.is_retiring,
)
#: Columns that saving a known learner replaces.
_REPLACED = ("email", "is_active", "is_staff", "is_retiring")


class LoadedLearner(NamedTuple):
    """A learner and the id of the row."""

    id: int
    learner: Learner


def save(session: Session, learner: Learner) -> None:
    """Inserts or replaces a learner. Raises EmailTaken."""
    save_all(session, [learner])


def save_all(session: Session, learners: Iterable[Learner]) -> None:
    """Inserts or replaces learners; of two with the same username the later wins.

    Each of them may take over the e-mail of another of them. Raises EmailTaken.
    """
    named = {learner.username: _with_canonical_email(learner) for learner in learners}
    if not named:
        return
    if owners := _owners_of_emails(session, named):
        _release_emails(session, owners, locked=sorted(named))
    insert = insert_on(postgresql=is_postgresql(session))(_LEARNERS)
    statement = insert.on_conflict_do_update(
        index_elements=["username"],
        set_={name: insert.excluded[name] for name in _REPLACED},
    ).returning(_LEARNER.id)
    rows = [named[username]._asdict() for username in sorted(named)]
    try:
        session.execute(statement, rows).all()
    except IntegrityError as error:  # a username is no conflict (upsert), so it is the e-mail
        message = "two learners cannot have the same e-mail"
        raise EmailTaken(message) from error


def set_email_if_missing(
    session: Session, username: str, email: str, *, insert_learner: bool = True
) -> bool:
    """Stores the e-mail in a learner's token, if the learner has none.

    Inserts a missing learner, or else does nothing, and returns False. Does nothing if another
    learner has the e-mail: an operator has to resolve that.
    """
    if not insert_learner and find(session, username) is None:
        return False
    has_email = _LEARNER.email == canonical_email(email)
    if session.scalar(select(_LEARNER.id).where(has_email)) is not None:
        return True
    insert = insert_on(postgresql=is_postgresql(session))(_LEARNERS)
    statement = insert.values(
        username=username, email=canonical_email(email)
    ).on_conflict_do_update(
        index_elements=["username"],
        set_={"email": insert.excluded.email},
        where=_LEARNER.email.is_(None),
    )
    with suppress(IntegrityError), session.begin_nested():  # another transaction stored it just now
        session.execute(statement)
    return True


def find(session: Session, username: str) -> Learner | None:
    """Returns a learner, or None."""
    loaded = find_many(session, [username]).get(username)
    return None if loaded is None else loaded.learner


def delete(session: Session, username: str) -> None:
    """Deletes a learner without enrollments, with their opt-ins to e-mail and roles in courses.

    Another person of this name must not inherit them. Raises LearnerNotFound, LearnerInUse, and
    Conflict where the lock is not free in time.
    """
    if is_postgresql(session):
        session.execute(_LOCK_TIMEOUT)
        session.execute(_EXCLUSIVE_LOCK)
    row_id = session.scalar(
        select(_LEARNER.id).where(_LEARNER.username == username).with_for_update()
    )
    if row_id is None:
        raise LearnerNotFound(username)
    used = select(EnrollmentRow.course_id).where(EnrollmentRow.learner_id == row_id).limit(1)
    if session.scalar(used) is not None:
        raise LearnerInUse(username)
    session.execute(delete_from(_LEARNERS).where(_LEARNER.id == row_id))
    for row in (EmailOptInRow, CourseRoleRow):
        table = row.metadata.tables[row.__tablename__]
        session.execute(delete_from(table).where(table.c.username == username))


def find_many(session: Session, usernames: Collection[str]) -> dict[str, LoadedLearner]:
    """Returns the learners that exist among the usernames, in one statement."""
    loaded = _load(session, "username", usernames)
    return {each.learner.username: each for each in loaded}


def find_by_email(session: Session, emails: Collection[str]) -> dict[str, LoadedLearner]:
    """Returns the learners with one of the e-mails (canonical), in one statement."""
    loaded = _load(session, "email", emails)
    return {each.learner.email: each for each in loaded if each.learner.email is not None}


@contextmanager
def insert_new(session: Session, usernames: Collection[str]) -> Iterator[dict[str, int]]:
    """Inserts learners while the block runs, which must not use the session.

    Yields a dict that has the row id of each username after the block. Rows are inserted in sorted
    order, so that two batches with the same usernames cannot deadlock. Raises Conflict where
    another transaction inserted one of them meanwhile.
    """
    rows: dict[str, int] = {}
    new_usernames = sorted(set(usernames))
    if not new_usernames:
        yield rows
        return
    insert = _insert_query(postgresql=is_postgresql(session))
    parameters = _NEW_USERNAMES.parameters(session, new_usernames)
    statement = Statement(insert, parameters)
    with unique_violation_as_conflict(), pipelined(session, statement) as (result,):
        yield rows
    rows |= dict(result.rows)


#: Key of an advisory lock: shared by writers of enrollments, exclusive for deleting a learner.
_DELETION_LOCK = 0x6C6561726E6572
#: A deletion that waits for the lock makes later writers wait, so it waits only 200 ms.
_LOCK_TIMEOUT = text("SET LOCAL lock_timeout = 200")
_SHARED_LOCK = select(func.pg_advisory_xact_lock_shared(_DELETION_LOCK))
_EXCLUSIVE_LOCK = select(func.pg_advisory_xact_lock(_DELETION_LOCK))


def block_deletion(session: Session) -> None:
    """Prevents the deletion of any learner until this transaction ends (shared advisory lock).

    One lock for all: a lock on each row would write to pages all over the table. SQLite has a
    single writer anyway.
    """
    if is_postgresql(session):
        session.execute(_SHARED_LOCK)


def _with_canonical_email(learner: Learner) -> Learner:
    return (
        learner if learner.email is None else learner._replace(email=canonical_email(learner.email))
    )


def _owners_of_emails(session: Session, named: dict[str, Learner]) -> list[str]:
    """Returns those of the learners whose e-mail another of them takes over.

    Raises EmailTaken for an e-mail of a learner who is not among them.
    """
    owners = []
    emails = [learner.email for learner in named.values() if learner.email is not None]
    for email, owner in find_by_email(session, emails).items():
        if owner.learner.username not in named:
            message = f"another learner has the e-mail {email}"
            raise EmailTaken(message)
        if named[owner.learner.username].email != email:
            owners.append(owner.learner.username)
    return owners


def _release_emails(session: Session, owners: list[str], *, locked: list[str]) -> None:
    """Deletes the e-mails of learners, so that others can be saved with them in any order.

    Locks all learners that are saved, in the order in which they will be written.
    """
    if is_postgresql(session):
        session.execute(_lock_query(), _WANTED.parameters(session, locked)).all()
    wanted = _WANTED.table(postgresql=is_postgresql(session))
    has_name = _LEARNER.username.in_(select(wanted.c.text))
    statement = update(_LEARNERS).where(has_name).values(email=None)
    session.execute(statement, _WANTED.parameters(session, owners))


_WANTED = ArrayTable("wanted", text=String())
_NEW_USERNAMES = ArrayTable("inserted", username=String())


@cache
def _matching_query(column: str, *, postgresql: bool) -> Select[*tuple[Any, ...]]:
    """Selects the learners for which a column has one of the texts."""
    wanted = _WANTED.table(postgresql=postgresql)
    cell = _LEARNER[column]
    return select(*_COLUMNS).join(wanted, cell == wanted.c.text)


@cache
def _lock_query() -> Select[int]:
    wanted = _WANTED.table(postgresql=True)
    return (
        select(_LEARNER.id)
        .join(wanted, _LEARNER.username == wanted.c.text)
        .order_by(_LEARNER.username)
        .with_for_update(of=_LEARNERS)
    )


@cache
def _insert_query(*, postgresql: bool) -> Executable:
    source = _NEW_USERNAMES.table(postgresql=postgresql)
    names = select(source.c.username).order_by(source.c.ordinality)
    insert = insert_on(postgresql=postgresql)(_LEARNERS)
    query: Executable = insert.from_select(["username"], names).returning(
        _LEARNER.username, _LEARNER.id
    )
    return query


def _load(session: Session, column: str, texts: Collection[str]) -> list[LoadedLearner]:
    if not texts:
        return []
    query = _matching_query(column, postgresql=is_postgresql(session))
    rows = session.execute(query, _WANTED.parameters(session, list(texts)))
    return [LoadedLearner(row[0], Learner(*row[1:])) for row in map(tuple, rows.all())]
