"""The checker accepts a correct history, and finds and names each way of falsifying it."""

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import delete, select, update

from enrollment.domain import decision
from enrollment.domain.codes import Code, Reason
from enrollment.domain.rules import Refusal
from enrollment.storage import courses, migrate
from enrollment.storage.engine.sessions import Sessions, sessions_for
from enrollment.storage.tables import (
    BatchRow,
    EnrollmentRow,
    EventRow,
    FeedRow,
    IdempotencyRow,
    SubmissionRow,
)
from schemas.outcomes import decode_outcomes, encode_outcomes
from tests.fault_lab.checker.check import CheckResult, Trace
from tests.fault_lab.checker.ledger import Mark, mark
from tests.fault_lab.checker.scripted_history import (
    OPEN,
    SCARCE,
    SEATS,
    ScriptedHistory,
    batch_ids,
    change_outcome,
    change_row,
    found,
    of,
    record_everything,
)
from tests.fault_lab.checker.seats import SLACK
from tests.fault_lab.history import Op, Phase
from tests.fault_lab.load.client import RequestedChange, digest
from tests.support.in_process_service import World, request


@pytest.fixture(scope="module")
def migrated(tmp_path_factory) -> Path:
    """A database that each test gets a copy of."""
    path = tmp_path_factory.mktemp("migrated") / "enrollment.sqlite3"
    migrate.upgrade(f"sqlite:///{path}")
    return path


@pytest.fixture
def play(migrated, tmp_path) -> Iterator[ScriptedHistory]:
    path = tmp_path / migrated.name
    shutil.copy(migrated, path)
    sessions = sessions_for(f"sqlite:///{path}")
    yield ScriptedHistory(World(sessions))
    sessions.dispose()


@pytest.fixture
def ids(play) -> dict[str, str]:
    return record_everything(play)


# --- a correct history ------------------------------------------------------------------


def test_an_honest_run_is_good_on_each_database(sessions: Sessions):
    play = ScriptedHistory(World(sessions))
    record_everything(play)
    verdict = play.check(minimum=8, max_p99=1.0)
    assert verdict.result is CheckResult.OK, verdict.text()
    assert (verdict.accepted, verdict.accepted_items) == (7, 8)
    assert verdict.p50 == verdict.p99 == 0.01
    assert verdict.recovery_seconds is not None


def test_what_was_before_the_mark_is_left_alone(play, ids):
    before = mark(play.world.sessions)
    assert before > Mark()
    later = ScriptedHistory(play.world, keys=count(100))
    later.course("course-v1:Uni+Later+2026")
    later.single("ada", "course-v1:Uni+Later+2026")
    later.work()
    position = later.feed(before.position)
    later.end()
    verdict = later.check(since=before)
    assert verdict.result is CheckResult.OK, verdict.text()
    assert (verdict.events, position) == (1, before.position + 1)
    assert found(later.check(), "I3", "no client sent it")


# --- I13: evidence ------------------------------------------------------------------------


def test_a_nemesis_without_a_witness_proves_nothing(play, ids):
    play.note(Op.FAULT, Phase.START, fault="F1")
    verdict = play.check()
    assert (verdict.result, verdict.doubts) == (
        CheckResult.UNKNOWN,
        ["nothing shows that F1 took hold in 1 times"],
    )
    play.note(Op.FAULT, Phase.WITNESS, fault="F1", pid=1)
    assert play.check().result is CheckResult.OK


def test_too_little_load_proves_nothing(play, ids):
    verdict = play.check(minimum=1_000)
    assert verdict.result is CheckResult.UNKNOWN
    assert "only 8 requests were accepted, not 1000" in verdict.text()


@pytest.mark.parametrize("trace", Trace)
def test_a_fault_that_left_no_trace_proves_nothing(play, ids, trace):
    verdict = play.check(traces=[trace])
    assert (verdict.result, verdict.doubts) == (
        CheckResult.UNKNOWN,
        [f"the fault left no {trace}"],
    )


def test_traces_are_counted(play, ids):
    change_row(play, update(BatchRow).where(BatchRow.id == 1).values(repeats=2, attempts=3))
    first = next(place for place, record in enumerate(play.records) if record.key == "key1")
    unknown = play.records[first]._replace(phase=Phase.UNKNOWN)
    play.records.insert(first + 1, unknown)
    play.change(of(Op.SINGLE, key="key1"), facts={"replayed": True})
    verdict = play.check(traces=list(Trace))
    assert verdict.result is CheckResult.OK, verdict.text()
    assert list(verdict.traces.values()) == [1, 1, 2, 3]


def test_what_nobody_read_to_its_end_proves_nothing(play, ids):
    play.records = [record for record in play.records if record.op is not Op.FEED]
    assert play.check().doubts == ["no client read the feed to its end"]
    play.records = [record for record in play.records if record.op is not Op.STATUS]
    assert "7 submissions were never seen to be done" in play.check().doubts


# --- I1, I3, I4: stored, and nothing else -----------------------------------------------


def test_an_accepted_id_that_is_lost_is_found(play, ids):
    change_row(play, delete(SubmissionRow).where(SubmissionRow.id == UUID(ids["gone"])))
    verdict = play.check()
    assert found(verdict, "I1", ids["gone"], "is lost")


def test_a_202_that_never_had_a_row_is_found(play, ids):
    play.note(Op.SINGLE, Phase.INVOKE, key="lie", changes=[RequestedChange("ada", OPEN)], attempt=1)
    play.accept(Op.SINGLE, "lie", "01890000-0000-7000-8000-000000000000")
    assert found(play.check(), "I1", "01890000", "was accepted and is lost")


def test_a_file_of_which_a_row_is_lost_is_found(play, ids):
    play.change(
        of(Op.FILE, Phase.INVOKE),
        facts={
            "changes": [
                RequestedChange("ada", OPEN),
                RequestedChange("eve", OPEN),
                RequestedChange("bob", OPEN),
            ]
        },
    )
    assert found(play.check(), "I1", ids["stale"], "has 2 requests of 3")


def test_a_file_that_was_accepted_and_never_published_is_found(play, ids):
    its_row = SubmissionRow.id == UUID(ids["stale"])
    change_row(play, update(SubmissionRow).where(its_row).values(published_at=None))
    assert found(play.check(), "I1", ids["stale"], "never published")


def test_a_submission_that_nobody_asked_for_is_found(play, ids):
    (ghost,) = play.world.ask(request("ghost", OPEN))
    play.work()
    assert found(play.check(), "I3", str(ghost), "no client sent it")


def test_a_4xx_with_a_row_is_found(play, ids):
    play.change(of(Op.SINGLE, id=ids["gone"]), phase=Phase.FAIL, status=400)
    assert found(play.check(), "I3", ids["gone"], "refused with [400]")


def test_an_unknown_answer_may_have_a_row_or_none(play, ids):
    play.note(Op.SINGLE, Phase.INVOKE, key="cut", changes=[RequestedChange("ada", OPEN)], attempt=1)
    play.note(Op.SINGLE, Phase.UNKNOWN, key="cut")
    play.change(of(Op.SINGLE, id=ids["gone"]), phase=Phase.UNKNOWN, status=503)
    play.records = [one for one in play.records if one.op is not Op.STATUS or one.id != ids["gone"]]
    assert play.check().result is CheckResult.OK, play.check().text()


def test_another_wish_than_the_one_that_was_sent_is_found(play, ids):
    play.change(
        of(Op.SINGLE, Phase.INVOKE, key="key1"), facts={"changes": [RequestedChange("eve", OPEN)]}
    )
    assert found(play.check(), "I3", ids["first"], "'eve'", "was sent")


def test_a_key_with_two_ids_is_found(play, ids):
    play.accept(Op.SINGLE, "key1", ids["gone"])
    assert found(play.check(), "I4", ids["first"], ids["gone"])


def test_a_key_that_is_kept_for_another_submission_is_found(play, ids):
    its_row = IdempotencyRow.key == "key1"
    change_row(play, update(IdempotencyRow).where(its_row).values(submission_id=UUID(ids["gone"])))
    assert found(play.check(), "I4", ids["first"], f"{ids['gone']} is stored")


def test_a_key_that_is_forgotten_is_found(play, ids):
    change_row(play, delete(IdempotencyRow).where(IdempotencyRow.key == "key1"))
    assert found(play.check(), "I4", "key1", "is forgotten")


@pytest.mark.parametrize(("phase", "status"), [(Phase.OK, 202), (Phase.FAIL, 400)])
def test_a_key_that_is_taken_with_another_body_is_found(play, ids, phase, status):
    play.note(Op.REUSE, Phase.INVOKE, key="key1", changes=[RequestedChange("eve", OPEN)])
    play.note(Op.REUSE, phase, key="key1", status=status, id=ids["first"])
    assert found(play.check(), "I4", "another body", str(status))
    play.change(of(Op.REUSE, phase), phase=Phase.FAIL, status=422)
    assert play.check().result is CheckResult.OK


def test_a_key_that_was_accepted_and_then_refused_is_found(play, ids):
    play.note(Op.SINGLE, Phase.FAIL, key="key1", status=422)
    assert found(play.check(), "I4", "key1", "[422]", "stands for")


# --- I2: one outcome, permanently -------------------------------------------------------


def test_what_is_never_answered_is_found(play, ids):
    late = play.single("late")
    assert found(play.check(), "I2", late, "has no outcome (waiting)")


def test_a_doubled_outcome_is_found(play, ids):
    head = play.world.submission(UUID(ids["gone"]))
    with play.world.sessions.begin() as session:
        kept = session.get(BatchRow, head.batch_id)
        outcomes = decode_outcomes(kept.outcomes)
        kept.outcomes = encode_outcomes([*outcomes, outcomes[-1]])
    assert found(play.check(), "I2", "has 2 outcomes for 1 requests")


def test_an_outcome_that_was_another_before_is_found(play, ids):
    change_outcome(play, ids["second"], code=Code.UPDATED)
    assert found(play.check(), "I2", ids["second"], "'mode_changed'", "'updated'")


def test_an_outcome_that_was_read_and_is_gone_is_found(play, ids):
    first = play.world.submission(UUID(ids["gone"]))
    its_row = BatchRow.id == first.batch_id
    change_row(play, update(BatchRow).where(its_row).values(outcomes=None, answered_at=None))
    assert found(play.check(), "I2", ids["gone"], "has no outcome now")


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (Code.INVALID, Reason.INTERNAL_ERROR),
        (Code.INVALID, Reason.INVALID_ROW),
        (Code.CANCELLED, None),
        (Code.REFUSED, Reason.ENROLLMENT_CLOSED),
    ],
)
def test_an_outcome_for_which_there_is_no_ground_is_found(play, ids, code, reason):
    change_outcome(play, ids["gone"], code=code, reason=reason)
    assert found(play.check(), "I2", ids["gone"], code.value, "nothing is wrong with it")


def test_only_poison_may_come_to_internal_error(play):
    play.course(OPEN)
    poison, other = play.single("poison1"), play.single("other")
    play.work()
    for id_ in (poison, other):
        change_outcome(play, id_, code=Code.INVALID, reason=Reason.INTERNAL_ERROR)
    for key in ("key1", "key2"):
        play.change(of(Op.SINGLE, Phase.INVOKE, key=key), facts={"poison": True})
    play.end()
    verdict = play.check()
    assert found(verdict, "I2", other, "nothing is wrong with it")
    assert not found(verdict, "I2", poison, "nothing is wrong with it")


def test_an_answer_long_after_healing_is_found(play, ids):
    late = datetime.now(UTC) + timedelta(seconds=100)
    change_row(play, update(BatchRow).where(BatchRow.id == 1).values(answered_at=late))
    assert found(play.check(answered_within=60), "I2", "later than promised")
    assert play.check(answered_within=200).result is CheckResult.OK
    assert play.check(answered_within=60, clocks_agree=False).result is CheckResult.OK


# --- I5, I7, I8: fold, order, feed --------------------------------------------------------


def test_an_enrollment_that_is_not_what_its_events_say_is_found(play, ids):
    with play.world.sessions.begin() as session:
        session.execute(update(EnrollmentRow).values(mode="honor"))
    assert found(play.check(), "I5")


def test_an_event_that_is_gone_is_found(play, ids):
    last = select(EventRow.id).order_by(EventRow.id.desc()).limit(1).scalar_subquery()
    change_row(play, delete(EventRow).where(EventRow.id == last))
    verdict = play.check()
    assert found(verdict, "I3", "has no event")
    assert found(verdict, "I8", "head is")


def test_an_event_without_its_outcome_is_found(play, ids):
    change_outcome(play, ids["gone"], code=Code.UNCHANGED)
    assert found(play.check(), "I3", ids["gone"], "is unchanged and has deactivated")


def test_an_event_about_somebody_else_is_found(play, ids):
    its_row = EventRow.submission_id == UUID(ids["gone"])
    change_row(play, update(EventRow).where(its_row).values(username="eve"))
    assert found(play.check(), "I3", "is about somebody else")


def test_an_order_that_is_turned_round_is_found(play, monkeypatch):
    """Without precedence the request that is processed last wins."""
    monkeypatch.setattr(decision, "_is_superseded", lambda *_: False)
    monkeypatch.setattr(
        decision,
        "_drop_superseded_fields",
        lambda asked, _: decision.EffectiveChange(asked.is_active, *asked[7:10]),
    )
    play.course(OPEN)
    older, newer = play.single("ada"), play.single("ada", is_active=False)
    play.world.deliver(*reversed(batch_ids(play, older, newer)))
    play.end()
    verdict = play.check()
    assert found(verdict, "I7", older, "set is_active", "which ranks higher")
    assert found(verdict, "I7", newer, "is the highest")


def test_deliveries_in_any_order_come_to_the_same(play):
    play.course(OPEN)
    ids = [play.single("ada"), play.single("ada", is_active=False), play.single("ada")]
    play.world.deliver(*reversed(batch_ids(play, *ids)))
    play.end()
    assert play.check().result is CheckResult.OK, play.check().text()
    assert play.world.codes(UUID(ids[0])) == [Code.SUPERSEDED]


def test_a_wish_that_ranks_below_one_that_was_heard_before_it_is_found(play, ids):
    """The client claims that the second was answered before the first was sent."""
    accepted_at = next(record for record in play.records if of(Op.SINGLE, key="key2")(record))
    play.change(of(Op.SINGLE, Phase.INVOKE, key="key1"), t=accepted_at.t + 0.000_001)
    assert found(play.check(), "I7", ids["second"], "was accepted before", ids["first"])


def test_what_is_superseded_by_nothing_is_found(play, ids):
    change_outcome(play, ids["gone"], code=Code.SUPERSEDED)
    assert found(play.check(), "I7", ids["gone"], "though it has the highest rank")


def test_an_enrollment_that_is_gone_is_found(play, ids):
    with play.world.sessions.begin() as session:
        session.execute(delete(EnrollmentRow))
    assert found(play.check(), "I7", "has no enrollment")


def test_an_enrollment_without_a_wish_that_was_heard_is_found(play):
    play.course(OPEN)
    ada = play.single("ada")
    play.work()
    change_outcome(play, ada, code=Code.REFUSED, reason=Reason.COURSE_FULL)
    play.end()
    assert found(play.check(), "I7", "no request for it was applied")


def test_a_mode_that_is_not_the_latest_wish_is_found(play, ids):
    play.change(
        of(Op.SINGLE, Phase.INVOKE, key="key2"),
        facts={"changes": [RequestedChange("ada", OPEN, mode="audit")]},
    )
    with play.world.sessions.begin() as session:
        session.execute(update(EnrollmentRow).values(mode_line=99))
    assert found(play.check(), "I7", "has the mode verified", "is the highest")


def test_a_clock_that_no_wish_ever_had_is_found(play, ids):
    with play.world.sessions.begin() as session:
        session.execute(update(EnrollmentRow).values(active_rank=EnrollmentRow.active_rank + 1))
    assert found(play.check(), "I7", "is_active=", "is the highest")


def test_a_page_of_the_feed_with_a_hole_is_found(play, ids):
    play.change(of(Op.FEED, since=0), facts={"positions": [[1, 1], [3, 6]]})
    assert found(play.check(), "I8", "the page after 0 has [[1, 1], [3, 6]]")


def test_a_page_of_the_feed_with_other_events_is_found(play, ids):
    play.change(of(Op.FEED, since=0), facts={"digest": "0" * 32})
    assert found(play.check(), "I8", "had other events than are stored")


def test_a_feed_that_ends_before_what_was_read_is_found(play, ids):
    empty = {"positions": [], "digest": digest([])}
    play.note(Op.FEED, Phase.OK, began=time.time(), since=2, next=2, **empty)
    assert found(play.check(), "I8", "the feed ends at 2")


def test_a_span_that_is_longer_than_its_events_is_found(play, ids):
    change_row(play, update(FeedRow).where(FeedRow.last == 6).values(last=7))
    assert found(play.check(), "I8", "and its head is 7")


def test_a_page_that_was_read_after_the_end_of_the_feed_is_found(play, ids):
    change_row(play, delete(FeedRow).where(FeedRow.last == 6))
    assert found(play.check(), "I8", "after the head")


# --- I6: seats ----------------------------------------------------------------------------


def test_seats_beyond_the_capacity_are_found(play, ids):
    """The client claims that the course had fewer seats than it had."""
    for phase in (Phase.INVOKE, Phase.OK):
        play.change(of(Op.COURSE, phase, course_id=SCARCE), facts={"capacity": 1})
    verdict = play.check()
    assert found(verdict, "I6", SCARCE, "has 2 of 1 seats taken")
    assert found(verdict, "I6", "seats.exceeded")


def one_too_early(course, taken):
    full = course.capacity is not None and taken >= course.capacity - 1
    return Refusal(Reason.COURSE_FULL, {"capacity": course.capacity}) if full else None


@pytest.mark.parametrize("together", [True, False])
def test_a_refusal_though_there_is_room_is_found(play, monkeypatch, together):
    """Refused beside requests that were applied (a position in the feed), and alone (none)."""
    monkeypatch.setattr(decision, "refuse_when_full", one_too_early)
    play.course(SCARCE, SEATS)
    first = play.single("ada", SCARCE)
    if not together:
        play.work()
    second = play.single("eve", SCARCE)
    play.end()
    assert play.world.codes(UUID(first)) == [Code.ENROLLED]
    assert found(play.check(), "I6", second, "refused, though 1 of 2 seats")


def test_a_refusal_after_a_seat_was_seen_to_be_free_is_found(play, monkeypatch):
    """The course was full before; a reader of the feed knows that it no longer is."""
    play.course(SCARCE, 1)
    play.single("ada", SCARCE)
    play.work()
    play.single("ada", SCARCE, is_active=False)
    play.work()
    play.feed()
    monkeypatch.setattr(decision, "refuse_when_full", one_too_early)
    refused = play.single("eve", SCARCE)
    play.end()
    assert found(play.check(), "I6", refused, "though 0 of 1 seats")


def test_a_refusal_for_a_capacity_that_the_course_never_had_is_found(play, ids):
    for phase in (Phase.INVOKE, Phase.OK):
        play.change(of(Op.COURSE, phase, course_id=SCARCE), facts={"capacity": 9})
    assert found(play.check(), "I6", "refused for 2 seats", "did not have")


def test_capacities_that_are_raised_and_lowered_are_followed(play):
    play.course(SCARCE, 1)
    for number in range(2):
        play.single(f"one{number}", SCARCE)
    play.work()
    play.course(SCARCE, 3)
    for number in range(3):
        play.single(f"three{number}", SCARCE)
    play.work()
    play.course(SCARCE, 1)
    play.single("late", SCARCE)
    play.end()
    assert play.check().result is CheckResult.OK, play.check().text()
    assert play.world.enrollments().keys() >= {(SCARCE, "one0"), (SCARCE, "three0")}


def test_seats_that_a_lowered_capacity_does_not_have_are_found(play):
    """The client lowered the capacity before the last request was applied."""
    play.course(SCARCE, 3)
    play.single("first", SCARCE)
    play.work()
    lowered = {"course_id": SCARCE, "capacity": 1, "is_plain": True}
    play.note(Op.COURSE, Phase.INVOKE, **lowered)
    play.note(Op.COURSE, Phase.OK, **lowered)
    play.records = [record._replace(t=record.t - 2 * SLACK) for record in play.records]
    play.single("second", SCARCE)
    play.end()
    assert found(play.check(), "I6", "has 2 of 1 seats taken")


def test_seats_that_are_counted_wrong_are_found(play, ids):
    with play.world.sessions.begin() as session:
        course = courses.find(session, SCARCE)
        assert course is not None
        session.execute(update(EnrollmentRow).values(is_active=True))
    assert found(play.check(), "I6")


# --- I10, I12: reads and bounds -----------------------------------------------------------


def test_a_404_after_a_202_is_found(play, ids):
    play.note(Op.STATUS, Phase.FAIL, id=ids["first"], status=404, began=time.time())
    assert found(play.check(), "I10", ids["first"], "404")


def test_a_state_that_goes_back_is_found(play, ids):
    counts = {"pending": 1}
    play.note(
        Op.STATUS, Phase.OK, id=ids["first"], began=time.time(), state="queued", counts=counts
    )
    assert found(play.check(), "I10", ids["first"], "was done", "then queued")


def test_counts_that_change_after_the_end_are_found(play, ids):
    counts = {"pending": 0, "refused": 1}
    play.note(Op.STATUS, Phase.OK, id=ids["first"], began=time.time(), state="done", counts=counts)
    assert found(play.check(), "I10", ids["first"], "counted", "refused")


def test_two_looks_at_once_may_be_answered_in_any_order(play, ids):
    counts = {"pending": 1}
    began = play.records[0].t
    play.note(Op.STATUS, Phase.OK, id=ids["first"], began=began, state="queued", counts=counts)
    assert play.check().result is CheckResult.OK


def test_an_enrollment_that_is_older_than_its_outcome_is_found(play, ids):
    stale = {"is_active": True, "mode": "audit", "user": "ada", "course_id": OPEN}
    play.note(Op.ENROLLMENT, Phase.OK, id=ids["gone"], began=time.time(), **stale)
    assert found(play.check(), "I10", "was read as (True, 'audit')")


def test_answers_that_take_too_long_are_found(play, ids):
    play.change(of(Op.SINGLE, id=ids["gone"]), facts={"seconds": 3.0})
    assert found(play.check(max_p99=1.0), "I12", "3.000")


def test_a_violation_is_told_with_all_that_is_known_of_it(play, ids):
    change_outcome(play, ids["gone"], code=Code.UPDATED)
    text = play.check().text()
    for part in (
        "single invoke",
        "single ok",
        "status ok",
        "batch ",
        "outcome: ",
        "event ",
        "clock",
    ):
        assert part in text
    assert ids["gone"] in text
