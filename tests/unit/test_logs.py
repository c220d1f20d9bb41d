"""One JSON object a line, from us and from libraries; nothing secret, nothing that breaks a line."""

import io
import json
import logging
import warnings

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from enrollment.runtime import logs


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    monkeypatch.setattr(logging.getLogger("uvicorn.access"), "propagate", True)  # a server cuts it
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    logging.captureWarnings(capture=False)  # another test's gateway may have left it on
    yield
    logs.clear()
    structlog.reset_defaults()
    logging.captureWarnings(capture=False)
    root.handlers[:], root.level = before


def configured(level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    logs.configure(level, process="gateway", stream=stream)
    return stream


def fail(message: str) -> None:
    raise RuntimeError(message)


def records(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_record_says_what_happened_when_and_where():
    stream = configured()

    structlog.get_logger("worker.tasks").info("batch.answered", batch_id=3)

    (record,) = records(stream)
    assert str(record.pop("at")).endswith("Z")
    assert record == {
        "event": "batch.answered",
        "batch_id": 3,
        "level": "info",
        "logger": "worker.tasks",
        "process": "gateway",
    }


def test_libraries_speak_the_same_way():
    stream = configured()

    logging.getLogger("uvicorn.error").warning("Stopping %s", "now")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("this is old", stacklevel=1)

    first, second = records(stream)
    assert (first["event"], first["level"], first["logger"]) == (
        "Stopping now",
        "warning",
        "uvicorn.error",
    )
    assert "this is old" in str(second["event"])


@pytest.mark.parametrize(
    ("level", "heard"),
    [
        ("debug", ["debug", "info", "warning", "error"]),
        ("info", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("error", ["error"]),
    ],
)
def test_the_level_decides_what_is_heard(level, heard):
    stream = configured(level)

    for name in ("debug", "info", "warning", "error"):
        getattr(structlog.get_logger("a"), name)("said")

    assert [record["level"] for record in records(stream)] == heard


@pytest.mark.parametrize("name", ["httpx", "celery.app.trace", "uvicorn.access"])
def test_libraries_that_tell_of_everything_tell_warnings_only(name):
    stream = configured("debug")

    logging.getLogger(name).info("one more")
    logging.getLogger(name).warning("careful")

    assert [record["event"] for record in records(stream)] == ["careful"]


def test_what_is_bound_is_in_every_record_until_it_is_cleared():
    stream = configured()

    logs.bind(request_id="r-1")
    structlog.get_logger("a").info("one")
    logging.getLogger("b").warning("two")
    logs.clear()
    structlog.get_logger("a").info("three")

    assert [record.get("request_id") for record in records(stream)] == ["r-1", "r-1", None]


def test_a_failure_comes_with_its_traceback_in_the_same_line():
    stream = configured()

    try:
        fail("broken")
    except RuntimeError:
        structlog.get_logger("a").exception("task.failed")

    (record,) = records(stream)
    assert record["event"] == "task.failed"
    assert "RuntimeError: broken" in str(record["exception"])


KEY = "enr_" + "k" * 43
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl"


@pytest.mark.parametrize(
    ("fields", "secret"),
    [
        pytest.param({"url": "redis://:hunter2@127.0.0.1:1/0"}, "hunter2", id="redis-url"),
        pytest.param({"url": "postgresql://u:hunter2@h/d"}, "hunter2", id="database-url"),
        pytest.param({"said": f"key {KEY} refused"}, KEY, id="api-key"),
        pytest.param({"said": f"JWT {JWT}"}, JWT, id="token"),
        pytest.param({"password": "hunter2"}, "hunter2", id="by-name"),
        pytest.param({"nested": {"url": "redis://:hunter2@h:1"}}, "hunter2", id="nested"),
    ],
)
def test_secrets_are_not_written(fields, secret):
    stream = configured()

    structlog.get_logger("a").info("said", **fields)
    try:
        fail(str(fields))
    except RuntimeError:
        if "password" not in fields:
            logging.getLogger("b").exception("failed with %s", fields)

    assert secret not in stream.getvalue()
    assert "***" in stream.getvalue()


@given(value=st.text() | st.binary() | st.lists(st.text()) | st.dictionaries(st.text(), st.text()))
def test_no_value_can_end_the_line_or_speak_to_a_terminal(value):
    stream = configured()

    structlog.get_logger("a").info("said", value=value)

    written = stream.getvalue()
    assert written.endswith("\n")
    assert all(" " <= sign <= "\x7f" for sign in written[:-1])
    assert json.loads(written)["event"] == "said"


def test_a_long_text_is_cut_in_the_middle():
    stream = configured()

    structlog.get_logger("a").info("said", value="a" * 50_000 + "z")

    (record,) = records(stream)
    assert len(str(record["value"])) < logs.MAX_FIELD_LENGTH + 10
    assert str(record["value"]).endswith("z")


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_on_a_terminal_lines_are_for_people_and_still_masked_and_safe():
    stream = Terminal()
    logs.configure("info", process="gateway", stream=stream)

    log = structlog.get_logger("x")
    log.warning("queue.unreachable", because="redis://u:hunter2@h\x1b[31m\nsecond", number=3)
    try:
        fail("enr_0123456789abcdefgh\x1b]0;x")
    except RuntimeError:
        log.exception("request.failed")

    first, second, *traceback = stream.getvalue().splitlines()
    assert first[8:] == (
        r' WARNING gateway    queue.unreachable because="redis://u:***@h\u001b[31m\nsecond" number=3'
    )
    assert second.endswith(" ERROR   gateway    request.failed")
    assert traceback[0] == "    Traceback (most recent call last):"
    assert traceback[-1] == r"    RuntimeError: enr_***\u001b]0;x"
