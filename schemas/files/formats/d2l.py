"""D2L Brightspace: the enrollments of its Standard CSV."""

from schemas.files.formats import base


def _check_type(row: base.RowParser) -> None:
    if row.cells.get("type", "").casefold() != "enrollment":
        row.report("type", base.NOT_A_REQUEST, "only rows of the type enrollment are read")


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
    check=_check_type,
)
