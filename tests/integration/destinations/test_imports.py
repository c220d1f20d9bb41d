"""Taking over what an LMS has: once, without undoing what was changed here, and not sent back."""

from datetime import UTC, datetime

import pytest
from redis import Redis

from enrollment.domain.codes import ChangeKind, Code, Reason
from enrollment.domain.destinations.records import RemoteState
from enrollment.domain.events import EnrollmentState
from enrollment.storage.engine.sessions import Sessions
from tests.support.in_process_service import COURSE, OTHER, World, hours_ago, request, row
from tests.support.relays import bus_relay, publish_all
from worker.destinations.reports.import_intake import ImportIntake

CREATED = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture
def intake(sessions: Sessions) -> ImportIntake:
    return ImportIntake(sessions=sessions, dispatch=lambda _: None)


def there(user: str, mode: str = "audit", *, is_active: bool = True) -> RemoteState:
    return RemoteState(COURSE, user, mode, is_active, CREATED)


def test_taken_over_once(world: World, intake: ImportIntake) -> None:
    world.course(modes=["audit", "verified"], enrollment_end=hours_ago(1))
    states = [there("ada", "verified"), there("bob", is_active=False), there("eve")]
    first = intake.hand_in("campus", states)
    world.work()
    assert world.codes(first) == [Code.ENROLLED, Code.DEACTIVATED, Code.ENROLLED]
    assert world.standing("ada") == EnrollmentState("verified", is_active=True)
    assert world.standing("bob") == EnrollmentState("audit", is_active=False)
    assert {(each.kind, each.caller) for each in world.events()} == {
        (ChangeKind.IMPORTED, "destination:campus")
    }
    again = intake.hand_in("campus", states)
    world.work()
    assert world.codes(again) == [Code.UNCHANGED] * 3
    assert len(world.events()) == 3
    world.check()


def test_later_change_here_is_not_undone(world: World, intake: ImportIntake) -> None:
    world.course(modes=["audit", "verified"])
    world.ask(request("ada", mode="verified"))
    world.work()
    taken = intake.hand_in("campus", [there("ada", is_active=False)])
    world.work()
    assert world.codes(taken) == [Code.SUPERSEDED]
    assert world.standing("ada") == EnrollmentState("verified", is_active=True)
    world.check()


def test_changes_of_existing_enrollments_are_imported_too(
    world: World, intake: ImportIntake
) -> None:
    world.course(modes=["audit", "verified"])
    world.send([row("ada", requested_at=datetime(2025, 1, 1, tzinfo=UTC))])
    world.work()
    taken = intake.hand_in("campus", [there("ada", "verified")])
    world.work()
    assert world.codes(taken) == [Code.MODE_CHANGED]
    assert [each.kind for each in world.events()] == [ChangeKind.CREATED, ChangeKind.IMPORTED]
    world.check()


def test_what_cannot_be_taken_over_says_why(world: World, intake: ImportIntake) -> None:
    world.course(capacity=1)
    unknown = there("eve")._replace(course_id=OTHER)
    taken = intake.hand_in("campus", [there("ada"), there("bob"), there("zoe", "gold"), unknown])
    world.work()
    assert [each.reason for each in world.outcomes(taken)] == [
        None,
        Reason.COURSE_FULL,
        Reason.MODE_UNAVAILABLE,
        Reason.COURSE_NOT_FOUND,
    ]
    world.check()


def test_event_bus_does_not_get_them_back(
    world: World, intake: ImportIntake, redis_url: str
) -> None:
    world.course()
    intake.hand_in("campus", [there("ada")])
    world.work()
    world.ask(request("bob"))
    world.work()
    publish_all(bus_relay(world.sessions, redis_url))
    with Redis.from_url(redis_url) as client:
        assert sum(client.xlen(key) for key in client.scan_iter("*")) == 1
