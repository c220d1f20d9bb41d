"""``/api/bulk_enroll/v1/bulk_enroll``: Open edX's list of learners for a list of courses."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from falcon.asgi import Request, Response

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.http.forms import FORM, form_fields
from api_gateway.http.headers import fingerprint_head, idempotency_key, preference
from api_gateway.http.problems import Problem, too_large
from api_gateway.http.request_body import check_is_json, parse_json, read_body
from api_gateway.http.responses import JSON, dumps, keep_private, write_json
from api_gateway.intake.upload_store import StoredUpload, Upload, UploadStore
from api_gateway.status import queries
from api_gateway.status.long_poll import long_poll
from api_gateway.status.queries import OutcomeFilter, OutcomesCursor, Status
from api_gateway.status.status_reader import StatusReader
from api_gateway.status.status_response import write_status
from api_gateway.status.waiters import Waiters
from enrollment.domain.codes import Lane
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Submission, SubmissionOptions
from enrollment.storage import courses, idempotency
from schemas.openedx_bulk_enroll import (
    BulkEnroll,
    BulkEnrollErrors,
    check_cohorts_exist,
    dump_bulk_enroll,
    load_bulk_enroll,
)
from schemas.submissions import SUBMISSIONS_PATH

MAX_BODY = 1_000_000
#: Maximum identifiers times courses of one body.
MAX_REQUESTS = 10_000
#: Seconds to wait for the outcome unless the caller chooses.
DEFAULT_WAIT = 20.0
#: Outcomes that one query reads.
_OUTCOMES_PER_READ = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkEnrollResource:
    """A submission like any other in the interactive lane, answered in the form of Open edX."""

    database: Database
    upload_store: UploadStore
    reader: StatusReader
    waiters: Waiters
    now: Callable[[], datetime]
    default_wait: float

    async def on_post(self, req: Request, resp: Response) -> None:
        """Enroll or unenroll all: the outcome of each, or 202 if that takes long."""
        keep_private(resp)
        caller: Caller = req.context.caller
        key = idempotency_key(req)
        wait, applied = preference(req).applied(max(self.default_wait, DEFAULT_WAIT))
        body = await read_body(req, MAX_BODY)
        asked = await self._checked(req, body, key)
        with self.upload_store.lock_key(caller, key):
            published = await self.upload_store.store_in_pool(_upload(req, body, asked, key))
        if applied is not None:
            resp.set_header("Preference-Applied", applied)
        resp.set_header("Location", f"{SUBMISSIONS_PATH}/{published.submission_id}")
        if published.is_replay:
            resp.set_header("Idempotency-Replayed", "true")
        await self._answer(resp, asked, await self._status(published, caller, wait))

    async def _checked(self, req: Request, body: bytes, key: str | None) -> BulkEnroll:
        """Parse the body. Raises Problem 400 with Open edX's texts, 413 for too many requests."""
        try:
            asked = load_bulk_enroll(_parsed(req, body))
            if asked.cohorts is not None and not await self._is_used(req.context.caller, key):
                known = await self.database.read(courses.find_all, set(asked.courses))
                check_cohorts_exist(asked, known)
        except BulkEnrollErrors as error:
            status = HTTPStatus.BAD_REQUEST
            raise Problem(status, "invalid_body", str(error), members=error.messages) from error
        if asked.size > MAX_REQUESTS:
            raise too_large(
                f"identifiers times courses may be {MAX_REQUESTS}, not {asked.size}: send a file "
                f"to {SUBMISSIONS_PATH}, which may be longer."
            )
        return asked

    async def _is_used(self, caller: Caller, key: str | None) -> bool:
        """Whether the key was used: then cohorts were checked by the first request."""
        if key is None:
            return False
        return bool(await self.database.read(idempotency.find, {(caller.name, key)}))

    async def _status(self, published: StoredUpload, caller: Caller, wait: float) -> Status:
        status = await self.database.read(queries.get_status, published.submission_id, caller)
        return await long_poll(status, caller, wait, reader=self.reader, waiters=self.waiters)

    async def _answer(self, resp: Response, asked: BulkEnroll, status: Status) -> None:
        submission = status.submission
        if submission.finished_at is None:
            write_status(resp, status, self.now(), code=HTTPStatus.ACCEPTED)
            return
        write_json(resp, dump_bulk_enroll(asked, await self._outcomes(submission)))

    async def _outcomes(self, submission: Submission) -> list[Outcome]:
        outcomes: list[Outcome] = []
        cursor: OutcomesCursor | None = OutcomesCursor()
        while cursor is not None:
            page = await self.database.read(
                queries.read_outcomes_page,
                submission,
                cursor,
                OutcomeFilter(),
                limit=_OUTCOMES_PER_READ,
            )
            outcomes += [row.outcome for row in page.rows]
            cursor = page.next
        return outcomes


def _parsed(req: Request, body: bytes) -> object:
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    if kind == FORM:
        return form_fields(body)
    check_is_json(req, also=FORM)
    return parse_json(body)


def _upload(req: Request, body: bytes, asked: BulkEnroll, key: str | None) -> Upload:
    """The requests as a file, which is how they are stored."""
    digest = fingerprint_head(req)
    digest.update(body)
    return Upload(
        file=io.BytesIO(dumps(list(asked.requests()))),
        media_type=JSON,
        gzip=False,
        caller=req.context.caller,
        options=SubmissionOptions(auto_enroll=asked.auto_enroll, reason=asked.reason),
        lane=Lane.INTERACTIVE,
        first_byte=req.context.first_byte,
        request_id=req.context.request_id,
        key=key,
        digest=digest,
    )
