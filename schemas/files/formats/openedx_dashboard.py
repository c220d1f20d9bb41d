"""Open edX instructor dashboard, "register and enroll": a file without a header, for one course."""

from collections.abc import Sequence

from schemas.files.formats import base

_WIDTHS = frozenset({4, 6})


def _is_line(cells: Sequence[str]) -> bool:
    return len(cells) in _WIDTHS and "@" in cells[0]


FORMAT = base.Format(
    name="openedx_dashboard",
    title="Open edX instructor dashboard CSV (no header)",
    columns={
        "email": base.EMAIL_COLUMN,
        "username": base.LEARNER_COLUMN,
        "full name": "",
        "country": "",
        "cohort": base.COHORT_COLUMN,
        "course mode": base.MODE_COLUMN,
    },
    identifying_columns=(("email",), ("username",), ("full name",), ("country",)),
    is_line=_is_line,
    has_external_ids=False,
    binds_email=True,
)
