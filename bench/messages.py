"""Measures messages to and from other systems, and what they cost the processing of a file.

Relay, request stream, webhooks and destinations: each with a baseline that does the same without
the service.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import redis

from bench.bare_receiver import STATE_PATH
from bench.progress_query import counting
from bench.samples import courses, long_file, term
from bench.stack import COURSE, Servers, Service, Size, server, service
from bench.synthetic_terms import repeated
from bench.table import Figure, rate
from tests.support.temporary_folders import working_folder

EVENT_STREAM, REQUEST_STREAM, COPY = "bench:events", "bench:requests", "bench:copy"
#: Number of events, entries and messages.
EVENTS, ENTRIES, MESSAGES = 100_000, 20_000, 5_000
#: Rows of the file that is processed with and without messages.
ROWS = 100_000
AT_LEAST_PERCENT = 90.0
#: Entries of one call of Redis in the baselines, as in the relay and in the consumer.
ADDED_AT_ONCE, READ_AT_ONCE = 1_000, 500
POLL_SECONDS, PATIENCE_SECONDS = 0.01, 300.0
#: Seconds of a request to the receiver in the baseline.
TIMEOUT_SECONDS = 10.0
_POSITIONS = "SELECT count(*) FROM relay_position"
_LOCAL = {"ENROLL_PRIVATE_DESTINATIONS": "true"}


def measure(servers: Servers, size: Size) -> list[Figure]:
    """Measures each on a new database, alternating with its baseline."""
    relayed = [_relay_rates(servers) for _ in range(size.runs)]
    received = [_inbound_rates(servers) for _ in range(size.runs)]
    delivered = [_delivery_rates(servers) for _ in range(size.runs)]
    applied = [_destination_rates(servers) for _ in range(size.runs)]
    processed = [_bulk_rates(servers) for _ in range(size.runs)]
    return [
        _figure("relay: events, of plain XADD", "events/s", relayed),
        _figure("request stream: stored, of plain XREADGROUP", "requests/s", received),
        _figure("webhooks: delivered, of a plain POST", "messages/s", delivered),
        _figure("destination: states that arrived, of a plain POST", "states/s", applied),
        _figure("bulk with relay and a webhook, of without", "rows/s", processed, AT_LEAST_PERCENT),
    ]


def _figure(
    name: str, unit: str, rates: list[tuple[float, float]], at_least: float | None = None
) -> Figure:
    return Figure(
        name,
        "%",
        [100 * ours / baseline for ours, baseline in rates],
        at_least=at_least,
        ours=rate([ours for ours, _ in rates], unit),
        baseline=rate([baseline for _, baseline in rates], unit),
    )


def _relay_rates(servers: Servers) -> tuple[float, float]:
    """Returns events per second from the database to the stream, and by plain XADD."""
    settings = {
        "ENROLL_EVENT_STREAM": EVENT_STREAM,
        "ENROLL_EVENT_STREAM_LENGTH": str(2 * EVENTS),
    }
    with (
        servers.database() as url,
        service(servers, url, workers=1, **settings) as made,
        redis.Redis.from_url(servers.redis) as client,
    ):
        _until_relay_has_begun(made, url)
        made.load_courses(courses())
        made.until_ended(made.submit(long_file(EVENTS)))
        with made.beat():
            ours = _pace(lambda: client.xlen(EVENT_STREAM), EVENTS)
        return ours, _plain_xadd_rate(client)


def _until_relay_has_begun(made: Service, url: str) -> None:
    """Lets a relay store its first position."""
    with made.beat(), counting(url, _POSITIONS) as positions:
        _wait(lambda: positions() > 0)


def _plain_xadd_rate(client: redis.Redis) -> float:
    """Appends the same entries to another stream, a transaction for each portion."""
    found: Any = client.xrange(EVENT_STREAM, count=EVENTS)
    start = time.perf_counter()
    for first in range(0, len(found), ADDED_AT_ONCE):
        with client.pipeline(transaction=True) as pipeline:
            for _, fields in found[first : first + ADDED_AT_ONCE]:
                pipeline.xadd(COPY, fields, maxlen=2 * EVENTS, approximate=True)
            pipeline.execute()
    return len(found) / (time.perf_counter() - start)


def _inbound_rates(servers: Servers) -> tuple[float, float]:
    """Returns requests per second from the stream to the database, and by plain XREADGROUP."""
    with (
        servers.database() as url,
        service(servers, url, ENROLL_REQUEST_STREAM=REQUEST_STREAM) as made,
        redis.Redis.from_url(servers.redis) as client,
    ):
        _append_requests(client, REQUEST_STREAM, made.key)
        with made.beat():
            ours = _pace(lambda: ENTRIES - client.xlen(REQUEST_STREAM), ENTRIES)
        return ours, _plain_read_rate(client, made.key)


def _append_requests(client: redis.Redis, stream: str, key: str) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for number in range(ENTRIES):
            request = json.dumps({"user": f"u{number:06d}", "course_id": COURSE})
            pipeline.xadd(stream, {"key": key, "request": request})
        pipeline.execute()


def _plain_read_rate(client: redis.Redis, key: str) -> float:
    """Reads, acknowledges and deletes as many entries."""
    _append_requests(client, COPY, key)
    client.xgroup_create(COPY, "bench", id="0")
    start, read = time.perf_counter(), 0
    while read < ENTRIES:
        found: Any = client.xreadgroup("bench", "one", {COPY: ">"}, count=READ_AT_ONCE)
        ids = [entry_id for entry_id, _ in found[0][1]]
        with client.pipeline(transaction=True) as pipeline:
            pipeline.xack(COPY, "bench", *ids)
            pipeline.xdel(COPY, *ids)
            pipeline.execute()
        read += len(ids)
    return ENTRIES / (time.perf_counter() - start)


def _delivery_rates(servers: Servers) -> tuple[float, float]:
    """Returns messages per second from the database to one receiver, and by plain requests."""
    with (
        servers.database() as url,
        _receiver() as receiver,
        service(servers, url, workers=1, **_LOCAL) as made,
    ):
        _register(made, receiver)
        made.load_courses(courses())
        made.until_ended(made.submit(long_file(MESSAGES)))
        with made.beat():
            ours = _pace(lambda: _received(receiver), MESSAGES)
        with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            body = made.http.get("/changes?since=0&limit=1").content
            start = time.perf_counter()
            for _ in range(MESSAGES):
                client.post(receiver, content=body).raise_for_status()
            return ours, MESSAGES / (time.perf_counter() - start)


def _destination_rates(servers: Servers) -> tuple[float, float]:
    """Returns states per second from the database to an LMS, and by plain requests."""
    with (
        servers.database() as url,
        _receiver() as lms,
        service(servers, url, workers=1, **_LOCAL) as made,
    ):
        members = {"kind": "openedx", "url": lms, "auth": {"api_key": "bench"}}
        made.http.put("/destinations/lms", json=members).raise_for_status()
        made.load_courses(courses())
        made.until_ended(made.submit(long_file(MESSAGES)))
        with made.beat():
            ours = _pace(lambda: _received(lms), MESSAGES)
        body = {"user": "ada", "is_active": True, "course_details": {"course_id": COURSE}}
        with httpx.Client(timeout=TIMEOUT_SECONDS, trust_env=False) as client:
            start = time.perf_counter()
            for _ in range(MESSAGES):
                client.post(f"{lms}{STATE_PATH[1:]}", json=body).raise_for_status()
            return ours, MESSAGES / (time.perf_counter() - start)


def _bulk_rates(servers: Servers) -> tuple[float, float]:
    """Returns rows per second with and without messages, both beside beat."""
    with _receiver() as receiver:
        ours = _bulk_rate(servers, receiver)
    return ours, _bulk_rate(servers, None)


def _bulk_rate(servers: Servers, receiver: str | None) -> float:
    sample = repeated(term(), ROWS)
    settings = {**_LOCAL, "ENROLL_EVENT_STREAM": EVENT_STREAM} if receiver else {}
    with servers.database() as url, service(servers, url, workers=1, **settings) as made:
        if receiver:
            _register(made, receiver)
            _until_relay_has_begun(made, url)
        made.load_courses(sample.courses)
        with made.beat():
            start = time.perf_counter()
            made.until_ended(made.submit(sample.content))
            return len(sample.rows) / (time.perf_counter() - start)


@contextmanager
def _receiver() -> Iterator[str]:
    """Runs a receiver of webhooks; yields its URL."""
    with (
        working_folder(on_disk=True) as folder,
        server("bench.bare_receiver", environment={}, path="/", folder=folder) as (port, _),
    ):
        yield f"http://127.0.0.1:{port}/"


def _register(made: Service, receiver: str) -> None:
    made.http.post("/webhooks", json={"url": receiver}).raise_for_status()


def _received(receiver: str) -> int:
    return int(httpx.get(receiver, trust_env=False).text)


def _pace(count: Callable[[], Any], total: int) -> float:
    """Returns how much a count grows in a second, from its first step until it is the total."""
    _wait(lambda: count() > 0)
    first, start = count(), time.perf_counter()
    _wait(lambda: count() >= total)
    return float((total - first) / (time.perf_counter() - start))


def _wait(holds: Callable[[], bool]) -> None:
    """Waits until it holds. Raises RuntimeError after `PATIENCE_SECONDS`."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError("messages did not arrive")
        time.sleep(POLL_SECONDS)
