"""With the rights of `deploy/` the whole service works, and cannot do more."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from tests.support.service_processes import Running, ended, needs_proc, open_course, wait_until

pytestmark = needs_proc

SUBMIT_CLIENT = Path(__file__).parents[1] / "support" / "submit_client.py"

#: Sent by redis-py to name itself, and harmless where it is refused; Redis before 7.2 has it not.
NOT_NEEDED = {"command client", "command client|setinfo"}


def test_nothing_that_the_service_asks_of_redis_is_refused(production):
    course = "course-v1:Uni+Rights+2026"
    rows = [{"user": f"r{number}", "course_id": course} for number in range(2_500)]
    with production.clients() as (one, other):
        assert one.put(f"/courses/{course}", json=open_course(course)).status_code == 201
        single = {"user": "ada", "course_details": {"course_id": course}}
        waited = one.post("/enrollment", json=single, headers={"Prefer": "wait=20"})
        assert waited.json()["is_active"] is True
        accepted = one.post("/submissions", json=rows)
        done = ended(other, accepted.json()["submission_id"], production.log)
        assert done["counts"]["enrolled"] == len(rows)
        for http in (one, other):
            assert http.get(f"/course/{course}").status_code == 200
            assert http.get("/changes").status_code == 200
            health = http.get(str(http.base_url.join("/readyz"))).json()
            assert (health["redis"], health["queue"]) == ("ok", "ok")

    assert production.redis.refused() - NOT_NEEDED == set()


def test_a_worker_that_dies_gives_its_messages_back(production):
    course = "course-v1:Uni+Died+2026"
    with production.clients() as (one, other):
        assert one.put(f"/courses/{course}", json=open_course(course)).status_code == 201
        production.worker.bury()
        single = {"user": "ada", "course_details": {"course_id": course}}
        accepted = one.post("/enrollment", json=single, headers={"Prefer": "respond-async"})
        production.start_worker()
        ended(other, accepted.json()["submission_id"], production.log)
    assert production.redis.refused() - NOT_NEEDED == set()


def test_requests_over_a_stream_and_by_the_task_need_no_more(production):
    course = "course-v1:Uni+Stream+2026"
    stream, replies = "enroll:requests", "enroll:requests:reply:sis"
    enroll = {"user": "ada", "course_id": course}
    entry = {"key": production.key, "request": json.dumps(enroll), "reply_to": replies}
    with production.clients() as (one, _), redis.Redis.from_url(production.redis.url) as client:
        assert one.put(f"/courses/{course}", json=open_course(course)).status_code == 201
        client.xadd(stream, entry)
        client.xadd(stream, {"request": "nothing"})
        command = [sys.executable, "-I", SUBMIT_CLIENT, production.redis.url]
        subprocess.run([*command, production.key, course, "bob"], check=True, timeout=60)
        wait_until(lambda: client.xlen(replies) == 2, production.log)
        wait_until(lambda: client.xlen(f"{stream}:dead") == 1, production.log)
        production.beat.end()
        production.beat = production._run("beat")

    assert production.redis.refused() - NOT_NEEDED == set()


@pytest.mark.parametrize(
    "command",
    ["CONFIG GET *", "FLUSHALL", "KEYS *", "EVAL return 0", "SET other 1", "GET other", "ACL LIST",
     "PUBLISH other x", "DEBUG SLEEP 0", "SHUTDOWN", "REPLICAOF NO ONE", "CLIENT LIST", "SAVE"],
)  # fmt: skip
def test_the_services_user_of_redis_may_do_nothing_else(production, command):
    words = [*command.split(), "0"] if command.startswith("EVAL") else command.split()

    with (
        redis.Redis.from_url(production.redis.service_url) as client,
        pytest.raises(redis.exceptions.NoPermissionError),
    ):
        client.execute_command(*words)
    with redis.Redis.from_url(production.redis.url) as client:
        client.acl_log_reset()


def test_without_a_password_there_is_no_way_into_redis(production):
    with (
        redis.Redis(port=production.redis.port) as client,
        pytest.raises(redis.exceptions.AuthenticationError),
    ):
        client.ping()


def test_the_doctor_is_content(production):
    command = ["doctor", "--url", production.urls[0]]

    doctor = Running(production._folder, command, production._environment("gateway")).start()

    wait_until(lambda: doctor.process.poll() is not None, doctor.log)
    assert "WRONG redis" not in doctor.said()
    assert "ok    redis: version" in doctor.said()
    assert "ok    tables" in doctor.said()
