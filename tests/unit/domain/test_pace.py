"""Processing rate and remaining time of a submission."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from enrollment.domain.codes import CallerKind, Code, Kind
from enrollment.domain.submissions import Submission, Tally

BEGUN = datetime(2026, 3, 1, 12, tzinfo=UTC)
NOW = BEGUN + timedelta(seconds=2)


def submission(**counts):
    return Submission(
        id=UUID(int=1),
        kind=Kind.BULK,
        caller="key:school",
        caller_kind=CallerKind.SERVER,
        received_at=BEGUN,
        started_at=BEGUN,
        total=1_000,
        tally=Tally(counts={Code(code): number for code, number in counts.items()}),
    )


@pytest.mark.parametrize(
    ("counts", "pace", "left"),
    [
        pytest.param({}, 0, None, id="nothing-yet"),
        pytest.param({"enrolled": 100, "refused": 100}, 100, 8, id="half-done"),
        pytest.param({"enrolled": 100, "cancelled": 700}, 50, 4, id="what-is-cancelled-is-no-work"),
        pytest.param({"cancelled": 1_000}, 0, None, id="all-cancelled"),
    ],
)
def test_pace_is_that_of_rows_that_were_worked(counts, pace, left):
    assert submission(**counts).rows_per_second(NOW) == pace
    assert submission(**counts).eta_seconds(NOW) == left
