"""Webhooks over HTTP: endpoints, their secrets, the log of deliveries, sending again."""

from uuid import UUID, uuid4

import pytest

from enrollment.storage.webhooks import endpoints
from tests.support.gateway import fresh
from worker.deliveries.fan_out import read_feed

URL = "https://lms.example.org/hook"


def add(gateway, key=None, **members):
    url = f"https://{fresh('lms')}.example.org/hook"
    key = key or gateway.admin
    answer = gateway.call("POST", "webhooks", key, json={"url": url, **members})
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/enrollment/v1/webhooks/{answer.json['id']}"
    return answer.json


def verify(gateway, hook):
    """Lets the receiver have answered the challenge."""
    with gateway.sessions.begin() as session:
        assert endpoints.verify(session, UUID(hook["id"]), hook["url"])


def call(gateway, method, hook, path="", **more):
    return gateway.call(method, f"webhooks/{hook['id']}{path}", gateway.admin, **more)


def test_a_secret_is_shown_once_and_stored_encrypted(gateway):
    made = add(gateway, types=["enrollment.created"], courses=["Uni+*"], callers=["sis"])
    assert made["secret"].startswith("whsec_")
    shown = call(gateway, "GET", made).json
    assert shown == {name: value for name, value in made.items() if name != "secret"}
    assert shown in gateway.call("GET", "webhooks", gateway.admin).json["webhooks"]
    with gateway.sessions.read() as session:
        stored = [hook.secret for hook in endpoints.find_all(session)]
    assert not any(made["secret"] in each for each in stored)


def test_what_is_put_replaces_and_the_secret_stays(gateway):
    made = add(gateway, types=["submission.done"], description="LMS")
    put = call(gateway, "PUT", made, json={"url": f"{URL}/2"})
    assert put.status_code == 200
    assert (put.json["url"], put.json["types"], put.json["description"]) == (f"{URL}/2", [], None)
    assert "secret" not in put.json


def test_a_rotation_gives_a_new_secret(gateway):
    made = add(gateway)
    rotated = call(gateway, "POST", made, "/rotate").json
    assert rotated["secret"] != made["secret"]
    assert rotated["previous_secret_until"] > rotated["created"]


def test_an_endpoint_is_disabled_enabled_and_deleted(gateway):
    made = add(gateway)
    verify(gateway, made)
    disabled = call(gateway, "POST", made, "/disable").json
    assert (disabled["enabled"], disabled["disabled_reason"]) == (False, "operator")
    asked = call(gateway, "POST", made, "/enable").json
    assert (asked["enabled"], asked["disabled_reason"]) == (False, "unverified")
    verify(gateway, made)
    enabled = call(gateway, "POST", made, "/enable").json
    assert (enabled["enabled"], enabled["disabled_reason"]) == (True, None)
    assert call(gateway, "DELETE", made).status_code == 204
    assert call(gateway, "DELETE", made).status_code == 404


@pytest.mark.parametrize(
    ("members", "field", "rule"),
    [
        ({"url": "http://lms.example.org/"}, "url", "destination"),
        ({"url": "https://127.0.0.1/"}, "url", "destination"),
        ({"url": "https://169.254.169.254/latest"}, "url", "destination"),
        ({"url": "https://lms.example.org:6379/"}, "url", "destination"),
        ({"url": "https://a:b@lms.example.org/"}, "url", "destination"),
        ({}, "url", "required"),
        ({"url": URL, "types": ["enrollment.made"]}, "types.0", "one_of"),
        ({"url": URL, "courses": ["*"]}, "courses.0", "course_key"),
        ({"url": URL, "courses": "Uni+*"}, "courses", "type"),
        ({"url": URL, "secret": "whsec_x"}, "secret", "unknown"),
    ],
)
def test_an_invalid_endpoint_is_refused(small, members, field, rule):
    answer = small.call("POST", "webhooks", small.admin, json=members)
    assert (answer.status_code, answer.json["code"]) == (400, "invalid_body")
    assert (answer.json["errors"][0]["field"], answer.json["errors"][0]["rule"]) == (field, rule)


def test_unknown_ids_are_404(small):
    made = add(small)
    paths = ["", "/deliveries"]
    for webhook in (str(uuid4()), "x"):
        for path in paths:
            assert call(small, "GET", {"id": webhook}, path).status_code == 404
        for action in ("rotate", "enable", "disable", "deliveries/1/redeliver"):
            assert call(small, "POST", {"id": webhook}, f"/{action}").status_code == 404
    for delivery in ("999", "x", "9" * 30):
        path = f"/deliveries/{delivery}/redeliver"
        assert call(small, "POST", made, path).status_code == 404


def test_only_admins_see_webhooks(small):
    for headers in (small.key("enroll", "read", "courses"), small.staff):
        answer = small.call("GET", "webhooks", headers)
        assert answer.status_code == 403
        assert "the scope admin." in answer.json["message"]


def test_deliveries_are_listed_and_sent_again(gateway):
    made = add(gateway, types=["enrollment.created"])
    verify(gateway, made)
    names = [fresh("hooked") for _ in range(3)]
    course = gateway.course()
    for name in names:
        gateway.enroll(gateway.admin, course, name)
    while read_feed(gateway.worker_sessions):
        continue
    first = call(gateway, "GET", made, "/deliveries?limit=2&state=pending").json
    rest = call(gateway, "GET", made, f"/deliveries?limit=2&cursor={first['next']}").json
    found = first["deliveries"] + rest["deliveries"]
    assert found.pop()["type"] == "webhook.challenge"
    positions = [each["position"] for each in found]
    assert len(found) == 3
    assert positions == sorted(positions, reverse=True)
    assert call(gateway, "GET", made, "/deliveries?state=failed").json["deliveries"] == []
    assert call(gateway, "GET", made, "/deliveries?state=x").status_code == 400
    again = call(gateway, "POST", made, f"/deliveries/{found[0]['id']}/redeliver")
    assert (again.status_code, again.json["message_id"]) == (202, found[0]["message_id"])
    span = {"first": positions[-1], "last": positions[0]}
    assert call(gateway, "POST", made, "/redeliver", json=span).json == {"queued": 3}
    assert len(call(gateway, "GET", made, "/deliveries").json["deliveries"]) == 4
    for invalid in ({"first": 2, "last": 1}, {"first": 1, "last": 10_001}, {"first": 0, "last": 1}):
        assert call(gateway, "POST", made, "/redeliver", json=invalid).status_code == 400


def test_another_url_must_answer_a_challenge_and_the_same_need_not(gateway):
    made = add(gateway)
    assert (made["enabled"], made["disabled_reason"]) == (False, "unverified")
    verify(gateway, made)
    same = call(gateway, "PUT", made, json={"url": made["url"]}).json
    assert same["enabled"]
    other = call(gateway, "PUT", made, json={"url": f"{made['url']}/2"}).json
    assert (other["enabled"], other["disabled_reason"]) == (False, "unverified")
    log = call(gateway, "GET", made, "/deliveries").json["deliveries"]
    assert [(each["type"], each["state"]) for each in log] == [
        ("webhook.challenge", "pending"),
        ("webhook.challenge", "failed"),  # its answer means nothing any more
    ]
    call(gateway, "POST", made, "/disable")
    assert call(gateway, "PUT", made, json={"url": made["url"]}).json["disabled_reason"] == (
        "operator"
    )


@pytest.mark.parametrize(
    "settings", [{"webhook_challenge": "false"}, {"private_destinations": "true"}]
)
def test_no_challenge_where_the_settings_say_so(start, settings):
    gateway = start(**settings)
    made = add(gateway)
    assert made["enabled"]
    assert call(gateway, "GET", made, "/deliveries").json["deliveries"] == []


def test_the_number_of_endpoints_is_limited(start):
    gateway = start(max_webhooks="12")
    first, *_ = [add(gateway, gateway.key("admin", name=f"key{n % 2}"), url=URL) for n in range(10)]

    def refusal(method, path, url):
        answer = gateway.call(method, path, gateway.admin, json={"url": url})
        assert (answer.status_code, answer.json["code"]) == (409, "too_many_webhooks")
        return answer.json["message"]

    assert refusal("POST", "webhooks", f"{URL}/other") == (
        "lms.example.org has 10 webhooks already; remove one."
    )
    assert call(gateway, "PUT", first, json={"url": f"{URL}/2"}).status_code == 200
    elsewhere = add(gateway)
    add(gateway)
    assert "ENROLL_MAX_WEBHOOKS" in refusal("POST", "webhooks", "https://one.example.org/")
    assert call(gateway, "DELETE", first).status_code == 204
    assert call(gateway, "PUT", elsewhere, json={"url": URL}).status_code == 200


def test_one_caller_has_at_most_half_of_the_endpoints(start):
    gateway = start(max_webhooks="5")
    one, two = (gateway.key("admin", name=name) for name in ("one", "two"))
    first, *_ = [add(gateway, one) for _ in range(3)]
    assert first["created_by"] == "key:one"
    refused = gateway.call("POST", "webhooks", one, json={"url": URL})
    assert (refused.status_code, refused.json["code"]) == (409, "too_many_webhooks")
    assert refused.json["message"] == (
        "key:one has added 3 webhooks already, half of what ENROLL_MAX_WEBHOOKS allows; remove one."
    )
    add(gateway, two)
    assert call(gateway, "PUT", first, json={"url": URL}).status_code == 200
    assert call(gateway, "DELETE", first).status_code == 204
    add(gateway, one)


def test_a_removed_endpoint_is_not_there_any_more(gateway):
    made = add(gateway)
    (challenge,) = call(gateway, "GET", made, "/deliveries").json["deliveries"]
    assert call(gateway, "DELETE", made).status_code == 204
    assert call(gateway, "GET", made).status_code == 404
    assert call(gateway, "PUT", made, json={"url": made["url"]}).status_code == 404
    for action in (
        "rotate",
        "enable",
        "disable",
        f"deliveries/{challenge['id']}/redeliver",
    ):
        assert call(gateway, "POST", made, f"/{action}").status_code == 404
    listed = gateway.call("GET", "webhooks", gateway.admin).json["webhooks"]
    assert made["id"] not in {each["id"] for each in listed}
