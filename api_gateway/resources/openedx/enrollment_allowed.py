"""`/enrollment_allowed`: invitations, in the form of Open edX.

See "Allowed enrollments" in docs/openedx-compatibility.md.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from http import HTTPStatus
from typing import Any, NamedTuple
from uuid import uuid4

from falcon.asgi import Request, Response
from sqlalchemy.orm import Session

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.http.fingerprint import fingerprint_of_value
from api_gateway.http.headers import read_idempotency_key, restore_plus
from api_gateway.http.openedx_body import read_openedx_body
from api_gateway.http.problems import Problem, bad_request
from api_gateway.http.responses import write_json
from api_gateway.resources.common.bulk_body import load_checked
from api_gateway.resources.common.idempotent_write import run_once
from enrollment.domain.errors import InvitationNotFound
from enrollment.domain.model import Invitation
from enrollment.storage import invitations, learners
from enrollment.storage.idempotency import KeyUse
from enrollment.storage.invitations import StoredInvitation
from schemas.fields import parse_email
from schemas.openedx.enrollment_allowed import (
    MISSING_FIELDS,
    dump_allowed,
    load_allowed,
    load_allowed_key,
    names_allowed,
)

#: Maximum bytes of a body.
MAX_ALLOWED_BODY = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class EnrollmentAllowedResource:
    """The invitations of one e-mail address; their courses need not exist yet."""

    database: Database
    now: Callable[[], datetime]

    async def on_get(self, req: Request, resp: Response) -> None:
        """Lists the invitations of an e-mail address, by default the caller's, oldest first."""
        caller: Caller = req.context.caller
        email = req.get_param("email")
        # A plus sign that was not percent-encoded arrives as a space, which no address contains.
        wanted = None if email is None else parse_email(restore_plus(email)) or ""
        found = await self.database.read(_find_all, wanted, caller)
        write_json(resp, [dump_allowed(*one) for one in found])

    on_head = on_get

    async def on_post(self, req: Request, resp: Response) -> None:
        """Creates an invitation. Raises Problem 409 where it exists."""
        key = read_idempotency_key(req)
        body = await read_openedx_body(req, MAX_ALLOWED_BODY)
        _check_complete(body)
        invitation = load_checked(load_allowed, body)
        use = None if key is None else _key_use(req, key, body)
        stored = await self.database.write(_insert_once, invitation, use, now=self.now())
        if stored.is_replay:
            resp.set_header("Idempotency-Replayed", "true")
        write_json(resp, dump_allowed(*stored.invitation), HTTPStatus.CREATED)

    async def on_delete(self, req: Request, resp: Response) -> None:
        """Deletes an invitation that the body names. Raises Problem 404."""
        body = await read_openedx_body(req, MAX_ALLOWED_BODY)
        _check_complete(body)
        course_id, email = load_checked(load_allowed_key, body)
        try:
            await self.database.write(invitations.delete, course_id, email)
        except InvitationNotFound as error:
            text = (
                f"An enrollment allowed with email {email} and course {course_id} doesn't exists."
            )
            raise Problem(HTTPStatus.NOT_FOUND, "not_found", text) from error
        resp.status = HTTPStatus.NO_CONTENT


class _Inserted(NamedTuple):
    """An invitation that this request created, or a first one with the same key."""

    invitation: StoredInvitation
    is_replay: bool


def _check_complete(body: Mapping[str, Any]) -> None:
    """Raises Problem 400 where the e-mail address or the course is missing."""
    if not names_allowed(body):
        raise bad_request("invalid_body", MISSING_FIELDS)


def _key_use(req: Request, key: str, body: Mapping[str, Any]) -> KeyUse:
    caller: Caller = req.context.caller
    return KeyUse(caller.name, key, fingerprint_of_value(req, body), uuid4())


def _insert_once(
    session: Session, invitation: Invitation, use: KeyUse | None, *, now: datetime
) -> _Inserted:
    """Inserts an invitation, unless the key was used for it. Raises Problem 409, KeyReused."""
    is_replay = run_once(session, use, partial(_insert, session, invitation, now=now))
    stored = invitations.find_stored(session, invitation.course_id, invitation.email)
    return _Inserted(stored or StoredInvitation(invitation, now), is_replay)


def _insert(session: Session, invitation: Invitation, *, now: datetime) -> None:
    if not invitations.insert(session, invitation, now=now):
        text = (
            f"An enrollment allowed with email {invitation.email} and course "
            f"{invitation.course_id} already exists."
        )
        raise Problem(HTTPStatus.CONFLICT, "already_exists", text)


def _find_all(session: Session, email: str | None, caller: Caller) -> list[StoredInvitation]:
    """Returns the invitations of an e-mail address; None stands for the caller's."""
    if email is None:
        known = None
        if caller.username is not None:
            known = learners.find(session, caller.username)
        email = caller.email or (known.email if known is not None else None) or ""
    return invitations.find_by_email(session, email) if email else []
