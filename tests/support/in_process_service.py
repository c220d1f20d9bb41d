"""The service without HTTP and broker: submits requests, delivers batches in any order, and checks
the invariants.
"""

import hashlib
import io
import random
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import select

from api_gateway.audit.report import Report
from api_gateway.audit.verify import check_snapshot
from api_gateway.auth.caller import Caller
from api_gateway.intake.dispatcher import Dispatcher
from api_gateway.intake.upload_store import UploadStore
from enrollment.domain.codes import CallerKind, Code, Lane
from enrollment.domain.events import EnrollmentState, RecordedEvent
from enrollment.domain.model import Course, Learner, Mode, Outcome
from enrollment.domain.submissions import Submission, SubmissionOptions
from enrollment.storage import courses, events, learners, submissions
from enrollment.storage.engine.consistent_snapshot import snapshot
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.queue import batches
from enrollment.storage.queue.batches import BatchRef
from enrollment.storage.tables import (
    BatchRow,
    CourseRow,
    EnrollmentRow,
    LearnerRow,
    SubmissionRow,
)
from enrollment.storage.views import enrollment_views
from intake_store.group_store import SingleRequest, StoredGroup, store_group
from intake_store.upload import StoredUpload, Upload
from schemas.files.source import Limits
from schemas.outcomes import decode_outcomes
from schemas.requests.parsed import ParsedRequest
from worker.processing.processor import Processor
from worker.processing.strategies import DEFAULT_RULES, SiteRules
from worker.processing.transaction import BatchTransaction, ProcessedBatches

SERVER = Caller("key:sis", CallerKind.SERVER, frozenset({"enroll"}))
ADMIN = Caller("key:admin", CallerKind.ADMIN, frozenset({"admin"}))
ADA = Caller("user:ada", CallerKind.LEARNER, username="ada")

COURSE = "course-v1:Uni+Algebra+2026"
OTHER = "course-v1:Uni+Biology+2026"

#: More events than any test makes.
ALL = 1_000_000


def request(user: str | None = "ada", course_id: str = COURSE, **wish: Any) -> ParsedRequest:
    """Returns a parsed request."""
    return ParsedRequest(user, wish.pop("email", None), course_id, **wish)


def hours_ago(hours: float) -> datetime:
    """Returns a time in the past."""
    return datetime.now(UTC) - timedelta(hours=hours)


def csv_of(rows: Iterable[dict[str, object]]) -> bytes:
    """Returns a native file; booleans and times are written as people write them."""
    rows = list(rows)
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [",".join(names)]
    lines += [",".join(_cell(row.get(name)) for name in names) for row in rows]
    return ("\n".join(lines) + "\n").encode()


def _cell(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return value.isoformat() if isinstance(value, datetime) else str(value)


def row(user: str = "ada", course_id: str = COURSE, **wish: object) -> dict[str, object]:
    """Returns one line of a native file."""
    return {"user": user, "course_id": course_id, **wish}


class Batch(NamedTuple):
    """The state of one batch."""

    id: int
    lane: Lane
    announced: bool
    answered: bool
    attempts: int
    parked: bool


@dataclass
class World:
    """A database, the intake, and a worker."""

    sessions: Sessions
    batch_rows: int = 1_000
    max_atomic_rows: int = 10_000
    rules: SiteRules = DEFAULT_RULES

    def __post_init__(self) -> None:
        self.processor = Processor(
            sessions=self.sessions, transaction=BatchTransaction(rules=self.rules)
        )
        self.rings: list[BatchRef] = []
        self.dispatcher = Dispatcher(self.rings.append)
        #: The greatest capacity that each course ever had.
        self.most_seats: dict[str, int | None] = {}

    def close(self) -> None:
        """Closes the files of unfinished dry runs, and of records."""
        self.processor.transaction.overlays.close()
        self.processor.transaction.records.close()

    # --- data -----------------------------------------------------------------------------

    def course(self, course_id: str = COURSE, modes: Iterable[str] = (), **facts: Any) -> Course:
        """Saves a course; by default it offers audit."""
        made = Course(course_id=course_id, modes=tuple(Mode(slug=slug) for slug in modes), **facts)
        with self.sessions.begin() as session:
            courses.save(session, made)
        most, now = self.most_seats.get(course_id, 0), made.capacity
        self.most_seats[course_id] = None if most is None or now is None else max(most, now)
        return made

    def learner(self, username: str, email: str | None = None, **facts: Any) -> None:
        """Saves a learner."""
        with self.sessions.begin() as session:
            learners.save(session, Learner(username, email, **facts))

    # --- intake ---------------------------------------------------------------------------

    def ask(
        self, *wishes: ParsedRequest, caller: Caller = SERVER, hours_ago: float = 0.0
    ) -> list[UUID]:
        """Stores single requests in one commit; received some hours ago."""
        askings = [SingleRequest(caller, wish, 0.0) for wish in wishes]
        stored = self.take_in(*askings, now=hours_ago * 3600)
        return [receipt.submission_id for receipt in stored.results]  # type: ignore[union-attr]

    def take_in(self, *askings: SingleRequest, now: float = 0.0) -> StoredGroup:
        """Stores single requests; ``now`` is the monotonic clock."""
        return store_group(self.sessions, askings, lambda: now)

    def send(self, content: bytes | Iterable[dict[str, object]], **how: Any) -> UUID:
        """Stores a file: bytes, or rows of a native one."""
        return self.publish(content, **how).submission_id

    def publish(
        self,
        content: bytes | Iterable[dict[str, object]],
        *,
        caller: Caller = ADMIN,
        media_type: str = "text/csv",
        lane: Lane | None = Lane.BULK,
        key: str | None = None,
        hours_ago: float = 0.0,
        file: Any = None,
        format_: str = "auto",
        traceparent: str | None = None,
        **options: Any,
    ) -> StoredUpload:
        """Stores a file; returns also whether it was a replay."""
        body = content if isinstance(content, bytes) else csv_of(content)
        return self.uploads(lambda: hours_ago * 3600).store(
            Upload(
                file=file or io.BytesIO(body),
                media_type=media_type,
                gzip=False,
                caller=caller,
                options=SubmissionOptions(**options),
                lane=lane,
                first_byte=0.0,
                request_id=None,
                key=key,
                digest=hashlib.sha256(),
                format=format_,
                traceparent=traceparent,
            )
        )

    def uploads(self, monotonic: Callable[[], float] = time.monotonic) -> UploadStore:
        """Returns the upload store."""
        return UploadStore(
            sessions=self.sessions,
            dispatcher=self.dispatcher,
            limits=Limits(batch_rows=self.batch_rows),
            max_atomic_rows=self.max_atomic_rows,
            monotonic=monotonic,
        )

    # --- work -----------------------------------------------------------------------------

    def one_at_a_time(self) -> None:
        """Processes each batch in a transaction of its own from now on."""
        self.rows_at_a_time(1)

    def rows_at_a_time(self, rows: int) -> None:
        """Processes batches of a file together up to so many rows from now on."""
        self.processor = replace(self.processor, rows_per_transaction=rows)

    def deliver(self, *batch_ids: int) -> list[ProcessedBatches]:
        """Delivers messages in this order."""
        return [self.processor.process(batch_id) for batch_id in batch_ids]

    def work(self, rng: random.Random | None = None) -> None:
        """Delivers waiting batches, in the order of intake or any other, until there are none."""
        while waiting := self.waiting():
            if rng is not None:
                rng.shuffle(waiting)
            self.deliver(*waiting)

    def waiting(self) -> list[int]:
        """Returns the batches that are dispatched and have no outcomes."""
        return [
            batch.id
            for batch in self.batches()
            if batch.announced and not batch.answered and not batch.parked
        ]

    def batches(self, submission_id: UUID | None = None) -> list[Batch]:
        """Returns all batches, or those of a file, in order."""
        query = select(*_PLACE).order_by(BatchRow.id)
        if submission_id is not None:
            query = query.where(BatchRow.submission_id == submission_id)
        with self.sessions.read() as session:
            return [
                Batch(
                    number,
                    Lane(lane),
                    announced is not None,
                    answered is not None,
                    attempts,
                    parked is not None,
                )
                for number, lane, announced, answered, attempts, parked in session.execute(query)
            ]

    def batch_ids(self, submission_id: UUID) -> list[int]:
        """Returns the batches of a file, or the one that holds a single request."""
        single = self.submission(submission_id).batch_id
        if single is not None:
            return [single]
        return [batch.id for batch in self.batches(submission_id)]

    # --- results --------------------------------------------------------------------------

    def submission(self, submission_id: UUID) -> Submission:
        """Returns a submission."""
        with self.sessions.read() as session:
            found = submissions.find(session, submission_id)
        assert found is not None
        return found

    def outcomes(self, submission_id: UUID) -> list[Outcome]:
        """Returns the outcomes of a submission so far, in its order."""
        with self.sessions.read() as session:
            head = submissions.find(session, submission_id)
            assert head is not None
            if head.batch_id is not None:
                kept = batches.find_result(session, head.batch_id)
                assert kept is not None
                return decode_outcomes(kept.outcomes)[head.position :][:1] if kept.outcomes else []
            answered = batches.list_results(session, submission_id, from_ordinal=0, limit=ALL)
        return [one for kept in answered if kept.outcomes for one in decode_outcomes(kept.outcomes)]

    def codes(self, submission_id: UUID) -> list[Code]:
        """Returns the codes of the outcomes."""
        return [outcome.code for outcome in self.outcomes(submission_id)]

    def answer(self, submission_id: UUID) -> tuple[Code, str | None]:
        """Returns the outcome and reason of a submission with one request."""
        (outcome,) = self.outcomes(submission_id)
        return outcome.code, outcome.reason

    def events(self) -> list[RecordedEvent]:
        """Returns the whole feed."""
        with self.sessions.read() as session:
            return events.events_after(session, 0, limit=ALL)

    def enrollments(self) -> dict[tuple[str, str], EnrollmentState]:
        """Returns every enrollment without precedence, by course and learner."""
        with self.sessions.read() as session:
            listed, _ = enrollment_views.page(
                session, enrollment_views.EnrollmentFilters(), after=None, limit=ALL
            )
        return {
            (one.course_id, one.username): EnrollmentState(
                one.enrollment.mode,
                one.enrollment.is_active,
                one.enrollment.attributes,
                one.enrollment.cohort,
            )
            for one in listed
        }

    def standing(self, username: str = "ada", course_id: str = COURSE) -> EnrollmentState | None:
        """Returns one enrollment without precedence."""
        return self.enrollments().get((course_id, username))

    def dump(self) -> dict[str, Any]:
        """Returns everything that a second delivery must not change."""
        tables: tuple[Any, ...] = (SubmissionRow, BatchRow, EnrollmentRow, LearnerRow, CourseRow)
        with self.sessions.read() as session:
            kept: dict[str, Any] = {
                table.__tablename__: sorted(map(repr, session.execute(select(*table.__table__.c))))
                for table in tables
            }
        return kept | {"events": self.events()}

    # --- invariants -----------------------------------------------------------------------

    def check(self) -> None:
        """Asserts that every invariant holds at any stage of processing."""
        assert self.faults() == []

    def faults(self) -> list[str]:
        """Returns the violations."""
        return [violation.message for violation in self.report().violations]

    def report(self) -> Report:
        """Returns the report of `enroll verify`."""
        with snapshot(self.sessions) as session:
            return check_snapshot(session, capacities=self.most_seats)


_PLACE = (
    BatchRow.id,
    BatchRow.lane,
    BatchRow.announced_at,
    BatchRow.answered_at,
    BatchRow.attempts,
    BatchRow.parked_at,
)
