"""Parses and renders learners."""

from collections.abc import Mapping
from typing import TypedDict

from marshmallow import ValidationError

from enrollment.domain.model import Learner
from schemas.fields import Email, StrictBoolean, StrictSchema, Username, parse_username


class LearnerSchema(StrictSchema):
    """A person who can be enrolled."""

    username = Username(required=True)
    email = Email(allow_none=True)
    is_active = StrictBoolean()
    is_staff = StrictBoolean()


LEARNER_SCHEMA = LearnerSchema()


class LearnerJson(TypedDict):
    """A person who can be enrolled."""

    username: str
    email: str | None
    is_active: bool
    is_staff: bool


def load_learner(data: object, *, username: str | None = None) -> Learner:
    """Parses a learner; `username` is that of the URL (canonical), which the body may omit.

    Raises marshmallow's ValidationError, with rules as messages.
    """
    if username is not None and isinstance(data, Mapping):
        named = data.get("username", username)
        if not isinstance(named, str) or parse_username(named) != username:
            raise ValidationError({"username": ["mismatch"]})
        data = {**data, "username": username}
    return Learner(**LEARNER_SCHEMA.load(data))  # type: ignore[arg-type]


def dump_learner(learner: Learner) -> LearnerJson:
    """Renders a learner."""
    return {
        "username": learner.username,
        "email": learner.email,
        "is_active": learner.is_active,
        "is_staff": learner.is_staff,
    }
