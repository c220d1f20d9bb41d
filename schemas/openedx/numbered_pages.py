"""Renders pages of enrollments as version 2 of the Open edX API has them."""

from typing import Annotated, TypedDict

from schemas.encoding.json_types import Count, StringFormat
from schemas.enrollments import EnrollmentJson, EnrollmentRowJson

_Link = Annotated[str, StringFormat("uri")]


class NumberedPageJson(TypedDict):
    """The place of a numbered page among all pages; `start` is the number of rows before it."""

    count: Count
    num_pages: Count
    current_page: Count
    start: Count
    next: _Link | None
    previous: _Link | None


class LearnerPageJson(NumberedPageJson):
    """Enrollments of one learner: with course details, or rows in the minimal view."""

    results: list[EnrollmentJson] | list[EnrollmentRowJson]


class AllPageJson(NumberedPageJson):
    """Enrollments of all learners, newest first."""

    results: list[EnrollmentRowJson]
