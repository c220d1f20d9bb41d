"""Requests from a Redis stream and from calls of the task, while processes are killed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import redis
from sqlalchemy import text

from enrollment.storage.engine.sessions import sessions_for
from tests.support.binaries import ServerMissing
from tests.support.inbound import abandon_pending
from tests.support.rabbitmq import rabbitmq_process
from tests.support.servers import redis_process
from tests.support.service import Service, open_for_all
from tests.support.service_processes import needs_proc, wait_until

pytestmark = [needs_proc, pytest.mark.slow, pytest.mark.timeout(240)]

STREAM = "enroll:requests"
REPLIES = f"{STREAM}:reply:sis"
COURSE = "course-v1:Uni+Inbound+2026"
CLIENT = Path(__file__).parents[1] / "support" / "submit_client.py"


@pytest.fixture
def server():
    with redis_process() as made:
        yield made


def service_on(server, folder, database_url="", **settings):
    settings = {"ENROLL_REDIS_URL": server.url, "ENROLL_REQUEST_STREAM": STREAM, **settings}
    return Service(folder, database_url=database_url, **settings)


def append(client, key, users):
    with client.pipeline() as pipeline:
        for user in users:
            request = json.dumps({"user": user, "course_id": COURSE})
            entry = {"key": key, "request": request, "id": user, "reply_to": REPLIES}
            pipeline.xadd(STREAM, entry)
        pipeline.execute()


def replied(client):
    """Returns the outcomes in the replies, by id."""
    return {
        fields[b"id"].decode(): json.loads(fields[b"outcomes"])[0]["outcome"]
        for _, fields in client.xrange(REPLIES)
    }


def singles(service):
    sessions = sessions_for(service.database_url)
    with sessions.read() as session:
        number = session.scalar(text("SELECT count(*) FROM submission WHERE caller = 'key:t'"))
    sessions.dispose()
    return number


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_each_entry_is_one_submission_whoever_is_killed(kind, server, tmp_path, request):
    url = request.getfixturevalue("postgres_url") if kind == "postgresql" else ""
    users = [f"u{number}" for number in range(2_000)]
    with service_on(server, tmp_path, url) as service, redis.Redis.from_url(server.url) as client:
        service.start_all()
        with service.http() as http:
            open_for_all(http, COURSE)
        # one dies before it commits, one before it acknowledges, one before it settles replies
        service.beat.kill()
        append(client, service.key, users)
        for point in ("intake.before_commit", "inbound.stored", "reply.sent"):
            doomed = service.start("beat", ENROLL_FAILPOINTS=f"{point}=crash*1")
            wait_until(lambda doomed=doomed: doomed.process.poll() is not None, service.log)
        service.worker.kill()
        abandon_pending(client, STREAM)  # else it takes half a minute
        service.worker = service.start("worker")
        service.start("beat")
        service.start("beat")
        wait_until(lambda: len(replied(client)) == len(users), service.log)

        assert set(replied(client).values()) == {"enrolled"}
        wait_until(lambda: client.xlen(STREAM) == 0, service.log)
        assert service.enrolled(COURSE) == singles(service) == len(users)


def test_redis_may_go_and_come_back(server, tmp_path):
    with service_on(server, tmp_path) as service:
        service.start_all()
        with service.http() as http:
            open_for_all(http, COURSE)
        with redis.Redis.from_url(server.url) as client:
            append(client, service.key, ["before"])
            wait_until(lambda: "before" in replied(client), service.log)
        server.kill()
        wait_until(lambda: "inbound.interrupted" in service.log(), service.log)
        server.start()
        with redis.Redis.from_url(server.url) as client:
            append(client, service.key, ["after"])
            wait_until(lambda: "after" in replied(client), service.log)


def attempt_call(broker, key, *users):
    command = [sys.executable, "-I", str(CLIENT), broker, key, COURSE, *users]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def call(broker, key, *users):
    done = attempt_call(broker, key, *users)
    assert done.stdout == str(len(users)), done.stderr


def check_calls(service, broker, client):
    with service.http() as http:
        open_for_all(http, COURSE)
    for _ in range(2):  # the second time nothing is new
        call(broker, service.key, "ada", "bob")
    call(broker, "enr_" + "x" * 43, "eve")
    wait_until(lambda: client.xlen(REPLIES) >= 3, service.log)
    wait_until(lambda: service.enrolled(COURSE) == 2, service.log)
    assert singles(service) == 2
    refused = [fields for _, fields in client.xrange(REPLIES) if b"error" in fields]
    assert [json.loads(each[b"error"])["code"] for each in refused] == ["not_authenticated"]


def test_another_application_calls_the_task_over_redis(server, tmp_path):
    with service_on(server, tmp_path) as service, redis.Redis.from_url(server.url) as client:
        check_calls(service.start_all(), server.url, client)


def test_a_call_survives_a_worker_that_dies_after_the_commit(server, tmp_path):
    with service_on(server, tmp_path) as service, redis.Redis.from_url(server.url) as client:
        service.start_all()
        with service.http() as http:
            open_for_all(http, COURSE)
        service.worker.kill()
        call(server.url, service.key, "ada")
        doomed = service.start("worker", ENROLL_FAILPOINTS="inbound.stored=crash*1")
        wait_until(lambda: singles(service) == 1, service.log)
        doomed.kill()
        service.start("worker")
        wait_until(lambda: "ada" in str(replied(client)), service.log)
        call(server.url, service.key, "ada", "bob")
        wait_until(lambda: service.enrolled(COURSE) == 2, service.log)
        assert singles(service) == 2


def test_another_application_calls_the_task_over_rabbitmq(server, tmp_path):
    try:
        with (
            rabbitmq_process() as rabbit,
            service_on(server, tmp_path, ENROLL_BROKER_URL=rabbit.url) as service,
            redis.Redis.from_url(server.url) as client,
        ):
            # no worker has made the queue yet: RabbitMQ would drop the call, so it is said
            assert "NO_ROUTE" in attempt_call(rabbit.url, service.key, "ada").stderr
            service.start_all()
            wait_until(lambda: " ready." in service.worker.log(), service.log)
            check_calls(service, rabbit.url, client)
    except ServerMissing as missing:
        pytest.skip(str(missing))
