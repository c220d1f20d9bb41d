"""A worker that is stopped writes records of the log, and nothing else."""

import json

import pytest

from tests.support.servers import embedded_redis
from tests.support.service import Service
from tests.support.service_processes import needs_proc, wait_until

pytestmark = needs_proc


@pytest.fixture
def worker(tmp_path):
    with embedded_redis() as url, Service(tmp_path, ENROLL_REDIS_URL=url) as service:
        yield service.start_all().worker


def test_a_worker_that_ends_says_so_in_a_record(worker):
    wait_until(lambda: '"process.ready"' in worker.log(), worker.log)

    assert worker.end() == 0
    assert worker.said() == ""
    events = [json.loads(line)["event"] for line in worker.log().splitlines()]
    assert "worker: Warm shutdown (MainProcess)" in events
