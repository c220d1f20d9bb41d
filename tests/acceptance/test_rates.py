"""Rates and tokens of served gateways with the shipped settings."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from api_gateway.auth.jwt_tokens import sign_token
from api_gateway.auth.signing_keys import SigningKey
from tests.support.oauth import PATH, SECRET, grant
from tests.support.raw_http import served

API = "/api/enrollment/v1"
KEY = SigningKey.of(b"k" * 32)
#: The default of every setting about rates.
SHIPPED = {"ENROLL_THROTTLE": "", "ENROLL_SIGNING_KEY": KEY.secret.decode()}
COURSE = f"{API}/course/course-v1:a+b+c"


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=30) as client:
        yield client


def learner(name: str) -> dict[str, str]:
    return {"Authorization": f"JWT {sign_token(KEY, name, now=datetime.now(UTC))}"}


def test_the_41st_call_of_a_learner_is_refused_by_every_gateway(tmp_path, http, redis_url):
    shared = SHIPPED | {"ENROLL_REDIS_URL": redis_url}
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
    with served(tmp_path / "one", **shared) as one, served(tmp_path / "other", **shared) as other:
        found = [http.get(f"{one.url}{API}/enrollment", headers=learner("ada")) for _ in range(41)]
        elsewhere = http.get(f"{other.url}{API}/submissions", headers=learner("ada"))
        another = http.get(f"{other.url}{API}/submissions", headers=learner("bob"))

    assert [answer.status_code for answer in found] == [200] * 40 + [429]
    assert found[0].headers["ratelimit-policy"] == '"learner";q=40;w=60'
    refused = found[-1]
    seconds = int(refused.headers["retry-after"])
    assert 1 <= seconds <= 60
    assert refused.headers["content-type"] == "application/json"
    assert refused.json()["detail"].startswith("Request was throttled. Expected available in ")
    assert refused.headers["ratelimit"] == f'"learner";r=0;t={seconds}'
    assert (elsewhere.status_code, another.status_code) == (429, 200)


def test_only_trusted_proxies_name_other_addresses(tmp_path, http):
    def ask(url: str) -> list[int]:
        """Returns the statuses of 41 requests, each for another address."""
        addresses = [{"X-Forwarded-For": f"198.51.100.{number}"} for number in range(41)]
        return [http.get(f"{url}{COURSE}", headers=each).status_code for each in addresses]

    with served(tmp_path, **SHIPPED) as gateway:
        assert ask(gateway.url) == [400] * 40 + [429]
    with served(tmp_path, **SHIPPED, ENROLL_TRUSTED_PROXIES="127.0.0.0/8") as gateway:
        assert ask(gateway.url) == [400] * 41
        same = {"X-Forwarded-For": "198.51.100.99, 127.0.0.2"}
        found = [http.get(f"{gateway.url}{COURSE}", headers=same) for _ in range(41)]
        assert [answer.status_code for answer in found] == [400] * 40 + [429]


def test_a_client_of_the_settings_gets_a_token_and_enrolls(tmp_path, http):
    clients = f"shop:{SECRET}:shop_worker:staff"
    with served(tmp_path, **SHIPPED, ENROLL_OAUTH_CLIENTS=clients) as gateway:
        answers = [
            http.post(f"{gateway.url}{PATH}{slash}", data=grant("shop", token_type=asked))
            for slash, asked in (("", "jwt"), ("/", "Bearer"))
        ]
        for answer in answers:
            assert answer.status_code == 200, answer.text
            assert answer.headers["content-type"] == "application/json"
            scheme, token = answer.json()["token_type"], answer.json()["access_token"]
            headers = {"Authorization": f"{scheme} {token}"}
            got = http.get(f"{gateway.url}{API}/enrollments", headers=headers)
            assert got.status_code == 200, got.text
        assert SECRET not in gateway.log()
