"""Hosts of their own on this machine: namespaces of the network and of the host name.

They have no names in the file system. The kernel removes them when this process and those inside
them have ended, in whatever way, so nothing is left of a run that failed or was killed.
"""

import ctypes
import fcntl
import os
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, Self

from tests.support.service_processes import tied

SUBNET = "10.77.0"
NETMASK = "255.255.255.0"
DEVICE = "eth0"
TUN = Path("/dev/net/tun")

_CLONE_NEWUTS, _CLONE_NEWNET = 0x04000000, 0x40000000
_KINDS = {"net": _CLONE_NEWNET, "uts": _CLONE_NEWUTS}
_TUNSETIFF, _IFF_TAP_NO_PI = 0x400454CA, 0x1002
_SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x8914, 0x8916, 0x891C
_IFF_UP_RUNNING = 0x41


class Traffic(NamedTuple):
    """Frames since the beginning."""

    forwarded: int
    lost: int
    #: Dropped since a host was isolated.
    cut: int


class Network:
    """A network of hosts, each with one device; `hosts` names the last byte of their addresses."""

    def __init__(
        self, hosts: Mapping[str, int], *, delay_ms: float = 0, loss: float = 0, seed: int = 1
    ) -> None:
        self._hosts = hosts
        self._words = [delay_ms, loss, seed]
        self._namespaces: dict[str, dict[str, int]] = {}
        self._exit = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            devices = {name: self._add(name, stack) for name in self._hosts}
            named = [f"{name}={descriptor}" for name, descriptor in devices.items()]
            program = [sys.executable, "-I", "-S", Path(__file__).with_name("switch.py")]
            self._switch = subprocess.Popen(
                tied([*program, *self._words, *named]),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
                pass_fds=list(devices.values()),
                start_new_session=True,
            )
            stack.callback(self._stop)
            assert self._read() == "ready"
            self._exit = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def address(self, name: str) -> str:
        """Returns the address of a host."""
        return f"{SUBNET}.{self._hosts[name]}"

    def isolate(self, name: str) -> None:
        """Drops all frames to and from a host from now on; no connection is closed."""
        self._say("isolate", name)

    def heal(self, name: str) -> None:
        """Undoes `isolate`."""
        self._say("heal", name)

    def traffic(self) -> Traffic:
        """Returns the frames so far."""
        return Traffic(*(int(word) for word in self._say("report").split()))

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Moves this thread to a host: its new sockets, threads and processes belong there."""
        with ExitStack() as stack:
            home = _namespaces_of_this_thread(stack)
            stack.callback(_enter, home)
            _enter(self._namespaces[name])
            yield

    def _add(self, name: str, stack: ExitStack) -> int:
        """Makes a host; returns the file descriptor of its device."""
        with ExitStack() as making:
            home = _namespaces_of_this_thread(making)
            making.callback(_enter, home)
            _call("unshare", _CLONE_NEWNET | _CLONE_NEWUTS)
            socket.sethostname(name)
            self._namespaces[name] = _namespaces_of_this_thread(stack)
            device = os.open(TUN, os.O_RDWR | os.O_NONBLOCK)
            stack.callback(os.close, device)
            wanted = struct.pack("16sH22x", DEVICE.encode(), _IFF_TAP_NO_PI)
            fcntl.ioctl(device, _TUNSETIFF, wanted)
            _configure(self.address(name))
        return device

    def _say(self, *words: str) -> str:
        assert self._switch.stdin is not None
        self._switch.stdin.write(" ".join(words) + "\n")
        self._switch.stdin.flush()
        return self._read()

    def _read(self) -> str:
        assert self._switch.stdout is not None
        return self._switch.stdout.readline().strip()

    def _stop(self) -> None:
        self._switch.kill()
        self._switch.communicate()


def missing() -> str:
    """Returns why this machine cannot have such hosts; empty if it can."""
    if sys.platform != "linux":
        return "namespaces are Linux's"
    if os.geteuid() != 0:
        return "only root makes network namespaces"
    try:
        with Network({"one": 1}):
            return ""
    except OSError as error:  # a container without the device or the capability
        return f"no network namespaces with TAP devices here: {error}"


def _configure(address: str) -> None:
    """Switches the devices of this thread's namespace on."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        for request, value in ((_SIOCSIFADDR, address), (_SIOCSIFNETMASK, NETMASK)):
            ip = struct.pack("=HH4s", socket.AF_INET, 0, socket.inet_aton(value))
            fcntl.ioctl(control, request, struct.pack("16s24s", DEVICE.encode(), ip))
        for device in ("lo", DEVICE):
            flags = struct.pack("16sH22x", device.encode(), _IFF_UP_RUNNING)
            fcntl.ioctl(control, _SIOCSIFFLAGS, flags)


def _namespaces_of_this_thread(stack: ExitStack) -> dict[str, int]:
    opened = {}
    for kind in _KINDS:
        opened[kind] = os.open(f"/proc/thread-self/ns/{kind}", os.O_RDONLY | os.O_CLOEXEC)
        stack.callback(os.close, opened[kind])
    return opened


def _enter(namespaces: Mapping[str, int]) -> None:
    for kind, descriptor in namespaces.items():
        _call("setns", descriptor, _KINDS[kind])


def _call(name: str, *arguments: int) -> None:
    """Calls a function of libc (Python has these two since 3.12). Raises OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments):
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
