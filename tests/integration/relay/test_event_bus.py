"""The event bus of Open edX: fields and bytes that an unmodified consumer reads."""

import io
import socket
from datetime import UTC, datetime, timedelta
from uuid import UUID

import fastavro
import pytest
from redis import Redis
from sqlalchemy import update

from enrollment.storage.outbox.installation import installation_id
from enrollment.storage.tables import RelayPositionRow
from tests.support.in_process_service import COURSE, row
from tests.support.relays import TOPICS, bus_relay, publish_all, stream_relay, streamed

#: Written from the contract, not from the code: the order of fields is the format.
USER = {
    "type": "record",
    "name": "U",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "is_active", "type": "boolean"},
        {
            "name": "pii",
            "type": {
                "type": "record",
                "name": "P",
                "fields": [
                    {"name": "username", "type": "string"},
                    {"name": "email", "type": "string"},
                    {"name": "name", "type": "string"},
                ],
            },
        },
    ],
}
COURSE_DATA = {
    "type": "record",
    "name": "C",
    "fields": [
        {"name": "course_key", "type": "string"},
        {"name": "display_name", "type": "string"},
        {"name": "start", "type": ["null", "string"]},
        {"name": "end", "type": ["null", "string"]},
    ],
}
ENROLLMENT = {
    "type": "record",
    "name": "E",
    "fields": [
        {"name": "user", "type": USER},
        {"name": "course", "type": COURSE_DATA},
        {"name": "mode", "type": "string"},
        {"name": "is_active", "type": "boolean"},
        {"name": "creation_date", "type": "string"},
        {"name": "created_by", "type": ["null", "U"]},
    ],
}
READER = fastavro.parse_schema(
    {
        "type": "record",
        "name": "CloudEvent",
        "fields": [{"name": "enrollment", "type": ENROLLMENT}],
    }
)
CREATED = "org.openedx.learning.course.enrollment.created.v1"
CHANGED = "org.openedx.learning.course.enrollment.changed.v1"
COMPLETED = "org.openedx.learning.course.unenrollment.completed.v1"
RESTART = update(RelayPositionRow).values(position=0, held_until=None)
START = datetime(2026, 9, 1, 8, tzinfo=UTC)


def read_body(data):
    body = io.BytesIO(data)
    value = fastavro.schemaless_reader(body, READER, None)["enrollment"]
    assert body.read() == b""
    return value


def on_the_bus(url, topic):
    """The fields of a topic's entries, as text except for the body."""
    with Redis.from_url(url) as client:
        entries = client.xrange(f"dev-{topic}")
    return [
        {
            name.decode(): value if name == b"event_data" else value.decode()
            for name, value in fields.items()
        }
        for _, fields in entries
    ]


@pytest.fixture
def bus(world, redis_url):
    world.course(modes=["audit", "verified"], name="Algebra ∀", course_start=START, course_end=None)
    world.learner("ada", "ada@example.org")
    world.send(
        [
            row("ada"),
            row("ada", mode="verified"),
            row("ada", is_active=False),
            row("ada"),
            row("bob", is_active=False),
        ]
    )
    world.work()
    publish_all(bus_relay(world.sessions, redis_url))
    return world


def test_each_change_is_one_event_of_its_type_on_its_topic(bus, redis_url):
    assert [each["type"] for each in on_the_bus(redis_url, "created")] == [CREATED]
    assert [each["type"] for each in on_the_bus(redis_url, "changed")] == [CHANGED] * 3
    ended = on_the_bus(redis_url, "course-unenrollment-lifecycle")
    assert [each["type"] for each in ended] == [COMPLETED]


def test_the_fields_are_those_of_the_bus_and_no_others(bus, redis_url):
    (fields,) = on_the_bus(redis_url, "created")
    with bus.sessions.read() as session:
        source = f"/api/enrollment/v1/installations/{installation_id(session)}"

    assert list(fields) == [
        *("type", "id", "source", "time", "minorversion", "sourcehost", "sourcelib", "event_data")
    ]
    assert str(UUID(fields["id"])) == fields["id"]
    moment = datetime.fromisoformat(fields["time"])
    assert moment.tzinfo == UTC
    assert fields["time"].endswith("+00:00")
    assert fields["source"] == source
    assert fields["minorversion"] == "0"
    assert fields["sourcehost"] == socket.gethostname()
    assert fields["sourcelib"] == "11.2.0"


def test_the_body_is_what_a_reader_of_the_contract_expects(bus, redis_url):
    (fields,) = on_the_bus(redis_url, "created")
    (event, *_) = bus.events()

    body = read_body(fields["event_data"])

    created = body.pop("creation_date")
    learner_id = body["user"].pop("id")
    assert learner_id > 0
    assert datetime.fromisoformat(created).utcoffset() == timedelta()
    assert abs(datetime.fromisoformat(created) - event.at) < timedelta(hours=1)
    assert body == {
        "user": {
            "is_active": True,
            "pii": {"username": "ada", "email": "ada@example.org", "name": ""},
        },
        "course": {
            "course_key": COURSE,
            "display_name": "Algebra ∀",
            "start": "2026-09-01T08:00:00+00:00",
            "end": None,
        },
        "mode": "audit",
        "is_active": True,
        "created_by": None,
    }


def test_bodies_have_the_state_after_each_change_and_one_learner_has_one_id(bus, redis_url):
    changed = [read_body(each["event_data"]) for each in on_the_bus(redis_url, "changed")]
    (ended,) = (
        read_body(each["event_data"]) for each in on_the_bus(redis_url, TOPICS.unenrollment)
    )

    assert [
        (each["user"]["pii"]["username"], each["mode"], each["is_active"]) for each in changed
    ] == [("ada", "verified", True), ("ada", "verified", True), ("bob", "audit", False)]
    assert (ended["mode"], ended["is_active"]) == ("verified", False)
    assert changed[0]["user"]["id"] == ended["user"]["id"] != changed[2]["user"]["id"]
    assert changed[2]["user"]["pii"]["email"] == ""


def test_the_bytes_are_exactly_these(bus, redis_url):
    (fields,) = on_the_bus(redis_url, "created")
    body = read_body(fields["event_data"])

    def text(value):
        encoded = value.encode()
        assert len(encoded) < 64
        return bytes([len(encoded) * 2]) + encoded

    assert body["user"]["id"] < 64
    assert fields["event_data"] == b"".join(
        [
            bytes([body["user"]["id"] * 2]),
            b"\x01",
            *(text("ada"), text("ada@example.org"), text("")),
            *(text(COURSE), text("Algebra ∀")),
            b"\x02" + text("2026-09-01T08:00:00+00:00"),
            b"\x00",
            text("audit"),
            b"\x01",
            text(body["creation_date"]),
            b"\x00",
        ]
    )


def test_an_event_has_one_id_on_the_bus_and_on_the_stream(bus, redis_url):
    publish_all(stream_relay(bus.sessions, redis_url))

    topics = ("created", "changed", TOPICS.unenrollment)
    on_bus = {each["id"] for topic in topics for each in on_the_bus(redis_url, topic)}
    assert on_bus == {each["id"] for each in streamed(redis_url)}
    assert len(on_bus) == 5


def test_without_a_prefix_the_key_is_the_topic(bus, redis_url):
    with Redis.from_url(redis_url) as client:
        client.flushdb()
        with bus.sessions.begin() as session:
            session.execute(RESTART)
        publish_all(bus_relay(bus.sessions, redis_url, TOPICS._replace(prefix="")))
        assert sorted(client.keys()) == [
            *(b"changed", b"course-unenrollment-lifecycle", b"created")
        ]
