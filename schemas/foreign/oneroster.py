"""OneRoster 1.1 and 1.2: ``enrollments.csv``, alone or in its archive."""

from schemas.foreign.base import COURSE, LEARNER, ROLE, STATUS, Cells, Format, Reading, Wish

_STATUS = {"active": True, "tobedeleted": False, "inactive": False}


def read(cells: Cells) -> list[Wish]:
    """The wish of one row; in bulk files the status is blank."""
    reading = Reading(cells)
    reading.take("user", "usersourcedid")
    reading.take("course_id", "classsourcedid")
    reading.role("role", {"student"})
    reading.switch("status", _STATUS, default=True)
    return [reading.wish()]


FORMAT = Format(
    name="oneroster",
    title="OneRoster enrollments.csv",
    columns={
        "classSourcedId": COURSE,
        "userSourcedId": LEARNER,
        "role": ROLE,
        "status": STATUS,
    },
    marks=(
        ("classsourcedid",),
        ("usersourcedid",),
        ("role",),
        ("sourcedid", "schoolsourcedid"),
    ),
    read=read,
)
