"""``/submissions``: hand many in, list them."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway import answers
from api_gateway.answers import Status
from api_gateway.callers import Caller
from api_gateway.headers import idempotency_key
from api_gateway.incoming import incoming
from api_gateway.media import keep_private, write_json
from api_gateway.records import Records
from api_gateway.resources.bodies import cursor_at, page_size
from api_gateway.resources.options import read_options, read_place, read_states
from api_gateway.resources.statuses import write_status
from api_gateway.spooling import Spooling
from api_gateway.taking import Taking
from api_gateway.uploads import Published, Upload
from enrollment.domain.codes import State
from enrollment.domain.model import microseconds
from enrollment.domain.submissions import Submission
from enrollment.storage import submission_views
from enrollment.storage.submission_views import Place
from schemas.submissions import PATH, SubmissionPageJson, dump_submission


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionsResource:
    """All submissions of the caller."""

    records: Records
    taking: Taking
    spooling: Spooling
    now: Callable[[], datetime]

    async def on_post(self, req: Request, resp: Response) -> None:
        """Take a file in: 202 once it is durable, whole."""
        first_byte: float = req.context.first_byte
        caller: Caller = req.context.caller
        key = idempotency_key(req)
        read_options(req.params)  # what is wrong with them is said before the file comes in
        with self.taking.under(caller, key):
            async with incoming(req, self.spooling) as sent:
                chosen = read_options(sent.given)
                upload = Upload(
                    sent.file,
                    sent.media_type,
                    sent.gzip,
                    caller,
                    chosen.options,
                    chosen.lane,
                    first_byte,
                    req.context.request_id,
                    key,
                    sent.digest,
                    chosen.format,
                )
                published = await self.taking.store(upload)
        await self._accepted(published, caller, resp)

    async def _accepted(self, published: Published, caller: Caller, resp: Response) -> None:
        status = await self.records.read(answers.status, published.submission_id, caller)
        write_status(resp, status, self.now(), code=HTTPStatus.ACCEPTED)
        resp.set_header("Location", f"{PATH}/{published.submission_id}")
        if published.is_replay:
            resp.set_header("Idempotency-Replayed", "true")

    async def on_get(self, req: Request, resp: Response) -> None:
        """The caller's submissions, newest first."""
        caller: Caller = req.context.caller
        keep_private(resp)
        states, limit, after = read_states(req), page_size(req), read_place(req)
        found = await self.records.read(_page, caller.name, states=states, after=after, limit=limit)
        now = self.now()
        shown = [dump_submission(status.submission, now=now) for status in found]
        following = _cursor(found[-1].submission) if len(found) == limit else None
        page: SubmissionPageJson = {"submissions": shown, "next": following}
        write_json(resp, page)

    on_head = on_get


def _cursor(last: Submission) -> str:
    """Where the page after this submission begins."""
    return cursor_at(f"{microseconds(last.received_at)} {last.id}")


def _page(
    session: Session, caller: str, *, states: frozenset[State], after: Place | None, limit: int
) -> list[Status]:
    found = submission_views.page(session, caller, states=states, after=after, limit=limit)
    return [
        Status(one) if one.batch_id is None else answers.single_status(session, one)
        for one in found
    ]
