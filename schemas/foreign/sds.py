"""Microsoft School Data Sync: ``enrollments.csv`` (v2.1) and ``StudentEnrollment.csv`` (v1)."""

from schemas.foreign.base import COURSE, LEARNER, ROLE, Cells, Format, Reading, Wish


def read(cells: Cells) -> list[Wish]:
    """The wish of one row of v2.1."""
    reading = Reading(cells)
    reading.take("user", "usersourcedid")
    reading.take("course_id", "classsourcedid")
    reading.role("role", {"student"})
    return [reading.wish()]


def read_v1(cells: Cells) -> list[Wish]:
    """The wish of one row of v1, whose file names students only."""
    reading = Reading(cells)
    reading.take("user", "student sis id")
    reading.take("course_id", "section sis id")
    return [reading.wish()]


FORMAT = Format(
    name="sds",
    title="Microsoft SDS v2.1 enrollments.csv",
    columns={"classSourcedId": COURSE, "userSourcedId": LEARNER, "role": ROLE},
    marks=(("classsourcedid",), ("usersourcedid",), ("role",)),
    read=read,
)
FORMAT_V1 = Format(
    name="sds_v1",
    title="Microsoft SDS v1 StudentEnrollment.csv",
    columns={"Section SIS ID": COURSE, "Student SIS ID": LEARNER},
    marks=(("section sis id",), ("student sis id",)),
    read=read_v1,
)
