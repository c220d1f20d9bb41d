"""Moodle's upload of users: a line a person, with as many enrollments as it has courses."""

import re

from schemas.foreign.base import (
    COURSE,
    LEARNER,
    NOT_A_WISH,
    ROLE,
    STATUS,
    Cells,
    Format,
    Reading,
    Wish,
)

_STATUS = {"0": True, "1": False}
#: Role types of old: the default role, which is the student's, and two sorts of teacher.
_LEARNER_TYPES = frozenset({"1"})
_COURSE = re.compile("course([0-9]{1,3})")


def read(cells: Cells) -> list[Wish]:
    """A wish for each course of the line; for a line without any, one that cannot be granted."""
    return [_wish(cells, number) for number in _numbers(cells) or ["1"]]


def count(cells: Cells) -> int:
    """How many enrollments the line means."""
    return len(_numbers(cells)) or 1


def _numbers(cells: Cells) -> list[str]:
    found = [matched[1] for name in cells if (matched := _COURSE.fullmatch(name))]
    return sorted(found, key=int)


def _wish(cells: Cells, number: str) -> Wish:
    reading = Reading(cells)
    reading.take("user", "username")
    reading.take("course_id", f"course{number}")
    reading.role(f"role{number}", {"student"}, may_be_absent=True)
    reading.role(f"type{number}", _LEARNER_TYPES, may_be_absent=True)
    reading.switch(f"enrolstatus{number}", _STATUS, default=True)
    if cells.get("deleted", "0") != "0":
        reading.blame("deleted", NOT_A_WISH, "learners are not deleted here")
    return reading.wish(number)


FORMAT = Format(
    name="moodle_users",
    title="Moodle upload users",
    columns={"username": LEARNER, "deleted": ""},
    numbered={"course": COURSE, "role": ROLE, "type": ROLE, "enrolstatus": STATUS},
    marks=(("username",), ("course1",)),
    read=read,
    count=count,
)
