"""``/enrollment/{username},{course_id}``: one enrollment, and its history."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.auth.permissions import may_read_about
from api_gateway.database import Database
from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.responses import keep_private, write_json
from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.model import Course
from enrollment.storage import courses, events
from enrollment.storage.views import enrollment_views
from enrollment.storage.views.enrollment_views import EnrollmentView
from schemas.enrollments import dump_enrollment
from schemas.events import EventJson, HistoryJson, dump_event
from schemas.fields import is_storable

_HISTORY = "/history"


class PathParts(NamedTuple):
    """The parts of the path: username (None for a key alone), course, whether history."""

    username: str | None
    course_id: str
    history: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentDetailResource:
    """``{username},{course_id}``, ``{course_id}`` alone for oneself, ``…/history``."""

    database: Database
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response, names: str) -> None:
        """One enrollment, active or not; if there is none, 200 with an empty body as Open edX."""
        caller: Caller = req.context.caller
        keep_private(resp)
        wanted = parse_path(names, caller)
        if not may_read_about(caller, wanted.username):
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", "Not found.", empty=True)
        username = wanted.username or ""
        if wanted.history:
            events = await self.database.read(_history, username, wanted.course_id)
            history: HistoryJson = {"events": events}
            if events and events[0]["data"]["before"] is not None:
                history["truncated"] = True
            write_json(resp, history)
            return
        found = await self.database.read(_one, username, wanted.course_id)
        if found is not None:
            kept, course = found
            shown = dump_enrollment(kept.username, kept.enrollment, course, at=self.now())
            write_json(resp, shown)

    on_head = on_get


def parse_path(names: str, caller: Caller) -> PathParts:
    """Parse the path: username, comma, course. Raises Problem 400 without a course key."""
    before, comma, after = names.partition(",")
    username, rest = (before, after) if comma else (caller.username, names)
    if parse_course_key(rest) is not None:
        return PathParts(username, rest, history=False)
    course_id = rest.removesuffix(_HISTORY)
    if course_id != rest and parse_course_key(course_id) is not None:
        return PathParts(username, course_id, history=True)
    raise bad_request("invalid_row", f"'{rest[:255]}' is not a valid course id.")


def _one(
    session: Session, username: str, course_id: str
) -> tuple[EnrollmentView, Course | None] | None:
    if not is_storable(username):
        return None
    kept = enrollment_views.find(session, username, course_id)
    return None if kept is None else (kept, courses.find(session, course_id))


def _history(session: Session, username: str, course_id: str) -> list[EventJson]:
    if not is_storable(username):
        return []
    newest = enrollment_views.newest_event(session, username, course_id)
    if newest is None:
        return []
    return [dump_event(event) for event in events.history(session, newest)]
