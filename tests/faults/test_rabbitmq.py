"""RabbitMQ by its URL alone: requests flow, survive its restart, and singles overtake files."""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import NamedTuple

import kombu
import pytest

from enrollment.runtime.broker import QueueName
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import HalfOpen, Pass
from tests.support.binaries import ServerMissing
from tests.support.celery_tools import ping_workers
from tests.support.long_files import LongFile, at_work, status
from tests.support.rabbitmq import RabbitServer, rabbitmq_process
from tests.support.servers import LOOPBACK, redis_process
from tests.support.service import Service, ask, hand_in, open_for_all, quickly
from tests.support.service_processes import ended, needs_proc, wait_until

pytestmark = [needs_proc, pytest.mark.slow, pytest.mark.timeout(240)]

ROWS = 30


class Broker(NamedTuple):
    """The URL of RabbitMQ; tests may break only one that they started."""

    url: str
    server: RabbitServer | None = None
    proxy: Proxy | None = None


@pytest.fixture(scope="module")
def broker() -> Iterator[Broker]:
    if named := os.environ.get("ENROLL_TEST_RABBITMQ_URL"):
        yield Broker(named)
        return
    with ExitStack() as stack:
        try:
            server = stack.enter_context(rabbitmq_process())
        except ServerMissing as missing:
            pytest.skip(str(missing))
        proxy = stack.enter_context(Proxy(LOOPBACK, server.port))
        yield Broker(server.url.replace(f":{server.port}/", f":{proxy.port}/"), server, proxy)


@pytest.fixture
def own(broker):
    """A RabbitMQ that a test may break."""
    if broker.server is None:
        pytest.skip("the RabbitMQ that was named is not ours to spoil")
    return broker


@pytest.fixture(scope="module")
def service(broker, tmp_path_factory):
    """A service whose broker is RabbitMQ; Redis is its cache and completion channel."""
    with (
        redis_process() as redis,
        Service(
            tmp_path_factory.mktemp("rabbitmq"),
            ENROLL_REDIS_URL=redis.url,
            ENROLL_BROKER_URL=broker.url,
        ) as service,
    ):
        yield service.start_all()


def test_singles_and_files_flow_over_durable_quorum_queues(broker, service):
    course = "course-v1:Uni+Rabbit+flow"
    with service.http() as http:
        open_for_all(http, course)
        waited = ask(http, "ada", course, Prefer="wait=30")
        taken = hand_in(http, course, "n", singles=5, rows=2_500)
        for each in taken:
            ended(http, each, service.log)

    assert waited.status_code == 200, waited.text
    assert service.enrolled(course) == 1 + 5 + 2_500
    with kombu.Connection(broker.url) as connection:
        for name in QueueName:  # a declaration with other arguments is refused
            connection.default_channel.queue_declare(
                name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
            )
    assert "error" not in {
        line.partition('"level": "')[2][:5] for line in service.log().splitlines()
    }


def test_the_tools_of_celery_see_the_workers(broker, service):
    worker = service.start("worker", ENROLL_CELERY_REMOTE="true")

    replies = wait_until(lambda: ping_workers(ENROLL_BROKER_URL=broker.url), service.log)

    assert list(replies.values()) == [{"ok": "pong"}]
    worker.bury()


def test_a_single_does_not_wait_for_the_file_before_it(service, tmp_path):
    course = "course-v1:Uni+Rabbit+lanes"
    with service.http() as http:
        open_for_all(http, course)
        with at_work(http, tmp_path, LongFile("rabbit", 100_000)) as (file,):
            answer = ask(http, "single", course, Prefer="wait=30")
            assert answer.status_code == 200, answer.text
            assert status(http, file)["counts"]["pending"] > 0


@contextmanager
def frozen(own):
    own.server.hold()
    try:
        yield
    finally:
        own.server.release()


@contextmanager
def killed(own):
    # RabbitMQ 3.10 itself loses a quorum queue that was made seconds before it is killed.
    own.server.stop()
    own.server.start()
    own.server.kill()
    try:
        yield
    finally:
        own.server.start()


@contextmanager
def half_open(own):
    own.proxy.set(HalfOpen())
    try:
        yield
    finally:
        own.proxy.set(Pass())


def outages(service):
    return service.gateway.log().count('"queue.unreachable"')


def outages_before(service, course):
    """Returns the number of connections, once the gateway has one that can be cut."""
    wait_until(
        lambda: (
            service.is_well(course)["state"] == "done"
            and service.gateway.log().count('"queue.reachable_again"') == outages(service)
        ),
        service.log,
    )
    return outages(service)


@pytest.mark.parametrize("trouble", [frozen, killed, half_open], ids=lambda each: each.__name__)
def test_what_was_taken_without_rabbitmq_is_worked_when_it_is_back(own, service, trouble):
    course = f"course-v1:Uni+Rabbit+{trouble.__name__}"
    taken = []
    with service.http() as http:
        open_for_all(http, course)
        before = outages_before(service, course)
        with trouble(own):
            while outages(service) == before:
                taken += quickly(http, course, len(taken))
            taken += quickly(http, course, len(taken))
        answered = [ended(http, each, service.log) for each in taken]
        assert service.is_well(course)["state"] == "done"

    assert {each["state"] for each in answered} == {"done"}
    assert outages(service) == before + 1
    assert [one.process.poll() for one in (service.gateway, service.worker, service.beat)] == [
        None
    ] * 3


def test_a_gateway_starts_and_answers_202_without_its_rabbitmq(tmp_path, own):
    course = "course-v1:Uni+Rabbit+start"
    own.server.stop()
    try:
        with Service(
            tmp_path, ENROLL_REDIS_URL=f"redis://{LOOPBACK}:1/0", ENROLL_BROKER_URL=own.url
        ) as service:
            service.start_all()
            with service.http() as http:
                open_for_all(http, course)
                taken = hand_in(http, course, "n", singles=3, rows=ROWS)
                own.server.start()
                for each in taken:
                    ended(http, each, service.log)
            assert service.enrolled(course) == 3 + ROWS
    finally:
        wait_until(own.server.answers)
