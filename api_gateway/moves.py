"""The moves of submissions that are followed: one look at the records serves all who follow."""

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import NamedTuple

from api_gateway.answers import Status
from api_gateway.callers import Caller
from api_gateway.looking import Key, Looks, key_of
from api_gateway.records import Records

#: Seconds for which others are told of a move what one was told.
FRESH_SECONDS = 0.25
#: The same where nothing is said to have moved: a look then finds what was missed, if anything.
STALE_SECONDS = 15.0
#: Answers that one process keeps.
MAX_KEPT = 256


class Kept(NamedTuple):
    """What a look found."""

    #: Monotonic seconds before which nobody had looked.
    asked_at: float
    status: Status


class Moves:
    """Tells followers how far submissions are; who may not see one has no part in its looks.

    Nobody is taken back to a state before the one that they know. Belongs to one event loop.
    """

    def __init__(
        self,
        records: Records,
        *,
        clock: Callable[[], float] = time.monotonic,
        bound: int = MAX_KEPT,
    ) -> None:
        self._looks = Looks(records)
        self._clock = clock
        self._bound = bound
        self._kept: OrderedDict[Key, Kept] = OrderedDict()

    async def after(self, known: Status, caller: Caller, *, has_moved: bool) -> Status:
        """How far it is, for who knows how far it was; ``has_moved`` is what they heard.

        Raises SubmissionNotFound, RecordsUnavailable, Overloaded.
        """
        key = key_of(known.submission.id, caller)
        kept = self._kept.get(key)
        now = self._clock()
        if kept is not None and _serves(kept, known, now, has_moved=has_moved):
            return kept.status
        status = await self._looks.status(known.submission.id, caller)
        self._keep(key, Kept(now, status))
        return status

    def _keep(self, key: Key, found: Kept) -> None:
        self._kept[key] = found
        self._kept.move_to_end(key)
        if len(self._kept) > self._bound:
            self._kept.popitem(last=False)


def _serves(kept: Kept, known: Status, now: float, *, has_moved: bool) -> bool:
    """Marks grow with every move, so the greater one is the later."""
    there, here = kept.status.submission.mark, known.submission.mark
    if has_moved:
        return now - kept.asked_at < FRESH_SECONDS and there > here
    return now - kept.asked_at < STALE_SECONDS and there >= here
