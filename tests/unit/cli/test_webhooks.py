"""Webhooks from the command line."""

import json

import pytest

from tests.support.scripted_server import Answer

ID = "019a1e9c-7c11-7c2f-9d5e-2b1f6f3f7a11"
URL = "https://lms.example.org/hooks"
HOOK = {
    "id": ID,
    "url": URL,
    "enabled": True,
    "failures": 0,
    "types": [],
    "courses": ["Uni+*"],
    "callers": [],
}
DELIVERY = {
    "id": 17,
    "type": "submission.done",
    "position": None,
    "state": "failed",
    "attempts": 13,
    "status": 500,
    "error": "refused",
}


@pytest.fixture
def run(enroll, service):
    def call(*words):
        return enroll("webhooks", *words, "--url", service.url)

    return call


def test_a_webhook_is_added_and_its_secret_is_the_last_line(run, service):
    service.on("POST", "/webhooks", Answer(201, {**HOOK, "secret": "whsec_x"}))
    result = run("add", URL, "--type", "submission.done", "--course", "Uni+*")
    assert result.stdout.splitlines()[-1] == "whsec_x"
    assert json.loads(service.heard[0].body) == {
        "url": URL,
        "types": ["submission.done"],
        "courses": ["Uni+*"],
        "callers": [],
        "description": None,
    }


def test_an_answer_with_a_secret_is_not_asked_for_twice(run, service):
    service.on("POST", f"/webhooks/{ID}/rotate", Answer(503, {}), Answer(200, HOOK))
    assert run("rotate", ID).exit_code == 3
    assert len(service.heard) == 1


def test_webhooks_are_listed_shown_replaced_and_removed(run, service):
    service.on("GET", "/webhooks", Answer(200, {"webhooks": [HOOK]}))
    service.on("GET", f"/webhooks/{ID}", Answer(200, HOOK))
    service.on("PUT", f"/webhooks/{ID}", Answer(200, HOOK))
    service.on("DELETE", f"/webhooks/{ID}", Answer(204))
    assert run("list").stdout.splitlines()[1] == f"{ID}\t{URL}\ttrue\t0\tall\tUni+*\tall"
    assert json.loads(run("list", "--json").stdout) == {"webhooks": [HOOK]}
    assert json.loads(run("show", ID).stdout) == HOOK
    assert json.loads(run("replace", ID, URL).stdout) == HOOK
    assert run("remove", ID).stdout == f"{ID} is removed.\n"
    assert json.loads(run("remove", ID, "--json").stdout) == {"removed": ID}


def test_webhooks_are_enabled_and_disabled(run, service):
    service.on("POST", f"/webhooks/{ID}/enable", Answer(200, HOOK))
    service.on("POST", f"/webhooks/{ID}/disable", Answer(200, {**HOOK, "enabled": False}))
    assert run("enable", ID).stdout == f"{ID} is enabled.\n"
    assert run("disable", ID).stdout == f"{ID} is disabled.\n"
    assert json.loads(run("disable", ID, "--json").stdout)["enabled"] is False


def test_deliveries_are_listed_and_sent_again(run, service):
    page = {"deliveries": [DELIVERY], "next": None}
    service.on("GET", f"/webhooks/{ID}/deliveries", Answer(200, page))
    service.on("POST", f"/webhooks/{ID}/deliveries/17/redeliver", Answer(202, DELIVERY))
    service.on("POST", f"/webhooks/{ID}/redeliver", Answer(202, {"queued": 1000}))
    lines = run("deliveries", ID, "--state", "failed").stdout.splitlines()
    assert lines[1] == "17\tsubmission.done\tnone\tfailed\t13\t500\trefused"
    assert service.heard[0].params == {"state": "failed"}
    assert json.loads(run("deliveries", ID, "--json").stdout) == {"deliveries": [DELIVERY]}
    assert run("redeliver", ID, "17").stdout == "1 to be sent again.\n"
    assert run("redeliver", ID, "--range", "1", "1000").stdout == "1,000 to be sent again.\n"
    assert json.loads(service.heard[-1].body) == {"first": 1, "last": 1000}
    assert json.loads(run("redeliver", ID, "17", "--json").stdout) == {"queued": 1}
    assert run("redeliver", ID).exit_code == 2
    assert run("redeliver", ID, "17", "--range", "1", "2").exit_code == 2


def test_an_endpoint_that_must_answer_a_challenge_is_said_to(run, service):
    waits = {**HOOK, "enabled": False, "disabled_reason": "unverified"}
    service.on("POST", f"/webhooks/{ID}/enable", Answer(200, waits))
    service.on("POST", "/webhooks", Answer(201, {**waits, "secret": "whsec_x"}))
    enabled, added = run("enable", ID), run("add", URL)
    assert enabled.stdout == f"{ID} is disabled.\n"
    assert "must answer a challenge" in enabled.stderr
    assert "must answer a challenge" in added.stderr
    assert added.stdout.splitlines()[-1] == "whsec_x"
