"""Upstream's bulk enrollment (openedx-v1 1.14): its body, its complaints, its answer."""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import product, repeat
from typing import Annotated, Any, Final, Literal, NamedTuple, NotRequired, TypedDict, cast

from enrollment.domain.codes import FAILURE_CODES, Code, Reason
from enrollment.domain.model import Course, Outcome
from schemas.encoding.json_types import Doc, OneOf
from schemas.fields import is_course_key, is_storable, parse_email, parse_username
from schemas.findings import MAX_FINDINGS, short
from schemas.outcomes import BulkEnrollStateJson, message_of
from schemas.requests.parsed import MAX_COHORT

ENROLL: Final = "enroll"
UNENROLL: Final = "unenroll"
MAX_REASON = 255
_FLAGS: Mapping[object, bool] = {
    **dict.fromkeys(("true", "True", "TRUE", "t", "1", "on", "yes"), True),
    **dict.fromkeys(("false", "False", "FALSE", "f", "0", "off", "no", ""), False),
}
_BETWEEN_IDENTIFIERS = re.compile(r"[\s,]+")
#: Reasons after which upstream says that an identifier is none.
_UNKNOWN_LEARNER_REASONS = frozenset({Reason.INVALID_ROW, Reason.LEARNER_NOT_FOUND})
#: What goes wrong with the whole body.
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
    """The body is refused; ``messages`` lists, by field, what is wrong, in upstream's words."""

    def __init__(self, messages: Mapping[str, list[str]]) -> None:
        super().__init__("; ".join(f"{name}: {found[0]}" for name, found in messages.items()))
        self.messages = messages


class BulkEnroll(NamedTuple):
    """Every identifier into, or out of, every course."""

    action: str
    courses: tuple[str, ...]
    identifiers: tuple[str, ...]
    #: One for each course; None where there are none.
    cohorts: tuple[str, ...] | None = None
    auto_enroll: bool = False
    email_students: bool = False
    reason: str | None = None

    @property
    def size(self) -> int:
        """How many requests it stands for."""
        return len(self.courses) * len(self.identifiers)

    def requests(self) -> Iterator[dict[str, object]]:
        """The requests, course by course, as rows of a file have them."""
        cohorts = self.cohorts or repeat(None)
        for (course_id, cohort), identifier in product(
            zip(self.courses, cohorts, strict=False), self.identifiers
        ):
            yield {
                **_identifier_key(identifier),
                "course_id": course_id,
                "is_active": self.action == ENROLL,
                "force_enrollment": True,
                "cohort": cohort,
            }


def _identifier_key(identifier: str) -> dict[str, str]:
    """Whom it names: usernames compare as they are, e-mails in lower case.

    What may be either is given as both where they differ: the e-mail is read in lower case, and
    stands for the username too where it is alone.
    """
    if (email := parse_email(identifier)) is None:
        return {"user": identifier}
    if identifier == email or parse_username(identifier) is None:
        return {"email": identifier}
    return {"user": identifier, "email": identifier}


def load_bulk_enroll(body: object) -> BulkEnroll:
    """Read the body. Raises BulkEnrollErrors."""
    if not isinstance(body, Mapping):
        text = f"Invalid data. Expected a dictionary, but got {type(body).__name__}."
        raise BulkEnrollErrors({_NON_FIELD: [text]})
    reading = _BodyParser(body)
    asked = BulkEnroll(
        action=reading.action(),
        courses=reading.courses(),
        identifiers=reading.identifiers(),
        cohorts=reading.cohorts(),
        auto_enroll=reading.flag("auto_enroll"),
        email_students=reading.flag("email_students"),
        reason=reading.reason(),
    )
    if reading.messages:
        raise BulkEnrollErrors(reading.messages)
    if asked.cohorts is not None:
        _check_cohorts(asked, asked.cohorts)
    return asked


class _BodyParser:
    """One body, and what was found wrong with it."""

    def __init__(self, body: Mapping[Any, Any]) -> None:
        self._body = body
        self.messages: dict[str, list[str]] = {}

    def _wrong(self, name: str, message: str) -> None:
        told = self.messages.setdefault(name, [])
        if len(told) < MAX_FINDINGS:
            told.append(message)

    def _text(self, name: str, *, required: bool = True) -> str:
        value = self._body.get(name)
        if value is None:
            if required or name in self._body:
                known = "may not be null" if name in self._body else "is required"
                self._wrong(name, f"This field {known}.")
            return ""
        if not isinstance(value, str) or not is_storable(value):
            self._wrong(name, "Not a valid string.")
            return ""
        if required and not value.strip(" ,\r\n\t"):
            self._wrong(name, "This field may not be blank.")
        return value

    def action(self) -> str:
        text = self._text("action")
        if text.strip() and text not in {ENROLL, UNENROLL}:
            self._wrong("action", f'"{short(text)}" is not a valid choice.')
        return text

    def identifiers(self) -> tuple[str, ...]:
        return tuple(word for word in _BETWEEN_IDENTIFIERS.split(self._text("identifiers")) if word)

    def courses(self) -> tuple[str, ...]:
        course_ids = self._words("courses", required=True)
        for course_id in course_ids:
            if not is_course_key(course_id):
                self._wrong("courses", f"Course key not valid: {short(course_id)}")
        return course_ids

    def cohorts(self) -> tuple[str, ...] | None:
        names = self._words("cohorts", required=False)
        if any(len(name) > MAX_COHORT for name in names):
            self._wrong("cohorts", f"Ensure a cohort has no more than {MAX_COHORT} characters.")
        return names or None

    def _words(self, name: str, *, required: bool) -> tuple[str, ...]:
        """A comma list, or a list of such."""
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
        self._wrong(name, "Must be a valid boolean.")
        return False

    def reason(self) -> str | None:
        text = None if self._body.get("reason") is None else self._text("reason", required=False)
        if text and len(text) > MAX_REASON:
            self._wrong("reason", f"Ensure this field has no more than {MAX_REASON} characters.")
        return text or None


def _check_cohorts(asked: BulkEnroll, cohorts: Sequence[str]) -> None:
    if len(cohorts) != len(asked.courses):
        text = "If provided, the cohorts and courses should have equal number of items."
        raise BulkEnrollErrors({_NON_FIELD: [text]})
    if asked.action != ENROLL:
        raise BulkEnrollErrors({_NON_FIELD: ["Cohorts can only be used for enrollments."]})


def check_cohorts_exist(asked: BulkEnroll, known: Mapping[str, Course]) -> None:
    """Raises BulkEnrollErrors for a cohort that its course does not have."""
    for course_id, cohort in zip(asked.courses, asked.cohorts or (), strict=False):
        course = known.get(course_id)
        if course is None or cohort not in course.cohorts:
            text = f"cohort {short(cohort)} not found in course {short(course_id)}."
            raise BulkEnrollErrors({_NON_FIELD: [text]})


def dump_bulk_enroll(asked: BulkEnroll, outcomes: Sequence[Outcome]) -> BulkEnrollJson:
    """The answer: what became of each identifier in each course."""
    answers = iter(outcomes)
    shown: dict[str, BulkEnrollCourseJson] = {}
    for course_id in asked.courses:
        results = [_result(identifier, next(answers)) for identifier in asked.identifiers]
        shown[course_id] = {
            "action": asked.action,
            "auto_enroll": asked.auto_enroll,
            "results": results,
        }
    return {
        "action": asked.action,
        "auto_enroll": asked.auto_enroll,
        "email_students": asked.email_students,
        "courses": shown,
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
