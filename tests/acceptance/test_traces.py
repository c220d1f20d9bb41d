"""One trace of a whole service: from the request over the task to the webhook and the stream."""

import subprocess

import pytest
from celery import Celery
from kombu import Queue

from tests.support.otlp_receiver import OtlpReceiver
from tests.support.recorded_spans import SPAN, TRACE, TRACEPARENT
from tests.support.service import Service
from tests.support.service_processes import ENROLL, bare, open_course, wait_until
from tests.support.webhook_receiver import WebhookReceiver

COURSE = "course-v1:Uni+Traced+2026"
SECRETS = ("zuzanna", "Traced", "enr_", "key:")
#: Spans of a single request, each a child of the first.
OF_A_SINGLE = {
    ("enrollment-gateway", "store submission"),
    ("enrollment-gateway", "send batch"),
    ("enrollment-worker", "process batch"),
    ("enrollment-beat", "publish events"),
    ("enrollment-beat", "send webhook"),
}


@pytest.fixture
def collector():
    with OtlpReceiver() as receiver:
        yield receiver


@pytest.fixture
def hook():
    with WebhookReceiver() as receiver:
        yield receiver


@pytest.fixture
def service(tmp_path, redis_url, collector):
    settings = {
        "ENROLL_REDIS_URL": redis_url,
        "ENROLL_PRIVATE_DESTINATIONS": "true",
        "ENROLL_EVENT_STREAM": "enroll:traced",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "200",
    }
    with Service(tmp_path, **settings) as running:
        yield running.start_all()


def names(spans):
    return {(span.service, span.name) for span in spans}


@pytest.mark.slow
def test_one_trace_leads_from_the_request_to_its_deliveries(service, collector, hook):
    route = "POST /api/enrollment/v1/enrollment"
    with service.http() as http:
        http.post("/courses", json=open_course(COURSE))
        http.post("/webhooks", json={"url": hook.url, "types": ["enrollment.created"]})
        body = {"user": "zuzanna", "course_details": {"course_id": COURSE}}
        headers = {"Prefer": "wait=20", "traceparent": TRACEPARENT}
        assert http.post("/enrollment?is=zuzanna", json=body, headers=headers).status_code == 200
    wait_until(lambda: names(collector.of_trace(TRACE)) >= OF_A_SINGLE, service.log)

    spans = collector.of_trace(TRACE)
    (served,) = (span for span in spans if span.name == route)
    assert served.parent_id == SPAN
    assert served.attributes["http.response.status_code"] == "200"
    assert served.attributes["http.route"] == route.removeprefix("POST ")
    of_request = [span for span in spans if span.parent_id == served.span_id]
    assert names(of_request) == OF_A_SINGLE
    (sent,) = hook.received
    (delivery,) = (span for span in of_request if span.name == "send webhook")
    assert sent.headers["traceparent"].split("-")[1:3] == [TRACE, delivery.span_id]
    told = "".join(f"{span.name} {span.attributes}" for span in collector.received)
    assert [secret for secret in (*SECRETS, service.key, "is=") if secret in told] == []
    assert not any("livez" in span.name or "readyz" in span.name for span in collector.received)


@pytest.mark.slow
def test_a_file_and_a_call_of_another_application_are_traced(service, collector, redis_url):
    of_file, of_call = f"{'a' * 32}", f"{'c' * 32}"
    with service.http() as http:
        http.post("/courses", json=open_course(COURSE))
        lines = "".join(f"bob{n},{COURSE}\n" for n in range(2_500))
        headers = {"Content-Type": "text/csv", "traceparent": f"00-{of_file}-{SPAN}-01"}
        assert http.post(
            "/submissions", content=f"user,course_id\n{lines}", headers=headers
        ).is_success
    app = Celery("sis", broker=redis_url, set_as_current=False)
    app.conf.task_queues = [Queue("2-submit", no_declare=True)]
    app.conf.broker_transport_options = {"global_keyprefix": "enroll:"}
    requests = {"user": "cem", "course_id": COURSE}
    app.send_task(
        "enrollment.submit",
        queue="2-submit",
        ignore_result=True,
        kwargs={"key": service.key, "requests": requests},
        headers={"traceparent": f"00-{of_call}-{SPAN}-01"},
    )
    app.close()
    for trace, first in ((of_file, "store submission"), (of_call, "receive message")):
        expected = {first, "process batch", "commit", "publish events"}
        wait_until(
            lambda trace=trace, expected=expected: (
                {span.name for span in collector.of_trace(trace)} >= expected
            ),
            service.log,
        )


@pytest.mark.slow
def test_spans_are_sent_when_a_process_ends(tmp_path, redis_url, collector):
    """None is sent before: the time between two sendings is an hour."""
    settings = {
        "ENROLL_REDIS_URL": redis_url,
        "ENROLL_EVENT_STREAM": "enroll:traced",
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_BSP_SCHEDULE_DELAY": "3600000",
        "OTEL_SERVICE_NAME": "enroll",
    }
    with Service(tmp_path, **settings) as service:
        service.start_all()
        with service.http() as http:
            http.post("/courses", json=open_course(COURSE))
            body = {"user": "ada", "course_details": {"course_id": COURSE}}
            assert http.post("/enrollment", json=body, headers={"Prefer": "wait=20"}).is_success
            (change,) = http.get("/changes").json()["changes"]
            assert change["type"] == "enrollment.created"
        assert collector.received == []
        for each in (service.gateway, service.worker, service.beat):
            each.end()
    sent = {span.name for span in collector.received}
    assert sent >= {"store submission", "process batch"}
    assert {span.service for span in collector.received} == {"enroll"}


@pytest.mark.slow
@pytest.mark.parametrize("words", [("gateway", "--port", "0"), ("worker",), ("beat",), ("up",)])
def test_a_process_that_cannot_send_traces_does_not_start(tmp_path, words):
    variables = {
        "ENROLL_DATABASE_URL": f"sqlite:///{tmp_path / 'x'}",
        "OTEL_TRACES_EXPORTER": "zipkin",
    }
    done = subprocess.run(
        [*ENROLL, *words], env=bare(**variables), cwd=tmp_path, capture_output=True, text=True, check=False
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no exporter 'zipkin' here" in done.stderr
