"""Course keys: `course-v1:org+course+run` and the older `org/course/run`."""

import re
from typing import NamedTuple

#: One part of a key (Open edX: Usernames and course keys).
_PART = r"[\w\-~.:]+"
_MODERN = re.compile(rf"course-v1:({_PART})\+({_PART})\+({_PART})")
_LEGACY = re.compile(rf"(?!course-v1:)({_PART})/({_PART})/({_PART})")

#: Maximum length of a key in the tables of Open edX.
MAX_COURSE_ID = 255


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
