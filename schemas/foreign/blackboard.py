"""Blackboard Learn: the snapshot file of course memberships."""

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

_STATUS = {"enabled": True, "disabled": False, "deleted": False}


def read(cells: Cells) -> list[Wish]:
    """The wish of one row; who has no role is a student, and no status means enabled."""
    reading = Reading(cells)
    reading.take("user", "external_person_key")
    reading.take("course_id", "external_course_key")
    reading.role("role", {"student", "s"}, may_be_absent=True)
    reading.switch("row_status", _STATUS, default=True)
    is_hidden = cells.get("available_ind", "Y").casefold() == "n"
    if is_hidden and _STATUS.get(cells.get("row_status", "enabled").casefold()):
        reading.blame("available_ind", NOT_A_WISH, "enrollments are not hidden here")
    return [reading.wish()]


FORMAT = Format(
    name="blackboard",
    title="Blackboard snapshot memberships",
    columns={
        "EXTERNAL_COURSE_KEY": COURSE,
        "EXTERNAL_PERSON_KEY": LEARNER,
        "ROLE": ROLE,
        "ROW_STATUS": STATUS,
        "AVAILABLE_IND": STATUS,
    },
    marks=(("external_course_key",), ("external_person_key",)),
    read=read,
)
