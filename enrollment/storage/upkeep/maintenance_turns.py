"""Turns of recurring tasks: which turn may run next, and when last nothing was left to do."""

from datetime import datetime

from sqlalchemy import Update, or_, select, update
from sqlalchemy.orm import Session

from enrollment.storage.tables import MaintenanceRow

#: Name of the task that deletes what is no longer kept.
PURGE = "purge"


def begin_turn(session: Session, turn: int, *, now: datetime) -> int | None:
    """Begins the turn with a number; returns that of the next one.

    None if the turn was begun before: its message was delivered twice, or another chain of turns
    was started.
    """
    begin = update(MaintenanceRow).where(MaintenanceRow.turn == turn)
    return _begin(session, begin, now)


def begin_first_turn(
    session: Session, *, now: datetime, stopped_before: datetime, ended_before: datetime
) -> int | None:
    """Begins the first turn of a chain; returns the number of the second one.

    None if a chain ended after `ended_before`, or is under way: it had a turn after
    `stopped_before`.
    """
    begin = update(MaintenanceRow).where(
        MaintenanceRow.ended_at < ended_before,
        or_(MaintenanceRow.turn_at.is_(None), MaintenanceRow.turn_at < stopped_before),
    )
    return _begin(session, begin, now)


def _begin(session: Session, begin: Update, now: datetime) -> int | None:
    return session.scalar(
        begin.where(MaintenanceRow.name == PURGE)
        .values(turn=MaintenanceRow.turn + 1, turn_at=now)
        .returning(MaintenanceRow.turn)
    )


def end_turns(session: Session, *, now: datetime, is_complete: bool) -> None:
    """Ends a chain of turns; if it is complete nothing is left to do."""
    ended = {"ended_at": now} if is_complete else {}
    session.execute(
        update(MaintenanceRow).where(MaintenanceRow.name == PURGE).values(turn_at=None, **ended)
    )


def last_end(session: Session) -> datetime | None:
    """Returns when last nothing was left to do; at first, when the tables were made."""
    return session.scalar(select(MaintenanceRow.ended_at).where(MaintenanceRow.name == PURGE))
