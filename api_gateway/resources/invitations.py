"""`/invitations/{course_id}/{email}`: permission to enroll in closed and invite-only courses."""

from collections.abc import Callable
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.database import Database
from api_gateway.http.problems import bad_request
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import load_checked, read_object
from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.errors import InvitationNotFound
from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from schemas.fields import email_rule, parse_email
from schemas.findings import finding
from schemas.invitations import dump_invitation, load_invitation


class SavedInvitation(NamedTuple):
    """The result of a PUT."""

    invitation: Invitation
    is_new: bool


class InvitationResource:
    """One invitation; its course need not exist yet."""

    def __init__(self, database: Database, *, now: Callable[[], datetime]) -> None:
        self._database = database
        self._now = now

    async def on_get(self, req: Request, resp: Response, rest: str) -> None:
        """Responds with the invitation."""
        course_id, email = parse_invitation_path(rest)
        invitation = await self._database.read(invitations.find, course_id, email)
        if invitation is None:
            raise InvitationNotFound(rest)
        write_json(resp, dump_invitation(invitation))

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, rest: str) -> None:
        """Creates or changes the invitation; one that was used stays used."""
        course_id, email = parse_invitation_path(rest)
        load = partial(load_invitation, course_id=course_id, email=email)
        if has_body(req):
            invitation = await read_object(req, self._database, load)
        else:
            invitation = load_checked(load, {})
        saved = await self._database.write(put_invitation, invitation, now=self._now())
        status = HTTPStatus.CREATED if saved.is_new else HTTPStatus.OK
        write_json(resp, dump_invitation(saved.invitation), status)

    async def on_delete(self, req: Request, resp: Response, rest: str) -> None:
        """Deletes the invitation."""
        await self._database.write(invitations.delete, *parse_invitation_path(rest))
        resp.status = HTTPStatus.NO_CONTENT


def has_body(req: Request) -> bool:
    """Returns whether the request has a body."""
    return bool(req.content_length) or req.get_header("Transfer-Encoding") is not None


def parse_invitation_path(rest: str) -> tuple[str, str]:
    """Parses course id (it may contain slashes) and e-mail. Raises Problem 400."""
    course_id, text = _split_path(rest)
    email = parse_email(text)
    if parse_course_key(course_id) is None:
        found = finding("course_id", course_id, "course_key")
        raise bad_request("invalid_course_id", "The URL contains no valid course key.", found)
    if email is None:
        found = finding("email", text, email_rule(text))
        raise bad_request("invalid_email", "The URL contains no valid e-mail address.", found)
    return course_id, email


def _split_path(rest: str) -> tuple[str, str]:
    """Splits behind the first course key, as an e-mail address may contain slashes, too."""
    places = [place for place, sign in enumerate(rest) if sign == "/"]
    for place in places:
        if parse_course_key(rest[:place]) is not None:
            return rest[:place], rest[place + 1 :]
    if parse_course_key(rest) is not None:
        return rest, ""
    course_id, _, text = rest.rpartition("/")
    return course_id, text


def put_invitation(session: Session, invitation: Invitation, *, now: datetime) -> SavedInvitation:
    """Saves an invitation; returns it with the learner who used it."""
    before = invitations.find(session, invitation.course_id, invitation.email)
    invitations.save(session, invitation, now=now)
    used_by = None if before is None else before.used_by
    return SavedInvitation(invitation._replace(used_by=used_by), before is None)
