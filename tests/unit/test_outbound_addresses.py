"""Which URLs and addresses of other systems are called, and that a connection goes to no other."""

import socket
import threading
import time

import httpcore
import httpx
import pytest

from enrollment.runtime.outbound import guarded_http
from enrollment.runtime.outbound.addresses import (
    OutboundPolicy,
    RefusedDestination,
    check_address,
    parse_target,
)
from enrollment.runtime.outbound.guarded_http import guarded_client, resolve_checked, total_seconds
from enrollment.runtime.outbound.policy import outbound_policy
from enrollment.runtime.settings import from_env

PUBLIC, PRIVATE = OutboundPolicy(), OutboundPolicy(allows_private=True)
PUBLIC_ADDRESSES = ["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "::ffff:8.8.8.8"]
#: Allowed in networks of one's own only.
PRIVATE_ADDRESSES = [
    "127.0.0.1",
    "127.8.9.1",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "198.18.0.1",
    "192.0.0.8",
    "::1",
    "fc00::1",
    "fd12:3456::1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2001:0:4136:e378:8000:63bf:3fff:fdd2",
    "2001:db8::1",
    "2a00:1450::5efe:7f00:1",
    "::7f00:1",
]
NEVER = [
    "0.0.0.0",
    "::",
    "255.255.255.255",
    "240.0.0.1",
    "224.0.0.1",
    "239.1.2.3",
    "ff02::1",
    "fec0::1",
    "fe80::1",
    "fe80::1%1",
    "2606:4700::1%eth0",
    "169.254.169.254",
    "169.254.1.1",
    "100.100.100.200",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "127.1",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "1.2.3.4.5",
    "",
]


@pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
def test_public_addresses_are_allowed(address):
    check_address(address, PUBLIC)


@pytest.mark.parametrize("address", PRIVATE_ADDRESSES)
def test_private_addresses_are_allowed_where_the_operator_says_so(address):
    check_address(address, PRIVATE)
    with pytest.raises(RefusedDestination):
        check_address(address, PUBLIC)


@pytest.mark.parametrize("address", NEVER)
def test_some_addresses_are_never_allowed(address):
    for policy in (PUBLIC, PRIVATE):
        with pytest.raises(RefusedDestination):
            check_address(address, policy)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.org/hook",
        "https://example.org:8443/hook?a=1",
        "https://8.8.8.8/",
        "https://[2606:4700:4700::1111]/",
        "https://xn--bcher-kva.example/",
    ],
)
def test_public_urls_are_allowed(url):
    parse_target(url, PUBLIC)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/",
        "ftp://example.org/",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "//example.org/",
        "https://user@example.org/",
        "https://a:b@example.org/",
        "https://8.8.8.8@127.0.0.1/",
        "https://example.org/#x",
        "https://example.org:22/",
        "https://example.org:6379/",
        "https://example.org:80/",
        "https://example.org:0/",
        "https://example.org:99999/",
        "https://example.org:x/",
        "https://exa mple.org/",
        "https://example.org/\r\nX: y",
        "https://example.org\\@127.0.0.1/",
        "https://localhost/",
        "https://a.localhost/",
        "https://printer.local/",
        "https://redis/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f000001/",
        "https://0x7f.1/",
        "https://0177.0.0.1/",
        "https://0/",
        "https://[::]/",
        "https://[::1]/",
        "https://[fe80::1%25eth0]/",
        "https://\uff11\uff12\uff17.0.0.1/",
        "https://\u2460\u2461\u2466.0.0.1/",
        "https://bücher.example/",
        "https://example.org./",
        "https://example.org/" + "x" * 2_000,
    ],
)
def test_other_urls_are_refused(url):
    with pytest.raises(RefusedDestination):
        parse_target(url, PUBLIC)


@pytest.mark.parametrize(
    "url",
    ["https://127.0.0.1:5432/", "http://10.0.0.1:6379/", "http://169.254.169.254/", "http://0/"],
)
def test_services_and_metadata_are_refused_on_networks_of_ones_own(url):
    parse_target("http://10.0.0.1:8080/hook", PRIVATE)
    with pytest.raises(RefusedDestination):
        parse_target(url, PRIVATE)


def test_the_ports_of_our_own_servers_are_refused():
    environment = {
        "ENROLL_DATABASE_URL": "postgresql+psycopg://u:p@db:6001,standby:6004/x",
        "ENROLL_REDIS_URL": "redis://r:6002/0",
        "ENROLL_BROKER_URL": "amqp://a:6005;amqp://b:6006",
        "ENROLL_PRIVATE_DESTINATIONS": "true",
    }
    policy = outbound_policy(from_env(environment))
    for port in (6001, 6002, 6004, 6005, 6006):
        with pytest.raises(RefusedDestination):
            parse_target(f"http://10.0.0.1:{port}/", policy)
    parse_target("http://10.0.0.1:6003/", policy)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql+psycopg://u:p@one:6001,two:6002/x",
        "postgresql+psycopg://u:p@/x?host=one:6001&host=two:6002",
    ],
)
def test_the_ports_of_every_server_of_ours_are_refused(url):
    environment = {
        "ENROLL_DATABASE_URL": url,
        "ENROLL_EVENT_BUS_URL": "rediss://u:p@lms:6003",
        "ENROLL_PRIVATE_DESTINATIONS": "true",
    }
    assert {6001, 6002, 6003} <= outbound_policy(from_env(environment)).refused_ports


class Resolver:
    """Answers of a name server, one after another; the last one is repeated."""

    def __init__(self, monkeypatch, *answers):
        self.answers = list(answers)
        self.asked = 0
        monkeypatch.setattr(guarded_http.socket, "getaddrinfo", self)

    def __call__(self, host, port, **_):
        self.asked += 1
        found = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (each, port)) for each in found]


@pytest.mark.parametrize(
    "addresses",
    [
        ["93.184.216.34", "127.0.0.1"],
        ["93.184.216.34", "::1"],
        ["2606:4700:4700::1111", "10.0.0.1"],
        [f"8.8.8.{n}" for n in range(21)],
    ],
)
def test_one_address_that_is_not_allowed_refuses_the_name(monkeypatch, addresses):
    Resolver(monkeypatch, addresses)
    with pytest.raises(RefusedDestination):
        resolve_checked("example.org", 443, PUBLIC)


def test_a_connection_goes_to_the_address_that_was_checked(monkeypatch):
    connected = []

    def connect(self, host, *_, **__):
        connected.append(host)
        raise httpcore.ConnectError

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    resolver = Resolver(monkeypatch, ["93.184.216.34"], ["127.0.0.1"])
    with guarded_client(PUBLIC) as http, pytest.raises(httpx.ConnectError):
        http.get("https://example.org/")
    assert (connected, resolver.asked) == (["93.184.216.34"], 1)
    with guarded_client(PUBLIC) as http, pytest.raises(RefusedDestination):
        http.get("https://example.org/")
    assert connected == ["93.184.216.34"]


def test_proxies_of_the_environment_are_ignored(monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    Resolver(monkeypatch, ["127.0.0.1"])
    with guarded_client(PUBLIC) as http, pytest.raises(RefusedDestination):
        http.get("https://example.org/")


def test_a_server_that_sends_byte_after_byte_is_left_when_the_time_is_over():
    with socket.create_server(("127.0.0.1", 0)) as server:
        ended = threading.Event()

        def drip():
            connection, _ = server.accept()
            with connection:
                while not ended.wait(0.02):
                    try:
                        connection.sendall(b"X")
                    except OSError:
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        start = time.monotonic()
        with guarded_client(PRIVATE) as http, pytest.raises(httpx.ReadTimeout), total_seconds(0.5):
            http.get(url)
        ended.set()
        thread.join()
    assert time.monotonic() - start < 30  # not for ever


@pytest.mark.parametrize(
    ("url", "has_advice"),
    [
        ("http://lms.example.org/", True),
        ("https://127.0.0.1/", True),
        ("https://localhost/", True),
        ("https://lms.example.org:9000/", True),
        ("https://lms.example.org:6379/", False),
        ("https://169.254.169.254/", False),
        ("ftp://lms.example.org/", False),
    ],
)
def test_a_refusal_names_the_setting_if_that_would_allow_it(url, has_advice):
    with pytest.raises(RefusedDestination) as refused:
        parse_target(url, PUBLIC)

    assert ("ENROLL_PRIVATE_DESTINATIONS=true" in str(refused.value)) == has_advice
