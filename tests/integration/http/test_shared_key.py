"""Gateways without any setting for it sign with one key: tokens, log-in and links."""

import jwt
import pytest
from structlog.testing import capture_logs

from api_gateway.auth.signing.shared_key import ELSEWHERE
from enrollment.storage import migrate
from tests.support.console_browser import Browser
from tests.support.gateway import Gateway
from tests.support.oauth import PATH, SECRET, form, grant
from tests.support.roles import database_with_roles
from tests.support.servers import free_port, postgres_process

CLIENTS = f"shop:{SECRET}:shop_worker:staff"


@pytest.fixture(params=["sqlite", "postgresql"])
def start(request, tmp_path):
    """Starts gateways with folders of their own, which have the role of a gateway."""
    started = []

    def start_on(url):
        def started_with(folder, **settings):
            settings = {"signing_key": "", "oauth_clients": CLIENTS, **settings}
            started.append(Gateway(url, data_dir=str(tmp_path / folder), **settings))
            return started[-1]

        return started_with

    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/x.sqlite3"
        migrate.upgrade(url)
        yield start_on(url)
    else:
        with database_with_roles(request.getfixturevalue("postgres_base_url")) as urls:
            yield start_on(urls.gateway)
            for made in started:
                made.close()
        return
    for made in started:
        made.close()


def ask(gateway):
    return gateway.post(PATH, **form(grant("shop")))


def token_of(gateway):
    answer = ask(gateway)
    assert answer.status_code == 200, answer.text
    return answer.json["access_token"]


def findings(gateway):
    return [each for each in gateway.get("/readyz").json["findings"] if "signing" in each]


def log_in(gateway):
    return Browser(gateway).log_in(gateway.server["X-Edx-Api-Key"])


def test_a_token_of_one_gateway_is_valid_on_another_of_the_folder(start):
    first, second = start("data"), start("data")

    for made, used in ((first, second), (second, first)):
        headers = {"Authorization": f"JWT {token_of(made)}"}
        assert used.get("enrollments", headers).status_code == 200
    assert log_in(second).status_code == 303
    assert findings(first) == findings(second) == []


def test_a_gateway_of_another_host_is_off_and_says_so_until_it_has_the_file(start, tmp_path):
    first = start("data")
    with capture_logs() as logs:
        other = start("elsewhere")
        answers = [ask(other) for _ in range(2)]
    (finding,) = findings(other)

    for named in ("copy signing.key", "ENROLL_SIGNING_KEY", "enroll tokens rotate"):
        assert named in finding
    for answer in answers:
        assert answer.status_code == 503
        assert answer.json["message"].endswith(f"{finding}.")
    refused = log_in(other)
    assert refused.status_code == 503
    assert "copy signing.key" in refused.text
    assert [log["because"] for log in logs if log["event"] == "signing_key.not_shared"] == [finding]
    assert str(tmp_path) not in finding
    assert findings(first) == []

    (tmp_path / "elsewhere").mkdir(mode=0o700)
    copy = tmp_path / "elsewhere" / "signing.key"
    copy.write_text((tmp_path / "data" / "signing.key").read_text())
    headers = {"Authorization": f"JWT {token_of(other)}"}
    assert first.get("enrollments", headers).status_code == 200
    assert findings(other) == []


def test_a_folder_that_cannot_be_used_is_a_finding_not_a_crash(start, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared").chmod(0o1777)
    gateway = start("shared")

    assert ask(gateway).status_code == 503
    (finding,) = findings(gateway)
    assert "ENROLL_DATA_DIR" in finding

    (tmp_path / "shared").chmod(0o700)
    assert findings(gateway) == []
    assert ask(gateway).status_code == 200


def test_a_key_on_another_host_degrades_a_gateway_that_is_well_otherwise(tmp_path, redis_url):
    url = f"sqlite:///{tmp_path}/x.sqlite3"
    migrate.upgrade(url)
    made = [
        Gateway(url, redis_url=redis_url, signing_key="", data_dir=str(tmp_path / folder))
        for folder in ("data", "elsewhere")
    ]
    reports = [gateway.get("/readyz").json for gateway in made]
    for gateway in made:
        gateway.close()

    assert [each["status"] for each in reports] == ["ok", "degraded"]
    assert [each["findings"] for each in reports] == [[], [ELSEWHERE]]


def test_a_link_has_a_token_of_the_key(start):
    gateway = start("data")
    course_id = gateway.course()
    rows = [{"user": "ada", "course_id": course_id}]
    asked = gateway.post("submissions", gateway.server, json={"enrollments": rows})
    link = asked.json["links"]["events"]

    kid = jwt.get_unverified_header(token_of(gateway))["kid"]
    assert f"token={kid}." in link


@pytest.mark.slow
@pytest.mark.parametrize("how", ["token", "readyz"])
def test_a_database_that_comes_after_the_gateway_gets_its_key_then(tmp_path, how):
    port = free_port()
    url = f"postgresql+psycopg://postgres@127.0.0.1:{port}/postgres"
    data_dir = tmp_path / "data"
    gateway = Gateway(url, signing_key="", oauth_clients=CLIENTS, data_dir=str(data_dir))
    try:
        assert ask(gateway).status_code == 503
        assert not data_dir.exists()
        with postgres_process(port=port):
            migrate.upgrade(url)
            if how == "readyz":
                assert gateway.get("/readyz").status_code == 200
                assert (data_dir / "signing.key").exists()
            assert ask(gateway).status_code == 200
            assert (data_dir / "signing.key").exists()
    finally:
        gateway.close()
