"""``/submissions``: hand many in, see how far they are, cancel what is left."""

import asyncio
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any
from uuid import UUID

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway import answers
from api_gateway.answers import Status
from api_gateway.callers import Caller
from api_gateway.headers import fingerprint_head, idempotency_key, matches, preference
from api_gateway.media import keep_private, write_json
from api_gateway.problems import Problem, bad_request, too_large, unsupported
from api_gateway.records import Records
from api_gateway.resources.bodies import cursor_at, page_size, place_of
from api_gateway.ringing import Ringer
from api_gateway.spooling import Spooling
from api_gateway.uploads import Published, Upload, Uploads
from api_gateway.waiting import Waiters
from enrollment.domain.codes import Lane, OnError, State
from enrollment.domain.errors import KeyInFlight, SubmissionNotFound
from enrollment.domain.model import EPOCH, microseconds
from enrollment.domain.submissions import Options, Submission
from enrollment.storage import submissions
from enrollment.storage.batches import Waiting
from enrollment.storage.sessions import clock
from enrollment.storage.submissions import Place
from schemas.enrollments import dump_enrollment
from schemas.files import TooLarge, Unreadable, format_of
from schemas.scalars import MAX_MODE, is_storable
from schemas.submissions import PATH, dump_submission, etag, retry_after

#: Seconds after which a long poll looks by itself.
LOOK_SECONDS = 1.0
#: Query parameters that a file may come with.
_KNOWN = frozenset({"format", "default_mode", "on_error", "lane", "source", "dry_run"})
_FORMATS = frozenset({"auto", "native"})
#: The one text of an id that is given out; others that Python reads name nothing.
_CANONICAL = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionsResource:
    """All submissions of the caller."""

    records: Records
    uploads: Uploads
    spooling: Spooling
    #: Files are stored here, so that they never keep singles waiting for a thread.
    pool: ThreadPoolExecutor
    now: Callable[[], datetime]
    #: (caller, key) of files that are coming in.
    in_flight: set[tuple[str, str]]

    async def on_post(self, req: Request, resp: Response) -> None:
        """Take a file in: 202 once it is durable, whole."""
        first_byte: float = req.context.first_byte
        caller: Caller = req.context.caller
        media_type = req.content_type or ""
        if format_of(media_type) is None:
            raise unsupported(
                "Send text/csv, application/x-ndjson or application/json, in UTF-8 "
                f"or CP1252, not {media_type[:100]!r}."
            )
        options, lane = read_options(req)
        key = idempotency_key(req)
        used = (caller.name, key or "")
        if key is not None and used in self.in_flight:
            raise KeyInFlight(key)
        if key is not None:
            self.in_flight.add(used)
        try:
            async with self.spooling.spooled(req) as (file, gzip):
                upload = Upload(
                    file,
                    media_type,
                    gzip,
                    caller,
                    options,
                    lane,
                    first_byte,
                    req.context.request_id,
                    key,
                    fingerprint_head(req),
                )
                published = await self._store(upload)
        finally:
            if key is not None:
                self.in_flight.discard(used)
        await self._accepted(published, caller, resp)

    async def _store(self, upload: Upload) -> Published:
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self.pool, self.uploads.store, upload)
        except TooLarge as error:
            raise too_large(str(error)) from error
        except Unreadable as error:
            malformed = error.is_malformed
            status = HTTPStatus.BAD_REQUEST if malformed else HTTPStatus.UNPROCESSABLE_ENTITY
            raise Problem(status, error.code, error.message, errors=[error.finding()]) from error

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
        last = found[-1].submission if len(found) == limit else None
        write_json(
            resp,
            {
                "submissions": shown,
                "next": last and cursor_at(f"{microseconds(last.received_at)} {last.id}"),
            },
        )

    on_head = on_get


def _page(
    session: Session, caller: str, *, states: frozenset[State], after: Place | None, limit: int
) -> list[Status]:
    found = submissions.page(session, caller, states=states, after=after, limit=limit)
    return [
        Status(one) if one.batch_id is None else answers.single_status(session, one)
        for one in found
    ]


def read_options(req: Request) -> tuple[Options, Lane | None]:
    """How a file is to be worked. Raises Problem 400 for what is not known or not done here."""
    given: dict[str, Any] = dict(req.params)
    for name, value in given.items():
        if name not in _KNOWN:
            raise _bad_option(name, value, f"one of {', '.join(sorted(_KNOWN))}")
        if not isinstance(value, str):
            raise _bad_option(name, value, "given once")
    _check(given, "format", _FORMATS)
    _check(given, "dry_run", frozenset({"false", "0"}))
    _check(given, "on_error", frozenset(OnError))
    _check(given, "lane", frozenset(Lane))
    for name in ("default_mode", "source"):
        value = given.get(name)
        if value is not None and (not 0 < len(value) <= MAX_MODE or not is_storable(value)):
            raise _bad_option(name, value, f"1 to {MAX_MODE} characters")
    options = Options(
        default_mode=given.get("default_mode"),
        on_error=given.get("on_error", OnError.CONTINUE.value),
        source=given.get("source"),
    )
    lane = given.get("lane")
    return options, None if lane is None else Lane(lane)


def _check(given: dict[str, Any], name: str, known: frozenset[str]) -> None:
    if name in given and given[name] not in known:
        raise _bad_option(name, given[name], f"one of {', '.join(sorted(known))}")


def _bad_option(name: str, value: object, expected: str) -> Problem:
    found = {"field": name, "value": str(value)[:100], "rule": expected}
    return bad_request("option_invalid", f"The option {name} must be {expected}.", found)


def read_states(req: Request) -> frozenset[State]:
    """The states that a listing is narrowed to; none means all. Raises Problem 400."""
    given = req.get_param_as_list("state") or []
    for text in given:
        if text not in set(State):
            raise _bad_option("state", text, f"one of {', '.join(State)}")
    return frozenset(map(State, given))


def read_place(req: Request) -> Place | None:
    """Where the page begins. Raises Problem 400 for a cursor that is none of ours."""
    text = place_of(req)
    if text is None:
        return None
    moment, _, id_ = text.partition(" ")
    try:
        return Place(EPOCH + timedelta(microseconds=int(moment)), UUID(id_))
    except (ValueError, OverflowError) as error:
        raise _bad_option("cursor", "", "one that an answer gave") from error


def submission_id(text: str) -> UUID:
    """The id in a path. Raises SubmissionNotFound for what is none."""
    if not _CANONICAL.fullmatch(text):
        raise SubmissionNotFound(text[:100])
    return UUID(text)


def write_status(
    resp: Response, status: Status, now: datetime, *, code: HTTPStatus = HTTPStatus.OK
) -> None:
    """The status object with its headers."""
    shown = _shown_enrollment(status, now)
    write_head(resp, status.submission, shown, now)
    body = dump_submission(status.submission, now=now, outcome=status.outcome, enrollment=shown)
    write_json(resp, body, code)


def _shown_enrollment(status: Status, now: datetime) -> dict[str, Any] | None:
    kept = status.enrollment
    if kept is None:
        return None
    return dump_enrollment(kept.username, kept.enrollment, status.course, at=now)


def write_head(
    resp: Response, submission: Submission, shown: dict[str, Any] | None, now: datetime
) -> str:
    """The headers of the status object, whether it is sent or not; gives its tag."""
    tag = etag(submission, shown)
    resp.set_header("ETag", tag)
    resp.set_header("Cache-Control", "private, no-cache")
    pause = retry_after(submission, now)
    if pause is not None:
        resp.set_header("Retry-After", str(pause))
    return tag


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmissionResource:
    """One submission."""

    records: Records
    waiters: Waiters
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response, id: str) -> None:  # noqa: A002
        """How far it is; with ``Prefer: wait=N`` once it moved, or is done."""
        caller: Caller = req.context.caller
        wanted = submission_id(id)
        wait = preference(req).wait
        status = await self.records.read(answers.status, wanted, caller)
        if wait:
            status = await self._awaited(req, status, caller, wait)
            resp.set_header("Preference-Applied", f"wait={wait:g}")
        now = self.now()
        if matches(req, write_head(resp, status.submission, _shown_enrollment(status, now), now)):
            resp.status = HTTPStatus.NOT_MODIFIED
            return
        write_status(resp, status, now)

    on_head = on_get

    async def _awaited(
        self, req: Request, status: Status, caller: Caller, seconds: float
    ) -> Status:
        """With If-None-Match until the tag differs, else until it is done."""
        deadline = time.monotonic() + seconds
        conditional = req.get_header("If-None-Match") is not None
        while True:
            submission = status.submission
            over = submission.finished_at is not None
            if over or (conditional and not matches(req, etag(submission))):
                return status
            left = deadline - time.monotonic()
            if left <= 0:
                return status
            if submission.batch_id is None:
                await self.waiters.until_moved(submission.id, min(left, LOOK_SECONDS))
            else:
                await self.waiters.until_answered(submission.batch_id, min(left, LOOK_SECONDS))
            status = await self.records.read(answers.status, submission.id, caller)


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
    return submissions.ask_cancel(session, wanted, whose, now=clock(session))
