"""D2L Brightspace: the enrollments of its Standard CSV."""

from enrollment.domain.codes import Reason
from schemas.files.formats import base
from schemas.findings import Rule

#: Types of the rows of the other files of the Standard CSV.
_OTHER_TYPES = frozenset(
    {"department", "offering", "other", "section", "semester", "template", "user"}
)


def _check_type(row: base.RowParser) -> None:
    kind = row.cells.get("type")
    if kind is None:
        row.report("type", "required")
    elif kind.casefold() in _OTHER_TYPES:
        row.skip("type", Reason.STATUS_NOT_APPLICABLE)
    elif kind.casefold() != "enrollment":
        row.report("type", Rule.ONE_OF, "only rows of the type enrollment are read")


FORMAT = base.Format(
    name="d2l",
    title="D2L Standard CSV enrollments",
    columns={
        "type": "",
        "action": base.STATUS_COLUMN,
        "child_code": base.LEARNER_COLUMN,
        "role_name": base.ROLE_COLUMN,
        "parent_code": base.COURSE_COLUMN,
    },
    identifying_columns=(("type",), ("action",), ("child_code",), ("role_name",), ("parent_code",)),
    learner_roles=frozenset({"learner", "student"}),
    statuses={"create": True, "update": True, "delete": False},
    default_status=True,  # no action means update
    check_kind=_check_type,
)
