"""Valkey in place of Redis: everything works, and it may be killed."""

from collections.abc import Iterator

import pytest
import redis

from api_gateway.cli.doctor_checks import check_redis
from tests.support.binaries import valkey_program
from tests.support.servers import RedisServer
from tests.support.service import Service, ask, hand_in, open_for_all, quickly
from tests.support.service_processes import ended, needs_proc
from tests.support.temporary_folders import working_folder

PROGRAM = valkey_program()
pytestmark = [
    needs_proc,
    pytest.mark.slow,
    pytest.mark.skipif(PROGRAM is None, reason="no Valkey: run tests/servers/fetch.sh"),
]


@pytest.fixture
def valkey() -> Iterator[RedisServer]:
    with working_folder() as folder:
        server = RedisServer(folder, program=PROGRAM)
        yield server.start()
        server.stop()


def test_valkey_carries_the_queue_the_cache_and_the_events(valkey, tmp_path):
    course, events = "course-v1:Uni+Valkey+2026", "enroll:events"
    with Service(tmp_path, ENROLL_REDIS_URL=valkey.url, ENROLL_EVENT_STREAM=events) as service:
        service.start_all()
        with service.http() as http:
            open_for_all(http, course)
            waited = ask(http, "ada", course, Prefer="wait=30")
            assert waited.status_code == 200, waited.text
            taken = hand_in(http, course, "n", singles=5, rows=1_500)
            valkey.kill()
            taken = [*taken, *quickly(http, course, 0)]
            valkey.start()
            for each in taken:
                ended(http, each, service.log)
        assert service.enrolled(course) == 1 + 5 + 1_500 + 31
    with redis.Redis.from_url(valkey.url) as client:
        assert "valkey" in str(client.info("server"))
        assert client.exists(events)
    assert [each.mark for each in check_redis(valkey.url, is_named=True)] == ["ok", "ok"]
