"""Threads that repeat a step outlive failures, log them once, rest, wake, and end when told to."""

import threading
from functools import partial

import pytest
from redis import RedisError
from structlog.testing import capture_logs

from enrollment.domain.errors import DatabaseUnavailable
from enrollment.runtime.settings import from_env
from worker.background.repeating_thread import (
    LoopEvents,
    Pauses,
    RepeatingThread,
    stop_together,
)
from worker.inbound.service import make_loops, reply_streams

EVENTS = LoopEvents("loop.interrupted", "loop.failed", "loop.resumed")
AN_HOUR = 3_600.0

make_thread = partial(RepeatingThread, "t", events=EVENTS, pauses=Pauses(0.0, 0.0))


@pytest.fixture
def run():
    """Runs a thread until an event, and shows that it ends."""
    with capture_logs() as logs:

        def run_until(thread, done):
            thread.start()
            assert done.wait(10)
            thread.stop()
            assert not thread.is_alive()
            return [line["event"] for line in logs]

        yield run_until


def scripted(results):
    """Returns a step that raises or returns what is given, and an event for its end."""
    done = threading.Event()

    def step():
        if not results:
            done.set()
            return AN_HOUR
        result = results.pop(0)
        if isinstance(result, Exception):
            raise result
        return result

    return step, done


@pytest.mark.parametrize(
    ("failure", "event"),
    [
        (RedisError("away"), "loop.interrupted"),
        (DatabaseUnavailable("away"), "loop.interrupted"),
        (ConnectionResetError(), "loop.interrupted"),
        (KeyError("bug"), "loop.failed"),
    ],
)
def test_a_failure_is_logged_once_and_its_end(failure, event, run):
    step, done = scripted([failure, failure, 0.0, failure, 0.0])

    assert run(make_thread(step), done) == [event, "loop.resumed"] * 2


def test_an_error_of_the_program_behind_an_outage_is_logged(run):
    step, done = scripted([RedisError("away"), KeyError("bug"), KeyError("bug"), 0.0])

    logged = run(make_thread(step), done)
    assert logged == ["loop.interrupted", "loop.failed", "loop.resumed"]


def test_a_rest_ends_when_the_thread_is_woken(run):
    step, done = scripted([AN_HOUR])
    thread = make_thread(step)
    thread.wake()  # before the step that looks: nothing is lost, and nothing is kept
    waker = threading.Event()

    def wake():
        while not done.is_set():
            thread.wake()
            waker.wait(0.01)

    threading.Thread(target=wake, daemon=True).start()
    assert run(thread, done) == []


def test_a_short_rest_is_not_cut_short_but_ends_with_the_thread(run):
    steps, started = [], threading.Event()

    def step():
        steps.append(1)
        started.set()
        return AN_HOUR

    thread = make_thread(step, unwoken_rest=AN_HOUR)
    thread.start()
    assert started.wait(10)
    thread.wake()
    thread.stop()
    assert not thread.is_alive()
    assert steps == [1]


def test_the_last_call_is_made_after_the_last_step_and_may_fail(run):
    calls = []
    step, done = scripted([0.0])

    def end():
        calls.append("end")
        raise RedisError("away")

    thread = make_thread(lambda: calls.append("step") or step(), at_end=end)
    assert run(thread, done) == ["loop.interrupted"]
    assert calls == ["step", "step", "end"]


def test_threads_end_together_also_those_that_never_began():
    started = [threading.Event(), threading.Event()]

    def step_of(event):
        def step():
            event.set()
            return AN_HOUR

        return step

    threads = [make_thread(step_of(event)) for event in started]
    for thread, event in zip(threads, started, strict=True):
        thread.start()
        assert event.wait(10)
    stop_together([*threads, make_thread(step_of(threading.Event()))])
    assert not [thread for thread in threads if thread.is_alive()]


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
    assert [thread.name for thread in made.threads] == names
