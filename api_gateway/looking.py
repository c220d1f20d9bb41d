"""Looking at submissions: whoever asks for one at the same time shares one look."""

import asyncio
from functools import partial
from uuid import UUID

from sqlalchemy.orm import Session

from api_gateway import answers
from api_gateway.answers import Status
from api_gateway.callers import Caller
from api_gateway.records import Records

#: Whose look at what; another caller may see less.
Key = tuple[UUID, Caller]


class Looks:
    """How far submissions are, read once for all who ask meanwhile. Belongs to one event loop.

    Nobody is given a look that began before they asked: who comes while one is under way waits
    for the next, so a poller never sees less than what it was told before.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        #: Looks that newcomers may share, and the last of each that is not over.
        self._coming: dict[Key, asyncio.Task[Status]] = {}
        self._last: dict[Key, asyncio.Task[Status]] = {}

    async def status(self, submission_id: UUID, caller: Caller) -> Status:
        """How far it is. Raises SubmissionNotFound, RecordsUnavailable, Overloaded."""
        key = (submission_id, caller)
        task = self._coming.get(key)
        if task is None:
            task = asyncio.create_task(self._look(key, self._last.get(key)))
            task.add_done_callback(partial(self._is_over, key))
            self._coming[key] = self._last[key] = task
        return await asyncio.shield(task)

    async def _look(self, key: Key, before: asyncio.Task[Status] | None) -> Status:
        if before is not None:
            await asyncio.wait([before])
        return await self._records.read(self._begin, *key)

    def _begin(self, session: Session, submission_id: UUID, caller: Caller) -> Status:
        """Look, in a thread that may have been waited for: until here newcomers could share."""
        self._coming.pop((submission_id, caller), None)
        return answers.status(session, submission_id, caller)

    def _is_over(self, key: Key, task: asyncio.Task[Status]) -> None:
        """An error reaches those who still wait; that all of them went away is no news."""
        for looks in (self._coming, self._last):
            if looks.get(key) is task:
                looks.pop(key, None)  # a look that nobody waited for may have just done so
        if not task.cancelled():
            task.exception()
