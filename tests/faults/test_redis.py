"""Redis frozen, stopped, full, refusing, corrupted: requests are accepted, and work continues."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import pytest
import redis

from enrollment.runtime.broker import QueueName
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import HalfOpen, Pass
from tests.support.malformed_messages import POISON, UNPICKLED
from tests.support.servers import LOOPBACK, RedisServer, redis_process
from tests.support.service import Service, open_for_all, quickly
from tests.support.service_processes import ended, needs_proc, wait_until

pytestmark = [needs_proc, pytest.mark.slow]

#: Seconds within which all processes notice that the other end is dead.
NOTICED = 25.0
INTERACTIVE = f"enroll:{QueueName.INTERACTIVE}"


class Rig(NamedTuple):
    """A service, and its Redis behind a proxy."""

    server: RedisServer
    proxy: Proxy
    service: Service
    redis: redis.Redis


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Iterator[Rig]:
    with (
        redis_process() as server,
        Proxy(LOOPBACK, server.port) as proxy,
        Service(
            tmp_path_factory.mktemp("redis"),
            ENROLL_REDIS_URL=f"redis://{LOOPBACK}:{proxy.port}/0",
        ) as service,
        redis.Redis.from_url(server.url) as direct,
    ):
        yield Rig(server, proxy, service.start_all(), direct)


@pytest.fixture
def rig(shared) -> Iterator[Rig]:
    """Checks that no process was restarted."""
    yield shared
    settled(shared)
    assert [one.process.poll() for one in processes(shared)] == [None] * 3, shared.service.log()


def processes(rig):
    return [rig.service.gateway, rig.service.worker, rig.service.beat]


def settled(rig):
    """Waits until all processes have reconnected to the queue."""
    course = "course-v1:Uni+Redis+settled"
    with rig.service.http() as http:
        open_for_all(http, course)

    def is_found() -> bool:
        rig.service.is_well(course)
        lost, found = "queue.unreachable", "queue.reachable_again"
        return all(said(one, lost) == said(one, found) for one in processes(rig)[:2])

    wait_until(is_found, rig.service.log)


def said(running, event):
    return running.log().count(f'"event": "{event}"')


# --- Redis misbehaves --------------------------------------------------------------------


@contextmanager
def frozen(rig):
    rig.server.hold()
    try:
        yield
    finally:
        rig.server.release()


@contextmanager
def restarted(rig):
    rig.server.kill()
    try:
        yield
    finally:
        rig.server.start()


@contextmanager
def full(rig):
    rig.redis.config_set("maxmemory", 1)
    try:
        yield
    finally:
        rig.redis.config_set("maxmemory", 0)


@contextmanager
def a_replica(rig):
    rig.redis.replicaof(LOOPBACK, 1)
    try:
        yield
    finally:
        rig.redis.replicaof("NO", "ONE")


@contextmanager
def locked(rig):
    rig.redis.config_set("requirepass", "secret")
    for sort in ("normal", "pubsub"):
        rig.redis.client_kill_filter(_type=sort, skipme=True)
    try:
        yield
    finally:
        rig.redis.config_set("requirepass", "")


@contextmanager
def unacknowledged(rig):
    """All works, but nothing can be acknowledged."""
    rig.redis.execute_command("ACL", "SETUSER", "default", "-zrem", "-hdel")
    try:
        yield
    finally:
        rig.redis.execute_command("ACL", "SETUSER", "default", "+@all")


def garbled(*keys):
    """Stores values of another type under the keys of kombu."""

    @contextmanager
    def wrong_types(rig):
        for key in keys:
            rig.redis.delete(f"enroll:{key}")
            rig.redis.set(f"enroll:{key}", "something else")
        try:
            yield
        finally:
            rig.redis.delete(*(f"enroll:{key}" for key in keys))

    return wrong_types


TROUBLES = {
    "frozen": frozen,
    "restarted": restarted,
    "full": full,
    "a-replica": a_replica,
    "locked": locked,
    "garbled": garbled(*QueueName, "unacked", "unacked_index", "unacked_mutex"),
    "unacknowledged": unacknowledged,
}


@pytest.mark.parametrize("sort", TROUBLES)
def test_whatever_is_wrong_with_redis_requests_are_taken_and_then_worked(rig, sort):
    service, course = rig.service, f"course-v1:Uni+Redis+{sort}"
    met = service.worker if sort == "unacknowledged" else service.gateway
    before = outages(met)
    taken = []
    with service.http() as http:
        open_for_all(http, course)
        with TROUBLES[sort](rig):
            while outages(met) == before:
                taken += quickly(http, course, len(taken))
            taken += quickly(http, course, len(taken))
        answered = [ended(http, each, service.log) for each in taken]

    assert {each["state"] for each in answered} == {"done"}
    assert service.enrolled(course) == sum(each["counts"]["enrolled"] for each in answered)
    assert outages(met) == before + 1, "an outage is said once"


def outages(running):
    return said(running, "queue.unreachable")


# --- the other end is dead --------------------------------------------------------------


def test_connections_whose_other_end_is_gone_are_made_anew(rig):
    service, course = rig.service, "course-v1:Uni+Redis+half"
    with service.http() as http:
        open_for_all(http, course)
        made = rig.proxy.seen.connections
        rig.proxy.set(HalfOpen())
        began = time.monotonic()
        taken = quickly(http, course, 0)
        answered = [ended(http, each, service.log) for each in taken]
        rang = [service.is_well(course) for _ in range(2)]
        took = time.monotonic() - began
        rig.proxy.set(Pass())

    assert [each["state"] for each in (*answered, *rang)] == ["done"] * 4
    assert took < NOTICED
    assert rig.proxy.seen.connections > made


# --- messages ------------------------------------------------------------------------------


def test_no_message_harms_a_worker(rig):
    service, course = rig.service, "course-v1:Uni+Redis+poison"
    with service.http() as http:
        open_for_all(http, course)
    rig.redis.delete("enroll:unacked", "enroll:unacked_index")  # keys of other programs
    rig.redis.lpush(INTERACTIVE, *POISON.values())

    assert service.is_well(course)["state"] == "done"
    wait_until(lambda: not rig.redis.llen(INTERACTIVE), service.log)
    assert service.is_well(course)["state"] == "done"

    wait_until(lambda: not rig.redis.zcard("enroll:unacked_index"), service.log)
    assert said(service.worker, UNPICKLED) == 0
    assert service.enrolled(course) == 2


# --- Redis Cluster --------------------------------------------------------------------------


@pytest.mark.parametrize("variable", ["ENROLL_REDIS_URL", "ENROLL_BROKER_URL"])
def test_nothing_starts_on_a_redis_cluster(tmp_path, variable):
    service = Service(tmp_path, **{variable: "redis+cluster://:hunter2@127.0.0.1:1/0"})
    started = [service.start(command) for command in ("gateway", "worker", "beat", "up", "doctor")]
    with service:
        ended_with = [process.process.wait(60) for process in started]

    reason = f"{variable} names a Redis Cluster (redis+cluster), which cannot carry the queue"
    assert 0 not in ended_with
    for process in started:
        everything = " ".join((process.said() + process.log()).split())
        assert reason in everything
        assert "hunter2" not in everything
        assert "Traceback" not in everything
