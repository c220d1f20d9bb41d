"""Destinations over HTTP: members, credentials, the log of deliveries, sending again."""

from datetime import UTC, datetime, timedelta

import pytest

from api_gateway.cli.checks.process_checks import check_destinations
from api_gateway.resources.destinations import state_deliveries
from api_gateway.status.health.destination_backlog import OLD_DELIVERY, ReportedBacklog
from enrollment.domain.destinations.deliveries import DestinationBacklog
from enrollment.domain.destinations.records import ApplyResult
from enrollment.storage.destinations import registry
from tests.support.gateway import fresh
from tests.support.scripted_destination import Destinations, ScriptedKind

URL = "https://lms.example.org"
SECRET = "the secret of the LMS"
MEMBERS = {"kind": "openedx", "url": URL, "auth": {"client_id": "us", "client_secret": SECRET}}


@pytest.fixture
def name():
    return fresh("lms")


def put(gateway, name, /, **members):
    return gateway.call("PUT", f"destinations/{name}", gateway.admin, json={**MEMBERS, **members})


def call(gateway, method, name, path="", **more):
    return gateway.call(method, f"destinations/{name}{path}", gateway.admin, **more)


def test_credentials_are_stored_encrypted_and_never_shown(gateway, name):
    made = put(gateway, name, courses=["Uni+*"], requests_per_second=2.5)
    assert made.status_code == 201, made.text
    assert made.json["name"] == name
    assert (made.json["concurrency"], made.json["requests_per_second"]) == (4, 2.5)
    shown = call(gateway, "GET", name)
    assert shown.json == made.json
    assert shown.json in gateway.call("GET", "destinations", gateway.admin).json["destinations"]
    assert SECRET not in made.text + shown.text
    with gateway.sessions.read() as session:
        assert SECRET not in registry.find(session, name).auth


def test_what_is_put_replaces_and_the_credentials_stay(gateway, name):
    put(gateway, name, courses=["Uni+*"], paused=True)
    with gateway.sessions.read() as session:
        before = registry.find(session, name)
    answer = call(gateway, "PUT", name, json={"kind": "openedx", "url": f"{URL}/2"})
    assert answer.status_code == 200
    assert (answer.json["url"], answer.json["courses"], answer.json["paused"]) == (
        *(f"{URL}/2", []),
        False,
    )
    with gateway.sessions.read() as session:
        after = registry.find(session, name)
    assert (after.id, after.auth, after.since) == (before.id, before.auth, before.since)


@pytest.mark.parametrize(
    "url",
    ["https://lms.example.com", "https://lms.example.org:8443", "https://lms.example.org.evil.net"],
)
def test_credentials_are_not_kept_for_another_host(gateway, name, url):
    put(gateway, name)
    answer = call(gateway, "PUT", name, json={"kind": "openedx", "url": url})
    assert answer.status_code == 400
    assert [each["field"] for each in answer.json["errors"]] == ["auth"]
    assert call(gateway, "GET", name).json["url"] == URL
    assert put(gateway, name, url=url).status_code == 200


def test_a_destination_is_paused_resumed_and_deleted(gateway, name):
    put(gateway, name)
    assert call(gateway, "POST", name, "/pause").json["paused"] is True
    assert call(gateway, "POST", name, "/resume").json["paused"] is False
    assert call(gateway, "POST", name, "/retry").json == {"queued": 0}
    assert call(gateway, "DELETE", name).status_code == 204
    for method, path in (("DELETE", ""), ("GET", ""), ("POST", "/pause"), ("POST", "/retry")):
        assert call(gateway, method, name, path).status_code == 404


@pytest.mark.parametrize(
    ("members", "field", "rule"),
    [
        ({"kind": "sakai"}, "kind", "one_of"),
        ({"url": "http://lms.example.org/"}, "url", "destination"),
        ({"url": "https://169.254.169.254/latest"}, "url", "destination"),
        ({"url": f"{URL}/?next="}, "url", "destination"),
        ({"auth": {"api_key": "ключ"}}, "auth.api_key", "pattern"),
        ({"auth": {"api_key": "a\r\nX: b"}}, "auth.api_key", "pattern"),
        ({"auth": {"api_key": ""}}, "auth.api_key", "length"),
        ({"auth": {"client_id": "us"}}, "auth", "required"),
        ({"auth": {"client_id": "us", "api_key": SECRET}}, "auth", "required"),
        ({"auth": {"api_key": SECRET * 50}}, "auth.api_key", "length"),
        ({"auth": {"key": SECRET}}, "auth.key", "unknown"),
        ({"auth": SECRET}, "auth", "type"),
        ({"auth": {}}, "auth", "required"),
        ({"auth": {"password": "x"}}, "auth.password", "unknown"),
        ({"courses": ["*"]}, "courses.0", "course_key"),
        ({"concurrency": 0}, "concurrency", "range"),
        ({"concurrency": 65}, "concurrency", "range"),
        ({"requests_per_second": 0}, "requests_per_second", "range"),
        ({"requests_per_second": "2"}, "requests_per_second", "type"),
        ({"requests_per_second": True}, "requests_per_second", "type"),
        ({"paused": "no"}, "paused", "type"),
        ({"pull_courses_every": 1}, "pull_courses_every", "range"),
        ({"name": "lms"}, "name", "unknown"),
    ],
)
def test_an_invalid_destination_is_refused(small, members, field, rule):
    answer = put(small, "lms", **members)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_body")
    assert (answer.json["errors"][0]["field"], answer.json["errors"][0]["rule"]) == (field, rule)
    assert SECRET not in answer.text


@pytest.mark.parametrize("bad", ["LMS", "-lms", "l" * 41, "l.m"])
def test_an_invalid_name_is_refused(small, bad):
    answer = put(small, bad)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_body")
    assert call(small, "GET", bad).status_code == 404


def test_a_new_destination_needs_credentials(small):
    answer = call(small, "PUT", "new", json={"kind": "openedx", "url": URL})
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_body")
    assert answer.json["errors"][0]["field"] == "auth"


@pytest.fixture
def with_failed_delivery(gateway, name):
    """A destination that refused an enrollment; returns that, and the client."""
    destinations = Destinations(gateway.worker_sessions)
    kind = ScriptedKind([ApplyResult(400, "no such mode", "refused", is_permanent=True)])
    course, user = gateway.course(), fresh("ada")
    put(gateway, name, courses=[course])
    stored = destinations.use(name, kind)
    asked = gateway.enroll(gateway.admin, course, user)
    assert asked.status_code == 200, asked.text
    destinations.read_all()
    destinations.deliver(stored)
    yield user, course, lambda: destinations.deliver(stored)
    destinations.delivery.clients.close()


def test_deliveries_are_listed_and_sent_again(gateway, name, with_failed_delivery):
    user, course, deliver = with_failed_delivery
    listed = call(gateway, "GET", name, "/deliveries?state=failed").json
    (failed,) = listed["deliveries"]
    assert (failed["user"], failed["course_id"], failed["status"]) == (user, course, 400)
    assert (failed["answer"], failed["error"]) == ("no such mode", "refused")
    path = f"/deliveries/{failed['id']}/retry"
    assert gateway.call("POST", f"destinations/other{path}", gateway.admin).status_code == 404
    again = call(gateway, "POST", name, path)
    assert (again.status_code, again.json["state"]) == (202, "pending")
    assert deliver() == 1
    assert call(gateway, "GET", name, "/deliveries?state=failed").json["deliveries"] == []


def test_everything_that_failed_is_sent_again_in_portions(gateway, name, monkeypatch):
    monkeypatch.setattr(state_deliveries, "RETRIED_TOGETHER", 2)
    refused = ApplyResult(400, "", "refused", is_permanent=True)
    destinations = Destinations(gateway.worker_sessions)
    course, users = gateway.course(), [fresh("ada") for _ in range(5)]
    put(gateway, name, courses=[course])
    stored = destinations.use(name, ScriptedKind(else_=lambda _: refused))
    for user in users:
        gateway.enroll(gateway.admin, course, user)
    destinations.read_all()
    assert destinations.deliver(stored) == 5
    again = call(gateway, "POST", name, "/retry")
    assert (again.status_code, again.json) == (202, {"queued": 5})
    assert call(gateway, "POST", name, "/retry").json == {"queued": 0}
    destinations.delivery.clients.close()


@pytest.mark.parametrize("query", ["state=lost", "cursor=eA", "stat=failed"])
def test_invalid_parameters_are_refused(gateway, name, query):
    put(gateway, name)
    assert call(gateway, "GET", name, f"/deliveries?{query}").status_code == 400


def test_unknown_deliveries_are_not_found(gateway, name):
    put(gateway, name)
    for path in ("/deliveries/1/retry", "/deliveries/x/retry", f"/deliveries/{'9' * 30}/retry"):
        assert call(gateway, "POST", name, path).status_code == 404
    assert call(gateway, "GET", "nothing", "/deliveries").status_code == 404


def test_history_and_outcomes_show_whether_the_state_has_arrived(
    gateway, name, with_failed_delivery
):
    user, course, deliver = with_failed_delivery

    def shown():
        history = gateway.get(f"enrollment/{user},{course}/history", gateway.admin).json
        return [each["state"] for each in history["destinations"] if each["destination"] == name]

    assert shown() == ["failed"]
    call(gateway, "POST", name, "/retry")
    assert shown() == ["pending"]
    assert deliver() == 1
    assert shown() == ["delivered"]
    submission = gateway.submit(f"user,course_id,is_active\n{user},{course},false\nno!,{course},\n")
    assert shown() == ["pending"]  # before the feed was read
    path = f"submissions/{submission.json['submission_id']}/outcomes"
    changed, invalid = gateway.get(path, gateway.admin).json["outcomes"]
    assert name in {each["destination"] for each in changed["destinations"]}
    assert "destinations" not in invalid


def test_readiness_and_doctor_tell_what_has_failed(gateway, name, with_failed_delivery):
    _, _, deliver = with_failed_delivery
    ready = gateway.get("/readyz").json
    (backlog,) = (each for each in ready["destinations"] if each["name"] == name)
    assert (backlog["pending"], backlog["failed"]) == (0, 1)
    assert any(f"destination {name}: 1 have failed" in each for each in ready["findings"])
    with gateway.worker_sessions.read() as session:
        checks = [each for each in check_destinations(session) if name in each.message]
    assert [each.mark for each in checks] == ["wrong"]
    call(gateway, "POST", name, "/retry")
    deliver()
    with gateway.worker_sessions.read() as session:
        checks = [each for each in check_destinations(session) if name in each.message]
    assert [(each.mark, each.message) for each in checks] == [
        ("ok", f"{name}: 0 wait, 0 have failed")
    ]


@pytest.mark.parametrize(("is_paused", "reported"), [(False, True), (True, False)])
def test_a_delivery_that_waits_for_long_is_reported_unless_paused(is_paused, reported):
    now = datetime.now(UTC)
    backlog = DestinationBacklog("lms", is_paused, 3, now - OLD_DELIVERY - timedelta(seconds=1), 0)
    assert bool(ReportedBacklog(backlog, now).finding) is reported
    fresh_one = backlog._replace(oldest=now)
    assert ReportedBacklog(fresh_one, now).finding == ""
