"""The marshmallow schema of one request: to enroll, to change, to withdraw."""

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, pre_load, validate

from enrollment.domain.model import Attribute
from schemas.fields import (
    ERROR_RULES,
    MAX_EMAIL,
    MAX_MODE,
    MAX_NAME,
    BoundedList,
    BoundedString,
    Nested,
    OpenSchema,
    StrictBoolean,
    TimestampField,
    email_rule,
    is_course_key,
    parse_email,
    parse_username,
    username_rule,
)
from schemas.findings import Finding, first_findings_of
from schemas.identity.damaged_ids import is_damaged_id
from schemas.messages.finding_messages import describe_finding
from schemas.requests.fast_parser import parse_request_fast
from schemas.requests.near_miss import (
    CLIENT_MEMBERS,
    ignored_members,
    is_read_whole,
    misplaced_members,
    unknown_members,
)
from schemas.requests.parsed import (
    MAX_ATTRIBUTE_TEXT,
    MAX_ATTRIBUTES,
    MAX_COHORT,
    InvalidRequest,
    ParsedRequest,
    ReceivedRequest,
)

#: Members in which an empty text means "absent"; in others it has the wrong type.
_MAY_BE_EMPTY = frozenset({"user", "email", "course_id", "mode", "cohort", "requested_at"})


def _course_key(text: str) -> None:
    if not is_course_key(text):
        raise ValidationError("damaged_id" if is_damaged_id(text) else "course_key")


class Identifier(fields.String):
    """A text that is checked by its own rules only."""

    default_error_messages = ERROR_RULES


class LearnerName(Identifier):
    """A username, in its canonical form."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, *args, **kwargs))
        username = parse_username(text)
        if username is None:
            raise ValidationError("damaged_id" if is_damaged_id(text) else username_rule(text))
        return username


class LearnerEmail(Identifier):
    """An e-mail address, in its canonical form."""

    def _deserialize(self, value: Any, *args: Any, **kwargs: Any) -> str:
        text = str(super()._deserialize(value, *args, **kwargs))
        email = parse_email(text)
        if email is None:
            rule = "damaged_id" if is_damaged_id(text) else email_rule(text, "pattern")
            raise ValidationError(rule)
        return email


def _at_most(limit: int) -> validate.Length:
    return validate.Length(max=limit, error="length")


def _attribute_text() -> BoundedString:
    return BoundedString(
        max_length=MAX_ATTRIBUTE_TEXT, required=True, error_messages={"null": "type"}
    )


class AttributeSchema(OpenSchema):
    """One named value stored with an enrollment."""

    namespace = _attribute_text()
    name = _attribute_text()
    value = _attribute_text()

    @post_load
    def make_attribute(self, data: dict[str, str], **_: object) -> Attribute:
        """Returns the domain's own value."""
        return Attribute(**data)


class CourseDetailsSchema(OpenSchema):
    """The object in which clients of Open edX send the course id; other members are ignored."""

    course_id = fields.Raw(allow_none=True, metadata={"type": "string"})


class RequestSchema(OpenSchema):
    """One learner, one course, and the change that is requested.

    Clients of Open edX send members that are not for this service, so unknown ones are allowed.
    """

    user = LearnerName(validate=_at_most(MAX_NAME))
    email = LearnerEmail(validate=_at_most(MAX_EMAIL))
    course_id = Identifier(validate=_course_key, required=True)
    course_details = Nested(CourseDetailsSchema)
    mode = BoundedString(max_length=MAX_MODE)
    is_active = StrictBoolean(load_default=True)
    enrollment_attributes = BoundedList(
        Nested(AttributeSchema, error_messages={"null": "type"}), max_items=MAX_ATTRIBUTES
    )
    cohort = BoundedString(max_length=MAX_COHORT)
    force_enrollment = StrictBoolean(load_default=False)
    requested_at = TimestampField(error_messages={"invalid": "datetime"})
    email_opt_in = StrictBoolean()

    @pre_load
    def drop_absent_members(self, data: Any, **_: object) -> Any:
        """Drops members that are null, or empty where a text is expected."""
        return without_absent(data) if isinstance(data, Mapping) else data

    @post_load
    def make_request(self, data: dict[str, Any], **_: object) -> ParsedRequest:
        """Returns one value instead of a dict."""
        attributes = data.get("enrollment_attributes")
        return ParsedRequest(
            username=data.get("user"),
            email=data.get("email"),
            course_id=data["course_id"],
            is_active=data["is_active"],
            mode=data.get("mode"),
            attributes=None if attributes is None else tuple(attributes),
            cohort=data.get("cohort"),
            force=data["force_enrollment"],
            requested_at=data.get("requested_at"),
            email_opt_in=data.get("email_opt_in"),
        )


_SCHEMA = RequestSchema()


def without_absent(body: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the body without absent members; `course_details` is read into the members beside.

    Mobile clients send an opt-in in there as well, or an e-mail address in its place, which is
    ignored (Open edX: Ignored members).
    """
    details = body.get("course_details")
    if not isinstance(details, Mapping):
        details = {}
    given = {**body, "course_id": details.get("course_id") or body.get("course_id")}
    if given.get("email_opt_in") is None and isinstance(details.get("email_opt_in"), bool):
        given["email_opt_in"] = details["email_opt_in"]
    for key in ("user", "email", "course_id"):
        if not given.get(key):
            given.pop(key, None)
    return {
        key: value
        for key, value in given.items()
        if value is not None and not (value == "" and key in _MAY_BE_EMPTY)
    }


def load_request(body: object) -> ParsedRequest:
    """Parses one request. Raises InvalidRequest with every finding."""
    parsed = parse_request_fast(body)
    if parsed is not None:
        return parsed
    try:
        checked: ParsedRequest = _SCHEMA.load(body)  # type: ignore[arg-type, unused-ignore]
    except ValidationError as error:
        given = without_absent(body) if isinstance(body, Mapping) else body
        raise InvalidRequest(first_findings_of(error, given)) from error
    return checked


def load_single(body: object) -> ReceivedRequest:
    """Parses a single request; members that are not read are named in the result.

    Raises InvalidRequest with every finding, also about members that look like ones that are read
    unless clients are known to send them.
    """
    if type(body) is not dict or is_read_whole(body):
        return ReceivedRequest(load_request(body))
    misspelt = [*unknown_members(body, CLIENT_MEMBERS), *misplaced_members(body)]
    try:
        request = load_request(body)
    except InvalidRequest as error:
        raise InvalidRequest([*error.findings, *misspelt]) from error
    if misspelt:
        raise InvalidRequest(misspelt)
    return ReceivedRequest(request, ignored_members(body))


#: The order in which Open edX checks members, and so reports errors.
_V1_ORDER = (
    "course_details",
    "course_id",
    "is_active",
    "force_enrollment",
    "enrollment_attributes",
)


def has_course_finding(findings: Iterable[Finding]) -> bool:
    """Returns whether the course is what Open edX would report first: it checks that before all."""
    return min(map(_v1_rank, findings)) < _V1_ORDER.index("is_active")


def v1_message(findings: Iterable[Finding]) -> str:
    """Returns the message of Open edX for the finding that it would report first."""
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
    return describe_finding(first)


def _v1_rank(item: Finding) -> int:
    head = str(item["field"]).split(".")[0]
    return _V1_ORDER.index(head) if head in _V1_ORDER else len(_V1_ORDER)
