"""Takes over enrollments that a destination has: hands them in like the rows of a file."""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

import orjson

from enrollment.domain.codes import CallerKind, Lane
from enrollment.domain.destinations.records import RemoteState
from enrollment.domain.errors import EnrollmentError
from enrollment.domain.events import import_caller
from enrollment.domain.rules import format_timestamp
from enrollment.domain.submissions import SubmissionOptions
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue.batches import BatchRef
from intake_store.group_store import store_group
from intake_store.upload import CompleteUpload
from schemas.files.source import Limits
from schemas.files.splitter import split
from schemas.requests.bulk_objects import JSON_MEDIA_TYPE

#: Enrollments of one submission.
IMPORT_ROWS = 1_000
_MAX_BYTES = 8 << 20
_LIMITS = Limits(
    max_bytes=_MAX_BYTES, max_rows=IMPORT_ROWS, max_json_bytes=_MAX_BYTES, batch_rows=IMPORT_ROWS
)


class _Importer(NamedTuple):
    """The caller of an import: only it causes events of kind `imported`."""

    name: str
    kind: CallerKind = CallerKind.ADMIN


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportIntake:
    """Stores what a destination has as submissions."""

    sessions: Sessions
    dispatch: Callable[[BatchRef], object]
    monotonic: Callable[[], float] = time.monotonic

    def hand_in(self, destination: str, states: Sequence[RemoteState]) -> UUID:
        """Stores up to `IMPORT_ROWS` enrollments as a submission; returns its id.

        Raises DatabaseUnavailable, Conflict, and Overloaded.
        """
        text = render_states(states, now=datetime.now(UTC))
        info, batches = split([text], media_type=JSON_MEDIA_TYPE, limits=_LIMITS)
        upload = CompleteUpload(
            _Importer(import_caller(destination)),
            SubmissionOptions(),
            Lane.BULK,
            info,
            tuple(batches),
            self.monotonic(),
        )
        stored = store_group(self.sessions, [upload], self.monotonic)
        (result,) = stored.results
        if isinstance(result, EnrollmentError):
            raise result
        for batch in stored.dispatch:
            self.dispatch(batch)
        return result.submission_id


def render_states(states: Iterable[RemoteState], *, now: datetime) -> bytes:
    """Returns the requests that take enrollments over, as a JSON array.

    Each is requested as of the time at which the enrollment was created there: so a later change
    that was made here is not undone, and the same import once more changes nothing. It is forced,
    for the destination has accepted the learner.
    """
    rows = [
        {
            "user": state.username,
            "course_id": state.course_id,
            "mode": state.mode,
            "is_active": state.is_active,
            "requested_at": format_timestamp(min(state.created or now, now)),
            "force_enrollment": True,
        }
        for state in states
    ]
    return orjson.dumps(rows)
