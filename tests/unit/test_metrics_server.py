"""Metrics of workers and beat: their address, and a port that is in use."""

import socket
from urllib.request import urlopen

import pytest
from prometheus_client.registry import CollectorRegistry
from structlog.testing import capture_logs

from enrollment.runtime.counters.relay_counters import RelayCounters
from enrollment.runtime.metrics.relay_metrics import RelayMetrics
from enrollment.runtime.setting_values import ListenAddress, listen_address
from worker.background import metrics_server
from worker.background.metrics_server import serve_metrics


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ListenAddress(9464)),
        ("0.0.0.0:9464", ListenAddress(9464, "0.0.0.0")),
        ("[::1]:1", ListenAddress(1, "::1")),
    ],
)
def test_an_address_is_read(text, address):
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["", "0", "65536", "x", "-1", "host:80", "1.2.3.4", "1.2.3.4:"])
def test_no_address(text):
    with pytest.raises(ValueError, match="must be a port, or address:port"):
        listen_address(text)


def test_a_port_in_use_is_passed_over_and_a_lack_of_ports_logged(monkeypatch):
    counters = RelayCounters()
    counters.add_published("event_stream", 3)
    registry = CollectorRegistry()
    registry.register(RelayMetrics(counters))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        served = serve_metrics(ListenAddress(port), registry)
        assert served > port
        with urlopen(f"http://127.0.0.1:{served}/metrics") as answer:
            shown = answer.read().decode()
        assert 'enroll_relay_published_events_total{channel="event_stream"} 3.0' in shown
        monkeypatch.setattr(metrics_server, "PORTS_TRIED", 1)
        with capture_logs() as logs:
            assert serve_metrics(ListenAddress(port), registry) is None
    assert [line["event"] for line in logs] == ["metrics.not_served"]
