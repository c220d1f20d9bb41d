"""The shape of one request: to enroll, to change, to withdraw."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, pre_load, validate

from enrollment.domain.model import Attribute
from schemas.fast_parser import read_request
from schemas.fields import EMAIL, MAX_EMAIL, MAX_MODE, MAX_NAME, USERNAME, is_storable
from schemas.parsed import (
    MAX_ATTRIBUTE_TEXT,
    MAX_ATTRIBUTES,
    MAX_COHORT,
    AskedRequest,
    Finding,
    ShapeError,
    finding,
    is_course_key,
    moment,
    shown,
)

#: Where an empty text says nothing; elsewhere it is a value, and one of the wrong type.
_MAY_BE_EMPTY = frozenset({"user", "email", "course_id", "mode", "cohort", "requested_at"})
#: An error's text is the name of the rule that it breaks.
_RULES: dict[str, Any] = {"required": "required", "null": "type", "invalid": "type", "type": "type"}


def _storable(text: str) -> None:
    if not is_storable(text):
        raise ValidationError("characters")


def _username(text: str) -> None:
    if USERNAME.fullmatch(text) is None:
        raise ValidationError("pattern")


def _email(text: str) -> None:
    if EMAIL.fullmatch(text) is None:
        raise ValidationError("pattern")


def _course_key(text: str) -> None:
    if not is_course_key(text):
        raise ValidationError("course_key")


def _at_most(limit: int) -> validate.Length:
    return validate.Length(max=limit, error="length")


class Flag(fields.Boolean):
    """True or false; neither words nor numbers stand for them."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> bool:
        if type(value) is not bool:
            raise self.make_error("invalid", input=value)
        return value


class LowerCase(fields.String):
    """A text whose case says nothing."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        return str(super()._deserialize(value, *args, **kwargs)).lower()


class Instant(fields.DateTime):
    """A point in time: ISO 8601 with its zone."""

    def _deserialize(self, value: Any, *_: Any, **__: Any) -> datetime:
        named = moment(value) if isinstance(value, str) else None
        if named is None:
            raise ValidationError("datetime")
        return named


def _text(*checks: Any, **options: Any) -> fields.String:
    return fields.String(validate=list(checks), error_messages=_RULES, **options)


class AttributeSchema(Schema):
    """One named value kept beside an enrollment."""

    class Meta:
        """Other keys are not ours."""

        unknown = EXCLUDE

    error_messages = _RULES
    namespace = _text(_at_most(MAX_ATTRIBUTE_TEXT), _storable, required=True)
    name = _text(_at_most(MAX_ATTRIBUTE_TEXT), _storable, required=True)
    value = _text(_at_most(MAX_ATTRIBUTE_TEXT), _storable, required=True)

    @post_load
    def make_attribute(self, data: dict[str, str], **_: object) -> Attribute:
        """Hand the domain its own value."""
        return Attribute(**data)


class CourseDetailsSchema(Schema):
    """Where upstream's clients put the course id; nothing else in it is read."""

    class Meta:
        """Clients send more in it."""

        unknown = EXCLUDE

    error_messages = _RULES
    course_id = fields.Raw(allow_none=True, metadata={"type": "string"})


class RequestSchema(Schema):
    """One learner, one course, and what is wished."""

    class Meta:
        """Real clients send keys that are not for us."""

        unknown = EXCLUDE

    error_messages = _RULES
    user = _text(_at_most(MAX_NAME), _username)
    email = LowerCase(validate=[_at_most(MAX_EMAIL), _email], error_messages=_RULES)
    course_id = _text(_course_key, required=True)
    course_details = fields.Nested(CourseDetailsSchema, error_messages=_RULES)
    mode = _text(_at_most(MAX_MODE), _storable)
    is_active = Flag(load_default=True, error_messages=_RULES)
    enrollment_attributes = fields.List(
        fields.Nested(AttributeSchema, error_messages=_RULES),
        validate=_at_most(MAX_ATTRIBUTES),
        error_messages=_RULES,
    )
    cohort = _text(_at_most(MAX_COHORT), _storable)
    force_enrollment = Flag(load_default=False, error_messages=_RULES)
    requested_at = Instant(error_messages=_RULES)

    @pre_load
    def leave_out_what_is_absent(self, data: Any, **_: object) -> Any:
        """What is null, or an empty text where a text may stand, was not sent."""
        return stated(data) if isinstance(data, Mapping) else data

    @post_load
    def make_request(self, data: dict[str, Any], **_: object) -> AskedRequest:
        """Hand over one value, never a loose dict."""
        attributes = data.get("enrollment_attributes")
        return AskedRequest(
            username=data.get("user"),
            email=data.get("email"),
            course_id=data["course_id"],
            is_active=data["is_active"],
            mode=data.get("mode"),
            attributes=None if attributes is None else tuple(attributes),
            cohort=data.get("cohort"),
            force=data["force_enrollment"],
            requested_at=data.get("requested_at"),
        )


_SCHEMA = RequestSchema()


def stated(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without what is absent, the course id in its one place."""
    details = body.get("course_details")
    named = details.get("course_id") if isinstance(details, Mapping) else None
    given = {**body, "course_id": named or body.get("course_id")}
    for key in ("user", "email", "course_id"):
        if not given.get(key):
            given.pop(key, None)
    return {
        key: value
        for key, value in given.items()
        if value is not None and not (value == "" and key in _MAY_BE_EMPTY)
    }


def load_request(body: object) -> AskedRequest:
    """Read one request. Raises ShapeError with everything that is wrong."""
    asked = read_request(body)
    if asked is not None:
        return asked
    try:
        checked: AskedRequest = _SCHEMA.load(body)  # type: ignore[arg-type, unused-ignore]
    except ValidationError as error:
        given = stated(body) if isinstance(body, Mapping) else body
        raise ShapeError([*_findings(error.messages, given, ())]) from error
    return checked


def _findings(messages: Any, value: Any, path: tuple[str, ...]) -> Iterator[Finding]:
    """Walk marshmallow's tree of messages; the first broken rule of a field is told."""
    if not isinstance(messages, Mapping):
        yield finding(".".join(path), value, messages[0])
        return
    for key, below in messages.items():
        if key == "_schema":
            yield from _findings(below, value, path)
        else:
            yield from _findings(below, _part(value, key), (*path, str(key)))


def _part(value: Any, key: Any) -> Any:
    if isinstance(value, Mapping):
        return value.get(key)
    return value[key] if isinstance(value, Sequence) and isinstance(key, int) else None


#: What upstream looks at first, it complains about first.
_V1_ORDER = (
    "course_details",
    "course_id",
    "is_active",
    "force_enrollment",
    "enrollment_attributes",
)


def v1_message(findings: Iterable[Finding]) -> str:
    """What upstream says of the first of these."""
    first = min(findings, key=_v1_rank)
    field, value, rule = str(first["field"]), first["value"], first["rule"]
    match field.split("."):
        case ["course_id"] if rule != "required":
            return f"No course '{value}' found for enrollment"
        case ["course_id" | "course_details", *_]:
            return "Course ID must be specified to create a new enrollment."
        case ["is_active"]:
            return f"'{value}' is an invalid enrollment activation status."
        case ["force_enrollment"]:
            return f"'{value}' is an invalid force enrollment status."
        case ["enrollment_attributes", _, part] if rule == "required":
            return f"'{part}' not in enrollment attribute"
    where = field or "body"
    return f"'{shown(value)}' is not a valid {where} ({rule})."


def _v1_rank(found: Finding) -> int:
    head = str(found["field"]).split(".")[0]
    return _V1_ORDER.index(head) if head in _V1_ORDER else len(_V1_ORDER)
