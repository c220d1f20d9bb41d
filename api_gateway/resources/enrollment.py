"""`/enrollment`: requests one enrollment, lists the active enrollments of a learner.

See "Statuses and messages" and "Other people's enrollments" in docs/openedx-compatibility.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from typing import Any

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.auth.permissions import (
    STAFF,
    check_mode,
    describe_missing,
    listed_learner,
    may_act_for,
)
from api_gateway.database import Database
from api_gateway.http.fingerprint import fingerprint_of_value
from api_gateway.http.headers import read_idempotency_key, read_preference
from api_gateway.http.openedx_body import parse_openedx_body
from api_gateway.http.problems import Problem, ProblemMembersJson, bad_request, forbidden
from api_gateway.http.request_body import read_body
from api_gateway.http.responses import JSON_TYPE, write_json
from api_gateway.intake.group_commit import GroupCommitter
from api_gateway.reads.enrollment_reads import EnrollmentReads
from api_gateway.resources.common.bulk_body import parse_body
from api_gateway.status import queries
from api_gateway.status.queries import Status
from api_gateway.status.waiters import Waiters
from enrollment.domain.codes import CallerKind
from enrollment.domain.identity import canonical_text
from enrollment.domain.model import Course
from enrollment.domain.rules import MAX_CLOCK_SKEW, format_timestamp
from enrollment.storage import learners, submissions
from enrollment.storage.views.enrollment_views import EnrollmentView
from intake_store.group_store import Receipt, SingleRequest
from schemas.courses import dump_details
from schemas.enrollments import SUCCESS_CODES, EnrollmentJson, dump_enrollment, v1_refusal
from schemas.findings import Rule, at_pointer, finding
from schemas.requests.form_members import members_of_form
from schemas.requests.parsed import (
    InvalidRequest,
    ParsedRequest,
    ReceivedRequest,
    without_details,
)
from schemas.requests.schema import has_course_finding, load_single, v1_message
from schemas.submissions import SUBMISSIONS_PATH, dump_submission, render_accepted_single_fast

#: Maximum bytes of a request's body.
MAX_ENROLLMENT_BODY = 256_000
#: Maximum number of (username, e-mail) pairs that a process remembers.
MAX_KNOWN_EMAILS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentResource:
    """Stores single enrollment requests; lists the enrollments of one learner."""

    database: Database
    reads: EnrollmentReads
    group_commit: GroupCommitter
    waiters: Waiters
    now: Callable[[], datetime]
    default_wait: float
    #: Whether learners may deactivate their own enrollments.
    self_unenroll: bool = False
    #: Whether a token with an e-mail may register its learner.
    accepts_unknown_learners: bool = True
    #: (username, e-mail) pairs that are stored already.
    known_emails: set[tuple[str, str]] = field(default_factory=set)

    async def on_post(self, req: Request, resp: Response) -> None:
        """Stores one request; responds 202, or with the outcome if the caller waits."""
        first_byte: float = req.context.first_byte
        caller: Caller = req.context.caller
        key = read_idempotency_key(req)
        wait, applied = read_preference(req).applied(self.default_wait)
        body = await read_body(req, MAX_ENROLLMENT_BODY)
        received, fingerprint = await self._receive(req, body, caller, has_key=key is not None)
        await self._store_email(caller)
        if self.self_unenroll and caller.kind is CallerKind.LEARNER:
            caller = caller._replace(kind=CallerKind.LEAVER)
        single = SingleRequest(
            caller,
            received.request,
            first_byte,
            req.context.request_id,
            key,
            fingerprint,
            received.ignored,
        )
        receipt = await self.group_commit.accept(single)
        if applied is not None:
            resp.set_header("Preference-Applied", applied)
        if receipt.batch_id is None:
            resp.set_header("Idempotency-Replayed", "true")
        if wait > 0 and await self._write_outcome(receipt, wait, resp):
            return
        await self._write_accepted(receipt, single, resp)

    async def _receive(
        self, req: Request, body: bytes, caller: Caller, *, has_key: bool
    ) -> tuple[ReceivedRequest, bytes]:
        """Parses the request and checks the permission; returns also its fingerprint, with a key.

        Raises Problem 400, 403, 404, 406, 415.
        """

        def receive() -> tuple[ReceivedRequest, bytes]:
            value = parse_openedx_body(req, body, members_of_form)
            received = read_single_request(value, caller)
            return received, fingerprint_of_value(req, value) if has_key else b""

        received, fingerprint = await parse_body(self.database, body, receive)
        request = check_permitted(received.request, caller)
        check_requested_at(request, self.now())
        request, dropped = drop_unpermitted(request, caller)
        if request is not received.request:
            received = received._replace(request=request)
        return received.ignoring(*dropped) if dropped else received, fingerprint

    async def _store_email(self, caller: Caller) -> None:
        """Stores the e-mail of the token's subject (invitations name it), once per process."""
        if caller.username is None or caller.email is None:
            return
        pair = (caller.username, caller.email)
        if pair in self.known_emails:
            return
        is_known = await self.database.write(
            learners.set_email_if_missing, *pair, insert_learner=self.accepts_unknown_learners
        )
        if not is_known:
            return
        if len(self.known_emails) >= MAX_KNOWN_EMAILS:
            self.known_emails.clear()
        self.known_emails.add(pair)

    async def _write_outcome(self, receipt: Receipt, wait: float, resp: Response) -> bool:
        if receipt.batch_id is not None:
            await self.waiters.wait_for_batch(receipt.batch_id, wait)
        status = await self.database.read(_find_status, receipt.submission_id)
        if status.outcome is None and receipt.batch_id is None:
            await self.waiters.wait_for_batch(status.submission.batch_id or 0, wait)
            status = await self.database.read(_find_status, receipt.submission_id)
        if status.outcome is None:
            return False
        resp.set_header("Location", f"{SUBMISSIONS_PATH}/{receipt.submission_id}")
        self._render_outcome(status, resp)
        return True

    def _render_outcome(self, status: Status, resp: Response) -> None:
        """Writes the outcome as Open edX does, with the same status and message."""
        outcome, row = status.outcome, status.enrollment
        if outcome is None:
            return
        if outcome.code in SUCCESS_CODES:
            write_json(resp, self._render(row, status.course) if row else None)
            return
        refusal = v1_refusal(outcome)
        members: ProblemMembersJson = {}
        if refusal.outcome is not None:
            members["outcome"] = refusal.outcome
        if refusal.with_course and status.course is not None:
            course = dump_details(status.course, at=self.now(), include_expired=False)
            members["course_details"] = course
        raise Problem(refusal.status, refusal.code, refusal.message, members=members)

    def _render(self, row: EnrollmentView, course: Course | None) -> EnrollmentJson:
        return dump_enrollment(row.username, row.enrollment, course, at=self.now())

    async def _write_accepted(
        self, receipt: Receipt, single: SingleRequest, resp: Response
    ) -> None:
        """Writes 202: the request is stored durably, and Location is the URL of its status."""
        wanted = str(receipt.submission_id)
        resp.set_header("Location", f"{SUBMISSIONS_PATH}/{wanted}")
        if receipt.batch_id is None:
            await self._write_replayed(receipt, resp)
            return
        resp.status = HTTPStatus.ACCEPTED
        resp.content_type = JSON_TYPE
        caller, ignored = single.caller.name, single.ignored
        resp.data = render_accepted_single_fast(wanted, caller, receipt.received_at, ignored)
        resp.set_header("Retry-After", "1")

    async def _write_replayed(self, receipt: Receipt, resp: Response) -> None:
        """Writes the current status of the first request with the same Idempotency-Key."""
        status = await self.database.read(_find_status, receipt.submission_id)
        row = status.enrollment
        body = dump_submission(
            status.submission,
            now=self.now(),
            outcome=status.outcome,
            enrollment=None if row is None else self._render(row, status.course),
        )
        write_json(resp, body, HTTPStatus.ACCEPTED)
        if status.outcome is None:
            resp.set_header("Retry-After", "1")

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists active enrollments, oldest first; of others only in courses of their staff."""
        caller: Caller = req.context.caller
        listed = listed_learner(caller, canonical_text(req.get_param("user") or ""))
        resp.content_type = JSON_TYPE
        if listed is None:
            resp.data = b"[]"
        elif listed.staff is None:
            resp.data = await self.reads.list_active(listed.username)
        else:
            resp.data = await self.reads.list_shared(listed.username, listed.staff)

    on_head = on_get


def read_single_request(body: object, caller: Caller) -> ReceivedRequest:
    """Reads the request in a parsed body.

    Raises Problem 400 with the texts of Open edX (never 422). A missing or malformed course id
    comes first, then what `check_permitted` raises, then all else that is malformed (Open edX:
    Order of checks).
    """
    try:
        return load_single(body)
    except InvalidRequest as error:
        if isinstance(body, dict) and not has_course_finding(error.findings):
            check_permitted(_readable_part(body), caller)
        found = map(at_pointer, error.findings)
        raise bad_request("invalid_row", v1_message(error.findings), *found) from error


def _readable_part(body: Mapping[str, object]) -> ParsedRequest:
    """Returns the learner and the mode of a request that is malformed elsewhere."""
    user, email, mode = (body.get(name) or None for name in ("user", "email", "mode"))
    return ParsedRequest(
        None if user is None else canonical_text(str(user)),
        None if email is None else str(email),
        course_id="",
        mode=mode if isinstance(mode, str) else None,
    )


def _not_found() -> Problem:
    """Returns a Problem 404 without a body, as Open edX does for other learners."""
    return Problem(HTTPStatus.NOT_FOUND, "not_found", "Not found.", empty=True)


def check_permitted(request: ParsedRequest, caller: Caller) -> ParsedRequest:
    """Returns the request with its learner, by default the caller.

    Raises Problem, in this order: 404 without a body for another learner, 403 for a mode without
    permission, 406 if there is no learner, 403 for a stated time without permission.
    """
    is_named = request.username is not None or request.email is not None
    if not is_named:
        request = request._replace(username=caller.username)
    elif not may_act_for(caller, request.username):
        raise _not_found()
    check_mode(caller, request.mode)
    if not is_named and caller.username is None:
        text = "The user  does not exist."
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, "learner_not_found", text)
    if request.requested_at is not None and not caller.rights.state_time:
        advice = describe_missing(caller, STAFF)
        raise forbidden("Only a trusted caller may state requested_at.", advice)
    return request


def drop_unpermitted(
    request: ParsedRequest, caller: Caller
) -> tuple[ParsedRequest, tuple[str, ...]]:
    """Returns the request without members that the caller may not set, and their names.

    Open edX lets learners set their own attributes and cohort; here they are ignored.
    """
    return (request, ()) if caller.rights.is_privileged else without_details(request)


def check_requested_at(request: ParsedRequest, now: datetime) -> None:
    """Raises Problem 400 for a stated time that is ahead by more than the clocks may differ."""
    stated = request.requested_at
    if stated is None or stated <= now + MAX_CLOCK_SKEW:
        return
    found = at_pointer(finding("requested_at", format_timestamp(stated), Rule.IN_THE_FUTURE))
    raise bad_request("invalid_row", "requested_at is in the future.", found)


def _find_status(session: Session, submission_id: Any) -> Status:
    submission = submissions.find(session, submission_id)
    if submission is None:
        message = f"the submission {submission_id} was accepted but is not stored"
        raise LookupError(message)
    return queries.get_single_status(session, submission)
