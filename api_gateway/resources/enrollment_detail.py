"""`/enrollment/{username},{course_id}`: one enrollment and its history.

See "Not enrolled" in docs/openedx-compatibility.md.
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.auth.permissions import may_read_about
from api_gateway.database import Database
from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.query_parameters import DeclaredParameters, unknown_parameter
from api_gateway.http.responses import JSON_TYPE, write_json
from api_gateway.reads.enrollment_reads import EnrollmentReads
from api_gateway.resources.courses import check_course_key
from enrollment.domain.course_keys import MAX_COURSE_ID, parse_course_key
from enrollment.domain.identity import canonical_text
from enrollment.storage import events
from enrollment.storage.destinations import arrivals
from enrollment.storage.outbox.installation import installation_id
from enrollment.storage.views import enrollment_views
from schemas.destinations.deliveries import dump_arrival
from schemas.events import HistoryJson, dump_event, event_source
from schemas.fields import is_storable
from schemas.findings import Rule, finding

_HISTORY = "/history"
_NO_PARAMETERS = DeclaredParameters(frozenset(), "invalid_parameter")


class PathParts(NamedTuple):
    """The parts of the path; `history` selects the events instead of the state."""

    #: None for a caller without a username who names only the course.
    username: str | None
    course_id: str
    history: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentDetailResource:
    """`{username},{course_id}`, or `{course_id}` for the caller's own, each with `/history`."""

    database: Database
    reads: EnrollmentReads

    async def on_get(self, req: Request, resp: Response, names: str) -> None:
        """Responds with the enrollment; without one, as Open edX, with an empty 200."""
        caller: Caller = req.context.caller
        parts = parse_detail_path(names, caller)
        if not may_read_about(caller, parts.username):
            is_state = not parts.history
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", "Not found.", empty=is_state)
        username = parts.username or ""
        if parts.history:
            for name, value in req.params.items():
                raise unknown_parameter(name, value, _NO_PARAMETERS)
            write_json(resp, await self.database.read(_read_history, username, parts.course_id))
            return
        found = await self.reads.find(username, parts.course_id)
        if found is not None:
            resp.content_type = JSON_TYPE
            resp.data = found

    on_head = on_get


def parse_detail_path(names: str, caller: Caller) -> PathParts:
    """Parses the path. Raises Problem 400 if it has no valid course key."""
    before, comma, after = names.partition(",")
    username, rest = (canonical_text(before), after) if comma else (caller.username, names)
    if parse_course_key(rest) is not None:
        return PathParts(username, rest, history=False)
    if rest.endswith(_HISTORY):
        return PathParts(username, check_course_key(rest.removesuffix(_HISTORY)), history=True)
    found = finding("course_id", rest, Rule.COURSE_KEY)
    raise bad_request("invalid_row", f"'{rest[:MAX_COURSE_ID]}' is not a valid course id.", found)


def is_history(names: str) -> bool:
    """Returns whether the path is that of a history: `org/course/history` is a course key, too."""
    before, comma, after = names.partition(",")
    rest = after if comma else before
    return rest.endswith(_HISTORY) and parse_course_key(rest) is None


def _read_history(session: Session, username: str, course_id: str) -> HistoryJson:
    newest = None
    if is_storable(username):
        newest = enrollment_views.newest_event(session, username, course_id)
    if newest is None:
        return {"events": []}
    found = events.history(session, newest)
    source = event_source(installation_id(session))
    history: HistoryJson = {"events": [dump_event(each, source=source) for each in found]}
    if found and found[0].before is not None:
        history["truncated"] = True
    arrived = arrivals.find_arrivals(session, [(course_id, username)])
    if found and arrived:
        position = found[-1].position
        history["destinations"] = [dump_arrival(each.for_change(position)) for each in arrived]
    return history
