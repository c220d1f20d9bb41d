"""What running processes log of normal work, and that Celery's own tools see the workers."""

import json

import httpx
import pytest

from tests.support.celery_tools import ping_workers
from tests.support.servers import embedded_redis
from tests.support.service import Service, hand_in, open_for_all
from tests.support.service_processes import PATIENCE, ended, wait_until
from worker.celery_app import make_celery_app

COURSE = "course-v1:Uni+Logged+2027"
ENROLLMENT = "/api/enrollment/v1/enrollment"


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("logged")
    with embedded_redis() as url:
        settings = {"ENROLL_REDIS_URL": url, "ENROLL_CELERY_REMOTE": "true"}
        with Service(folder, **settings) as running:
            running.redis_url = url
            running.start_all()
            with running.http() as http:
                open_for_all(http, COURSE)
            yield running


def records(service, event):
    found = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    return [record for record in found if record["event"] == event]


def first(service, event, **facts):
    def look():
        for record in records(service, event):
            if facts.items() <= record.items():
                return record
        return None

    return wait_until(look, service.log)


def test_each_request_has_a_record_with_its_route_and_without_its_ids(service):
    with service.http() as http:
        answer = http.get(
            "/learners/ada.lovelace", params={"limit": 1}, headers={"X-Request-ID": "seen-1"}
        )

    record = first(service, "request.done", request_id="seen-1")
    assert (record["method"], record["status"]) == ("GET", answer.status_code)
    assert record["route"].endswith("/learners/{username}")
    assert record["caller"] == "key:t"
    assert record["process"] == "gateway"
    assert 0 < record["ms"] < 60_000
    assert "lovelace" not in service.log()
    assert "limit" not in str(record)


def test_a_page_of_the_console_has_a_record(service):
    httpx.get(f"{service.url}/console/login", headers={"X-Request-ID": "seen-2"})

    record = first(service, "request.done", request_id="seen-2")
    assert (record["route"], record["caller"]) == ("/console/login", None)


def test_a_file_has_a_record_when_it_is_stored_and_when_it_is_done(service):
    with service.http() as http:
        (submission_id,) = hand_in(http, COURSE, "filed", singles=0, rows=30)
        ended(http, submission_id, service.log)

    received = first(service, "submission.received", submission_id=submission_id)
    done = first(service, "submission.done", submission_id=submission_id)
    assert (received["rows"], received["caller"]) == (30, "key:t")
    assert received["request_id"] == done["request_id"] != ""
    assert (done["rows"], done["counts"]) == (30, {"enrolled": 30})
    assert len(records(service, "submission.done")) == 1
    assert "filedrow" not in service.log()


def test_refused_credentials_have_a_record_that_does_not_show_them(service):
    guess = "enr_" + "g" * 43
    answer = httpx.get(f"{service.url}{ENROLLMENT}", headers={"X-Edx-Api-Key": guess})

    assert answer.status_code == 401
    record = first(service, "auth.failed", way="request")
    assert record["address"] == "127.0.0.1"
    assert record["reason"] == "The API key is not valid."
    assert guess not in service.log()


def test_the_tools_of_celery_see_the_workers(service):
    replies = wait_until(lambda: ping_workers(ENROLL_REDIS_URL=service.redis_url), service.log)

    assert list(replies.values()) == [{"ok": "pong"}]


def test_who_reads_the_events_of_celery_sees_workers_and_tasks(service):
    app = make_celery_app(service.redis_url, answers_remote=True)
    seen = set()

    def note(event):
        seen.add(event["type"])
        receiver.should_stop = seen >= {"worker-heartbeat", "task-succeeded"}

    with app.connection() as connection:
        receiver = app.events.Receiver(connection, handlers={"*": note})
        receiver.capture(limit=None, timeout=PATIENCE, wakeup=True)
    assert seen >= {"worker-heartbeat", "task-succeeded"}
