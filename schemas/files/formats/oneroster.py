"""OneRoster 1.1 and 1.2: `enrollments.csv`, alone or in its archive."""

from schemas.files.formats import base

FORMAT = base.Format(
    name="oneroster",
    title="OneRoster enrollments.csv",
    columns={
        "sourcedId": "",
        "classSourcedId": base.COURSE_COLUMN,
        "userSourcedId": base.LEARNER_COLUMN,
        "role": base.ROLE_COLUMN,
        "status": base.STATUS_COLUMN,
        "beginDate": base.BEGIN_COLUMN,
        "endDate": base.END_COLUMN,
    },
    identifying_columns=(
        ("classSourcedId",),
        ("userSourcedId",),
        ("role",),
        ("sourcedId", "schoolSourcedId"),
    ),
    statuses={"active": True, "tobedeleted": False, "inactive": False},
    record_columns=("sourcedid",),
    default_status=True,  # bulk files leave it blank
)
