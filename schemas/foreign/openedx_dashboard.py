"""Open edX instructor dashboard, "register and enroll": a file without a header, for one course."""

from collections.abc import Sequence

from schemas.foreign.base import COHORT, EMAIL, LEARNER, MODE, Cells, Format, Reading, Wish

_WIDTHS = frozenset({4, 6})


def read(cells: Cells) -> list[Wish]:
    """The wish of one row; which course it is for is said beside the file."""
    reading = Reading(cells)
    reading.take("user", "username")
    reading.take("email", "email")
    reading.take("cohort", "cohort")
    reading.take("mode", "course mode")
    return [reading.wish()]


def is_line(cells: Sequence[str]) -> bool:
    """Whether a line has as many cells, and begins with an e-mail."""
    return len(cells) in _WIDTHS and "@" in cells[0]


FORMAT = Format(
    name="openedx_dashboard",
    title="Open edX instructor dashboard CSV (no header)",
    columns={
        "email": EMAIL,
        "username": LEARNER,
        "full name": "",
        "country": "",
        "cohort": COHORT,
        "course mode": MODE,
    },
    marks=(("email",), ("username",), ("full name",), ("country",)),
    read=read,
    is_line=is_line,
    has_own_ids=False,
)
