"""Parses and renders allowed enrollments: invitations in the form of Open edX."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypedDict

from enrollment.domain.model import Invitation
from enrollment.domain.rules import format_timestamp
from schemas.encoding.json_types import Doc, Timestamp
from schemas.fields import CourseId, Email, OpenSchema, StrictBoolean

MISSING_FIELDS = "Please provide a value for 'email' and 'course_id' in the request data."
_WORDS: Mapping[str, bool] = {
    **dict.fromkeys(("true", "True", "TRUE", "1", "on"), True),
    **dict.fromkeys(("false", "False", "FALSE", "0", "off", ""), False),
}


class FormBoolean(StrictBoolean):
    """A boolean; in a form it is a word."""

    def _deserialize(self, value: Any, attr: Any, data: Any, **kwargs: Any) -> bool:
        known = _WORDS.get(value, value) if isinstance(value, str) else value
        return super()._deserialize(known, attr, data, **kwargs)


class AllowedSchema(OpenSchema):
    """An allowed enrollment."""

    email = Email(required=True)
    course_id = CourseId(required=True)
    auto_enroll = FormBoolean()


class AllowedKeySchema(OpenSchema):
    """The members that identify an allowed enrollment."""

    email = Email(required=True)
    course_id = CourseId(required=True)


_SCHEMA, _KEY_SCHEMA = AllowedSchema(), AllowedKeySchema()


class AllowedJson(TypedDict):
    """An invitation in the form of Open edX, which calls it an allowed enrollment."""

    email: str
    course_id: str
    auto_enroll: bool
    user: Annotated[str | None, Doc("The learner who used it.")]
    created: Timestamp


def names_allowed(body: Mapping[str, object]) -> bool:
    """Returns whether a body has an e-mail address and a course."""
    return bool(body.get("email")) and bool(body.get("course_id"))


def load_allowed(body: object) -> Invitation:
    """Parses an invitation. Raises marshmallow's ValidationError, with rules as messages."""
    members: Any = _SCHEMA.load(body)  # type: ignore[arg-type]
    return Invitation(**members)


def load_allowed_key(body: object) -> tuple[str, str]:
    """Parses course and e-mail. Raises marshmallow's ValidationError, with rules as messages."""
    members: Any = _KEY_SCHEMA.load(body)  # type: ignore[arg-type]
    return members["course_id"], members["email"]


def dump_allowed(invitation: Invitation, created: datetime) -> AllowedJson:
    """Renders an invitation."""
    return {
        "email": invitation.email,
        "course_id": invitation.course_id,
        "auto_enroll": invitation.auto_enroll,
        "user": invitation.used_by,
        "created": format_timestamp(created),
    }
