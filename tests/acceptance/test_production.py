"""The processes of docker-compose.yml, with PostgreSQL, Redis and clients as they are."""

import json
from importlib import metadata
from urllib.parse import urlsplit

import httpx

from enrollment.runtime.server_urls import without_secrets
from tests.support.production import EDX_KEY
from tests.support.servers import free_port
from tests.support.service_processes import API, ended, moment, needs_proc, open_course, wait_until

pytestmark = needs_proc

ASYNC = {"Prefer": "respond-async"}


def ask(http, user, course, **headers):
    asked = {"user": user, "course_details": {"course_id": course}}
    return http.post("/enrollment", json=asked, headers=headers)


def test_each_process_says_once_what_it_is_and_with_what_it_works(production):
    def records(log):
        lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == "process.ready"]

    processes = [*production.gateways, production.worker, production.beat]
    ready = [wait_until(lambda one=one: records(one.log()), production.log) for one in processes]

    assert [len(found) for found in ready] == [1] * len(processes)
    for (record,), process in zip(ready, ["gateway", "gateway", "worker", "beat"], strict=True):
        database = urlsplit(production.database_url)
        assert record["process"] == process
        assert record["version"] == metadata.version("enrollment-service")
        address = database.netloc.rpartition("@")[2]
        assert record["database"] == f"postgresql://{address}{database.path}"
        assert record["redis"] == record["queue"] == without_secrets(production.redis.url)
        assert {"ENROLL_DATABASE_URL", "ENROLL_EDX_API_KEY"} <= set(record["settings"])
        assert EDX_KEY not in json.dumps(record)
        lanes = ["interactive", "submit", "upkeep", "bulk"] if process == "worker" else None
        assert sorted(record.get("lanes") or []) == sorted(lanes or [])


def test_every_gateway_is_healthy_and_one_enrollment_goes_through(production):
    course = "course-v1:Uni+Compose+2026"
    assert [production.healthcheck(port) for port in production.ports()] == [0, 0]
    assert production.healthcheck(free_port()) != 0

    with production.clients() as (one, other):
        assert one.put(f"/courses/{course}", json=open_course(course)).status_code == 201
        accepted = ask(one, "ada", course, **ASYNC)
        assert accepted.status_code == 202, accepted.text
        done = ended(other, accepted.json()["submission_id"], production.log)

        assert done["outcome"]["outcome"] == "enrolled"
        assert other.get(f"/enrollment/ada,{course}").json()["is_active"] is True


def test_an_unmodified_open_edx_client_is_answered_as_upstream_answers(production):
    course = "course-v1:Uni+Upstream+2026"
    verified = {"slug": "verified", "name": "Verified", "min_price": 149, "currency": "usd"}
    headers = {
        "X-Edx-Api-Key": EDX_KEY,
        "Content-Type": "application/JSON",
        "User-Agent": "python-requests/2.32.3 edx-rest-api-client/6.0.0",
    }
    asked = {
        "user": "alice",
        "mode": "verified",
        "is_active": True,
        "course_details": {"course_id": course},
        "cohort": None,
        "enterprise_uuid": "None",
        "linked_enterprise_customer": None,
        "enrollment_attributes": [
            {"namespace": "order", "name": "order_number", "value": "EDX-100042"}
        ],
    }
    with production.clients() as (admin, _):
        made = admin.put(f"/courses/{course}", json=open_course(course, course_modes=[verified]))
        assert made.status_code == 201, made.text

    answers = [
        httpx.post(f"{url}{API}/enrollment", json=asked, headers=headers, timeout=30)
        for url in (*production.urls, *production.urls)
    ]

    assert [answer.status_code for answer in answers] == [200] * 4, answers[0].text
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/json"}
    first, *repeated = (answer.json() for answer in answers)
    assert set(first) == {"created", "mode", "is_active", "user", "course_details"}
    assert (first["user"], first["mode"], first["is_active"]) == ("alice", "verified", True)
    assert first["course_details"]["course_id"] == course
    assert repeated == [first] * 3


def test_who_asked_before_the_deadline_is_in_though_judged_after_it(production):
    course = "course-v1:Uni+Deadline+2026"
    with production.clients() as (one, other):
        assert one.put(f"/courses/{course}", json=open_course(course)).status_code == 201
        assert production.worker.end() == 0, production.worker.log()

        early = ask(one, "early", course, **ASYNC)
        bulk = [{"user": "early2", "course_id": course}, {"user": "early3", "course_id": course}]
        early_file = other.post("/submissions", json=bulk)
        closed = open_course(course, enrollment_end=moment())
        assert other.put(f"/courses/{course}", json=closed).status_code == 200
        late = ask(one, "late", course, **ASYNC)
        accepted = [early, early_file, late]
        assert [answer.status_code for answer in accepted] == [202] * 3
        production.start_worker()

        early, early_file, late = (
            ended(other, answer.json()["submission_id"], production.log) for answer in accepted
        )
    assert early["outcome"]["outcome"] == "enrolled"
    assert early_file["counts"]["enrolled"] == 2
    assert late["outcome"]["outcome"] == "refused"
    assert late["outcome"]["reason"] == "enrollment_closed"
