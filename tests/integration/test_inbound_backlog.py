"""`/readyz`, `/metrics` and `enroll doctor` say what waits in the request stream."""

import time
from datetime import UTC, datetime

import fakeredis
import falcon.asgi
import pytest
import redis
from falcon import testing
from prometheus_client.parser import text_string_to_metric_families

from api_gateway.cli.checks.process_checks import check_inbound
from api_gateway.database import Database
from api_gateway.resources.health import ReadyResource
from api_gateway.resources.metrics import MetricsResource
from api_gateway.status.health.inbound_backlog import InboundProbe
from enrollment.runtime.completion_channel import bounded_redis
from tests.support.inbound import STREAM, Inbound, one
from tests.support.scripted_server import unused_port


@pytest.fixture(params=["fakeredis", "redis"])
def client(request):
    if request.param == "fakeredis":
        made = fakeredis.FakeRedis()
    else:
        made = redis.Redis.from_url(request.getfixturevalue("redis_url"))
    with made:
        yield made


@pytest.fixture
def ask(sessions):
    database = Database(sessions, threads=1)

    def ask(probe):
        app = falcon.asgi.App()
        app.add_route(
            "/readyz",
            ReadyResource(
                database=database,
                ping_redis=lambda: True,
                now=lambda: datetime.now(UTC),
                broker=None,
                inbound=probe,
            ),
        )
        app.add_route(
            "/metrics",
            MetricsResource(database=database, ping_redis=lambda: True, inbound=probe),
        )
        answers = testing.TestClient(app)
        text = answers.simulate_get("/metrics").text
        metrics = {
            sample.name: sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name.startswith("enroll_inbound_") and not sample.labels
        }
        return answers.simulate_get("/readyz").json, metrics

    yield ask
    database.close()


def findings(body):
    return [finding for finding in body["findings"] if "request stream" in finding]


def test_what_waits_is_counted_until_it_is_stored(world, client, ask):
    world.course()
    inbound, probe = Inbound(world, client), InboundProbe(client, STREAM)
    empty, _ = ask(probe)
    for user in ("ada", "bob"):
        inbound.append(one(user))
    waiting, metrics = ask(probe)
    inbound.consume()
    stored, _ = ask(probe)

    assert empty["inbound"] == stored["inbound"] == {"waiting_requests": 0, "oldest_seconds": 0}
    assert waiting["inbound"]["waiting_requests"] == 2
    assert metrics["enroll_inbound_waiting_requests"] == 2
    assert 0 <= metrics["enroll_inbound_oldest_age_seconds"] < 60
    assert findings(waiting) == []


def test_an_old_entry_is_a_finding(client, ask):
    an_hour_ago = int((time.time() - 3_600) * 1_000)
    client.xadd(STREAM, {"key": "enr_hidden"}, id=f"{an_hour_ago}-0")
    probe = InboundProbe(client, STREAM)

    body, metrics = ask(probe)

    assert body["status"] == "degraded"
    (finding,) = findings(body)
    assert finding.startswith("1 entries of the request stream wait, the oldest for 36")
    assert metrics["enroll_inbound_oldest_age_seconds"] >= 3_600
    assert "hidden" not in str(body)
    assert [(each.mark, each.subject) for each in check_inbound(probe)] == [("wrong", "requests")]


def test_without_redis_or_without_a_stream_it_is_left_out(ask):
    away = InboundProbe(bounded_redis(f"redis://127.0.0.1:{unused_port()}/0"), STREAM)

    for probe in (away, None):
        body, metrics = ask(probe)
        assert "inbound" not in body
        assert metrics == {}
    assert list(check_inbound(away)) == list(check_inbound(None)) == []
