"""Access records and failed authentications: what they say, whom they do not name, how many."""

import asyncio
import io
import json
import logging
from types import SimpleNamespace

import pytest
from structlog.testing import capture_logs

from api_gateway.auth.caller import Caller
from api_gateway.http.observation.access_log import CONTEXT, MAX_WAITING, TEMPLATE, AccessLog
from api_gateway.http.observation.failure_log import MAX_RECORDS, PERIOD_SECONDS, FailureLog
from api_gateway.http.problems import unauthenticated
from enrollment.domain.codes import CallerKind
from enrollment.runtime import logs
from tests.support.manual_clock import ManualClock

KEY = Caller("key:sis-nightly", CallerKind.SERVER)
PERSON = Caller("user:ada", CallerKind.STAFF, username="ada")


@pytest.fixture(autouse=True)
def restored():
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before


def scope_of(caller=None, request_id="r-1"):
    context = SimpleNamespace(caller=caller, request_id=request_id)
    return {"method": "GET", TEMPLATE: "/learners/{username}", CONTEXT: context}


def written(*scopes, stream=None):
    """Returns the lines of a log after responses to requests with these scopes."""
    stream = stream or io.StringIO()
    logs.configure("info", process="gateway", stream=stream)

    async def respond():
        log = AccessLog()
        for scope in scopes:
            log.note(scope, 200, 0.00125)
        assert stream.getvalue() == ""
        log.write()
        log.write()

    asyncio.run(respond())
    return stream.getvalue().splitlines()


def test_a_record_says_who_asked_for_what_and_how_long_it_took():
    (record,) = map(json.loads, written(scope_of(KEY)))

    assert record.pop("at").endswith("Z")
    assert record == {
        "event": "request.done",
        "method": "GET",
        "route": "/learners/{username}",
        "status": 200,
        "ms": 1.25,
        "caller": "key:sis-nightly",
        "request_id": "r-1",
        "level": "info",
        "process": "gateway",
    }


@pytest.mark.parametrize(("caller", "shown"), [(PERSON, "staff"), (None, None)])
def test_a_record_names_no_person(caller, shown):
    (record,) = map(json.loads, written(scope_of(caller)))

    assert record["caller"] == shown
    assert "ada" not in str(record)


def test_a_request_that_was_refused_at_the_door_has_a_record():
    (record,) = map(json.loads, written({"method": "GET"}))

    assert (record["route"], record["caller"], record["request_id"]) == (None, None, None)


@pytest.mark.parametrize("hostile", ["enr_" + "x" * 43, "é\u2028\x7f\n\x1b[2J"])
def test_nothing_in_a_record_shows_a_secret_or_breaks_the_line(hostile):
    lines = written(scope_of(Caller(f"key:{hostile}", CallerKind.SERVER)), scope_of(KEY))

    assert [json.loads(line)["event"] for line in lines] == ["request.done"] * 2
    assert hostile not in lines[0]
    assert lines[0].isascii()
    assert lines[0].isprintable()


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_records_are_for_people():
    (line,) = written(scope_of(KEY), stream=Terminal())

    assert line[8:].startswith(' INFO    gateway    request.done method="GET"')


def test_many_records_are_written_at_once_without_delay():
    together = []

    async def respond():
        log = AccessLog(lambda records: together.append(len(list(records))))
        for _ in range(MAX_WAITING + 1):
            log.note(scope_of(KEY), 200, 0.001)
        assert together == [MAX_WAITING]

    asyncio.run(respond())


def test_failures_are_logged_at_a_bounded_rate_and_the_others_counted():
    clock = ManualClock()
    failures = FailureLog(clock)

    with capture_logs() as records:
        for _ in range(MAX_RECORDS + 5):
            failures.note("192.0.2.7", "request", unauthenticated("The API key is not valid."))
        clock.now += PERIOD_SECONDS
        failures.note("192.0.2.7", "console", unauthenticated("The API key is not valid."))

    assert len(records) == MAX_RECORDS + 1
    assert records[-1] == {
        "event": "auth.failed",
        "log_level": "warning",
        "address": "192.0.2.7",
        "way": "console",
        "reason": "The API key is not valid.",
        "code": records[0]["code"],
        "not_logged": 5,
    }
