"""``/api/bulk_enroll/v1/bulk_enroll``: upstream's list of learners for a list of courses."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from falcon.asgi import Request, Response

from api_gateway import answers
from api_gateway.answers import Cursor, Filter, Status
from api_gateway.callers import Caller
from api_gateway.following import Following
from api_gateway.forms import FORM, form_fields
from api_gateway.headers import fingerprint_head, idempotency_key, preference
from api_gateway.media import (
    JSON,
    check_is_json,
    dumps,
    keep_private,
    parsed_json,
    read_body,
    write_json,
)
from api_gateway.problems import Problem, too_large
from api_gateway.records import Records
from api_gateway.resources.statuses import write_status
from api_gateway.taking import Taking
from api_gateway.uploads import Published, Upload
from enrollment.domain.codes import Lane
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Options, Submission
from enrollment.storage import courses, idempotency
from schemas.bulk_enroll import (
    BulkEnroll,
    BulkEnrollErrors,
    check_cohorts_exist,
    dump_bulk_enroll,
    load_bulk_enroll,
)
from schemas.submissions import PATH

MAX_BODY = 1_000_000
#: Identifiers times courses of one body.
MAX_REQUESTS = 10_000
#: Seconds that the outcome is waited for, unless the caller says how long.
USUAL_WAIT = 20.0
#: Outcomes that one look at the records reads.
_AT_ONCE = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkEnrollResource:
    """A submission like any other in the interactive lane, answered in upstream's form."""

    records: Records
    taking: Taking
    following: Following
    now: Callable[[], datetime]
    default_wait: float

    async def on_post(self, req: Request, resp: Response) -> None:
        """Enroll or unenroll them all: what became of each, or 202 where that takes long."""
        keep_private(resp)
        caller: Caller = req.context.caller
        key = idempotency_key(req)
        wait, applied = preference(req).applied(max(self.default_wait, USUAL_WAIT))
        body = await read_body(req, MAX_BODY)
        asked = await self._checked(req, body, key)
        with self.taking.under(caller, key):
            published = await self.taking.store(_upload(req, body, asked, key))
        if applied is not None:
            resp.set_header("Preference-Applied", applied)
        resp.set_header("Location", f"{PATH}/{published.submission_id}")
        if published.is_replay:
            resp.set_header("Idempotency-Replayed", "true")
        await self._answer(resp, asked, await self._status(published, caller, wait))

    async def _checked(self, req: Request, body: bytes, key: str | None) -> BulkEnroll:
        """What is asked. Raises Problem 400 in upstream's words, 413 for too much at once."""
        try:
            asked = load_bulk_enroll(_parsed(req, body))
            if asked.cohorts is not None and not await self._is_used(req.context.caller, key):
                known = await self.records.read(courses.find_all, set(asked.courses))
                check_cohorts_exist(asked, known)
        except BulkEnrollErrors as error:
            status = HTTPStatus.BAD_REQUEST
            raise Problem(status, "invalid_body", str(error), members=error.messages) from error
        if asked.size > MAX_REQUESTS:
            raise too_large(
                f"identifiers times courses may be {MAX_REQUESTS}, not {asked.size}: send a file "
                f"to {PATH}, which may be longer."
            )
        return asked

    async def _is_used(self, caller: Caller, key: str | None) -> bool:
        """Whether a key stands for a list: it was checked against the cohorts of its day."""
        if key is None:
            return False
        return bool(await self.records.read(idempotency.find, {(caller.name, key)}))

    async def _status(self, published: Published, caller: Caller, wait: float) -> Status:
        status = await self.records.read(answers.status, published.submission_id, caller)
        return await self.following.until(lambda _: False, status, caller, wait)

    async def _answer(self, resp: Response, asked: BulkEnroll, status: Status) -> None:
        submission = status.submission
        if submission.finished_at is None:
            write_status(resp, status, self.now(), code=HTTPStatus.ACCEPTED)
            return
        write_json(resp, dump_bulk_enroll(asked, await self._outcomes(submission)))

    async def _outcomes(self, submission: Submission) -> list[Outcome]:
        outcomes: list[Outcome] = []
        cursor: Cursor | None = Cursor()
        while cursor is not None:
            page = await self.records.read(
                answers.outcomes_page, submission, cursor, Filter(), limit=_AT_ONCE
            )
            outcomes += [answer.outcome for answer in page.answers]
            cursor = page.next
        return outcomes


def _parsed(req: Request, body: bytes) -> object:
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    if kind == FORM:
        return form_fields(body)
    check_is_json(req, also=FORM)
    return parsed_json(body)


def _upload(req: Request, body: bytes, asked: BulkEnroll, key: str | None) -> Upload:
    """The requests as a file, which is what the records keep."""
    digest = fingerprint_head(req)
    digest.update(body)
    return Upload(
        file=io.BytesIO(dumps(list(asked.requests()))),
        media_type=JSON,
        gzip=False,
        caller=req.context.caller,
        options=Options(auto_enroll=asked.auto_enroll, reason=asked.reason),
        lane=Lane.INTERACTIVE,
        first_byte=req.context.first_byte,
        request_id=req.context.request_id,
        key=key,
        digest=digest,
    )
