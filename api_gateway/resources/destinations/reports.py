"""`/destinations/{name}/reports`: jobs that compare with a destination, or read it."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from uuid import UUID

from falcon.asgi import Request, Response

from api_gateway.database import Database, ListReader
from api_gateway.http.headers import preferred_type
from api_gateway.http.pagination import (
    encode_cursor,
    invalid_cursor,
    read_cursor,
    read_page_size,
)
from api_gateway.http.problems import Problem
from api_gateway.http.responses import write_json
from api_gateway.resources.common.submission_params import read_flag
from api_gateway.resources.outcomes import BYTE_ORDER_MARK
from enrollment.domain.destinations.reports import (
    DestinationReport,
    ReportedDifference,
    ReportKind,
    ReportState,
)
from enrollment.runtime.ids import uuid7
from enrollment.storage.destinations import reports
from schemas.destinations.reports import (
    DestinationReportJson,
    difference_header,
    difference_lines,
    dump_difference,
    dump_report,
)

_JSON, _CSV = "application/json", "text/csv"
#: Differences that are read by one query of a stream.
_DIFFERENCES_PER_READ = 2_000
#: Numbers of differences have fewer digits.
_MAX_DIGITS = 9
_ENDED = frozenset({ReportState.DONE, ReportState.FAILED})


@dataclass(frozen=True, slots=True)
class JobResource:
    """Begins a job of one kind."""

    database: Database
    now: Callable[[], datetime]
    kind: ReportKind

    async def on_post(self, req: Request, resp: Response, destination: str) -> None:
        """Queues the job, or responds with the same one that waits already."""
        is_applied = self.kind is ReportKind.RECONCILE and read_flag(req, "apply", default=False)
        report = await self.begin(destination, is_applied=is_applied)
        link = f"{req.path.rstrip('/').rpartition('/')[0]}/reports/{report.id}"
        resp.set_header("Location", link)
        resp.set_header("Retry-After", "1")
        write_json(resp, dump_report(report, link=link), HTTPStatus.ACCEPTED)

    async def begin(self, destination: str, *, is_applied: bool) -> DestinationReport:
        """Queues the job, and returns it. Raises Problem 404."""
        now = self.now()
        add = partial(reports.add, report_id=uuid7(now), now=now, is_applied=is_applied)
        report = await self.database.write(add, destination, self.kind)
        if report is None:
            raise _not_found()
        return report


@dataclass(frozen=True, slots=True)
class ReportResource:
    """One job, with the differences that it found."""

    database: Database
    lists: ListReader

    async def on_get(self, req: Request, resp: Response, destination: str, report: str) -> None:
        """Responds with the report and a page of differences, or all differences as CSV."""
        found = await self.find(destination, report)
        resp.set_header("Vary", "Accept")
        if (preferred_type(req, [_JSON, _CSV]) or _JSON) == _CSV:
            self.write_csv(resp, found)
            return
        body: DestinationReportJson = dump_report(found, link=req.path)
        page, cursor = await self.read_page(req, found, limit=read_page_size(req))
        body["differences"] = list(map(dump_difference, page))
        body["next"] = cursor
        if found.state not in _ENDED:
            resp.set_header("Retry-After", "1")
        write_json(resp, body)

    on_head = on_get

    async def find(self, destination: str, report: str) -> DestinationReport:
        """Returns the report. Raises Problem 404."""
        found = await self.database.read(reports.find, destination, _parse_id(report))
        if found is None:
            raise _not_found()
        return found

    async def read_page(
        self, req: Request, found: DestinationReport, *, limit: int
    ) -> tuple[list[ReportedDifference], str | None]:
        """Returns differences after the cursor of a request, and the next one. Raises 400."""
        page = await self.lists.read(
            reports.page_of_differences, found.id, after=_read_after(req), limit=limit
        )
        return page, encode_cursor(str(page[-1].number)) if len(page) == limit else None

    def write_csv(self, resp: Response, found: DestinationReport) -> None:
        """Responds with all differences as a file."""
        resp.content_type = f"{_CSV}; charset=utf-8"
        name = f"report-{found.id}.csv"
        resp.set_header("Content-Disposition", f'attachment; filename="{name}"')
        resp.stream = self._lines(found.id)

    async def _lines(self, report_id: UUID) -> AsyncIterator[bytes]:
        """Yields a file, read page by page: an open database cursor blocks commits on SQLite."""
        yield (BYTE_ORDER_MARK + difference_header()).encode()
        after, limit = 0, _DIFFERENCES_PER_READ
        while True:
            page = await self.lists.read(
                reports.page_of_differences, report_id, after=after, limit=limit
            )
            yield difference_lines(page).encode()
            if len(page) < limit:
                return
            after = page[-1].number


def _parse_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError as error:
        raise _not_found() from error


def _read_after(req: Request) -> int:
    """Returns the number after which a page begins. Raises Problem 400."""
    text = read_cursor(req)
    if text is None:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS):
        raise invalid_cursor(text)
    return int(text)


def _not_found() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "not_found", "There is no such destination or report.")


def make_report_resources(
    database: Database, lists: ListReader, now: Callable[[], datetime]
) -> dict[str, object]:
    """Returns the resource of each route of jobs and reports."""
    return {
        "destination_reconcile": JobResource(database, now, ReportKind.RECONCILE),
        "destination_pull": JobResource(database, now, ReportKind.PULL),
        "destination_import": JobResource(database, now, ReportKind.IMPORT),
        "destination_report": ReportResource(database, lists),
    }
