"""Takes over the enrollments of a destination, one submission after another."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from uuid import UUID

from enrollment.domain.codes import State
from enrollment.domain.destinations.records import RemoteState, StatesPage
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
    from other files. An import that was interrupted goes on behind the last portion that was
    counted; what was taken over since is `unchanged`. `pause` raises to end the job.
    """
    job.counts.update({"there": 0, "submissions": 0})  # adds: they stay where it goes on
    for pages in _full_pages(job.remote_pages()):
        found = (state for page in pages for state in page.states)
        for states in portions(found, IMPORT_ROWS):
            submission_id = _hand_in(job, intake, states, pause)
            job.counts.update(_wait(job, submission_id, pause))
            job.counts["submissions"] += 1
        job.store_place(pages[-1].following)


def _full_pages(pages: Iterable[StatesPage]) -> Iterator[list[StatesPage]]:
    """Yields pages that have `IMPORT_ROWS` enrollments together, or are the last."""
    together: list[StatesPage] = []
    for page in pages:
        together.append(page)
        if page.following is None or sum(len(each.states) for each in together) >= IMPORT_ROWS:
            yield together
            together = []


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
