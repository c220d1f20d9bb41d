"""Plans that cannot be applied, and those that are applied when something has changed."""

from uuid import UUID

from sqlalchemy import update

from enrollment.storage.tables import SubmissionRow
from tests.support.console_files import enrolled, planned, rows, tile
from tests.support.gateway import AUDIT, ago, fresh


def test_what_changed_since_the_plan_counts(gateway, registrar):
    course_id, user = gateway.course(AUDIT), fresh("user")
    path, page = planned(gateway, registrar, rows(f"{user},{course_id},x"))
    assert tile(page, "enrolled") == 1
    gateway.course(AUDIT, course_id=course_id, enrollment_end=ago(minutes=1))
    sent = registrar.send(f"{path}/apply")
    gateway.work()

    assert tile(registrar.get(sent.headers["location"]).text, "refused") == 1
    assert not enrolled(gateway, user, course_id)


def test_a_cancelled_plan_is_not_applied(gateway, registrar):
    course_id, user = gateway.course(AUDIT), fresh("user")
    path = registrar.upload(rows(f"{user},{course_id},x")).headers["location"]
    registrar.get(path)
    registrar.send(f"{path}/cancel")
    gateway.work()
    page = registrar.get(path).text
    sent = registrar.send(f"{path}/apply")
    gateway.work()

    assert "was cancelled" in page
    assert "/apply" not in page
    assert sent.status_code == 409
    assert not enrolled(gateway, user, course_id)


def test_a_plan_is_applied_by_its_caller_alone(gateway, registrar, admin):
    """By two callers it would be applied twice."""
    course_id, user = gateway.course(AUDIT), fresh("user")
    path, _ = planned(gateway, registrar, rows(f"{user},{course_id},x"))
    page = admin.get(path).text

    assert "Only the caller who made a plan can apply it" in page
    assert admin.send(f"{path}/apply").status_code == 409
    registrar.get(path)
    applied = registrar.send(f"{path}/apply").headers["location"]
    assert applied in admin.get(path).text


def test_an_old_plan_is_not_applied(gateway, registrar):
    """Its key is kept for seven days: after that it would be applied a second time."""
    course_id, user = gateway.course(AUDIT), fresh("user")
    path, _ = planned(gateway, registrar, rows(f"{user},{course_id},x"))
    is_plan = SubmissionRow.id == UUID(path.rpartition("/")[2])
    with gateway.worker_sessions.begin() as session:
        session.execute(update(SubmissionRow).where(is_plan).values(finished_at=ago(days=4)))

    assert "more than three days old" in registrar.get(path).text
    assert registrar.send(f"{path}/apply").status_code == 409


def test_a_cancellation_that_comes_too_late_shows_the_result(gateway, registrar):
    path, _ = planned(gateway, registrar, rows(f"{fresh('u')},{gateway.course(AUDIT)},x"))
    sent = registrar.send(f"{path}/cancel")

    assert (sent.status_code, sent.headers["location"]) == (303, path)
    assert "Nothing has changed yet" in registrar.get(path).text
