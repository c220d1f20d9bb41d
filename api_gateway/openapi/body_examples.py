"""Examples of pages and of other bodies, made from the examples of whole objects."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from api_gateway.http.problems import Problem
from api_gateway.openapi.examples import COURSE_ID, EXAMPLE_FACTS, EXAMPLES

_SUBMISSION: Any = EXAMPLES["Submission"]
_EVENT: Any = EXAMPLES["Event"]
_ENROLLMENT: Any = EXAMPLES["Enrollment"]
_LEARNER: Any = EXAMPLES["Learner"]
_COURSE: Any = EXAMPLES["Course"]
_FINDINGS: Any = EXAMPLE_FACTS["errors"]
_ROW = {
    **{name: _ENROLLMENT[name] for name in ("created", "mode", "is_active", "user")},
    "course_id": COURSE_ID,
}
_NUMBERS = {
    "count": 1,
    "num_pages": 1,
    "current_page": 1,
    "start": 0,
    "next": None,
    "previous": None,
}

#: Examples by name of the component.
BODY_EXAMPLES: Mapping[str, Any] = {
    "Attribute": {"namespace": "credit", "name": "provider_id", "value": "Uni"},
    "CourseMode": {"slug": "verified", "name": "Verified", "min_price": 49},
    "CourseMembers": {"capacity": 150},
    "LearnerMembers": {name: value for name, value in _LEARNER.items() if name != "username"},
    "Problem": Problem(
        HTTPStatus.BAD_REQUEST,
        "invalid_body",
        "is_active: 'perhaps' is neither true nor false: write true or false.",
        errors=_FINDINGS,
    ).body(),
    "FieldError": {"developer_message": "Value 'x' is not valid for field 'course_id'."},
    "CoursePage": {"courses": [EXAMPLES["KeptCourse"]], "next": None},
    "PatchedCourses": {
        "saved": 2,
        "created": [],
        "changed": [
            {"course_id": COURSE_ID, "before": {"capacity": 120}, "after": {"capacity": 150}}
        ],
        "unchanged": 1,
    },
    "EnrollmentPage": {"next": None, "previous": None, "results": [_ROW]},
    "LearnerPage": {**_NUMBERS, "results": [_ENROLLMENT]},
    "AllPage": {**_NUMBERS, "results": [_ROW]},
    "OutcomePage": {"outcomes": [EXAMPLES["Outcome"]], "next": None},
    "Options": {"on_error": "continue", "source": "canvas"},
    "ArchiveFile": {"name": "enrollments.csv", "format": "oneroster", "rows": 2, "source": None},
    "SubmissionPage": {"submissions": [_SUBMISSION], "next": None},
    "Changes": {"changes": [_EVENT], "next": 1},
    "History": {"events": [_EVENT]},
    "Crosswalk": {"source": "canvas", "entries": [EXAMPLES["CrosswalkEntry"]], "next": None},
    "Ready": {"status": "ok", "database": "ok", "redis": "ok", "queue": "ok", "findings": []},
    "CourseList": {"courses": [_COURSE]},
    "LearnerList": {"learners": [_LEARNER]},
    "CrosswalkEntryList": {"entries": [EXAMPLES["CrosswalkEntry"]]},
}
