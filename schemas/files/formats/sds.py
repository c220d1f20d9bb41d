"""Microsoft School Data Sync: `enrollments.csv` (v2.1) and `StudentEnrollment.csv` (v1)."""

from schemas.files.formats import base

FORMAT = base.Format(
    name="sds",
    title="Microsoft SDS v2.1 enrollments.csv",
    columns={
        "classSourcedId": base.COURSE_COLUMN,
        "userSourcedId": base.LEARNER_COLUMN,
        "role": base.ROLE_COLUMN,
    },
    identifying_columns=(("classSourcedId",), ("userSourcedId",), ("role",)),
)
#: Its file lists students only.
FORMAT_V1 = base.Format(
    name="sds_v1",
    title="Microsoft SDS v1 StudentEnrollment.csv",
    columns={"Section SIS ID": base.COURSE_COLUMN, "Student SIS ID": base.LEARNER_COLUMN},
    identifying_columns=(("Section SIS ID",), ("Student SIS ID",)),
)
