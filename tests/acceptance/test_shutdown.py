"""SIGTERM of a served gateway: no request is lost, and no caller waits for it."""

import signal
import time

import httpx
import pytest

from tests.support.raw_http import EDX_KEY, Raw, request, served, status_of
from tests.support.service_processes import is_ready, wait_until

API = "/api/enrollment/v1"
KEY = f"X-Edx-Api-Key: {EDX_KEY}"
JSON_TYPE = "Content-Type: application/json"
BODY = b'{"user": "ada", "course_details": {"course_id": "course-v1:a+b+c"}}'
LENGTH = f"Content-Length: {len(BODY)}"
ENROLL = f"POST {API}/enrollment"
#: Seconds that a busy machine may add to an answer that must come at once.
SLACK = 4.0


@pytest.fixture
def stored(tmp_path):
    """The path of a submission that no worker processes."""
    with served(tmp_path, "--drain-seconds", "0") as gateway:
        with Raw(gateway.port) as connection:
            connection.send(request(ENROLL, JSON_TYPE, KEY, LENGTH, body=BODY))
            head = connection.read_response().decode()
        assert gateway.end() == 0
    return head.partition("location: ")[2].partition("\r\n")[0]


def begun(gateway, *parts):
    """Opens a connection and sends a request."""
    return Raw(gateway.port).send(request(*parts))


def test_whoever_waits_is_answered_and_uploads_end(tmp_path, stored):
    file = b"user,course_id\nada,course-v1:a+b+c\n"
    with served(tmp_path, "--drain-seconds", "0") as gateway:
        waiter = Raw(gateway.port).send(
            request(ENROLL, JSON_TYPE, KEY, LENGTH, "Prefer: wait=60", body=BODY)
        )
        poll = begun(gateway, f"GET {stored}", KEY, "Prefer: wait=60")
        stream = begun(gateway, f"GET {stored}/events", KEY)
        upload = begun(
            gateway,
            f"POST {API}/submissions",
            "Content-Type: text/csv",
            KEY,
            f"Content-Length: {len(file)}",
        ).send(file[:5])
        idle = begun(gateway, "GET /livez")
        with waiter, poll, stream, upload, idle:
            idle.read_response()
            stream.read_until(lambda got: b"event: progress" in got)
            wait_until(lambda: requests_begun(stored, gateway) >= 2, gateway.log)
            gateway.process.send_signal(signal.SIGTERM)
            began = time.monotonic()

            assert status_of(waiter.read()) == 202
            assert b"\r\nlocation: " in waiter.received
            assert status_of(poll.read()) == 200
            assert b'"state":"queued"' in poll.received
            assert stream.read().endswith(b"\r\n0\r\n\r\n")
            assert b": the server is shutting down; reconnect" in stream.received
            idle.read()
            assert time.monotonic() - began < SLACK

            upload.send(file[5:])
            assert status_of(upload.read()) == 202
        assert gateway.process.wait(30) == 0
        assert gateway.records("error") == gateway.records("critical") == []


def requests_begun(stored, gateway):
    """The number of stored submissions: the waiter's is one of them."""
    with Raw(gateway.port) as connection:
        connection.send(request(f"GET {API}/submissions", KEY, "Connection: close"))
        return connection.read().count(b'"submission_id"')


def test_readyz_says_that_the_gateway_drains(tmp_path):
    with served(tmp_path, "--drain-seconds", "3") as gateway:
        gateway.process.send_signal(signal.SIGTERM)
        wait_until(lambda: not is_ready(gateway.url), gateway.log)

        answer = httpx.get(f"{gateway.url}/readyz")
        assert answer.status_code == 503
        assert answer.json()["status"] == "unready"
        assert answer.json()["findings"] == ["draining: the process is shutting down"]
        assert answer.headers["connection"] == "close"
        with Raw(gateway.port) as waiter:
            waiter.send(request(ENROLL, JSON_TYPE, KEY, LENGTH, "Prefer: wait=60", body=BODY))
            assert status_of(waiter.read()) == 202
        assert gateway.process.wait(30) == 0
        assert gateway.records("error") == []


def test_what_is_not_done_in_time_is_told_so(tmp_path):
    with served(tmp_path, "--drain-seconds", "0") as gateway:
        upload = begun(
            gateway, f"POST {API}/submissions", "Content-Type: text/csv", KEY, "Content-Length: 99"
        )
        with upload:
            upload.send(b"user,course_id\n")
            assert gateway.end() == 0
            answer = upload.read()

        assert status_of(answer) == 503
        assert b"application/problem+json" in answer
        assert gateway.records("error") == gateway.records("critical") == []
        cut_off = [each for each in gateway.records() if each["event"] == "gateway.cut_off"]
        assert [each["requests"] for each in cut_off] == [1]
