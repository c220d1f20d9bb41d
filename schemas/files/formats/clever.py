"""Clever: the `enrollments.csv` of its sync from a student information system."""

from schemas.files.formats import base

#: Its file lists students only.
FORMAT = base.Format(
    name="clever",
    title="Clever enrollments.csv",
    columns={
        "School_id": "",
        "Section_id": base.COURSE_COLUMN,
        "Student_id": base.LEARNER_COLUMN,
    },
    identifying_columns=(("School_id",), ("Section_id",), ("Student_id",)),
)
