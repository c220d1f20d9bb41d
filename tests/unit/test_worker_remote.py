"""The application with which tools look at workers."""

import importlib
from threading import Thread

from tests.support.breakpoints import PATIENCE
from worker import remote


def test_a_tool_asks_workers_from_many_threads_at_once(redis_url, monkeypatch):
    monkeypatch.setenv("ENROLL_REDIS_URL", redis_url)
    app = importlib.reload(remote).app
    asked = [Thread(target=app.control.ping, args=(), kwargs={"timeout": 0.1}, daemon=True)]
    asked += [Thread(target=app.control.enable_events, daemon=True) for _ in range(7)]
    asked += [Thread(target=app.control.inspect(timeout=0.1).stats, daemon=True) for _ in range(4)]

    for thread in asked:
        thread.start()
    for thread in asked:
        thread.join(PATIENCE)

    assert not any(thread.is_alive() for thread in asked)
