"""TLS to PostgreSQL, Redis, RabbitMQ and the gateway, as docs/operations.md shows it."""

import json
import os
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from typing import NamedTuple

import httpx
import pytest
import redis
from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import text
from sqlalchemy.engine import make_url

from api_gateway.broker_probe import broker_ping
from enrollment.domain.errors import DatabaseUnavailable
from enrollment.runtime.broker import broker_settings
from enrollment.runtime.cache import connect
from enrollment.runtime.server_urls import database_url
from enrollment.storage.engine.sessions import sessions_for
from tests.support.binaries import ServerMissing
from tests.support.rabbitmq import RabbitServer, rabbitmq_process
from tests.support.servers import LOOPBACK
from tests.support.service import Service, ask, hand_in, open_for_all
from tests.support.service_processes import API, ENROLL, PATIENCE, ended, needs_proc
from tests.support.tls import HOST, Certificates, make_certificates, tls_front

pytestmark = needs_proc


class Urls(NamedTuple):
    """URLs with the name of the certificates and the file of the authority."""

    database: str
    redis: str
    certificates: Certificates


@pytest.fixture
def urls(postgres_url, redis_url, tmp_path) -> Iterator[Urls]:
    certificates = make_certificates(tmp_path)
    there, redis_there = make_url(postgres_url), make_url(redis_url)
    with ExitStack() as stack:
        postgres = stack.enter_context(tls_front(there.port, certificates, is_postgresql=True))
        redis_port = stack.enter_context(tls_front(redis_there.port, certificates))
        yield Urls(
            database_url(
                f"postgresql://{there.username}@{HOST}:{postgres}/{there.database}"
                f"?sslmode=verify-full&sslrootcert={certificates.authority}"
            ),
            f"rediss://{HOST}:{redis_port}/0?ssl_ca_certs={certificates.authority}",
            certificates,
        )


def test_the_whole_service_speaks_tls(urls, tmp_path):
    course = "course-v1:Uni+TLS+2026"
    with Service(tmp_path, database_url=urls.database, ENROLL_REDIS_URL=urls.redis) as service:
        service.start_all()
        port = make_url(service.url).port
        context = ssl.create_default_context(cafile=urls.certificates.authority)
        headers = {"Authorization": f"Bearer {service.key}"}
        with (
            tls_front(port, urls.certificates) as front,
            httpx.Client(
                base_url=f"https://{HOST}:{front}{API}",
                headers=headers,
                verify=context,
                timeout=PATIENCE,
            ) as http,
        ):
            open_for_all(http, course)
            waited = ask(http, "ada", course, Prefer="wait=30")
            assert waited.status_code == 200, waited.text
            for each in hand_in(http, course, "n", singles=3, rows=1_500):
                ended(http, each, service.log)
            shown = told_by_the_command(f"https://{HOST}:{front}", service.key, urls.certificates)
            assert course in shown
            health = httpx.get(f"https://{HOST}:{front}/readyz", verify=context).json()
            assert (health["redis"], health["queue"]) == ("ok", "ok")
        assert service.enrolled(course) == 1 + 3 + 1_500


def told_by_the_command(url, key, certificates):
    """Returns what `enroll` prints, which finds the authority in the environment."""
    done = subprocess.run(
        [*ENROLL, "courses", "list", "--json", "--url", url],
        env={**os.environ, "ENROLL_API_KEY": key, "SSL_CERT_FILE": str(certificates.authority)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.dumps(json.loads(done.stdout))


def queue(url):
    app = Celery("t", set_as_current=False)
    app.conf.update(broker_settings(url, client="t"))
    return app.connection_for_write()


@pytest.mark.parametrize("fault", ["host", "authority"])
def test_a_server_that_is_not_the_named_one_gets_no_data(urls, tmp_path_factory, fault):
    other = make_certificates(tmp_path_factory.mktemp("other"))

    def spoilt(url: str) -> str:
        if fault == "host":
            return url.replace(f"{HOST}:", f"{LOOPBACK}:")
        return url.replace(str(urls.certificates.authority), str(other.authority))

    sessions = sessions_for(spoilt(urls.database), pool_size=1)
    with pytest.raises(DatabaseUnavailable), sessions.read() as session:
        session.execute(text("SELECT 1"))
    sessions.dispose()
    with pytest.raises(redis.ConnectionError, match="certificate"):
        connect(spoilt(urls.redis)).ping()
    with (
        pytest.raises(OperationalError, match="certificate"),
        queue(spoilt(urls.redis)) as connection,
    ):
        connection.ensure_connection(max_retries=1, timeout=PATIENCE)


@pytest.fixture
def rabbitmq() -> Iterator[RabbitServer]:
    with ExitStack() as stack:
        try:
            yield stack.enter_context(rabbitmq_process())
        except ServerMissing as missing:
            pytest.skip(str(missing))


@pytest.mark.slow
def test_rabbitmq_is_verified_by_an_authority_of_ones_own(rabbitmq, tmp_path, tmp_path_factory):
    # kombu makes an address of the name `localhost`
    certificates = make_certificates(tmp_path, with_address=True)
    other = make_certificates(tmp_path_factory.mktemp("other"))
    with ExitStack() as stack:
        port, wrong = (
            stack.enter_context(tls_front(rabbitmq.port, each)) for each in (certificates, other)
        )
        url = f"amqps://guest:guest@{LOOPBACK}:{port}//?ssl_ca_certs="
        broker_ping(f"{url}{certificates.authority}")()
        for each in (
            f"{url}{other.authority}",
            f"{url}{other.authority}".replace(str(port), str(wrong)),
        ):
            with pytest.raises(OperationalError, match="certificate"):
                broker_ping(each)()
