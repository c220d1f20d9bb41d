"""Canvas: `enrollments.csv` of its SIS import, and of its provisioning reports."""

from schemas.files.formats import base


def _check_role(row: base.RowParser) -> None:
    if "role" not in row.cells:
        is_number = "role_id" in row.cells
        message = "role_id alone does not say which role it is" if is_number else None
        row.report("role", "required", message)


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
        "start_date": base.BEGIN_COLUMN,
        "end_date": base.END_COLUMN,
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
        # words of provisioning reports
        "concluded": None,
        "creation_pending": None,
        "invited": None,
        "pending": None,
        "rejected": None,
    },
    check=_check_role,
    record_columns=("section_id",),
)
