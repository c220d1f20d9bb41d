"""Network faults: connections to Redis, PostgreSQL and readers that are cut or stall."""

import time
from collections.abc import Callable

import httpx

from tests.fault_lab.checker.check import Trace
from tests.fault_lab.fault_injectors.base import POSTGRESQL, SQLITE, Fault, RunContext
from tests.fault_lab.history import Op, Phase
from tests.fault_lab.stack.proxy import Proxy
from tests.fault_lab.stack.proxy_modes import (
    COMMITS,
    BlackHole,
    CutBeforeReply,
    CutBeforeRequest,
    DropFraction,
    HalfOpen,
    Mode,
    Pass,
    Reset,
    Slow,
    Vanish,
)
from tests.fault_lab.stack.stack import Overrides
from tests.support.service_processes import API

LOOPBACK = "127.0.0.1"


def _proxy(context: RunContext, port: int) -> Proxy:
    """Returns a proxy that ends with the run and resets its connections first."""
    proxy = context.exits.enter_context(Proxy(LOOPBACK, port))
    context.exits.callback(proxy.set, Reset())
    return proxy


class _ThroughProxies(Fault):
    """The processes of some roles reach a server through a proxy per role."""

    roles: tuple[str, ...] = ("gateway", "worker")

    def __init__(self, context: RunContext) -> None:
        super().__init__(context)
        self.proxies = {role: _proxy(context, self.target()) for role in self.roles}

    def target(self) -> int:
        """Returns the port of the server."""
        raise NotImplementedError

    def hold(self, proxy: Proxy, mode: Mode, seconds: float) -> None:
        """Sets the mode of a proxy for some seconds; its counters are the evidence."""
        before = proxy.seen
        proxy.set(mode)
        try:
            time.sleep(seconds)
        finally:
            proxy.set(Pass())
        after = proxy.seen
        names = ("resets", "half_opened", "vanished", "requests_cut", "replies_swallowed")
        names += ("bytes_held",)
        done = {name: getattr(after, name) - getattr(before, name) for name in names}
        if any(done.values()):
            role = next(role for role, one in self.proxies.items() if one is proxy)
            counters = {name: number for name, number in done.items() if number}
            self.context.witness(between=role, mode=type(mode).__name__, **counters)

    def heal(self) -> None:
        for proxy in self.proxies.values():
            proxy.set(Pass())


class RedisCutOff(_ThroughProxies):
    code = "F13"
    title = "gateways and workers cut off from Redis: silence, resets, 30 % loss, half-open"
    where = (POSTGRESQL,)
    pause = (0.3, 0.8)

    def target(self) -> int:
        return self.stack.redis.port

    def overrides(self) -> Overrides:
        return Overrides(
            {
                role: {"ENROLL_REDIS_URL": f"redis://{LOOPBACK}:{proxy.port}/0"}
                for role, proxy in self.proxies.items()
            }
        )

    def inject(self) -> None:
        seed = self.random.randrange(10**6)
        modes = [BlackHole(), Reset(), DropFraction(0.3, seed), HalfOpen()]
        proxy = self.choose(self.proxies.values())
        self.hold(proxy, self.choose(modes), self.random.uniform(0.3, 2.5))


class _CutOffFromPostgres(_ThroughProxies):
    where = (POSTGRESQL,)
    pause = (0.1, 0.4)

    def target(self) -> int:
        assert self.stack.database.postgres is not None
        return self.stack.database.postgres.port

    def overrides(self) -> Overrides:
        return Overrides(
            {
                role: {
                    "ENROLL_DATABASE_URL": self.stack.database.url.replace(
                        f":{self.target()}/", f":{proxy.port}/"
                    )
                }
                for role, proxy in self.proxies.items()
            }
        )

    def inject(self) -> None:
        seed = self.random.randrange(10**6)
        modes: list[Mode] = [
            CutBeforeReply(COMMITS, 0.5, seed),
            CutBeforeReply(COMMITS, 0.5, seed),
            CutBeforeRequest(COMMITS, 0.5, seed),
            DropFraction(0.02, seed),
        ]
        (proxy,) = self.proxies.values()
        self.hold(proxy, self.choose(modes), self.random.uniform(0.3, 1.0))

    def verify(self) -> None:
        (proxy,) = self.proxies.values()
        self.context.note("proxy", **vars(proxy.seen))


class WorkersCutOffAtCommit(_CutOffFromPostgres):
    code = "F14"
    title = "workers cut off from PostgreSQL in mid transaction, before and after COMMIT (S6, S7)"
    roles = ("worker",)


class WorkersVanish(_CutOffFromPostgres):
    code = "F38"
    title = "a worker's host vanishes at any packet: no end of the connection, no acknowledgement"
    roles = ("worker",)
    pause = (1.0, 2.0)
    seconds = 15.0

    def inject(self) -> None:
        (proxy,) = self.proxies.values()
        self.hold(proxy, Vanish(0.1, self.random.randrange(10**6)), self.random.uniform(1.0, 2.0))


class GatewaysCutOffAtCommit(_CutOffFromPostgres):
    code = "F15"
    title = "gateways cut off from PostgreSQL in mid transaction, before and after COMMIT (S1, S2)"
    roles = ("gateway",)
    traces = (Trace.UNKNOWN_ANSWERS, Trace.REPLAYED_KEYS)


class ReadersCutOff(Fault):
    code = "F39"
    title = "feed readers cut off, slow, resumed from where they were"
    where = (SQLITE,)
    pause = (0.05, 0.2)
    #: The proxy of the feed reader: slow, or with resets.
    proxy: Proxy
    position = 0

    def prepare(self) -> None:
        port = self.stack.ports[0]
        self.proxy = _proxy(self.context, port)

    def inject(self) -> None:
        """Reads on from the end of the last complete page; duplicates and gaps are violations."""
        seed = self.random.randrange(10**6)
        read: Callable[[], list[int]] = self._page
        mode = self.choose([DropFraction(0.4, seed), Slow(200_000), Pass()])
        before = self.proxy.seen
        self.proxy.set(mode)
        try:
            positions = read()
        except httpx.TransportError as error:
            self.context.note("feed reader cut off", at=self.position, because=repr(error))
            positions = []
        after = self.proxy.seen
        if after.resets > before.resets or after.delayed_chunks > before.delayed_chunks:
            self.context.witness(mode=type(mode).__name__, at=self.position, read=len(positions))
        expected = list(range(self.position + 1, self.position + len(positions) + 1))
        if positions != expected:
            self.context.problems.append(f"after {self.position} came {positions[:5]}…")
        self.position += len(positions)

    def _page(self) -> list[int]:
        limit = self.random.choice([1, 50, 1000])
        answer = httpx.get(
            f"http://{LOOPBACK}:{self.proxy.port}{API}/changes",
            params={"since": self.position, "limit": limit},
            headers={"Authorization": f"Bearer {self.stack.key}"},
            timeout=10,
        )
        if answer.status_code != 200:
            return []
        positions = [change["data"]["position"] for change in answer.json()["changes"]]
        self.context.history.write(
            Op.NOTE, Phase.OK, client="slow reader", since=self.position, read=len(positions)
        )
        return positions

    def heal(self) -> None:
        self.proxy.set(Pass())
