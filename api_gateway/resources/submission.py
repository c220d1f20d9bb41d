"""`/submissions/{id}`: status, event stream and cancellation of one submission."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.auth.links.link_tokens import LinkTokens
from api_gateway.auth.quotas import Quota
from api_gateway.database import Database
from api_gateway.http.headers import matches_etag, read_preference
from api_gateway.intake.dispatcher import Dispatcher
from api_gateway.status import queries
from api_gateway.status.event_stream import EVENT_STREAM_TYPE, EventStreams, prefers_events
from api_gateway.status.long_poll import long_poll
from api_gateway.status.poll_headers import submission_etag
from api_gateway.status.queries import Status
from api_gateway.status.status_reader import StatusReader
from api_gateway.status.status_response import (
    RenderCache,
    events_path,
    parse_submission_id,
    with_link_token,
    write_body,
    write_headers,
    write_status,
)
from api_gateway.status.waiters import Waiters
from enrollment.domain.codes import Lane
from enrollment.domain.submissions import Submission
from enrollment.storage import cancellation
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.queue.batches import BatchRef
from schemas.submissions import SUBMISSIONS_PATH


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionResource:
    """The status of one submission."""

    reader: StatusReader
    waiters: Waiters
    event_streams: EventStreams
    quota: Quota
    link_tokens: LinkTokens
    now: Callable[[], datetime]
    rendered: RenderCache = field(default_factory=RenderCache)

    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Responds with the status (with `Prefer: wait=N` after progress), or with events."""
        caller: Caller = req.context.caller
        submission_id = parse_submission_id(id)
        wait = read_preference(req).wait
        status = await self.reader.read(submission_id, caller)
        resp.set_header("Vary", "Accept")
        if req.method != "HEAD" and prefers_events(req):
            self.event_streams.respond(req, resp, status)
            return
        if wait:
            with self.quota.place(caller.name):
                status = await self._wait(req, status, wait)
            resp.set_header("Preference-Applied", f"wait={wait:g}")
        rendered = self.rendered.get(status, self.now())
        write_headers(resp, rendered)
        if matches_etag(req, rendered.etag):
            resp.status = HTTPStatus.NOT_MODIFIED
        else:
            token = self.link_tokens.issue(req, events_path(submission_id))
            write_body(resp, with_link_token(rendered, submission_id, token))

    on_head = on_get

    async def _wait(self, req: Request, status: Status, seconds: float) -> Status:
        """Waits for another ETag than that of the client; without If-None-Match for the end."""
        has_tag = req.get_header("If-None-Match") is not None
        return await long_poll(
            status,
            req.context.caller,
            seconds,
            reader=self.reader,
            waiters=self.waiters,
            is_reached=(lambda it: not matches_etag(req, submission_etag(it))) if has_tag else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsResource:
    """The event stream of one submission."""

    reader: StatusReader
    event_streams: EventStreams

    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Streams the progress until the submission is finished."""
        status = await self.reader.read(parse_submission_id(id), req.context.caller)
        self.event_streams.respond(req, resp, status)

    async def on_head(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Checks that the submission exists; opens no stream."""
        await self.reader.read(parse_submission_id(id), req.context.caller)
        resp.content_type = EVENT_STREAM_TYPE
        resp.stream = _no_events()  # otherwise Content-Length would be 0, which GET does not have


async def _no_events() -> AsyncIterator[bytes]:
    nothing: tuple[bytes, ...] = ()
    for event in nothing:
        yield event


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelResource:
    """Cancellation of one submission."""

    database: Database
    dispatcher: Dispatcher
    link_tokens: LinkTokens
    now: Callable[[], datetime]

    async def on_post(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Requests cancellation; the batch in progress is completed."""
        caller: Caller = req.context.caller
        submission_id = parse_submission_id(id)
        status = await self.cancel(submission_id, caller)
        token = self.link_tokens.issue(req, events_path(submission_id))
        write_status(resp, status, self.now(), code=HTTPStatus.ACCEPTED, token=token)
        resp.set_header("Location", f"{SUBMISSIONS_PATH}/{submission_id}")

    async def cancel(self, submission_id: UUID, caller: Caller) -> Status:
        """Requests cancellation. Raises SubmissionNotFound, SubmissionFinished."""
        owner = None if caller.may("admin") else caller.name
        cancelled = await self.database.write(_request_cancellation, submission_id, owner)
        if cancelled.batch_id is not None:  # a worker may have skipped the locked batch
            self.dispatcher.dispatch(BatchRef(cancelled.batch_id, Lane.INTERACTIVE))
        return await self.database.read(queries.get_status, submission_id, caller)


def _request_cancellation(session: Session, submission_id: UUID, owner: str | None) -> Submission:
    return cancellation.request_cancel(session, submission_id, owner, now=database_now(session))
