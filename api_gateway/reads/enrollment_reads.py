"""Reads of enrollments as JSON: one enrollment, and the active ones of a learner."""

from collections.abc import Callable, Sequence
from datetime import datetime

import orjson
from sqlalchemy.orm import Session

from api_gateway.database import Database
from api_gateway.reads.details_by_edition import DetailsByEdition
from api_gateway.reads.group_reader import GroupReader
from enrollment.storage.views import point_reads
from enrollment.storage.views.point_reads import PointKey, PointReads, SharedKey, StateView
from schemas.enrollments import render_spliced, splice_enrollment
from schemas.fields import is_storable

_EMPTY_LIST = b"[]"


class EnrollmentReads:
    """The enrollments that front ends poll, read in groups. One per event loop."""

    def __init__(self, database: Database, now: Callable[[], datetime]) -> None:
        self._database = database
        self._details = DetailsByEdition(now)
        self._one = GroupReader(database, self._find_group)
        self._lists = GroupReader(database, self._list_group)
        self._shared = GroupReader(database, self._shared_group)

    async def find(self, username: str, course_id: str) -> bytes | None:
        """Returns an enrollment, active or not, as JSON; None where there is none.

        It is as it was after this was called, or newer. Raises Overloaded, DatabaseUnavailable.
        """
        return (
            await self._one.read(PointKey(username, course_id)) if is_storable(username) else None
        )

    async def list_active(self, username: str) -> bytes:
        """Returns the active enrollments of a learner as a JSON list, oldest first.

        Raises Overloaded, DatabaseUnavailable.
        """
        return await self._lists.read(username) if is_storable(username) else _EMPTY_LIST

    async def list_shared(self, username: str, staff: str) -> bytes:
        """Returns those of a learner's active enrollments that `staff` sees as staff of the course.

        Raises Overloaded, DatabaseUnavailable.
        """
        if not is_storable(username):
            return _EMPTY_LIST
        return await self._shared.read(SharedKey(username, staff))

    def close(self) -> None:
        """Waits for running queries, then closes every connection."""
        self._database.close()

    def _find_group(self, session: Session, keys: Sequence[PointKey]) -> list[bytes | None]:
        reads = point_reads.find_many(session, keys)
        details = self._details_of(session, reads)
        return [
            render_spliced(_splice(key.username, states[0], details)) if states else None
            for key, states in zip(keys, reads.found, strict=True)
        ]

    def _list_group(self, session: Session, usernames: Sequence[str]) -> list[bytes]:
        return self._render_lists(session, usernames, point_reads.list_active(session, usernames))

    def _shared_group(self, session: Session, keys: Sequence[SharedKey]) -> list[bytes]:
        usernames = [key.username for key in keys]
        return self._render_lists(session, usernames, point_reads.list_shared(session, keys))

    def _render_lists(
        self, session: Session, usernames: Sequence[str], reads: PointReads
    ) -> list[bytes]:
        details = self._details_of(session, reads)
        return [
            render_spliced([_splice(username, state, details) for state in states])
            for username, states in zip(usernames, reads.found, strict=True)
        ]

    def _details_of(self, session: Session, reads: PointReads) -> dict[str, orjson.Fragment]:
        course_ids = {state.course_id for states in reads.found for state in states}
        return self._details.find_all(session, reads.edition, course_ids)


def _splice(
    username: str, state: StateView, details: dict[str, orjson.Fragment]
) -> dict[str, object]:
    return splice_enrollment(
        username,
        state.mode,
        is_active=state.is_active,
        created=state.created,
        details=details.get(state.course_id),
    )
