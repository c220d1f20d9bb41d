"""Read models of submissions: a caller's submissions, newest first, page by page.

The state of a single is that of its batch, which no index of submissions knows. Each state is
therefore read from where there are few rows to pass over: open singles from the batches that wait,
open files and cancelled submissions from partial indexes, the others from the newest on.
"""

from collections.abc import Collection, Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import Select, any_, func, literal, or_, select, true, tuple_
from sqlalchemy.orm import Session

from enrollment.domain.codes import Lane, State
from enrollment.domain.submissions import Submission
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.submissions import SUBMISSION_COLUMNS, submission_of
from enrollment.storage.tables import BatchRow, SubmissionRow

#: Batches of singles that may wait for open singles to be read from them. If more wait, the newest
#: singles of a caller are likely to be open.
MAX_WAITING_BATCHES = 10_000


class SubmissionPageKey(NamedTuple):
    """Key of the last row of a page: newest first, then by id."""

    received_at: datetime
    id: UUID


def page(
    session: Session,
    caller: str,
    *,
    states: Collection[State],
    after: SubmissionPageKey | None,
    limit: int,
) -> list[Submission]:
    """Returns the caller's submissions, newest first; only those in `states`, if it is not empty.

    The progress of singles is not filled in: it is stored with their batches.
    """
    found: dict[UUID, Submission] = {}
    for query in _queries(session, caller, frozenset(states)):
        for row in session.execute(_page_of(query, after, limit)):
            found[row.id] = submission_of(row)
    newest_first = sorted(found.values(), key=lambda one: (one.received_at, one.id), reverse=True)
    return newest_first[:limit]


def page_of_all(
    session: Session, *, state: State | None, after: SubmissionPageKey | None, limit: int
) -> list[Submission]:
    """Returns the submissions of all callers, newest first; only those in a state, if one is given.

    No index has all of them by time. Their ids begin with it: where many are wanted (all, those
    that are done, or a long queue), they are read by id. Where few are, they are sorted.
    """
    states = frozenset() if state is None else frozenset({state})
    is_by_id = state in {None, State.DONE}
    if state is State.QUEUED:
        is_by_id = _has_long_queue(session)
    found: dict[UUID, Submission] = {}
    for query in _queries(session, None, states):
        rows = _page_by_id(query, after, limit) if is_by_id else _page_of(query, after, limit)
        for row in session.execute(rows):
            found[row.id] = submission_of(row)
    if is_by_id:
        return sorted(found.values(), key=lambda one: one.id, reverse=True)[:limit]
    newest_first = sorted(found.values(), key=lambda one: (one.received_at, one.id), reverse=True)
    return newest_first[:limit]


class StoredOutcomes(NamedTuple):
    """The outcomes of a completed batch of singles, encoded, without its requests."""

    outcomes: bytes
    answered_at: datetime


def find_outcomes(session: Session, batch_ids: Collection[int]) -> dict[int, StoredOutcomes]:
    """Returns the outcomes of those batches that are completed, in one statement."""
    if not batch_ids:
        return {}
    columns = select(BatchRow.id, BatchRow.outcomes, BatchRow.answered_at)
    return {
        batch_id: StoredOutcomes(outcomes, answered_at)
        for batch_id, outcomes, answered_at in session.execute(
            columns.where(BatchRow.id.in_(batch_ids), BatchRow.answered_at.is_not(None))
        )
        if outcomes is not None and answered_at is not None
    }


def _page_of(
    query: Select[Any], after: SubmissionPageKey | None, limit: int
) -> Select[*tuple[Any, ...]]:
    if after is not None:
        key = tuple_(SubmissionRow.received_at, SubmissionRow.id)
        last = tuple_(
            literal(after.received_at, SubmissionRow.received_at.type),
            literal(after.id, SubmissionRow.id.type),
        )
        query = query.where(key < last)
    return query.order_by(SubmissionRow.received_at.desc(), SubmissionRow.id.desc()).limit(limit)


def _page_by_id(
    query: Select[Any], after: SubmissionPageKey | None, limit: int
) -> Select[*tuple[Any, ...]]:
    if after is not None:
        query = query.where(SubmissionRow.id < after.id)
    return query.order_by(SubmissionRow.id.desc()).limit(limit)


_PUBLISHED = select(*SUBMISSION_COLUMNS).where(SubmissionRow.published_at.is_not(None))
#: Null for a file. A sub-query for each row: a join could be planned to read all batches.
_COMPLETED_AT = (
    select(BatchRow.answered_at).where(BatchRow.id == SubmissionRow.batch_id).scalar_subquery()
)
_FINISHED_AT = func.coalesce(SubmissionRow.finished_at, _COMPLETED_AT)
_IS_CANCELLED = SubmissionRow.cancel_asked_at.is_not(None) & or_(
    SubmissionRow.batch_id.is_not(None),
    SubmissionRow.tally["cancelled"].as_integer().is_not(None),
)
_OPEN_FILES = _PUBLISHED.where(
    SubmissionRow.batch_id.is_(None), SubmissionRow.finished_at.is_(None)
)
_DONE = _PUBLISHED.where(_FINISHED_AT.is_not(None), ~_IS_CANCELLED)
_CANCELLED = _PUBLISHED.where(
    SubmissionRow.cancel_asked_at.is_not(None), _FINISHED_AT.is_not(None), _IS_CANCELLED
)
_WAITING_BATCHES = select(BatchRow.id).where(
    BatchRow.lane == Lane.INTERACTIVE.value,
    BatchRow.submission_id.is_(None),
    BatchRow.answered_at.is_(None),
    BatchRow.announced_at.is_not(None),
)
_NUMBER_WAITING = select(func.count()).select_from(
    _WAITING_BATCHES.limit(MAX_WAITING_BATCHES + 1).subquery()
)


def _queries(
    session: Session, caller: str | None, states: frozenset[State]
) -> Iterator[Select[*tuple[Any, ...]]]:
    """Yields the queries that together find submissions in the states; no states mean all.

    They are those of a caller, or of all callers for None.

    In the order in which a submission passes through its states, so that none is missed that
    changes its state meanwhile.
    """
    is_own = true() if caller is None else SubmissionRow.caller == caller
    if not states or states == frozenset(State):
        yield _PUBLISHED.where(is_own)
        return
    if State.QUEUED in states:
        yield _OPEN_FILES.where(is_own, SubmissionRow.started_at.is_(None))
        yield _open_singles(session, caller)
    if State.RUNNING in states:
        yield _OPEN_FILES.where(is_own, SubmissionRow.started_at.is_not(None))
    if State.DONE in states:
        yield _DONE.where(is_own)
    if State.CANCELLED in states:
        yield _CANCELLED.where(is_own)


def _has_long_queue(session: Session) -> bool:
    """Whether more batches of singles wait than are looked up one by one."""
    return session.scalars(_NUMBER_WAITING).one() > MAX_WAITING_BATCHES


def _open_singles(session: Session, caller: str | None) -> Select[*tuple[Any, ...]]:
    if _has_long_queue(session):
        return _PUBLISHED.where(
            true() if caller is None else SubmissionRow.caller == caller,
            SubmissionRow.batch_id.is_not(None),
            _COMPLETED_AT.is_(None),
        )
    waiting = _WAITING_BATCHES.scalar_subquery()
    # As an array: for a sub-query PostgreSQL expects too many rows, and would read all submissions.
    is_waiting = (
        SubmissionRow.batch_id == any_(func.array(waiting))
        if is_postgresql(session)
        else SubmissionRow.batch_id.in_(waiting)
    )
    if caller is None:
        return _PUBLISHED.where(is_waiting)
    # An expression, so that no planner begins with the index of callers.
    return _PUBLISHED.where(is_waiting, SubmissionRow.caller + "" == caller)
