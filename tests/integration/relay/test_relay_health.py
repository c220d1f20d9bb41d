"""`/readyz` and `enroll doctor` say how far the relay is behind."""

from datetime import UTC, datetime, timedelta

import falcon.asgi
import pytest
from falcon import testing
from sqlalchemy import update

from api_gateway.cli.checks.process_checks import check_relay
from api_gateway.database import Database
from api_gateway.resources.health import ReadyResource
from api_gateway.status.health.relay_lag import enabled_channels
from enrollment.runtime.settings import from_env
from enrollment.storage.outbox.relay_positions import ChannelName
from enrollment.storage.tables import EventRow
from tests.support.in_process_service import row
from tests.support.relays import publish_all, stream_relay

CHANNELS = (ChannelName.EVENT_STREAM,)


@pytest.fixture
def ask(sessions):
    database = Database(sessions, threads=1)

    def ask(channels=CHANNELS):
        resource = ReadyResource(
            database=database,
            ping_redis=lambda: True,
            now=lambda: datetime.now(UTC),
            broker=None,
            channels=channels,
        )
        app = falcon.asgi.App()
        app.add_route("/readyz", resource)
        return testing.TestClient(app).simulate_get("/readyz").json

    yield ask
    database.close()


@pytest.fixture
def old_changes(world):
    """Two changes, an hour ago."""
    world.course()
    world.send([row("ada"), row("bob")])
    world.work()
    with world.sessions.begin() as session:
        session.execute(update(EventRow).values(at=datetime.now(UTC) - timedelta(hours=1)))
    return world


def results(sessions):
    with sessions.read() as session:
        return [(each.mark, each.message) for each in check_relay(session, CHANNELS)]


def test_a_channel_that_is_far_behind_is_a_finding(old_changes, ask):
    body = ask()

    assert [each["channel"] for each in body["relay"]] == ["event_stream"]
    assert body["relay"][0]["lag_events"] == 2
    assert 3_600 <= body["relay"][0]["lag_seconds"] < 7_200
    (finding,) = [each for each in body["findings"] if "event_stream is 2 events behind" in each]
    assert "check that beat runs" in finding
    assert [mark for mark, _ in results(old_changes.sessions)] == ["wrong"]


def test_a_channel_that_is_not_behind_is_none(old_changes, ask, redis_url):
    publish_all(stream_relay(old_changes.sessions, redis_url))

    body = ask()

    assert body["relay"] == [{"channel": "event_stream", "lag_events": 0, "lag_seconds": 0}]
    assert not [each for each in body["findings"] if "behind" in each]
    assert results(old_changes.sessions) == [("ok", "event_stream is 0 events behind")]


def test_without_channels_nothing_is_said(old_changes, ask):
    assert "relay" not in ask(())


@pytest.mark.parametrize(
    ("given", "channels"),
    [
        ({}, ()),
        ({"ENROLL_EVENT_STREAM": "enroll:events"}, ("event_stream",)),
        ({"ENROLL_EVENT_BUS": "true"}, ("event_bus",)),
        (
            {"ENROLL_EVENT_STREAM": "enroll:events", "ENROLL_EVENT_BUS": "true"},
            ("event_stream", "event_bus"),
        ),
    ],
)
def test_a_channel_is_enabled_by_the_settings(given, channels):
    assert enabled_channels(from_env(given)) == channels
