"""`/submissions`: uploads a file of requests, lists the caller's submissions."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.auth.links.link_tokens import LinkTokens
from api_gateway.database import Database, ListReader
from api_gateway.http.headers import read_idempotency_key
from api_gateway.http.pagination import encode_cursor, read_page_size
from api_gateway.http.responses import write_json
from api_gateway.intake.pending_rows import PendingRows
from api_gateway.intake.spool import Spooler
from api_gateway.intake.upload_request import receive_upload
from api_gateway.intake.upload_store import UploadStore
from api_gateway.resources.common.submission_params import (
    SubmissionParams,
    check_names,
    parse_params,
    read_states,
    read_submissions_cursor,
)
from api_gateway.status import queries
from api_gateway.status.queries import Status
from api_gateway.status.status_response import events_path, write_status
from enrollment.domain.codes import State
from enrollment.domain.model import microseconds
from enrollment.domain.submissions import Submission
from enrollment.storage.views import submission_views
from enrollment.storage.views.submission_views import SubmissionPageKey
from intake_store.upload import StoredUpload, Upload
from schemas.submissions import SUBMISSIONS_PATH, SubmissionPageJson, dump_submission


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionsResource:
    """Uploads files; lists the submissions of the caller."""

    database: Database
    lists: ListReader
    upload_store: UploadStore
    spooler: Spooler
    link_tokens: LinkTokens
    pending_rows: PendingRows
    now: Callable[[], datetime]

    async def on_post(self, req: Request, resp: Response) -> None:
        """Receives a file; responds 202 once it is stored durably and completely."""
        key = read_idempotency_key(req)
        check_names(req.params)  # before the file is received
        stored = await self.receive(req, parse_params, key)
        await self._write_accepted(stored, req, resp)

    async def receive(
        self, req: Request, parse: Callable[[Mapping[str, Any]], SubmissionParams], key: str | None
    ) -> StoredUpload:
        """Receives a file and stores it. Raises Problem as `receive_upload` does, and 429."""
        caller: Caller = req.context.caller
        await self.pending_rows.check(caller)
        with self.upload_store.lock_key(caller, key):
            async with receive_upload(req, self.spooler, parse) as received:
                upload = Upload(
                    file=received.file,
                    media_type=received.media_type,
                    gzip=received.gzip,
                    caller=caller,
                    options=received.params.options,
                    lane=received.params.lane,
                    first_byte=req.context.first_byte,
                    request_id=req.context.request_id,
                    key=key,
                    digest=received.digest,
                    format=received.params.format,
                )
                return await self.upload_store.store_upload(
                    upload, is_in_memory=received.is_in_memory
                )

    async def _write_accepted(self, stored: StoredUpload, req: Request, resp: Response) -> None:
        id_, caller = stored.submission_id, req.context.caller
        if stored.submission is not None:
            status = Status(stored.submission)
        else:
            status = await self.database.read(queries.get_status, id_, caller)
        token = self.link_tokens.issue(req, events_path(id_))
        write_status(resp, status, self.now(), code=HTTPStatus.ACCEPTED, token=token)
        resp.set_header("Location", f"{SUBMISSIONS_PATH}/{id_}")
        if stored.is_replay:
            resp.set_header("Idempotency-Replayed", "true")

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists a page of the caller's submissions, newest first."""
        caller: Caller = req.context.caller
        states, limit, after = read_states(req), read_page_size(req), read_submissions_cursor(req)
        found = await self.lists.read(
            read_submission_page, caller.name, states=states, after=after, limit=limit
        )
        now = self.now()
        page: SubmissionPageJson = {
            "submissions": [dump_submission(each, now=now) for each in found.submissions],
            "next": found.cursor,
        }
        write_json(resp, page)

    on_head = on_get


class SubmissionPage(NamedTuple):
    """Submissions, and the last one that was read; None after the last page."""

    submissions: list[Submission]
    last: Submission | None

    @property
    def cursor(self) -> str | None:
        """The cursor of the next page; None after the last page."""
        if self.last is None:
            return None
        return encode_cursor(f"{microseconds(self.last.received_at)} {self.last.id}")


def read_submission_page(
    session: Session,
    caller: str,
    *,
    states: frozenset[State],
    after: SubmissionPageKey | None,
    limit: int,
) -> SubmissionPage:
    """Reads a page of the submissions of a caller, newest first."""
    found = submission_views.page(session, caller, states=states, after=after, limit=limit)
    return complete_page(session, found, states=states, limit=limit)


def complete_page(
    session: Session, found: list[Submission], *, states: Collection[State], limit: int
) -> SubmissionPage:
    """Returns a page of submissions with the progress of the singles among them."""
    # Some may have left their state since they were found.
    listed = [
        each
        for each in queries.complete_singles(session, found)
        if not states or each.state in states
    ]
    return SubmissionPage(listed, found[-1] if len(found) == limit else None)
