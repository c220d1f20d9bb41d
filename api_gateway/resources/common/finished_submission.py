"""Routes that respond with the outcomes of a submission: waiting for them, and reading them."""

from dataclasses import dataclass
from uuid import UUID

from api_gateway.auth.caller import Caller
from api_gateway.database import Database
from api_gateway.status import queries
from api_gateway.status.long_poll import long_poll
from api_gateway.status.queries import OutcomeFilter, OutcomesCursor, Status
from api_gateway.status.status_reader import StatusReader
from api_gateway.status.waiters import Waiters
from enrollment.domain.model import Outcome
from enrollment.domain.submissions import Submission

#: Seconds to wait for the outcomes unless the caller states `Prefer: wait`.
DEFAULT_WAIT = 20.0
#: Maximum number of outcomes read by one query.
_OUTCOMES_PER_READ = 2_000


@dataclass(frozen=True, slots=True, kw_only=True)
class FinishedSubmissions:
    """Waits for submissions that were just stored, and reads all their outcomes."""

    database: Database
    reader: StatusReader
    waiters: Waiters

    async def wait_for(self, submission_id: UUID, caller: Caller, seconds: float) -> Status:
        """Returns the status once the submission is finished, or time is over.

        Raises SubmissionNotFound, DatabaseUnavailable, Overloaded.
        """
        status = await self.database.read(queries.get_status, submission_id, caller)
        return await long_poll(status, caller, seconds, reader=self.reader, waiters=self.waiters)

    async def outcomes(self, submission: Submission) -> list[Outcome]:
        """Returns all outcomes, in the order of the requests."""
        outcomes: list[Outcome] = []
        cursor: OutcomesCursor | None = OutcomesCursor()
        while cursor is not None:
            page = await self.database.read(
                queries.read_outcomes_page,
                submission,
                cursor,
                OutcomeFilter(),
                limit=_OUTCOMES_PER_READ,
            )
            outcomes += [row.outcome for row in page.rows]
            cursor = page.next
        return outcomes
