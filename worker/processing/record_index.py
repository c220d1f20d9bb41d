"""Finds rows that end a record while another record of their file keeps the learner.

The states of all records of a file are stored with it. A worker that meets a row that ends one
loads them to a temporary SQLite file, once for each file, so that memory does not grow with it.
They never change, so every process gets the same answer at any time.
"""

import sqlite3
from collections import OrderedDict, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import closing
from typing import NamedTuple
from uuid import UUID

from sqlalchemy.orm import Session

from enrollment.domain.codes import IdKind
from enrollment.domain.crosswalks import ExternalId
from enrollment.domain.model import Request
from enrollment.domain.submissions import Submission
from enrollment.storage import crosswalks, learners
from enrollment.storage.queue import record_states
from enrollment.storage.queue.record_states import BatchRecordStates
from schemas.files.record_states import RecordKey, decode_states, digest_of_id

#: Indexes that one process keeps.
MAX_INDEXES = 4
#: Batches that one transaction adds to an index. That takes about as long as processing one batch,
#: so single requests do not wait longer than for a batch.
RECORD_BATCHES_PER_LOAD = 40

_TABLE = """
PRAGMA journal_mode = OFF;
PRAGMA synchronous = OFF;
PRAGMA cache_size = -8000;
CREATE TABLE record (
    learner INTEGER, course INTEGER, record INTEGER, is_kept INTEGER,
    PRIMARY KEY (learner, course, record)
) WITHOUT ROWID;
"""


class RecordsIncomplete(NamedTuple):
    """Records of a file are still missing in the index; the batch must be retried."""


class EndedRecord(NamedTuple):
    """A row that ends a record, and the withdrawal that it requests."""

    #: Of the row, among those of the claim.
    position: int
    request: Request
    key: RecordKey


class RecordIndex:
    """The records of one file, with their states by their last rows."""

    def __init__(self) -> None:
        self.is_complete = False
        self._ordinal = -1
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._database.executescript(_TABLE)

    def close(self) -> None:
        """Closes the index and deletes its file."""
        self._database.close()

    def load_more(self, session: Session, submission_id: UUID) -> None:
        """Adds up to `RECORD_BATCHES_PER_LOAD` batches that are missing."""
        limit = RECORD_BATCHES_PER_LOAD
        batches = record_states.list_after(session, submission_id, self._ordinal, limit=limit)
        self.add(batches)
        self.is_complete = len(batches) < limit

    def add(self, batches: Iterable[BatchRecordStates]) -> None:
        """Adds the records of further batches, in order: later states replace earlier ones."""
        self._database.execute("BEGIN")
        for ordinal, states in batches:
            self._database.executemany(
                "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?)", decode_states(states)
            )
            self._ordinal = ordinal
        self._database.execute("COMMIT")

    def has_kept(self) -> bool:
        """Returns whether any record keeps its learner."""
        with closing(self._database.execute("SELECT 1 FROM record WHERE is_kept LIMIT 1")) as rows:
            return rows.fetchone() is not None

    def keeping(self, learner: int) -> list[RecordKey]:
        """Returns the records that keep a learner, named by the digest of an external id."""
        query = "SELECT learner, course, record FROM record WHERE learner = ? AND is_kept"
        with closing(self._database.execute(query, (learner,))) as rows:
            return [RecordKey(*row) for row in rows]


class RecordIndexes:
    """The indexes of one process, least recently used first."""

    def __init__(self) -> None:
        self._open: OrderedDict[UUID, RecordIndex] = OrderedDict()

    def load(self, session: Session, submission_id: UUID) -> RecordIndex | RecordsIncomplete:
        """Returns the index of a file; adds at most `RECORD_BATCHES_PER_LOAD` batches to it."""
        index = self._open.pop(submission_id, None) or RecordIndex()
        if not index.is_complete:
            try:
                index.load_more(session, submission_id)
            except BaseException:  # a batch that was added in part would be wrong
                index.close()
                raise
        self._open[submission_id] = index
        while len(self._open) > MAX_INDEXES:
            self._open.popitem(last=False)[1].close()
        return index if index.is_complete else RecordsIncomplete()

    def close(self) -> None:
        """Closes all indexes; one that is needed again is loaded again."""
        while self._open:
            self._open.popitem()[1].close()


def find_kept(
    session: Session,
    submission: Submission,
    ended: Sequence[EndedRecord],
    indexes: RecordIndexes,
) -> list[EndedRecord] | RecordsIncomplete:
    """Returns those ended records of a file whose learner is kept by another record of it.

    The number of statements does not depend on that of the records.
    """
    index = indexes.load(session, submission.id)
    if isinstance(index, RecordsIncomplete):
        return index
    if not index.has_kept():
        return []
    usernames = {one.request.username for one in ended}
    course_ids = {one.request.course_id for one in ended}
    digests = _find_digests(session, submission, usernames, course_ids)
    return [one for one in ended if _is_kept(one, digests, index)]


#: Digests of the external ids that stand for an id of this service, by kind and that id.
_Digests = Mapping[tuple[IdKind, str], Collection[int]]


def _is_kept(ended: EndedRecord, digests: _Digests, index: RecordIndex) -> bool:
    courses = digests[IdKind.COURSE, ended.request.course_id]
    return any(
        key.course in courses and key != ended.key
        for learner in digests[IdKind.LEARNER, ended.request.username]
        for key in index.keeping(learner)
    )


def _find_digests(
    session: Session,
    submission: Submission,
    usernames: Collection[str],
    course_ids: Collection[str],
) -> _Digests:
    """Returns the digests of all ids that stand for a learner or a course in a file.

    These are the entries of its crosswalks, and the id itself where a crosswalk does not map it to
    another; for learners also their e-mail.
    """
    own = [(IdKind.COURSE, key, key) for key in course_ids]
    own += [(IdKind.LEARNER, name, name) for name in usernames]
    known = learners.find_many(session, set(usernames))
    emails = {name: found.learner.email for name, found in known.items()}
    own += [(IdKind.LEARNER, name, email) for name, email in emails.items() if email is not None]
    sources = {submission.source_of(member) for member in submission.files}
    sources = sources or {submission.options.source}
    named = {
        ExternalId(source, kind, external_id)
        for source in sources
        if source is not None
        for kind, _, external_id in own
    }
    mapped = crosswalks.find_many(session, named)
    digests: defaultdict[tuple[IdKind, str], set[int]] = defaultdict(set)
    for source in sources:
        for kind, local_id, external_id in own:
            if mapped.get(ExternalId(source or "", kind, external_id), local_id) == local_id:
                digests[kind, local_id].add(digest_of_id(kind, source, external_id))
    for external, local_id in crosswalks.find_external_ids(session, named):
        digest = digest_of_id(external.kind, external.source, external.id)
        digests[external.kind, local_id].add(digest)
    return digests
