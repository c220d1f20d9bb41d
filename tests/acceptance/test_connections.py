"""Connections of a served gateway: how long they may take, how much they may send, how many."""

import re
import resource
import select
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.support.raw_http import EDX_KEY, Raw, ServedGateway, request, served, status_of
from tests.support.service_processes import ENROLL, PATIENCE, needs_proc, wait_until

API = "/api/enrollment/v1"
POST = f"POST {API}/enrollment"
JSON_TYPE = "Content-Type: application/json"
KEY = f"X-Edx-Api-Key: {EDX_KEY}"
CHUNKED = "Transfer-Encoding: chunked"
MANY_HEADERS = b"".join(b"X-%07d: v\r\n" % number for number in range(4000))
MEGABYTE = 2**20
OPEN_HEAD = b"GET /livez HTTP/1.1\r\nHost: x\r\n"
OPEN_TRAILERS = request("POST /livez", CHUNKED, body=b"2\r\n{}\r\n0\r\n")
#: Starts a program that may have 100 descriptors, and give itself 200.
WITH_FEW_DESCRIPTORS = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 200))
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""
#: Seconds that a busy machine may add.
SLACK = 8.0


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    """A gateway with its shipped limits."""
    with served(tmp_path_factory.mktemp("gateway")) as made:
        yield made


def ended(gateway, sent):
    """Sends bytes and reads until the gateway closes; returns the answer and the seconds."""
    with Raw(gateway.port) as connection:
        connection.send(sent)
        return connection.read(), connection.closed_after


SLOW = {
    "silent": (b"", 0, 10),
    "half a request line": (b"GET /liv", 408, 10),
    "half a header": (OPEN_HEAD + b"X: b", 408, 10),
    "a head without its body": (request(POST, JSON_TYPE, "Content-Length: 9"), 408, 10),
    "the same with a key": (request(POST, JSON_TYPE, KEY, "Content-Length: 9"), 408, 10),
    "a file without its body": (
        request(f"POST {API}/submissions", "Content-Type: text/csv", KEY, "Content-Length: 9"),
        408,
        10,
    ),
    "a chunked body that does not begin": (request(POST, JSON_TYPE, KEY, CHUNKED), 408, 10),
    "half of a later head": (request("GET /livez") + OPEN_HEAD, 200, 10),
    "no later request": (request("GET /livez"), 200, 5),
    "trailers that do not end": (OPEN_TRAILERS + b"X: y\r\n", 405, 10),
}


def test_slow_connections_end(gateway):
    with ThreadPoolExecutor(len(SLOW)) as pool:
        asked = {name: pool.submit(ended, gateway, sent) for name, (sent, _, _) in SLOW.items()}
        found = {name: future.result() for name, future in asked.items()}
    for name, (_, status, seconds) in SLOW.items():
        answer, after = found[name]
        assert status_of(answer) == status, name
        assert seconds - 1 < after < seconds + SLACK, name


@pytest.mark.slow
@needs_proc
@pytest.mark.timeout(240)
def test_a_connection_that_reads_nothing_ends_and_a_slow_reader_stays(gateway):
    many = request("GET /openapi.json") * 500
    with Raw(gateway.port) as silent, Raw(gateway.port) as slow:
        for connection in (silent, slow):
            connection.socket.settimeout(0)
            with suppress(BlockingIOError):
                connection.socket.sendall(many)
            connection.socket.settimeout(PATIENCE)
        ends_at = time.monotonic() + 60 + 5 * SLACK
        while gateway_has(gateway, silent) and time.monotonic() < ends_at:
            assert select.select([slow.socket], [], [], PATIENCE)[0]
            assert slow.socket.recv(200_000)
            time.sleep(0.5)  # the pace of the slow reader

        assert not gateway_has(gateway, silent)
        assert gateway_has(gateway, slow)
        assert slow.socket.recv(200_000)
    assert gateway.records("error") == []


def gateway_has(gateway, connection):
    """Returns whether the gateway has the other end of a connection open."""
    port = f"{connection.socket.getsockname()[1]:04X}"
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    own = f":{gateway.port:04X}"
    return any(row[1].endswith(own) and row[2].endswith(f":{port}") for row in rows)


LONG = {
    "headers": OPEN_HEAD + MANY_HEADERS * 2,
    "one header": OPEN_HEAD + b"X: " + b"y" * MEGABYTE,
    "a URL": b"GET /" + b"y" * MEGABYTE,
    "a method": b"Y" * MEGABYTE,
    "trailers": OPEN_TRAILERS + MANY_HEADERS * 8,
    "a chunk extension": request("POST /livez", CHUNKED, body=b"2;x=" + b"y" * MEGABYTE),
    "a head that is complete": request("GET /livez", f"X: {'y' * 40_000}"),
    "a URL that is complete": request(f"GET /livez?{'y' * 40_000}"),
}


@pytest.mark.parametrize("sent", LONG.values(), ids=LONG.keys())
def test_long_heads_are_refused_at_once(gateway, sent):
    answer, after = ended(gateway, sent)

    assert {status_of(answer)} <= {431, 405, 400}
    assert b"connection: close" in answer or b" 405 " in answer
    assert after < SLACK


@pytest.mark.parametrize("size", [40_000, 65_531, 70_000, MEGABYTE])
def test_a_long_url_is_431(gateway, size):
    answer, _ = ended(gateway, request(f"GET /livez?{'y' * size}"))

    assert status_of(answer) == 431
    assert b"headers_too_large" in answer


REFUSED = {
    "malformed": (request("GET /livez", "X : 1"), 400),
    "no HTTP at all": (b"\x16\x03\x01\x00\xa5\x01\x00" * 20, 400),
    "two lengths": (request(POST, "Content-Length: 1", CHUNKED), 400),
    "a broken chunk": (request(POST, JSON_TYPE, KEY, CHUNKED, body=b"zz\r\n"), 400),
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    "many headers": (request("GET /livez", *(f"X-{n}: v" for n in range(200))), 431),
    "a long header": (request("GET /livez", f"X: {'y' * 100_000}"), 431),
    "a head that does not end": (OPEN_HEAD, 408),
    "a body that does not begin": (request(POST, JSON_TYPE, "Content-Length: 9"), 408),
}


def test_what_never_reaches_the_application_has_a_request_id_too(gateway):
    """Its own, if it sent one before its fault; and a made one is another each time."""
    own = b"HTTP/1.1\r\nX-Request-ID: mine\r\n"
    named = {name: sent.replace(b"HTTP/1.1\r\n", own, 1) for name, (sent, _) in REFUSED.items()}
    plain = {name: sent for name, (sent, _) in REFUSED.items()}
    with ThreadPoolExecutor(2 * len(REFUSED)) as pool:
        taken = pool.map(lambda sent: ended(gateway, sent)[0], named.values())
        made = pool.map(lambda sent: ended(gateway, sent)[0], plain.values())
        answers = list(zip(REFUSED, taken, made, strict=True))

    for name, with_own, without in answers:
        assert status_of(with_own) == status_of(without) == REFUSED[name][1], name
        assert request_ids(with_own) == [b"mine"] or REFUSED[name][0][:1] == b"\x16", name
    assert len({request_ids(without)[0] for _, _, without in answers}) == len(REFUSED)


def request_ids(answer):
    return re.findall(rb"\r\nx-request-id: (\S+)\r\n", answer)


@needs_proc
@pytest.mark.parametrize("begin", [OPEN_HEAD, OPEN_TRAILERS], ids=["headers", "trailers"])
def test_64_megabytes_of_headers_take_no_memory(tmp_path, begin):
    with served(tmp_path) as gateway:
        send_64_megabytes(gateway, begin)


def send_64_megabytes(gateway, begin):
    before = gateway.rss()
    with Raw(gateway.port) as connection:
        connection.send(begin)
        if begin == OPEN_TRAILERS:  # in time they would be headers, which are bounded
            assert status_of(connection.read_response()) == 405
        for _ in range(64 * MEGABYTE // len(MANY_HEADERS)):
            connection.send(MANY_HEADERS)
        assert status_of(connection.read()) in {431, 405}

    assert gateway.rss() - before < 10 * MEGABYTE


def test_a_key_in_a_trailer_does_not_authenticate(gateway):
    chunk = b"2\r\n{}\r\n0\r\n" + f"{KEY}\r\n\r\n".encode()
    with Raw(gateway.port) as connection:
        connection.send(request(POST, JSON_TYPE, CHUNKED, body=chunk))

        assert status_of(connection.read_response()) == 401


def test_a_trailer_does_not_spoil_a_request(gateway):
    chunk = b"2\r\n{}\r\n0\r\n" + b"X-Edx-Api-Key: another\r\n\r\n"
    with Raw(gateway.port) as connection:
        connection.send(request(POST, JSON_TYPE, KEY, CHUNKED, body=chunk))
        assert status_of(connection.read_response()) == 400  # the body lacks the course

        connection.received = b""
        connection.send(request("GET /livez"))
        assert status_of(connection.read_response()) == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (request("GET /livez", host=""), 400),
        (request("GET /livez", "Host: y"), 400),
        (b"GET /livez HTTP/1.0\r\n\r\n", 200),
        (request("POST /livez", "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), 400),
        (request("POST /livez", CHUNKED, CHUNKED, body=b"0\r\n\r\n"), 400),
        (request("POST /livez", "Transfer-Encoding: identity"), 400),
        (request("POST /livez", CHUNKED, "Content-Length: 5", body=b"0\r\n\r\n"), 400),
        (request("POST /livez", "Content-Length: 0", "Content-Length: 1", body=b"x"), 400),
        (request("POST /livez", "Transfer-Encoding: Chunked", body=b"0\r\n\r\n"), 405),
        (b"no request at all\r\n\r\n", 400),
        (request("GET /livez", "Upgrade: h2c", "Connection: upgrade"), 200),
    ],
)
def test_what_a_request_must_say_of_itself(gateway, sent, status):
    with Raw(gateway.port) as connection:
        assert status_of(connection.send(sent).read_response()) == status


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (["X-Edx-Api-Key: wrong", "Content-Length: 2"], 401),
        ([KEY, "Content-Length: 9000000"], 413),
        ([KEY, "Content-Length: 2", "Content-Encoding: br"], 415),
    ],
)
def test_who_is_refused_is_not_asked_for_the_body(gateway, headers, status):
    with Raw(gateway.port) as connection:
        connection.send(request(POST, JSON_TYPE, "Expect: 100-continue", *headers))
        answer = connection.read()

    assert status_of(answer) == status  # not 100
    assert b"\r\nconnection: close\r\n" in answer


def test_a_key_whose_first_request_is_still_coming_in_is_409(gateway):
    body = b"user,course_id\nann,course-v1:A+B+C\n"
    lines = (KEY, "Content-Type: text/csv", "Idempotency-Key: one", f"Content-Length: {len(body)}")
    start = f"POST {API}/submissions"
    with Raw(gateway.port) as first, Raw(gateway.port) as second:
        first.send(request(start, *lines, "Expect: 100-continue"))
        assert status_of(first.read_until(lambda seen: b"\r\n\r\n" in seen)) == 100
        refused = second.send(request(start, *lines, body=body)).read_response()
        taken = first.send(body).read_until(lambda seen: b" 202 " in seen)

    assert (status_of(refused), b"idempotency_key_in_flight" in refused) == (409, True)
    assert b"\r\nretry-after: 1\r\n" in refused
    assert b"HTTP/1.1 202 Accepted" in taken


def test_a_wanted_body_is_asked_for(gateway):
    with Raw(gateway.port) as connection:
        connection.send(request(POST, JSON_TYPE, KEY, "Expect: 100-continue", "Content-Length: 2"))
        assert connection.read_until(lambda got: got.endswith(b"\r\n\r\n")).startswith(
            b"HTTP/1.1 100 Continue"
        )
        connection.received = b""
        assert status_of(connection.send(b"{}").read_response()) == 400


def test_hang_ups_are_quiet(tmp_path):
    partial_body = request(POST, JSON_TYPE, KEY, "Content-Length: 9", body=b"{")
    listing = request(f"GET {API}/submissions", KEY)
    with served(tmp_path) as gateway:
        for sent in (b"", OPEN_HEAD, partial_body, listing, listing * 20, request("GET /docs") * 9):
            for how in ((1, 0), (0, 0)):  # by RST, by FIN
                with Raw(gateway.port) as connection:
                    option = how[0].to_bytes(4, "little") + how[1].to_bytes(4, "little")
                    connection.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, option)
                    connection.send(sent)
        with Raw(gateway.port) as connection:
            assert status_of(connection.send(request("GET /livez")).read_response()) == 200
        assert gateway.end() == 0

        assert gateway.records("error") == gateway.records("critical") == []


def statuses_of(gateway, number):
    """Opens connections, asks on each, closes all; returns their answers."""
    with ExitStack() as stack:
        connections = [stack.enter_context(Raw(gateway.port)) for _ in range(number)]
        for each in connections:
            each.send(request("GET /livez"))
        return [each.read_response() for each in connections]


def refused(gateway):
    return [each for each in gateway.records() if each["event"] == "connection.refused"]


@pytest.mark.parametrize(
    ("setting", "limit"),
    [("ENROLL_MAX_CONNECTIONS", 20), ("ENROLL_MAX_CONNECTIONS_PER_ADDRESS", 10)],
)
def test_more_connections_than_allowed_are_refused(tmp_path, setting, limit):
    both = {"ENROLL_MAX_CONNECTIONS_PER_ADDRESS": "1000", setting: str(limit)}
    with served(tmp_path, **both) as gateway:
        answers = statuses_of(gateway, 30)
        wait_until(lambda: status_of(statuses_of(gateway, 1)[0]) == 200, gateway.log)

        assert [status_of(each) for each in answers].count(200) in range(limit - 2, limit + 1)
        for answer in answers:
            if status_of(answer) != 200:
                assert status_of(answer) == 503
                assert b"\r\nconnection: close\r\n" in answer
                assert len(answer) < 1_000
        warning, *others = refused(gateway)
        assert not others
        assert setting in warning["because"]


@needs_proc
def test_connections_are_refused_before_descriptors_run_out(tmp_path, monkeypatch):
    limited = [sys.executable, "-c", WITH_FEW_DESCRIPTORS, *ENROLL[1:]]
    monkeypatch.setattr(ServedGateway, "program", limited)
    with served(tmp_path) as gateway:
        assert resource.prlimit(gateway.process.pid, resource.RLIMIT_NOFILE) == (200, 200)
        statuses = [status_of(each) for each in statuses_of(gateway, 300)]

        assert set(statuses) == {200, 503}
        assert len(refused(gateway)) == 1
