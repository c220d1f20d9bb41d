"""Collects the states of the records of an uploaded file, if a row of it ends one.

A file that ends no record pays for a search in its text. Otherwise its stored batches are read
again, a few at a time, so that memory use does not depend on the size of the file.
"""

from collections.abc import Sequence
from functools import partial

from api_gateway.database import retry_on_conflict
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue import batches, record_states
from enrollment.storage.queue.batches import BatchResult
from enrollment.storage.queue.record_states import BatchRecordStates
from enrollment.storage.uploads import NewBulk
from intake_store.upload_states import submission_of_new
from schemas.files.record_states import (
    RecordKey,
    encode_states,
    may_end_records,
    may_have_records,
    states_of_batch,
)

#: Batches per transaction: transactions are short, so that single requests commit in between.
_BATCHES_PER_TRANSACTION = 8


class RecordCollector:
    """Collects the states of the records of one file, and stores them."""

    def __init__(self, sessions: Sessions, bulk: NewBulk) -> None:
        self._sessions = sessions
        self._submission = submission_of_new(bulk)
        self._may_have_records = may_have_records(self._submission)
        #: Ordinals of the batches that may end a record.
        self._ordinals: list[int] = []

    def scan(self, ordinal: int, payload: bytes) -> None:
        """Searches the text of a batch for a row that may end a record."""
        if self._may_have_records and may_end_records(self._submission, payload):
            self._ordinals.append(ordinal)

    def store(self) -> None:
        """Stores the states of all stored batches, unless no row of the file ends a record."""
        if not self._is_ended_by_any():
            return
        ordinal = 0
        while found := self._read(ordinal, _BATCHES_PER_TRANSACTION):
            ordinal = found[-1].ordinal + 1
            states = [(batch.ordinal, self._states_of(batch)) for batch in found]
            rows = [BatchRecordStates(n, encode_states(one)) for n, one in states if one]
            retry_on_conflict(partial(self._insert, rows))

    def _insert(self, rows: Sequence[BatchRecordStates]) -> None:
        with self._sessions.begin() as session:
            record_states.insert_all(session, self._submission.id, rows)

    def _is_ended_by_any(self) -> bool:
        for ordinal in self._ordinals:
            (batch,) = self._read(ordinal, 1)
            if not all(self._states_of(batch).values()):
                return True
        return False

    def _read(self, ordinal: int, number: int) -> list[BatchResult]:
        with self._sessions.read() as session:
            return batches.list_results(
                session, self._submission.id, from_ordinal=ordinal, limit=number
            )

    def _states_of(self, batch: BatchResult) -> dict[RecordKey, bool]:
        return states_of_batch(self._submission, batch.payload)
