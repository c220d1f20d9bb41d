"""Canvas: ``enrollments.csv`` of its SIS import, and of its provisioning reports."""

from schemas.foreign.base import COURSE, LEARNER, ROLE, STATUS, Cells, Format, Reading, Wish

_STATUS = {
    "active": True,
    "deleted": False,
    "inactive": False,
    "deleted_last_completed": False,
    "completed": None,
}


def read(cells: Cells) -> list[Wish]:
    """The wish of one row; the integration id goes before the id, as in Canvas."""
    reading = Reading(cells)
    reading.take("user", "user_integration_id", "user_id")
    reading.take("course_id", "course_id", "section_id")
    if "role" in cells or "role_id" not in cells:
        reading.role("role", {"student"})
    else:
        reading.blame("role_id", "role_not_learner", "a number does not say which role it is")
    reading.switch("status", _STATUS)
    return [reading.wish()]


FORMAT = Format(
    name="canvas",
    title="Canvas SIS enrollments.csv",
    columns={
        "course_id": COURSE,
        "section_id": COURSE,
        "user_id": LEARNER,
        "user_integration_id": LEARNER,
        "role": ROLE,
        "role_id": ROLE,
        "status": STATUS,
    },
    marks=(("course_id", "section_id"), ("user_id", "user_integration_id")),
    needs=(("role", "role_id"), ("status",)),
    read=read,
)
