"""Destinations: each ends in the last state, whatever it answers and whoever is killed."""

import threading
import time
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from prometheus_client import REGISTRY
from sqlalchemy import delete, update

from enrollment.domain.codes import DeliveryState
from enrollment.domain.destinations.deliveries import SETTLE_SECONDS
from enrollment.domain.destinations.records import ApplyResult, Auth
from enrollment.domain.retries import RETRY_SECONDS
from enrollment.runtime.metrics.instruments import DESTINATION_ATTEMPTS
from enrollment.runtime.outbound.secret_encryption import NoEncryptionKey
from enrollment.storage.destinations import arrivals, deliveries, registry, removal
from enrollment.storage.engine.sessions import Sessions
from enrollment.storage.events import last_position
from enrollment.storage.tables import DestinationRow
from enrollment.storage.webhooks import positions
from tests.support.in_process_service import ADMIN, COURSE, OTHER, SERVER, request, row
from tests.support.scripted_destination import ARRIVED, Destinations, ScriptedKind
from worker.background import pace, sending_loop
from worker.destinations import destination_loop, fan_out
from worker.destinations.clients import DestinationClients
from worker.destinations.destination_delivery import DestinationDelivery
from worker.destinations.destination_loop import DestinationLoop
from worker.destinations.fan_out import read_changes

AWAY = ApplyResult(error="not_reachable")
REFUSED = ApplyResult(400, "no such mode", "refused", is_permanent=True)


@pytest.fixture
def destinations(sessions: Sessions):
    made = Destinations(sessions)
    yield made
    made.delivery.clients.close()


@pytest.fixture
def ready(world, destinations):
    """Courses, and a way to change enrollments."""
    for course in (COURSE, OTHER):
        world.course(course, modes=["audit", "verified"])

    def enroll(*users, course=COURSE, caller=SERVER, **wish):
        world.ask(*(request(user, course, **wish) for user in users), caller=caller)
        world.work()
        destinations.read_all()

    return enroll


def test_a_state_arrives_once(destinations, ready):
    lms = destinations.add()
    ready("ada", mode="verified")
    assert destinations.deliver(lms) == 1
    assert destinations.deliver(lms) == 0
    (sent,) = destinations.kinds["lms"].sent
    assert (sent.username, sent.course_id, sent.mode, sent.is_active, sent.is_forced) == (
        *("ada", COURSE, "verified"),
        *(True, False),
    )
    (delivery,) = destinations.log(lms)
    assert (delivery.state, delivery.attempts, delivery.status) == ("delivered", 1, 200)
    assert delivery.arrived_position == delivery.position == 1
    assert destinations.kinds["lms"].auth == Auth(api_key="secret")


def test_attempts_are_counted_by_their_result(destinations, ready):
    def counts():
        results = ("delivered", "pending", "failed")
        return [DESTINATION_ATTEMPTS.labels(each)._value.get() for each in results]

    lms = destinations.add()
    before = counts()
    ready("ada")
    destinations.deliver(lms)
    ready("bob")
    destinations.kinds["lms"].answers.append(REFUSED)
    destinations.deliver(lms)
    assert [after - at for after, at in zip(counts(), before, strict=True)] == [1, 0, 1]


def test_email_and_attributes_are_sent(destinations, ready, world):
    world.learner("ada", "ada@example.org")
    lms = destinations.add()
    attribute = ("credit", "provider_id", "asu")
    ready("ada", attributes=(attribute,))
    destinations.deliver(lms)
    (sent,) = destinations.kinds["lms"].sent
    assert sent.email == "ada@example.org"
    assert list(map(tuple, sent.attributes)) == [attribute]


def test_only_the_last_of_several_changes_is_sent(destinations, ready):
    lms = destinations.add()
    ready("ada")
    ready("ada", mode="verified")
    ready("ada", is_active=False)
    assert destinations.deliver(lms) == 1
    (sent,) = destinations.kinds["lms"].sent
    assert (sent.mode, sent.is_active) == ("verified", False)
    (delivery,) = destinations.log(lms)
    assert delivery.position == 3


def test_filters_decide_what_is_queued(destinations, ready):
    made = {
        "all": destinations.add("all"),
        "course": destinations.add("course", courses=frozenset({OTHER})),
        "org": destinations.add("org", courses=frozenset({"Uni+*"})),
        "none": destinations.add("none", courses=frozenset({"Un+*"})),
    }
    ready("ada")
    ready("ada", course=OTHER)
    assert {name: len(destinations.log(stored)) for name, stored in made.items()} == {
        "all": 2,
        "course": 1,
        "org": 2,
        "none": 0,
    }


def test_a_destination_receives_what_came_after_it(destinations, ready):
    ready("ada")
    with destinations.sessions.begin() as session:
        positions.advance(session, positions.DESTINATIONS, position=0)
    lms = destinations.add()
    ready("ben")
    assert [each.username for each in destinations.log(lms)] == ["ben"]


def test_without_destinations_the_feed_is_passed_over(destinations, ready):
    ready("ada", "ben")
    with destinations.sessions.read() as session:
        read = positions.find_position(session, positions.DESTINATIONS)
        assert read == last_position(session) == 2


def test_reading_the_feed_again_sends_the_same_states(destinations, ready):
    lms = destinations.add()
    ready("ada")
    ready("ada", mode="verified")
    with destinations.sessions.begin() as session:
        positions.advance(session, positions.DESTINATIONS, position=0)
    destinations.read_all()
    destinations.deliver(lms)
    assert [each.mode for each in destinations.kinds["lms"].sent] == ["verified"]


@pytest.mark.parametrize(("caller", "is_forced"), [(ADMIN, True), (SERVER, False)])
def test_a_forced_change_is_sent_as_one_until_it_arrived(
    destinations, ready, world, caller, is_forced
):
    lms = destinations.add()
    ready("ada", caller=caller, force=True)
    ready("ada", mode="verified")  # not forced, but the one before has not arrived
    world.send(
        [row("ben", force_enrollment=True), row("cia", force_enrollment=False)], caller=caller
    )
    world.work()
    destinations.read_all()
    destinations.deliver(lms)
    sent = {each.username: each.is_forced for each in destinations.kinds["lms"].sent}
    if is_forced:
        assert sent == {"ada": True, "ben": True, "cia": False}
    else:
        assert not any(sent.values())
    ready("ada", is_active=False)
    destinations.deliver(lms)
    assert not destinations.kinds["lms"].sent[-1].is_forced


def test_a_permanent_refusal_fails_and_holds_up_nothing(destinations, ready):
    kind = ScriptedKind(else_=lambda state: REFUSED if state.username == "ada" else ARRIVED)
    lms = destinations.add(kind=kind)
    ready("ada", "ben", "cia")
    assert destinations.deliver(lms) == 3
    (failed,) = destinations.log(lms, DeliveryState.FAILED)
    assert (failed.username, failed.status, failed.answer, failed.error) == (
        *("ada", 400, "no such mode"),
        "refused",
    )
    assert failed.next_attempt_at is None
    destinations.make_due()
    assert destinations.deliver(lms) == 0
    ready("ada", mode="verified")  # the next change is sent
    kind.else_ = lambda _: ARRIVED
    assert destinations.deliver(lms) == 1


def test_a_failure_is_tried_again(destinations, ready):
    kind = ScriptedKind([AWAY])
    lms = destinations.add(kind=kind)
    ready("ada", "ben")
    assert destinations.deliver(lms) == 1
    assert destinations.deliver(lms) == 0  # it rests
    (waits, other) = destinations.log(lms)
    assert (waits.state, waits.error, waits.attempts) == ("pending", "not_reachable", 1)
    assert waits.next_attempt_at - waits.attempted_at == timedelta(seconds=RETRY_SECONDS[0])
    assert other.attempts == 0
    destinations.make_due()
    assert destinations.deliver(lms) == 2
    assert {each.state for each in destinations.log(lms)} == {DeliveryState.DELIVERED}


def test_nothing_is_sent_while_a_request_that_was_given_up_may_follow(destinations, ready):
    """Neither the same state nor a later one: it could come before the one that was given up."""
    given_up = ApplyResult(error="timeout", may_follow=True)
    lms = destinations.add(kind=ScriptedKind([given_up]))
    ready("ada")
    destinations.deliver(lms)
    ready("ada", mode="verified")
    (waits,) = destinations.log(lms)
    assert waits.next_attempt_at - waits.attempted_at >= timedelta(seconds=SETTLE_SECONDS)


def test_retry_after_is_respected_for_the_whole_destination(destinations, ready, sessions):
    lms = destinations.add(kind=ScriptedKind([ApplyResult(429, "", "throttled", retry_after=600)]))
    ready("ada", "ben")
    destinations.deliver(lms)
    with sessions.read() as session:
        stored = registry.find(session, "lms")
    assert stored.not_before > datetime.now(UTC) + timedelta(seconds=500)
    assert destinations.deliver(lms) == 0


def test_after_the_last_attempt_a_delivery_has_failed_and_can_be_sent_again(destinations, ready):
    kind = ScriptedKind(else_=lambda _: AWAY)
    lms = destinations.add(kind=kind)
    ready("ada")
    for _ in range(len(RETRY_SECONDS) + 1):
        destinations.make_due()
        assert destinations.deliver(lms) == 1
    (failed,) = destinations.log(lms, DeliveryState.FAILED)
    kind.else_ = lambda _: ARRIVED
    destinations.make_due()
    with destinations.sessions.begin() as session:
        assert deliveries.retry(session, "other", failed.id, now=datetime.now(UTC)) is None
        now = datetime.now(UTC)
        assert deliveries.retry_failed(session, uuid4(), after=0, limit=9, now=now) == []
        assert deliveries.retry_failed(session, lms.id, after=0, limit=9, now=now) == [failed.id]
    assert destinations.deliver(lms) == 1
    assert destinations.log(lms)[0].state == "delivered"


def test_a_change_while_a_state_is_sent_stays_pending(destinations, ready):
    kind = ScriptedKind()
    lms = destinations.add(kind=kind)

    def change(_):
        ready("ada", mode="verified")
        return ARRIVED

    kind.answers = [change]
    ready("ada")
    assert destinations.deliver(lms) == 1
    (delivery,) = destinations.log(lms)
    assert (delivery.state, delivery.arrived_position, delivery.position) == ("pending", 1, 2)
    assert destinations.deliver(lms) == 1
    assert [each.mode for each in kind.sent] == ["audit", "verified"]


def test_a_change_during_a_refusal_does_not_fail(destinations, ready):
    kind = ScriptedKind()
    lms = destinations.add(kind=kind)

    def change(_):
        ready("ada", mode="verified")
        return REFUSED

    kind.answers = [change]
    ready("ada")
    destinations.deliver(lms)
    assert destinations.log(lms)[0].state == "pending"
    assert destinations.deliver(lms) == 1


def test_a_change_after_a_failure_waits_until_the_request_before_has_settled(destinations, ready):
    lms = destinations.add(kind=ScriptedKind([AWAY]))
    ready("ada")
    destinations.deliver(lms)
    (before,) = destinations.log(lms)
    ready("ada", mode="verified")
    (after,) = destinations.log(lms)
    assert after.next_attempt_at == before.next_attempt_at
    with destinations.sessions.begin() as session:
        far = datetime.now(UTC) + timedelta(days=1)
        session.execute(update(deliveries.DestinationDeliveryRow).values(next_attempt_at=far))
    ready("ada", is_active=False)
    (after,) = destinations.log(lms)
    assert after.next_attempt_at <= datetime.now(UTC) + timedelta(seconds=SETTLE_SECONDS)


def test_one_process_sends_to_a_destination_at_a_time(destinations, ready, sessions):
    lms = destinations.add()
    ready("ada")
    now = datetime.now(UTC)
    later = now + timedelta(minutes=1)
    with sessions.begin() as session:
        assert registry.lease(session, lms.id, now=now, until=later)
    assert destinations.deliver(lms) == 0
    with sessions.begin() as session:  # the process with the lease was killed
        assert registry.lease(session, lms.id, now=later, until=later)


def test_a_process_that_lost_its_lease_has_the_last_state_sent_again(destinations, ready):
    """It was stopped for so long that another one sent a later state before its own arrived."""
    kind = ScriptedKind()
    lms = destinations.add(kind=kind)
    other = destinations.another_process()

    def stall(_):
        destinations.make_due()  # the lease has ended
        ready("ada", mode="verified")
        other.deliver_slice(lms.id)
        return ARRIVED

    kind.answers = [stall]
    ready("ada")
    destinations.deliver(lms)
    (delivery,) = destinations.log(lms)
    assert delivery.state == "pending"
    destinations.make_due()
    assert destinations.deliver(lms) == 1
    assert [each.mode for each in kind.sent] == ["audit", "verified", "verified"]


def test_a_paused_destination_collects(destinations, ready, sessions):
    lms = destinations.add(is_paused=True)
    ready("ada")
    ready("ada", mode="verified")
    assert destinations.deliver(lms) == 0
    with sessions.begin() as session:
        assert registry.find_due(session, now=datetime.now(UTC)) == []
        registry.set_paused(session, "lms", is_paused=False)
        assert registry.find_due(session, now=datetime.now(UTC)) == [lms.id]
    assert destinations.deliver(lms) == 1


def test_a_destination_may_be_deleted_and_made_again_while_it_is_sent_to(destinations, ready):
    kind = ScriptedKind()
    lms = destinations.add(kind=kind)

    def replace(_):
        with destinations.sessions.begin() as session:
            assert removal.remove(session, "lms", now=datetime.now(UTC))
        destinations.add(kind=kind)
        return ARRIVED

    kind.answers = [replace]
    ready("ada")
    assert destinations.deliver(lms) == 1
    with destinations.sessions.read() as session:
        made = registry.find(session, "lms")
    assert destinations.log(made) == []
    ready("ben")
    assert destinations.deliver(made) == 1
    assert [each.username for each in kind.sent] == ["ada", "ben"]


def test_requests_are_bounded_in_number(destinations, ready):
    meeting = threading.Barrier(3, timeout=20)

    def meet(_):
        meeting.wait()
        return ARRIVED

    kind = ScriptedKind(else_=meet)
    lms = destinations.add(kind=kind, concurrency=3)
    ready(*(f"learner{n}" for n in range(9)))
    assert destinations.deliver(lms) == 9
    assert kind.most_at_once == 3


def test_the_rate_goes_on_in_the_next_slice(destinations, ready, sessions):
    lms = destinations.add(requests_per_second=0.01)
    ready("ada", "ben")
    assert destinations.deliver(lms) == 1
    with sessions.read() as session:
        not_before = registry.find(session, "lms").not_before
    assert not_before > datetime.now(UTC) + timedelta(seconds=50)
    assert destinations.deliver(lms) == 0


def test_a_client_that_raises_is_a_failure(destinations, ready):
    def fail(_):
        raise RuntimeError("a bug")

    lms = destinations.add(kind=ScriptedKind([fail]))
    ready("ada")
    assert destinations.deliver(lms) == 1
    assert destinations.log(lms)[0].error == "internal_error"


def test_without_the_key_or_the_kind_nothing_is_sent_and_nothing_is_lost(destinations, ready):
    def no_key():
        raise NoEncryptionKey("none")

    lms = destinations.add()
    ready("ada")
    for encryption, kinds in ((no_key, {"openedx": ScriptedKind}), (None, {})):
        clients = DestinationClients(make_http=None, encryption=encryption, kinds=kinds)
        unable = DestinationDelivery(sessions=destinations.sessions, clients=clients)
        destinations.make_due()
        assert unable.deliver_slice(lms.id) == 0
    destinations.make_due()
    assert destinations.deliver(lms) == 1


def test_a_client_is_made_anew_when_the_destination_is_changed(destinations, ready):
    kind = ScriptedKind()
    lms = destinations.add(kind=kind)
    ready("ada")
    destinations.deliver(lms)
    destinations.add(kind=kind, url="https://other.example.org")
    ready("ben")
    destinations.deliver(lms)
    assert kind.closed == 1


def test_a_slow_destination_does_not_delay_another(destinations, ready, sessions):
    over = threading.Event()

    def hang(_):
        over.wait(60)
        return ARRIVED

    destinations.add("slow", ScriptedKind(else_=hang))
    quick = destinations.add("quick")
    loops = [
        DestinationLoop(sessions, destinations.another_process()) for _ in range(2)
    ]  # two processes
    for loop in loops:
        loop.start()
    try:
        for n in range(5):
            ready(f"learner{n}")
        eventually(lambda: len(destinations.log(quick, DeliveryState.DELIVERED)) == 5)
    finally:
        over.set()
        for loop in loops:
            loop.stop()
    assert len(destinations.kinds["quick"].sent) == 5


def eventually(condition, seconds=30.0):
    """Waits for something that threads do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_the_loop_does_not_wait_for_an_answer_that_does_not_come(destinations, ready, sessions):
    over, sent = threading.Event(), threading.Event()

    def hang(_):
        sent.set()
        over.wait(60)
        return ARRIVED

    lms = destinations.add(kind=ScriptedKind(else_=hang))
    loop = DestinationLoop(sessions, destinations.another_process())
    loop.start()
    try:
        ready("ada")
        assert sent.wait(30)
        loop.stop()
        assert not over.is_set()
    finally:
        over.set()
    eventually(lambda: len(destinations.log(lms, DeliveryState.DELIVERED)) == 1)


def test_attempts_are_counted_by_their_results(destinations, ready):
    name = "enroll_destination_attempts_total"

    def counts():
        results = ("delivered", "pending", "failed")
        return [REGISTRY.get_sample_value(name, {"result": each}) or 0 for each in results]

    before = counts()
    lms = destinations.add(kind=ScriptedKind([ARRIVED, REFUSED, AWAY]))
    ready("ada", "ben", "cem")
    destinations.deliver(lms)
    assert [after - old for after, old in zip(counts(), before, strict=True)] == [1, 1, 1]


def test_two_readers_do_not_read_the_same(destinations, ready, sessions):
    if sessions.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has one writer anyway")
    destinations.add()
    ready("ada")
    with sessions.begin() as session:
        positions.advance(session, positions.DESTINATIONS, position=0)
    with sessions.begin() as session:
        assert positions.lock(session, positions.DESTINATIONS)
        assert read_changes(Sessions(sessions.engine)) is None


def test_arrivals_and_backlogs_are_told(destinations, ready, sessions):
    kind = ScriptedKind(else_=lambda state: REFUSED if state.username == "ada" else ARRIVED)
    lms = destinations.add(kind=kind)
    destinations.add("idle", is_paused=True)
    ready("ada", "ben")
    destinations.deliver(lms)
    ready("ben", mode="verified")
    with sessions.read() as session:
        found = arrivals.find_arrivals(session, [(COURSE, "ada"), (COURSE, "ben"), (OTHER, "ada")])
        assert sorted((each.username, each.destination, each.state) for each in found) == [
            *(("ada", "idle", "pending"), ("ada", "lms", "failed")),
            *(("ben", "idle", "pending"), ("ben", "lms", "pending")),
        ]
        idle, busy = arrivals.load_backlogs(session)
        assert (idle.name, idle.pending, idle.failed, idle.is_paused) == ("idle", 2, 0, True)
        assert (busy.name, busy.pending, busy.failed, busy.is_paused) == ("lms", 1, 1, False)
        assert busy.oldest is not None


def test_a_destination_cannot_be_made_without_credentials(destinations, sessions):
    lms = destinations.add()
    with sessions.begin() as session:
        session.execute(delete(DestinationRow))
        found, is_new = registry.put(
            session, lms.destination, None, destination_id=uuid4(), now=datetime.now(UTC)
        )
    assert (found, is_new) == (None, True)


def test_the_feed_is_read_slowly_while_files_are_processed(
    destinations, ready, world, sessions, monkeypatch
):
    monkeypatch.setattr(fan_out, "DESTINATION_EVENTS_PER_SLICE", 2)
    monkeypatch.setattr(destination_loop, "DESTINATION_EVENTS_PER_SLICE", 2)
    monkeypatch.setattr(pace, "REST_FACTOR", 1e9)
    monkeypatch.setattr(pace, "LONGEST_REST", 3_600.0)
    lms = destinations.add(is_paused=True)
    world.ask(*(request(f"learner{n}", COURSE) for n in range(5)))
    world.work()
    world.send([row("dan")])  # a file that no worker has taken
    loop = DestinationLoop(sessions, destinations.another_process())
    loop.start()
    try:
        eventually(lambda: len(destinations.log(lms)) == 2)
    finally:
        loop.stop()
    assert len(destinations.log(lms)) == 2


def test_slices_are_short_and_far_between_while_files_are_processed(
    destinations, ready, world, sessions, monkeypatch
):
    monkeypatch.setattr(destination_loop, "YIELDING_STATES", 2)
    monkeypatch.setattr(sending_loop, "LONGEST_REST", 3_600.0)
    lms = destinations.add()
    ready(*(f"learner{n}" for n in range(5)))
    world.send([row("dan")])
    loop = DestinationLoop(sessions, destinations.another_process())
    loop.start()
    try:
        eventually(lambda: len(destinations.log(lms, DeliveryState.DELIVERED)) == 2)
    finally:
        loop.stop()
    assert len(destinations.kinds["lms"].sent) == 2
