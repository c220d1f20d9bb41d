"""``/invitations/{course_id}/{email}``: leave to enroll in closed and invite-only courses."""

from collections.abc import Callable
from datetime import datetime
from http import HTTPStatus
from typing import NamedTuple

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway import media
from api_gateway.problems import bad_request
from api_gateway.records import Records
from api_gateway.resources.bodies import MAX_BODY, checked
from enrollment.domain.coursekeys import parse_course_key
from enrollment.domain.errors import InvitationNotFound
from enrollment.domain.model import Invitation
from enrollment.storage import invitations
from schemas.fields import parse_email
from schemas.invitations import dump_invitation, load_invitation


class Put(NamedTuple):
    """An invitation as it is after a PUT."""

    invitation: Invitation
    is_new: bool


class InvitationResource:
    """One invitation; the course need not exist yet."""

    def __init__(self, records: Records, *, now: Callable[[], datetime]) -> None:
        self._records = records
        self._now = now

    async def on_get(self, req: Request, resp: Response, rest: str) -> None:
        """The invitation."""
        course_id, email = named_in(rest)
        invitation = await self._records.read(invitations.find, course_id, email)
        if invitation is None:
            raise InvitationNotFound(rest)
        media.write_json(resp, dump_invitation(invitation))

    on_head = on_get

    async def on_put(self, req: Request, resp: Response, rest: str) -> None:
        """Make the invitation or change it; one that was used stays used."""
        course_id, email = named_in(rest)
        data = await media.read_json(req, MAX_BODY) if has_body(req) else {}
        asked = checked(lambda: load_invitation(data, course_id=course_id, email=email), data)
        put = await self._records.write(put_invitation, asked, now=self._now())
        status = HTTPStatus.CREATED if put.is_new else HTTPStatus.OK
        media.write_json(resp, dump_invitation(put.invitation), status)

    async def on_delete(self, req: Request, resp: Response, rest: str) -> None:
        """Take the invitation back."""
        await self._records.write(invitations.delete, *named_in(rest))
        resp.status = HTTPStatus.NO_CONTENT


def has_body(req: Request) -> bool:
    """Whether anything follows the head of the request."""
    return bool(req.content_length) or req.get_header("Transfer-Encoding") is not None


def named_in(rest: str) -> tuple[str, str]:
    """The course id and the e-mail of an address; a course id may hold slashes, an e-mail none."""
    course_id, _, text = rest.rpartition("/")
    email = parse_email(text)
    if parse_course_key(course_id) is None:
        found = {"field": "course_id", "value": course_id[:100], "rule": "course_key"}
        raise bad_request("invalid_course_id", "The address names no course key.", found)
    if email is None:
        found = {"field": "email", "value": text[:100], "rule": "email"}
        raise bad_request("invalid_email", "The address names no e-mail.", found)
    return course_id, email


def put_invitation(session: Session, asked: Invitation, *, now: datetime) -> Put:
    """Save an invitation and read it back with who used it."""
    before = invitations.find(session, asked.course_id, asked.email)
    invitations.save(session, asked, now=now)
    used_by = None if before is None else before.used_by
    return Put(asked._replace(used_by=used_by), before is None)
