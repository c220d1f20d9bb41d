"""What becomes of submissions: one outcome a request, in order, counted."""

import random
from datetime import UTC, datetime, timedelta
from itertools import permutations

import pytest

from enrollment.domain.codes import Code, Lane, Reason, State, SubmissionResult
from enrollment.domain.events import EnrollmentState
from enrollment.domain.model import Attribute
from tests.support.in_process_service import (
    ADA,
    ADMIN,
    COURSE,
    OTHER,
    SERVER,
    World,
    csv_of,
    hours_ago,
    request,
    row,
)
from worker.processing.strategies import SiteRules
from worker.processing.transaction import ProcessedBatches

ENROLLED, REFUSED, INVALID = Code.ENROLLED, Code.REFUSED, Code.INVALID


def learners(number):
    return [row(f"learner{n}") for n in range(number)]


# --- one outcome a request ----------------------------------------------------------------


def test_a_single_is_enrolled_once(world):
    world.course()
    (single,) = world.ask(request("ada"))

    world.work()

    assert world.answer(single) == (ENROLLED, None)
    assert world.standing("ada") == EnrollmentState("audit", is_active=True)
    world.check()


def test_a_second_delivery_changes_nothing(world):
    world.course(capacity=2)
    world.ask(request("ada"), request("bob"), request("eve"))
    world.send([row("ada"), row("zoe"), row("ada", is_active=False)])
    numbers = world.waiting()
    world.work()
    before = world.dump()

    for number in numbers * 2:
        assert world.processor.process(number) == ProcessedBatches()

    assert world.dump() == before
    world.check()


def test_a_message_about_nothing_does_nothing(world):
    assert world.processor.process(12345) == ProcessedBatches()


def test_a_ring_in_the_interactive_lane_takes_everything_that_waits_there(world):
    world.course()
    singles = [world.ask(request(f"learner{n}"))[0] for n in range(5)]

    (done,) = world.deliver(world.waiting()[-1])

    assert len(done.batch_ids) == 5
    assert [world.answer(single) for single in singles] == [(ENROLLED, None)] * 5
    world.check()


def test_one_transaction_takes_only_so_many_requests(world):
    world.course()
    for start in (0, 600, 1_200):
        world.ask(*(request(f"learner{start + n}") for n in range(600)))
    numbers = world.waiting()

    (done,) = world.deliver(numbers[2])

    assert done.batch_ids == (numbers[0],)
    assert [waiting.id for waiting in done.next] == [numbers[1]]
    world.work()
    assert len(world.enrollments()) == 1_800
    world.check()


@pytest.mark.parametrize(
    ("caller", "stated", "answer"),
    [
        pytest.param(ADMIN, hours_ago(-1), (INVALID, Reason.INVALID_ROW), id="in-the-future"),
        pytest.param(ADMIN, hours_ago(2), (ENROLLED, None), id="by-who-may"),
        pytest.param(SERVER, hours_ago(2), (REFUSED, Reason.NOT_PERMITTED), id="by-a-server"),
        pytest.param(ADA, hours_ago(2), (REFUSED, Reason.NOT_PERMITTED), id="by-a-learner"),
    ],
)
def test_only_who_is_trusted_states_when_a_wish_was_made(world, caller, stated, answer):
    world.course()
    (single,) = world.ask(request("ada", requested_at=stated), caller=caller)
    file = world.send([row("bob", requested_at=stated)], caller=caller)

    world.work()

    assert world.answer(single) == world.answer(file) == answer
    world.check()


def test_a_time_in_the_future_is_named(world):
    world.course()
    file = world.send([row("ada", requested_at=datetime(2126, 1, 1, tzinfo=UTC))])

    world.work()

    assert world.outcomes(file)[0].details == {
        "errors": [
            {"field": "requested_at", "value": "2126-01-01T00:00:00Z", "rule": "in_the_future"}
        ]
    }


def test_an_email_stands_for_the_learner_who_has_it(world):
    world.course()
    world.learner("ada", "Ada@example.org")
    known, unknown = world.ask(
        request(None, email="ada@example.org"), request(None, email="eve@example.org")
    )
    file = world.send(
        f"email,course_id\nADA@example.org,{COURSE}\neve@example.org,{COURSE}\n".encode()
    )

    world.work()

    assert world.answer(known) == (ENROLLED, None)
    assert world.answer(unknown) == (REFUSED, Reason.LEARNER_NOT_FOUND)
    assert [(o.user, o.code) for o in world.outcomes(file)] == [
        ("ada", Code.UNCHANGED),
        ("eve@example.org", REFUSED),
    ]
    assert set(world.enrollments()) == {(COURSE, "ada")}
    world.check()


def test_a_row_that_cannot_be_read_costs_itself_alone(world):
    world.course()
    file = world.send(
        f"user,course_id,is_active\nada,{COURSE},true\nbob,nonsense,true\n"
        f"eve,{COURSE},perhaps\nzoe,{COURSE},\n".encode()
    )

    world.work()

    assert [(o.line, o.code) for o in world.outcomes(file)] == [
        (2, ENROLLED),
        (3, INVALID),
        (4, INVALID),
        (5, ENROLLED),
    ]
    head = world.submission(file)
    assert (head.state, head.result) == (State.DONE, SubmissionResult.PARTIAL)
    assert head.tally.reasons == {Reason.INVALID_ROW: 2}
    world.check()


@pytest.mark.parametrize(
    ("wish", "reason"),
    [
        ({"course_id": OTHER}, Reason.COURSE_NOT_FOUND),
        ({"mode": "masters"}, Reason.MODE_UNAVAILABLE),
        ({"cohort": "red"}, Reason.COHORT_NOT_FOUND),
        (
            {"mode": "credit", "attributes": (Attribute("credit", "name", "hogwarts"),)},
            Reason.ATTRIBUTES_MISSING,
        ),
    ],
)
def test_who_is_refused_leaves_no_trace(world, wish, reason):
    world.course(modes=["audit", "credit"])
    (single,) = world.ask(request("ada", **wish))

    world.work()

    assert world.answer(single) == (REFUSED, reason)
    assert world.enrollments() == {}
    assert world.events() == []
    world.check()


def test_unknown_learners_are_refused_where_they_must_be_known(sessions):
    world = World(sessions, rules=SiteRules(accepts_unknown_learners=False))
    world.course()
    world.learner("bob")
    ada, bob = world.ask(request("ada"), request("bob"))

    world.work()

    assert world.answer(ada) == (REFUSED, Reason.LEARNER_NOT_FOUND)
    assert world.answer(bob) == (ENROLLED, None)


def test_attributes_and_cohort_come_back_as_they_were_given(world):
    world.course(modes=["audit", "credit"], cohorts=('Ångström, "A"',))
    attributes = (Attribute("credit", "provider_id", 'a "b" \\ {c,d} \n é'),)
    (single,) = world.ask(
        request("ada", mode="credit", attributes=attributes, cohort='Ångström, "A"')
    )

    world.work()

    assert world.answer(single) == (ENROLLED, None)
    assert world.standing() == EnrollmentState(
        "credit", is_active=True, attributes=attributes, cohort='Ångström, "A"'
    )
    world.check()


def test_a_default_mode_is_that_of_rows_that_name_none(world):
    world.course(modes=["audit", "verified", "honor"])
    file = world.send([row("ada"), row("bob", mode="honor")], default_mode="verified")

    world.work()

    assert world.standing("ada") == EnrollmentState("verified", is_active=True)
    assert world.standing("bob") == EnrollmentState("honor", is_active=True)
    assert world.codes(file) == [ENROLLED, ENROLLED]


# --- files of several batches -------------------------------------------------------------


def mixed_rows(course_id):
    """Rows of which later ones look at what earlier ones did."""
    return [
        row("ada", course_id, mode="audit"),
        row("bob", course_id),
        row("eve", course_id),
        row("ada", course_id, mode="verified"),
        row("eve", course_id, is_active=False),
        row("bob", OTHER),
        row("zoe", course_id),
        row("eve", course_id),
    ]


def test_batches_are_answered_in_their_order_whatever_order_they_are_delivered_in(world):
    def told(number, order):
        """The same file in a course of its own."""
        course_id = f"{COURSE}{number}"
        world.course(course_id, modes=["audit", "verified"], capacity=3)
        file = world.send(mixed_rows(course_id))
        numbers = world.batch_ids(file)
        for _ in numbers:
            world.deliver(*(numbers[place] for place in order for _ in range(2)))
        story = [
            (e.kind, e.username, e.line, e.after)
            for e in world.events()
            if e.course_id == course_id
        ]
        return world.codes(file), story

    world.batch_rows = 3
    in_order, *others = [told(n, order) for n, order in enumerate(permutations(range(3)))]

    assert in_order[0] == [
        ENROLLED,
        ENROLLED,
        ENROLLED,
        Code.MODE_CHANGED,
        Code.DEACTIVATED,
        REFUSED,
        ENROLLED,
        REFUSED,
    ]
    assert all(other == in_order for other in others)
    world.check()


@pytest.mark.parametrize("last", range(5))
def test_the_message_that_comes_last_changes_nothing_about_the_result(world, last):
    world.batch_rows = 2
    world.course(capacity=7)
    file = world.send(learners(10))
    numbers = world.batch_ids(file)
    rng = random.Random(last)

    while any(number in world.waiting() for number in numbers if number != numbers[last]):
        others = [number for number in numbers if number != numbers[last]] * 2
        rng.shuffle(others)
        world.deliver(*others)
    world.check()
    while world.submission(file).finished_at is None:
        world.deliver(*numbers[last:], *numbers)

    assert world.codes(file) == [ENROLLED] * 7 + [REFUSED] * 3
    done = world.dump()
    world.deliver(*numbers)
    assert world.dump() == done
    world.check()


def test_answering_a_batch_says_whose_turn_is_next(world):
    world.one_at_a_time()
    world.batch_rows = 2
    world.course()
    file = world.send(learners(5))
    first, second, third = world.batch_ids(file)

    assert [batch.announced for batch in world.batches(file)] == [True, False, False]
    done = world.deliver(second, third, first)[-1]
    assert (done.batch_ids, done.submission_ids) == ((first,), (file,))
    assert [(waiting.id, waiting.lane) for waiting in done.next] == [(second, Lane.BULK)]
    assert world.submission(file).state is State.RUNNING
    assert world.submission(file).tally.counts == {ENROLLED: 2}
    assert done.finished == ()
    last = world.deliver(second, third)[-1]
    assert (last.batch_ids, last.submission_ids, last.next) == ((third,), (file,), ())
    assert last.tally.counts == {ENROLLED: 1}
    (finished,) = last.finished
    assert (finished.id, finished.rows, finished.tally.counts) == (file, 5, {ENROLLED: 5})
    assert world.submission(file).state is State.DONE
    world.check()


def test_a_file_sent_again_with_its_times_changes_nothing(world):
    world.batch_rows = 3
    world.course(modes=["audit", "verified"], enrollment_end=hours_ago(1))
    rows = [
        row("ada", requested_at=hours_ago(9)),
        row("bob", requested_at=hours_ago(9), mode="verified"),
        row("eve", requested_at=hours_ago(8)),
        row("ada", requested_at=hours_ago(7), is_active=False),
        row("bob", requested_at=hours_ago(7)),
        row("eve", requested_at=hours_ago(6), mode="verified"),
        row("ada", requested_at=hours_ago(6)),
        row("ada", requested_at=hours_ago(6), is_active=False),
        row("zoe", requested_at=hours_ago(5), is_active=False),
    ]
    first = world.send(rows)
    world.work()
    enrollments, events = world.enrollments(), world.events()
    second = world.send(rows)
    world.work()

    assert Code.REFUSED not in world.codes(first)
    assert set(world.codes(second)) <= {Code.UNCHANGED, Code.SUPERSEDED}
    assert world.enrollments() == enrollments
    assert world.events() == events
    world.check()


# --- what is known of time ----------------------------------------------------------------


def test_events_and_outcomes_say_whose_wish_it_was(world):
    world.course()
    file = world.send(csv_of([row("ada"), row("bob")]), caller=ADMIN)
    (single,) = world.ask(request("eve"), caller=SERVER)

    world.work()

    told = {e.username: (e.submission_id, e.line, e.caller) for e in world.events()}
    assert told == {
        "ada": (file, 2, ADMIN.name),
        "bob": (file, 3, ADMIN.name),
        "eve": (single, 1, SERVER.name),
    }


def test_a_submission_is_received_at_its_first_byte(world):
    (single,) = world.ask(request("ada"), hours_ago=2)
    file = world.send(learners(1), hours_ago=2)

    for submission_id in (single, file):
        ago = datetime.now(UTC) - world.submission(submission_id).received_at
        assert timedelta(hours=2) <= ago < timedelta(hours=2, minutes=5)
