"""PostgreSQL with a synchronous standby and a URL of both: a failover loses nothing."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from api_gateway.audit.verify import verify
from enrollment.storage.engine.sessions import sessions_for
from tests.support.servers import redis_process
from tests.support.service import Service, ask, hand_in, open_for_all
from tests.support.service_processes import ended, needs_proc, wait_until
from tests.support.standby import Pair, postgres_with_standby

pytestmark = [needs_proc, pytest.mark.slow, pytest.mark.timeout(240)]

#: Singles that must be accepted before and after the failover.
SINGLES = 50
ROWS = 3_000
COURSE = "course-v1:Uni+Failover+2026"


@pytest.fixture
def pair() -> Iterator[Pair]:
    with postgres_with_standby() as started:
        yield started


@pytest.fixture
def service(pair, tmp_path) -> Iterator[Service]:
    with (
        redis_process() as redis,
        Service(tmp_path, database_url=pair.url, ENROLL_REDIS_URL=redis.url) as made,
    ):
        yield made.start_all()


class Callers:
    """Sends single requests one after another, each with one key until it is accepted."""

    def __init__(self, http: httpx.Client) -> None:
        self._http = http
        self._is_over = threading.Event()
        self.accepted: dict[str, str] = {}
        self.refused: list[int] = []

    @contextmanager
    def calling(self) -> Iterator[None]:
        thread = threading.Thread(target=self._run)
        thread.start()
        try:
            yield
        finally:
            self._is_over.set()
            thread.join()

    def _run(self) -> None:
        number = 0
        while not self._is_over.is_set():
            answer = ask(self._http, f"f{number}", COURSE, **{"Idempotency-Key": f"k{number}"})
            if answer.status_code == 202:
                self.accepted[f"f{number}"] = answer.json()["submission_id"]
                number += 1
            else:
                self.refused.append(answer.status_code)
                self._is_over.wait(0.1)


def test_after_a_failover_every_accepted_request_is_there(pair, service):
    with service.http() as http:
        open_for_all(http, COURSE)
        callers = Callers(http)
        with callers.calling():
            wait_until(lambda: len(callers.accepted) > SINGLES, service.log)
            (file,) = hand_in(http, COURSE, "n", singles=0, rows=ROWS)
            pair.primary.kill()
            known = dict(callers.accepted)
            wait_until(lambda: callers.refused, service.log)
            pair.standby.promote()
            wait_until(lambda: len(callers.accepted) > len(known) + SINGLES, service.log)
        for submission in (*callers.accepted.values(), file):
            assert ended(http, submission, service.log)["state"] == "done"

        assert set(callers.refused) == {503}
        assert service.enrolled(COURSE) == len(callers.accepted) + ROWS
    sessions = sessions_for(service.database_url, pool_size=2)
    assert verify(sessions).is_sound
    sessions.dispose()
    assert [one.process.poll() for one in (service.gateway, service.worker, service.beat)] == [
        None
    ] * 3


def test_nothing_is_accepted_that_the_standby_has_not_written(pair, service):
    with service.http() as http:
        open_for_all(http, COURSE)
        pair.standby.hold()
        try:
            began = time.monotonic()
            refused = ask(http, "ada", COURSE, **{"Idempotency-Key": "one"})
            assert refused.status_code == 503, refused.text
            assert time.monotonic() - began < 30
        finally:
            pair.standby.release()
        wait_until(lambda: ask(http, "bob", COURSE).status_code == 202, service.log)
        again = ask(http, "ada", COURSE, **{"Idempotency-Key": "one"})
        assert again.status_code == 202
        assert ended(http, again.json()["submission_id"], service.log)["state"] == "done"
