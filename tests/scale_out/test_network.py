"""The hosts of the scale-out tests: far apart, cut off in silence, and gone at the end."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.scale_out.network import DEVICE, Network, missing
from tests.support.service_processes import wait_until

ROOT = Path(__file__).parents[2]
PORT = 4000
HERE = Path("/proc/thread-self/ns/net")
#: Two hosts that a killed run leaves to the kernel.
OWNER = """
import os, time
from tests.scale_out.network import Network
with Network({"one": 1, "two": 2}) as network, network.inside("one"):
    print(os.readlink("/proc/thread-self/ns/net"), flush=True)
    time.sleep(60)
"""


@pytest.fixture(scope="module", autouse=True)
def _possible():
    if reason := missing():
        pytest.skip(reason)


def connected(network, stack):
    """Returns both ends of a connection between two hosts."""
    with network.inside("two"):
        listener = stack.enter_context(socket.create_server(("", PORT)))
    with network.inside("one"):
        client = socket.create_connection((network.address("two"), PORT), timeout=10)
    stack.enter_context(client)
    server, _ = listener.accept()
    return client, stack.enter_context(server)


def namespaces():
    """Returns the network namespaces of all processes."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/ns/net"):
        try:
            found.add(path.readlink())
        except OSError:  # it ended meanwhile
            continue
    return found


def test_a_message_takes_its_time_there_and_back():
    with ExitStack() as stack:
        network = stack.enter_context(Network({"one": 1, "two": 2}, delay_ms=20))
        client, server = connected(network, stack)
        began = time.monotonic()
        client.sendall(b"?")
        server.sendall(server.recv(1))
        assert client.recv(1) == b"?"
        assert time.monotonic() - began >= 0.04


def test_hosts_have_names_and_devices_of_their_own():
    before = HERE.readlink(), socket.gethostname()
    with Network({"one": 1, "two": 2}) as network:
        with network.inside("two"):
            assert socket.gethostname() == "two"
            assert [name for _, name in socket.if_nameindex()] == ["lo", DEVICE]
        assert (HERE.readlink(), socket.gethostname()) == before


def test_an_isolated_host_hears_nothing_until_it_is_healed():
    with ExitStack() as stack:
        network = stack.enter_context(Network({"one": 1, "two": 2}))
        client, server = connected(network, stack)
        network.isolate("two")
        client.sendall(b"!")
        server.settimeout(0.5)
        with pytest.raises(TimeoutError):
            server.recv(1)
        network.heal("two")
        server.settimeout(30)
        assert server.recv(1) == b"!"  # TCP repeats it
        assert network.traffic().cut > 0


def test_frames_are_lost_at_the_rate_and_tcp_repeats_them():
    with ExitStack() as stack:
        network = stack.enter_context(Network({"one": 1, "two": 2}, loss=5))
        client, server = connected(network, stack)
        sent = os.urandom(200_000)
        client.sendall(sent[:100_000])
        client.sendall(sent[100_000:])
        client.shutdown(socket.SHUT_WR)
        received = b"".join(iter(lambda: server.recv(65_536), b""))
        assert received == sent
        assert network.traffic().lost > 0


def test_nothing_is_left_of_a_run_that_was_killed():
    with subprocess.Popen(
        [sys.executable, "-c", OWNER], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as owner:
        namespace = Path(owner.stdout.readline().strip())
        assert namespace in namespaces()
        os.kill(owner.pid, signal.SIGKILL)
    wait_until(lambda: namespace not in namespaces())
