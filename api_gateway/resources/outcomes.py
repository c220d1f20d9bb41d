"""`/submissions/{id}/outcomes`: the outcomes of a submission, in input order."""

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any

from falcon.asgi import Request, Response

from api_gateway.auth.caller import Caller
from api_gateway.database import Database, ListReader
from api_gateway.http.headers import preferred_type
from api_gateway.http.pagination import encode_cursor, read_cursor, read_page_size
from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.responses import write_json
from api_gateway.resources.common.submission_params import read_flag, split_values
from api_gateway.status import queries
from api_gateway.status.poll_headers import retry_after_seconds
from api_gateway.status.queries import OutcomeFilter, OutcomeRow, OutcomesCursor, OutcomesPage
from api_gateway.status.status_response import parse_submission_id
from enrollment.domain.codes import Code, Reason
from enrollment.domain.submissions import ArchiveMember, Submission
from enrollment.storage.destinations import arrivals
from schemas.destinations.deliveries import ArrivalJson, dump_arrival
from schemas.files.formats.detect import NATIVE
from schemas.files.raw_rows import member_at
from schemas.findings import finding
from schemas.outcomes import ArchiveLineJson, OutcomeJson, OutcomePageJson, dump_outcome
from schemas.result_file import ResultLayout, cells_from_request, layout_of, ndjson_line

#: Begins a CSV file, so that spreadsheets know that it is UTF-8.
BYTE_ORDER_MARK = "\ufeff"
#: Maximum number of outcomes read by one query of a stream.
_OUTCOMES_PER_READ = 2_000

_JSON, _NDJSON, RESULT_CSV = "application/json", "application/x-ndjson", "text/csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class OutcomesResource:
    """The outcomes of one submission."""

    database: Database
    lists: ListReader
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Responds with a page in JSON, or, once finished, all outcomes in CSV or NDJSON."""
        caller: Caller = req.context.caller
        submission_id = parse_submission_id(id)
        status = await self.database.read(queries.get_status, submission_id, caller)
        submission = status.submission
        outcome_filter = read_filter(req)._replace(file=read_file(req, submission))
        mark = BYTE_ORDER_MARK if read_flag(req, "bom", default=True) else ""
        form = preferred_type(req, [_JSON, _NDJSON, RESULT_CSV]) or _JSON
        resp.set_header("Vary", "Accept")
        if form == _JSON:
            await self._write_page(req, resp, submission, outcome_filter)
            return
        self.write_file(resp, submission, outcome_filter, form=form, mark=mark)

    on_head = on_get

    def write_file(
        self,
        resp: Response,
        submission: Submission,
        outcome_filter: OutcomeFilter,
        *,
        form: str,
        mark: str = BYTE_ORDER_MARK,
    ) -> None:
        """Responds with all outcomes in CSV or NDJSON. Raises Problem 400, 409 before the end."""
        if submission.finished_at is None:
            raise not_finished_problem(submission, self.now())
        resp.content_type = f"{form}; charset=utf-8" if form == RESULT_CSV else form
        layout = read_layout(submission, outcome_filter.file) if form == RESULT_CSV else None
        if form == RESULT_CSV:
            name = f"outcomes-{submission.id}.csv"
            resp.set_header("Content-Disposition", f'attachment; filename="{name}"')
        resp.stream = self._stream(submission, outcome_filter, layout, mark)

    async def _write_page(
        self, req: Request, resp: Response, submission: Submission, outcome_filter: OutcomeFilter
    ) -> None:
        page = await self._read_page(
            submission, read_outcomes_cursor(req), outcome_filter, read_page_size(req)
        )
        outcomes: list[OutcomeJson] = [
            {**dump_outcome(row.outcome), **member_of(submission, row.outcome.line)}
            for row in page.rows
        ]
        await self._add_arrivals(outcomes)
        next_cursor = None if page.next is None else encode_cursor(f"{page.next[0]}.{page.next[1]}")
        body: OutcomePageJson = {"outcomes": outcomes, "next": next_cursor}
        write_json(resp, body)

    async def _add_arrivals(self, outcomes: Sequence[OutcomeJson]) -> None:
        """Adds to outcomes whether the enrollments' states have arrived in destinations."""
        keys = [(outcome["course_id"] or "", outcome["user"] or "") for outcome in outcomes]
        found: dict[tuple[str, str], list[ArrivalJson]] = {}
        for arrival in await self.lists.read(arrivals.find_arrivals, keys):
            key = arrival.course_id, arrival.username
            found.setdefault(key, []).append(dump_arrival(arrival))
        for key, outcome in zip(keys, outcomes, strict=True):
            if key in found and "mode" in outcome:
                outcome["destinations"] = found[key]

    async def _stream(
        self,
        submission: Submission,
        outcome_filter: OutcomeFilter,
        layout: ResultLayout | None,
        mark: str,
    ) -> AsyncIterator[bytes]:
        """Yields a file, read page by page: an open database cursor blocks commits on SQLite."""
        if layout is not None:
            yield (mark + layout.header_line()).encode()
        cursor: OutcomesCursor | None = OutcomesCursor()
        while cursor is not None:
            page = await self._read_page(submission, cursor, outcome_filter, _OUTCOMES_PER_READ)
            if layout is not None:
                lines = [layout.row_line(row.outcome, _result_cells(row)) for row in page.rows]
            else:
                lines = [
                    ndjson_line(row.outcome, member_of(submission, row.outcome.line))
                    for row in page.rows
                ]
            yield "".join(lines).encode()
            cursor = page.next if page.next != cursor else None

    async def _read_page(
        self,
        submission: Submission,
        cursor: OutcomesCursor,
        outcome_filter: OutcomeFilter,
        limit: int,
    ) -> OutcomesPage:
        return await self.lists.read(
            queries.read_outcomes_page, submission, cursor, outcome_filter, limit=limit
        )


def not_finished_problem(submission: Submission, now: datetime) -> Problem:
    """Returns a Problem 409: a CSV or NDJSON file cannot mark missing outcomes."""
    return Problem(
        HTTPStatus.CONFLICT,
        "submission_not_finished",
        f"{submission.pending} of {submission.total} requests have no outcome yet: try again when "
        f"the submission is finished, or read pages in {_JSON}.",
        headers={"Retry-After": str(retry_after_seconds(submission, now) or 1)},
    )


def _result_cells(result: OutcomeRow) -> list[str]:
    row = result.row
    if row is not None and row.cells is not None:
        return row.cells
    if row is None:
        return cells_from_request(result.outcome, None)
    return cells_from_request(result.outcome, row.request, row.unvalidated)


def read_layout(submission: Submission, file: ArchiveMember | None) -> ResultLayout:
    """Returns the layout of the CSV file. Raises Problem 400 if the columns of the files differ."""
    if not submission.files:
        return layout_of(submission.header, submission.format or NATIVE)
    members = submission.files if file is None else (file,)
    layouts = {layout_of(member.header, member.format) for member in members}
    if len(layouts) > 1:
        names = [member.name for member in members]
        found = finding("file", None, "required", expected=", ".join(names))
        message = "The files of the archive have different columns: choose one with file=."
        raise bad_request("option_invalid", message, found)
    return layouts.pop()


def member_of(submission: Submission, line: int) -> ArchiveLineJson:
    """Returns the file of the archive and the line in it; empty without an archive."""
    if not submission.files:
        return {}
    member = member_at(submission.files, line)
    return {"file": member.name, "file_line": line - member.lines_before}


def read_file(req: Request, submission: Submission) -> ArchiveMember | None:
    """Reads the filter `file`, a file of the archive. Raises Problem 400 if it is unknown."""
    name = req.get_param("file")
    if name is None:
        return None
    for member in submission.files:
        if member.name == name:
            return member
    found = finding("file", name, "one_of")
    raise bad_request("option_invalid", "The submission has no file of that name.", found)


def read_filter(req: Request) -> OutcomeFilter:
    """Reads the filters `outcome` and `reason`. Raises Problem 400 for unknown values."""
    codes = _read_values(req, "outcome", set(Code))
    reasons = _read_values(req, "reason", set(Reason))
    return OutcomeFilter(frozenset(map(Code, codes)), frozenset(reasons))


def _read_values(req: Request, name: str, known: set[Any]) -> list[str]:
    values = [value for value in split_values(req, name) if value]
    for value in values:
        if value not in known:
            found = finding(name, value, "one_of", expected=", ".join(sorted(known)))
            raise bad_request("option_invalid", f"Unknown {name} {value[:100]!r}.", found)
    return values


def read_outcomes_cursor(req: Request) -> OutcomesCursor:
    """Reads the start of the page. Raises Problem 400 for an invalid cursor."""
    text = read_cursor(req)
    if text is None:
        return OutcomesCursor()
    ordinal, _, skip = text.partition(".")
    if not (ordinal.isdecimal() and skip.isdecimal()):
        found = finding("cursor", req.get_param("cursor"), "range")
        raise bad_request("option_invalid", "Invalid cursor.", found)
    return OutcomesCursor(int(ordinal[:9]), int(skip[:9]))
