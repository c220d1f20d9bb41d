"""`/api/bulk_enroll/v1/bulk_enroll`: the bulk enrollment API of Open edX."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus

from falcon.asgi import Request, Response

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.http.fingerprint import start_fingerprint
from api_gateway.http.headers import read_idempotency_key, read_preference
from api_gateway.http.openedx_body import joined_values, parse_openedx_body
from api_gateway.http.problems import Problem, too_large
from api_gateway.http.request_body import read_body
from api_gateway.http.responses import JSON_TYPE, dumps, write_json
from api_gateway.intake.upload_store import UploadStore
from api_gateway.resources.common.bulk_body import parse_body
from api_gateway.resources.common.finished_submission import DEFAULT_WAIT, FinishedSubmissions
from api_gateway.status.queries import Status
from api_gateway.status.status_response import write_status
from enrollment.domain.codes import Lane
from enrollment.domain.submissions import SubmissionOptions
from enrollment.storage import courses, idempotency
from intake_store.upload import MAX_GROUPED_ROWS, Upload
from schemas.encoding.canonical_json import canonical_json
from schemas.openedx_bulk_enroll import (
    BulkEnroll,
    BulkEnrollErrors,
    check_cohorts_exist,
    dump_bulk_enroll,
    load_bulk_enroll,
)
from schemas.submissions import SUBMISSIONS_PATH

#: Maximum bytes of a body.
MAX_BULK_ENROLL_BODY = 1_000_000
#: Maximum number of identifiers times courses in one body.
MAX_BULK_ENROLL_REQUESTS = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkEnrollResource:
    """Stores a bulk enrollment as an interactive submission; responds as Open edX does."""

    database: Database
    upload_store: UploadStore
    finished: FinishedSubmissions
    now: Callable[[], datetime]
    default_wait: float

    async def on_post(self, req: Request, resp: Response) -> None:
        """Responds with the result for each identifier, or 202 if the wait ends before them."""
        caller: Caller = req.context.caller
        key = read_idempotency_key(req)
        wait, applied = read_preference(req).applied(max(self.default_wait, DEFAULT_WAIT))
        body = await read_body(req, MAX_BULK_ENROLL_BODY)
        parse = partial(parse_openedx_body, req, body, joined_values)
        parsed = await parse_body(self.database, body, parse)
        bulk = await self._read_bulk(req, body, parsed, key)
        with self.upload_store.lock_key(caller, key):
            stored = await self.upload_store.store_upload(
                _make_upload(req, parsed, bulk, key), is_in_memory=bulk.size <= MAX_GROUPED_ROWS
            )
        if applied is not None:
            resp.set_header("Preference-Applied", applied)
        resp.set_header("Location", f"{SUBMISSIONS_PATH}/{stored.submission_id}")
        if stored.is_replay:
            resp.set_header("Idempotency-Replayed", "true")
        status = await self.finished.wait_for(stored.submission_id, caller, wait)
        await self._write_results(resp, bulk, status)

    async def _read_bulk(
        self, req: Request, body: bytes, parsed: object, key: str | None
    ) -> BulkEnroll:
        """Reads the parsed body. Raises Problem 400 with the texts of Open edX, 413 if too long."""
        try:
            bulk = await parse_body(self.database, body, partial(load_bulk_enroll, parsed))
            if bulk.cohorts is not None and not await self._was_key_used(req.context.caller, key):
                known = await self.database.read(courses.find_all, set(bulk.courses))
                check_cohorts_exist(bulk, known)
        except BulkEnrollErrors as error:
            status = HTTPStatus.BAD_REQUEST
            raise Problem(status, "invalid_body", str(error), members=error.messages) from error
        if bulk.size > MAX_BULK_ENROLL_REQUESTS:
            raise too_large(
                f"At most {MAX_BULK_ENROLL_REQUESTS} identifiers times courses are accepted, not "
                f"{bulk.size}: send a file to {SUBMISSIONS_PATH}, which may be longer."
            )
        return bulk

    async def _was_key_used(self, caller: Caller, key: str | None) -> bool:
        """Returns whether the key was used before: then the first request checked the cohorts."""
        if key is None:
            return False
        return bool(await self.database.read(idempotency.find, {(caller.name, key)}))

    async def _write_results(self, resp: Response, bulk: BulkEnroll, status: Status) -> None:
        submission = status.submission
        if submission.finished_at is None:
            write_status(resp, status, self.now(), code=HTTPStatus.ACCEPTED)
            return
        write_json(resp, dump_bulk_enroll(bulk, await self.finished.outcomes(submission)))


def _make_upload(req: Request, parsed: object, bulk: BulkEnroll, key: str | None) -> Upload:
    """Returns the requests as an upload of a JSON file."""
    digest = start_fingerprint(req)
    digest.update(canonical_json(parsed))
    return Upload(
        file=io.BytesIO(dumps(list(bulk.requests()))),
        media_type=JSON_TYPE,
        gzip=False,
        caller=req.context.caller,
        options=SubmissionOptions(auto_enroll=bulk.auto_enroll, reason=bulk.reason),
        lane=Lane.INTERACTIVE,
        first_byte=req.context.first_byte,
        request_id=req.context.request_id,
        key=key,
        digest=digest,
    )
