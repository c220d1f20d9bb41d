"""Renders reports of destinations, as JSON and as the lines of a CSV file."""

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Annotated, NotRequired, TypedDict

from enrollment.domain.destinations.differences import DifferenceKind
from enrollment.domain.destinations.reports import (
    DestinationReport,
    ReportedDifference,
    ReportKind,
    ReportState,
)
from enrollment.domain.rules import format_timestamp
from schemas.destinations.receivers import dump_moment
from schemas.encoding.json_types import Count, Doc, OneOf, Ordinal, Timestamp, Uuid
from schemas.files.safe_cells import safe_cell


class DifferenceJson(TypedDict):
    """An enrollment that differs; the members of a side are null where it has none."""

    number: Ordinal
    difference: Annotated[str, OneOf(tuple(DifferenceKind))]
    user: str
    course_id: str
    mode_here: str | None
    is_active_here: bool | None
    mode_there: str | None
    is_active_there: bool | None
    queued: Annotated[bool, Doc("The state of this service was queued for the destination.")]


class ReportLinksJson(TypedDict):
    """Addresses that belong to a report."""

    self: str


class DestinationReportJson(TypedDict):
    """A job at a destination, and its result."""

    id: Uuid
    destination: str
    kind: Annotated[str, OneOf(tuple(ReportKind))]
    applied: Annotated[bool, Doc("Differences are sent to the destination.")]
    state: Annotated[str, OneOf(tuple(ReportState))]
    error: Annotated[str | None, Doc("Why it failed.")]
    created: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None
    counts: dict[str, Count]
    links: ReportLinksJson
    differences: NotRequired[list[DifferenceJson]]
    next: NotRequired[Annotated[str | None, Doc("The cursor of the next differences.")]]


#: The first line of the CSV file.
DIFFERENCE_COLUMNS = tuple(name for name in DifferenceJson.__annotations__ if name != "number")


def dump_report(report: DestinationReport, *, link: str) -> DestinationReportJson:
    """Renders a report without its differences."""
    return {
        "id": str(report.id),
        "destination": report.destination,
        "kind": report.kind.value,
        "applied": report.is_applied,
        "state": report.state.value,
        "error": report.error,
        "created": format_timestamp(report.created),
        "started_at": dump_moment(report.started_at),
        "finished_at": dump_moment(report.finished_at),
        "counts": dict(report.counts),
        "links": {"self": link},
    }


def dump_difference(reported: ReportedDifference) -> DifferenceJson:
    """Renders a difference."""
    difference = reported.difference
    return {
        "number": reported.number,
        "difference": difference.kind.value,
        "user": difference.username,
        "course_id": difference.course_id,
        "mode_here": difference.mode_here,
        "is_active_here": difference.is_active_here,
        "mode_there": difference.mode_there,
        "is_active_there": difference.is_active_there,
        "queued": reported.is_queued,
    }


def difference_lines(differences: Iterable[ReportedDifference]) -> str:
    """Renders differences as lines of CSV, which no spreadsheet evaluates."""
    return _lines(
        [_cell(value) for name, value in dump_difference(each).items() if name != "number"]
        for each in differences
    )


def difference_header() -> str:
    """Returns the first line of the CSV file."""
    return _lines([DIFFERENCE_COLUMNS])


def _lines(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\r\n").writerows(map(safe_cell, row) for row in rows)
    return text.getvalue()


def _cell(value: object) -> str:
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)
