"""How many connections a process accepts, and whom it counts as one."""

import asyncio
import math
import resource

import pytest
from structlog.testing import capture_logs

from api_gateway.cli.doctor_checks import check_descriptors
from api_gateway.server.connection_guard import SWEEP_SECONDS, ConnectionGuard, ConnectionLimits
from api_gateway.server.listening import RESERVED_DESCRIPTORS, max_open_connections


class Connection:
    """A connection that notes its end."""

    def __init__(self, deadline=math.inf):
        self.deadline = deadline
        self.ended = asyncio.Event()

    def expire(self):
        self.deadline = math.inf
        self.ended.set()


@pytest.mark.parametrize(
    ("wanted", "descriptors", "most"),
    [
        (10_000, 1_048_576, 10_000),
        (10_000, 1_024, 1_024 - RESERVED_DESCRIPTORS),
        (10, 1_024, 10),
        (10, 20, 1),
        (10_000, resource.RLIM_INFINITY, 10_000),
    ],
)
def test_connections_leave_descriptors_for_the_rest(wanted, descriptors, most):
    assert max_open_connections(wanted, descriptors) == most


@pytest.mark.parametrize(
    ("hosts", "admitted"),
    [
        (["10.0.0.1", "10.0.0.1", "10.0.0.1"], [True, True, False]),
        (["10.0.0.1", "10.0.0.1", "10.0.0.2", "10.0.0.2", "10.0.0.3"], [True] * 4 + [False]),
        (["2001:db8::1", "2001:db8::2", "2001:db8::3"], [True, True, False]),
        (["2001:db8::1", "2001:db8:0:1::1", "2001:db8:0:2::1"], [True] * 3),
        (["fe80::1%eth0", "fe80::2%eth0", "fe80::3"], [True, True, False]),
        ([None, None, None], [True, True, False]),
    ],
)
def test_connections_are_counted_in_all_and_by_address(hosts, admitted):
    async def run():
        guard = ConnectionGuard(ConnectionLimits(max_connections=4, max_per_address=2))
        loop = asyncio.get_running_loop()
        return [guard.admit(Connection(), host, loop) for host in hosts]

    assert asyncio.run(run()) == admitted


def test_a_closed_connection_makes_room():
    async def run():
        guard = ConnectionGuard(ConnectionLimits(max_connections=1))
        loop = asyncio.get_running_loop()
        first, second = Connection(), Connection()
        found = [guard.admit(first, "a", loop), guard.admit(second, "a", loop)]
        guard.release(second)  # was never admitted
        guard.release(first)
        return [*found, guard.admit(second, "a", loop)]

    assert asyncio.run(run()) == [True, False, True]


def test_refusals_are_logged_once_in_a_while():
    async def run():
        guard = ConnectionGuard(ConnectionLimits(max_connections=1, max_per_address=1))
        loop = asyncio.get_running_loop()
        for _ in range(50):
            guard.admit(Connection(), "a", loop)

    with capture_logs() as records:
        asyncio.run(run())

    (record,) = records
    assert (record["event"], record["open"], record["address"]) == ("connection.refused", 1, "a")


def test_a_connection_ends_at_its_deadline():
    async def run():
        loop = asyncio.get_running_loop()
        guard = ConnectionGuard(ConnectionLimits())
        slow, patient = Connection(loop.time() + SWEEP_SECONDS / 2), Connection()
        guard.admit(slow, "a", loop)
        guard.admit(patient, "a", loop)
        async with asyncio.timeout(30):
            await slow.ended.wait()
        return patient.ended.is_set()

    assert asyncio.run(run()) is False


def test_the_doctor_looks_at_the_limit_of_open_files():
    assert check_descriptors(1).mark == "ok"
    assert check_descriptors(10**12).mark == "note"
    assert "ENROLL_MAX_CONNECTIONS" in check_descriptors(10**12).advice
