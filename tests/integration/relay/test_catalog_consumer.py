"""Courses follow the catalog events of Open edX's bus; malformed events stop nothing."""

from datetime import UTC, datetime

import pytest
from redis import Redis
from structlog.testing import capture_logs

from api_gateway.local_stack.embedded_redis import EmbeddedRedis
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage import courses
from enrollment.storage.course_edition import edition
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import Pass, Reset
from tests.support.catalog_events import KEY, body, consume_all, send
from tests.support.in_process_service import COURSE, OTHER
from tests.support.manual_clock import ManualClock
from tests.support.servers import LOOPBACK
from worker.relay.catalog_consumer import CATALOG_GROUP, CatalogConsumer


@pytest.fixture
def client(redis_url):
    with Redis.from_url(redis_url) as made:
        yield made


@pytest.fixture
def catalog(world, redis_url):
    world.course(name="Algebra", modes=["audit", "verified"], capacity=7, cohorts=("a",))
    return CatalogConsumer(world.sessions, redis_url, KEY, holder="one")


def stored(world, course_id=COURSE):
    with world.sessions.read() as session:
        return courses.find(session, course_id)


def pending(client):
    return client.xpending(KEY, CATALOG_GROUP)["pending"]


def test_a_course_takes_name_dates_pacing_and_invitation_from_the_event(world, catalog, client):
    before = stored(world)
    with world.sessions.read() as session:
        earlier = edition(session)
    send(client, body())

    assert consume_all(catalog) == 1

    after = stored(world)
    assert (after.name, after.self_paced, after.invite_only) == ("Algebra II", True, True)
    assert after.course_start == datetime(2026, 9, 1, 8, tzinfo=UTC)
    assert after.course_end == datetime(2026, 12, 1, tzinfo=UTC)
    assert after.enrollment_start is None
    assert after.enrollment_end == datetime(2026, 10, 1, tzinfo=UTC)
    assert (after.modes, after.capacity, after.cohorts) == (before.modes, 7, ("a",))
    assert pending(client) == 0
    with world.sessions.read() as session:
        assert edition(session) > earlier


def test_the_embedded_redis_serves_the_consumer_as_well(world):
    world.course(name="Algebra")
    with EmbeddedRedis() as redis, Redis.from_url(redis.url) as client:
        consumer = CatalogConsumer(world.sessions, redis.url, KEY, holder="one")
        with capture_logs() as logs:  # nothing was sent yet, so there is no stream
            assert consume_all(consumer) == 0
        assert logs == []
        send(client, b"noise")
        send(client, body())
        assert consume_all(consumer) == 2
        send(client, body(name="Algebra III"))
        assert consume_all(consumer) == 1

    assert stored(world).name == "Algebra III"


def test_the_last_event_of_a_course_wins(world, catalog, client):
    for number in range(250):
        send(client, body(name=f"Algebra {number}"))

    assert consume_all(catalog) == 250

    assert stored(world).name == "Algebra 249"


def test_an_event_that_changes_nothing_leaves_the_edition(world, catalog, client):
    send(client, body())
    consume_all(catalog)
    with world.sessions.read() as session:
        before = edition(session)
    send(client, body())

    consume_all(catalog)

    with world.sessions.read() as session:
        assert edition(session) == before


def test_a_course_that_is_unknown_here_is_passed_over(world, catalog, client):
    send(client, body(OTHER))
    send(client, body())

    assert consume_all(catalog) == 2

    assert stored(world, OTHER) is None
    assert stored(world).name == "Algebra II"
    assert pending(client) == 0


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00",
        b"\xff" * 40,
        b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        body("no course key"),
        body(name="nul\0"),
        body(start="tomorrow"),
        body(start="2026-09-01T08:00:00"),
        body(pacing="none"),
    ],
    ids=["empty", "short", "noise", "huge", "key", "nul", "date", "naive", "pacing"],
)
def test_a_malformed_event_is_acknowledged_and_logged(world, catalog, client, data):
    send(client, data)
    send(client, body())

    with capture_logs() as logs:
        assert consume_all(catalog) == 2

    assert [each["event"] for each in logs] == ["catalog.malformed", "catalog.course_changed"]
    assert stored(world).name == "Algebra II"
    assert pending(client) == 0


def test_events_of_other_types_and_without_fields_are_acknowledged(world, catalog, client):
    send(client, body(), "org.openedx.other.v1")
    client.xadd(KEY, {"noise": "1"})

    with capture_logs() as logs:
        assert consume_all(catalog) == 2

    assert logs == []
    assert stored(world).name == "Algebra"
    assert pending(client) == 0


def test_an_event_is_acknowledged_after_the_commit_only(
    world, catalog, client, redis_url, monkeypatch
):
    send(client, body())

    def fail(*_):
        raise DatabaseUnavailable("away")

    from worker.relay import catalog_consumer

    with monkeypatch.context() as patch:
        patch.setattr(catalog_consumer.course_patches, "update_existing", fail)
        with pytest.raises(DatabaseUnavailable):
            consume_all(catalog)
    assert pending(client) == 1
    catalog.release()

    assert consume_all(CatalogConsumer(world.sessions, redis_url, KEY, holder="two")) == 1
    assert stored(world).name == "Algebra II"
    assert pending(client) == 0


def test_a_key_of_another_type_is_an_outage(world, catalog, client):
    client.set(KEY, "of another type")
    with capture_logs() as logs:
        assert catalog.consume_next() == 0

    assert [each["event"] for each in logs] == ["catalog.unreachable"]


def test_of_two_consumers_one_works(world, catalog, client, redis_url):
    other = CatalogConsumer(world.sessions, redis_url, KEY, holder="two")
    consume_all(catalog)
    send(client, body())

    assert consume_all(other) == 0
    catalog.release()
    assert consume_all(other) == 1


def test_redis_may_be_away(world, client, redis_url):
    world.course(name="Algebra")
    send(client, body())
    clock = ManualClock()
    port = int(redis_url.rsplit(":", 1)[1].partition("/")[0])
    with Proxy(LOOPBACK, port) as proxy:
        url = redis_url.replace(redis_url.split("/")[2], f"{LOOPBACK}:{proxy.port}")
        consumer = CatalogConsumer(world.sessions, url, KEY, holder="one", monotonic=clock)
        proxy.set(Reset())
        assert consumer.consume_next() == 0
        proxy.set(Pass())
        clock.now += 1
        assert consume_all(consumer) == 1
    assert stored(world).name == "Algebra II"
