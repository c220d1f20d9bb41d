"""Reports of destinations: jobs with a lease, and the differences that they found."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, delete, func, insert, select, update
from sqlalchemy.orm import Session, aliased

from enrollment.domain.destinations.differences import Difference, DifferenceKind
from enrollment.domain.destinations.reports import (
    DestinationReport,
    ReportedDifference,
    ReportKind,
    ReportState,
)
from enrollment.storage.destinations.registry import IS_THERE
from enrollment.storage.tables import (
    DestinationDifferenceRow,
    DestinationReportRow,
    DestinationRow,
)

_ROW, _DIFFERENCE = DestinationReportRow, DestinationDifferenceRow
#: Reports of a destination that a purge keeps, the newest.
MAX_REPORTS = 50
_OPEN = (ReportState.QUEUED.value, ReportState.RUNNING.value)
_SELECT = select(
    _ROW.id,
    _ROW.destination_id,
    DestinationRow.name,
    _ROW.kind,
    _ROW.is_applied,
    _ROW.state,
    _ROW.created,
    _ROW.started_at,
    _ROW.finished_at,
    _ROW.error,
    _ROW.counts,
    _ROW.place,
).join(DestinationRow, DestinationRow.id == _ROW.destination_id)


class LeaseLost(Exception):
    """Another process has the job now: nothing of it may be written."""


def _report(row: Any) -> DestinationReport:
    report = DestinationReport._make(row)
    return report._replace(kind=ReportKind(report.kind), state=ReportState(report.state))


def add(
    session: Session,
    name: str,
    kind: ReportKind,
    *,
    report_id: UUID,
    now: datetime,
    is_applied: bool = False,
) -> DestinationReport | None:
    """Queues a job of a destination; None if there is no such destination.

    One of the same kind that waits already is returned instead.
    """
    query = select(DestinationRow.id).where(DestinationRow.name == name, IS_THERE).with_for_update()
    destination_id = session.scalar(query)
    if destination_id is None:
        return None
    waiting = _SELECT.where(
        _ROW.destination_id == destination_id,
        _ROW.kind == kind.value,
        _ROW.is_applied == is_applied,
        _ROW.state == ReportState.QUEUED.value,
    )
    if (found := session.execute(waiting.limit(1)).first()) is not None:
        return _report(tuple(found))
    session.add(
        _ROW(
            id=report_id,
            destination_id=destination_id,
            kind=kind.value,
            is_applied=is_applied,
            state=ReportState.QUEUED.value,
            created=now,
            counts={},
        )
    )
    session.flush()
    return find(session, name, report_id)


def purge(session: Session, removed: Collection[UUID], *, limit: int) -> bool:
    """Deletes up to `limit` differences of a report that is not kept, or it; returns if there is.

    Kept are the newest `MAX_REPORTS` of each destination that was not removed.
    """
    newest_first = (_ROW.created.desc(), _ROW.id.desc())
    rank = func.row_number().over(partition_by=_ROW.destination_id, order_by=newest_first)
    ranked = select(_ROW.id, _ROW.state, _ROW.destination_id, rank.label("rank")).subquery()
    is_old = (ranked.c.rank > MAX_REPORTS) & ranked.c.state.not_in(_OPEN)
    query = select(ranked.c.id).where(is_old | ranked.c.destination_id.in_(removed))
    report_id = session.scalar(query.limit(1))
    if report_id is None:
        return False
    if not delete_differences(session, report_id, limit=limit):
        session.execute(delete(_ROW).where(_ROW.id == report_id))
    return True


def delete_differences(session: Session, report_id: UUID, *, limit: int) -> bool:
    """Deletes the first `limit` differences of a report; returns whether there were any."""
    of_report = _DIFFERENCE.report_id == report_id
    first = session.scalar(select(func.min(_DIFFERENCE.number)).where(of_report))
    if first is None:
        return False
    session.execute(delete(_DIFFERENCE).where(of_report, _DIFFERENCE.number < first + limit))
    return True


def find(session: Session, name: str, report_id: UUID) -> DestinationReport | None:
    """Returns a report of a destination."""
    query = _SELECT.where(DestinationRow.name == name, IS_THERE, _ROW.id == report_id)
    row = session.execute(query).first()
    return None if row is None else _report(tuple(row))


def list_newest(session: Session, destination_id: UUID, *, limit: int) -> list[DestinationReport]:
    """Returns the reports of a destination, newest first."""
    query = _SELECT.where(_ROW.destination_id == destination_id)
    newest = query.order_by(_ROW.created.desc(), _ROW.id.desc()).limit(limit)
    return [_report(tuple(row)) for row in session.execute(newest)]


def newest_of(session: Session, destination_id: UUID, kind: ReportKind) -> datetime | None:
    """Returns when the newest job of a kind was queued."""
    query = select(func.max(_ROW.created))
    return session.scalar(
        query.where(_ROW.destination_id == destination_id, _ROW.kind == kind.value)
    )


def lease_next(
    session: Session,
    holder: str,
    *,
    busy: Collection[UUID] = (),
    now: datetime,
    until: datetime,
) -> DestinationReport | None:
    """Leases the oldest job that no process is at; None if there is none.

    It is begun anew unless it has a place at which to go on.

    A destination has one job at a time: none of a destination that is `busy` here, or that another
    process has a job of. The destination is locked, so that no two processes lease two of its jobs.
    """
    has_turn = _has_turn(now)
    oldest = (
        select(_ROW.id, _ROW.place)
        .join(DestinationRow, DestinationRow.id == _ROW.destination_id)
        .where(has_turn, _ROW.destination_id.not_in(busy))
        .order_by(_ROW.created, _ROW.id)
        .limit(1)
        .with_for_update(skip_locked=True, key_share=True, of=DestinationRow)
    )
    found = session.execute(oldest).one_or_none()
    if found is None:
        return None
    values: dict[str, Any] = {
        "state": ReportState.RUNNING.value,
        "started_at": now,
        "leased_by": holder,
        "leased_until": until,
    }
    report_id, place = found
    if place is None:
        values["counts"] = {}
    # Again, with the destination locked: another process may have leased a job of it since then.
    leased = update(_ROW).where(_ROW.id == report_id, has_turn).values(values)
    if session.scalar(leased.returning(_ROW.id)) is None:
        return None
    return _report(tuple(session.execute(_SELECT.where(_ROW.id == report_id)).one()))


def _has_turn(now: datetime) -> ColumnElement[bool]:
    """SQL condition: a job is to be done, and no process is at one of its destination."""
    other = aliased(_ROW)
    is_at_another = (
        select(other.id)
        .where(other.destination_id == _ROW.destination_id, other.leased_until > now)
        .exists()
    )
    return _ROW.state.in_(_OPEN) & ~is_at_another


def renew(session: Session, report_id: UUID, holder: str, *, until: datetime) -> None:
    """Renews a lease. Raises LeaseLost."""
    _update(session, report_id, holder, {"leased_until": until})


def store_counts(
    session: Session,
    report_id: UUID,
    holder: str,
    counts: Mapping[str, int],
    *,
    place: str | None = None,
) -> None:
    """Stores what a job has counted so far, and where it goes on. Raises LeaseLost."""
    _update(session, report_id, holder, {"counts": dict(counts), "place": place})


def release(session: Session, report_id: UUID, holder: str) -> None:
    """Lets another process do a job at once. Raises LeaseLost."""
    _update(session, report_id, holder, {"leased_until": None, "leased_by": None})


def finish(
    session: Session,
    report_id: UUID,
    holder: str,
    counts: Mapping[str, int],
    *,
    now: datetime,
    error: str | None = None,
) -> None:
    """Ends a job; with an error it failed. Raises LeaseLost."""
    state = ReportState.DONE if error is None else ReportState.FAILED
    values = {
        "state": state.value,
        "finished_at": now,
        "error": error,
        "counts": dict(counts),
        "leased_until": None,
        "place": None,
    }
    _update(session, report_id, holder, values)


def end_all(session: Session, destination_id: UUID, *, now: datetime) -> None:
    """Ends the jobs of a destination that was removed."""
    values = {
        "state": ReportState.FAILED.value,
        "finished_at": now,
        "error": "removed",
        "leased_until": None,
    }
    is_open = (_ROW.destination_id == destination_id) & _ROW.state.in_(_OPEN)
    session.execute(update(_ROW).where(is_open).values(values))


def _update(session: Session, report_id: UUID, holder: str, values: Mapping[str, Any]) -> None:
    is_held = (_ROW.id == report_id) & (_ROW.leased_by == holder)
    statement = update(_ROW).where(is_held, _ROW.state == ReportState.RUNNING.value)
    if session.scalar(statement.values(values).returning(_ROW.id)) is None:
        message = f"report {report_id}"
        raise LeaseLost(message)


def add_differences(
    session: Session, report_id: UUID, differences: Iterable[ReportedDifference]
) -> None:
    """Stores differences; the caller has checked the lease in this transaction."""
    rows = [
        {
            **each.difference._asdict(),
            "kind": each.difference.kind.value,
            "report_id": report_id,
            "number": each.number,
            "is_queued": each.is_queued,
        }
        for each in differences
    ]
    if rows:
        session.execute(insert(_DIFFERENCE), rows)


def page_of_differences(
    session: Session, report_id: UUID, *, after: int, limit: int
) -> list[ReportedDifference]:
    """Returns differences of a report in their order, those after a number."""
    columns = tuple(getattr(_DIFFERENCE, name) for name in Difference._fields)
    query = (
        select(_DIFFERENCE.number, _DIFFERENCE.is_queued, *columns)
        .where(_DIFFERENCE.report_id == report_id, _DIFFERENCE.number > after)
        .order_by(_DIFFERENCE.number)
        .limit(limit)
    )
    return [
        ReportedDifference(row[0], Difference(DifferenceKind(row[2]), *tuple(row)[3:]), row[1])
        for row in session.execute(query)
    ]
