"""The well-formed request, read in a microsecond or two.

``RequestSchema`` is the law. What this module answers, it answers as the schema does; what
it is not sure of, it leaves to the schema.
"""

from typing import Any

from enrollment.domain.model import Attribute
from schemas.fields import (
    EMAIL,
    MAX_EMAIL,
    MAX_MODE,
    MAX_NAME,
    USERNAME,
    is_course_key,
    parse_timestamp,
)
from schemas.parsed import MAX_ATTRIBUTE_TEXT, MAX_ATTRIBUTES, MAX_COHORT, ParsedRequest

_new = tuple.__new__


def read_request(body: object) -> ParsedRequest | None:
    """The request that a well-formed body makes, or None where the schema must decide."""
    if type(body) is not dict:
        return None
    get = body.get
    course_id = _course_of(get("course_id"), get("course_details"))
    username, email = get("user"), get("email")
    mode, cohort = get("mode"), get("cohort")
    is_active, force = get("is_active", True), get("force_enrollment", False)
    if not (
        course_id is not None
        and (username is None or is_username(username))
        and (email is None or is_email(email))
        and (mode is None or is_short_text(mode, MAX_MODE))
        and (cohort is None or is_short_text(cohort, MAX_COHORT))
        and type(is_active) is bool
        and type(force) is bool
    ):
        return None
    if email is not None:
        email = email.lower()
    attributes = asked_at = None
    if (given := get("enrollment_attributes")) is not None and (
        attributes := _attributes(given)
    ) is None:
        return None
    if (stated := get("requested_at")) is not None and (asked_at := _timestamp(stated)) is None:
        return None
    fields = (username, email, course_id, is_active, mode, attributes, cohort, force, asked_at)
    return _new(ParsedRequest, fields)


def is_username(text: Any) -> bool:
    """Whether something is a username for certain."""
    return (
        type(text) is str
        and len(text) <= MAX_NAME
        and (text.isalnum() or USERNAME.fullmatch(text) is not None)
    )


def is_email(text: Any) -> bool:
    """Whether something is an e-mail address for certain (also one that grows in lower case)."""
    return type(text) is str and 2 * len(text) <= MAX_EMAIL and EMAIL.fullmatch(text) is not None


def is_short_text(text: Any, limit: int) -> bool:
    """Whether something is a text that holds nothing doubtful and is neither long nor empty."""
    return type(text) is str and 0 < len(text) <= limit and text.isprintable()


def _course_of(course_id: Any, details: Any) -> str | None:
    if details is not None:
        if type(details) is not dict:
            return None
        course_id = details.get("course_id") or course_id
    return course_id if type(course_id) is str and is_course_key(course_id) else None


def _timestamp(stated: Any) -> Any:
    return parse_timestamp(stated) if type(stated) is str else None


def _attributes(given: Any) -> tuple[Attribute, ...] | None:
    if type(given) is not list or len(given) > MAX_ATTRIBUTES:
        return None
    read = []
    for item in given:
        attribute = _attribute(item)
        if attribute is None:
            return None
        read.append(attribute)
    return tuple(read)


def _attribute(item: Any) -> Attribute | None:
    if type(item) is not dict:
        return None
    parts: tuple[Any, Any, Any] = (item.get("namespace"), item.get("name"), item.get("value"))
    if all(is_short_text(part, MAX_ATTRIBUTE_TEXT) for part in parts):
        return Attribute(*parts)
    return None
