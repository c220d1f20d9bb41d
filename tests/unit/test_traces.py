"""Traces: when they are on, what is needed for them, and what a span says."""

import subprocess
import sys

import pytest

from enrollment.runtime.tracing.span_values import SpanKind
from enrollment.runtime.tracing.spans import (
    ACTIVE,
    add_trace_headers,
    current_traceparent,
    open_span,
    span_in_each,
)
from enrollment.runtime.tracing.variables import (
    TraceSettingError,
    find_exporters,
    names_service,
    wanted_exporters,
)
from tests.support.recorded_spans import SPAN, TRACE, TRACEPARENT, ids, recorded_spans

ENDPOINT = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}
OTHER = f"00-{'b' * 32}-{'c' * 16}-01"


@pytest.mark.parametrize(
    ("variables", "exporters"),
    [
        ({}, ()),
        ({"OTEL_SERVICE_NAME": "x", "OTEL_TRACES_SAMPLER": "always_on"}, ()),
        (ENDPOINT, ("otlp_proto_http",)),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, ()),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://x/v1/traces"}, ("otlp_proto_http",)),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, ("otlp_proto_http",)),
        ({"OTEL_TRACES_EXPORTER": "console, otlp"}, ("console", "otlp_proto_http")),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ("otlp_proto_grpc",)),
        ({**ENDPOINT, "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, ("otlp_proto_http",)),
        ({**ENDPOINT, "OTEL_TRACES_EXPORTER": "none"}, ()),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "true"}, ()),
        ({**ENDPOINT, "OTEL_SDK_DISABLED": "false"}, ("otlp_proto_http",)),
    ],
)  # fmt: skip
def test_traces_are_on_where_the_usual_variables_ask_for_them(variables, exporters):
    assert wanted_exporters(variables) == exporters


def test_what_is_not_installed_is_named(monkeypatch):
    with pytest.raises(TraceSettingError, match="no exporter 'zipkin' here"):
        find_exporters({"OTEL_TRACES_EXPORTER": "zipkin"})
    with pytest.raises(TraceSettingError, match="known are http/protobuf, grpc"):
        find_exporters({**ENDPOINT, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"})
    assert [each.name for each in find_exporters(ENDPOINT)] == ["otlp_proto_http"]

    monkeypatch.setitem(sys.modules, "opentelemetry", None)
    with pytest.raises(TraceSettingError, match=r"pip install 'enrollment-service\[otel\]'"):
        find_exporters(ENDPOINT)
    assert find_exporters({}) == []


@pytest.mark.parametrize(
    ("variables", "names"),
    [
        ({}, False),
        ({"OTEL_RESOURCE_ATTRIBUTES": "host.name=a,service.version=2"}, False),
        ({"OTEL_SERVICE_NAME": "enroll"}, True),
        ({"OTEL_RESOURCE_ATTRIBUTES": "host.name=a, service.name=enroll"}, True),
    ],
)
def test_a_service_name_of_the_operator_is_kept(variables, names):
    assert names_service(variables) is names


STARTS = """
import sys
if "without" in sys.argv:
    sys.modules["opentelemetry"] = None
from celery.signals import beat_init, worker_process_init
from api_gateway import asgi
from enrollment.runtime.settings import from_env
from enrollment.storage.upkeep.heartbeats import ProcessKind
from worker.background.heartbeat import describe_this_process
from worker.bootstrap import build_app
from worker.process_traces import connect_traces
asgi.create()
for kind in ProcessKind:
    build_app(from_env(), describe_this_process(kind, "x", []))
beat_init.receivers, worker_process_init.receivers = [], []
for kind in ProcessKind:
    connect_traces(kind)
beat_init.send(None)
worker_process_init.send(None)
# redis-py imports the metrics of an SDK that is installed
parts = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "enrollment.runtime.tracing.recorder")
print([name for name in sys.modules if name.startswith(parts)])
"""


@pytest.fixture
def start_all(tmp_path):
    """Makes each kind of process in one, up to where it begins to work; returns what it printed."""

    def start(*words, **variables):
        environment = {
            "ENROLL_DATABASE_URL": f"sqlite:///{tmp_path / 'x.sqlite3'}",
            "ENROLL_DATA_DIR": str(tmp_path),
            **variables,
        }
        return subprocess.run(
            [sys.executable, "-c", STARTS, *words],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )

    return start


def test_opentelemetry_is_needed_only_where_traces_are_on(start_all):
    for words in ([], ["without"]):
        done = start_all(*words)
        assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr

    imported = start_all(**ENDPOINT).stdout
    assert "opentelemetry.exporter.otlp.proto.http.trace_exporter" in imported

    refused = start_all("without", **ENDPOINT)
    assert refused.returncode == 1
    assert "install the extra `otel`" in refused.stderr


def test_while_traces_are_off_nothing_is_added():
    headers: dict[str, str] = {}
    with open_span("a") as span, span_in_each("b", SpanKind.PRODUCER, [TRACEPARENT]):
        span.annotate({"x": 1})
        span.fail("code")
        add_trace_headers(headers)
        assert (ACTIVE.recorder, current_traceparent(), headers) == (None, None, {})


def test_a_span_is_a_child_of_its_parent_or_of_the_open_one():
    with recorded_spans() as spans:
        with open_span("outer", SpanKind.SERVER, parent=TRACEPARENT):
            context, headers = current_traceparent(), {}
            add_trace_headers(headers)
            with open_span("inner"):
                assert current_traceparent() != context
        assert current_traceparent() is None
    outer, inner = spans.the("outer"), spans.the("inner")
    assert ids(outer) == (TRACE, SPAN)
    assert ids(inner) == (TRACE, (context or "").split("-")[2])
    assert headers["traceparent"] == context


def test_work_for_many_is_a_span_in_each_of_their_traces():
    traces = [TRACEPARENT, OTHER]
    with recorded_spans() as spans, span_in_each("send", SpanKind.PRODUCER, traces, {"n": 1}):
        assert current_traceparent() is None
    assert [ids(span) for span in spans.named("send")] == [(TRACE, SPAN), ("b" * 32, "c" * 16)]
    first, second = spans.named("send")
    assert first.end_time == second.end_time


def test_an_error_is_named_by_its_class_alone():
    """Its text may have names of learners."""
    with (
        recorded_spans() as spans,
        pytest.raises(KeyError),
        open_span("a"),
        span_in_each("b", SpanKind.PRODUCER, [TRACEPARENT]),
    ):
        raise KeyError("ada@example.org")
    for span in spans.all():
        assert (span.attributes, span.events) == ({"error.type": "KeyError"}, ())
        assert not span.status.is_ok
        assert span.status.description is None


@pytest.mark.parametrize(
    "text", ["", "no", TRACEPARENT.upper(), f"00-{'0' * 32}-{SPAN}-01", "x" * 9_000]
)
def test_a_context_that_is_none_begins_a_trace(text):
    with recorded_spans() as spans, open_span("a", parent=text):
        assert len(current_traceparent() or "") == 55
    assert ids(spans.the("a"))[1] == ""
