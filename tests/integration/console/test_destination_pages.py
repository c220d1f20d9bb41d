"""Destinations in the console: added, paused, compared, sent again."""

import re

import pytest

from enrollment.domain.destinations.differences import Difference, DifferenceKind
from enrollment.domain.destinations.records import ApplyResult
from enrollment.domain.destinations.reports import ReportedDifference
from enrollment.storage.destinations import registry, reports
from tests.support.gateway import AUDIT, ahead, fresh, utc_now
from tests.support.scripted_destination import Destinations, ScriptedKind

SECRET = "the secret of the LMS"


@pytest.fixture
def name():
    return fresh("lms")


def add(admin, name, /, **fields):
    admin.get("/console/destinations")
    members = {
        "name": name,
        "kind": "openedx",
        "url": "https://lms.example.org",
        "client_id": "us",
        "client_secret": SECRET,
    }
    return admin.send("/console/destinations", {**members, **fields})


def use(admin, name, form, **fields):
    admin.get(f"/console/destinations/{name}")
    return admin.send(f"/console/destinations/{name}/{form}", fields)


def find(gateway, name):
    with gateway.sessions.read() as session:
        return registry.find(session, name)


def test_a_destination_is_added_and_its_credentials_are_never_shown(gateway, admin, name):
    sent = add(admin, name, courses="Uni+*", concurrency="8", requests_per_second="2.5", paused="1")
    added = find(gateway, name).destination

    assert (sent.status_code, sent.headers["location"]) == (303, f"/console/destinations/{name}")
    assert (added.courses, added.concurrency, added.requests_per_second) == ({"Uni+*"}, 8, 2.5)
    assert added.is_paused
    for path in ("/console/destinations", f"/console/destinations/{name}"):
        page = admin.get(path)
        assert name in page.text
        assert SECRET not in page.text


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "LMS"},
        {"url": "https://127.0.0.1/"},
        {"client_secret": ""},
        {"client_id": "", "client_secret": ""},
        {"api_key": "too"},
        {"concurrency": "many"},
        {"concurrency": "9" * 5_000},
        {"requests_per_second": "nan"},
        {"requests_per_second": "1.0e999"},
        {"courses": "<b>"},
    ],
)
def test_a_destination_that_cannot_be_is_refused_with_the_form_as_it_was(
    gateway, admin, name, fields
):
    page = add(admin, name, **fields)

    assert page.status_code == 400
    assert " open>" in page.text
    assert SECRET not in page.text
    assert "<b>" not in page.text
    assert find(gateway, name) is None


def test_a_form_replaces_no_destination(gateway, admin, name):
    add(admin, name)
    before = find(gateway, name)

    assert add(admin, name, url="https://other.example.org").status_code == 409
    assert find(gateway, name) == before


def test_a_destination_is_paused_and_resumed(gateway, admin, name):
    add(admin, name)

    assert use(admin, name, "pause").status_code == 303
    assert find(gateway, name).destination.is_paused
    assert "Paused" in admin.get(f"/console/destinations/{name}").text
    assert use(admin, name, "resume").status_code == 303
    assert not find(gateway, name).destination.is_paused


@pytest.fixture
def refused(gateway, admin, name):
    """A learner whose enrollment the destination refused."""
    destinations = Destinations(gateway.worker_sessions)
    answer = ApplyResult(400, "<img src=x>", "refused", is_permanent=True)
    course_id, user = gateway.course(AUDIT), gateway.person()
    add(admin, name, courses=course_id)
    stored = destinations.use(name, ScriptedKind([answer]))
    assert gateway.enroll(gateway.admin, course_id, user).status_code == 200
    destinations.read_all()
    destinations.deliver(stored)
    yield user
    destinations.delivery.clients.close()


def test_failed_deliveries_are_shown_and_sent_again(admin, name, refused):
    page = admin.get(f"/console/destinations/{name}", params={"state": "failed"})
    delivery = re.search(r"/deliveries/(\d+)/retry", page.text)[1]

    assert refused in page.text
    assert "&lt;img src=x&gt;" in page.text
    assert "<img" not in page.text
    sent = use(admin, name, f"deliveries/{delivery}/retry")
    assert sent.headers["location"] == f"/console/destinations/{name}?queued=1"
    assert "0 sent again" in admin.get(use(admin, name, "retry").headers["location"]).text


def test_all_failed_deliveries_are_sent_again(admin, name, refused):
    assert "1 failed" in admin.get(f"/console/destinations/{name}").text
    assert use(admin, name, "retry").headers["location"].endswith("?queued=1")
    assert "none failed" in admin.get(f"/console/destinations/{name}").text
    assert refused in admin.get(f"/console/learners/{refused}").text


def test_a_learner_shows_whether_each_destination_has_the_state(admin, name, refused):
    page = admin.get(f"/console/learners/{refused}")

    assert f"/console/destinations/{name}" in page.text
    assert "Failed" in page.text


def finish(gateway, report_path, *found):
    """Ends the job of a report, with these differences."""
    with gateway.worker_sessions.begin() as session:
        report = reports.lease_next(session, "test", now=utc_now(), until=ahead(minutes=5))
        assert str(report.id) in report_path
        reports.add_differences(session, report.id, found)
        counts = {each.difference.kind.value: 1 for each in found}
        reports.finish(session, report.id, "test", counts, now=utc_now())


@pytest.mark.parametrize("fields", [{}, {"apply": "1"}])
def test_a_comparison_shows_the_differences(gateway, admin, name, fields):
    add(admin, name)
    path = use(admin, name, "reconcile", **fields).headers["location"]

    assert 'hx-trigger="every 2s"' in admin.get(path).text
    hostile = "<img src=x>"
    here = {"mode_here": "audit", "is_active_here": True}
    there = {"mode_there": None, "is_active_there": None}
    missing = Difference(DifferenceKind.MISSING_THERE, "c", hostile, **here, **there)
    finish(gateway, path, ReportedDifference(1, missing, is_queued=bool(fields)))
    page = admin.get(path)
    assert "hx-trigger" not in page.text
    assert "&lt;img src=x&gt;" in page.text
    assert "Missing there" in page.text
    assert ("queued" in page.text) is bool(fields)
    file = admin.get(f"{path}/differences.csv")
    assert file.headers["content-type"] == "text/csv; charset=utf-8"
    assert hostile in file.text
    assert path in admin.get(f"/console/destinations/{name}").text
    assert admin.get(path.replace(name, "other")).status_code == 404
