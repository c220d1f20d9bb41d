"""`enroll relay`: positions of channels are shown, skipped and rewound."""

import json
from datetime import timedelta

import pytest

from enrollment.storage.engine.sessions import sessions_for
from enrollment.storage.outbox import relay_positions
from enrollment.storage.outbox.relay_positions import ChannelName
from tests.support.feed import append_batch
from tests.support.relays import positions, publish_all, stream_relay


@pytest.fixture
def sessions(enroll, tmp_path):
    """Three events, of which none is published."""
    enroll("db", "upgrade")
    made = sessions_for(f"sqlite:///{tmp_path}/data/enrollment.sqlite3")
    append_batch(made, 1, 3)
    yield made
    made.dispose()


def channels(enroll):
    shown = json.loads(enroll("relay", "show", "--json").stdout)["channels"]
    return {each["channel"]: (each["position"], each["behind"]) for each in shown}


def test_a_channel_that_was_never_used_is_at_the_beginning(enroll, sessions):
    assert channels(enroll) == {"event_stream": (0, 3), "event_bus": (0, 3)}
    assert "event_bus" in enroll("relay", "show").stdout


def test_a_new_channel_begins_where_it_was_put(enroll, sessions, redis_url):
    done = enroll("relay", "skip", "event_stream")
    assert done.stdout == "event_stream goes on after position 3; before, it was 0.\n"
    append_batch(sessions, 2, 2)
    publish_all(stream_relay(sessions, redis_url))
    assert positions(redis_url) == [4, 5]
    assert channels(enroll) == {"event_stream": (5, 0), "event_bus": (0, 5)}


def test_what_is_rewound_is_published_again_by_the_relay_that_runs(enroll, sessions, redis_url):
    running = stream_relay(sessions, redis_url)
    publish_all(running)
    done = enroll("relay", "rewind", "event_stream", "--to", 1, "--json")
    assert json.loads(done.stdout) == {"channel": "event_stream", "before": 3, "position": 1}
    append_batch(sessions, 2, 1)
    while channels(enroll)["event_stream"] != (4, 0):
        running.publish_next()
    assert positions(redis_url) in ([1, 2, 3, 2, 3, 4], [1, 2, 3, 4, 2, 3, 4])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("skip", "event_bus", "--to", 4), "The feed ends at position 3."),
        (("rewind", "event_bus", "--to", 3), "event_bus is at position 2: use `enroll relay skip`"),
        (("skip", "event_bus", "--to", 1), "event_bus is at position 2: use `enroll relay rewind`"),
    ],
)
def test_a_wrong_way_is_refused_and_changes_nothing(enroll, sessions, words, message):
    enroll("relay", "skip", "event_bus", "--to", 2)
    refused = enroll("relay", *words)
    assert refused.exit_code == 2
    assert message in refused.stderr
    assert channels(enroll)["event_bus"] == (2, 1)


def test_moving_a_channel_ends_its_lease(enroll, sessions):
    name = ChannelName.EVENT_BUS
    lease = timedelta(seconds=60)
    with sessions.begin() as session:
        relay_positions.claim(session, name, "one", lease=lease)
    enroll("relay", "skip", "event_bus")
    with sessions.begin() as session:
        assert not relay_positions.advance(session, name, "one", start=0, end=1, lease=lease)
        assert relay_positions.claim(session, name, "two", lease=lease) == 3
