"""Who a row is about: damaged ids, contradictions, composed and decomposed names; stated times."""

from datetime import UTC, datetime, timedelta

import pytest

from enrollment.domain.codes import Code, IdKind, Lane, Reason
from enrollment.domain.crosswalks import CrosswalkEntry
from enrollment.storage import crosswalks
from tests.support.in_process_service import (
    ADMIN,
    COURSE,
    OTHER,
    SERVER,
    csv_of,
    hours_ago,
    request,
    row,
)

ENROLLED, INVALID = Code.ENROLLED, Code.INVALID
SCIENTIFIC = "4.71101E+11"


def rules(world, file):
    """The findings of each row, as (field, rule)."""
    return [
        [(item["field"], item["rule"]) for item in (one.details or {}).get("errors", [])]
        for one in world.outcomes(file)
    ]


def mapped(world, *entries):
    with world.sessions.begin() as session:
        crosswalks.merge(session, "sis", [CrosswalkEntry(*entry) for entry in entries])


# --- damaged ids --------------------------------------------------------------------------


@pytest.mark.parametrize("media_type", ["text/csv", "application/x-ndjson"])
def test_a_damaged_id_is_invalid_unless_a_learner_has_exactly_it(world, media_type):
    world.course()
    world.learner("NULL")
    users = [SCIENTIFIC, "4711.0", "NULL", "null", "ada"]
    rows = csv_of([row(user) for user in users])
    if media_type != "text/csv":
        rows = "\n".join(f'{{"user":"{user}","course_id":"{COURSE}"}}' for user in users).encode()

    file = world.send(rows, media_type=media_type)
    world.work()

    damaged = [("user", "damaged_id")]
    assert world.codes(file) == [INVALID, INVALID, ENROLLED, INVALID, ENROLLED]
    assert rules(world, file) == [damaged, damaged, [], damaged, []]
    assert {user for _, user in world.enrollments()} == {"NULL", "ada"}
    world.check()


def test_a_damaged_id_beside_an_email_is_invalid_too(world):
    world.course()
    world.learner("ada", "ada@example.org")

    file = world.send([{**row("nan"), "email": "ada@example.org"}])
    world.work()

    assert rules(world, file) == [[("user", "damaged_id")]]


def test_rows_that_are_read_ahead_are_looked_up_as_well(world):
    world.batch_rows = 2
    world.course()
    world.learner("null")
    file = world.send([row("a"), row("b"), row("null"), row("c"), row("none"), row("d")] * 2)

    world.work()

    assert [one.user for one in world.outcomes(file) if one.code is INVALID] == ["none"] * 2
    world.check()


def test_what_a_crosswalk_has_is_not_damaged(world):
    world.course()
    mapped(
        world,
        (IdKind.COURSE, "MATH", COURSE),
        (IdKind.LEARNER, SCIENTIFIC, "ada"),
        (IdKind.LEARNER, "4711.0", "4711.0"),
        (IdKind.LEARNER, "(null)", "zoe"),
        (IdKind.COURSE, "NULL", COURSE),
    )
    rows = "course_id,user_id,role,status\n" + "".join(
        f"{course},{user},student,active\n"
        for course, user in [
            ("MATH", SCIENTIFIC),
            ("MATH", "4711.0"),
            ("NULL", "(null)"),
            ("MATH", "4712.0"),
            ("MATH", '"4,7E+11"'),
            ("#N/A", "bob"),
            ("MATH", "\\N"),
        ]
    )

    file = world.send(rows.encode(), source="sis")
    world.work()

    assert world.codes(file) == [ENROLLED] * 3 + [INVALID] * 4
    assert rules(world, file)[3:] == [
        [("user_id", "damaged_id")],
        [("user_id", "damaged_id")],
        [("course_id", "damaged_id")],
        [("user_id", "damaged_id")],
    ]
    assert {user for _, user in world.enrollments()} == {"ada", "4711.0", "zoe"}
    world.check()


def test_a_single_with_a_damaged_id_needs_a_learner_of_that_name(world):
    world.course()
    world.learner("none")
    known, unknown = world.ask(request("none"), request("null"))

    world.work()

    assert world.answer(known) == (ENROLLED, None)
    assert world.answer(unknown) == (INVALID, Reason.INVALID_ROW)
    assert rules(world, unknown) == [[("user", "damaged_id")]]


# --- contradictions -----------------------------------------------------------------------


def test_a_row_that_names_two_people_is_invalid(world):
    world.course()
    world.learner("uma", "uma@example.org")
    world.learner("vera", "vera@example.org")
    emails = ["vera@example.org", "uma@example.org", "nobody@example.org", "VERA@example.org"]
    users = ["uma", "uma", "uma", "new"]

    file = world.send([{**row(user), "email": at} for user, at in zip(users, emails, strict=True)])
    world.work()

    contradiction = [("email", "contradiction")]
    assert rules(world, file) == [contradiction, [], [], contradiction]
    assert world.codes(file) == [INVALID, ENROLLED, Code.UNCHANGED, INVALID]
    assert {user for _, user in world.enrollments()} == {"uma"}
    world.check()


def test_in_the_dashboards_file_a_learner_has_the_email_of_the_row(world):
    world.course()
    world.learner("uma", "uma@example.org")
    world.learner("vera", "vera@example.org")
    world.learner("wim")
    lines = [
        "new@example.org,uma,Uma,GB",
        "vera@example.org,uma,Uma,GB",
        "UMA@example.org,uma,Uma,GB",
        "new@example.org,wim,Wim,GB",
        "other@example.org,xia,Xia,GB",
        "vera@example.org,,Vera,GB",
        ",vera,Vera,GB",
        "vera@example.org,yan,Yan,GB",
        "new@example.org,NULL,No,GB",
    ]

    file = world.send("\n".join(lines).encode(), format_="openedx_dashboard", course_id=COURSE)
    world.work()

    contradiction = [("email", "contradiction")]
    assert rules(world, file) == [
        *[contradiction] * 2,
        *[[]] * 5,
        contradiction,
        [("username", "damaged_id")],
    ]
    assert world.codes(file)[2:7] == [ENROLLED] * 4 + [Code.UNCHANGED]
    assert {user for _, user in world.enrollments()} == {"uma", "vera", "wim", "xia"}
    world.check()


def test_of_a_single_the_username_alone_counts_as_in_open_edx(world):
    world.course()
    world.learner("vera", "vera@example.org")
    (single,) = world.ask(request("uma", email="vera@example.org"))

    world.work()

    assert world.answer(single) == (ENROLLED, None)
    assert {user for _, user in world.enrollments()} == {"uma"}


# --- the canonical form -------------------------------------------------------------------


def test_a_decomposed_name_is_the_learner_with_the_composed_one(world):
    world.course()
    world.learner("Zo\xeb", "j\xfcrgen@example.org")

    file = world.send(
        [row("Zoe\u0308"), {"email": "ju\u0308rgen@example.org", "course_id": COURSE}]
    )
    world.work()

    assert world.codes(file) == [ENROLLED, Code.UNCHANGED]
    assert {user for _, user in world.enrollments()} == {"Zo\xeb"}


def test_a_kelvin_sign_is_not_the_letter_k(world):
    world.course()
    world.learner("kevin", "kevin@example.org")

    file = world.send([{"email": "\u212aevin@example.org", "course_id": COURSE}])
    world.work()

    assert [one.reason for one in world.outcomes(file)] == [Reason.LEARNER_NOT_FOUND]


# --- stated times -------------------------------------------------------------------------


@pytest.mark.parametrize(("ahead", "code"), [(3, ENROLLED), (4.9, ENROLLED), (60, INVALID)])
def test_a_time_a_little_ahead_of_our_clock_counts_as_now(world, ahead, code):
    world.course()
    stated = datetime.now(UTC) + timedelta(seconds=ahead)
    (single,) = world.ask(request("ada", requested_at=stated), caller=ADMIN)
    file = world.send([row("bob", requested_at=stated)], caller=ADMIN)

    world.work()

    assert world.answer(single)[0] == world.answer(file)[0] == code
    for found in rules(world, single) + rules(world, file):
        assert found == ([("requested_at", "in_the_future")] if code is INVALID else [])
    world.check()


def test_a_time_that_was_ahead_counts_as_the_time_of_receipt(world):
    world.course()
    ahead = datetime.now(UTC) + timedelta(seconds=4)
    world.ask(request("ada", requested_at=ahead), caller=ADMIN)
    world.work()
    world.ask(request("ada", is_active=False), caller=SERVER)
    world.work()

    assert not world.standing("ada").is_active
    world.check()


def test_the_past_is_as_it_was_stated(world):
    world.course(enrollment_end=hours_ago(1))
    (single,) = world.ask(request("ada", requested_at=hours_ago(2)), caller=ADMIN)

    world.work()

    assert world.answer(single) == (ENROLLED, None)


# --- how many learners a file registers ---------------------------------------------------


def created(world, file):
    return world.submission(file).tally.learners_created


def test_a_file_counts_the_learners_that_it_registers(world):
    world.batch_rows = 2
    world.course()
    world.course(OTHER)
    world.learner("ada")
    first = world.send(
        [row("ada"), row("bob"), row("bob", OTHER), row("cyd"), row("NULL"), row("cyd"), row("dan")]
    )
    second = world.send([row("bob"), row("eve", is_active=False), row("fay", "course-v1:a+b+c")])

    world.work()

    assert (created(world, first), created(world, second)) == (3, 1)
    world.check()


def test_small_files_that_are_processed_together_count_their_own(world):
    world.course()
    files = [world.send([row(user)], lane=Lane.INTERACTIVE) for user in ("ada", "ada", "bob")]

    world.work()

    assert [created(world, file) for file in files] == [1, 0, 1]


def test_an_aborted_file_and_a_dry_run_register_nobody(world):
    world.course()
    aborted = world.send([row("ada"), row("bob", "course-v1:a+b+c")], on_error="abort")
    dry = world.send([row("ada")], dry_run=True)

    world.work()

    assert (created(world, aborted), created(world, dry)) == (0, 0)


def test_a_bulk_enrollment_invites_and_registers_nobody(world):
    world.course()
    row_ = f'{{"email":"new@example.org","course_id":"{COURSE}","force_enrollment":true}}'
    file = world.send(
        row_.encode(), media_type="application/x-ndjson", lane=Lane.INTERACTIVE, auto_enroll=False
    )

    world.work()

    assert created(world, file) == 0
