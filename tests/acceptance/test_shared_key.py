"""Gateways that are started on their own, without a setting for it, give each other's tokens."""

import json
from functools import partial
from typing import NamedTuple

import httpx
import jwt
import pytest

from tests.support.oauth import PATH, SECRET, grant
from tests.support.servers import free_port
from tests.support.service import Service
from tests.support.service_processes import API, Running, is_ready, wait_until

CLIENTS = f"shop:{SECRET}:shop_worker:staff"
REDIS = "redis://127.0.0.1:1/0"


@pytest.fixture(params=["sqlite", "postgresql"])
def service(request, tmp_path):
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    with Service(
        tmp_path, database_url=url, ENROLL_OAUTH_CLIENTS=CLIENTS, ENROLL_REDIS_URL=REDIS
    ) as made:
        yield made


class Started(NamedTuple):
    process: Running
    url: str


def start(service, *folders):
    """Starts a gateway for each folder, all at once; returns them when all are ready."""
    started = []
    for folder in folders:
        port = free_port()
        process = service.start("gateway", "--port", str(port), ENROLL_DATA_DIR=str(folder))
        started.append(Started(process, f"http://127.0.0.1:{port}"))
    for one in started:
        wait_until(partial(is_ready, one.url), service.log)
    return started


def ask(url):
    return httpx.post(url + PATH, data=grant("shop"))


def is_taken(url, token):
    headers = {"Authorization": f"JWT {token}"}
    return httpx.get(f"{url}{API}/enrollments", headers=headers).status_code == 200


def test_two_gateways_of_a_folder_have_one_key_and_one_of_another_folder_has_none(
    service, tmp_path
):
    shared, other = tmp_path / "shared", tmp_path / "other"
    first, second = (one.url for one in start(service, shared, shared))
    alone = start(service, other)[0].url

    tokens = [ask(url).json()["access_token"] for url in (first, second)]
    assert all(is_taken(url, token) for url in (first, second) for token in tokens)
    assert len({jwt.get_unverified_header(token)["kid"] for token in tokens}) == 1
    assert [file.name for file in shared.iterdir()] == ["signing.key"]
    assert not other.exists()

    refused = ask(alone)
    assert refused.status_code == 503
    assert "copy signing.key" in refused.json()["message"]
    ready = httpx.get(f"{alone}/readyz").json()
    assert ready["status"] == "degraded"
    assert any("copy signing.key" in finding for finding in ready["findings"])
    said = [json.loads(line) for line in service.log().splitlines() if line.startswith("{")]
    assert [one["level"] for one in said if one["event"] == "signing_key.not_shared"] == ["warning"]
    key = (shared / "signing.key").read_text().strip()
    assert key not in service.log()

    other.mkdir(mode=0o700)
    (other / "signing.key").write_text(key)
    assert is_taken(first, ask(alone).json()["access_token"])


def test_the_key_is_that_of_the_next_start_and_of_the_command_line(service, tmp_path):
    folder = str(tmp_path / "keys")
    (before,) = start(service, folder)
    token = ask(before.url).json()["access_token"]
    before.process.kill()

    url = start(service, folder)[0].url
    assert is_taken(url, token)
    command = ["tokens", "create", "stella", "--staff"]
    created = service.start(*command, ENROLL_DATA_DIR=folder)
    assert created.process.wait() == 0, created.log()
    assert is_taken(url, created.said().strip())
