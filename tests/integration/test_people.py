"""Roles in courses and opt-ins to e-mail in the records."""

from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime

from enrollment.domain.codes import CourseRole
from enrollment.storage.people import course_roles, opt_ins
from enrollment.storage.people.course_roles import RoleInCourse

NOON = datetime(2026, 9, 1, 12, tzinfo=UTC)
ALGEBRA, BOTANY = "course-v1:Uni+ALG+1", "Uni/BOT/1"


def give(sessions, username, course_id, role):
    with sessions.begin() as session:
        return course_roles.replace(session, username, course_id, role, now=NOON)


def test_a_person_has_one_role_in_a_course(sessions):
    assert give(sessions, "ada", ALGEBRA, CourseRole.STAFF) is None
    assert give(sessions, "ada", ALGEBRA, CourseRole.SUPPORT) == "staff"
    assert give(sessions, "ada", ALGEBRA, CourseRole.SUPPORT) == "support"
    assert give(sessions, "ada", BOTANY, CourseRole.INSTRUCTOR) is None
    with sessions.begin() as session:
        both = [RoleInCourse(BOTANY, "instructor"), RoleInCourse(ALGEBRA, "support")]
        assert course_roles.find(session, "ada") == both
        assert course_roles.find(session, "ada", ALGEBRA) == both[1:]
        assert course_roles.find(session, "bob") == []
        assert course_roles.delete(session, "ada", ALGEBRA) is True
        assert course_roles.delete(session, "ada", ALGEBRA) is False
        assert course_roles.find(session, "ada") == both[:1]


def test_of_two_roles_given_at_once_one_stays(sessions):
    with ThreadPoolExecutor(1) as pool:
        with sessions.begin() as session:
            course_roles.replace(session, "ada", ALGEBRA, CourseRole.STAFF, now=NOON)
            later = pool.submit(give, sessions, "ada", ALGEBRA, CourseRole.SUPPORT)
            wait([later], timeout=0.2)
            assert not later.done()
        assert later.result(timeout=10) == "staff"
    with sessions.read() as session:
        assert course_roles.find(session, "ada") == [RoleInCourse(ALGEBRA, "support")]


def test_staff_and_instructors_have_staff_access_others_are_only_listed(sessions, statements):
    for number, role in enumerate(CourseRole):
        give(sessions, f"p{number}", ALGEBRA, role)
    give(sessions, "p0", BOTANY, CourseRole.SUPPORT)
    asked = {(f"p{number}", course) for number in range(5) for course in (ALGEBRA, BOTANY)}
    with sessions.read() as session:
        statements.clear()
        found = course_roles.staff_pairs(session, asked)
        assert len(statements) == 1
        assert course_roles.staff_pairs(session, []) == set()
        assert len(statements) == 1
    assert found == {("p0", ALGEBRA), ("p1", ALGEBRA)}


def test_the_latest_statement_about_email_counts(sessions, statements):
    with sessions.begin() as session:
        opt_ins.set_many(session, {("ada", "Uni"): True, ('"b\\', "Uni"): False})
        opt_ins.set_many(session, {("ada", "Uni"): False, ("ada", "Ärzte"): True})
    statements.clear()
    with sessions.begin() as session:
        opt_ins.set_many(session, {})
        assert statements == []
        assert opt_ins.find(session, "ada") == {"Uni": False, "Ärzte": True}
        assert opt_ins.find(session, '"b\\') == {"Uni": False}
        assert opt_ins.find(session, "bob") == {}
