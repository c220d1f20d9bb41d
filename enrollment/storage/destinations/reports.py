"""Reports of destinations: jobs with a lease, and the differences that they found."""

from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session, aliased

from enrollment.domain.destinations.differences import Difference, DifferenceKind
from enrollment.domain.destinations.reports import (
    DestinationReport,
    ReportedDifference,
    ReportKind,
    ReportState,
)
from enrollment.storage.tables import (
    DestinationDifferenceRow,
    DestinationReportRow,
    DestinationRow,
)

_ROW, _DIFFERENCE = DestinationReportRow, DestinationDifferenceRow
#: Reports of a destination that are kept, the newest.
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

    One of the same kind that waits already is returned instead. Old reports are deleted.
    """
    query = select(DestinationRow.id).where(DestinationRow.name == name).with_for_update()
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
    _prune(session, destination_id)
    return find(session, name, report_id)


def _prune(session: Session, destination_id: UUID) -> None:
    newest = (
        select(_ROW.id)
        .where(_ROW.destination_id == destination_id)
        .order_by(_ROW.created.desc(), _ROW.id.desc())
        .limit(MAX_REPORTS)
    )
    is_old = _ROW.id.not_in(newest) & _ROW.state.not_in(_OPEN)
    session.execute(delete(_ROW).where(_ROW.destination_id == destination_id, is_old))


def find(session: Session, name: str, report_id: UUID) -> DestinationReport | None:
    """Returns a report of a destination."""
    query = _SELECT.where(DestinationRow.name == name, _ROW.id == report_id)
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
    """Leases the oldest job that no process is at, and begins it anew; None if there is none.

    A destination has one job at a time: none of a destination that is `busy` here, or that another
    process has a job of.
    """
    other = aliased(_ROW)
    has_turn = (
        select(other.id)
        .where(other.destination_id == _ROW.destination_id, other.leased_until > now)
        .exists()
    )
    oldest = (
        select(_ROW.id)
        .where(_ROW.state.in_(_OPEN), ~has_turn, _ROW.destination_id.not_in(busy))
        .order_by(_ROW.created, _ROW.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    report_id = session.scalar(oldest)
    if report_id is None:
        return None
    values = {
        "state": ReportState.RUNNING.value,
        "started_at": now,
        "leased_by": holder,
        "leased_until": until,
        "counts": {},
    }
    session.execute(update(_ROW).where(_ROW.id == report_id).values(values))
    session.execute(delete(_DIFFERENCE).where(_DIFFERENCE.report_id == report_id))
    return _report(tuple(session.execute(_SELECT.where(_ROW.id == report_id)).one()))


def renew(session: Session, report_id: UUID, holder: str, *, until: datetime) -> None:
    """Renews a lease. Raises LeaseLost."""
    _update(session, report_id, holder, {"leased_until": until})


def store_counts(session: Session, report_id: UUID, holder: str, counts: Mapping[str, int]) -> None:
    """Stores what a job has counted so far. Raises LeaseLost."""
    _update(session, report_id, holder, {"counts": dict(counts)})


def release(session: Session, report_id: UUID, holder: str) -> None:
    """Lets another process begin a job anew at once. Raises LeaseLost."""
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
    }
    _update(session, report_id, holder, values)


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
