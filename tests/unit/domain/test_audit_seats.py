"""Seats replayed from events, in the order of the feed."""

from enrollment.domain.audit.event_chain import EventRecord
from enrollment.domain.audit.seats import CourseRecord, SeatReplay
from enrollment.domain.audit.violations import ViolationKind
from enrollment.domain.events import EnrollmentState
from enrollment.storage.event_ids import event_id

IN, OUT = EnrollmentState("audit", is_active=True), EnrollmentState("audit", is_active=False)


def step(seats, position, before, after, course_id="c"):
    event = EventRecord(
        *(
            event_id(position, 0),
            position,
            position,
            "",
            course_id,
            "ada",
            "0" * 32,
            1,
            before,
            after,
        ),
        *(None, None, None, None),
    )
    wrong = seats.check_event(event)
    return None if wrong is None else (wrong.kind, wrong.message)


def test_a_course_that_leaves_its_bounds_is_told_once():
    seats = SeatReplay({"c": 1, "d": None})

    violations = [step(seats, position, None, IN) for position in range(1, 4)]

    assert violations == [
        None,
        (ViolationKind.SEATS_EXCEEDED, "c has 2 of 1 seats taken"),
        None,
    ]
    assert [step(seats, position, None, IN, "d") for position in range(4, 6)] == [None, None]


def test_seats_that_nobody_had_cannot_be_given_back():
    seats = SeatReplay({})

    assert step(seats, 1, IN, OUT) == (
        ViolationKind.SEATS_BELOW_ZERO,
        "c has -1 seats taken at position 1 of the feed",
    )
    assert step(seats, 2, IN, OUT) is None


def test_who_leaves_a_full_course_takes_no_seat():
    seats = SeatReplay({"c": 0})
    step(seats, 1, None, IN)
    step(seats, 2, None, IN)

    assert step(seats, 3, IN, OUT) is None
    assert step(seats, 4, IN, IN) is None
    assert seats.active == {"c": 1}


def test_a_course_counts_what_its_events_and_its_enrollments_come_to():
    def end(taken, counted):
        seats = SeatReplay({})
        step(seats, 1, None, IN)
        course = CourseRecord(1, "c", None, taken)
        return [wrong.message for wrong in seats.check_course(course, counted)]

    assert end(1, 1) == []
    assert end(0, 1) == ["c counts 0 seats, but 1 are taken"]
    assert end(1, 0) == ["c counts 1 seats, but 0 are taken, and its events add up to 1"]


def test_events_of_no_course_are_told_where_they_took_a_seat():
    seats = SeatReplay({})
    step(seats, 1, None, IN, "gone")
    step(seats, 2, None, IN, "left")
    step(seats, 3, IN, OUT, "left")

    assert [wrong.about.course_id for wrong in seats.check_rest()] == ["gone"]
