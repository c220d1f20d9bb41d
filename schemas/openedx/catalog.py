"""Renders courses in the form of the Open edX courses API."""

from typing import Annotated, Literal, TypedDict

from enrollment.domain.course_keys import parse_course_key
from enrollment.domain.model import Course
from enrollment.domain.rules import format_timestamp
from schemas.encoding.json_types import Count, StringFormat, Timestamp

PacingWord = Literal["self", "instructor"]
_Link = Annotated[str, StringFormat("uri")]


class CatalogCourseJson(TypedDict):
    """A course as the courses API lists it; `id` and `course_id` are the same."""

    id: str
    course_id: str
    name: str
    org: str
    number: str
    start: Timestamp | None
    end: Timestamp | None
    enrollment_start: Timestamp | None
    enrollment_end: Timestamp | None
    pacing: PacingWord
    invitation_only: bool


class PageLinksJson(TypedDict):
    """The place of a numbered page among all pages."""

    next: _Link | None
    previous: _Link | None
    count: Count
    num_pages: Count


class CatalogPageJson(TypedDict):
    """Courses, ordered by course id."""

    results: list[CatalogCourseJson]
    pagination: PageLinksJson


def dump_catalog_course(course: Course) -> CatalogCourseJson:
    """Renders a course."""
    key = parse_course_key(course.course_id)
    times = (
        course.course_start,
        course.course_end,
        course.enrollment_start,
        course.enrollment_end,
    )
    start, end, opens, closes = (None if at is None else format_timestamp(at) for at in times)
    return {
        "id": course.course_id,
        "course_id": course.course_id,
        "name": course.name,
        "org": "" if key is None else key.org,
        "number": "" if key is None else key.course,
        "start": start,
        "end": end,
        "enrollment_start": opens,
        "enrollment_end": closes,
        "pacing": "self" if course.self_paced else "instructor",
        "invitation_only": course.invite_only,
    }
