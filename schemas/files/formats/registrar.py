"""Open edX Registrar: enrollments in courses, or in one program."""

from schemas.files.formats import base

FORMAT = base.Format(
    name="registrar",
    title="Open edX Registrar",
    columns={
        "student_key": base.LEARNER_COLUMN,
        "course_id": base.COURSE_COLUMN,
        "status": base.STATUS_COLUMN,
        "course_staff": base.ROLE_COLUMN,
    },
    identifying_columns=(("student_key",), ("status",)),
    learner_roles=("false", "0", "no", "f", "n"),
    other_roles=("true", "1", "yes", "t", "y"),
    is_role_required=False,
    statuses={
        "active": True,
        "enrolled": True,
        "inactive": False,
        "canceled": False,
        "pending": None,
        "suspended": None,
        "ended": None,
    },
)
