"""Webhooks in the console: added, rotated, disabled, enabled, sent again."""

import re
from uuid import UUID

import pytest

from enrollment.domain.codes import DeliveryState
from enrollment.domain.webhooks.records import AttemptResult
from enrollment.storage.events import last_position
from enrollment.storage.webhooks import deliveries, endpoints
from tests.support.gateway import AUDIT, fresh, utc_now
from worker.deliveries.fan_out import read_feed

SECRET = re.compile(r"whsec_[A-Za-z0-9+/=]+")


@pytest.fixture
def url():
    return f"https://{fresh('lms')}.example.org/hook"


def add(admin, url, **fields):
    admin.get("/console/webhooks")
    return admin.send("/console/webhooks", {"url": url, **fields})


def find(gateway, url):
    with gateway.sessions.read() as session:
        (found,) = [hook for hook in endpoints.find_all(session) if hook.url == url]
    return found


@pytest.fixture
def hook(gateway, admin, url):
    """An endpoint that has answered its challenge."""
    assert add(admin, url).status_code == 201
    made = find(gateway, url)
    with gateway.sessions.begin() as session:
        assert endpoints.verify(session, made.id, url)
    return made


def use(admin, hook, form, **fields):
    path = f"/console/webhooks/{hook.id}"
    admin.get(path)
    return admin.send(f"{path}/{form}", fields)


def test_the_secret_of_a_new_webhook_is_shown_once(gateway, admin, url):
    page = add(
        admin,
        url,
        description="The LMS",
        courses="Uni+*\n course-v1:Uni+C+1 ",
        callers="sis, other",
        **{"type_enrollment.created": "1"},
    )
    (secret,) = map(SECRET.findall, [page.text])
    made = find(gateway, url)

    assert page.status_code == 201
    assert len(secret) == 1
    assert made.description == "The LMS"
    assert made.filter.types == {"enrollment.created"}
    assert made.filter.courses == {"Uni+*", "course-v1:Uni+C+1"}
    assert made.filter.callers == {"sis", "other"}
    for path in ("/console/webhooks", f"/console/webhooks/{made.id}"):
        shown = admin.get(path).text
        assert url in shown
        assert not SECRET.search(shown)


@pytest.mark.parametrize(
    "members", [{"url": "http://127.0.0.1/"}, {"courses": "<b>"}, {"url": "https://10.0.0.1/"}]
)
def test_a_webhook_that_cannot_be_is_refused_with_the_form_as_it_was(gateway, admin, url, members):
    page = add(admin, **{"url": url, "description": "Kept", **members})

    assert page.status_code == 400
    assert 'value="Kept"' in page.text
    assert "<b>" not in page.text
    assert " open>" in page.text
    with gateway.sessions.read() as session:
        assert url not in {each.url for each in endpoints.find_all(session)}


def test_a_rotation_gives_one_secret_even_if_its_form_is_sent_twice(gateway, admin, url, hook):
    page = admin.get(f"/console/webhooks/{hook.id}")
    until = re.search(r'name="until" value="([^"]*)"', page.text)[1]
    first = use(admin, hook, "rotate", until=until)
    second = use(admin, hook, "rotate", until=until)
    rotated = find(gateway, url)

    assert (first.status_code, second.status_code) == (200, 409)
    assert SECRET.search(first.text)
    assert not SECRET.search(second.text)
    assert rotated.previous_secret == hook.secret


def test_a_webhook_is_disabled_and_enabled(gateway, admin, url, hook):
    sent = use(admin, hook, "disable")

    assert (sent.status_code, sent.headers["location"]) == (303, f"/console/webhooks/{hook.id}")
    assert find(gateway, url).disabled_reason == "operator"
    assert "Disabled by an operator" in admin.get(sent.headers["location"]).text
    assert use(admin, hook, "enable").status_code == 303
    assert find(gateway, url).disabled_reason == "unverified"
    assert "Send a challenge" in admin.get(sent.headers["location"]).text


def fail_all(gateway, hook):
    """Lets every delivery of an endpoint have failed."""
    while read_feed(gateway.worker_sessions):
        continue
    with gateway.worker_sessions.begin() as session:
        due = deliveries.find_due(session, hook.id, now=utc_now(), limit=100)
        results = [
            AttemptResult(
                one.id, DeliveryState.FAILED, utc_now(), None, 500, "<img src=x>", "HTTP 500"
            )
            for one in due
        ]
        deliveries.record(session, results)
    return due


def test_failed_deliveries_are_shown_and_sent_again(gateway, admin, hook):
    course_id = gateway.course(AUDIT)
    gateway.enroll(gateway.server, course_id, gateway.person())
    failed = fail_all(gateway, hook)[0]
    page = admin.get(f"/console/webhooks/{hook.id}", params={"state": "failed"})

    assert str(failed.message_id) in page.text
    assert "&lt;img src=x&gt;" in page.text
    sent = use(admin, hook, f"deliveries/{failed.id}/redeliver")
    assert sent.headers["location"] == f"/console/webhooks/{hook.id}?queued=1"
    assert "1 sent again" in admin.get(sent.headers["location"]).text
    with gateway.sessions.read() as session:
        due = deliveries.find_due(session, hook.id, now=utc_now(), limit=10)
    assert [one.id for one in due] == [failed.id]


def test_a_range_is_sent_again(gateway, admin, hook):
    course_id = gateway.course(AUDIT)
    gateway.enroll(gateway.server, course_id, gateway.person())
    with gateway.sessions.read() as session:
        last = last_position(session)
    sent = use(admin, hook, "redeliver", first=str(last), last=str(last))

    assert sent.headers["location"].endswith("?queued=1")
    for bad in ({"first": "2", "last": "1"}, {"first": "x", "last": ""}):
        assert use(admin, hook, "redeliver", **bad).status_code == 400


def test_the_number_in_an_address_is_no_text(admin, hook):
    page = admin.get(f"/console/webhooks/{hook.id}", params={"queued": "Your key has ended"})

    assert "Your key" not in page.text


def test_a_webhook_that_is_not_there_is_missing(admin):
    for path in (UUID(int=1), "x"):
        assert admin.get(f"/console/webhooks/{path}").status_code == 404
