"""A running service is seen: its metrics, those that dashboard and alerts use, and who died."""

import json
import re
import subprocess
from pathlib import Path

import httpx
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from tests.support.binaries import promtool_program
from tests.support.servers import embedded_redis, free_port
from tests.support.service import Service, ask, open_for_all
from tests.support.service_processes import ended, needs_proc, wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
ALERTS = DEPLOY / "prometheus" / "alerts.yml"
OPERATIONS = DEPLOY.parent / "docs" / "operations.md"
COURSE = "course-v1:Uni+Seen+2027"
_SUFFIXES = {"counter": ["_total"], "histogram": ["_bucket", "_count", "_sum"], "gauge": [""]}


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    settings = {
        "ENROLL_METRICS_PORT": str(free_port()),
        "ENROLL_EVENT_STREAM": "enroll:seen",
        "ENROLL_REQUEST_STREAM": "enroll:asked",
    }
    folder = tmp_path_factory.mktemp("seen")
    with embedded_redis() as url, Service(folder, ENROLL_REDIS_URL=url, **settings) as running:
        running.start_all()
        yield running


def families(text):
    return {each.name: each for each in text_string_to_metric_families(text)}


def scrape(service):
    """Returns the metric families of the gateway, the worker and beat, by their kind."""
    with service.http() as http:
        answer = http.get(f"{service.url}/metrics")
    assert answer.status_code == 200, answer.text
    found = {"gateway": families(answer.text)}
    for line in service.log().splitlines():
        record = json.loads(line) if line.startswith("{") else {}
        if record.get("event") == "metrics.served":
            address = f"http://127.0.0.1:{record['port']}/metrics"
            found[record["process"]] = families(httpx.get(address).text)
    return found


@pytest.fixture(scope="module")
def exposed(service):
    """The names of all samples that the running service may have."""
    wait_until(lambda: len(scrape(service)) == 3, service.log)
    return {
        family.name + suffix
        for of_process in scrape(service).values()
        for family in of_process.values()
        for suffix in _SUFFIXES.get(family.type, [""])
    }


def used_in(text):
    return set(re.findall(r"\b(?:enroll|process)_[a-z_]+\b", text))


def expressions():
    dashboard = json.loads((DEPLOY / "grafana" / "dashboard.json").read_text())
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


@pytest.mark.parametrize(("name", "expression"), [*expressions()])
def test_dashboard_and_alerts_use_what_is_exposed(name, expression, exposed):
    used = used_in(expression)
    assert used, name
    assert used <= exposed


def test_every_metric_is_documented(exposed):
    page = OPERATIONS.read_text()
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed}
    own = {name for name in families if name.startswith("enroll_")}
    absent = {name for name in own if name not in page}
    assert absent == {"enroll_database_connections_limit"}  # written as `…_limit`


def test_every_alert_is_explained():
    page = OPERATIONS.read_text()
    for group in yaml.safe_load(ALERTS.read_text())["groups"]:
        for rule in group["rules"]:
            assert f"| `{rule['alert']}` |" in page


@pytest.fixture
def promtool():
    """Runs promtool."""
    if (program := promtool_program()) is None:
        pytest.skip("promtool is not there (tests/servers/fetch.sh fetches it)")

    def run(*words):
        command = [program, *words]
        return subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=ALERTS.parent
        )

    return run


def test_promtool_accepts_the_alerts(promtool):
    checked = promtool("check", "rules", ALERTS)
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_alerts_fire_when_they_must_and_not_before(promtool):
    tested = promtool("test", "rules", Path(__file__).with_name("alerts_test.yml"))
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_each_process_counts_what_it_does(service, exposed):
    with service.http() as http:
        open_for_all(http, COURSE)
        for user in ("ada", "bob"):
            ended(http, ask(http, user, COURSE).json()["submission_id"], service.log)

    def total(kind, family):
        return sum(each.value for each in scrape(service)[kind][family].samples)

    assert total("worker", "enroll_rows") == 2
    wait_until(lambda: total("beat", "enroll_relay_published_events") == 2, service.log)
    assert total("gateway", "enroll_live_workers") == 1
    assert total("gateway", "enroll_beat_up") == 1
    assert total("gateway", "enroll_dead_processes") == 0


def test_each_pool_of_connections_is_seen(service):
    family = "enroll_database_connections_limit"
    pools = {
        kind: {sample.labels["pool"] for sample in of_process[family].samples}
        for kind, of_process in scrape(service).items()
    }
    assert pools == {
        "gateway": {"gateway"},
        "worker": {"worker"},
        "beat": {"relay", "inbound", "webhooks", "destinations", "reports"},
    }


@needs_proc
@pytest.mark.slow
def test_a_worker_that_is_killed_is_named_within_30_seconds(service):
    service.worker.bury()

    def findings():
        return httpx.get(f"{service.url}/readyz").json()["findings"]

    wait_until(lambda: any(" is dead: " in each for each in findings()), service.log)
    assert any(each.startswith("no worker runs") for each in findings())
    assert httpx.get(f"{service.url}/readyz").json()["status"] == "degraded"
