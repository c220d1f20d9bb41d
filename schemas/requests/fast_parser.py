"""Parses well-formed requests in a microsecond or two.

`RequestSchema` is the reference. A result of this module equals the schema's; anything that is
not certainly valid is left to the schema (a property test compares both).
"""

import re
from collections.abc import Callable
from typing import Any

from enrollment.domain.identity import has_invisible, is_canonical
from enrollment.domain.model import Attribute
from schemas.fields import (
    MAX_EMAIL,
    MAX_MODE,
    MAX_NAME,
    USERNAME,
    is_course_key,
    parse_timestamp,
)
from schemas.identity.damaged_ids import DAMAGED_NUMBER, DAMAGED_WORDS
from schemas.identity.email_syntax import EMAIL
from schemas.requests.parsed import MAX_ATTRIBUTE_TEXT, MAX_ATTRIBUTES, MAX_COHORT, ParsedRequest

_new = tuple.__new__
_UNDAMAGED_USERNAME = re.compile(rf"(?!(?:{DAMAGED_NUMBER})\Z){USERNAME.pattern}")


def parse_request_fast(body: object) -> ParsedRequest | None:
    """Parses a well-formed body; None where the schema must decide."""
    if type(body) is not dict:
        return None
    get = body.get
    details = get("course_details")
    course_id = _course_of(get("course_id"), details)
    username, mode, is_active = get("user"), get("mode"), get("is_active", True)
    if not (
        course_id is not None
        and (username is None or is_username(username))
        and (mode is None or is_short_text(mode, MAX_MODE))
        and type(is_active) is bool
    ):
        return None
    rare = _NO_RARE_MEMBERS if _RARE_MEMBERS.isdisjoint(body) else _rare_members(get)
    if rare is None:
        return None
    email, attributes, cohort, force, at, opt_in = rare
    if opt_in is None and details is not None and type(details.get("email_opt_in")) is bool:
        opt_in = details["email_opt_in"]
    fields = (username, email, course_id, is_active, mode, attributes, cohort, force, at, opt_in)
    return _new(ParsedRequest, fields)


#: Most requests have none of these members.
_RARE_MEMBERS = frozenset(
    {
        *("email", "enrollment_attributes", "cohort", "force_enrollment"),
        *("requested_at", "email_opt_in"),
    }
)
#: E-mail, attributes, cohort, force, requested time and opt-in of a request without such members.
_NO_RARE_MEMBERS = (None, None, None, False, None, None)


def _rare_members(get: Callable[..., Any]) -> tuple[Any, ...] | None:
    """Returns the values of the members in the order of `_NO_RARE_MEMBERS`."""
    email, cohort, opt_in = get("email"), get("cohort"), get("email_opt_in")
    force = get("force_enrollment", False)
    if not (
        (email is None or is_email(email))
        and (cohort is None or is_short_text(cohort, MAX_COHORT))
        and type(force) is bool
        and (opt_in is None or type(opt_in) is bool)
    ):
        return None
    if email is not None:
        email = email.lower()
    attributes = requested_at = None
    if (given := get("enrollment_attributes")) is not None and (
        attributes := _attributes(given)
    ) is None:
        return None
    if (given := get("requested_at")) is not None and (requested_at := _timestamp(given)) is None:
        return None
    return email, attributes, cohort, force, requested_at, opt_in


def is_username(text: Any) -> bool:
    """Returns whether something is certainly a username, in its canonical form and undamaged."""
    return (
        type(text) is str
        and len(text) <= MAX_NAME
        and text not in DAMAGED_WORDS
        and (text.isalnum() or _UNDAMAGED_USERNAME.fullmatch(text) is not None)
        and (text.isascii() or (is_canonical(text) and not has_invisible(text)))
    )


def is_email(text: Any) -> bool:
    """Returns whether something is certainly an e-mail address, all of ASCII."""
    return type(text) is str and len(text) <= MAX_EMAIL and EMAIL.fullmatch(text) is not None


def is_short_text(text: Any, limit: int) -> bool:
    """Returns whether something is a printable text, neither empty nor too long."""
    return type(text) is str and 0 < len(text) <= limit and text.isprintable()


def _course_of(course_id: Any, details: Any) -> str | None:
    if details is not None:
        if type(details) is not dict:
            return None
        course_id = details.get("course_id") or course_id
    return course_id if type(course_id) is str and is_course_key(course_id) else None


def _timestamp(given: Any) -> Any:
    return parse_timestamp(given) if type(given) is str else None


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
