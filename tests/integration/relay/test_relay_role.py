"""The relay and the catalog consumer work with the role of workers, and need no other."""

import pytest
from redis import Redis

from enrollment.storage import courses
from enrollment.storage.engine.sessions import sessions_for
from tests.support.catalog_events import KEY, body, consume_all, send
from tests.support.in_process_service import World, row
from tests.support.relays import bus_relay, positions, publish_all, stream_relay
from tests.support.roles import database_with_roles, restricted_redis
from worker.relay.catalog_consumer import CatalogConsumer


@pytest.fixture
def urls(postgres_base_url):
    with database_with_roles(postgres_base_url) as made:
        yield made


def test_a_restricted_user_of_redis_may_publish_to_a_stream_of_ours(sessions):
    world = World(sessions)
    world.course()
    world.send([row("ada")])
    world.work()
    with restricted_redis() as redis:
        assert publish_all(stream_relay(sessions, redis.service_url)) == 1
        consumer = CatalogConsumer(sessions, redis.service_url, "enroll:catalog", holder="one")
        with Redis.from_url(redis.url) as client:
            client.xadd("enroll:catalog", {"noise": "1"})
        assert consume_all(consumer) == 1

        assert positions(redis.url) == [1]
        assert redis.refused() <= {"command client", "command client|setinfo"}  # it names itself
    world.close()


def test_a_worker_may_publish_and_follow_the_catalog(urls, redis_url):
    owner, sessions = sessions_for(urls.superuser), sessions_for(urls.worker)
    world = World(owner)
    world.course()
    world.send([row("ada")])
    world.work()

    assert publish_all(stream_relay(sessions, redis_url)) == 1
    assert publish_all(bus_relay(sessions, redis_url)) == 1
    with Redis.from_url(redis_url) as client:
        send(client, body())
    assert consume_all(CatalogConsumer(sessions, redis_url, KEY, holder="one")) == 1

    assert positions(redis_url) == [1]
    with owner.read() as session:
        (course,) = courses.page(session, after=None, limit=2)
    assert course.name == "Algebra II"
    world.close()
    for each in (owner, sessions):
        each.dispose()
