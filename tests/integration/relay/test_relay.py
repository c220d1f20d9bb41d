"""The relay: the whole feed in order, at least once, with one id, whatever stops it where."""

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
from cloudevents.v1.http import from_json
from redis import Redis
from sqlalchemy import update
from structlog.testing import capture_logs

from api_gateway.local_stack.embedded_redis import EmbeddedRedis
from enrollment.runtime import failpoints
from enrollment.runtime.counters.relay_counters import ChannelCount, RelayCounters
from enrollment.runtime.failpoints import FailPointReached, Point
from enrollment.storage import migrate
from enrollment.storage.engine.sessions import Sessions, sessions_for
from enrollment.storage.outbox import relay_positions
from enrollment.storage.outbox.installation import installation_id
from enrollment.storage.outbox.relay_positions import ChannelName
from enrollment.storage.tables import RelayPositionRow
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import Pass, Reset
from tests.support.in_process_service import COURSE, row
from tests.support.manual_clock import ManualClock
from tests.support.relays import STREAM, positions, publish_all, stream_relay, streamed
from tests.support.servers import LOOPBACK
from worker.relay import relay as relay_module

CHANNEL = ChannelName.EVENT_STREAM


@pytest.fixture
def changes(world):
    """Five changes of two learners in the feed."""
    world.course(modes=["audit", "verified"])
    world.batch_rows = 2
    world.send([row("ada"), row("bob"), row("ada", mode="verified"), row("ada", is_active=False)])
    world.send([row("ada")])
    world.work()
    return world


@pytest.fixture(autouse=True)
def _disarmed():
    yield
    failpoints.arm("")


def stored_position(sessions):
    with sessions.read() as session:
        return relay_positions.load_lag(session, CHANNEL).position


@pytest.fixture(params=["real", "embedded"])
def any_redis_url(request):
    if request.param == "real":
        yield request.getfixturevalue("redis_url")
    else:
        with EmbeddedRedis() as redis:
            yield redis.url


def test_every_change_is_on_the_stream_in_the_order_of_the_feed(changes, any_redis_url):
    assert publish_all(stream_relay(changes.sessions, any_redis_url)) == 5

    events = streamed(any_redis_url)
    assert [event["type"].removeprefix("enrollment.") for event in events] == [
        *("created", "created", "mode_changed", "deactivated", "reactivated")
    ]
    assert [event["data"]["position"] for event in events] == [1, 2, 3, 4, 5]
    assert stored_position(changes.sessions) == 5


def test_an_event_is_a_cloud_event_with_the_installation_in_its_source(changes, redis_url):
    publish_all(stream_relay(changes.sessions, redis_url))
    with changes.sessions.read() as session:
        installation = installation_id(session)
    with Redis.from_url(redis_url) as client:
        (_, fields), *_ = client.xrange(STREAM)

    event = from_json(fields[b"event"])

    assert event["specversion"] == "1.0"
    assert event["type"] == "enrollment.created"
    assert event["source"] == f"/api/enrollment/v1/installations/{installation}"
    assert event["subject"] == f"{COURSE}/ada"
    assert event["datacontenttype"] == "application/json"
    assert datetime.fromisoformat(event["time"]).utcoffset() == timedelta()
    assert str(UUID(event["id"])) == event["id"]
    assert event.data["before"] is None
    assert event.data["after"] == {"mode": "audit", "is_active": True}
    assert {"submission_id", "line", "caller", "reason", "position"} <= event.data.keys()


def test_an_installation_has_an_id_of_its_own(sessions, tmp_path):
    url = f"sqlite:///{tmp_path / 'other.sqlite3'}"
    migrate.upgrade(url)
    others = sessions_for(url)
    with sessions.read() as one, others.read() as other:
        assert installation_id(one) != installation_id(other)
    others.dispose()


@pytest.mark.parametrize("size", [1, 2, 3, 500])
def test_portions_of_any_size_come_to_the_whole_feed(changes, redis_url, size, monkeypatch):
    monkeypatch.setattr(relay_module, "BATCH_EVENTS", size)

    publish_all(stream_relay(changes.sessions, redis_url))

    assert positions(redis_url) == [1, 2, 3, 4, 5]


def test_a_relay_that_starts_anew_goes_on_where_the_position_is(changes, redis_url):
    publish_all(stream_relay(changes.sessions, redis_url, "one"))
    changes.send([row("bob", is_active=False)])
    changes.work()
    first = stream_relay(changes.sessions, redis_url, "one")

    assert publish_all(first) == 1
    assert publish_all(first) == 0
    assert positions(redis_url) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("point", [Point.RELAY_READ, Point.RELAY_PUBLISHED, Point.RELAY_STORED])
@pytest.mark.parametrize("size", [2, 500])
def test_a_relay_that_fails_anywhere_loses_and_reorders_nothing(
    changes, redis_url, point, size, monkeypatch
):
    monkeypatch.setattr(relay_module, "BATCH_EVENTS", size)
    failpoints.arm(f"{point}=raise*2")
    clock = ManualClock()
    for holder in ("one", "two"):
        failing = stream_relay(changes.sessions, redis_url, holder, monotonic=clock)
        with suppress(FailPointReached):  # the second finds nothing left where all was stored
            publish_all(failing)
        failing.release()  # as if the time of its lease had passed

    publish_all(stream_relay(changes.sessions, redis_url, "three"))

    events = streamed(redis_url)
    ids: dict[int, set[str]] = {}
    first: list[int] = []
    for event in events:
        position = event["data"]["position"]
        if position not in ids:
            first.append(position)
        ids.setdefault(position, set()).add(event["id"])
    assert first == [1, 2, 3, 4, 5]
    assert all(len(each) == 1 for each in ids.values())
    assert len({one for each in ids.values() for one in each}) == 5
    repeated = len(events) > 5
    assert repeated == (point is Point.RELAY_PUBLISHED)


def test_one_relay_works_and_another_takes_over_when_the_lease_ends(changes, redis_url):
    now = [datetime(2026, 9, 1, tzinfo=UTC)]
    sessions = changes.sessions
    if sessions.engine.dialect.name == "sqlite":
        sessions = Sessions(sessions.engine, now=lambda: now[0])
    first = stream_relay(sessions, redis_url, "first")
    second = stream_relay(sessions, redis_url, "second")
    publish_all(first)
    changes.send([row("bob", is_active=False)])
    changes.work()

    assert second.publish_next() == 0
    expire_lease(sessions, now)

    assert second.publish_next() == 1
    assert positions(redis_url) == [1, 2, 3, 4, 5, 6]


def expire_lease(sessions, now):
    """Lets the time of a lease pass; on PostgreSQL the row changes, as its clock is its own."""
    if sessions.engine.dialect.name == "sqlite":
        now[0] += timedelta(seconds=relay_module.RELAY_LEASE_SECONDS + 1)
        return
    with sessions.begin() as session:
        session.execute(update(RelayPositionRow).values(held_until=now[0] - timedelta(days=9_999)))


def test_a_relay_that_lost_its_lease_does_not_store_a_position(changes, redis_url, monkeypatch):
    monkeypatch.setattr(relay_module, "BATCH_EVENTS", 2)
    clock = ManualClock()
    slow = stream_relay(changes.sessions, redis_url, "slow", monotonic=clock)
    assert slow.publish_next() == 2
    with changes.sessions.begin() as session:
        relay_positions.release(session, CHANNEL, "slow")
    publish_all(stream_relay(changes.sessions, redis_url, "quick"))

    changes.send([row("bob", is_active=False)])
    changes.work()
    with capture_logs() as logs:
        assert slow.publish_next() == 0

    assert [each["event"] for each in logs] == ["relay.lease_lost"]
    assert stored_position(changes.sessions) == 5


def test_a_relay_that_read_for_too_long_publishes_nothing(changes, redis_url):
    clock = ManualClock()
    relay = stream_relay(changes.sessions, redis_url, monotonic=clock)
    render = relay.channel.render

    def slowly(session, events):
        clock.now += relay_module.RELAY_LEASE_SECONDS
        return render(session, events)

    relay.channel.render = slowly

    assert relay.publish_next() == 0
    assert streamed(redis_url) == []


def test_redis_may_be_away_and_everything_comes_when_it_is_back(changes, redis_url):
    port = int(redis_url.rsplit(":", 1)[1].partition("/")[0])
    clock, counters = ManualClock(), RelayCounters()
    with Proxy(LOOPBACK, port) as proxy, capture_logs() as logs:
        url = redis_url.replace(redis_url.split("/")[2], f"{LOOPBACK}:{proxy.port}")
        relay = stream_relay(
            changes.sessions, url, monotonic=clock, counters=counters, length=1_000_000
        )
        proxy.set(Reset())
        assert [relay.publish_next() for _ in range(3)] == [0, 0, 0]
        proxy.set(Pass())
        clock.now += 1
        assert publish_all(relay) == 5

    assert positions(redis_url) == [1, 2, 3, 4, 5]
    told = [each["event"] for each in logs if each["event"].startswith("event_stream")]
    assert told == ["event_stream.unreachable", "event_stream.reachable_again"]
    count = counters.by_channel()[CHANNEL]
    assert (count.published, count.failures) == (5, 1)


def test_a_stream_is_bounded(changes, redis_url):
    relay = stream_relay(changes.sessions, redis_url, length=1)
    changes.send([row(f"learner{number}") for number in range(300)])
    changes.work()

    publish_all(relay)

    with Redis.from_url(redis_url) as client:
        assert 1 <= client.xlen(STREAM) <= 200
    assert positions(redis_url)[-1] == 305


def test_a_stream_that_refuses_one_entry_takes_none(changes, redis_url):
    relay = stream_relay(changes.sessions, redis_url)
    with Redis.from_url(redis_url) as client:
        client.set(STREAM, "of another type")
        assert relay.publish_next() == 0
        client.delete(STREAM)

    assert stored_position(changes.sessions) == 0


def test_the_lag_is_counted_in_events_and_seconds(changes, redis_url):
    counters = RelayCounters()
    relay = stream_relay(changes.sessions, redis_url, counters=counters)
    relay.publish_next()
    behind = counters.by_channel()[CHANNEL]
    relay.publish_next()

    assert (behind.published, behind.failures, behind.lag_events) == (5, 0, 5)
    assert 0 <= behind.lag_seconds < 3_600
    assert counters.by_channel()[CHANNEL] == ChannelCount(5, 0, 0, 0.0)


def test_a_relay_without_news_writes_nothing(changes, redis_url, statements):
    relay = stream_relay(changes.sessions, redis_url)
    publish_all(relay)
    statements.clear()

    relay.publish_next()

    assert not [each for each in statements if not each.lstrip().startswith("SELECT")]
