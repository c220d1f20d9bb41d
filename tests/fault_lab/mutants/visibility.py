"""Mutants that answer too early or write too late."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from api_gateway.intake import upload_store
from api_gateway.intake.record_collector import RecordCollector
from api_gateway.intake.upload_split import BatchGroups
from api_gateway.intake.upload_store import UploadStore
from enrollment.domain.errors import EnrollmentError
from enrollment.runtime.failpoints import FailPointReached
from enrollment.storage import events
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue import batches
from intake_store import group_store
from tests.fault_lab.mutants.registry import mutant, mutant_that_shows, while_singles_overtake_files
from tests.fault_lab.simulator.environment import patched
from tests.fault_lab.simulator.processes import ProcessCrashed
from tests.support.context_managers import at_once


class _Undone:
    """Sessions whose transactions are rolled back."""

    def __init__(self, sessions: Sessions) -> None:
        self._sessions = sessions

    @contextmanager
    def begin(self) -> Iterator[Any]:
        with self._sessions.read() as session:
            yield session
            session.rollback()


@mutant
def accepted_before_commit() -> Iterator[None]:
    """The client gets 202 before the single request is stored."""
    real = group_store.store_group

    def store(sessions: Sessions, requests: Any, monotonic: Any) -> Any:
        made: dict[int, Any] = {}
        ids = group_store.uuid7s
        with patched(
            group_store, "uuid7s", lambda now, n: made.get(n) or made.setdefault(n, ids(now, n))
        ):
            with patched(group_store, "fail_point", lambda _: False):
                answer = real(_Undone(sessions), requests, monotonic)  # type: ignore[arg-type]
            with suppress(ProcessCrashed, EnrollmentError, FailPointReached):
                return real(sessions, requests, monotonic)
        return answer

    with patched(group_store, "store_group", store):
        yield


@mutant
def published_before_complete() -> Iterator[None]:
    """A file is published with its first part; the others follow."""

    def write(self: UploadStore, upload: Any, split: Any, rest: Any) -> Any:
        alone = upload.options.must_run_alone
        size = upload_store.UPLOAD_BATCHES_PER_TRANSACTION
        groups = list(BatchGroups(split.file_info, split.first, rest, size=size).groups())
        total = sum(draft.rows for some in groups for draft in some)
        bulk = self._insert_submission(upload, split)
        submission_id, records = bulk.id, RecordCollector(self.sessions, bulk)
        first: Any = _Groups(groups[:1])
        self._insert_batches(submission_id, first, records, lane=split.lane, alone=alone)
        published = self._publish(upload, submission_id, total, split.fingerprint, None)
        at = len(groups[0])
        for some in groups[1:]:
            news = [batches.NewBatch(draft.rows, draft.payload) for draft in some]
            with self.sessions.begin() as session:
                batches.insert_for_submission(
                    session, submission_id, at, news, lane=split.lane, alone=alone
                )
            at += len(some)
        return published

    with patched(UploadStore, "_write", write):
        yield


class _Groups:
    """Groups of batch drafts, with the interface that the upload store expects."""

    def __init__(self, groups: list[Any]) -> None:
        self.groups = lambda: iter(groups)


@mutant_that_shows(while_singles_overtake_files)
def feed_positions_by_batch() -> Iterator[None]:
    """Events get feed positions in the reverse order of batch ids, not in that of processing."""
    real = events.assign_positions

    def take(session: Any, events_of: Any) -> int:
        return real(session, dict(sorted(events_of.items(), reverse=True)))

    with patched(events, "assign_positions", take):
        yield


@mutant
def events_after_commit() -> Iterator[None]:
    """Events and their feed positions are written in a transaction of their own."""
    add, take, begin = events.append_pipelined, events.assign_positions, Sessions.begin

    @contextmanager
    def begin_and_tell(self: Sessions, **limits: Any) -> Iterator[Any]:
        with begin(self, **limits) as session:
            yield session
            later = session.info.pop("later", [])
        if later:
            with self.begin() as session:
                for write in later:
                    write(session)

    def note(session: Any, write: Callable[[Any], Any]) -> None:
        session.info.setdefault("later", []).append(write)

    @contextmanager
    def add_later(session: Any, events: Any) -> Iterator[None]:
        note(session, lambda session: at_once(add(session, events)))
        yield

    def take_later(session: Any, events_of: Any) -> int:
        note(session, lambda session: take(session, events_of))
        return 0

    with (
        patched(Sessions, "begin", begin_and_tell),
        patched(events, "append_pipelined", add_later),
        patched(events, "assign_positions", take_later),
    ):
        yield
