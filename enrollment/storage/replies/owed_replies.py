"""Replies that are owed: rows that live from the commit of a submission to its delivered reply."""

from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete as delete_from
from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from enrollment.storage.bulk.array_params import insert_on
from enrollment.storage.engine.dialect import is_postgresql
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.tables import BatchRow, ReplyRow, SubmissionRow

#: Number of the attempt lock of the one process that sends replies; batches begin at 1.
_SENDER_LOCK = 0


class NewReply(NamedTuple):
    """A reply to be owed: the outcomes of a submission, for a stream, under the sender's id."""

    submission_id: UUID
    stream: str
    sent_id: str


class DueReply(NamedTuple):
    """A reply that can be sent, because its submission is complete."""

    id: int
    submission_id: UUID
    stream: str
    sent_id: str


def insert_all(session: Session, replies: Sequence[NewReply]) -> None:
    """Inserts replies; one that is owed already is owed once."""
    if not replies:
        return
    insert = insert_on(postgresql=is_postgresql(session))
    rows = [reply._asdict() for reply in sorted(set(replies))]
    session.execute(insert(ReplyRow).values(rows).on_conflict_do_nothing())


_DUE = (
    select(ReplyRow.id, ReplyRow.submission_id, ReplyRow.stream, ReplyRow.sent_id)
    .join(SubmissionRow, SubmissionRow.id == ReplyRow.submission_id)
    .outerjoin(BatchRow, BatchRow.id == SubmissionRow.batch_id)
    .where(or_(SubmissionRow.finished_at.is_not(None), BatchRow.answered_at.is_not(None)))
    .order_by(ReplyRow.id)
)


def list_due(session: Session, *, limit: int) -> list[DueReply]:
    """Returns the oldest replies whose submissions are complete."""
    return [DueReply(*row) for row in session.execute(_DUE.limit(limit))]


def delete(session: Session, ids: Collection[int]) -> None:
    """Deletes replies that were delivered."""
    session.execute(delete_from(ReplyRow).where(ReplyRow.id.in_(ids)))


@contextmanager
def sole_sender(sessions: Sessions) -> Iterator[bool]:
    """Yields whether this process is the only one that sends replies during the block."""
    with sessions.attempt_locks.scope() as locks:
        yield bool(locks.acquire([_SENDER_LOCK]))
