"""``/enrollment``: request one enrollment, read one's own."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.auth.permissions import check_mode, may_act_for, may_read_about
from api_gateway.database import Database
from api_gateway.http.forms import FORM, form_request
from api_gateway.http.headers import fingerprint_head, idempotency_key, preference
from api_gateway.http.problems import Problem, ProblemMembersJson, bad_request
from api_gateway.http.request_body import check_is_json, parse_json, read_body
from api_gateway.http.responses import JSON, keep_private, write_json
from api_gateway.intake.single_requests import GroupCommitter, Receipt, SingleRequest
from api_gateway.status import queries
from api_gateway.status.queries import Status
from api_gateway.status.waiters import Waiters
from enrollment.domain.codes import CallerKind
from enrollment.domain.model import Course
from enrollment.storage import courses, learners, submissions
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import Listed
from schemas.courses import dump_details
from schemas.enrollments import SUCCESS_CODES, EnrollmentJson, dump_enrollment, v1_refusal
from schemas.fields import is_storable
from schemas.findings import at_pointer
from schemas.requests.parsed import InvalidRequest, ParsedRequest
from schemas.requests.schema import load_request, v1_message
from schemas.submissions import SUBMISSIONS_PATH, dump_submission, render_accepted_single_fast

#: Maximum bytes of a request's body.
MAX_BODY = 256_000
MAX_KNOWN_EMAILS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentResource:
    """Requests for one enrollment, and the requester's enrollments."""

    database: Database
    single_requests: GroupCommitter
    waiters: Waiters
    now: Callable[[], datetime]
    default_wait: float
    #: Whether learners may deactivate their own enrollments.
    self_unenroll: bool = False
    #: (username, e-mail) of learners whose e-mail is stored already.
    known_emails: set[tuple[str, str]] = field(default_factory=set)

    async def on_post(self, req: Request, resp: Response) -> None:
        """Store one request: 202, or its outcome for callers who wait."""
        first_byte: float = req.context.first_byte
        caller: Caller = req.context.caller
        key = idempotency_key(req)
        wait, applied = preference(req).applied(self.default_wait)
        body = await read_body(req, MAX_BODY)
        request = check_permitted(read_single_request(req, body, caller), caller)
        fingerprint = b""
        if key is not None:
            digest = fingerprint_head(req)
            digest.update(body)
            fingerprint = digest.digest()
        await self._store_email(caller)
        if self.self_unenroll and caller.kind is CallerKind.LEARNER:
            caller = caller._replace(kind=CallerKind.LEAVER)
        single = SingleRequest(
            caller, request, first_byte, req.context.request_id, key, fingerprint
        )
        receipt = await self.single_requests.accept(single)
        if applied is not None:
            resp.set_header("Preference-Applied", applied)
        if receipt.batch_id is None:
            resp.set_header("Idempotency-Replayed", "true")
        if wait > 0 and await self._write_outcome(receipt, wait, resp):
            return
        await self._write_accepted(receipt, caller, resp)

    async def _store_email(self, caller: Caller) -> None:
        """Store the e-mail of a token's subject, for invitations; once per process."""
        if caller.username is None or caller.email is None:
            return
        pair = (caller.username, caller.email)
        if pair in self.known_emails:
            return
        await self.database.write(learners.set_email_if_missing, *pair)
        if len(self.known_emails) >= MAX_KNOWN_EMAILS:
            self.known_emails.clear()
        self.known_emails.add(pair)

    async def _write_outcome(self, receipt: Receipt, wait: float, resp: Response) -> bool:
        if receipt.batch_id is not None:
            await self.waiters.wait_for_batch(receipt.batch_id, wait)
        status = await self.database.read(_status, receipt.submission_id)
        if status.outcome is None and receipt.batch_id is None:
            await self.waiters.wait_for_batch(status.submission.batch_id or 0, wait)
            status = await self.database.read(_status, receipt.submission_id)
        if status.outcome is None:
            return False
        resp.set_header("Location", f"{SUBMISSIONS_PATH}/{receipt.submission_id}")
        self._render_outcome(status, resp)
        return True

    def _render_outcome(self, status: Status, resp: Response) -> None:
        """Write the outcome exactly as Open edX would."""
        outcome, kept = status.outcome, status.enrollment
        if outcome is None:
            return
        if outcome.code in SUCCESS_CODES:
            write_json(resp, self._render(kept, status.course) if kept else None)
            return
        refusal = v1_refusal(outcome)
        members: ProblemMembersJson = {}
        if refusal.outcome is not None:
            members["outcome"] = refusal.outcome
        if refusal.with_course and status.course is not None:
            course = dump_details(status.course, at=self.now(), include_expired=False)
            members["course_details"] = course
        raise Problem(refusal.status, refusal.code, refusal.message, members=members)

    def _render(self, kept: Listed, course: Course | None) -> EnrollmentJson:
        return dump_enrollment(kept.username, kept.enrollment, course, at=self.now())

    async def _write_accepted(self, receipt: Receipt, caller: Caller, resp: Response) -> None:
        """202: the request is durable; Location has its status."""
        wanted = str(receipt.submission_id)
        resp.set_header("Location", f"{SUBMISSIONS_PATH}/{wanted}")
        if receipt.batch_id is None:
            await self._write_replayed(receipt, resp)
            return
        resp.status = HTTPStatus.ACCEPTED
        resp.content_type = JSON
        resp.data = render_accepted_single_fast(wanted, caller.name, receipt.received_at)
        resp.set_header("Retry-After", "1")

    async def _write_replayed(self, receipt: Receipt, resp: Response) -> None:
        """The current status of the first request with the same key."""
        status = await self.database.read(_status, receipt.submission_id)
        kept = status.enrollment
        shown = dump_submission(
            status.submission,
            now=self.now(),
            outcome=status.outcome,
            enrollment=None if kept is None else self._render(kept, status.course),
        )
        write_json(resp, shown, HTTPStatus.ACCEPTED)
        if status.outcome is None:
            resp.set_header("Retry-After", "1")

    async def on_get(self, req: Request, resp: Response) -> None:
        """Active enrollments, oldest first: one's own, or another learner's with permission."""
        keep_private(resp)
        caller: Caller = req.context.caller
        username = req.get_param("user") or caller.username
        if username is None or not may_read_about(caller, username):
            write_json(resp, [])
            return
        found = await self.database.read(_active_of, username)
        write_json(resp, [self._render(kept, course) for kept, course in found])

    on_head = on_get


def read_single_request(req: Request, body: bytes, caller: Caller) -> ParsedRequest:
    """Parse the request. Raises Problem 400 with Open edX's texts (never 422 here).

    Callers who may not act for the learner get 404 before any other error.
    """
    parsed = _parsed(req, body)
    named = parsed.get("user") if isinstance(parsed, dict) else None
    if isinstance(named, str) and named and not may_act_for(caller, named):
        raise _not_found()
    try:
        return load_request(parsed)
    except InvalidRequest as error:
        found = map(at_pointer, error.findings)
        raise bad_request("invalid_row", v1_message(error.findings), *found) from error


def _parsed(req: Request, body: bytes) -> Any:
    """Parse the body, which is JSON or a form."""
    kind = (req.content_type or "").partition(";")[0].strip().lower()
    if kind == FORM:
        return form_request(body)
    check_is_json(req, also=FORM)
    return parse_json(body)


def _not_found() -> Problem:
    """404 without a body, as Open edX responds about other learners."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", "Not found.", empty=True)


def check_permitted(request: ParsedRequest, caller: Caller) -> ParsedRequest:
    """Return the request with its learner, who by default is the caller.

    Raises Problem: 404 without a body for another learner (as Open edX), 403 for a mode or a
    stated time without permission.
    """
    if request.username is None and request.email is None:
        request = request._replace(username=caller.username)
        if caller.username is None:
            text = "The user  does not exist."
            raise Problem(HTTPStatus.NOT_ACCEPTABLE, "learner_not_found", text)
    if not may_act_for(caller, request.username):
        raise _not_found()
    check_mode(caller, request.mode)
    if request.requested_at is not None and not caller.rights.state_time:
        text = "Only a trusted caller may state requested_at."
        raise Problem(HTTPStatus.FORBIDDEN, "not_permitted", text)
    return request


def _status(session: Session, submission_id: Any) -> Status:
    submission = submissions.find(session, submission_id)
    if submission is None:
        message = f"the submission {submission_id} was accepted and is gone"
        raise LookupError(message)
    return queries.get_single_status(session, submission)


def _active_of(session: Session, username: str) -> list[tuple[Listed, Course | None]]:
    if not is_storable(username):
        return []
    found = enrollment_views.active_of(session, username)
    known = courses.find_all(session, {kept.course_id for kept in found})
    return [(kept, known.get(kept.course_id)) for kept in found]
