"""Parses and renders invitations."""

from typing import Any, TypedDict

from enrollment.domain.model import Invitation
from enrollment.domain.rules import format_timestamp
from schemas.encoding.json_types import Timestamp
from schemas.fields import StrictBoolean, StrictSchema, TimestampField


class InvitationSchema(StrictSchema):
    """The body of an invitation; course and e-mail are in the URL."""

    expires_at = TimestampField(allow_none=True)
    auto_enroll = StrictBoolean()


INVITATION_SCHEMA = InvitationSchema()


class InvitationJson(TypedDict):
    """Permission to enroll in a closed or invite-only course."""

    course_id: str
    email: str
    expires_at: Timestamp | None
    auto_enroll: bool
    used_by: str | None


def load_invitation(data: object, *, course_id: str, email: str) -> Invitation:
    """Parses an invitation. Raises marshmallow's ValidationError, with rules as messages."""
    members: Any = INVITATION_SCHEMA.load(data)  # type: ignore[arg-type]
    return Invitation(course_id, email, **members)


def dump_invitation(invitation: Invitation) -> InvitationJson:
    """Renders an invitation."""
    expires_at = invitation.expires_at
    return {
        "course_id": invitation.course_id,
        "email": invitation.email,
        "expires_at": None if expires_at is None else format_timestamp(expires_at),
        "auto_enroll": invitation.auto_enroll,
        "used_by": invitation.used_by,
    }
