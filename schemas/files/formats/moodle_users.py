"""Moodle's upload of users: one line per user, with any number of numbered course columns."""

import re
from datetime import datetime

from enrollment.domain.codes import Reason
from schemas.files.formats import base
from schemas.findings import Rule

_STATUSES = {"0": True, "1": False}
_LEARNERS = frozenset({"student"})
#: Legacy role types: 1 is the default role, the student's; the others are teachers.
_LEARNER_TYPES, _OTHER_TYPES = ("1",), ("2", "3")
_COURSE = re.compile("course([0-9]{1,3})")


def _parse(cells: base.Cells, at: datetime | None) -> list[base.RowIntent]:
    """Returns an intent per course of the line; of a line without courses, an invalid one."""
    return [_intent(cells, at, number) for number in _numbers(cells) or ["1"]]


def _count(cells: base.Cells) -> int:
    return len(_numbers(cells)) or 1


def _numbers(cells: base.Cells) -> list[str]:
    numbers = [matched[1] for name in cells if (matched := _COURSE.fullmatch(name))]
    return sorted(numbers, key=int)


def _intent(cells: base.Cells, at: datetime | None, number: str) -> base.RowIntent:
    username = cells.get("username")
    # Moodle stores usernames in lower case, and so reads them from its files.
    row = base.RowParser({**cells, "username": username.lower()} if username else cells, at)
    row.take("user", "username")
    row.take("course_id", f"course{number}")
    _check_deleted(row)
    row.check_role(f"role{number}", _LEARNERS, is_required=False)
    row.check_role(f"type{number}", _LEARNER_TYPES, _OTHER_TYPES, is_required=False)
    row.take_status(f"enrolstatus{number}", _STATUSES, default=True)
    return row.intent(number)


def _check_deleted(row: base.RowParser) -> None:
    """Skips lines that delete a user of Moodle: learners are not deleted here."""
    match row.cells.get("deleted", "0"):
        case "0":
            return
        case "1":
            row.skip("deleted", Reason.STATUS_NOT_APPLICABLE)
        case _:
            row.report("deleted", Rule.ONE_OF, "known are 0, 1")


FORMAT = base.Format(
    name="moodle_users",
    title="Moodle upload users",
    columns={"username": base.LEARNER_COLUMN, "deleted": ""},
    numbered={
        "course": base.COURSE_COLUMN,
        "role": base.ROLE_COLUMN,
        "type": base.ROLE_COLUMN,
        "enrolstatus": base.STATUS_COLUMN,
    },
    identifying_columns=(("username",), ("course1",)),
    statuses=_STATUSES,
    parse_many=_parse,
    count=_count,
)
