"""Canvas: `enrollments.csv` of its SIS import, and of its provisioning reports."""

from schemas.files.formats import base


def _check_role(row: base.RowParser) -> None:
    if "role" in row.cells:
        return
    if "role_id" in row.cells:
        message = "a number does not say which role it is"
        row.report("role_id", base.ROLE_NOT_LEARNER, message)
    else:
        row.report("role", "required")


FORMAT = base.Format(
    name="canvas",
    title="Canvas SIS enrollments.csv",
    columns={
        "course_id": base.COURSE_COLUMN,
        "section_id": base.COURSE_COLUMN,
        "user_integration_id": base.LEARNER_COLUMN,  # takes precedence, as in Canvas
        "user_id": base.LEARNER_COLUMN,
        "role": base.ROLE_COLUMN,
        "role_id": base.ROLE_COLUMN,
        "status": base.STATUS_COLUMN,
    },
    identifying_columns=(("course_id", "section_id"), ("user_id", "user_integration_id")),
    required_columns=(("role", "role_id"), ("status",)),
    is_role_required=False,
    statuses={
        "active": True,
        "deleted": False,
        "inactive": False,
        "deleted_last_completed": False,
        "completed": None,
    },
    check=_check_role,
)
