"""Threads of the way in: they outlive failures, which are logged once, and end when told to."""

import threading

import pytest
from redis import RedisError
from structlog.testing import capture_logs

from enrollment.runtime.settings import from_env
from worker.inbound import loops
from worker.inbound.loops import RepeatingThread
from worker.inbound.service import make_loops, reply_streams


@pytest.mark.parametrize(
    ("failure", "event"), [(RedisError("away"), "interrupted"), (KeyError("bug"), "failed")]
)
def test_a_failure_is_logged_once_and_its_end(failure, event, monkeypatch):
    monkeypatch.setattr(loops, "FAILURE_PAUSE", 0.0)
    results = [failure, failure, None, failure, None]
    done = threading.Event()

    def step():
        if not results:
            done.set()
            return 60.0
        result = results.pop(0)
        if result is not None:
            raise result
        return 0.0

    thread = RepeatingThread("t", step)
    with capture_logs() as logs:
        thread.start()
        assert done.wait(10)
        thread.stop()

    assert [line["event"] for line in logs] == [f"inbound.{event}", "inbound.resumed"] * 2
    assert not thread._thread.is_alive()


@pytest.mark.parametrize(
    ("settings", "prefix", "names"),
    [
        ({}, None, []),
        ({"ENROLL_REQUEST_STREAM": "in"}, "in:reply:", ["replies", "requests"]),
        ({"ENROLL_REPLY_PREFIX": "out:"}, "out:", ["replies"]),
        (
            {"ENROLL_REQUEST_STREAM": "in", "ENROLL_REPLY_PREFIX": "i"},
            "i",
            ["replies", "requests"],
        ),
    ],
)
def test_settings_decide_which_loops_run(settings, prefix, names):
    read = from_env(settings)
    replies = reply_streams(read)
    made = make_loops(read, None, None)

    assert replies.prefix == prefix
    assert not replies.allows("in")
    assert not replies.allows("in:dead")
    assert replies.allows(f"{prefix}x") == (prefix is not None)
    assert [thread._name for thread in made.threads] == names
