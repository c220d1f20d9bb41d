"""What holds for every history: order, outcomes, events, seats, sending again, any order of work."""

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise, permutations

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from enrollment.domain import batch_decision
from enrollment.domain.batch_decision import decide_all_or_nothing, decide_batch
from enrollment.domain.codes import FAILURES, Code, Reason
from enrollment.domain.events import CHANGE_KIND_BY_CODE, fold_changes, state_of
from enrollment.domain.model import precedence_of
from tests.unit.domain.builders import after, standings, told
from tests.unit.domain.strategies import (
    LAST_INTAKE,
    TRUSTED,
    clocks,
    enrollments,
    harmonies,
    histories,
    is_stated,
    merged,
    moments,
    repeatable,
    standing_worlds,
    steps,
    submissions,
    worlds,
)

QUIET = {Code.UNCHANGED, Code.SUPERSEDED}
ABOUT_TIME_AND_SEATS = {
    Reason.ENROLLMENT_NOT_OPEN,
    Reason.ENROLLMENT_CLOSED,
    Reason.INVITE_REQUIRED,
    Reason.INVITE_USED,
    Reason.INVITE_EXPIRED,
    Reason.COURSE_FULL,
    Reason.MODE_EXPIRED,
}


places = st.tuples(moments, st.integers(1, 3), st.integers(1, 3))


def row_by_row(history):
    return steps(history.world, merged(history.submissions, history.order))


@repeatable(250)
@given(standing_worlds(), submissions(most=1))
def test_whatever_stands_and_whatever_is_asked_there_is_one_answer_each(world, asked):
    (rows,) = asked

    outcomes = decide_batch(rows, world).outcomes

    assert [(o.line, o.user, o.course_id) for o in outcomes] == [
        (row.line, row.username, row.course_id) for row in rows
    ]
    for outcome in outcomes:
        assert (outcome.code is Code.REFUSED) == (outcome.reason is not None)


@repeatable(200)
@given(standing_worlds(), submissions(most=1))
def test_the_same_question_has_the_same_answer_and_changes_nothing_it_was_given(world, asked):
    (rows,) = asked
    before = deepcopy(world)

    assert decide_batch(rows, world) == decide_batch(rows, world)
    assert world == before


@repeatable(200)
@given(histories(), st.data())
def test_each_request_sees_those_before_it_however_the_batches_are_cut(history, data):
    rows = merged(history.submissions, history.order)
    cut = data.draw(st.integers(0, len(rows)))
    whole = decide_batch(rows, history.world)

    first = decide_batch(rows[:cut], history.world)
    second = decide_batch(rows[cut:], after(history.world, first))

    assert whole.outcomes == first.outcomes + second.outcomes
    assert after(history.world, whole) == after(after(history.world, first), second)


@repeatable(200)
@given(histories())
def test_whoever_asks_like_others_fares_as_if_alone(history):
    whole = decide_batch(merged(history.submissions, history.order), history.world)
    alone = [judgement for _, _, judgement in row_by_row(history)]

    assert whole.outcomes == [outcome for one in alone for outcome in one.outcomes]
    last = {key: kept for one in alone for key, kept in one.enrollments.items()}
    assert whole.enrollments == last


def same_as_one_by_one(rows, world):
    """Judged at one stroke as far as that goes, and each by the rules: it comes to the same."""
    quick = decide_batch(rows, world)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(batch_decision._NewEnrollmentMemo, "answer", lambda *_args: False)
        plain = decide_batch(rows, world)

    assert quick == plain
    assert list(quick.enrollments) == list(plain.enrollments)
    assert set(quick.seats) == set(plain.seats)


@repeatable(200)
@given(histories())
def test_newcomers_are_answered_as_each_would_be(history):
    same_as_one_by_one(merged(history.submissions, history.order), history.world)


@repeatable(200)
@given(standing_worlds(), submissions(most=1), st.booleans())
def test_so_are_they_where_others_are_known(world, asked, accepts):
    same_as_one_by_one(asked[0], replace(world, accepts_unknown_learners=accepts))


@repeatable(200)
@given(histories())
def test_the_events_add_up_to_the_state(history):
    judgement = decide_batch(merged(history.submissions, history.order), history.world)

    assert fold_changes(judgement.changes) == standings(after(history.world, judgement))


@repeatable(200)
@given(histories())
def test_each_change_of_state_is_told_once_and_nothing_else_is(history):
    for world, request, judgement in row_by_row(history):
        key = (request.course_id, request.username)
        (outcome,) = judgement.outcomes
        before, then = (standings(w).get(key) for w in (world, after(world, judgement)))
        told_of = [(change.kind, change.before, change.after) for change in judgement.changes]

        expected = (
            [(CHANGE_KIND_BY_CODE[outcome.code], before, then)]
            if outcome.code in CHANGE_KIND_BY_CODE
            else []
        )
        assert told_of == expected
        assert (before != then) == bool(expected)


@repeatable(200)
@given(histories())
def test_seats_are_never_exceeded_and_never_refused_while_there_is_room(history):
    for world, request, judgement in row_by_row(history):
        (outcome,) = judgement.outcomes
        course = world.courses.get(request.course_id)
        entered = outcome.code in {Code.ENROLLED, Code.REACTIVATED}
        room = course and (course.capacity is None or course.seats_taken < course.capacity)

        assert room or not entered
        assert not (room and outcome.reason is Reason.COURSE_FULL)
        for course_id, course in after(world, judgement).courses.items():
            there = [
                e for (c, _), e in after(world, judgement).enrollments.items() if c == course_id
            ]
            assert course.seats_taken == sum(e.is_active for e in there)


@repeatable(200)
@given(histories())
def test_clocks_only_rise_and_what_is_refused_moves_nothing(history):
    for world, request, judgement in row_by_row(history):
        (outcome,) = judgement.outcomes
        before = world.enrollments.get((request.course_id, request.username))

        assert outcome.code not in FAILURES or not judgement.enrollments
        for then in judgement.enrollments.values() if before else ():
            assert then.activity_precedence >= before.activity_precedence
            for name in ("mode_precedence", "attributes_precedence", "cohort_precedence"):
                was, is_now = getattr(before, name), getattr(then, name)
                assert was is None or (is_now is not None and is_now >= was)


@repeatable(200)
@given(standing_worlds(), submissions(most=1))
def test_withdrawing_is_refused_for_no_window_invitation_seat_or_deadline(world, asked):
    for row in asked[0]:
        (outcome,) = decide_batch([row._replace(is_active=False)], world).outcomes

        assert outcome.reason not in ABOUT_TIME_AND_SEATS


@repeatable(200)
@given(histories())
def test_a_withdrawal_leaves_a_record_behind(history):
    for world, request, judgement in row_by_row(history):
        (outcome,) = judgement.outcomes
        if not request.is_active and outcome.code is not Code.REFUSED:
            key = (request.course_id, request.username)
            assert key in after(world, judgement).enrollments


@repeatable(200)
@given(
    worlds(),
    submissions(callers=TRUSTED, stated=st.just(value=True), most=1),
    submissions(),
)
def test_a_file_with_stated_times_changes_nothing_when_sent_again(world, files, others):
    file = _granted(files[0], world)
    between = [row for rows in _taken_in_later(others) for row in rows]
    world = after(world, decide_batch(file, world))
    world = after(world, decide_batch(between, world))

    again = decide_batch([_ranked(row, intake=LAST_INTAKE, stated=True) for row in file], world)

    assert {outcome.code for outcome in again.outcomes} <= QUIET
    assert (again.enrollments, again.changes) == ({}, [])


def _granted(rows, world):
    """The rows of a file without those that are refused there."""
    while True:
        answers = zip(rows, decide_batch(rows, world).outcomes, strict=True)
        kept = [row for row, outcome in answers if outcome.code not in FAILURES]
        if len(kept) == len(rows):
            return rows
        rows = kept


def _taken_in_later(submissions):
    for intake, rows in enumerate(submissions, start=2):
        yield [_ranked(row, intake=intake, stated=is_stated(row)) for row in rows]


def _ranked(row, *, intake, stated):
    clock = precedence_of(row.effective_at, stated=stated, intake=intake, line=row.line)
    return row._replace(precedence=clock)


def _without_refused(history):
    """The history without the rows that are refused in some order, and all its orders."""
    orders = set(permutations(history.order))
    for one in orders:
        rows = merged(history.submissions, one)
        outcomes = decide_batch(rows, history.world).outcomes
        refused = {r.precedence for r, o in zip(rows, outcomes, strict=True) if o.code in FAILURES}
        if refused:
            kept = [
                [r for r in rows if r.precedence not in refused] for rows in history.submissions
            ]
            order = [number for number, rows in enumerate(kept) for _ in rows]
            return _without_refused(history._replace(submissions=kept, order=order))
    return history, orders


@repeatable(500)
@given(harmonies())
def test_any_interleaving_of_submissions_ends_in_the_same_state(history):
    history, orders = _without_refused(history)
    event(f"{len(orders)} orders")

    ends = [decide_batch(merged(history.submissions, order), history.world) for order in orders]

    states = [standings(after(history.world, end)) for end in ends]
    assert all(one == other for one, other in pairwise(states))


@repeatable(200)
@given(harmonies())
def test_the_highest_wish_is_the_one_that_stands(history):
    rows = merged(history.submissions, history.order)
    judgement = decide_batch(rows, history.world)
    if any(outcome.code in FAILURES for outcome in judgement.outcomes):
        return
    for (course_id, username), stands in after(history.world, judgement).enrollments.items():
        own = [row for row in rows if (row.course_id, row.username) == (course_id, username)]
        named = [row for row in own if row.mode is not None]

        assert stands.is_active == max(own, key=lambda row: row.precedence).is_active
        if named:
            assert stands.mode == max(named, key=lambda row: row.precedence).mode


@repeatable(200)
@given(histories())
def test_a_file_is_taken_as_a_whole_or_not_at_all(history):
    rows = merged(history.submissions, history.order)
    alone, together = decide_batch(rows, history.world), decide_all_or_nothing(rows, history.world)

    if any(outcome.code in FAILURES for outcome in alone.outcomes):
        assert after(history.world, together) == history.world
        assert {outcome.code for outcome in together.outcomes} == {Code.REFUSED}
        for one, other in zip(alone.outcomes, together.outcomes, strict=True):
            kept = one.code in FAILURES
            assert told(other) == (told(one) if kept else (Code.REFUSED, Reason.ABORTED))
    else:
        assert together == alone


@repeatable(200)
@given(clocks, clocks, clocks)
def test_wishes_are_in_one_total_order(a, b, c):
    assert (a < b) + (b < a) + (a == b) == 1
    assert a < c or not (a < b < c)


@repeatable(100)
@given(places, places, st.booleans())
def test_the_order_of_wishes_is_the_moment_then_the_intake_then_the_line(one, other, stated):
    first, second = (
        precedence_of(at, stated=stated, intake=intake, line=line)
        for at, intake, line in (one, other)
    )
    words = [(at, -intake if stated else intake, line) for at, intake, line in (one, other)]

    assert (first < second) == (words[0] < words[1])


@repeatable(200)
@given(enrollments)
def test_a_standing_is_the_enrollment_without_its_clocks(enrollment):
    shown = state_of(enrollment)

    assert shown == tuple(getattr(enrollment, name) for name in shown._fields)
