"""`/unenroll`: withdraws a retiring learner from every course.

See "Unenrolling a retiring learner" in docs/openedx-compatibility.md.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import UUID

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.http.fingerprint import fingerprint_of_value, start_fingerprint
from api_gateway.http.headers import read_idempotency_key, read_preference
from api_gateway.http.openedx_body import read_openedx_body
from api_gateway.http.problems import Problem
from api_gateway.http.responses import JSON_TYPE, dumps, write_json
from api_gateway.intake.upload_store import UploadStore
from api_gateway.resources.common.finished_submission import DEFAULT_WAIT, FinishedSubmissions
from api_gateway.status.queries import Status
from api_gateway.status.status_response import write_status
from enrollment.domain.codes import FAILURE_CODES, Code, Lane, OnError, Reason
from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.errors import KeyReused
from enrollment.domain.identity import canonical_text
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import SubmissionOptions
from enrollment.storage import idempotency, learners
from enrollment.storage.idempotency import KeyUse
from enrollment.storage.views import enrollment_views
from intake_store.upload import MAX_GROUPED_ROWS, Upload
from schemas.encoding.canonical_json import canonical_json
from schemas.enrollments import v1_refusal
from schemas.fields import is_storable
from schemas.submissions import SUBMISSIONS_PATH

#: Maximum bytes of a body.
MAX_UNENROLL_BODY = 16_384
NO_USERNAME = "Username not specified."
NOT_RETIRING = "No retirement request status for username."
#: All enrollments end, or none does.
_OPTIONS = SubmissionOptions(on_error=OnError.ABORT.value, reason="retirement")


class Retirement(NamedTuple):
    """A learner who is to be withdrawn, and the request that used the Idempotency-Key before."""

    username: str
    is_retiring: bool
    #: The courses with an active enrollment.
    course_ids: Sequence[str]
    used: KeyUse | None = None


class StoredWithdrawal(NamedTuple):
    """A submission that withdraws a learner; a replay was stored by an earlier request."""

    submission_id: UUID
    is_replay: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class UnenrollResource:
    """Stores the withdrawals as an interactive submission; responds as Open edX does."""

    database: Database
    upload_store: UploadStore
    finished: FinishedSubmissions
    now: Callable[[], datetime]
    default_wait: float

    async def on_post(self, req: Request, resp: Response) -> None:
        """Responds with the organizations that the learner left, or 202 if the wait ends before.

        204 where nothing was active; 404 with a JSON string for a learner who is not retiring.
        """
        body = await read_openedx_body(req, MAX_UNENROLL_BODY)
        if "username" not in body:
            write_json(resp, NO_USERNAME, HTTPStatus.NOT_FOUND)
        elif not await self.withdraw(req, resp, body):
            write_json(resp, NOT_RETIRING, HTTPStatus.NOT_FOUND)

    async def withdraw(self, req: Request, resp: Response, body: Mapping[str, Any]) -> bool:
        """Withdraws the learner in the body, and writes the response.

        Returns False, and writes nothing, for a learner who is not retiring.
        """
        key = read_idempotency_key(req)
        wait, applied = read_preference(req).applied(max(self.default_wait, DEFAULT_WAIT))
        caller: Caller = req.context.caller
        found = await self.database.read(_find, body["username"], caller, key)
        if found.used is None and not found.is_retiring:
            return False
        if applied is not None:
            resp.set_header("Preference-Applied", applied)
        if found.used is None and not found.course_ids:
            resp.status = HTTPStatus.NO_CONTENT
            return True
        stored = await self._store(req, body, found, key)
        resp.set_header("Location", f"{SUBMISSIONS_PATH}/{stored.submission_id}")
        if stored.is_replay:
            resp.set_header("Idempotency-Replayed", "true")
        await self._write_result(
            resp, await self.finished.wait_for(stored.submission_id, caller, wait)
        )
        return True

    async def _store(
        self, req: Request, body: Mapping[str, Any], found: Retirement, key: str | None
    ) -> StoredWithdrawal:
        """Stores the withdrawals, unless the key was used before. Raises KeyReused."""
        if found.used is not None:
            if found.used.fingerprint != fingerprint_of_value(req, body):
                raise KeyReused(key)
            return StoredWithdrawal(found.used.submission_id, is_replay=True)
        with self.upload_store.lock_key(req.context.caller, key):
            stored = await self.upload_store.store_upload(
                _make_upload(req, body, found, key),
                is_in_memory=len(found.course_ids) <= MAX_GROUPED_ROWS,
            )
        return StoredWithdrawal(stored.submission_id, stored.is_replay)

    async def _write_result(self, resp: Response, status: Status) -> None:
        submission = status.submission
        if submission.finished_at is None:
            write_status(resp, status, self.now(), code=HTTPStatus.ACCEPTED)
            return
        outcomes = await self.finished.outcomes(submission)
        for outcome in outcomes:
            if outcome.code in FAILURE_CODES and outcome.reason is not Reason.ABORTED:
                refusal = v1_refusal(outcome)
                raise Problem(refusal.status, refusal.code, refusal.message)
        orgs = _orgs_left(outcomes)
        if orgs:
            write_json(resp, orgs)
        else:
            resp.status = HTTPStatus.NO_CONTENT


def _find(session: Session, named: object, caller: Caller, key: str | None) -> Retirement:
    owner = (caller.name, key or "")
    used = idempotency.find(session, [owner] if key else ()).get(owner)
    username = canonical_text(named) if isinstance(named, str) else ""
    if not is_storable(username):
        return Retirement(username, is_retiring=False, course_ids=(), used=used)
    learner = learners.find(session, username)
    if learner is None or not learner.is_retiring:
        return Retirement(username, is_retiring=False, course_ids=(), used=used)
    course_ids = enrollment_views.active_course_ids(session, username)
    return Retirement(username, is_retiring=True, course_ids=course_ids, used=used)


def _make_upload(
    req: Request, body: Mapping[str, Any], found: Retirement, key: str | None
) -> Upload:
    """Returns the withdrawals as an upload of a JSON file."""
    digest = start_fingerprint(req)
    digest.update(canonical_json(body))
    rows = [
        {"user": found.username, "course_id": course_id, "is_active": False}
        for course_id in found.course_ids
    ]
    return Upload(
        file=io.BytesIO(dumps(rows)),
        media_type=JSON_TYPE,
        gzip=False,
        caller=req.context.caller,
        options=_OPTIONS,
        lane=Lane.INTERACTIVE,
        first_byte=req.context.first_byte,
        request_id=req.context.request_id,
        key=key,
        digest=digest,
        is_file_in_digest=False,
    )


def _orgs_left(outcomes: Sequence[Outcome]) -> list[str]:
    """Returns the organizations of the courses that the learner left, each once."""
    left = [outcome.course_id for outcome in outcomes if outcome.code is Code.DEACTIVATED]
    keys = [parse_course_key(course_id or "") for course_id in left]
    return sorted({key.org for key in keys if key is not None})
