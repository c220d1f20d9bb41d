"""One submission: its progress, its plan or result, its rows; cancellation and files."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.console.file_readings import read_files
from api_gateway.console.navigation import CONSOLE_PATH, ConsolePage
from api_gateway.console.plans import PLAN_PROBLEMS, plan_key, plan_state
from api_gateway.console.sessions.forms import read_form
from api_gateway.console.shared import (
    ConsoleParts,
    drop_empty_parameters,
    see_other,
    with_parameter,
)
from api_gateway.http.pagination import encode_cursor
from api_gateway.resources.outcomes import (
    RESULT_CSV,
    member_of,
    read_file,
    read_filter,
    read_outcomes_cursor,
)
from api_gateway.status import queries
from api_gateway.status.course_tallies import CourseTallies, CourseTallyReader
from api_gateway.status.queries import OutcomeFilter, Status
from api_gateway.status.status_response import events_path, parse_submission_id
from enrollment.domain.codes import Code, Kind, Reason
from enrollment.domain.errors import SubmissionFinished
from enrollment.domain.submissions import Submission
from enrollment.storage import idempotency
from schemas.files.raw_rows import sources_of
from schemas.messages.reason_messages import meaning_of_reason
from schemas.outcomes import OutcomeJson, dump_outcome

_ROWS, _FIRST_FAILURES = 50, 8
#: Queries for a page of rows at most; where they find few, the page is short and has a next one.
_READS = 4
_FAILED = frozenset({Code.REFUSED, Code.INVALID})
_SEE = (("submission", "GET"), ("submission_outcomes", "GET"))


def submission_pages(shared: ConsoleParts) -> list[ConsolePage]:
    """Returns the routes."""
    base = f"{CONSOLE_PATH}/submissions/{{id}}"
    tallies = CourseTallyReader(shared.parts.lists)
    return [
        ConsolePage(base, SubmissionPageResource(shared, tallies), {"GET": _SEE}),
        ConsolePage(f"{base}/outcomes.csv", OutcomesFileResource(shared), {"GET": _SEE}),
        ConsolePage(
            f"{base}/cancel",
            CancelSubmissionResource(shared),
            {"POST": (("submission_cancel", "POST"),)},
        ),
    ]


class RowsPage(NamedTuple):
    """Rows with their outcomes, and the address of the next page."""

    rows: list[OutcomeJson]
    next: str | None


@dataclass(frozen=True, slots=True)
class SubmissionPageResource:
    """A submission; a finished dry run is a plan that can be applied."""

    shared: ConsoleParts
    tallies: CourseTallyReader

    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Shows the page, with a page of its rows."""
        drop_empty_parameters(req)
        caller: Caller = req.context.caller
        parts = self.shared.parts
        status = await parts.status_reader.read(parse_submission_id(id), caller)
        submission = status.submission
        is_plan = submission.options.dry_run and submission.finished_at is not None
        self.shared.renderer.write(
            req,
            resp,
            "submission.html",
            submission=submission,
            now=parts.now(),
            readings=read_files(submission),
            sources=sorted(sources_of(submission)),
            reasons=_reasons(submission),
            courses=await self._courses(submission),
            failures=await self._failures(submission) if is_plan else [],
            applied=await self._applied(submission) if is_plan else None,
            plan_problem=PLAN_PROBLEMS.get(plan_state(submission, caller, parts.now())),
            page=await self._rows(req, status),
            filters={name: req.get_param(name) for name in ("outcome", "reason", "file")},
            events=self._events_link(req, submission),
        )

    on_head = on_get

    async def _courses(self, submission: Submission) -> CourseTallies | None:
        is_file = submission.kind is Kind.BULK and submission.finished_at is not None
        return await self.tallies.read(submission) if is_file else None

    async def _failures(self, submission: Submission) -> list[OutcomeJson]:
        """Returns the first rows that were refused or invalid."""
        if not any(submission.tally.counts.get(code) for code in _FAILED):
            return []
        return (await self._read(submission, OutcomeFilter(_FAILED), _FIRST_FAILURES)).rows

    async def _applied(self, plan: Submission) -> UUID | None:
        """Returns the submission by which a plan was applied; None if it was not."""
        key = (plan.caller, plan_key(plan.id))
        return await self.shared.parts.database.read(_find_submission, key)

    async def _rows(self, req: Request, status: Status) -> RowsPage:
        outcome_filter = read_filter(req)._replace(file=read_file(req, status.submission))
        page = await self._read(status.submission, outcome_filter, _ROWS, req)
        return page._replace(next=with_parameter(req, "cursor", page.next))

    async def _read(
        self,
        submission: Submission,
        outcome_filter: OutcomeFilter,
        limit: int,
        req: Request | None = None,
    ) -> RowsPage:
        """Reads rows from the start, or from the cursor of a request; `next` is a cursor."""
        cursor = queries.OutcomesCursor() if req is None else read_outcomes_cursor(req)
        rows: list[OutcomeJson] = []
        if not _may_match(submission, outcome_filter):
            return RowsPage(rows, None)
        for _ in range(_READS):  # few rows may be selected, and each query reads some batches
            page = await self.shared.parts.lists.read(
                queries.read_outcomes_page,
                submission,
                cursor,
                outcome_filter,
                limit=limit - len(rows),
            )
            rows += [
                {**dump_outcome(row.outcome), **member_of(submission, row.outcome.line)}
                for row in page.rows
            ]
            if page.next is None or page.next == cursor:
                return RowsPage(rows, None)
            cursor = page.next
            if len(rows) == limit:
                break
        return RowsPage(rows, encode_cursor(f"{cursor.ordinal}.{cursor.skip}"))

    def _events_link(self, req: Request, submission: Submission) -> str | None:
        """Returns the address of the event stream while there is progress to come."""
        if submission.finished_at is not None:
            return None
        path = events_path(submission.id)
        token = self.shared.parts.link_tokens.issue_for(req.context.session.credentials, path)
        return None if token is None else f"{path}?token={token}"


def _may_match(submission: Submission, outcome_filter: OutcomeFilter) -> bool:
    """Whether a submission has outcomes with the codes, and with the reasons, of a filter."""
    tally, codes, reasons = submission.tally, outcome_filter.codes, outcome_filter.reasons
    has_code = not codes or any(tally.counts.get(code) for code in codes)
    return has_code and (not reasons or any(tally.reasons.get(reason) for reason in reasons))


def _find_submission(session: Session, owner: tuple[str, str]) -> UUID | None:
    use = idempotency.find(session, {owner}).get(owner)
    return None if use is None else use.submission_id


def _reasons(submission: Submission) -> list[tuple[str, str, int]]:
    """Returns each reason with its meaning and its number of rows, most frequent first."""
    counted = sorted(submission.tally.reasons.items(), key=lambda item: -item[1])
    return [(reason, meaning_of_reason(Reason(reason)), number) for reason, number in counted]


@dataclass(frozen=True, slots=True)
class OutcomesFileResource:
    """The rows of a submission with their outcomes, as a file."""

    shared: ConsoleParts

    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Responds with all rows, or those that the filters select, in their own columns."""
        submission_id, caller = parse_submission_id(id), req.context.caller
        found: Any = await self.shared.parts.database.read(
            queries.get_status, submission_id, caller
        )
        submission = found.submission
        outcome_filter = read_filter(req)._replace(file=read_file(req, submission))
        self.shared.outcomes.write_file(resp, submission, outcome_filter, form=RESULT_CSV)

    on_head = on_get


@dataclass(frozen=True, slots=True)
class CancelSubmissionResource:
    """Cancellation of a submission."""

    shared: ConsoleParts

    async def on_post(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Requests cancellation, and shows the submission."""
        await read_form(req)
        submission_id = parse_submission_id(id)
        # it may have been finished since the page was shown: its result says so
        with suppress(SubmissionFinished):
            await self.shared.cancellation.cancel(submission_id, req.context.caller)
        see_other(resp, f"/submissions/{submission_id}")
