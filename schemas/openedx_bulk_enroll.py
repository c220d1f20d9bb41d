"""Parses and renders bulk enrollment in the form of the Open edX API.

Error messages are those of Open edX (docs/openedx-compatibility.md, Bulk enrollment).
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product, repeat
from typing import Annotated, Any, Final, Literal, NamedTuple, NotRequired, TypedDict, cast

from enrollment.domain.codes import FAILURE_CODES, Code, Reason
from enrollment.domain.model import Course, Outcome
from schemas.encoding.json_types import Doc, OneOf
from schemas.fields import MAX_NAME, is_course_key, is_storable, parse_email, parse_username
from schemas.findings import MAX_FINDINGS, shorten
from schemas.messages.reason_messages import message_of
from schemas.outcomes import BulkEnrollStateJson
from schemas.requests.parsed import MAX_COHORT

ENROLL: Final = "enroll"
UNENROLL: Final = "unenroll"
MAX_REASON = 255
_FLAGS: Mapping[object, bool] = {
    **dict.fromkeys(("true", "True", "TRUE", "t", "1", "on", "yes"), True),
    **dict.fromkeys(("false", "False", "FALSE", "f", "0", "off", "no", ""), False),
}
_IDENTIFIER_SEPARATORS = re.compile(r"[\s,]+")
#: A longer identifier is no learner's; the rest of it is not repeated in every request.
_MAX_IDENTIFIER = MAX_NAME + 1
#: Reasons after which Open edX reports an identifier as invalid.
_UNKNOWN_LEARNER_REASONS = frozenset({Reason.INVALID_ROW, Reason.LEARNER_NOT_FOUND})
#: The member for errors of the whole body.
_NON_FIELD = "non_field_errors"


_Action = Annotated[str, OneOf((ENROLL, UNENROLL))]


class BulkEnrollResultJson(TypedDict):
    """The result for one identifier in one course."""

    identifier: str
    before: NotRequired[BulkEnrollStateJson]
    after: NotRequired[BulkEnrollStateJson]
    invalidIdentifier: NotRequired[Annotated[Literal[True], Doc("No such learner.")]]
    error: NotRequired[Annotated[Literal[True], Doc("The request was refused; see reason.")]]
    reason: NotRequired[Annotated[str, OneOf((*Reason, Code.CANCELLED))]]
    message: NotRequired[str]


class BulkEnrollCourseJson(TypedDict):
    """The results for every identifier in one course."""

    action: _Action
    auto_enroll: bool
    results: list[BulkEnrollResultJson]


class BulkEnrollJson(TypedDict):
    """The results for every identifier in every course, in the order of the request."""

    action: _Action
    auto_enroll: bool
    email_students: bool
    courses: Annotated[dict[str, BulkEnrollCourseJson], Doc("By course id.")]


class BulkEnrollErrors(Exception):
    """The body is invalid; `messages` lists the errors by field, as Open edX words them."""

    def __init__(self, messages: Mapping[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {texts[0]}" for name, texts in messages.items()))
        self.messages = messages


class BulkEnroll(NamedTuple):
    """A request to enroll every identifier in every course, or to unenroll it."""

    action: str
    courses: tuple[str, ...]
    identifiers: tuple[str, ...]
    #: One per course, or None.
    cohorts: tuple[str, ...] | None = None
    auto_enroll: bool = False
    email_students: bool = False
    reason: str | None = None

    @property
    def size(self) -> int:
        """The number of single requests."""
        return len(self.courses) * len(self.identifiers)

    def requests(self) -> Iterator[dict[str, object]]:
        """Yields the single requests, course by course, as bodies of file rows."""
        cohorts = self.cohorts or repeat(None)
        for (course_id, cohort), identifier in product(
            zip(self.courses, cohorts, strict=False), self.identifiers
        ):
            yield {
                **_learner_members(identifier),
                "course_id": course_id,
                "is_active": self.action == ENROLL,
                "force_enrollment": True,
                "cohort": cohort,
            }


def _learner_members(identifier: str) -> dict[str, str]:
    """Returns the members of a request that name the learner.

    Usernames are compared as they are, e-mail addresses in lower case (ASCII letters). An
    identifier that can be either is sent as both. If it is in lower case, `email` alone is enough:
    an e-mail address without a username also matches the username.
    """
    if (email := parse_email(identifier)) is None:
        return {"user": identifier[:_MAX_IDENTIFIER]}
    if identifier == email or parse_username(identifier) is None:
        return {"email": email}
    return {"user": identifier, "email": identifier}


def load_bulk_enroll(body: object) -> BulkEnroll:
    """Parses the body. Raises BulkEnrollErrors."""
    if not isinstance(body, Mapping):
        text = f"Invalid data. Expected a dictionary, but got {type(body).__name__}."
        raise BulkEnrollErrors({_NON_FIELD: [text]})
    parser = _BodyParser(body)
    bulk = BulkEnroll(
        action=parser.action(),
        courses=parser.courses(),
        identifiers=parser.identifiers(),
        cohorts=parser.cohorts(),
        auto_enroll=parser.flag("auto_enroll"),
        email_students=parser.flag("email_students"),
        reason=parser.reason(),
    )
    if parser.messages:
        raise BulkEnrollErrors(parser.messages)
    if bulk.cohorts is not None:
        _check_cohorts(bulk, bulk.cohorts)
    return bulk


class _BodyParser:
    """Parses the members of one body, and collects the error messages."""

    def __init__(self, body: Mapping[Any, Any]) -> None:
        self._body = body
        self.messages: dict[str, list[str]] = {}

    def _add_message(self, name: str, message: str) -> None:
        messages = self.messages.setdefault(name, [])
        if len(messages) < MAX_FINDINGS:
            messages.append(message)

    def _text(self, name: str, *, required: bool = True) -> str:
        value = self._body.get(name)
        if value is None:
            if required or name in self._body:
                problem = "may not be null" if name in self._body else "is required"
                self._add_message(name, f"This field {problem}.")
            return ""
        if not isinstance(value, str) or not is_storable(value):
            self._add_message(name, "Not a valid string.")
            return ""
        if required and not value.strip(" ,\r\n\t"):
            self._add_message(name, "This field may not be blank.")
        return value

    def action(self) -> str:
        text = self._text("action")
        if text.strip() and text not in {ENROLL, UNENROLL}:
            self._add_message("action", f'"{shorten(text)}" is not a valid choice.')
        return text

    def identifiers(self) -> tuple[str, ...]:
        words = _IDENTIFIER_SEPARATORS.split(self._text("identifiers"))
        return tuple(word for word in words if word)

    def courses(self) -> tuple[str, ...]:
        course_ids = self._words("courses", required=True)
        for course_id in course_ids:
            if not is_course_key(course_id):
                self._add_message("courses", f"Course key not valid: {shorten(course_id)}")
        return course_ids

    def cohorts(self) -> tuple[str, ...] | None:
        names = self._words("cohorts", required=False)
        if any(len(name) > MAX_COHORT for name in names):
            self._add_message(
                "cohorts", f"Ensure a cohort has no more than {MAX_COHORT} characters."
            )
        return names or None

    def _words(self, name: str, *, required: bool) -> tuple[str, ...]:
        """Parses a comma-separated list, or a JSON array of such lists."""
        value = self._body.get(name)
        if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
            self._body = {**self._body, name: ",".join(value)}
        text = self._text(name, required=required)
        return tuple(word.strip() for word in text.split(",") if word.strip())

    def flag(self, name: str) -> bool:
        value = self._body.get(name, False)
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value in _FLAGS:
            return _FLAGS[value]
        self._add_message(name, "Must be a valid boolean.")
        return False

    def reason(self) -> str | None:
        text = None if self._body.get("reason") is None else self._text("reason", required=False)
        if text and len(text) > MAX_REASON:
            self._add_message(
                "reason", f"Ensure this field has no more than {MAX_REASON} characters."
            )
        return text or None


def _check_cohorts(bulk: BulkEnroll, cohorts: Sequence[str]) -> None:
    if len(cohorts) != len(bulk.courses):
        text = "If provided, the cohorts and courses should have equal number of items."
        raise BulkEnrollErrors({_NON_FIELD: [text]})
    if bulk.action != ENROLL:
        raise BulkEnrollErrors({_NON_FIELD: ["Cohorts can only be used for enrollments."]})


def check_cohorts_exist(bulk: BulkEnroll, courses: Mapping[str, Course]) -> None:
    """Raises BulkEnrollErrors for a cohort that does not exist in its course."""
    for course_id, cohort in zip(bulk.courses, bulk.cohorts or (), strict=False):
        course = courses.get(course_id)
        if course is None or cohort not in course.cohorts:
            text = f"cohort {shorten(cohort)} not found in course {shorten(course_id)}."
            raise BulkEnrollErrors({_NON_FIELD: [text]})


def dump_bulk_enroll(bulk: BulkEnroll, outcomes: Sequence[Outcome]) -> BulkEnrollJson:
    """Renders the outcome of each identifier in each course, in the order of `requests`."""
    remaining = iter(outcomes)
    courses: dict[str, BulkEnrollCourseJson] = {}
    for course_id in bulk.courses:
        results = [_result(identifier, next(remaining)) for identifier in bulk.identifiers]
        courses[course_id] = {
            "action": bulk.action,
            "auto_enroll": bulk.auto_enroll,
            "results": results,
        }
    return {
        "action": bulk.action,
        "auto_enroll": bulk.auto_enroll,
        "email_students": bulk.email_students,
        "courses": courses,
    }


def _result(identifier: str, outcome: Outcome) -> BulkEnrollResultJson:
    if outcome.code not in FAILURE_CODES:
        states = cast("BulkEnrollResultJson", outcome.details or {})
        return {**states, "identifier": identifier}
    if outcome.reason in _UNKNOWN_LEARNER_REASONS:
        return {"identifier": identifier, "invalidIdentifier": True}
    if outcome.reason is None:
        return {"identifier": identifier, "error": True, "reason": Code.CANCELLED}
    return {
        "identifier": identifier,
        "error": True,
        "reason": outcome.reason,
        "message": message_of(outcome) or "",
    }
