"""D2L Brightspace: the enrollments of its Standard CSV."""

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

_ACTIONS = {"create": True, "update": True, "delete": False}


def read(cells: Cells) -> list[Wish]:
    """The wish of one row; no action means update."""
    reading = Reading(cells)
    reading.take("user", "child_code")
    reading.take("course_id", "parent_code")
    if cells.get("type", "").casefold() != "enrollment":
        reading.blame("type", NOT_A_WISH, "only rows of the type enrollment are")
    reading.role("role_name", {"learner", "student"})
    reading.switch("action", _ACTIONS, default=True)
    return [reading.wish()]


FORMAT = Format(
    name="d2l",
    title="D2L Standard CSV enrollments",
    columns={
        "type": "",
        "action": STATUS,
        "child_code": LEARNER,
        "role_name": ROLE,
        "parent_code": COURSE,
    },
    marks=(("type",), ("action",), ("child_code",), ("role_name",), ("parent_code",)),
    read=read,
)
