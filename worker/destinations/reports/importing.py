"""Takes over the enrollments of a destination, one submission after another."""

from collections.abc import Callable, Sequence
from uuid import UUID

from enrollment.domain.codes import State
from enrollment.domain.destinations.records import RemoteState
from enrollment.domain.errors import Overloaded
from enrollment.storage import submissions
from worker.destinations.reports.import_intake import IMPORT_ROWS, ImportIntake
from worker.destinations.reports.job import Job
from worker.destinations.reports.portions import portions

#: Seconds between two looks whether a submission is done.
_POLL_SECONDS = 0.2
_ENDED = frozenset({State.DONE, State.CANCELLED})


def import_states(job: Job, intake: ImportIntake, pause: Callable[[float], object]) -> None:
    """Hands in what the destination has, and adds up the outcomes.

    The next portion is read when the one before is processed, so that an import takes no place
    from other files. An import that ended in the middle begins anew, and what was taken over
    before is `unchanged` then. `pause` raises to end the job.
    """
    job.counts.update({"there": 0, "submissions": 0})
    for states in portions(job.remote_states(), IMPORT_ROWS):
        submission_id = _hand_in(job, intake, states, pause)
        outcomes = _wait(job, submission_id, pause)
        with job.writing():
            job.counts["submissions"] += 1
            job.counts.update(outcomes)


def _hand_in(
    job: Job, intake: ImportIntake, states: Sequence[RemoteState], pause: Callable[[float], object]
) -> UUID:
    while True:
        try:
            return intake.hand_in(job.stored.destination.name, states)
        except Overloaded:
            pause(_POLL_SECONDS)


def _wait(job: Job, submission_id: UUID, pause: Callable[[float], object]) -> dict[str, int]:
    """Returns the numbers of outcomes by code, when all are there."""
    while True:
        with job.sessions.read() as session:
            submission = submissions.find(session, submission_id)
        if submission is None:  # purged, as it was done long ago
            return {}
        if submission.state in _ENDED:
            return {code.value: number for code, number in submission.tally.counts.items()}
        pause(_POLL_SECONDS)
