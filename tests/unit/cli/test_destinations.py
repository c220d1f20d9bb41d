"""Destinations from the command line."""

import json
import re
from pathlib import Path

import pytest

from api_gateway.cli.remote.destinations.failures import describe_job_failure
from enrollment.runtime.outbound.exchanges import CALL_ERRORS, failure_name
from tests.support.scripted_server import Answer
from worker.destinations import openedx

URL = "https://lms.example.org"
LMS = {
    "name": "lms",
    "kind": "openedx",
    "url": URL,
    "paused": False,
    "failures": 0,
    "courses": ["Uni+*"],
    "concurrency": 4,
}
DELIVERY = {
    "id": 17,
    "user": "ada",
    "course_id": "course-v1:Uni+Algebra+2026",
    "position": 3,
    "state": "failed",
    "attempts": 1,
    "status": 400,
    "error": "refused",
}


@pytest.fixture
def run(enroll, service):
    def call(*words, **more):
        return enroll("destinations", *words, "--url", service.url, **more)

    return call


@pytest.mark.parametrize(
    ("options", "typed", "auth"),
    [
        (["--client-id", "us"], "s3cret\n", {"client_id": "us", "client_secret": "s3cret"}),
        (["--api-key"], "s3cret\n", {"api_key": "s3cret"}),
        (["--keep-auth"], None, None),
    ],
)
def test_a_destination_is_put_and_its_secret_is_read_from_the_input(
    run, service, options, typed, auth
):
    service.on("PUT", "/destinations/lms", Answer(201, LMS))
    result = run("put", "lms", URL, *options, "--course", "Uni+*", "--rate", "2", input=typed)
    assert json.loads(result.stdout) == LMS
    assert result.stderr == ""  # no prompt, as nobody is there to read it
    assert "s3cret" not in result.output
    body = json.loads(service.heard[0].body)
    assert body.pop("auth", None) == auth
    assert body == {
        "kind": "openedx",
        "url": URL,
        "courses": ["Uni+*"],
        "concurrency": 4,
        "requests_per_second": 2.0,
        "paused": False,
        "pull_courses_every": None,
    }


def test_a_secret_that_does_not_come_is_missed(run, service):
    result = run("put", "lms", URL, "--api-key", input="")
    assert (result.exit_code, service.heard) == (2, [])
    assert "no line came from standard input" in result.stderr


def test_the_credentials_must_be_named(run, service):
    result = run("put", "lms", URL)
    assert (result.exit_code, service.heard) == (2, [])


def test_destinations_are_listed_and_shown(run, service):
    service.on("GET", "/destinations", Answer(200, {"destinations": [LMS]}))
    service.on("GET", "/destinations/lms", Answer(200, LMS))
    assert URL in run("list").stdout
    assert json.loads(run("list", "--json").stdout) == {"destinations": [LMS]}
    assert json.loads(run("show", "lms").stdout) == LMS


@pytest.mark.parametrize(("word", "paused"), [("pause", True), ("resume", False)])
def test_a_destination_is_paused_and_resumed(run, service, word, paused):
    service.on("POST", f"/destinations/lms/{word}", Answer(200, {**LMS, "paused": paused}))
    assert run(word, "lms").stdout.strip() == f"lms is {'paused' if paused else 'active'}."
    assert json.loads(run(word, "lms", "--json").stdout)["paused"] is paused


def test_a_destination_is_removed(run, service):
    service.on("DELETE", "/destinations/lms", Answer(204))
    assert run("remove", "lms").stdout.strip() == "lms is removed."
    assert json.loads(run("remove", "lms", "--json").stdout) == {"removed": "lms"}


def test_deliveries_are_listed(run, service):
    page = {"deliveries": [DELIVERY], "next": None}
    service.on("GET", "/destinations/lms/deliveries", Answer(200, page))
    assert "refused" in run("deliveries", "lms", "--state", "failed").stdout
    assert service.heard[0].params == {"state": "failed"}
    assert json.loads(run("deliveries", "lms", "--json").stdout) == {"deliveries": [DELIVERY]}


def test_states_are_sent_again(run, service):
    service.on("POST", "/destinations/lms/retry", Answer(202, {"queued": 1_200}))
    service.on("POST", "/destinations/lms/deliveries/17/retry", Answer(202, DELIVERY))
    assert run("retry", "lms").stdout.strip() == "1,200 to be sent again."
    assert json.loads(run("retry", "lms", "17", "--json").stdout) == {"queued": 1}


REPORT = {"id": "018f3f7e-0000-7000-8000-000000000001", "state": "failed", "counts": {}}


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("not_reachable", "it cannot be reached"),
        ("not_reachable", "enroll destinations show lms"),
        ("token_refused (status 401)", "it gave no token. Error: token_refused (status 401)."),
        ("token_refused (status 401)", "enroll destinations put lms"),
        ("a sentence", "lms: a sentence\n"),
    ],
)
@pytest.mark.parametrize(
    ("job", "words_of_command"),
    [
        ("reconcile", ["destinations", "reconcile", "lms"]),
        ("pull", ["courses", "pull", "--from", "lms"]),
        ("import", ["enrollments", "import", "--from", "lms"]),
    ],
)
def test_a_job_that_failed_says_why_and_what_helps(
    enroll, service, job, words_of_command, error, words
):
    service.on("POST", f"/destinations/lms/{job}", Answer(202, {**REPORT, "error": error}))
    result = enroll(*words_of_command, "--url", service.url)
    assert result.exit_code == 2  # 3 is for the service itself
    assert words in result.stderr


def test_every_failure_to_read_a_destination_has_a_sentence():
    sources = Path(openedx.__file__).parent.glob("*.py")
    raised = re.compile(r'LmsFailure\(\s*"(\w+)"(?: if .*? else "(\w+)")?')
    found = [names for source in sources for names in raised.findall(source.read_text())]
    names = {name for pair in found for name in pair if name}
    assert {"token_refused", "refused", "too_many_pages"} <= names
    names |= {failure_name(kind("")) for kind in CALL_ERRORS}
    for name in names | {"timeout", "too_many_states", "internal_error"}:
        assert describe_job_failure("lms", name) != f"lms: {name}", name
