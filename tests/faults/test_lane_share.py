"""Single requests without an end: the files behind them are processed as well."""

import pytest
import redis

from enrollment.domain.codes import Lane
from enrollment.runtime.broker import QUEUE_BY_LANE, BatchPublisher
from tests.support.servers import redis_process
from tests.support.service import Service, hand_in, open_for_all
from tests.support.service_processes import ended, needs_proc
from worker.celery_app import make_celery_app

pytestmark = [needs_proc, pytest.mark.slow]

COURSE = "course-v1:Uni+Share+2026"
INTERACTIVE = f"enroll:{QUEUE_BY_LANE[Lane.INTERACTIVE]}"
#: Messages that wait in the interactive lane: many seconds of work.
MESSAGES = 10_000
#: An id that no batch has: its message takes a worker's time and changes nothing.
NO_BATCH = 10**12


@pytest.fixture
def queue():
    with redis_process() as server, redis.Redis.from_url(server.url) as client:
        yield client, server.url


def test_a_file_does_not_wait_until_no_single_request_waits(queue, tmp_path):
    client, url = queue
    with Service(tmp_path, ENROLL_REDIS_URL=url) as service, service.start_gateway().http() as http:
        open_for_all(http, COURSE)
        publisher = BatchPublisher(make_celery_app(url))
        publisher.publish(NO_BATCH, Lane.INTERACTIVE)
        client.rpush(INTERACTIVE, *client.lrange(INTERACTIVE, 0, 0) * MESSAGES)
        (file,) = hand_in(http, COURSE, "n", singles=0, rows=300)
        service.start("worker")
        service.start("beat")

        assert ended(http, file, service.log)["state"] == "done"

        assert client.llen(INTERACTIVE) > 0
        assert service.enrolled(COURSE) == 300
