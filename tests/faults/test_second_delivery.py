"""A worker that outlives its claim finds the work done, and changes nothing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import httpx
import psycopg
import pytest
import redis

from enrollment.runtime.broker import REDISPATCH_AFTER, REDISPATCH_INTERVAL
from tests.support.servers import redis_process
from tests.support.service import Service, ask, open_for_all
from tests.support.service_processes import Running, ended, needs_proc, submission, wait_until

pytestmark = [needs_proc, pytest.mark.slow]

COURSE = "course-v1:Uni+Second+delivery"


class Scene(NamedTuple):
    """A service whose only worker sleeps for some seconds in the middle of a batch."""

    service: Service
    http: httpx.Client
    queue: redis.Redis
    first: Running
    taken: str

    def everything(self):
        """Returns the results that callers see."""
        return (
            self.http.get(f"/submissions/{self.taken}/outcomes").json(),
            self.http.get(f"/enrollment/ada,{COURSE}").json(),
            self.http.get("/changes").json(),
        )

    def start_the_others(self):
        self.service.start("worker")
        self.service.start("beat")

    def until_acknowledged(self):
        """Waits until every message is acknowledged."""
        wait_until(lambda: not self.queue.zcard("enroll:unacked_index"), self.service.log)


@contextmanager
def asleep(tmp_path, database_url, at) -> Iterator[Scene]:
    with (
        redis_process() as server,
        redis.Redis.from_url(server.url) as queue,
        Service(tmp_path, database_url=database_url, ENROLL_REDIS_URL=server.url) as service,
    ):
        service.start_gateway()
        first = service.start("worker", ENROLL_FAILPOINTS=f"{at}=sleep:3*1")
        with service.http() as http:
            open_for_all(http, COURSE)
            taken = ask(http, "ada", COURSE).json()["submission_id"]
            wait_until(lambda: "failpoint.reached" in first.log(), service.log)
            # Its first heartbeat is stored: it will not be held in the middle of that.
            wait_until(lambda: http.get(f"{service.url}/readyz").json()["workers"], service.log)
            yield Scene(service, http, queue, first, taken)


def test_who_wakes_when_another_did_the_work_changes_nothing(tmp_path, database_url):
    with asleep(tmp_path, database_url, "task.popped") as scene:
        with scene.first.held():
            scene.start_the_others()
            done = ended(scene.http, scene.taken, scene.service.log)
            before = scene.everything()
        scene.until_acknowledged()

        assert done["counts"]["enrolled"] == 1
        assert scene.everything() == before
        assert scene.service.enrolled(COURSE) == 1


def test_a_batch_is_passed_over_while_a_worker_hangs_on_to_it_and_done_when_its_session_ends(
    tmp_path, postgres_url
):
    with asleep(tmp_path, postgres_url, "work.before_commit") as scene:
        with scene.first.held():
            scene.start_the_others()
            wait_until(lambda: ask_server(postgres_url, f"SELECT pid {HUNG}"))
            assert submission(scene.http, scene.taken)["state"] != "done"
            end_hung_transaction(postgres_url)
            done = ended(scene.http, scene.taken, scene.service.log)
            before = scene.everything()
        scene.until_acknowledged()

        assert done["counts"]["enrolled"] == 1
        assert scene.everything() == before
        assert scene.service.enrolled(COURSE) == 1


#: A transaction was idle for longer than the time to its redispatch.
HUNG = (
    "FROM pg_stat_activity WHERE state = 'idle in transaction' AND datname = current_database() "
    f"AND now() - state_change > '{REDISPATCH_AFTER + REDISPATCH_INTERVAL} s'"
)


def ask_server(url, statement):
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def end_hung_transaction(url):
    """Does what PostgreSQL does after `idle_in_transaction_session_timeout`.

    The attempt lock, if the worker holds one, has a session of its own.
    """
    assert set(ask_server(url, f"SELECT pg_terminate_backend(pid) {HUNG}")) == {(True,)}


def test_on_sqlite_everybody_waits_for_who_writes_and_then_goes_on(tmp_path):
    with asleep(tmp_path, "", "work.before_commit") as scene:
        with scene.first.held():
            scene.start_the_others()
            assert submission(scene.http, scene.taken)["state"] != "done"
        done = ended(scene.http, scene.taken, scene.service.log)
        before = scene.everything()
        scene.until_acknowledged()

        assert done["counts"]["enrolled"] == 1
        assert scene.everything() == before
        assert scene.service.enrolled(COURSE) == 1
