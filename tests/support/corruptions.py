"""Every way of making the database contradict itself.

The name of each is a sentence; its value is the kind of violation that must be found, at least.
"""

import json
from collections.abc import Callable

from enrollment.domain.audit.violations import ViolationKind
from enrollment.domain.codes import Code
from enrollment.domain.events import MAX_ORDINAL
from enrollment.domain.submissions import CANCELLED_AS_WHOLE
from enrollment.storage.event_ids import batch_id_of, event_id
from tests.support.corruptor import Corruptor
from tests.support.in_process_service import COURSE, OTHER

Forge = Callable[[Corruptor], None]

FORGERIES: dict[str, tuple[Forge, set[ViolationKind]]] = {}


def forgery(*faults):
    """The kind of violation that must be found, at least."""

    def keep(forge):
        FORGERIES[forge.__name__] = forge, set(faults)
        return forge

    return keep


@forgery(
    ViolationKind.FOLD_NEWEST_MISSING, ViolationKind.FEED_SPAN, ViolationKind.OUTCOMES_WITHOUT_EVENT
)
def the_newest_event_is_lost(forger):
    forger.sql("DELETE FROM event WHERE id = :id", id=forger.chain("ada")[-1])


@forgery(
    ViolationKind.FOLD_PREVIOUS_MISSING,
    ViolationKind.FEED_SPAN,
    ViolationKind.OUTCOMES_WITHOUT_EVENT,
)
def an_event_in_between_is_lost(forger):
    forger.sql("DELETE FROM event WHERE id = :id", id=forger.chain("ada")[1])


@forgery(ViolationKind.FEED_SPAN, ViolationKind.FEED_UNFOUNDED, ViolationKind.FOLD_LOOSE)
def an_event_is_there_twice(forger):
    last = forger.chain("gus")[0]
    forger.sql(
        "INSERT INTO event SELECT id + 1, previous_id, kind, course_id, username, at,"
        " submission_id, line, caller, before, after FROM event WHERE id = :id",
        id=last,
    )


@forgery(ViolationKind.FOLD_SHARED, ViolationKind.FOLD_LOOSE)
def an_event_is_followed_by_two(forger):
    first, *_, last = forger.chain("ada")
    forger.sql("UPDATE event SET previous_id = :first WHERE id = :id", first=first, id=last)


@forgery(ViolationKind.FOLD_PREVIOUS_FOREIGN, ViolationKind.FOLD_SHARED, ViolationKind.FOLD_LOOSE)
def an_event_follows_one_of_another_chain(forger):
    strange, last = forger.chain("cat")[0], forger.chain("ada")[-1]
    forger.sql("UPDATE event SET previous_id = :other WHERE id = :id", other=strange, id=last)


@forgery(
    ViolationKind.FOLD_BEFORE, ViolationKind.FEED_UNFOUNDED, ViolationKind.OUTCOMES_WITHOUT_EVENT
)
def what_an_event_came_to_is_changed(forger):
    forged = '{"mode":"honor","is_active":true}'
    forger.sql("UPDATE event SET after = :to WHERE id = :id", to=forged, id=forger.chain("ada")[0])


@forgery(ViolationKind.FOLD_BEFORE)
def what_an_event_began_at_is_changed(forger):
    forged = '{"mode":"honor","is_active":true}'
    forger.sql("UPDATE event SET before = :to WHERE id = :id", to=forged, id=forger.chain("ada")[1])


@forgery(ViolationKind.FOLD_BEFORE, ViolationKind.FOLD_KIND)
def a_first_event_begins_somewhere(forger):
    forged = '{"mode":"honor","is_active":true}'
    forger.sql("UPDATE event SET before = :to WHERE id = :id", to=forged, id=forger.chain("cat")[0])


@forgery(ViolationKind.FOLD_KIND, ViolationKind.FEED_UNFOUNDED)
def an_event_has_the_wrong_name(forger):
    forger.sql("UPDATE event SET kind = 'updated' WHERE id = :id", id=forger.chain("cat")[0])


@forgery(ViolationKind.FOLD_KIND)
def an_event_changes_nothing(forger):
    *_, last = forger.chain("bob")
    forger.sql("UPDATE event SET after = before WHERE id = :id", id=last)


@forgery(ViolationKind.FOLD_UNREADABLE)
def a_state_cannot_be_read(forger):
    forger.sql("UPDATE event SET after = '{}' WHERE id = :id", id=forger.chain("cat")[0])


@forgery(ViolationKind.FOLD_STATE, ViolationKind.FOLD_UNREADABLE)
def both_states_cannot_be_read(forger):
    forger.sql("UPDATE event SET after = '[]' WHERE username = 'cat'")
    forger.sql(
        "UPDATE enrollment SET extras = '[]' WHERE event_id = :id", id=forger.chain("cat")[0]
    )


@forgery(ViolationKind.FEED_GAP)
def the_feed_has_a_gap(forger):
    last = forger.value("SELECT max(last) FROM feed")
    forger.sql("UPDATE feed SET first = first + 1, last = last + 1 WHERE last = :last", last=last)


@forgery(ViolationKind.FEED_OUTSIDE)
def the_end_of_the_feed_is_lost(forger):
    forger.sql("DELETE FROM feed WHERE last = (SELECT max(last) FROM feed)")


@forgery(ViolationKind.FEED_SPAN)
def a_span_is_too_long(forger):
    last = forger.value("SELECT max(last) FROM feed")
    forger.sql("UPDATE feed SET last = last + 1 WHERE last = :last", last=last)


@forgery(ViolationKind.FEED_GAP, ViolationKind.FEED_OUTSIDE)
def a_span_is_lost(forger):
    forger.sql("DELETE FROM feed WHERE batch_id = :id", id=forger.batch_of("cat"))


@forgery(ViolationKind.FEED_ORDER)
def two_spans_have_changed_places(forger):
    _, _, one, other = map(batch_id_of, forger.chain("ada"))
    forger.sql("DELETE FROM feed WHERE batch_id = :id", id=other)
    forger.sql(
        "INSERT INTO feed SELECT last + 2, first + 1, :id FROM feed WHERE batch_id = :one",
        id=other,
        one=one,
    )
    forger.sql("UPDATE feed SET batch_id = -1 WHERE batch_id = :id", id=one)
    forger.sql("UPDATE feed SET batch_id = :one WHERE batch_id = :id", id=other, one=one)
    forger.sql("UPDATE feed SET batch_id = :id WHERE batch_id = -1", id=other)


@forgery(ViolationKind.FEED_UNFOUNDED, ViolationKind.OUTCOMES_FINISHED)
def what_was_answered_is_so_no_more(forger):
    forger.sql(
        "UPDATE batch SET answered_at = NULL, outcomes = NULL, tally = NULL WHERE id = :id",
        id=forger.batch_of("cat"),
    )


@forgery(ViolationKind.OUTCOMES_MISSING, ViolationKind.OUTCOMES_TALLY)
def an_outcome_is_lost(forger):
    forger.outcomes(1, lambda kept: kept[:-1])


@forgery(ViolationKind.OUTCOMES_MISSING, ViolationKind.OUTCOMES_TALLY)
def an_outcome_is_there_twice(forger):
    forger.outcomes(1, lambda kept: [*kept, kept[-1]])


@forgery(ViolationKind.OUTCOMES_UNREADABLE)
def outcomes_cannot_be_read(forger):
    forger.sql("UPDATE batch SET outcomes = :kept WHERE id = 1", kept=b"z?")


@forgery(ViolationKind.OUTCOMES_TALLY, ViolationKind.FEED_UNFOUNDED)
def an_outcome_is_turned_into_one_that_changes_nothing(forger):
    forger.outcomes(1, lambda kept: [kept[0]._replace(code=Code.UNCHANGED), *kept[1:]])


@forgery(ViolationKind.OUTCOMES_TALLY, ViolationKind.OUTCOMES_WITHOUT_EVENT)
def an_outcome_is_turned_into_one_that_changes_something(forger):
    forger.outcomes(1, lambda kept: [*kept[:-1], kept[-1]._replace(code=Code.ENROLLED)])


@forgery(ViolationKind.OUTCOMES_WITHOUT_EVENT)
def all_events_of_a_batch_are_gone_without_trace(forger):
    batch_id = forger.batch_of("gus")
    forger.sql("DELETE FROM feed WHERE batch_id = :id", id=batch_id)
    first, last = event_id(batch_id, 0), event_id(batch_id, MAX_ORDINAL)
    forger.sql("DELETE FROM event WHERE id BETWEEN :first AND :last", first=first, last=last)


@forgery(ViolationKind.OUTCOMES_LINES)
def an_outcome_is_for_a_line_that_was_answered_already(forger):
    forger.outcomes(forger.batch_of("cat"), lambda kept: [kept[0], kept[1]._replace(line=2)])


@forgery(ViolationKind.OUTCOMES_TALLY)
def a_batch_counts_wrongly(forger):
    forger.sql('UPDATE batch SET tally = \'{"enrolled": 3, "reasons": {}}\' WHERE id = 1')


@forgery(ViolationKind.OUTCOMES_TALLY)
def a_tally_cannot_be_read(forger):
    forger.sql("UPDATE batch SET tally = '{\"enroled\": 3}' WHERE id = 1")


@forgery(ViolationKind.OUTCOMES_TALLY)
def a_file_counts_wrongly(forger):
    forger.sql(
        "UPDATE submission SET tally = '{\"enrolled\": 4}' WHERE total = 4 AND batch_id IS NULL"
    )


@forgery(ViolationKind.OUTCOMES_TOTAL)
def a_file_has_another_total(forger):
    forger.sql("UPDATE submission SET total = 5 WHERE total = 4 AND batch_id IS NULL")


@forgery(ViolationKind.OUTCOMES_FINISHED)
def a_file_is_finished_though_work_waits(forger):
    forger.sql(
        "UPDATE submission SET finished_at = received_at"
        " WHERE finished_at IS NULL AND batch_id IS NULL"
    )


@forgery(ViolationKind.OUTCOMES_FINISHED)
def a_file_is_not_finished_though_nothing_waits(forger):
    forger.sql("UPDATE submission SET finished_at = NULL WHERE total = 4 AND batch_id IS NULL")


@forgery(ViolationKind.OUTCOMES_BATCH_MISSING, ViolationKind.OUTCOMES_TOTAL)
def a_batch_of_a_file_is_lost(forger):
    forger.sql("DELETE FROM batch WHERE id = :id", id=forger.batch_of("cat"))


@forgery(ViolationKind.OUTCOMES_TURN, ViolationKind.OUTCOMES_NOT_CANCELLED)
def a_batch_is_answered_before_its_turn(forger):
    forger.sql(
        "UPDATE batch SET outcomes = :none, answered_at = (SELECT max(answered_at) FROM batch)"
        " WHERE id = (SELECT max(id) FROM batch)",
        none=CANCELLED_AS_WHOLE,
    )


@forgery(ViolationKind.OUTCOMES_TURN)
def a_file_is_worked_that_was_never_complete(forger):
    forger.sql(
        "UPDATE submission SET published_at = NULL, intake = NULL"
        " WHERE total = 4 AND batch_id IS NULL"
    )


@forgery(ViolationKind.FEED_UNFOUNDED)
def a_file_that_was_only_tried_has_events(forger):
    forger.sql(
        "UPDATE submission SET options = '{\"dry_run\": true}' WHERE total = 4 AND batch_id IS NULL"
    )


@forgery(ViolationKind.OUTCOMES_HEAD_MISSING)
def the_head_of_a_file_is_lost(forger):
    forger.sql("DELETE FROM submission WHERE total = 4 AND batch_id IS NULL")


@forgery(ViolationKind.OUTCOMES_HEAD_MISSING, ViolationKind.FEED_UNFOUNDED)
def a_single_is_lost(forger):
    forger.sql("DELETE FROM submission WHERE batch_id = 1 AND position = 0")


@forgery(ViolationKind.OUTCOMES_HEAD_MISSING)
def all_singles_of_a_batch_are_lost(forger):
    forger.sql("DELETE FROM submission WHERE batch_id = 1")


@forgery(ViolationKind.OUTCOMES_HEAD_MISSING)
def two_singles_have_one_place(forger):
    forger.sql("UPDATE submission SET position = 1 WHERE batch_id = 1 AND position = 2")


@forgery(ViolationKind.OUTCOMES_BATCH_MISSING)
def a_batch_of_singles_is_lost(forger):
    forger.sql("DELETE FROM batch WHERE id = 1")


@forgery(ViolationKind.FOLD_STATE)
def an_enrollment_is_in_another_mode(forger):
    forger.sql(
        "UPDATE enrollment SET mode = 'honor' WHERE event_id = :id", id=forger.chain("ada")[-1]
    )


@forgery(ViolationKind.FOLD_NEWEST_FOREIGN)
def an_enrollment_names_the_event_of_another(forger):
    cat, dan = forger.chain("cat")[0], forger.chain("dan")[0]
    forger.sql("UPDATE enrollment SET event_id = -1 WHERE event_id = :id", id=cat)
    forger.sql("UPDATE enrollment SET event_id = :to WHERE event_id = :id", to=cat, id=dan)
    forger.sql("UPDATE enrollment SET event_id = :to WHERE event_id = -1", to=dan)


@forgery(ViolationKind.FOLD_NEWEST_MISSING, ViolationKind.SEATS_COUNTED)
def an_enrollment_has_no_event(forger):
    forger.sql(
        "INSERT INTO enrollment (learner_id, course_id, mode, is_active, created, version,"
        " event_id, active_at, active_rank, active_line) SELECT learner_id, course_id + 1, mode,"
        " is_active, created, version, 77, active_at, active_rank, active_line FROM enrollment"
        " WHERE event_id = :id",
        id=forger.chain("cat")[0],
    )


@forgery(ViolationKind.FOLD_LOOSE, ViolationKind.SEATS_COUNTED)
def an_enrollment_is_lost(forger):
    forger.sql("DELETE FROM enrollment WHERE event_id = :id", id=forger.chain("cat")[0])


@forgery(ViolationKind.FOLD_OWNER_MISSING)
def a_learner_is_lost(forger):
    forger.sql("DELETE FROM learner WHERE username = 'cat'")


@forgery(ViolationKind.FOLD_OWNER_MISSING, ViolationKind.SEATS_COUNTED)
def a_course_is_lost(forger):
    forger.sql("DELETE FROM course WHERE course_id = :id", id=OTHER)


@forgery(ViolationKind.SEATS_COUNTED)
def seats_are_counted_wrongly(forger):
    forger.sql("UPDATE course SET seats_taken = seats_taken + 1 WHERE course_id = :id", id=COURSE)


@forgery(ViolationKind.SEATS_BELOW_ZERO, ViolationKind.FOLD_BEFORE)
def a_seat_is_given_back_that_nobody_had(forger):
    active, inactive = (json.dumps({"mode": "audit", "is_active": it}) for it in (True, False))
    forger.sql(
        "UPDATE event SET before = :before, after = :after WHERE id = :id",
        before=active,
        after=inactive,
        id=forger.chain("gus")[0],
    )
