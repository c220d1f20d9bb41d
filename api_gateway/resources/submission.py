"""``/submissions/{id}``: see how far it is, follow it, cancel what is left."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from uuid import UUID

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway import answers
from api_gateway.callers import Caller
from api_gateway.following import Following
from api_gateway.headers import matches, preference
from api_gateway.looking import Looks
from api_gateway.media import JSON
from api_gateway.progress import EVENTS, Progress
from api_gateway.records import Records
from api_gateway.resources.statuses import (
    LastShown,
    submission_id,
    write_body,
    write_head,
    write_status,
)
from api_gateway.ringing import Ringer
from enrollment.domain.codes import Lane
from enrollment.domain.submissions import Submission
from enrollment.storage import cancellation
from enrollment.storage.batches import Waiting
from enrollment.storage.sessions import clock
from schemas.submissions import PATH, etag


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionResource:
    """One submission."""

    looks: Looks
    following: Following
    progress: Progress
    now: Callable[[], datetime]
    last_shown: LastShown = field(default_factory=LastShown)

    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """How far it is; with ``Prefer: wait=N`` once it moved, or is done.

        Who prefers events is told of every move.
        """
        caller: Caller = req.context.caller
        wanted = submission_id(id)
        wait = preference(req).wait
        status = await self.looks.status(wanted, caller)
        resp.set_header("Vary", "Accept")
        if req.method != "HEAD" and _prefers_events(req):
            self.progress.answer(req, resp, status)
            return
        if wait:
            has_tag = req.get_header("If-None-Match") is not None
            status = await self.following.until(
                lambda submission: has_tag and not matches(req, etag(submission)),
                status,
                caller,
                wait,
            )
            resp.set_header("Preference-Applied", f"wait={wait:g}")
        shown = self.last_shown.of(status, self.now())
        write_head(resp, shown)
        if matches(req, shown.tag):
            resp.status = HTTPStatus.NOT_MODIFIED
        else:
            write_body(resp, shown)

    on_head = on_get


def _prefers_events(req: Request) -> bool:
    """Most name no sort of text; weighing what they accept would take longer than the rest."""
    return "text/" in req.accept.lower() and req.client_prefers([JSON, EVENTS]) == EVENTS


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsResource:
    """``/submissions/{id}/events``."""

    records: Records
    progress: Progress

    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Every move of a submission, until it is finished."""
        wanted = submission_id(id)
        status = await self.records.read(answers.status, wanted, req.context.caller)
        self.progress.answer(req, resp, status)

    async def on_head(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Whether there is something to follow; no stream is opened."""
        await self.records.read(answers.status, submission_id(id), req.context.caller)
        resp.content_type = EVENTS
        resp.set_header("Cache-Control", "no-store")


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelResource:
    """``/submissions/{id}/cancel``."""

    records: Records
    ringer: Ringer
    now: Callable[[], datetime]

    async def on_post(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """Ask that the rest be cancelled; the batch in work is finished and stays."""
        caller: Caller = req.context.caller
        wanted = submission_id(id)
        whose = None if caller.may("admin") else caller.name
        asked = await self.records.write(_ask_cancel, wanted, whose)
        if asked.batch_id is not None:  # a worker may have passed it by while it was locked
            self.ringer.ring(Waiting(asked.batch_id, Lane.INTERACTIVE))
        status = await self.records.read(answers.status, wanted, caller)
        write_status(resp, status, self.now(), code=HTTPStatus.ACCEPTED)
        resp.set_header("Location", f"{PATH}/{wanted}")


def _ask_cancel(session: Session, wanted: UUID, whose: str | None) -> Submission:
    return cancellation.request_cancel(session, wanted, whose, now=clock(session))
