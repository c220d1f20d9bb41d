"""Looking at submissions: whoever asks for one at the same time shares one look."""

import asyncio
from functools import partial
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from api_gateway import answers
from api_gateway.answers import Status
from api_gateway.callers import Caller
from api_gateway.records import Records

#: What is looked at, for whom, and whether they see what is others'.
Key = tuple[UUID, str, bool]

#: After a look that so many shared, the next is given a moment to gather: a look costs as much
#: as answering a dozen who share it.
CROWD = 32
GATHER_SECONDS = 0.004


def key_of(submission_id: UUID, caller: Caller) -> Key:
    """What tells looks apart: callers with one key see the same."""
    return submission_id, caller.name, "admin" in caller.scopes


class _Look(NamedTuple):
    """A look at the records, and those who wait for it: each may go away alone."""

    task: asyncio.Task[Status]
    waiting: list[asyncio.Future[Status]]


class Looks:
    """How far submissions are, read once for all who ask meanwhile. Belongs to one event loop.

    Nobody is given a look that began before they asked: who comes while one is under way waits
    for the next, so a poller never sees less than what it was told before.
    """

    def __init__(self, records: Records) -> None:
        self._records = records
        #: Looks that newcomers may share, and the last of each that is not over.
        self._coming: dict[Key, _Look] = {}
        self._last: dict[Key, _Look] = {}

    async def status(self, submission_id: UUID, caller: Caller) -> Status:
        """How far it is. Raises SubmissionNotFound, RecordsUnavailable, Overloaded."""
        key = key_of(submission_id, caller)
        look = self._coming.get(key)
        if look is None:
            task = asyncio.create_task(self._look(key, caller, self._last.get(key)))
            look = self._coming[key] = self._last[key] = _Look(task, [])
            task.add_done_callback(partial(self._is_over, key, look.waiting))
        mine: asyncio.Future[Status] = asyncio.get_running_loop().create_future()
        look.waiting.append(mine)
        return await mine

    async def _look(self, key: Key, caller: Caller, before: _Look | None) -> Status:
        if before is not None:
            await asyncio.wait([before.task])
            if len(before.waiting) >= CROWD:
                await asyncio.sleep(GATHER_SECONDS)
        return await self._records.read(self._begin, key, caller)

    def _begin(self, session: Session, key: Key, caller: Caller) -> Status:
        """Look, in a thread that may have been waited for: until here newcomers could share."""
        self._coming.pop(key, None)
        return answers.status(session, key[0], caller)

    def _is_over(
        self, key: Key, waiting: list[asyncio.Future[Status]], task: asyncio.Task[Status]
    ) -> None:
        """Tell those who still wait; that all of them went away is no news."""
        for looks in (self._coming, self._last):
            if key in looks and looks[key].task is task:
                looks.pop(key, None)  # a look that nobody waited for may have just done so
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        for each in waiting:
            if each.done():
                continue
            if error is None:
                each.set_result(task.result())
            elif task.cancelled():
                each.cancel()
            else:
                each.set_exception(error)
