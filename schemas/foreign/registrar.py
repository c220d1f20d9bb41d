"""Open edX Registrar: enrollments in courses, or in one program."""

from schemas.foreign.base import COURSE, LEARNER, ROLE, STATUS, Cells, Format, Reading, Wish

_STATUS = {
    "active": True,
    "enrolled": True,
    "inactive": False,
    "canceled": False,
    "pending": None,
    "suspended": None,
    "ended": None,
}
_NO = frozenset({"false", "0", "no", "f", "n"})


def read(cells: Cells) -> list[Wish]:
    """The wish of one row. A row for the staff of a course is not one for a learner."""
    reading = Reading(cells)
    reading.take("user", "student_key")
    reading.take("course_id", "course_id")
    reading.role("course_staff", _NO, may_be_absent=True)
    reading.switch("status", _STATUS)
    return [reading.wish()]


FORMAT = Format(
    name="registrar",
    title="Open edX Registrar",
    columns={
        "student_key": LEARNER,
        "course_id": COURSE,
        "status": STATUS,
        "course_staff": ROLE,
    },
    marks=(("student_key",), ("status",)),
    read=read,
)
