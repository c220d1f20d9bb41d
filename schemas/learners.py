"""Parses and renders learners."""

from collections.abc import Mapping
from typing import Annotated, Any, TypedDict

from marshmallow import ValidationError, fields, pre_load

from enrollment.domain.model import Learner
from schemas.encoding.json_types import Doc
from schemas.fields import Email, StrictBoolean, StrictSchema, Username, parse_username


class LearnerSchema(StrictSchema):
    """A person who can be enrolled."""

    username = Username(required=True)
    email = Email(allow_none=True)
    is_active = StrictBoolean()
    is_staff = StrictBoolean()
    retiring = StrictBoolean(attribute="is_retiring")
    #: Stated with enrollments; ignored in requests.
    email_opt_in = fields.Dict(keys=fields.String(), values=StrictBoolean(), dump_only=True)

    @pre_load
    def drop_opt_ins(self, data: Any, **_: object) -> Any:
        """Drops `email_opt_in`, so that a response can be sent back unchanged."""
        if not isinstance(data, Mapping) or "email_opt_in" not in data:
            return data
        return {name: value for name, value in data.items() if name != "email_opt_in"}


LEARNER_SCHEMA = LearnerSchema()


class LearnerJson(TypedDict):
    """A person who can be enrolled."""

    username: str
    email: str | None
    is_active: bool
    is_staff: bool
    retiring: Annotated[bool, Doc("Asked to leave: POST /unenroll withdraws the learner.")]
    email_opt_in: Annotated[
        dict[str, bool], Doc("What the learner stated, by organization; read only.")
    ]


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


def dump_learner(learner: Learner, opt_ins: Mapping[str, bool]) -> LearnerJson:
    """Renders a learner, with what they stated about e-mail by organization."""
    return {
        "username": learner.username,
        "email": learner.email,
        "is_active": learner.is_active,
        "is_staff": learner.is_staff,
        "retiring": learner.is_retiring,
        "email_opt_in": dict(opt_ins),
    }
