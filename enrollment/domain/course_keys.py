"""Course keys: `course-v1:org+course+run` and the older `org/course/run`."""

import re
from collections.abc import Collection
from typing import NamedTuple

#: One part of a key (Open edX: Usernames and course keys).
_PART = r"[\w\-~.:]+"
_MODERN = re.compile(rf"course-v1:({_PART})\+({_PART})\+({_PART})")
_LEGACY = re.compile(rf"(?!course-v1:)({_PART})/({_PART})/({_PART})")

#: Maximum length of a key in the tables of Open edX.
MAX_COURSE_ID = 255
#: Ends a filter for all courses of an organization: `org+*`.
ANY_COURSE = "+*"


class CourseKey(NamedTuple):
    """The three parts of a course key."""

    org: str
    course: str
    run: str


def parse_course_key(text: str) -> CourseKey | None:
    """Parses a course key; returns None for any other text."""
    if len(text) > MAX_COURSE_ID:
        return None
    match = _MODERN.fullmatch(text) or _LEGACY.fullmatch(text)
    return None if match is None else CourseKey(*match.groups())


def is_course_filter(text: str) -> bool:
    """Returns whether a text is a course key, or stands for all courses of an organization."""
    if text.endswith(ANY_COURSE):
        return parse_course_key(f"course-v1:{text.removesuffix(ANY_COURSE)}+x+y") is not None
    return parse_course_key(text) is not None


def matches_course(filters: Collection[str], course_id: str) -> bool:
    """Returns whether filters have a course, or all courses of its organization; empty ones do."""
    if not filters or course_id in filters:
        return True
    key = parse_course_key(course_id)
    return key is not None and f"{key.org}{ANY_COURSE}" in filters
