"""Which requests are throttled, by which rate, and what callers are told."""

from itertools import groupby

import pytest

from api_gateway.auth.caller_throttle import ADDRESSES_PER_CLIENT
from tests.support.gateway import AUDIT, EDX_KEY
from tests.support.manual_clock import ManualClock
from tests.support.oauth import FORM, PATH, SECRET, form, grant

CLIENT = f"shop:{SECRET}:shop_worker:staff"
WRONG = {"X-Edx-Api-Key": "no such key"}


@pytest.fixture
def clock():
    made = ManualClock()
    made.now = 1_800_000_000.0
    return made


@pytest.fixture
def gateway(start, clock):
    """A gateway with the default rates and without Redis."""
    return start(throttle="on", wall_clock=clock, oauth_clients=CLIENT)


def statuses(gateway, times, *request, **more):
    """The statuses of some equal requests, each once, in order."""
    found = [gateway.call("GET", *request, **more).status_code for _ in range(times)]
    return [status for status, _ in groupby(found)]


@pytest.mark.parametrize(("staff", "rate"), [(False, 40), (True, 120)])
def test_learners_and_staff_have_rates(gateway, staff, rate):
    who, name = gateway.learner("ada", staff=staff), "staff" if staff else "learner"

    for number in range(rate):
        answer = gateway.get("enrollment", who)
        assert answer.status_code == 200
        assert answer.headers["ratelimit-policy"] == f'"{name}";q={rate};w=60'
        assert answer.headers["ratelimit"] == f'"{name}";r={rate - 1 - number};t=60'
    answer = gateway.get("enrollment", who)
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["retry-after"] == "60"
    assert answer.headers["ratelimit"] == f'"{name}";r=0;t=60'
    detail = "Request was throttled. Expected available in 60 seconds."
    assert answer.json["detail"] == detail
    assert answer.json["message"] == f"{detail} The limit is {rate} requests in 60 seconds."
    assert (answer.json["code"], answer.json["status"]) == ("throttled", 429)


def test_a_caller_has_one_window_for_all_routes(gateway, clock):
    who = gateway.learner("ada")
    course = gateway.course(AUDIT)
    paths = ["enrollment", f"enrollment/{course}", "submissions", f"enrollment/bob,{course}"]

    found = [gateway.get(path, who).status_code for path in paths * 10]
    assert found == [200, 200, 200, 404] * 10
    assert gateway.get("enrollments", who).status_code == 429  # would be 403
    answer = gateway.get("submissions", who)
    assert answer.status_code == 429
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["detail"] == answer.json["message"]
    assert answer.json["detail"].endswith(" The limit is 40 requests in 60 seconds.")
    asked = {"course_details": {"course_id": course}}
    assert gateway.post("enrollment", who, json=asked).status_code == 429
    assert gateway.get("enrollment", gateway.learner("bob")).status_code == 200
    clock.now += 60.5
    assert gateway.get("submissions", who).status_code == 200


def test_what_is_forbidden_counts_too(gateway):
    who = gateway.learner("ada")

    assert statuses(gateway, 41, "enrollments", who) == [403, 429]


def test_keys_have_no_rate_unless_one_is_set(gateway, start, clock):
    token = gateway.learner("ada")
    for who in (gateway.edx, gateway.admin, {**token, "X-Edx-Api-Key": EDX_KEY}):
        assert statuses(gateway, 130, "submissions", who) == [200]
        assert "ratelimit" not in gateway.get("submissions", who).headers

    limited = start(throttle="on", throttle_keys="5", wall_clock=clock)
    assert statuses(limited, 6, "submissions", limited.admin) == [200, 429]
    assert statuses(limited, 6, "submissions", limited.edx) == [200, 429]
    assert limited.get("submissions", limited.learner("ada")).status_code == 200


def test_course_details_have_a_rate_by_address(gateway):
    path = f"course/{gateway.course(AUDIT)}"

    assert statuses(gateway, 41, path, remote_addr="192.0.2.1") == [200, 429]
    assert statuses(gateway, 41, path, WRONG, remote_addr="192.0.2.1") == [429]
    assert statuses(gateway, 1, path, remote_addr="192.0.2.2") == [200]
    forwarded = {"X-Forwarded-For": "198.51.100.7"}
    assert statuses(gateway, 1, path, forwarded, remote_addr="192.0.2.1") == [429]
    assert statuses(gateway, 50, path, gateway.edx, remote_addr="192.0.2.1") == [200]
    assert statuses(gateway, 41, path, gateway.learner("ada")) == [200, 429]


def test_an_ipv6_network_is_one_address(gateway):
    path = f"course/{gateway.course(AUDIT)}"

    found = [
        gateway.get(path, remote_addr=f"2001:db8::{number:x}").status_code for number in range(41)
    ]
    assert found == [200] * 40 + [429]
    assert statuses(gateway, 1, path, remote_addr="2001:db8:0:1::1") == [200]
    assert statuses(gateway, 41, path, remote_addr="::ffff:192.0.2.9") == [200, 429]
    assert statuses(gateway, 1, path, remote_addr="::ffff:192.0.2.10") == [200]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/docs", "/docs/reasons", "/openapi.json"])
def test_probes_and_documents_have_none(gateway, path):
    assert statuses(gateway, 130, path) == [200]


def token_status(gateway, secret=SECRET, client="shop", **more):
    return gateway.post(PATH, **form(grant(client, secret)) | more).status_code


def test_token_requests_have_a_rate_by_address(gateway, clock):
    found = [token_status(gateway, "a wrong secret, guessed") for _ in range(60)]
    assert found == [401] * 60
    assert token_status(gateway) == 429  # although the secret is right
    key = gateway.key("admin")
    assert token_status(gateway, headers={**key, "Content-Type": FORM}) == 429
    assert token_status(gateway, remote_addr="192.0.2.2") == 200
    clock.now += 60.5
    answer = gateway.post(PATH, **form(grant("shop")))
    assert answer.status_code == 200
    assert answer.headers["ratelimit-policy"] == '"tokens";q=60;w=60'


def test_token_requests_have_a_rate_by_client_id(start, clock):
    gateway = start(throttle="on", throttle_tokens="4", wall_clock=clock, oauth_clients=CLIENT)

    addresses = [f"192.0.2.{number}" for number in range(ADDRESSES_PER_CLIENT)]
    found = [
        token_status(gateway, "a wrong secret, guessed", remote_addr=address)
        for address in addresses * 4
    ]
    assert found == [401] * 20
    assert token_status(gateway, remote_addr="192.0.2.99") == 429
    assert token_status(gateway, client="other", remote_addr="192.0.2.98") == 401


def test_failed_authentications_have_a_rate_by_address(gateway, clock):
    """An address that failed too often is refused before its credentials are looked up."""
    token = gateway.learner("ada")
    bad_token = {"Authorization": "JWT a.b.c"}
    found = [gateway.get("enrollment", who).status_code for who in [WRONG, bad_token] * 30]
    assert found == [401] * 60

    assert gateway.get("enrollment", WRONG).status_code == 429
    answer = gateway.get("submissions", gateway.admin)
    assert answer.status_code == 429
    assert answer.headers["retry-after"]
    assert gateway.get("enrollment").status_code == 401  # without credentials
    assert gateway.get("enrollment", token, remote_addr="192.0.2.2").status_code == 200
    clock.now += 61
    assert gateway.get("submissions", gateway.admin).status_code == 200


def test_keys_cannot_be_guessed_on_public_routes(gateway):
    """What was guessed would be told by the rate: a key has none."""
    path = f"course/{gateway.course(AUDIT)}"
    for number in range(61):
        gateway.get(path, {"X-Edx-Api-Key": f"guess {number}"})

    assert gateway.get("enrollment", WRONG).status_code == 429
    assert statuses(gateway, 2, path, gateway.edx) == [429]


def test_one_client_with_an_old_key_does_not_lock_out_the_others_of_its_proxy(gateway):
    for number in range(61):
        gateway.get("enrollment", WRONG)
        if number < 30:
            assert gateway.get("submissions", gateway.admin).status_code == 200

    assert gateway.get("enrollment", WRONG).status_code == 429
    assert gateway.get("submissions", gateway.admin).status_code == 200
    assert gateway.get("submissions", gateway.edx).status_code == 429


def test_off_means_off(start, clock):
    gateway = start(throttle="off", wall_clock=clock)
    who = gateway.learner("ada")

    assert statuses(gateway, 130, "enrollment", who) == [200]
    assert "ratelimit" not in gateway.get("enrollment", who).headers
    assert statuses(gateway, 130, "enrollment", WRONG) == [401]


def test_a_waiting_request_counts_once(gateway):
    who = gateway.learner("ada")
    course = gateway.course(AUDIT)

    assert gateway.enroll(who, course).status_code == 200
    assert gateway.get("enrollment", who).headers["ratelimit"] == '"learner";r=38;t=60'


def test_gateways_share_the_windows_through_redis(start, clock, redis_url):
    both = [start(throttle="on", wall_clock=clock, redis_url=redis_url) for _ in range(2)]
    who = both[0].learner("ada")

    found = [both[number % 2].get("enrollment", who).status_code for number in range(42)]
    assert found == [200] * 40 + [429, 429]
