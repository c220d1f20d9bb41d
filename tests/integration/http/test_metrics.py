"""`/metrics` of a gateway: requests, commits, the cache, and the queue as the database has it."""

from datetime import timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import update

from api_gateway.auth import authentication, middleware
from api_gateway.http.problems import unavailable
from enrollment.domain.destinations.deliveries import QueuedState
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.storage.credentials import api_keys
from enrollment.storage.destinations import deliveries, registry
from enrollment.storage.engine.sessions import database_now
from enrollment.storage.queue.backlog import LaneBacklog, load_lane_backlogs
from enrollment.storage.tables import DestinationDeliveryRow
from tests.support.gateway import AUDIT, fresh


@pytest.fixture
def values(gateway):
    """Reads the metrics: name and labels to value."""

    def read():
        answer = gateway.get("/metrics", gateway.staff)  # known without the database
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain")
        return {
            (sample.name, *sorted(sample.labels.values())): sample.value
            for family in text_string_to_metric_families(answer.text)
            for sample in family.samples
        }

    return read


@pytest.fixture
def gained(values):
    """Runs something; returns by how much each metric grew."""

    def run(work):
        before = values()
        work()
        after = values()
        return {
            name: value - before.get(name, 0.0)
            for name, value in after.items()
            if value != before.get(name, 0.0)
        }

    return run


def requests(route, method, status):
    return ("enroll_http_request_duration_seconds_count", *sorted((route, method, str(status))))


def test_requests_are_counted_by_route_and_status(gateway, gained):
    course_id = gateway.course(AUDIT)
    body = {"user": fresh("ada"), "course_details": {"course_id": course_id}}

    def work():
        gateway.post("/api/enrollment/v1/enrollment", gateway.key("enroll"), json=body)
        gateway.get("/livez")
        gateway.get(f"/no/{fresh('such')}")
        gateway.get("/api/enrollment/v1/changes")

    grown = gained(work)
    for route, method, status in (
        ("enrollment", "POST", 202),
        ("livez", "GET", 200),
        ("none", "GET", 404),
        ("changes", "GET", 401),
    ):
        assert grown[requests(route, method, status)] == 1
    assert grown[("enroll_commit_group_requests_count",)] == 1


def test_paths_and_methods_of_clients_make_no_labels(gateway, values):
    for number in range(3):
        gateway.get(f"/api/enrollment/v1/course/c{number}")
        gateway.get(f"/private{number}")
    labels = {label for name in values() for label in name[1:]}
    assert not [label for label in labels if "private" in label or "/" in label]


def test_lookups_of_courses_are_counted(gateway, gained):
    course_id = gateway.course(AUDIT)
    path = f"/api/enrollment/v1/course/{course_id}"

    def look_twice():
        gateway.get(path)
        gateway.get(path)

    grown = gained(look_twice)
    lookups = {
        name[1]: value
        for name, value in grown.items()
        if name[0] == "enroll_course_cache_lookups_total"
    }
    assert lookups["database"] == 1
    assert sum(lookups.values()) == 2


def test_the_queue_is_read_from_the_database(gateway, values):
    gateway.work()
    assert values()["enroll_queue_batches", "interactive"] == 0
    course_id = gateway.course(AUDIT)
    body = {"user": fresh("ada"), "course_details": {"course_id": course_id}}
    gateway.post("/api/enrollment/v1/enrollment", gateway.key("enroll"), json=body)

    found = values()
    assert found["enroll_database_up",] == 1
    assert found["enroll_queue_batches", "interactive"] == 1
    assert found["enroll_queue_oldest_batch_age_seconds", "interactive"] >= 0
    assert found["enroll_queue_batches", "bulk"] == 0
    assert found["enroll_parked_batches",] == 0
    gateway.work()
    with gateway.sessions.read() as session:
        assert load_lane_backlogs(session) == dict.fromkeys(
            load_lane_backlogs(session), LaneBacklog()
        )


def test_what_waits_for_destinations_is_counted(gateway, values):
    name = fresh("lms")
    lms = {"kind": "openedx", "url": "https://8.8.8.8", "auth": {"api_key": "secret"}}
    path = f"/api/enrollment/v1/destinations/{name}"
    assert gateway.call("PUT", path, gateway.key("admin"), json=lms).status_code == 201
    with gateway.sessions.begin() as session:
        stored = registry.find(session, name)
        states = [QueuedState("course-v1:a+b+c", user, 1, is_forced=False) for user in "abc"]
        past = database_now(session) - timedelta(minutes=1)
        deliveries.queue(session, stored.id, states, now=past)
        session.execute(
            update(DestinationDeliveryRow)
            .where(
                DestinationDeliveryRow.destination_id == stored.id,
                DestinationDeliveryRow.username == "a",
            )
            .values(state="failed")
        )

    found = values()
    assert found["enroll_destination_pending_deliveries", name] == 2
    assert found["enroll_destination_failed_deliveries", name] == 1
    assert 60 <= found["enroll_destination_oldest_pending_age_seconds", name] < 3_600
    gateway.call("DELETE", path, gateway.key("admin"))
    assert ("enroll_destination_pending_deliveries", name) not in values()


def test_without_the_database_the_metrics_of_the_process_remain(gateway, values, monkeypatch):
    async def fail(*_):
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(type(gateway.parts.database), "read", fail)
    found = values()
    assert found["enroll_database_up",] == 0
    assert ("enroll_parked_batches",) not in found
    assert "process_resident_memory_bytes" in {name[0] for name in found}


def test_a_key_reads_metrics_while_the_database_is_away(gateway, monkeypatch):
    monkeypatch.setattr(authentication, "KEY_CACHE_SECONDS", 0.0)
    reader, unknown = gateway.key("read", name=fresh("k")), gateway.key("read", name=fresh("k"))
    other = gateway.key("enroll")
    assert gateway.get("/metrics", reader).status_code == 200
    assert gateway.get("/metrics", other).status_code == 403

    async def fail(*_):
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(type(gateway.parts.database), "read", fail)
    answer = gateway.get("/metrics", reader)
    assert answer.status_code == 200
    assert "enroll_database_up 0.0" in answer.text
    assert gateway.get("/metrics", other).status_code == 403
    assert gateway.get("/metrics", unknown).status_code == 503
    assert gateway.get("/api/enrollment/v1/courses", reader).status_code == 503


def test_a_key_reads_metrics_while_credentials_cannot_be_checked(gateway, monkeypatch):
    reader, unknown = gateway.key("read", name=fresh("k")), gateway.key("read", name=fresh("k"))
    assert gateway.get("/metrics", reader).status_code == 200

    async def fail(*_):
        raise unavailable("The token issuer's keys cannot be read; try again.")

    monkeypatch.setattr(authentication.Authenticator, "identify", fail)
    assert gateway.get("/metrics", reader).status_code == 200
    assert gateway.get("/metrics", unknown).status_code == 503


def test_a_key_does_not_take_the_place_of_another_by_other_headers(gateway, monkeypatch):
    monkeypatch.setattr(authentication, "KEY_CACHE_SECONDS", 0.0)
    reader, other = gateway.key("read", name=fresh("k")), gateway.key("enroll", name=fresh("k"))
    assert gateway.get("/metrics", reader).status_code == 200
    for number in range(middleware.MAX_READERS + 1):
        headers = {**other, "Authorization": f"Basic {number}"}
        assert gateway.get("/metrics", headers).status_code == 403

    async def fail(*_):
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(type(gateway.parts.database), "read", fail)
    assert gateway.get("/metrics", reader).status_code == 200


def test_a_key_that_was_revoked_reads_no_metrics(gateway, monkeypatch):
    monkeypatch.setattr(authentication, "KEY_CACHE_SECONDS", 0.0)
    name = fresh("k")
    reader = gateway.key("read", name=name)
    assert gateway.get("/metrics", reader).status_code == 200
    with gateway.sessions.begin() as session:
        (key,) = api_keys.find_by_name(session, name)
        api_keys.revoke(session, key.id, now=database_now(session))
    assert gateway.get("/metrics", reader).status_code == 401

    async def fail(*_):
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(type(gateway.parts.database), "read", fail)
    assert gateway.get("/metrics", reader).status_code == 503
